"""Fingerprints of a synthetic catalog of any size, as skewed as real ones, with copies planted among them.

A song is a row of real seconds with a quarter of their bits flipped, but for a few seconds that are left as they are, as
where songs share a sample. A copy is another song with some bits flipped, cut at the start, and some at another speed.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.similarity.duplicates.prints import Prints

Codes = NDArray[np.uint32]

STEPS, SECOND = 640, 20  # steps of a song, and of a stretch that is taken whole
SHARED = 0.01  # of the stretches are left as they are
FLIPS = (0.02, 0.06, 0.10, 0.14)  # share of bits in which a copy differs
CUTS = (0, 20, 160)  # steps that it lacks
BLOCK = 4096


class Copy(NamedTuple):
    """What a planted song is a copy of, and how it differs."""

    of: int
    flips: float
    cut: int
    speed: int  # number of the speed at which it fits, 0 for that of the song


class SyntheticPrints:
    """The fingerprints of a catalog, made when they are asked for, the same each time."""

    def __init__(self, pool: Codes, n_songs: int) -> None:
        self._pool, self.n_songs = pool, n_songs
        rng = np.random.default_rng(0)
        both = rng.permutation(n_songs)[: n_songs // 50 * 2].reshape(-1, 2)
        self.copies = {
            int(song): Copy(int(of), FLIPS[k % 4], CUTS[k % 3], int(rng.integers(0, 9)) if k % 2 else 0)
            for k, (song, of) in enumerate(both)
        }

    def blocks(self) -> Iterator[NDArray[np.int64]]:
        """The numbers of the songs, some at a time."""
        yield from np.array_split(np.arange(self.n_songs), -(-self.n_songs // BLOCK))

    def everything(self) -> Prints:
        """The fingerprints of all songs at their own speed."""
        blocks = [self.at_speed(block, 0) for block in self.blocks()]
        lengths = np.concatenate([np.diff(block.starts) for block in blocks])
        codes, heard = (np.concatenate(column) for column in list(zip(*blocks, strict=True))[:2])
        return Prints(codes, heard, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    def at_speed(self, songs: NDArray[np.int64], speed: int) -> Prints:
        """The fingerprints of some songs at one of the speeds."""
        return Prints.of(
            (codes, np.ones(len(codes), np.bool_)) for codes in (self._codes(int(s), speed) for s in songs)
        )

    def _codes(self, song: int, speed: int) -> Codes:
        copy = self.copies.get(song)
        if copy is None or speed:
            return self._plain(song, speed)
        rng = np.random.default_rng([song, 99])
        codes = self._plain(copy.of, copy.speed)[copy.cut :]
        bits = rng.random((len(codes), 32), np.float32) < copy.flips
        return codes ^ np.packbits(bits, axis=1, bitorder="little").view(np.uint32).ravel()

    def _plain(self, song: int, speed: int) -> Codes:
        rng = np.random.default_rng([song, speed])
        starts = rng.integers(0, len(self._pool) - SECOND, STEPS // SECOND)
        codes = self._pool[starts[:, None] + np.arange(SECOND)]
        flips = rng.integers(0, 2**32, (2, *codes.shape), dtype=np.uint32)
        is_shared = rng.random(len(codes)) < SHARED
        return np.where(is_shared[:, None], codes, codes ^ (flips[0] & flips[1])).ravel()
