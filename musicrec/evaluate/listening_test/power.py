"""How many participants the next test needs."""

import numpy as np

ALPHA, POWER = 0.05, 0.8
MOST_PARTICIPANTS = 100_000
NODES = 512
MOST_EFFECT = 100.0


def power_of(d_z: float, n: int) -> float:
    """Return the chance that a two-sided paired t-test at 5 % finds an effect.

    Parameters
    ----------
    d_z : float
        Mean difference by the standard deviation of the differences.
    n : int
        Number of participants, at least 2.

    Examples
    --------
    >>> round(power_of(0.5, 34), 3)
    0.808
    """
    from scipy import stats

    spread = np.sqrt(stats.chi2.ppf((np.arange(NODES) + 0.5) / NODES, n - 1) / (n - 1))  # of the estimated deviation
    limit, away = stats.t.ppf(1 - ALPHA / 2, n - 1) * spread, abs(d_z) * np.sqrt(n)
    return float(np.mean(stats.norm.cdf(away - limit) + stats.norm.cdf(-away - limit)))


def participants_needed(d_z: float) -> int | None:
    """Return the least number of participants with which the t-test finds an effect in 80 % of tests.

    Parameters
    ----------
    d_z : float
        Mean difference by the standard deviation of the differences.

    Returns
    -------
    int or None
        None if 100 000 are too few.

    Examples
    --------
    >>> participants_needed(0.5), participants_needed(0.87), participants_needed(0)
    (34, 13, None)
    """
    low, high = 1, 2
    while not power_of(d_z, high) >= POWER:
        low, high = high, 2 * high
        if high > MOST_PARTICIPANTS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(d_z, middle) >= POWER else (middle, high)
    return high


def detectable_effect(n: int) -> float:
    """Return the least d_z that the t-test finds in 80 % of tests.

    Parameters
    ----------
    n : int
        Number of participants, at least 2.

    Examples
    --------
    >>> round(detectable_effect(34), 3)
    0.495
    """
    from scipy import optimize

    return float(optimize.brentq(lambda d_z: power_of(d_z, n) - POWER, 1e-6, MOST_EFFECT))
