"""Pairs of songs that are one recording: the candidates whose fingerprints fit, at the speed at which they fit best."""

from collections.abc import Iterable
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from musicrec.simd.lanes import kernel
from musicrec.similarity.duplicates.alignment import BITS, differing, own_errors
from musicrec.similarity.duplicates.index import Index
from musicrec.similarity.duplicates.likely_pairs import SLACK, Candidates, candidates
from musicrec.similarity.duplicates.prints import Prints

Numbers = NDArray[np.int64]
Reals = NDArray[np.float64]

LEAST_ADVANTAGE = 0.05  # a pair fits better, by so many of its bits, than each of the songs fits itself elsewhere
FEWER_AT_OTHER_SPEEDS = 2  # of the codes are looked up at each other speed: so many times fewer


class Matches(NamedTuple):
    """Pairs of songs that fit.

    Attributes
    ----------
    song, earlier : numpy.ndarray
        int64 [n], numbers of the songs; `earlier` is the lower one.
    errors : numpy.ndarray
        float64 [n], share of the bits that differ.
    speed : numpy.ndarray
        float64 [n], how fast `song` is played, as a multiple of the speed of `earlier`.
    offset : numpy.ndarray
        float64 [n], where `song` begins in `earlier`, in steps of `earlier`.
    """

    song: Numbers
    earlier: Numbers
    errors: Reals
    speed: Reals
    offset: Reals

    @classmethod
    def joined(cls, parts: Iterable[Self]) -> Self:
        """Return all matches in order of song and earlier song; of those of one pair, the one with fewest errors."""
        joined: list[NDArray[Any]] = [np.concatenate(column) for column in zip(_NONE, *parts, strict=True)]
        song, earlier, errors, speed, offset = joined
        order = np.lexsort((offset, speed, np.abs(np.log(speed)), errors, earlier, song))
        is_first = np.ones(len(order), np.bool_)
        is_first[1:] = (np.diff(song[order]) != 0) | (np.diff(earlier[order]) != 0)
        return cls(*(column[order[is_first]] for column in joined))


_NONE = (np.empty(0, np.int64), np.empty(0, np.int64), *(np.empty(0) for _ in range(3)))


def match(
    index: Index, prints: Prints, queries: Prints, own: Numbers, speed: float, *, least: int, most_errors: float
) -> Matches:
    """Return the songs of the index that are one recording with other songs, played at a speed.

    One song of each pair is a changed one of the index.

    Parameters
    ----------
    index : Index
        The index of all songs.
    prints : Prints
        The songs of the index.
    queries : Prints
        Some of the same songs, as if they were played at `speed`.
    own : numpy.ndarray
        int64 [n_queries], number of each of them in the index.
    speed : float
        1, or higher. Slower ones are not needed: the other song of the pair is then the faster one.
    least : int
        Steps that a pair must share.
    most_errors : float
        Largest share of bits that may differ.
    """
    is_same = speed == 1
    one_in = index.one_in if is_same else index.one_in * FEWER_AT_OTHER_SPEEDS
    found = candidates(index, queries, own, one_in, is_earlier=is_same)
    errors, offset = _fit(found, queries, prints, least, most_errors)
    fits = errors <= most_errors
    query, song = own[found.row[fits]], found.song[fits]
    offset = offset[fits].astype(np.float64)
    return _in_order(query, song, errors[fits], offset, speed)


def _in_order(query: Numbers, song: Numbers, errors: Reals, offset: Reals, speed: float) -> Matches:
    """Return matches with the later song first. `song` is as fast as `query` played at `speed`.

    At an offset o, step o of the query at its new speed, which is step o · speed of the query, lies over the first step
    of the song.
    """
    is_later = query > song
    return Matches(
        np.maximum(query, song),
        np.minimum(query, song),
        errors,
        np.where(is_later, 1 / speed, speed),
        np.where(is_later, 0.0 - offset, offset * speed),
    )


@kernel
def _fit(found: Candidates, queries: Prints, prints: Prints, least: int, most_errors: float) -> tuple[Reals, Numbers]:
    """Return the errors of each candidate, 1 if it does not count, and its offset: the best of those near its own."""
    errors, offsets = np.ones(len(found.row)), np.zeros(len(found.row), np.int64)
    for k in range(len(errors)):
        query = slice(queries.starts[found.row[k]], queries.starts[found.row[k] + 1])
        song = slice(prints.starts[found.song[k]], prints.starts[found.song[k] + 1])
        a, audible_a, b, audible_b = (
            queries.codes[query],
            queries.audible[query],
            prints.codes[song],
            prints.audible[song],
        )
        for offset in range(found.offset[k] - 1, found.offset[k] + SLACK + 2):
            bits, steps = differing(a, audible_a, b, audible_b, offset)
            if steps >= least and bits / (BITS * steps) < errors[k]:
                errors[k], offsets[k] = bits / (BITS * steps), offset
        if errors[k] <= most_errors:
            first, last = max(0, offsets[k]), min(len(a), offsets[k] + len(b))
            over = slice(first - offsets[k], last - offsets[k])
            by_chance = min(own_errors(a[first:last], audible_a[first:last]), own_errors(b[over], audible_b[over]))
            if errors[k] + LEAST_ADVANTAGE > by_chance:
                errors[k] = 1
    return errors, offsets
