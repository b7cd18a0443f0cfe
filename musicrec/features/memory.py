"""Large arrays whose memory is used again: the first touch of fresh pages takes as long as the arithmetic on them."""

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Memory = NDArray[np.uint8]

CACHE_LINE = 64  # bytes
STEP = 1 << 18  # bytes: sizes are rounded up to a multiple, so that clips of nearly the same length share memory
MOST_KEPT = 1 << 26  # bytes: some clips' worth; more is given back to the system

_free: defaultdict[int, list[Memory]] = defaultdict(list)


def empty(*shape: int, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Array of undefined content that begins at a cache line, so that no vector of lanes lies across two.

    Its memory is used again once no view of it is left.
    """
    dtype = np.dtype(dtype)
    n_bytes = int(np.prod(shape)) * dtype.itemsize
    size = -(-(n_bytes + CACHE_LINE) // STEP) * STEP
    kept = _free[size]
    memory = np.asarray(_Loan(kept.pop() if kept else np.empty(size, np.uint8)))
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start : start + n_bytes].view(dtype).reshape(shape)


class _Loan:
    """What every view of some memory refers to: when the last is gone, the memory is free again."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        if sum(size * len(kept) for size, kept in _free.items()) + len(self._memory) <= MOST_KEPT:
            _free[len(self._memory)].append(self._memory)
