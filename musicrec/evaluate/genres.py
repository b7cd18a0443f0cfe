"""Measures of how well each genre is named: precision, recall, F1, ROC and AUC.

Conventions
-----------
Rows are tested songs, once for each seed, and k is the number of genres. `weights` [n_groups, n_draws] say how often
each artist counts: a column of ones gives the figure itself, the draws of ``bootstrap.draw_groups`` its interval.
A genre without songs has no figures (NaN); one that is never named has precision and F1 0.

Counts are added over the folds of a seed, figures averaged over seeds. Scores of two networks cannot be ranked against
each other, so ROC and AUC compare songs that the same network scored: those of one fold and seed (Forman & Scholz 2010,
"Apples-to-apples in cross-validation studies").
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

THRESHOLD = 0.5
FALSE_POSITIVE_RATES = np.linspace(0, 1, 201)


class Runs(NamedTuple):
    """The answers of one model on one split; n rows."""

    truth: Flags  # [n, k]: one true in each row
    named: Flags  # [n, k]: at most one
    probabilities: Floats  # [n, k]: NaN where the model gave none
    seed: Indices  # [n]: 0 to n_seeds - 1
    network: Indices  # [n]: number of the network, one for each fold and seed
    group: Indices  # [n]: number of the artist

    @property
    def thresholded(self) -> Flags:
        """[n, k]: genres with a probability above one half; none or several a song."""
        return self.probabilities > THRESHOLD  # false for NaN


def arrange(predictions: pd.DataFrame, groups: pd.Series, classes: Sequence[str]) -> Runs:
    """Return the rows of one model and split as arrays.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Columns of ``musicrec.schemas.EVALUATION``.
    groups : pandas.Series
        Artist by track id.
    classes : sequence of str
        Genres in the order of the probabilities.

    Raises
    ------
    ValueError
        A genre is not among the classes, or a song has another number of probabilities.
    """
    strangers = set(predictions["genre"]) - set(classes)
    if strangers:
        raise ValueError(f"genre {min(map(str, strangers))!r} is not among the classes {list(classes)}")
    names = np.asarray(classes, object)
    return Runs(
        truth=predictions["genre"].to_numpy(object)[:, None] == names,
        named=predictions["predicted"].to_numpy(object)[:, None] == names,
        probabilities=_stack(predictions["probabilities"], len(classes)),
        seed=_codes(predictions["seed"]),
        network=predictions.groupby(["seed", "fold"]).ngroup().to_numpy().astype(np.intp),
        group=_codes(predictions["track_id"].map(groups)),
    )


def _codes(values: pd.Series) -> Indices:
    return np.unique(values.to_numpy(), return_inverse=True)[1].astype(np.intp)


def _stack(probabilities: pd.Series, k: int) -> Floats:
    """Return the probabilities as [n, k]; NaN for a song that has none."""
    rows = [np.full(k, np.nan) if p is None or np.ndim(p) == 0 else np.asarray(p, np.float64) for p in probabilities]
    if any(len(row) != k for row in rows):
        wrong = next(len(row) for row in rows if len(row) != k)
        raise ValueError(f"{wrong} probabilities for a song; expected one for each of the {k} classes")
    return np.array(rows).reshape(-1, k)


def accuracy_of_seeds(runs: Runs) -> Floats:
    """Return the share of songs named right by each seed, [n_seeds]."""
    right = (runs.truth & runs.named).any(axis=1)
    return np.bincount(runs.seed, right) / np.bincount(runs.seed)


def rates(
    truth: Flags, named: Flags, seed: Indices, group: Indices, weights: NDArray[np.floating]
) -> tuple[Floats, Floats, Floats]:
    """Return precision, recall and F1 of each genre in each draw, means over seeds.

    Parameters
    ----------
    truth, named : numpy.ndarray
        Whether a song has a genre, and whether the model named it, [n, k].
    seed, group : numpy.ndarray
        Seed and artist of each row, [n].
    weights : numpy.ndarray
        [n_groups, n_draws].

    Returns
    -------
    precision, recall, f1 : numpy.ndarray
        [n_draws, k], in [0, 1].
    """
    shape = (int(seed.max()) + 1, len(weights), truth.shape[1])

    def count(flags: Flags) -> Floats:  # [n_seeds, n_draws, k]
        sums = np.zeros(shape)
        np.add.at(sums, (seed, group), flags)
        return weights.T @ sums

    right, songs, answers = count(truth & named), count(truth), count(named)
    songs[songs == 0] = np.nan
    precision = right / np.maximum(answers, 1) + 0 * songs
    return mean(precision, 0), mean(right / songs, 0), mean(2 * right / (songs + answers), 0)


def auc(
    positive: Flags, probability: Floats, network: Indices, group: Indices, weights: NDArray[np.floating]
) -> Floats:
    """Return the area under the ROC curve in each draw: the share of pairs that are in order, ties counted half.

    A pair is a song of the genre and one of another, scored by the same network. A song without a probability loses
    all its pairs, as if it were named wrong.

    Parameters
    ----------
    positive : numpy.ndarray
        Whether a song has the genre, [n].
    probability : numpy.ndarray
        The model's probability that it has, [n].
    network, group : numpy.ndarray
        Network and artist of each row, [n].
    weights : numpy.ndarray
        [n_groups, n_draws].

    Returns
    -------
    numpy.ndarray
        [n_draws], in [0, 1]; NaN where no network was tested on both kinds of song, or no song has a probability.
    """
    if np.isnan(probability).all():
        return np.full(weights.shape[1], np.nan)
    ranked = _worst_if_missing(positive, probability)
    in_order, pairs = np.zeros((2, weights.shape[1]))
    for each in range(int(network.max()) + 1):
        ours = network == each
        high, low = np.flatnonzero(ours & positive), np.flatnonzero(ours & ~positive)
        low = low[np.argsort(ranked[low])]
        below = np.vstack([np.zeros(weights.shape[1]), np.cumsum(weights[group[low]], axis=0)])
        fewer, most = (np.searchsorted(ranked[low], ranked[high], side) for side in ("left", "right"))
        weight = weights[group[high]]
        in_order += (weight * (below[fewer] + below[most])).sum(axis=0) / 2
        pairs += weight.sum(axis=0) * below[-1]
    pairs[pairs == 0] = np.nan
    return in_order / pairs


def roc(positive: Flags, probability: Floats, network: Indices) -> Floats:
    """Return the true-positive rate at each of FALSE_POSITIVE_RATES, the mean over networks tested on both kinds."""
    from sklearn.metrics import roc_curve

    ranked = np.clip(_worst_if_missing(positive, probability), -1, 2)  # probabilities are within 0 and 1
    curves = []
    for each in range(int(network.max()) + 1):
        ours = network == each
        if positive[ours].any() and not positive[ours].all():
            false_positives, true_positives, _ = roc_curve(positive[ours], ranked[ours])
            curves.append(np.interp(FALSE_POSITIVE_RATES, false_positives, true_positives))
    return np.mean(curves, axis=0) if curves else np.full(len(FALSE_POSITIVE_RATES), np.nan)


def confusion(runs: Runs) -> Floats:
    """Count the songs of each genre (rows) by the genre named (columns), [k, k], mean over seeds."""
    return runs.truth.T.astype(np.float64) @ runs.named / (int(runs.seed.max()) + 1)


def mean(values: Floats, axis: int) -> Floats:
    """Return the mean of what is not NaN; NaN where nothing is left."""
    n_defined = (~np.isnan(values)).sum(axis=axis)
    return np.nansum(values, axis=axis) / np.where(n_defined == 0, np.nan, n_defined)


def _worst_if_missing(positive: Flags, probability: Floats) -> Floats:
    return np.where(np.isnan(probability), np.where(positive, -np.inf, np.inf), probability)
