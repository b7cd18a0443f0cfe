"""The loops that turn vectors into codes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicrec.simd.lanes import LANES, as_in, kernel, lane_sum, load_at, spread, store_at
from musicrec.similarity.search.score_keys import EUCLIDEAN
from musicrec.similarity.search.screens import PANEL

ROUNDING = 4e-6  # bound on the rounding of float32 sums, relative to the longest vector, with room to spare
UNDERFLOW = 1e-35  # more than float32 sums lose where products are too small for float32


@kernel
def quantise(on_axes, rest, own, step, longest, codes, starts, offsets):
    """Write 8-bit codes, and offsets that make up for what rounding may take from a product."""
    n, p = on_axes.shape
    for i in range(n):
        error, total = 0.0, 0
        for q in range(p):
            code = min(127.0, max(-127.0, np.rint(on_axes[i, q] / step)))
            left = on_axes[i, q] - code * step
            error += left * left
            total += int(code)
            codes[i, q] = np.int8(code)
        if p < codes.shape[1]:
            code = np.ceil(rest[i] / step)
            left = max(0.0, code - 127.0)  # what does not fit into 8 bits goes into the offset
            error += (left * step) ** 2
            total += int(code - left)
            codes[i, p] = np.int8(code - left)
        # A product of two songs, x and y, differs from that of their codes by x·e + y·d - d·e, with the errors d and e.
        lost = (np.sqrt(error) + ROUNDING * longest) * longest + error / 2
        offsets[i] = np.int32(np.ceil((lost + own[i]) / (step * step)))
        starts[i] = offsets[i] - 128 * total


@kernel
def scale(on_axes, rest, own, step, longest, codes, starts, offsets):
    """Write coordinates in steps, and offsets that make up for float32 rounding."""
    n, p = on_axes.shape
    for i in range(n):
        for q in range(p):
            codes[i, q] = on_axes[i, q] / step
        if p < codes.shape[1]:
            codes[i, p] = rest[i] / step
        offsets[i] = np.ceil((ROUNDING * longest * longest + own[i]) / (step * step)) + 2
        starts[i] = offsets[i]


@kernel
def about_centre(vectors, inverse_norms, metric, centre, about, own):
    """Subtract the centre in float64, so that the difference stays precise even where the centre is far from zero."""
    width = vectors.shape[1]
    for i in range(vectors.shape[0]):
        length = 1.0 if metric == EUCLIDEAN else inverse_norms[i]
        total = spread(0.0)
        for at in range(0, width, LANES):
            middle = as_in(own, load_at(centre, at))
            left = as_in(own, load_at(vectors, i * width + at)) * length - middle
            store_at(about, i * width + at, left)
            total += left * (left if metric == EUCLIDEAN else middle)
        own[i] = lane_sum(total) * (-0.5 if metric == EUCLIDEAN else 1.0)


@kernel
def largest_square(vectors, inverse_norms, metric, centre):
    """Return the squared length of the longest vector, measured from the centre."""
    width, largest = vectors.shape[1], 0.0
    for i in range(vectors.shape[0]):
        length = 1.0 if metric == EUCLIDEAN else inverse_norms[i]
        total = spread(0.0)
        for at in range(0, width, LANES):
            left = as_in(inverse_norms, load_at(vectors, i * width + at)) * length
            left -= as_in(inverse_norms, load_at(centre, at))
            total += left * left
        largest = max(largest, lane_sum(total))
    return largest


@kernel
def pack(codes, panels):
    """Write the codes of rows, plus 128, as panels of columns: uint8 [panels, K / 4, PANEL, 4]."""
    for p in range(panels.shape[0]):
        for four in range(panels.shape[1]):
            for j in range(PANEL):
                for k in range(4):
                    panels[p, four, j, k] = np.uint8(np.int32(codes[p * PANEL + j, 4 * four + k]) + 128)


@kernel
def write_in_panels(codes, places, panels):
    """Write the codes of rows, plus 128, into their places in panels."""
    for i in range(places.size):
        p, j = places[i] // PANEL, places[i] % PANEL
        for k in range(codes.shape[1]):
            panels[p, k // 4, j, k % 4] = np.uint8(np.int32(codes[i, k]) + 128)


def panels_of(codes: NDArray[Any], n_songs: int) -> NDArray[np.uint8]:
    """Return the panels of the first `n_songs` codes; none if the codes do not have 8 bits."""
    n_panels = -(-n_songs // PANEL) if codes.dtype == np.int8 else 0
    panels = aligned((n_panels, codes.shape[1] // 4, PANEL, 4), np.uint8)
    pack(codes, panels)
    return panels


def aligned(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return an array of zeros that begins at a cache line."""
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(n_bytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + n_bytes].view(dtype).reshape(shape)
