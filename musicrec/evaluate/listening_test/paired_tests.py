"""Whether participants differ between two conditions: one difference for each participant, three tests."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

MOST_ENUMERATED = 14  # participants of whom all 2^n signs are tried
DRAWS = 9_999
DIGITS = 9  # sums that differ by less are equal


class PairedTest(NamedTuple):
    """The mean difference over participants and how sure it is.

    Attributes
    ----------
    n : int
        Number of participants.
    difference, low, high : float
        Mean difference, and its 95 % interval by Student's t.
    sd : float
        Standard deviation of the differences.
    d_z : float
        Mean difference by the standard deviation of the differences; NaN if they are all equal.
    t, p_t : float
        Paired t-test; NaN if the differences are all equal.
    p_wilcoxon : float
        Wilcoxon's signed-rank test; NaN if all differences are zero.
    p_sign_flip : float
        Share of sign flips with a mean at least as far from zero.
    """

    n: int
    difference: float
    low: float
    high: float
    sd: float
    d_z: float
    t: float
    p_t: float
    p_wilcoxon: float
    p_sign_flip: float


def paired_test(differences: ArrayLike, seed: int = 0) -> PairedTest:
    """Test whether differences of participants lie around zero; all tests are two-sided.

    Parameters
    ----------
    differences : array_like
        [n_participants], finite, of at least two participants.
    seed : int
        Seed of the sign flips, where there are too many to try them all.

    Examples
    --------
    >>> found = paired_test([20, 40, 0, 60, 20, 30])
    >>> round(found.difference, 1), round(found.p_t, 3), found.p_sign_flip
    (28.3, 0.019, 0.0625)
    """
    from scipy import stats  # takes a second to import

    d = np.asarray(differences, np.float64)
    n, mean, sd = len(d), float(d.mean()), float(np.std(d, ddof=1))
    is_spread = sd > 10.0**-DIGITS
    error = sd / math.sqrt(n)
    half = float(stats.t.ppf(0.975, n - 1)) * error
    t = mean / error if is_spread else math.nan
    return PairedTest(
        n,
        mean,
        mean - half,
        mean + half,
        sd if is_spread else 0.0,
        mean / sd if is_spread else math.nan,
        t,
        float(2 * stats.t.sf(abs(t), n - 1)),
        _wilcoxon(d.round(DIGITS)),
        sign_flip(d, seed),
    )


def _wilcoxon(d: NDArray[np.float64]) -> float:
    """Return the p-value of Wilcoxon's signed-rank test: of few participants exact, also where ranks are shared."""
    from scipy import stats

    moved = d[d != 0]
    if not len(moved):
        return math.nan
    if len(moved) > MOST_ENUMERATED:
        return float(stats.wilcoxon(moved).pvalue)
    return sign_flip(np.sign(moved) * stats.rankdata(np.abs(moved)))  # scipy takes a second for it


def sign_flip(differences: ArrayLike, seed: int = 0) -> float:
    """Return the two-sided p-value of the sign-flip permutation test: exact for up to 14 participants, else drawn.

    If a condition makes no difference, each participant's difference could as well have the other sign.

    Parameters
    ----------
    differences : array_like
        [n_participants].
    seed : int
        Seed of the draws.

    Examples
    --------
    >>> sign_flip([1, 2, 3, 4, 5])  # two of 32 flips have so large a mean
    0.0625
    """
    d = np.asarray(differences, np.float64)
    is_whole = len(d) <= MOST_ENUMERATED
    sums = np.abs(_signs(len(d), seed) @ d).round(DIGITS)
    as_far = int((sums >= abs(d.sum()).round(DIGITS)).sum())
    return as_far / len(sums) if is_whole else (1 + as_far) / (1 + len(sums))


def _signs(n: int, seed: int) -> NDArray[np.float64]:
    """Return signs, ±1 [n_flips, n]."""
    if n <= MOST_ENUMERATED:
        bits = (np.arange(2**n)[:, np.newaxis] >> np.arange(n)) & 1
    else:
        bits = np.random.default_rng(seed).integers(0, 2, (DRAWS, n))
    return 2.0 * bits.astype(np.float64) - 1
