"""The order in which songs stand in a list: score descending, then row number."""

import numpy as np
from numpy.typing import NDArray

from musicrec.similarity.search.blocks import Lists


def ranked(ids: NDArray[np.int32], scores: NDArray[np.float32], n: int | None = None) -> Lists:
    """The best `n` of each row, or all, in order.

    Parameters
    ----------
    ids : numpy.ndarray
        int32 [rows, k], row numbers in any order; -1 for nobody.
    scores : numpy.ndarray
        float32 [rows, k], no NaN; of nobody, whatever.
    n : int, optional
        How many.
    """
    keys = np.where(ids >= 0, scores + np.float32(0), np.float32(-np.inf))  # + 0: -0 equals 0
    bits = keys.view(np.uint32)
    falling = np.where(bits >> 31, bits, ~bits & np.uint32(0x7FFFFFFF))  # as integers, in the order of -score
    packed = falling.astype(np.uint64) << np.uint64(32) | ids.view(np.uint32)
    if n is not None and 0 < n < packed.shape[1]:
        packed = np.partition(packed, n - 1, axis=1)[:, :n]  # a whole sort of a long row takes far longer
    packed.sort(axis=1)
    packed = packed[:, :n]
    falling = (packed >> np.uint64(32)).astype(np.uint32)
    bits = np.where(falling >> 31, falling, ~falling & np.uint32(0x7FFFFFFF))
    return Lists(packed.astype(np.uint32).view(np.int32), bits.view(np.float32))
