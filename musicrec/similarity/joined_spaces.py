"""Songs in several spaces at once, compared by a weighted mean of cosines.

Each space's vectors get unit length and are scaled by √(w / Σw), where w is the weight of the space. Side by side they
are one vector of unit length, and the product of two such vectors is the mean of the cosines of the spaces, weighted by
w. So whatever works with a cosine works with several spaces.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from musicrec.simd.lanes import kernel

Float32 = NDArray[np.float32]
BLOCK_ROWS = 65_536


def join(matrices: Sequence[NDArray[np.floating]], weights: Sequence[float]) -> Float32:
    """Return one vector for each song, whose cosine with another is the weighted mean of the cosines of the spaces.

    Parameters
    ----------
    matrices : sequence of numpy.ndarray
        [N, d] of each space, finite. A row of zeros has cosine 0 with every other.
    weights : sequence of float
        Weight of each space, above 0.

    Returns
    -------
    numpy.ndarray
        float32 [N, Σd], rows of unit length unless one of its vectors is 0.

    Examples
    --------
    >>> import numpy as np
    >>> joined = join([np.array([[3.0, 0.0], [0.0, 2.0]]), np.array([[1.0], [5.0]])], [3, 1])
    >>> float((joined[0] @ joined[1]).round(6))  # (3 × 0 + 1 × 1) / 4
    0.25
    """
    ends = np.cumsum([0, *(matrix.shape[1] for matrix in matrices)])
    joined = np.empty((len(matrices[0]), ends[-1]), np.float32)
    for matrix, weight, start, stop in zip(matrices, weights, ends, ends[1:], strict=False):
        factor = np.sqrt(weight / sum(weights))
        for i in range(0, len(matrix), BLOCK_ROWS):
            block = matrix[i : i + BLOCK_ROWS].astype(np.float64)
            block /= _or_one(np.abs(block).max(axis=1, keepdims=True))  # no square overflows or underflows
            joined[i : i + BLOCK_ROWS, start:stop] = block * (factor / _or_one(np.linalg.norm(block, axis=1)))[:, None]
    return joined


def _or_one(lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(lengths > 0, lengths, 1.0)


def shares(joined: Float32, widths: Sequence[int], ids: NDArray[np.int32], first: int = 0) -> Float32:
    """Return what each space contributes to the cosine of a song and each song of its list.

    Parameters
    ----------
    joined : numpy.ndarray
        float32 [N, Σd], from :func:`join`.
    widths : sequence of int
        d of each space.
    ids : numpy.ndarray
        int32 [rows, n], the lists of the songs from row `first` on; -1 for nobody.
    first : int
        Row number of the first of these songs.

    Returns
    -------
    numpy.ndarray
        float32 [rows, n, spaces]; the sum over the spaces is the cosine. 0 for nobody.

    Examples
    --------
    >>> import numpy as np
    >>> joined = join([np.eye(2), np.ones((2, 1))], [3, 1])
    >>> shares(joined, [2, 1], np.array([[1], [0]], np.int32)).round(6).tolist()
    [[[0.0, 0.25]], [[0.0, 0.25]]]
    """
    found = np.zeros((*ids.shape, len(widths)), np.float32)
    _add_products(joined, np.cumsum([0, *widths]), ids, first, found)
    return found


@kernel
def _add_products(joined: Float32, ends: NDArray[np.int64], ids: NDArray[np.int32], first: int, found: Float32) -> None:
    for i in range(len(ids)):
        own = joined[first + i]
        for k in range(ids.shape[1]):
            if ids[i, k] < 0:
                continue
            other = joined[ids[i, k]]
            for space in range(len(ends) - 1):
                product = np.float32(0)
                for d in range(ends[space], ends[space + 1]):
                    product += own[d] * other[d]
                found[i, k, space] = product
