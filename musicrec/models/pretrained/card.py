"""The card of a network that somebody else has trained: what it reads, what it gives, and under which licence."""

import tomllib
from pathlib import Path
from typing import ClassVar, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, model_validator

from musicrec.errors import ConfigError
from musicrec.features.front_ends import FRONT_ENDS, FrontEnd, Short
from musicrec.models.pretrained.signals import SignalName
from musicrec.settings import SpaceName, StageSettings, resolve

Pooling = Literal["mean", "mean+std", "max"]
FrontEndName = Literal["musicnn", "vggish", "yamnet", "clap", "wave"]


class GoldenVector(BaseModel):
    """The vector of a clip that is made by a formula: every machine must come to the same."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    signal: SignalName = Field(description="Name of the clip.")
    vector: tuple[float, ...] = Field(min_length=1, description="Its vector.")


class Card(StageSettings):
    """What a network reads and gives, and under which licence."""

    stage: ClassVar[str] = "card"
    name: SpaceName = Field(description="Name of the model, and of the space of its vectors.")
    licence: str = Field(min_length=1, description="Licence of the weights.")
    source: str = Field(min_length=1, description="Where the weights come from.")
    weights: str = Field("", description="SHA-256 of the ONNX file; if it is given, the file must have it.")
    sample_rate: int = Field(ge=1_000, le=192_000, description="Sample rate of the clip, in Hz.")
    front_end: FrontEndName = Field(description="What is computed from the samples.")
    window_s: float = Field(gt=0, le=600, description="Length of a window, in seconds.")
    hop_s: float = Field(gt=0, le=600, description="Seconds from the start of a window to that of the next.")
    short: Short = Field(
        "repeat",
        description="What a clip shorter than a window gets: pad, zeros at its end; repeat, itself again and again; "
        "refuse, no vector.",
    )
    output: str = Field(min_length=1, description="Output of the network that is the vector of a window.")
    pooling: Pooling = Field("mean", description="How one vector is made of those of the windows.")
    tags_output: str = Field("", description="Output of the network that holds a score from 0 to 1 for each tag.")
    tags: tuple[str, ...] = Field((), description="Names of the tags, in the order of that output.")
    tolerance: float = Field(
        1e-3, gt=0, le=0.1, description="How far a golden vector may be off, as a share of its length."
    )
    golden: tuple[GoldenVector, ...] = Field((), description="Golden vectors; without any, this machine makes them.")

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        rate = self.reads.sample_rate
        if rate not in (None, self.sample_rate):
            raise ValueError(f"sample_rate {self.sample_rate}: front end {self.front_end} reads {rate} Hz")
        if not min(self.window_shape):
            raise ValueError(f"window_s {self.window_s:g}: expected at least one frame of front end {self.front_end}")
        if bool(self.tags) != bool(self.tags_output):
            raise ValueError("tags and tags_output: expected both or neither")
        signals = [golden.signal for golden in self.golden]
        if len(set(signals)) < len(signals) or len({len(golden.vector) for golden in self.golden}) > 1:
            raise ValueError("golden: expected one vector for a signal, and all of one length")
        return self

    @property
    def reads(self) -> FrontEnd:
        """The front end."""
        return FRONT_ENDS[self.front_end]

    @property
    def window_shape(self) -> tuple[int, ...]:
        """Shape of a window: [n_frames, n_bands], or [n_samples]."""
        return self.reads.window_shape(self.window_s, self.sample_rate)


def read_card(path: Path) -> Card:
    """Read a card from a TOML file.

    Raises
    ------
    ConfigError
        The file is missing, is not TOML, lacks an entry, or has one with a wrong value.
    """
    try:
        return parse_card(path.read_text(encoding="utf-8"), str(path))
    except OSError as e:
        raise ConfigError(f"card {path}: {e.strerror}; expected a TOML file") from e


def parse_card(text: str, path: str) -> Card:
    """Return the card in the text of a TOML file; its path is for messages.

    Raises
    ------
    ConfigError
        As for :func:`read_card`.
    """
    try:
        return resolve(Card, tomllib.loads(text))
    except ValueError as e:
        raise ConfigError(f"card {path} is not TOML ({e}); correct it") from e
    except ConfigError as e:
        raise ConfigError(f"{path}: {e}") from e


def to_toml(card: Card) -> str:
    """Return a card as the text of a TOML file."""
    return tomli_w.dumps(card.model_dump(mode="json"))
