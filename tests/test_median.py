"""The running median against NumPy's median of mirrored windows and scipy's median filter: equal, not close."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import median_filter

from musicrec.features.median import running_median


def reference(x: np.ndarray, window: int) -> np.ndarray:
    mirrored = np.pad(x, ((window // 2, window // 2), (0, 0)), mode="symmetric")
    return np.median(sliding_window_view(mirrored, window, axis=0), axis=-1)


@pytest.mark.parametrize("shape", [(1025, 300), (300, 1025), (31, 128), (30, 129)])
def test_medians_are_scipys(shape: tuple[int, int]) -> None:
    x = np.random.default_rng(0).gamma(0.3, size=shape).astype(np.float32)
    np.testing.assert_array_equal(running_median(x, 31), median_filter(x, (31, 1), mode="reflect"))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(4, 20).map(lambda half: 2 * half + 1),
    st.integers(1, 70),
    st.integers(1, 150),
    st.integers(0, 2**32 - 1),
)
def test_medians_are_right_for_any_odd_window_and_shape_with_many_equal_values(
    window: int, n: int, m: int, seed: int
) -> None:
    x = np.random.default_rng(seed).integers(-3, 4, (n, m)).astype(np.float32)
    np.testing.assert_array_equal(running_median(x, window), reference(x, window))
