"""The fingerprints of many songs in a row, and which of them are telling."""

from collections.abc import Iterable
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Codes = NDArray[np.uint32]
Flags = NDArray[np.bool_]

LEAST_S = 8.0  # of sound in both songs: shorter overlaps prove nothing


class Prints(NamedTuple):
    """The fingerprints of songs.

    Parameters
    ----------
    codes : numpy.ndarray
        uint32 [n_steps of all songs], one song after the other.
    audible : numpy.ndarray
        bool [n_steps of all songs], False where a song is silent and its code means nothing.
    starts : numpy.ndarray
        int64 [n_songs + 1], where each song begins, and the end.
    """

    codes: Codes
    audible: Flags
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def song(self, i: int) -> tuple[Codes, Flags]:
        """Return codes and flags of one song."""
        steps = slice(self.starts[i], self.starts[i + 1])
        return self.codes[steps], self.audible[steps]

    def some(self, songs: NDArray[np.int64]) -> "Prints":
        """Return the fingerprints of some songs, given by number."""
        firsts, lengths = self.starts[songs], np.diff(self.starts)[songs]
        return Prints(pieces(self.codes, firsts, lengths), pieces(self.audible, firsts, lengths), starts_of(lengths))

    @classmethod
    def of(cls, songs: Iterable[tuple[ArrayLike, ArrayLike]]) -> Self:
        """Return the fingerprints of some songs, each given as its codes and flags."""
        pairs = list(songs)
        lengths = [len(np.asarray(codes)) for codes, _ in pairs]
        return cls(
            np.concatenate([np.empty(0, np.uint32), *(np.asarray(codes, np.uint32) for codes, _ in pairs)]),
            np.concatenate([np.empty(0, np.bool_), *(np.asarray(audible, np.bool_) for _, audible in pairs)]),
            starts_of(lengths),
        )


def starts_of(lengths: ArrayLike) -> NDArray[np.int64]:
    """Return where each song begins, and the end, given the number of steps of each."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def pieces(values: NDArray[Any], firsts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[Any]:
    """Return pieces of an array in a row, given where each begins and how long it is."""
    starts = starts_of(lengths)
    return values[np.repeat(firsts - starts[:-1], lengths) + np.arange(starts[-1])]


def least_steps(step_s: float) -> int:
    """Return how many steps two songs must share."""
    return int(np.ceil(LEAST_S / step_s))
