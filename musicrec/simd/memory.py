"""Large arrays whose memory is reused, because touching fresh pages takes as long as the arithmetic on them."""

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Memory = NDArray[np.uint8]

CACHE_LINE = 64  # bytes
STEP = 1 << 18  # bytes: sizes are multiples, so that clips of nearly the same length can reuse each other's memory
MOST_KEPT = 1 << 26  # bytes, enough for some clips; more is given back to the system


def empty(*shape: int, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Return an array of undefined content that begins at a cache line, so that no vector of lanes lies across two.

    Its memory is reused once no view of it is left.
    """
    dtype = np.dtype(dtype)
    n_bytes = int(np.prod(shape)) * dtype.itemsize
    size = -(-(n_bytes + CACHE_LINE) // STEP) * STEP
    memory = np.asarray(_Loan(_pool.take(size)))
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start : start + n_bytes].view(dtype).reshape(shape)


class _Pool:
    """Free memory; what was given back last stands at the end."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._free: list[Memory] = []

    def take(self, size: int) -> Memory:
        """Return memory of at least so many bytes, and less than twice as many."""
        with self._lock:
            while sum(map(len, self._free)) > MOST_KEPT:
                del self._free[0]
            for i in reversed(range(len(self._free))):
                if size <= len(self._free[i]) < 2 * size:
                    return self._free.pop(i)
        return np.empty(size, np.uint8)

    def give_back(self, memory: Memory) -> None:
        self._free.append(memory)  # nothing else, because it may happen in the middle of a take


_pool = _Pool()


class _Loan:
    """The owner that every view of some memory refers to; when the last view is gone, the memory is free again."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        _pool.give_back(self._memory)
