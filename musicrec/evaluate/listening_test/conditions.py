"""How participants answered to the songs of each condition, and how two conditions differ."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from musicrec.evaluate.listening_test.mixed_model import MixedEffect, mixed_effect
from musicrec.evaluate.listening_test.paired_tests import PairedTest, paired_test
from musicrec.evaluate.listening_test.power import participants_needed
from musicrec.evaluate.proportion import wilson

MEASURES = ("liked", "rating")
COMPARED = {  # by design; the first comparison is the one that the conclusion is about
    "set": (("recommended", "set"), ("recommended", "matched"), ("recommended", "random")),
    "methods": (("method 2", "method 1"),),
}
FEWEST = 2  # participants


class Rate(NamedTuple):
    """The answers to the songs of one condition, over all participants.

    Attributes
    ----------
    condition : str
        Name of the condition.
    n : int
        Number of answers.
    liked, low, high : float
        Share of liked songs in percent, and Wilson's 95 % interval; it takes all answers as independent.
    known : float
        Share of songs that participants knew, in percent.
    rating : float
        Mean rating, 0 to 100.
    """

    condition: str
    n: int
    liked: float
    low: float
    high: float
    known: float
    rating: float


class Comparison(NamedTuple):
    """One measure in two conditions.

    Attributes
    ----------
    measure : {"liked", "rating"}
        What is compared: the share of liked songs in percent, or the rating.
    first, second : str
        Names of the conditions; differences are first minus second.
    paired : PairedTest or None
        None with fewer than two participants who answered in both conditions.
    mixed : MixedEffect or None
        None if there are too few participants or songs.
    needed : int or None
        Participants with whom the next test finds a difference as large as this one in 80 % of tests.
    """

    measure: str
    first: str
    second: str
    paired: PairedTest | None
    mixed: MixedEffect | None
    needed: int | None


def rates(answers: pd.DataFrame) -> list[Rate]:
    """Return the answers by condition.

    Parameters
    ----------
    answers : pandas.DataFrame
        A row for each answer: ``participant``, ``track_id``, ``conditions`` (tuple of str), ``like`` and ``known``
        (bool), ``rating`` (0 to 100).

    Returns
    -------
    list of Rate
        In order of first appearance in the conditions of songs.

    Examples
    --------
    >>> answers = pd.DataFrame({"conditions": [("set",)] * 4, "like": [True, True, True, False],
    ...                         "known": False, "rating": [60, 80, 90, 10]})
    >>> [round(value, 1) for value in rates(answers)[0][2:5]]
    [75.0, 30.1, 95.4]
    """
    return [_rate(condition, answers[_stands_under(answers, condition)]) for condition in conditions_of(answers)]


def conditions_of(answers: pd.DataFrame) -> list[str]:
    """Return the names of all conditions, sorted by name, but what is recommended first."""
    names = {name for conditions in answers["conditions"] for name in conditions}
    return sorted(names, key=lambda name: (name != "recommended", name != "set", name))


def _rate(condition: str, rows: pd.DataFrame) -> Rate:
    liked, n = int(rows["like"].sum()), len(rows)
    low, high = wilson(liked, n)
    known, rating = 100 * float(rows["known"].mean()), float(rows["rating"].mean())
    return Rate(condition, n, 100 * liked / n, 100 * low, 100 * high, known, rating)


def compare_conditions(answers: pd.DataFrame, measure: str, first: str, second: str) -> Comparison:
    """Compare two conditions by the answers of participants who answered in both.

    A song that stands under both conditions counts in both.

    Parameters
    ----------
    answers : pandas.DataFrame
        As for :func:`rates`.
    measure : {"liked", "rating"}
        What is compared.
    first, second : str
        Names of the conditions.
    """
    values = 100.0 * answers["like"] if measure == "liked" else answers["rating"].astype(np.float64)
    is_first, is_second = (_stands_under(answers, condition) for condition in (first, second))
    differences = _means(answers, values, is_first) - _means(answers, values, is_second)
    differences = differences.dropna()
    if len(differences) < FEWEST:
        return Comparison(measure, first, second, None, None, None)
    used = (is_first | is_second) & answers["participant"].isin(differences.index)
    contrast = (is_first.astype(np.float64) - is_second.astype(np.float64))[used] / 2
    paired = paired_test(differences)
    mixed = mixed_effect(values[used], contrast, answers["participant"][used], answers["track_id"][used])
    return Comparison(measure, first, second, paired, mixed, participants_needed(paired.d_z))


def _stands_under(answers: pd.DataFrame, condition: str) -> pd.Series:
    return answers["conditions"].map(lambda conditions: condition in conditions).astype(bool)


def _means(answers: pd.DataFrame, values: pd.Series, chosen: pd.Series) -> pd.Series:
    """Return the mean of some answers of each participant."""
    return values[chosen].groupby(answers["participant"][chosen]).mean()
