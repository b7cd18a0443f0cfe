"""Which codes of a song are looked at: a fixed share of all codes, chosen by a hash and so the same in every song.

Of equal codes in a row the first is taken. What is chosen of fewer codes is part of what is chosen of more.
"""

import numpy as np
from numpy.typing import NDArray

from musicrec.simd.lanes import inlined_kernel, kernel
from musicrec.similarity.duplicates.prints import Codes, Flags

Numbers = NDArray[np.int64]
Marks = NDArray[np.uint8]


@inlined_kernel
def _mixed(code: np.uint32) -> np.uint32:
    """Return a hash of a code, a permutation of all codes."""
    code = np.uint32(code ^ (code >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    code = np.uint32(code ^ (np.uint32(code) >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    code = np.uint32(code)
    return code ^ (code >> np.uint32(16))


@kernel
def longest(starts: Numbers) -> int:
    """Return the number of steps of the longest song, rounded up to a multiple of 8."""
    most = 0
    for song in range(len(starts) - 1):
        most = max(most, starts[song + 1] - starts[song])
    return (most + 7) // 8 * 8


@kernel
def choose(codes: Codes, audible: Flags, one_in: int, marks: Marks, steps: Numbers) -> int:
    """Write the steps of a song's chosen codes; return how many they are.

    Parameters
    ----------
    codes, audible
        The song.
    one_in : int
        One in so many codes is chosen, a power of two.
    marks, steps : numpy.ndarray
        uint8 and int64, room for :func:`longest` values.
    """
    n, last = len(codes), np.uint32((1 << 32) // one_in - 1)
    if n == 0:
        return 0
    stop = (n + 7) // 8 * 8
    marks[n - 1 : stop] = 0
    _mark(codes, audible, last, marks)
    words, found = marks[:stop].view(np.uint64), 0
    for word in range(len(words)):
        if words[word]:
            for t in range(8 * word, 8 * word + 8):
                steps[found] = t
                found += marks[t]
    return found


@inlined_kernel
def _scattered(code: np.uint32) -> np.uint32:
    """Return another hash, of which only the leading bits are used: fewer instructions."""
    return np.uint32(code * np.uint32(0x9E3779B1))


@inlined_kernel
def _mark(codes: Codes, audible: Flags, last: np.uint32, marks: Marks) -> None:
    """Mark the chosen codes: a loop that the compiler turns into vector instructions."""
    marks[0] = audible[0] & (_scattered(codes[0]) <= last)
    now, before, is_now, is_before, made = codes[1:], codes[:-1], audible[1:], audible[:-1], marks[1:]
    for t in range(len(now)):
        is_new = (now[t] != before[t]) | (not is_before[t])
        made[t] = is_now[t] & is_new & (_scattered(now[t]) <= last)


@inlined_kernel
def place_of(code: np.uint32, bits: Marks) -> int:
    """Return which bit of a filter stands for a code."""
    return np.int64(_mixed(code)) & (8 * len(bits) - 1)


@kernel
def with_room(values: NDArray[np.uint64], n: int, more: int) -> NDArray[np.uint64]:
    """Return an array with room for `more` values after the first `n`: itself, or a longer copy."""
    if n + more <= len(values):
        return values
    longer = np.empty(2 * len(values) + more, np.uint64)
    longer[:n] = values[:n]
    return longer
