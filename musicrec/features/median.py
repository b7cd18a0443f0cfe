"""Running median of a spectrogram by a network of minima and maxima: the same values as scipy's median filter.

Neighbouring windows share most of their values. Eight medians at a time are found by sorting what all eight windows
have in common once, keeping only the ranks that can still be a median, and merging in the rest while halving the
group again and again (A. Adams, "Fast median filters using separable sorting networks", ACM TOG 40(4), 2021; here in
one dimension). The network has no branches, so many columns go through it at once.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float32]

GROUP = 8  # medians that share one network
LANES = 128  # columns at a time: a few vector registers, and all slots stay in the first-level cache


class Network(NamedTuple):
    """A program over slots that each hold the values of ``LANES`` columns."""

    steps: NDArray[np.int64]  # [n_steps, 4]: slots a, b → slot of the minimum, slot of the maximum
    medians: NDArray[np.int64]  # [GROUP]: slot of each median; slots 0 … window + GROUP - 2 hold the input
    n_slots: int


def running_median(x: Array, window: int) -> Array:
    """Median of `window` neighbours along the first axis; edges are mirrored, the edge value included.

    Parameters
    ----------
    x : numpy.ndarray
        float32 [n, m], C-contiguous, without NaN.
    window : int
        Odd, at least ``GROUP``.

    Returns
    -------
    numpy.ndarray
        float32 [n, m]: ``scipy.ndimage.median_filter(x, (window, 1), mode="reflect")``.
    """
    n, m = x.shape
    if m < LANES:
        return running_median(np.pad(x, ((0, 0), (0, LANES - m))), window)[:, :m]
    half = window // 2
    rows = _mirrored(np.arange(-half, -(-n // GROUP) * GROUP + half), n)
    network = _network(window)
    out = np.empty_like(x)
    _run(x, rows, network, np.empty((network.n_slots, LANES), np.float32), out)
    return out


def _mirrored(index: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Row that stands at each index if n rows are continued by reflection at both ends."""
    index = index % (2 * n)
    return np.minimum(index, 2 * n - 1 - index)


@njit(fastmath=True, nogil=True, cache=True, error_model="numpy")
def _run(x, rows, network, slots, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    n, m = x.shape
    steps, medians = network.steps, network.medians
    n_inputs = len(rows) - (-(-n // GROUP) - 1) * GROUP
    for first in range(0, n, GROUP):
        for column in range(0, m, LANES):
            left = min(column, m - LANES)  # the last columns overlap those before
            for k in range(n_inputs):
                source = x[rows[first + k], left : left + LANES]
                slot = slots[k]
                for lane in range(LANES):
                    slot[lane] = source[lane]
            for s in range(len(steps)):
                a, b, low, high = slots[steps[s, 0]], slots[steps[s, 1]], slots[steps[s, 2]], slots[steps[s, 3]]
                for lane in range(LANES):
                    u, v = a[lane], b[lane]
                    low[lane] = u if u < v else v
                    high[lane] = v if u < v else u
            for k in range(min(GROUP, n - first)):
                slot = slots[medians[k]]
                target = out[first + k, left : left + LANES]
                for lane in range(LANES):
                    target[lane] = slot[lane]


# --- building the network -----------------------------------------------------------------------------------------


@lru_cache
def _network(window: int) -> Network:
    builder = _Builder(window + GROUP - 1)
    medians = builder.medians(window)
    return builder.compile(medians)


class _Builder:
    """Writes minima and maxima of numbered values, each value written once."""

    def __init__(self, n_inputs: int) -> None:
        self.n_inputs = self.n_values = n_inputs
        self.steps: list[tuple[int, int, int, int]] = []

    def compare(self, a: int, b: int) -> tuple[int, int]:
        """Values of the minimum and the maximum."""
        low, high = self.n_values, self.n_values + 1
        self.n_values += 2
        self.steps.append((a, b, low, high))
        return low, high

    def merge(self, a: list[int], b: list[int]) -> list[int]:
        """Batcher's odd-even merge of two sorted lists."""
        if not a or not b:
            return a + b
        if len(a) == len(b) == 1:
            return list(self.compare(a[0], b[0]))
        even, odd = self.merge(a[::2], b[::2]), self.merge(a[1::2], b[1::2])
        merged = [even[0]]
        for i in range(max(len(even) - 1, len(odd))):
            pair = even[i + 1 : i + 2] + odd[i : i + 1]
            merged += self.compare(*pair) if len(pair) == 2 else pair
        return merged

    def sort(self, values: list[int]) -> list[int]:
        """Batcher's merge sort."""
        if len(values) < 2:
            return values
        middle = len(values) // 2
        return self.merge(self.sort(values[:middle]), self.sort(values[middle:]))

    def medians(self, window: int) -> list[int]:
        """Value of the median of inputs i … i + window - 1, for each i of the group."""
        shared = range(GROUP - 1, window)
        return self._split(range(GROUP), self.sort(list(shared)), shared, 0, window)

    def _split(self, group: range, ranked: list[int], covered: range, rank: int, window: int) -> list[int]:
        """Medians of a group of windows that all cover `covered`, whose sorted values from `rank` on are `ranked`."""
        middle, missing = window // 2, window - len(covered)
        ranked = ranked[max(0, middle - missing - rank) : middle + 1 - rank]  # the others cannot be a median any more
        rank = max(rank, middle - missing)
        if len(group) == 1:
            return ranked
        medians = []
        for half in (group[: len(group) // 2], group[len(group) // 2 :]):
            common = range(half[-1], half[0] + window)
            new = [*range(common.start, covered.start), *range(covered.stop, common.stop)]
            medians += self._split(half, self.merge(ranked, self.sort(new)), common, rank, window)
        return medians

    def compile(self, results: list[int]) -> Network:
        """Drop steps that lead to no result, and let values that live at different times share a slot."""
        last_use = dict.fromkeys(results, len(self.steps))
        needed = []
        for at in range(len(self.steps) - 1, -1, -1):
            a, b, low, high = self.steps[at]
            if low in last_use or high in last_use:
                needed.append((at, a, b, low, high))
                for value in (a, b):
                    last_use.setdefault(value, at)
        slot_of = {value: value for value in range(self.n_inputs)}
        free: list[int] = []
        n_slots, program = self.n_inputs + 1, []
        waste = self.n_inputs  # slot for the half of a comparison that nobody needs
        for at, a, b, low, high in reversed(needed):
            sources = [slot_of[a], slot_of[b]]
            for value in (low, high):
                if value not in last_use:
                    slot_of[value] = waste
                elif free:
                    slot_of[value] = free.pop()
                else:
                    slot_of[value], n_slots = n_slots, n_slots + 1
            # Only now: a step that wrote into what it reads could not be vectorised.
            free += [slot_of[value] for value in {a, b} if last_use[value] == at]
            program.append([*sources, slot_of[low], slot_of[high]])
        return Network(np.array(program), np.array([slot_of[value] for value in results]), n_slots)
