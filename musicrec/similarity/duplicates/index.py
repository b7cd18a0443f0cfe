"""An index of codes: in which songs a code stands.

Two files of a recording have some codes in common bit for bit, other recordings next to none.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import MusicrecError
from musicrec.simd.lanes import kernel, prefetch
from musicrec.similarity.duplicates.chosen_codes import choose, longest, place_of, with_room
from musicrec.similarity.duplicates.prints import Flags, Prints

Keys = NDArray[np.uint64]
Numbers = NDArray[np.int64]
Bits = NDArray[np.uint8]

BUCKET = 64  # steps of the index that a code leads to at most: those of the first songs
ONE_IN = 2  # of the codes are in the index
AHEAD = 16  # codes by which memory is asked for before it is needed
KEYS_BITS = 3  # two to the power of so many keys share their leading bits, about
FILTER_BITS = 8  # for each code of the index; most codes that are looked up have none set, and end there
MOST_STEPS = 2**32  # of all songs: a key has 32 bits for the step


class Index(NamedTuple):
    """Codes of songs.

    Parameters
    ----------
    keys : numpy.ndarray
        uint64, sorted: code << 32 | step, counted through all songs.
    places : numpy.ndarray
        int64, place of the first key with each value of the leading bits, and the end.
    present, repeated, of_changed : numpy.ndarray
        uint8, a bit for each hash of a code that is there, of one that is there more than once, and of one that a
        changed song has.
    starts : numpy.ndarray
        int64 [n_songs + 1], the first step of each song.
    is_changed : numpy.ndarray
        bool [n_songs], the songs of which pairs are wanted, with each other and with all others.
    one_in : int
        One in so many codes is in it, a power of two.
    """

    keys: Keys
    places: Numbers
    present: Bits
    repeated: Bits
    of_changed: Bits
    starts: Numbers
    is_changed: Flags
    one_in: int


def make_index(prints: Prints, one_in: int = ONE_IN, is_changed: Flags | None = None) -> Index:
    """Return the index of some songs.

    Parameters
    ----------
    prints : Prints
        The songs.
    one_in : int
        One in so many codes goes into it, a power of two.
    is_changed : numpy.ndarray, optional
        bool [n_songs], the songs of which pairs are wanted, with each other and with all others; all by default.

    Raises
    ------
    MusicrecError
        The songs are too many for one index.
    """
    n_steps = len(prints.codes)
    if n_steps >= MOST_STEPS:
        raise MusicrecError(f"duplicates: {len(prints)} songs have {n_steps} steps; expected less than {MOST_STEPS}")
    keys = _keys(prints, one_in)
    keys.sort()
    present, repeated = _filter(len(keys)), _filter(len(keys))
    _note_codes(keys, present, repeated)
    of_changed = present
    if is_changed is None:
        is_changed = np.ones(len(prints), np.bool_)
    else:
        of_changed = _filter(int(np.diff(prints.starts)[is_changed].sum()) // one_in)
        _note_songs(prints, is_changed, one_in, of_changed)
    n_leading = max(1, len(keys).bit_length() - KEYS_BITS)
    leading = np.arange(2**n_leading, dtype=np.uint64) << np.uint64(64 - n_leading)
    places = np.append(np.searchsorted(keys, leading), len(keys)).astype(np.int64)
    return Index(keys, places, present, repeated, of_changed, prints.starts, is_changed, one_in)


def _filter(n_codes: int) -> Bits:
    """Return room for the bits of so many codes."""
    return np.zeros(1 << max(3, (n_codes * FILTER_BITS).bit_length() - 3), np.uint8)


def crowded(index: Index) -> Flags:
    """Return which songs have a code that leads to more steps than are looked at: other songs decide what is found.

    The pairs of all other songs depend on nothing but the two songs.
    """
    return _crowded(index.keys, index.starts)


# --- loops ------------------------------------------------------------------------------------------------------------


@kernel
def _keys(prints: Prints, one_in: int) -> Keys:
    """Return code << 32 | step of the chosen codes."""
    codes, audible, starts = prints
    keys, n, most = np.empty(len(codes) // one_in, np.uint64), 0, longest(starts)
    marks, steps = np.empty(most, np.uint8), np.empty(most, np.int64)
    for song in range(len(starts) - 1):
        first, stop = starts[song], starts[song + 1]
        n_chosen = choose(codes[first:stop], audible[first:stop], one_in, marks, steps)
        keys = with_room(keys, n, n_chosen)
        for k in range(n_chosen):
            t = first + steps[k]
            keys[n + k] = np.uint64(np.int64(codes[t]) << 32 | t)
        n += n_chosen
    return keys[:n]


@kernel
def _note_codes(keys: Keys, present: Bits, repeated: Bits) -> None:
    before = np.int64(-1)
    for i in range(len(keys)):
        ahead = keys[min(i + AHEAD, len(keys) - 1)]
        prefetch(present, place_of(np.uint32(ahead >> np.uint64(32)), present) >> 3)
        code = np.int64(keys[i] >> np.uint64(32))
        at = place_of(np.uint32(code), present)
        present[at >> 3] |= np.uint8(1 << (at & 7))
        if code == before:
            repeated[at >> 3] |= np.uint8(1 << (at & 7))
        before = code


@kernel
def _note_songs(prints: Prints, is_noted: Flags, one_in: int, noted: Bits) -> None:
    """Set the bits of the chosen codes of some songs."""
    codes, audible, starts = prints
    most = longest(starts)
    marks, steps = np.empty(most, np.uint8), np.empty(most, np.int64)
    for song in range(len(starts) - 1):
        if is_noted[song]:
            first, stop = starts[song], starts[song + 1]
            for k in range(choose(codes[first:stop], audible[first:stop], one_in, marks, steps)):
                at = place_of(codes[first + steps[k]], noted)
                noted[at >> 3] |= np.uint8(1 << (at & 7))


@kernel
def _crowded(keys: Keys, starts: Numbers) -> Flags:
    is_crowded, start = np.zeros(len(starts) - 1, np.bool_), 0
    for k in range(1, len(keys) + 1):
        if k < len(keys) and keys[k] >> np.uint64(32) == keys[start] >> np.uint64(32):
            continue
        if k - start > BUCKET:
            for i in range(start, k):
                step = np.int64(keys[i] & np.uint64(0xFFFFFFFF))
                is_crowded[np.searchsorted(starts, step, side="right") - 1] = True
        start = k
    return is_crowded
