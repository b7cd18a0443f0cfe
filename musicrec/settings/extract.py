"""Settings of extract: what is decoded and computed."""

import math
from typing import ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from musicrec.settings.base import StageSettings

FeatureSet = Literal["iiitd41", "gtzan57", "fma518"]

MIN_SEGMENT_S = 0.1  # a clip is at most 600 s, so the number of a segment fits 16 bits


class ExtractSettings(StageSettings):
    """Which part of each song is decoded, and what is computed from it."""

    stage: ClassVar[str] = "extract"
    code_version: ClassVar[int] = 3
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
