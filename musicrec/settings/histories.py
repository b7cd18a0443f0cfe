"""Settings of listening histories and of what is recommended to all listeners."""

from typing import ClassVar

from pydantic import Field

from musicrec.settings.base import StageSettings


class HistoriesSettings(StageSettings):
    """Which files hold the listens, and which listens count as likes.

    The footer of the table ``histories`` holds them, not ``settings.toml``.
    """

    stage: ClassVar[str] = "histories"
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
    n: int = Field(20, ge=1, le=1000, description="Most songs for a listener.")
    max_per_artist: int = Field(
        0, ge=0, description="Most songs by one artist; the next songs take the places. 0 for any number."
    )
