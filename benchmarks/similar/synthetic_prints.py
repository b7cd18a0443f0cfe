"""Fingerprints of a synthetic catalog of any size, as skewed as real ones, with copies planted among them.

A song is a row of real seconds with a quarter of their bits flipped, but for a few seconds that are left as they are,
as where songs share a sample. At another speed, it has these codes with certain bits flipped, so that it fits nothing.
A copy is another song, at its own or at another speed, with some bits flipped, and cut at the start.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.similarity.duplicates.prints import Prints

Codes = NDArray[np.uint32]

STEPS, SECOND = 640, 20  # steps of a song, and of a stretch that is taken whole
SHARED = 0.01  # of the stretches are left as they are
FLIPS = (0.02, 0.06, 0.10, 0.14)  # share of bits in which a copy differs
CUTS = (0, 20, 160)  # steps that it lacks
COPIES = 100  # a copy in so many songs
BLOCK = 4096  # songs that are made, and looked up, at once
OTHER = np.random.default_rng(1).integers(0, 2**32, 9, dtype=np.uint32) * (np.arange(9, dtype=np.uint32) > 0)


class Copy(NamedTuple):
    """What a planted song is a copy of, and how it differs."""

    of: int
    flips: float
    cut: int
    speed: int  # number of the speed at which it fits, 0 for that of the song


class SyntheticPrints:
    """The fingerprints of a catalog, the same each time.

    Parameters
    ----------
    pool : numpy.ndarray
        uint32 [n], codes of real songs, one after the other.
    n_songs : int
        Number of songs.
    """

    def __init__(self, pool: Codes, n_songs: int) -> None:
        rng = np.random.default_rng(0)
        self._codes = np.empty((n_songs, STEPS), np.uint32)
        self._audible = np.ones((n_songs, STEPS), np.bool_)
        for start in range(0, n_songs, BLOCK):
            block = self._codes[start : start + BLOCK]
            block[:] = _songs(rng, pool, len(block))
        both = rng.permutation(n_songs)[: n_songs // COPIES * 2].reshape(-1, 2).tolist()
        self.copies = {
            song: Copy(of, FLIPS[k % 4], CUTS[k % 3], int(rng.integers(0, 9)) if k % 2 else 0)
            for k, (song, of) in enumerate(both)
        }
        for song, copy in self.copies.items():
            left = STEPS - copy.cut
            bits = rng.random((left, 32), np.float32) < copy.flips
            flips = np.packbits(bits, axis=1, bitorder="little").view(np.uint32).ravel()
            self._codes[song, :left] = self._codes[copy.of, copy.cut :] ^ OTHER[copy.speed] ^ flips
            self._audible[song, left:] = False

    def blocks(self) -> list[NDArray[np.int64]]:
        """The numbers of the songs, some at a time."""
        return np.split(np.arange(len(self._codes)), range(BLOCK, len(self._codes), BLOCK))

    def everything(self) -> Prints:
        """The fingerprints of all songs at their own speed."""
        return self.at_speed(np.arange(len(self._codes)), 0)

    def at_speed(self, songs: NDArray[np.int64], speed: int) -> Prints:
        """The fingerprints of neighbouring songs at one of the speeds."""
        rows = slice(songs[0], songs[-1] + 1)
        codes = self._codes[rows] ^ OTHER[speed] if speed else self._codes[rows]
        return Prints(codes.ravel(), self._audible[rows].ravel(), np.arange(len(songs) + 1, dtype=np.int64) * STEPS)


def _songs(rng: np.random.Generator, pool: Codes, n: int) -> Codes:
    starts = rng.integers(0, len(pool) - SECOND, (n, STEPS // SECOND))
    codes = pool[starts[..., None] + np.arange(SECOND)]
    flips = rng.integers(0, 2**32, (2, *codes.shape), dtype=np.uint32)
    is_shared = rng.random(starts.shape) < SHARED
    return np.where(is_shared[..., None], codes, codes ^ (flips[0] & flips[1])).reshape(n, STEPS)
