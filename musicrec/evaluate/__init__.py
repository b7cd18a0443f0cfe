"""Measures of how good results are, with intervals: arrays and data frames in, figures out."""

from musicrec.evaluate.classification import Accuracy, accuracy, predict_folds
from musicrec.evaluate.comparison import compare, difference, mcnemar
from musicrec.evaluate.controls import SHUFFLED, file_type
from musicrec.evaluate.retrieval import Retrieval, random_rankings, recall_at_k, retrieval
from musicrec.evaluate.scores import control_scores, scores
from musicrec.evaluate.summary import summary

__all__ = [
    "SHUFFLED",
    "Accuracy",
    "Retrieval",
    "accuracy",
    "compare",
    "control_scores",
    "difference",
    "file_type",
    "mcnemar",
    "predict_folds",
    "random_rankings",
    "recall_at_k",
    "retrieval",
    "scores",
    "summary",
]
