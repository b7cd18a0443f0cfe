"""Settings of each stage: one frozen object per stage, from the command line, a TOML file or OUT itself.

A setting changes the *result* of a stage. How a stage runs (workers, cluster address, limits) is an option of the
command and never enters a fingerprint.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from musicrec.errors import ConfigError

CatalogKind = Literal["auto", "folder", "gtzan", "fma", "manifest"]
Metric = Literal["cosine", "euclidean"]
GenreRule = Literal["any", "only", "boost"]
Hubness = Literal["none", "mutual_proximity", "local_scaling", "csls"]
NetworkName = Literal["mlp", "cnn_image", "cnn", "crnn", "resnet"]
ClassicalName = Literal["knn", "logistic", "svm", "random_forest", "whitened_svm"]
ClusteringName = Literal["kmeans", "birch", "gaussian_mixture", "dbscan"]
ModelName = Literal[NetworkName, ClassicalName, ClusteringName]
Output = Literal["sigmoid", "softmax"]
Precision = Literal["float32", "bfloat16"]
Scaling = Literal["standardised", "logarithmic", "whitened"]
Balance = Literal["none", "genre", "genre+artist"]
FeatureSet = Literal["iiitd41", "gtzan57", "fma518"]


CHECKPOINT_S = 30.0  # seconds between checkpoints in training
MIN_SEGMENT_S = 0.1  # a clip is at most 600 s, so the number of a segment fits 16 bits

SPACE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
OWN_SPACES = ("embeddings", "features")  # spaces that musicrec makes itself; the first is the default
TAG_SCORE = 0.1  # of a rule for a tag that names no score
NO_TAG_RULE = "none"  # in place of a tag: forget the rules of the last run
TAGS = "tags/"  # how the name of a space begins whose vectors are the tags of a pretrained model

S = TypeVar("S", bound="StageSettings")


def _free(name: str) -> str:
    if SPACE_NAME.fullmatch(name) and name not in OWN_SPACES:
        return name
    raise ValueError(f"expected letters, digits, '_', '-' and '.', and not {' or '.join(OWN_SPACES)}")


SpaceName = Annotated[str, AfterValidator(_free)]  # of vectors that musicrec does not make itself


def is_space_name(name: str) -> bool:
    """Return whether a space can have this name, which is that of a model behind ``tags/`` for the model's tags."""
    return SPACE_NAME.fullmatch(name.removeprefix(TAGS)) is not None


def _to_read(space: tuple[str, ...]) -> tuple[str, ...]:
    is_valid = all(is_space_name(name) and name != OWN_SPACES[0] for name in space)
    if not is_valid or len(set(space)) < len(space):
        raise ValueError(f"expected each space once, by its name, and not {OWN_SPACES[0]}, which models make")
    return () if space == OWN_SPACES[1:] else tuple(sorted(space))


ReadSpaces = Annotated[tuple[str, ...], AfterValidator(_to_read)]  # by models; empty for the feature set alone
READ_SPACES = (
    "Space that the model reads, if it is one that reads features: features, which is its feature set, or one that "
    "musicrec vectors list shows. Repeat the option for several side by side. The default is features."
)


class StageSettings(BaseModel):
    """Base of the settings of one stage."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    stage: ClassVar[str]
    code_version: ClassVar[int] = 1  # raise it when new code gives other values for the same settings
    open_means: ClassVar[str] = "none"  # the default that help shows for a setting whose default is None
    formerly: ClassVar[dict[str, Any]] = {}  # settings that an older musicrec did not have, with what it did

    def fingerprint(self, *inputs: str) -> str:
        """Return a fingerprint of the stage's result: 16 hex digits, from these settings and the inputs.

        Parameters
        ----------
        *inputs : str
            Content hashes or fingerprints of what the stage reads.
        """
        settings = self.model_dump(mode="json")
        known = {name: value for name, value in settings.items() if self.formerly.get(name, ...) != value}
        made_by = [self.stage, self.code_version, known, *inputs]
        return hashlib.blake2b(json.dumps(made_by, sort_keys=True).encode(), digest_size=8).hexdigest()

    def differences(self, other: Self) -> list[str]:
        """Return one line ``name: mine → theirs`` for each setting that differs."""
        return [
            f"{name}: {getattr(self, name)} → {getattr(other, name)}"
            for name in type(self).model_fields
            if getattr(self, name) != getattr(other, name)
        ]


class CatalogSettings(StageSettings):
    """Where the songs are."""

    stage: ClassVar[str] = "catalog"
    code_version: ClassVar[int] = 2
    formerly: ClassVar[dict[str, Any]] = {"artist_separators": []}
    source: str = Field(
        min_length=1,
        description="Folder or s3://bucket/prefix with the songs, or a manifest: a CSV or Parquet file of paths or "
        "URIs.",
    )
    kind: CatalogKind = Field("auto", description="Layout of the source.")
    artist_separators: tuple[str, ...] = Field(
        (),
        description="Text between the names of several artists in one credit, such as feat. or a semicolon; repeat the "
        "option for several. By default no name is split.",
    )

    @field_validator("source")
    @classmethod
    def _source_can_be_listed(cls, source: str) -> str:
        if re.match(r"https?://", source, re.IGNORECASE):
            raise ValueError("expected a folder or s3://bucket/prefix; list songs on the web in a manifest, by URI")
        return source


class ExtractSettings(StageSettings):
    """Which part of each song is decoded, and what is computed from it."""

    stage: ClassVar[str] = "extract"
    code_version: ClassVar[int] = 2
    sample_rate: int = Field(22050, ge=16_000, le=192_000, description="Sample rate of the clip, in Hz.")
    offset_s: float = Field(30.0, ge=0, description="Where the clip starts, in seconds.")
    duration_s: float = Field(30.0, gt=0, le=600, description="Length of the clip, in seconds.")
    min_duration_s: float = Field(0.1, ge=0.001, description="Skip clips shorter than this, in seconds.")
    feature_sets: tuple[FeatureSet, ...] = Field(
        ("iiitd41", "gtzan57"), min_length=1, description="Feature set; repeat the option for several."
    )
    n_mels: int = Field(128, ge=8, le=512, description="Bands of the mel-spectrogram.")
    segment_s: float = Field(
        0.0, description="Also compute the features of each segment of this length, in seconds; 0 for no segments."
    )
    images: bool = Field(False, description="Also make PNG images of the spectrogram and the waveform.")
    mel96: bool = Field(False, description="Also compute the mel-spectrogram that cnn and crnn read: 12 kHz, 96 bands.")

    @field_validator("segment_s")
    @classmethod
    def _segment_fits_the_clip(cls, segment_s: float, others: ValidationInfo) -> float:
        longest = others.data.get("duration_s", math.inf)
        if segment_s and not MIN_SEGMENT_S <= segment_s <= longest:
            raise ValueError(f"expected 0, or {MIN_SEGMENT_S:g} s to the {longest:g} s of the clip")
        return segment_s


class TrainSettings(StageSettings):
    """Which genre model is trained, and how.

    None means the model's own default: see ``DEFAULTS`` of :mod:`musicrec.models.networks`.
    """

    stage: ClassVar[str] = "train"
    code_version: ClassVar[int] = 2
    open_means: ClassVar[str] = "the model's own"
    formerly: ClassVar[dict[str, Any]] = {"balance": "none", "space": []}
    model: ModelName = Field("mlp", description="Model to train: see musicrec models.")
    feature_set: FeatureSet = Field("iiitd41", description="Feature set, for models that read features.")
    space: ReadSpaces = Field((), description=READ_SPACES)
    params: str = Field(
        "",
        description='Hyper-parameters of a classical model, as JSON such as {"C": 3}; `musicrec tune` finds them.',
    )
    balance: Balance = Field(
        "genre+artist",
        description="How songs are weighted in training. none: all songs equally; genre: all genres equally; "
        "genre+artist: all genres equally, and the artists within a genre by the square root of the number of their "
        "songs.",
    )
    test_fraction: float = Field(
        0.2, gt=0, lt=0.6, description="Share of the songs held out for testing, about one in 2, 3, 4, …"
    )
    seed: int = Field(0, ge=0, description="Seed of the split, the weights and the order of the songs.")
    epochs: int | None = Field(None, ge=1, description="Passes of a network over the training songs.")
    patience: int = Field(
        0,
        ge=0,
        description="Stop after this many epochs in which the loss on a tenth of the training songs did not improve; "
        "0 for never.",
    )
    batch_size: int | None = Field(None, ge=2, description="Songs per training step, over all workers.")
    learning_rate: float | None = Field(None, gt=0, description="Learning rate of Adam.")
    cosine: bool | None = Field(None, description="Let the learning rate fall to zero along a cosine.")
    weight_decay: float | None = Field(None, ge=0, description="Decoupled weight decay, as in AdamW.")
    ema: float | None = Field(
        None, ge=0, lt=1, description="Keep a moving average of the weights, with this momentum; 0 for none."
    )
    precision: Precision = Field("float32", description="Number format of the hidden layers; bfloat16 is for GPUs.")
    output: Output | None = Field(
        None,
        description="Output of a network: one genre out of all (softmax), or each genre on its own (sigmoid).",
    )
    window_s: float | None = Field(
        None,
        ge=0,
        le=600,
        description="Length of the excerpts, in seconds, for networks that read mel-spectrograms.",
    )
    scaling: Scaling | None = Field(
        None,
        description="How the features of mlp are scaled; whitened: songs of one genre vary equally in every direction.",
    )
    dropout: float | None = Field(None, ge=0, lt=1, description="Dropout rate of the network's dropout layers.")
    l1: float | None = Field(None, ge=0, description="L1 penalty on the dense weights of mlp.")
    contrastive: float | None = Field(
        None,
        ge=0,
        description="Weight of the contrastive loss, which pulls songs of one genre by different artists together; "
        "0 for none.",
    )
    mixup: float | None = Field(None, ge=0, description="MixUp: alpha of the Beta distribution; 0 for no MixUp.")
    cutmix: float | None = Field(None, ge=0, description="CutMix: alpha of the Beta distribution; 0 for no CutMix.")
    spec_augment: bool | None = Field(None, description="SpecAugment: mask stripes of time and of frequency.")

    @field_validator("params")
    @classmethod
    def _params_are_json(cls, params: str) -> str:
        try:
            if isinstance(json.loads(params or "{}"), dict):
                return params
        except ValueError:
            pass
        raise ValueError('expected a JSON object such as {"C": 3}')


class EvaluateSettings(StageSettings):
    """Which models are evaluated, and by how many training runs each."""

    stage: ClassVar[str] = "evaluate"
    models: tuple[ModelName, ...] = Field(
        ("mlp", "logistic", "svm", "random_forest", "knn"),
        min_length=1,
        description="Model to evaluate; repeat the option for several.",
    )
    fuse: tuple[str, ...] = Field(
        (),
        description="Also evaluate the mean of several models' probabilities, such as resnet+svm; repeat the option "
        "for several.",
    )
    folds: int = Field(3, ge=2, le=20, description="Number of folds; each fold is tested once.")
    seeds: int = Field(
        1, ge=1, le=100, description="Number of cross-validations, each with its own seed for folds and weights."
    )

    @field_validator("fuse")
    @classmethod
    def _fused_are_judged(cls, fuse: tuple[str, ...], others: ValidationInfo) -> tuple[str, ...]:
        models = others.data.get("models", ())
        for fused in fuse:
            names = fused.split("+")
            unknown = [name for name in names if name not in models]
            if unknown or len(names) < 2:
                raise ValueError(f"expected models of --models joined by +, such as {'+'.join(models[:2])}")
        return fuse


class TuneSettings(StageSettings):
    """Which model's hyper-parameters are searched, and on which songs."""

    stage: ClassVar[str] = "tune"  # not of the chain, so not in STAGES: the table's footer holds its settings
    formerly: ClassVar[dict[str, Any]] = {"space": []}
    model: ClassicalName = Field("svm", description="Model to tune.")
    feature_set: FeatureSet = Field("iiitd41", description="Feature set the model reads.")
    space: ReadSpaces = Field((), description=READ_SPACES)
    balance: Balance = Field("genre+artist", description="How songs are weighted in training, as in train.")
    folds: int = Field(5, ge=2, le=20, description="Number of inner folds of the training songs, split by artist.")
    test_fraction: float = Field(
        0.2, gt=0, lt=0.6, description="Share of the songs that train holds out; tune never uses them."
    )
    seed: int = Field(0, ge=0, description="Seed of the split, the same as in train, and of the folds.")


class EmbedSettings(StageSettings):
    """Which model computes the embeddings."""

    stage: ClassVar[str] = "embed"
    code_version: ClassVar[int] = 2
    model: ModelName = Field("mlp", description="Trained model that computes the embeddings.")


class VectorsSettings(StageSettings):
    """Which file the vectors of a space are in, and what made them.

    They are settings of one space. The footer of its table holds them, not ``settings.toml``.
    """

    stage: ClassVar[str] = "vectors"
    name: SpaceName = Field(description="Name of the space.")
    file: str = Field(min_length=1, description="Parquet file, on this machine or on S3.")
    model: str = Field("", description="Model that made the vectors.")
    weights: str = Field("", description="Hash of the model's weights.")
    front_end: str = Field("", description="What the model reads of a song, such as 16 kHz, 96 mel.")
    windowing: str = Field("", description="Windows that a song is cut into, such as 3 s every 1.5 s.")
    pooling: str = Field("", description="How one vector is made of those of the windows, such as mean.")
    licence: str = Field("", description="Licence of the vectors.")
    source: str = Field("", description="Where the vectors come from.")


class PretrainedSettings(StageSettings):
    """Which pretrained model is run on which part of each song."""

    stage: ClassVar[str] = "pretrained"  # not of the chain: the table's footer holds its settings
    model: str = Field(min_length=1, description="Model on this machine: see musicrec models.")
    offset_s: float = Field(30.0, ge=0, description="Where the clip starts, in seconds.")
    duration_s: float = Field(
        30.0, ge=0, le=600, description="Length of the clip, in seconds; 0 for the whole song, whatever --offset-s."
    )


class DuplicatesSettings(StageSettings):
    """How much alike two files of one recording must sound."""

    stage: ClassVar[str] = "duplicates"
    max_bit_errors: float = Field(
        0.25,
        gt=0,
        le=0.4,
        description="Two files are one recording if at most this share of the bits of their fingerprints differs. "
        "Other files of a recording differ in up to 0.12, remixes in 0.16 to 0.34, other songs in more than 0.4.",
    )


class Rules(StageSettings):
    """Which songs a list holds, and in which order."""

    n: int = Field(50, ge=1, le=10_000, description="Number of similar songs to keep for each song.")
    metric: Metric = Field("cosine", description="Similarity: cosine, or minus the Euclidean distance.")
    no_same_artist: bool = Field(False, description="Leave out songs by the song's own artist.")
    max_per_artist: int = Field(0, ge=0, description="Maximum number of songs by one artist in a list; 0 for no limit.")
    max_per_album: int = Field(0, ge=0, description="Maximum number of songs from one album in a list; 0 for no limit.")
    no_duplicates: bool = Field(
        False,
        description="Leave out other clips and copies of the song itself, and keep only the best match among the "
        "clips and copies of another song. Two songs are copies if their content is equal, if the manifest gives them "
        "the same recording, or if musicrec duplicates has found that they sound the same.",
    )
    duplicate_score: float | None = Field(
        None,
        description="Also leave out songs that have at least this score and the same length as the song, to 0.1 s. "
        "With the embedding of a genre model, different songs may score above 0.9999.",
    )
    genre: GenreRule = Field(
        "any",
        description="any: songs of any genre; only: songs of the song's own genre; boost: songs of any genre, with a "
        "higher score for the song's own genre.",
    )
    genre_weight: float = Field(
        1.0, ge=0, description="With --genre boost: what full agreement of genres adds to the score."
    )
    min_score: float | None = Field(
        None, description="Leave out songs with a score below this; lists may then be shorter."
    )
    require_tag: tuple[str, ...] = Field(
        (),
        description="Leave out songs whose score for this tag is lower, such as instrumental=0.3; songs without tags "
        "too. musicnn:instrumental=0.3 names the model; without a number, 0.1. Repeat the option for several; none for "
        "no such rule any more.",
    )
    exclude_tag: tuple[str, ...] = Field(
        (),
        description="Leave out songs that have at least this score for this tag, such as vocal=0.2; songs without tags "
        "stay. Otherwise as --require-tag.",
    )
    hubness: Hubness = Field(
        "none", description="Method against hubs, which are songs that are in too many lists; it changes the scores."
    )

    @field_validator("require_tag", "exclude_tag")
    @classmethod
    def _tags_have_thresholds(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted({str(tag_rule(text)) for text in tags if text != NO_TAG_RULE}))

    @field_validator("hubness")
    @classmethod
    def _boost_adds_to_a_score(cls, hubness: Hubness, others: ValidationInfo) -> Hubness:
        if hubness != "none" and others.data.get("genre") == "boost":
            raise ValueError("expected none with --genre boost, whose weight is added to a similarity")
        return hubness


class SimilarSettings(Rules):
    """How the recommendation table is made, and which conditions it must meet to be published."""

    stage: ClassVar[str] = "similar"
    code_version: ClassVar[int] = 2
    formerly: ClassVar[dict[str, Any]] = {"space": [], "require_tag": [], "exclude_tag": []}
    space: tuple[str, ...] = Field(
        (),
        description="Space in which songs are compared: embeddings, features, or one that musicrec vectors list shows. "
        "For several at once, repeat the option with weights, such as musicnn=1 and features=0.3. The default is "
        "embeddings; for run on a new OUT, features=0.25, musicnn=1 and tags/musicnn=1 if MusiCNN is on this machine.",
    )
    approximate_above: int = Field(
        5_000_000,
        ge=0,
        description="With more songs than this, lists are approximate: each song is compared only with the songs of "
        "the nearest clusters. The recall, which is the share of the exact lists that is found, is measured and "
        "reported. 0 for never.",
    )
    probes: int = Field(
        32, ge=1, description="For approximate lists: the number of clusters that a song is compared with."
    )
    min_coverage: float = Field(0.2, ge=0, le=1, description="Gate: smallest share of songs that are in any list.")
    max_hub_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Gate: largest share of all lists that one song may be in (checked from 20·n songs on).",
    )
    max_churn: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Gate: largest share of a list, on average, that may differ from the published table.",
    )

    @field_validator("space")
    @classmethod
    def _space_has_a_name(cls, space: tuple[str, ...]) -> tuple[str, ...]:
        weights = weights_of(space)
        is_valid = all(is_space_name(name) and 0 < weight < math.inf for name, weight in weights.items())
        if not is_valid or len(weights) < len(space):
            raise ValueError("expected each space once, as a name or with a weight above 0, such as features=0.3")
        if len(weights) == 1:
            return tuple(name for name in weights if space and name != OWN_SPACES[0])
        return tuple(f"{name}={weights[name]:.12g}" for name in sorted(weights))


def weights_of(space: Sequence[str]) -> dict[str, float]:
    """Return the weight of each space by its name, from entries such as features=0.3; without any, of embeddings."""
    pairs = [entry.partition("=") for entry in space or OWN_SPACES[:1]]
    return {name: _number(weight) if is_given else 1.0 for name, is_given, weight in pairs}


class TagRule(NamedTuple):
    """A tag, and the score that songs must have or must not have."""

    model: str  # pretrained model that gave the scores; empty: the only one with this tag
    tag: str
    score: float

    def __str__(self) -> str:
        return f"{self.model}{':' if self.model else ''}{self.tag}={self.score:.12g}"


def tag_rule(text: str) -> TagRule:
    """Return the rule in a text such as musicnn:jazz=0.3.

    Raises
    ------
    ValueError
        It has no tag, or a score that is not between 0 and 1.
    """
    name, is_given, number = text.rpartition("=") if "=" in text else (text, "", "")
    score = _number(number) if is_given else TAG_SCORE
    model, has_model, tag = name.partition(":")
    if not has_model or not SPACE_NAME.fullmatch(model):
        model, tag = "", name
    if not tag or not 0 < score <= 1:
        raise ValueError("expected a tag, or a tag with a score above 0 and up to 1, such as instrumental=0.3")
    return TagRule(model, tag, score)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


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


def resolve(cls: type[S], *layers: Mapping[str, Any]) -> S:
    """Return settings from layers of values; the earlier layer wins.

    Raises
    ------
    ConfigError
        A value is out of range or a name is unknown. The message says which, and what was expected.
    """
    merged: dict[str, Any] = {}
    for layer in reversed(layers):
        merged.update({name: value for name, value in layer.items() if value is not None})
    try:
        return cls(**merged)
    except ValidationError as e:
        problem = e.errors()[0]
        name = ".".join([cls.stage, *map(str, problem["loc"])])
        value = "" if problem["type"] == "missing" else f" = {problem['input']!r}"
        raise ConfigError(f"setting {name}{value}: {_expected(cls, problem)}") from e


def _expected(cls: type[StageSettings], problem: ErrorDetails) -> str:
    """Return what was expected, in plain words where those of pydantic are for developers."""
    if problem["type"] == "extra_forbidden":
        return f"no such setting; expected one of {', '.join(cls.model_fields)}"
    if problem["type"] == "missing":
        return "it has no default; give it a value"
    return problem["msg"].removeprefix("Value error, ")
