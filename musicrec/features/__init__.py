"""From samples to named features and mel-spectrograms, with the values of librosa's defaults."""

from musicrec.features.analysis import HOP_LENGTH, Analysis, mel
from musicrec.features.sets import FEATURE_SETS, evaluate, extract, feature_names

__all__ = ["FEATURE_SETS", "HOP_LENGTH", "Analysis", "evaluate", "extract", "feature_names", "mel"]
