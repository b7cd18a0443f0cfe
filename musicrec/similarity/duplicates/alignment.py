"""Two fingerprints laid over each other: which share of their bits differs, and where it is least.

At an offset o, step t of the first song lies over step t - o of the second. Steps that are silent in either song do not
count.
"""

from typing import NamedTuple

import numpy as np

from musicrec.simd.lanes import inlined_kernel, kernel
from musicrec.similarity.duplicates.prints import Codes, Flags

BITS = 32  # of a code
LEAST_DELAY = 9  # steps


class Alignment(NamedTuple):
    """How well two songs fit at their best offset.

    Attributes
    ----------
    errors : float
        Share of the bits that differ, from 0 to 1; 1 if they share too few steps at every offset.
    offset : int
        The offset, in steps; the lowest of the best.
    """

    errors: float
    offset: int


def align(a: tuple[Codes, Flags], b: tuple[Codes, Flags], least: int) -> Alignment:
    """Return the best of all offsets at which two songs share `least` steps."""
    errors, offset = _best(*a, *b, least)
    return Alignment(float(errors), int(offset))


@inlined_kernel
def ones(x: np.uint32) -> np.uint32:
    """Return how many bits are set."""
    x = x - ((x >> np.uint32(1)) & np.uint32(0x55555555))
    x = (x & np.uint32(0x33333333)) + ((x >> np.uint32(2)) & np.uint32(0x33333333))
    x = (x + (x >> np.uint32(4))) & np.uint32(0x0F0F0F0F)
    return np.uint32((x * np.uint32(0x01010101)) & np.uint32(0xFFFFFFFF)) >> np.uint32(24)


@kernel
def differing(
    codes_a: Codes, audible_a: Flags, codes_b: Codes, audible_b: Flags, offset: int
) -> tuple[np.uint32, np.uint32]:
    """Return how many bits differ at an offset, and in how many steps both songs are audible."""
    first, last = max(0, offset), max(0, offset, min(len(codes_a), offset + len(codes_b)))
    a, b = slice(first, last), slice(first - offset, last - offset)
    return _differing(codes_a[a], audible_a[a], codes_b[b], audible_b[b])


@inlined_kernel
def _differing(codes_a: Codes, audible_a: Flags, codes_b: Codes, audible_b: Flags) -> tuple[np.uint32, np.uint32]:
    """Return the same of two equally long pieces: a loop that the compiler turns into vector instructions."""
    bits, steps = np.uint32(0), np.uint32(0)
    for t in range(len(codes_a)):
        counts = np.uint32(audible_a[t] & audible_b[t])
        steps += counts
        bits += ones(codes_a[t] ^ codes_b[t]) & (np.uint32(0) - counts)
    return bits, steps


@kernel
def _best(codes_a: Codes, audible_a: Flags, codes_b: Codes, audible_b: Flags, least: int) -> tuple[float, int]:
    errors, at = 1.0, 0
    for offset in range(least - len(codes_b), len(codes_a) - least + 1):
        bits, steps = differing(codes_a, audible_a, codes_b, audible_b, offset)
        if steps >= least and bits / (BITS * steps) < errors:
            errors, at = bits / (BITS * steps), offset
    return errors, at


@kernel
def own_errors(codes: Codes, audible: Flags) -> float:
    """Return how well a song fits itself a little later: the lowest share of bits that differ, over all delays.

    It is near 0 for a tone, 0.2 for a metronome, and above 0.3 for most music. Delays are at least 0.42 s, beyond
    what a code is made from, and at most half the length.
    """
    lowest = 1.0
    for delay in range(LEAST_DELAY, len(codes) // 2):
        bits, steps = differing(codes, audible, codes, audible, delay)
        if steps and bits / (BITS * steps) < lowest:
            lowest = bits / (BITS * steps)
    return lowest
