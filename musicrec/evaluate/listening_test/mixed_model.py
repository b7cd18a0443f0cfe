"""A linear mixed model with crossed effects of participants and songs, fitted by REML.

answer = intercept + effect · x + participant + (participant's own effect) · x + song + noise

Paired tests take the songs as given. This model does not: it says what other participants and other songs would do, as
both are drawn from many (Baayen, Davidson and Bates 2008). Each participant may have an effect of their own, without
which the interval would be too narrow (Barr, Levy, Scheepers and Tily 2013).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]

FEWEST = 3  # participants and songs of a condition
MOST_RATIO = 100.0  # standard deviation of an effect by that of the noise
STARTS = (0.3, 1.0)


class MixedEffect(NamedTuple):
    """The effect of a condition on other participants and songs.

    Attributes
    ----------
    effect, low, high : float
        The effect and its 95 % interval.
    p : float
        Two-sided p-value by Student's t with `degrees_of_freedom`.
    standard_error : float
        Standard error of the effect.
    degrees_of_freedom : int
        One less than the number of participants, or of songs of the condition with the fewest, if that is smaller.
    sd_participant, sd_slope, sd_song, sd_noise : float
        Standard deviations of what the model takes as random.
    """

    effect: float
    low: float
    high: float
    p: float
    standard_error: float
    degrees_of_freedom: int
    sd_participant: float
    sd_slope: float
    sd_song: float
    sd_noise: float


def mixed_effect(answers: ArrayLike, x: ArrayLike, participants: ArrayLike, songs: ArrayLike) -> MixedEffect | None:
    """Fit the model and test its effect.

    Parameters
    ----------
    answers : array_like
        [n], finite.
    x : array_like
        [n], ½ in the first condition, −½ in the second, 0 in both.
    participants, songs : array_like
        [n], who answered, and what they heard.

    Returns
    -------
    MixedEffect or None
        None with fewer than three participants, or three songs of a condition, or if nothing varies but by condition.
    """
    y, contrast = np.asarray(answers, np.float64), np.asarray(x, np.float64)
    people, heard = (np.unique(np.asarray(names), return_inverse=True)[1] for names in (participants, songs))
    fewest = min(len(np.unique(people)), *(len(np.unique(heard[contrast * side > 0])) for side in (1, -1)))
    if fewest < FEWEST:
        return None
    design = np.column_stack([np.ones_like(y), contrast])
    if np.linalg.matrix_rank(np.column_stack([design, y])) <= design.shape[1]:  # nothing is left to be random
        return None
    from scipy import stats

    ratios, beta, error, noise = _fit(_products(y, design, people, heard))
    df = fewest - 1
    half = float(stats.t.ppf(0.975, df)) * error
    p = float(2 * stats.t.sf(abs(beta) / error, df))
    participant, slope, song = (float(noise * ratio) for ratio in ratios)
    return MixedEffect(beta, beta - half, beta + half, p, error, df, participant, slope, song, noise)


class _Products(NamedTuple):
    """Cross products of all columns: participants, their effects, songs, then intercept, x and answers.

    A song that was heard once is no column. It adds to the variance of its answer.
    """

    of_shared: Matrix  # over answers to songs that were heard several times
    of_single: Matrix
    n_single: int
    n: int
    widths: tuple[int, int, int]  # columns of participants, their effects, and songs


def _products(y: Matrix, design: Matrix, people: NDArray[np.intp], heard: NDArray[np.intp]) -> _Products:
    is_single = np.bincount(heard)[heard] == 1
    of_people = np.eye(people.max() + 1)[people]
    of_songs = np.eye(heard.max() + 1)[heard][:, np.bincount(heard) > 1]
    columns = np.column_stack([of_people, of_people * design[:, 1:], of_songs, design, y])
    shared, single = columns[~is_single], columns[is_single]
    widths = (of_people.shape[1], of_people.shape[1], of_songs.shape[1])
    return _Products(shared.T @ shared, single.T @ single, len(single), len(y), widths)


def _fit(products: _Products) -> tuple[Matrix, float, float, float]:
    """Return what fits best: ratios of standard deviations to the noise's, effect, its error, and the noise's sd."""
    from scipy import optimize

    bounds = [(0.0, MOST_RATIO)] * 3
    fits = [
        optimize.minimize(lambda ratios: _solved(ratios, products)[0], [start] * 3, method="L-BFGS-B", bounds=bounds)
        for start in STARTS
    ]
    ratios = np.asarray(min(fits, key=lambda fit: float(fit.fun)).x, np.float64)
    _, root = _solved(ratios, products)
    inverse = np.linalg.inv(root[:-1, :-1])
    noise = float(root[-1, -1] / np.sqrt(products.n - 2))
    return ratios, float(inverse[1] @ root[:-1, -1]), float(noise * np.linalg.norm(inverse[1])), noise


def _solved(ratios: Matrix, products: _Products) -> tuple[float, Matrix]:
    """Return the REML deviance, and the triangular root of intercept, x and answers under the model's covariance.

    The Cholesky factor of the mixed-model equations, bordered by these columns, ends in that root.
    """
    n_random = sum(products.widths)
    single = 1 + ratios[2] ** 2
    scale = np.concatenate([np.repeat(ratios, products.widths), np.ones(3)])
    equations = (products.of_shared + products.of_single / single) * np.outer(scale, scale)
    equations[:n_random, :n_random] += np.eye(n_random)
    factor = np.linalg.cholesky(equations)
    logs = np.log(np.diagonal(factor))
    deviance = 2 * logs[:-1].sum() + products.n_single * np.log(single) + 2 * (products.n - 2) * logs[-1]
    return float(deviance), factor[n_random:, n_random:].T
