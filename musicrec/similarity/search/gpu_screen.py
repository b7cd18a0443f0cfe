"""A screen of float32 products by TensorFlow: on a GPU, or on the processor where TensorFlow finds no GPU.

The codes of the columns are copied to the device once. Of each block of products only the pairs that pass come back;
they are scored as with any other screen.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from musicrec.similarity.search.candidates import CandidateLists
from musicrec.similarity.search.pairs import score_pairs
from musicrec.similarity.search.score_keys import NO_LIMIT, ScoreScale

os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # or one worker would take all memory of the GPU
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import tensorflow as tf

FIRST_COLUMNS, MOST_COLUMNS, GROWTH = 512, 65_536, 4  # 768 rows by the most columns are 200 MB of products


def compare_on_gpu(
    scale: ScoreScale,
    a: CandidateLists,
    b: CandidateLists,
    blocks: Iterable[tuple[int, int, int, int]],
    *,
    is_same: bool,
) -> None:
    """Compare rows of `a` with columns of `b`, as :func:`musicrec.similarity.search.blocks.compare_blocks` does.

    Parameters
    ----------
    scale : ScoreScale
        How pairs are scored.
    a, b : CandidateLists
        Their codes are float32.
    blocks : iterable of (int, int, int, int)
        First and last row, first and last column.
    is_same : bool
        Whether `a` and `b` are the same; then each pair is compared once.
    """
    with _whole_float32():
        codes, offsets = tf.constant(b.codes), tf.constant(b.offsets)
        for first, last, column, end in blocks:
            rows, starts = tf.constant(a.codes[first:last]), tf.constant(a.starts[first:last])
            for start, stop in _growing(column, end, has_limits=bool((a.limits[first:last] > NO_LIMIT).all())):
                columns = slice(start, stop)
                least = tf.minimum(a.limits[first:last, None], b.limits[columns]) - starts[:, None]
                products = tf.matmul(rows, codes[columns], transpose_b=True)
                passing: Any = tf.where(products + offsets[columns] >= least)
                pairs = passing.numpy().astype(np.int32) + np.array([first, start], np.int32)
                if is_same:
                    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
                score_pairs(scale, a, b, pairs, len(pairs))


def _growing(start: int, end: int, *, has_limits: bool) -> Iterator[tuple[int, int]]:
    """Yield consecutive slices; the first are small where lists have no limits yet, because there all pairs pass."""
    size = MOST_COLUMNS if has_limits else FIRST_COLUMNS
    while start < end:
        yield start, min(start + size, end)
        start, size = start + size, min(size * GROWTH, MOST_COLUMNS)


@contextmanager
def _whole_float32() -> Iterator[None]:
    """Multiply in full float32, not in TensorFloat-32 with its 10 bits, because the bounds rely on it."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
