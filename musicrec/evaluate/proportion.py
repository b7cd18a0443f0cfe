"""Shares of a few songs, with their intervals."""

import math

Z = 1.959963984540054  # of the normal distribution, 95 % of which lie between -Z and Z


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share.

    Parameters
    ----------
    successes, n : int
        ``0 <= successes <= n`` and ``n > 0``.

    Examples
    --------
    >>> [round(end, 3) for end in wilson(3, 4)]
    [0.301, 0.954]
    """
    p = successes / n
    centre = p + Z**2 / (2 * n)
    half = Z * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    low, high = ((centre + side) / (1 + Z**2 / n) for side in (-half, half))
    return (0.0 if successes == 0 else low), (1.0 if successes == n else high)


def share(value: float, n: int) -> str:
    """Return a share of some songs as text, with its interval and their number.

    Examples
    --------
    >>> share(0.75, 4)
    '75.0 % [30.1–95.4] of 4 songs'
    """
    low, high = wilson(round(value * n), n)
    songs = "1 song" if n == 1 else f"{n:,} songs"
    return f"{100 * value:.1f} % [{100 * low:.1f}–{100 * high:.1f}] of {songs}"
