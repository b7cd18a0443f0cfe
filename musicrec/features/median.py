"""Running median by a network of minima and maxima: the same values as sorting every window.

Neighbouring windows share most of their values. Sixteen medians are found together: what all sixteen windows have in
common is sorted once, only the ranks that can still be a median are kept, and the rest is merged in while the group
is halved again and again (A. Adams, "Fast median filters using separable sorting networks", ACM TOG 40(4), 2021; here
in one dimension). The network has no branches and is written out as instructions, so that it runs in the registers; the
compiler removes what leads to no median.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from musicrec.simd.lanes import emit_load, emit_maximum, emit_minimum, emit_store

GROUP = 16  # medians that share one network

Values = list[ir.Value]


def group_of_medians(window: int) -> Any:
    """Make the kernel function that finds sixteen neighbouring medians of `window` values, an odd number ≥ 17.

    It is called as ``medians(source, at, stride, target, to, target_stride)`` with flat indices: median i, of the rows
    i … i + window - 1 of the source, becomes row i of the target; a row is a vector of sixteen lanes.
    """

    @intrinsic
    def medians(typing, source, at, stride, target, to, target_stride):
        def generate(context, builder, signature, arguments):
            source, at, stride, target, to, target_stride = arguments
            rows = []
            for _ in range(window + GROUP - 1):
                rows.append(emit_load(context, builder, signature.args[0], source, at))
                at = builder.add(at, stride)
            for median in _Network(builder, rows, window).medians():
                emit_store(context, builder, signature.args[3], target, to, median)
                to = builder.add(to, target_stride)

        return types.void(source, types.intp, types.intp, target, types.intp, types.intp), generate

    return medians


class _Network:
    """Writes the instructions that find the medians of the windows of some rows."""

    def __init__(self, builder: ir.IRBuilder, rows: Values, window: int) -> None:
        self.builder, self.rows, self.window = builder, rows, window

    def medians(self) -> Values:
        shared = range(GROUP - 1, self.window)
        return self._split(range(GROUP), self.sort(self.rows[shared.start : shared.stop]), shared, 0)

    def _split(self, group: range, ranked: Values, covered: range, rank: int) -> Values:
        """Return the medians of windows that all cover `covered`, whose sorted values from `rank` on are `ranked`."""
        middle, missing = self.window // 2, self.window - len(covered)
        ranked = ranked[max(0, middle - missing - rank) : middle + 1 - rank]  # the others cannot be a median any more
        rank = max(rank, middle - missing)
        if len(group) == 1:
            return ranked
        medians = []
        for half in (group[: len(group) // 2], group[len(group) // 2 :]):
            common = range(half[-1], half[0] + self.window)
            new = [*self.rows[common.start : covered.start], *self.rows[covered.stop : common.stop]]
            medians += self._split(half, self.merge(ranked, self.sort(new)), common, rank)
        return medians

    def sort(self, values: Values) -> Values:
        """Sort by Batcher's merge sort."""
        if len(values) < 2:
            return values
        middle = len(values) // 2
        return self.merge(self.sort(values[:middle]), self.sort(values[middle:]))

    def merge(self, a: Values, b: Values) -> Values:
        """Merge two sorted lists by Batcher's odd-even merge."""
        if not a or not b:
            return a + b
        if len(a) == len(b) == 1:
            return self.compare(a[0], b[0])
        even, odd = self.merge(a[::2], b[::2]), self.merge(a[1::2], b[1::2])
        merged = [even[0]]
        for i in range(max(len(even) - 1, len(odd))):
            pair = even[i + 1 : i + 2] + odd[i : i + 1]
            merged += self.compare(*pair) if len(pair) == 2 else pair
        return merged

    def compare(self, a: ir.Value, b: ir.Value) -> Values:
        return [emit_minimum(self.builder, a, b), emit_maximum(self.builder, a, b)]
