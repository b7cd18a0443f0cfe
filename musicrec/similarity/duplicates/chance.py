"""How near different recordings come to being taken for one: the same search on pairs of songs that are not."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.similarity.duplicates.alignment import align
from musicrec.similarity.duplicates.prints import Prints

Pairs = NDArray[np.int64]
CONFIDENCE = 0.95


class Chance(NamedTuple):
    """Figures of the pairs that were tested.

    Attributes
    ----------
    n_pairs : int
        Number of pairs.
    n_alike : int
        Number of those whose fingerprints differ in so few bits that they would be taken for one recording.
    lowest : float
        Lowest share of bits that differ, over all pairs and offsets; 1 if there are no pairs.
    bound : float
        With 95 % confidence, fewer of all such pairs are alike: 3 / n_pairs if none of those tested is.
    """

    n_pairs: int
    n_alike: int
    lowest: float
    bound: float


def some_pairs(n_songs: int, most: int, seed: int = 0) -> Pairs:
    """Return different pairs of songs, [n, 2], drawn by lot; all pairs if there are at most `most`."""
    if n_songs * (n_songs - 1) // 2 <= most:
        return np.stack(np.triu_indices(n_songs, 1), axis=1)
    drawn = np.sort(np.random.default_rng(seed).integers(0, n_songs, (2 * most, 2)), axis=1)
    drawn = drawn[drawn[:, 0] < drawn[:, 1]]
    first_of_each = np.sort(np.unique(drawn, axis=0, return_index=True)[1])
    return drawn[first_of_each[:most]]


def errors_of(prints: Prints, pairs: Pairs, least: int) -> NDArray[np.float64]:
    """Return the share of bits in which each pair differs at its best offset of at least `least` steps."""
    return np.array([align(prints.song(i), prints.song(j), least).errors for i, j in pairs.tolist()])


def chance(errors: NDArray[np.float64], most_errors: float) -> Chance:
    """Return the figures of pairs of different recordings, given the share of bits in which each differs."""
    n, n_alike = len(errors), int((errors <= most_errors).sum())
    return Chance(n, n_alike, float(errors.min(initial=1.0)), _upper_bound(n_alike, n))


def _upper_bound(k: int, n: int) -> float:
    """Return the upper end of the exact one-sided interval for a share, of which k of n were seen."""
    from scipy.stats import beta  # slow to import

    return 1.0 if k >= n else float(beta.ppf(CONFIDENCE, k + 1, n - k))
