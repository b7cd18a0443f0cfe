"""Settings of the vectors that others made, or that a pretrained model makes here."""

from typing import ClassVar

from pydantic import Field

from musicrec.settings.base import StageSettings
from musicrec.settings.space_names import SpaceName


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
    code_version: ClassVar[int] = 2
    model: str = Field(min_length=1, description="Model on this machine: see musicrec models.")
    offset_s: float = Field(30.0, ge=0, description="Where the clip starts, in seconds.")
    duration_s: float = Field(
        30.0, ge=0, le=600, description="Length of the clip, in seconds; 0 for the whole song, whatever --offset-s."
    )
