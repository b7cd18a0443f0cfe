"""How good results are, with intervals (pure: arrays in, figures out)."""

from musicrec.evaluate.classification import Accuracy, accuracy, predict_folds

__all__ = ["Accuracy", "accuracy", "predict_folds"]
