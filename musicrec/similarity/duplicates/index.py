"""An index of codes: which songs share some codes with a song, at one offset.

Two files of a recording have some codes in common bit for bit, other recordings next to none. So a pair of songs is a
candidate if it has two codes in common at about one offset. Only a fixed share of all codes is looked at, chosen by a
hash of the code and so the same in every song.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import MusicrecError
from musicrec.simd.lanes import inlined_kernel, kernel
from musicrec.similarity.duplicates.prints import Codes, Flags, Prints

Keys = NDArray[np.uint64]
Numbers = NDArray[np.int64]

BUCKET = 64  # steps of the index that a code leads to at most: those of the first songs
VOTES = 2  # codes in common that make a pair a candidate
SLACK = 2  # steps by which their offsets may differ
ONE_IN = 2  # of the codes are in the index
KEYS_BITS = 4  # two to the power of so many keys share their leading bits, about
FILTER_BITS = 8  # for each code of the index; most codes that are looked up have none set, and end there
MOST_STEPS = 2**32  # of all songs: a key has 32 bits for the step
MOST_ROWS, MOST_ROW_STEPS = 2**16, 2**16  # that are looked up together, and of one song
OFFSET_BITS = 18  # of a vote, which has a row of 16 bits, a song of 30 bits, and an offset


class Index(NamedTuple):
    """Codes of songs.

    Parameters
    ----------
    keys : numpy.ndarray
        uint64, sorted: code << 32 | step, counted through all songs.
    places : numpy.ndarray
        int64, place of the first key with each value of the leading bits, and the end.
    present, repeated : numpy.ndarray
        uint8, a bit for each hash of a code that is there, and of one that is there more than once.
    starts : numpy.ndarray
        int64 [n_songs + 1], the first step of each song.
    one_in : int
        One in so many codes is in it, a power of two.
    """

    keys: Keys
    places: Numbers
    present: NDArray[np.uint8]
    repeated: NDArray[np.uint8]
    starts: Numbers
    one_in: int


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


def make_index(prints: Prints, one_in: int = ONE_IN) -> Index:
    """Return the index of some songs.

    Raises
    ------
    MusicrecError
        The songs are too many for one index.
    """
    n_steps = len(prints.codes)
    if n_steps >= MOST_STEPS:
        raise MusicrecError(f"duplicates: {len(prints)} songs have {n_steps} steps; expected less than {MOST_STEPS}")
    keys = _keys(prints.codes, prints.audible, prints.starts, one_in)
    keys.sort()
    present, repeated = np.zeros((2, 1 << max(3, int(len(keys) * FILTER_BITS).bit_length() - 3)), np.uint8)
    _note_codes(keys, present, repeated)
    n_leading = max(1, len(keys).bit_length() - KEYS_BITS)
    leading = np.arange(2**n_leading, dtype=np.uint64) << np.uint64(64 - n_leading)
    places = np.append(np.searchsorted(keys, leading), len(keys)).astype(np.int64)
    return Index(keys, places, present, repeated, prints.starts, one_in)


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
    wanted = _wanted(queries.codes, queries.audible, queries.starts, one_in, there)
    wanted.sort()
    votes = _votes(index, wanted, own, is_earlier)
    votes.sort()
    return Candidates(*np.ascontiguousarray(_counted(votes).T))


# --- loops ------------------------------------------------------------------------------------------------------------


@inlined_kernel
def _mixed(code: np.uint32) -> np.uint32:
    """Return a hash of a code, a permutation of all codes."""
    code = np.uint32(code ^ (code >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    code = np.uint32(code ^ (np.uint32(code) >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    code = np.uint32(code)
    return code ^ (code >> np.uint32(16))


@kernel
def _with_room(values: Keys, n: int, more: int) -> Keys:
    """Return an array with room for `more` values after the first `n`: itself, or a longer copy."""
    if n + more <= len(values):
        return values
    longer = np.empty(2 * len(values) + more, np.uint64)
    longer[:n] = values[:n]
    return longer


@kernel
def _chosen(codes: Codes, audible: Flags, one_in: int, steps: Numbers, hashes: Codes) -> int:
    """Write step and hash of a song's chosen codes, of equal ones in a row the first; return how many they are.

    What is not chosen is overwritten by the next, which is faster than to jump over it.
    """
    n, before = 0, np.int64(-1)
    for t in range(len(codes)):
        code = np.int64(codes[t]) if audible[t] else np.int64(-1)
        mixed = _mixed(codes[t])
        steps[n], hashes[n] = t, mixed
        n += (code >= 0) & (code != before) & ((mixed >> np.uint32(16)) & np.uint32(one_in - 1) == 0)
        before = code
    return n


@kernel
def _keys(codes: Codes, audible: Flags, starts: Numbers, one_in: int) -> Keys:
    """Return code << 32 | step of the chosen codes."""
    keys, n, most = np.empty(len(codes) // one_in, np.uint64), 0, _longest(starts)
    steps, hashes = np.empty(most, np.int64), np.empty(most, np.uint32)
    for song in range(len(starts) - 1):
        first, stop = starts[song], starts[song + 1]
        n_chosen = _chosen(codes[first:stop], audible[first:stop], one_in, steps, hashes)
        keys = _with_room(keys, n, n_chosen)
        for k in range(n_chosen):
            t = first + steps[k]
            keys[n + k] = np.uint64(np.int64(codes[t]) << 32 | t)
        n += n_chosen
    return keys[:n]


@kernel
def _longest(starts: Numbers) -> int:
    longest = 0
    for song in range(len(starts) - 1):
        longest = max(longest, starts[song + 1] - starts[song])
    return longest


@kernel
def _note_codes(keys: Keys, present: NDArray[np.uint8], repeated: NDArray[np.uint8]) -> None:
    before = np.int64(-1)
    for key in keys:
        code = np.int64(key >> np.uint64(32))
        at = np.int64(_mixed(np.uint32(code))) & (8 * len(present) - 1)
        present[at >> 3] |= np.uint8(1 << (at & 7))
        if code == before:
            repeated[at >> 3] |= np.uint8(1 << (at & 7))
        before = code


@kernel
def _wanted(codes: Codes, audible: Flags, starts: Numbers, one_in: int, present: NDArray[np.uint8]) -> Keys:
    """Return code << 32 | row << 16 | step of the chosen codes that may be in the index."""
    wanted, n, most = np.empty(len(codes) // one_in // FILTER_BITS, np.uint64), 0, _longest(starts)
    steps, hashes, last = np.empty(most, np.int64), np.empty(most, np.uint32), 8 * len(present) - 1
    for row in range(len(starts) - 1):
        first, stop = starts[row], starts[row + 1]
        n_chosen = _chosen(codes[first:stop], audible[first:stop], one_in, steps, hashes)
        wanted = _with_room(wanted, n, n_chosen + 1)
        for k in range(n_chosen):
            at = np.int64(hashes[k]) & last
            wanted[n] = np.uint64(np.int64(codes[first + steps[k]]) << 32 | row << 16 | steps[k])
            n += present[at >> 3] >> (at & 7) & 1
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
    keys, places, starts = index.keys, index.places, index.starts
    votes, n, n_leading = np.empty(len(wanted), np.uint64), 0, _log2(len(places) - 1)
    for key in wanted:
        code = key >> np.uint64(32)
        row, step = np.int64(key >> np.uint64(16)) & (MOST_ROWS - 1), np.int64(key) & (MOST_ROW_STEPS - 1)
        slot = np.int64(key >> np.uint64(64 - n_leading))
        place = _first_at_least(keys, code << np.uint64(32), places[slot], places[slot + 1])
        for k in range(place, min(place + BUCKET, len(keys))):
            if keys[k] >> np.uint64(32) != code:
                break
            t = np.int64(keys[k] & np.uint64(0xFFFFFFFF))
            song = np.searchsorted(starts, t, side="right") - 1
            if song == own[row] or (is_earlier and song > own[row]):
                continue
            offset = step - (t - starts[song]) + (1 << (OFFSET_BITS - 1))
            votes = _with_room(votes, n, 1)
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
