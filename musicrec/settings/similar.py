"""Settings of the lists: which songs are one recording, how songs are compared, and which a list holds."""

import math
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field, ValidationInfo, field_validator

from musicrec.settings.base import StageSettings
from musicrec.settings.space_names import OWN_SPACES, SPACE_NAME, is_space_name, to_number, weights_of

Metric = Literal["cosine", "euclidean"]
GenreRule = Literal["any", "only", "boost"]
Hubness = Literal["none", "mutual_proximity", "local_scaling", "csls"]

TAG_SCORE = 0.1  # of a rule for a tag that names no score
NO_TAG_RULE = "none"  # in place of a tag: forget the rules of the last run


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
    score = to_number(number) if is_given else TAG_SCORE
    model, has_model, tag = name.partition(":")
    if not has_model or not SPACE_NAME.fullmatch(model):
        model, tag = "", name
    if not tag or not 0 < score <= 1:
        raise ValueError("expected a tag, or a tag with a score above 0 and up to 1, such as instrumental=0.3")
    return TagRule(model, tag, score)
