"""A linear mixed model with crossed effects of participants and songs, fitted by REML.

answer = intercept + effect · x + participant + (participant's own effect) · x + song + noise

Paired tests take the songs as given. This model does not: it says what other participants and other songs would do, as
both are drawn from many (Baayen, Davidson and Bates 2008). Each participant may have an effect of their own, without
which the interval would be too narrow (Barr, Levy, Scheepers and Tily 2013).
"""

from collections.abc import Callable
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
        None with fewer than three participants, or three songs of a condition, or if all answers are equal.
    """
    y, contrast = np.asarray(answers, np.float64), np.asarray(x, np.float64)
    people, heard = (np.unique(np.asarray(names), return_inverse=True)[1] for names in (participants, songs))
    fewest = min(len(np.unique(people)), *(len(np.unique(heard[contrast * side > 0])) for side in (1, -1)))
    if fewest < FEWEST or np.ptp(y) == 0:
        return None
    from scipy import stats

    same_person, same_song = (np.equal.outer(who, who).astype(np.float64) for who in (people, heard))
    design = np.column_stack([np.ones_like(y), contrast])
    ratios, beta, error, noise = _fit(y, design, [same_person, same_person * np.outer(contrast, contrast), same_song])
    df = fewest - 1
    half = float(stats.t.ppf(0.975, df)) * error
    p = float(2 * stats.t.sf(abs(beta) / error, df))
    participant, slope, song = (float(noise * ratio) for ratio in ratios)
    return MixedEffect(beta, beta - half, beta + half, p, error, df, participant, slope, song, noise)


def _fit(y: Matrix, X: Matrix, kernels: list[Matrix]) -> tuple[Matrix, float, float, float]:
    """Return what fits best: ratios of standard deviations to the noise's, effect, its error, and the noise's sd."""
    from scipy import optimize

    deviance, solve = _profiled(y, X, kernels)
    bounds = [(0.0, MOST_RATIO)] * len(kernels)
    fits = [optimize.minimize(deviance, [start] * len(kernels), method="L-BFGS-B", bounds=bounds) for start in STARTS]
    ratios = np.asarray(min(fits, key=lambda fit: float(fit.fun)).x, np.float64)
    beta, covariance, variance = solve(ratios)
    return ratios, float(beta[1]), float(np.sqrt(variance * covariance[1, 1])), float(np.sqrt(variance))


def _profiled(
    y: Matrix, X: Matrix, kernels: list[Matrix]
) -> tuple[Callable[[Matrix], float], Callable[[Matrix], tuple[Matrix, Matrix, float]]]:
    """Return the REML deviance as a function of the ratios alone, and the solution for given ratios."""
    from scipy.linalg import cho_factor, solve_triangular

    both, n_free = np.column_stack([X, y]), len(y) - X.shape[1]

    def factors(ratios: Matrix) -> tuple[Matrix, Matrix]:
        covariance = np.eye(len(y))
        for ratio, kernel in zip(ratios, kernels, strict=True):
            covariance += ratio**2 * kernel
        lower = cho_factor(covariance, lower=True, overwrite_a=True, check_finite=False)[0]
        white = solve_triangular(lower, both, lower=True, check_finite=False)
        return np.diagonal(lower), np.asarray(np.linalg.qr(white, mode="r"))

    def deviance(ratios: Matrix) -> float:
        diagonal, R = factors(ratios)
        of_design = np.abs(np.diagonal(R)[:-1])
        return float(2 * np.log(diagonal).sum() + 2 * np.log(of_design).sum() + n_free * np.log(R[-1, -1] ** 2))

    def solve(ratios: Matrix) -> tuple[Matrix, Matrix, float]:
        _, R = factors(ratios)
        inverse = np.linalg.inv(R[:-1, :-1])
        return inverse @ R[:-1, -1], inverse @ inverse.T, float(R[-1, -1] ** 2 / n_free)

    return deviance, solve
