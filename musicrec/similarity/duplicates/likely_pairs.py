"""Look up songs in an index: which others have two codes in common with them, at about one offset."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.simd.lanes import kernel, prefetch
from musicrec.similarity.duplicates.chosen_codes import choose, longest, place_of, with_room
from musicrec.similarity.duplicates.index import AHEAD, BUCKET, FILTER_BITS, Bits, Index, Keys
from musicrec.similarity.duplicates.prints import Flags, Prints

Numbers = NDArray[np.int64]

VOTES = 2  # codes in common that make a pair a candidate
SLACK = 2  # steps by which their offsets may differ
MOST_ROWS, MOST_ROW_STEPS = 2**16, 2**16  # that are looked up together, and of one song
OFFSET_BITS = 18  # of a vote, which has a row of 16 bits, a song of 30 bits, and an offset


class Candidates(NamedTuple):
    """Pairs that may be one recording.

    Attributes
    ----------
    row, song : numpy.ndarray
        int64 [n], number of the song that was looked up, and of the song in the index.
    offset : numpy.ndarray
        int64 [n], lowest offset of the codes that they have in common, in steps.
    """

    row: Numbers
    song: Numbers
    offset: Numbers


def candidates(index: Index, queries: Prints, own: Numbers, one_in: int, *, is_earlier: bool) -> Candidates:
    """Return the songs of the index that share codes with other songs, in order of row and song.

    Parameters
    ----------
    index : Index
        The index.
    queries : Prints
        The songs to look up, fewer than 65 536, each of fewer than 65 536 steps.
    own : numpy.ndarray
        int64 [n_queries], number of each of them in the index. No song is its own candidate.
    one_in : int
        One in so many of their codes is looked up; a power of two, at least that of the index.
    is_earlier : bool
        Return only songs that stand before the song itself, whose fingerprint is that in the index.
    """
    if len(queries) >= MOST_ROWS or np.diff(queries.starts, prepend=0).max() >= MOST_ROW_STEPS:
        raise ValueError(f"expected fewer than {MOST_ROWS} songs, each of fewer than {MOST_ROW_STEPS} steps")
    there = index.repeated if is_earlier else index.present
    wanted = _wanted(queries, one_in, index.is_changed[own], there, index.of_changed)
    wanted.sort()
    votes = _votes(index, wanted, own, is_earlier)
    votes.sort()
    return Candidates(*np.ascontiguousarray(_counted(votes).T))


# --- loops ------------------------------------------------------------------------------------------------------------


@kernel
def _wanted(queries: Prints, one_in: int, is_changed: Flags, there: Bits, of_changed: Bits) -> Keys:
    """Return code << 32 | row << 16 | step of the chosen codes that may be in the index."""
    codes, audible, starts = queries
    wanted, n, most = np.empty(len(codes) // one_in // FILTER_BITS, np.uint64), 0, longest(starts)
    marks, steps, places = np.empty(most, np.uint8), np.empty(most, np.int64), np.empty(most, np.int64)
    for row in range(len(starts) - 1):
        first, stop = starts[row], starts[row + 1]
        bits = there if is_changed[row] else of_changed
        n_chosen = choose(codes[first:stop], audible[first:stop], one_in, marks, steps)
        wanted = with_room(wanted, n, n_chosen + 1)
        for k in range(n_chosen):
            places[k] = place_of(codes[first + steps[k]], bits)
            prefetch(bits, places[k] >> 3)
        for k in range(n_chosen):
            wanted[n] = np.uint64(np.int64(codes[first + steps[k]]) << 32 | row << 16 | steps[k])
            n += bits[places[k] >> 3] >> (places[k] & 7) & 1
    return wanted[:n]


@kernel
def _first_at_least(keys: Keys, key: np.uint64, low: int, high: int) -> int:
    """Return the first place from `low` to `high` whose key is not below another; `high` if all are."""
    while low < high:
        middle = (low + high) // 2
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def _log2(power: int) -> int:
    n = 0
    while (1 << n) < power:
        n += 1
    return n


@kernel
def _votes(index: Index, wanted: Keys, own: Numbers, is_earlier: bool) -> Keys:
    """Return row << 48 | song << 18 | offset, from 2^17 on, of each two equal codes."""
    keys, places, starts, is_changed = index.keys, index.places, index.starts, index.is_changed
    votes, n, n_leading = np.empty(len(wanted), np.uint64), 0, _log2(len(places) - 1)
    for i in range(len(wanted)):
        ahead = wanted[min(i + AHEAD, len(wanted) - 1)]
        prefetch(keys, places[np.int64(ahead >> np.uint64(64 - n_leading))])
        key = wanted[i]
        code = key >> np.uint64(32)
        row, step = np.int64(key >> np.uint64(16)) & (MOST_ROWS - 1), np.int64(key) & (MOST_ROW_STEPS - 1)
        slot = np.int64(key >> np.uint64(64 - n_leading))
        place = _first_at_least(keys, code << np.uint64(32), places[slot], places[slot + 1])
        for k in range(place, min(place + BUCKET, len(keys))):
            if keys[k] >> np.uint64(32) != code:
                break
            t = np.int64(keys[k] & np.uint64(0xFFFFFFFF))
            song = np.searchsorted(starts, t, side="right") - 1
            if song == own[row] or (is_earlier and song > own[row]) or not (is_changed[song] or is_changed[own[row]]):
                continue
            offset = step - (t - starts[song]) + (1 << (OFFSET_BITS - 1))
            votes = with_room(votes, n, 1)
            votes[n] = np.uint64(row) << np.uint64(48) | np.uint64(song << OFFSET_BITS) | np.uint64(offset)
            n += 1
    return votes[:n]


@kernel
def _counted(votes: Keys) -> Numbers:
    """Return row, song and offset of the pairs with enough votes within the slack, where they have most."""
    pairs, n, start = np.empty((len(votes) // VOTES, 3), np.int64), 0, 0
    while start < len(votes):
        pair = votes[start] >> np.uint64(OFFSET_BITS)
        stop = low = best = start
        most = 0
        while stop < len(votes) and votes[stop] >> np.uint64(OFFSET_BITS) == pair:
            while votes[stop] - votes[low] > SLACK:
                low += 1
            if stop - low + 1 > most:
                most, best = stop - low + 1, low
            stop += 1
        if most >= VOTES:
            pairs[n, 0] = pair >> np.uint64(48 - OFFSET_BITS)
            pairs[n, 1] = np.int64(pair) & ((1 << (48 - OFFSET_BITS)) - 1)
            pairs[n, 2] = (np.int64(votes[best]) & ((1 << OFFSET_BITS) - 1)) - (1 << (OFFSET_BITS - 1))
            n += 1
        start = stop
    return pairs[:n]
