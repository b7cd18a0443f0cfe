"""Settings of listening histories and of what is recommended to all listeners."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from musicrec.settings.base import StageSettings

RecommendMethod = Literal["max", "mean", "multi_interest", "genre", "hybrid"]
ListenerSplit = Literal["time", "last", "random"]
ListenerMethod = Literal[
    "random", "popularity", "item_knn", "bm25", "als", "bpr", "mean", "max", "multi_interest", "mmr", "genre", "hybrid"
]


class HistoriesSettings(StageSettings):
    """Which files hold the listens, and which listens count as likes.

    The footer of the table ``histories`` holds them, not ``settings.toml``.
    """

    stage: ClassVar[str] = "histories"
    code_version: ClassVar[int] = 2
    files: tuple[str, ...] = Field(min_length=1, description="Files and folders of listens, on this machine or on S3.")
    user: str = Field("", description="The listener, for files that name none, or instead of those they name.")
    min_seconds: float = Field(
        30.0, ge=0, description="A listen is a like if it lasts so many seconds, or --min-share of the song."
    )
    min_share: float = Field(
        0.5, gt=0, le=1, description="A listen is a like if it covers this share of the song, or lasts --min-seconds."
    )
    count_skips: bool = Field(False, description="Whether a listen that was skipped can be a like.")
    min_likeness: float = Field(
        90.0,
        ge=50,
        le=100,
        description="How alike artist and title must be to those of a song, word by word, in percent. "
        "100: only names that are equal, but for case, accents, punctuation, guests and remasters.",
    )


class RecommendSettings(StageSettings):
    """How many songs are recommended to each listener, and which.

    The footer of the table ``recommendations`` holds them, not ``settings.toml``.
    """

    stage: ClassVar[str] = "recommend"
    code_version: ClassVar[int] = 2
    formerly: ClassVar[dict[str, Any]] = {"seed": 0}
    n: int = Field(20, ge=1, le=1000, description="Most songs for a listener.")
    method: RecommendMethod = Field(
        "max",
        description="Rank songs by the similarity to the most similar like (max), by the mean similarity to all likes "
        "(mean), by that plus the agreement of genres (genre), take the songs most similar to the centre of each "
        "interest in turn (multi_interest), or fuse the ranks of max with those of what similar listeners like "
        "(hybrid), which needs the extra collaborative.",
    )
    weight: float = Field(1.0, ge=0, description="With method genre: weight of the agreement of genres.")
    min_likes: int = Field(
        1, ge=1, description="Listeners with fewer likes get songs from the centres of their genres, and popular songs."
    )
    max_per_artist: int = Field(
        0, ge=0, description="Most songs by one artist; the next songs take the places. 0 for any number."
    )
    max_per_album: int = Field(
        0, ge=0, description="Most songs of one album; the next songs take the places. 0 for any number."
    )
    seed: int = Field(0, ge=0, lt=2**32, description="With method hybrid: seed of what is drawn, and of the factors.")


class ListenerEvaluationSettings(StageSettings):
    """With --histories: which likes are held out, and which methods are judged.

    The footer of the table ``listener_scores`` holds them, not ``settings.toml``.
    """

    stage: ClassVar[str] = "listener_evaluation"
    split: ListenerSplit = Field(
        "time",
        description="Hold out all likes after one moment (time), the last like of each listener (last), or likes "
        "drawn at random (random), which needs no times and flatters every method.",
    )
    methods: tuple[ListenerMethod, ...] = Field(
        ("random", "popularity", "item_knn", "mean", "max", "multi_interest", "mmr", "hybrid"),
        min_length=1,
        description="Method to judge; repeat the option for several. bm25, als and bpr need the extra collaborative.",
    )
    n: int = Field(20, ge=1, le=1000, description="Length of the lists.")
    learn_share: float = Field(
        0.8, gt=0, lt=1, description="Share of the likes before the moment of --split time, or not drawn by random."
    )
    max_users: int = Field(2000, ge=2, description="Most listeners who are judged; more are drawn at random.")
    seed: int = Field(0, ge=0, description="Seed of what is drawn, and of the methods.")
