"""Settings of each stage: one frozen object per stage, from the command line, a TOML file or OUT itself.

A setting changes the *result* of a stage. How a stage runs (workers, cluster address, limits) is an option of the
command and never enters a fingerprint.
"""

from musicrec.settings.base import StageSettings, resolve
from musicrec.settings.catalog import CatalogKind, CatalogSettings, GenreSource
from musicrec.settings.extract import MIN_SEGMENT_S, ExtractSettings, FeatureSet
from musicrec.settings.histories import (
    HistoriesSettings,
    ListenerEvaluationSettings,
    ListenerMethod,
    ListenerSplit,
    RecommendMethod,
    RecommendSettings,
)
from musicrec.settings.layout import MapSettings
from musicrec.settings.similar import (
    NO_TAG_RULE,
    TAG_SCORE,
    DuplicatesSettings,
    GenreRule,
    Hubness,
    Metric,
    Rules,
    SimilarSettings,
    TagRule,
    tag_rule,
)
from musicrec.settings.space_names import (
    OWN_SPACES,
    READ_SPACES,
    SPACE_NAME,
    TAGS,
    ReadSpaces,
    SpaceName,
    is_space_name,
    weights_of,
)
from musicrec.settings.train import (
    CHECKPOINT_S,
    Balance,
    ClassicalName,
    ClusteringName,
    EmbedSettings,
    EvaluateSettings,
    ModelName,
    NetworkName,
    Output,
    Precision,
    Scaling,
    TrainSettings,
    TuneSettings,
)
from musicrec.settings.vectors import PretrainedSettings, VectorsSettings

STAGES: dict[str, type[StageSettings]] = {
    s.stage: s
    for s in (
        CatalogSettings,
        ExtractSettings,
        TrainSettings,
        EvaluateSettings,
        EmbedSettings,
        DuplicatesSettings,
        SimilarSettings,
    )
}

__all__ = [
    "CHECKPOINT_S",
    "MIN_SEGMENT_S",
    "NO_TAG_RULE",
    "OWN_SPACES",
    "READ_SPACES",
    "SPACE_NAME",
    "STAGES",
    "TAGS",
    "TAG_SCORE",
    "Balance",
    "CatalogKind",
    "CatalogSettings",
    "ClassicalName",
    "ClusteringName",
    "DuplicatesSettings",
    "EmbedSettings",
    "EvaluateSettings",
    "ExtractSettings",
    "FeatureSet",
    "GenreRule",
    "GenreSource",
    "HistoriesSettings",
    "Hubness",
    "ListenerEvaluationSettings",
    "ListenerMethod",
    "ListenerSplit",
    "MapSettings",
    "Metric",
    "ModelName",
    "NetworkName",
    "Output",
    "Precision",
    "PretrainedSettings",
    "ReadSpaces",
    "RecommendMethod",
    "RecommendSettings",
    "Rules",
    "Scaling",
    "SimilarSettings",
    "SpaceName",
    "StageSettings",
    "TagRule",
    "TrainSettings",
    "TuneSettings",
    "VectorsSettings",
    "is_space_name",
    "resolve",
    "tag_rule",
    "weights_of",
]
