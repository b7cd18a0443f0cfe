"""The running median against scipy's median filter: equal, not close."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import median_filter

from musicrec.features.median import running_median


def reference(x: np.ndarray, window: int) -> np.ndarray:
    return median_filter(x, (window, 1), mode="reflect")


@pytest.mark.parametrize("shape", [(1025, 300), (300, 1025), (31, 128), (30, 129), (8, 1), (7, 200), (2, 3), (1, 40)])
def test_medians_are_scipys_for_any_shape(shape: tuple[int, int]) -> None:
    x = np.random.default_rng(0).gamma(0.3, size=shape).astype(np.float32)
    np.testing.assert_array_equal(running_median(x, 31), reference(x, 31))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(4, 20).map(lambda half: 2 * half + 1),
    st.integers(1, 70),
    st.integers(1, 150),
    st.integers(0, 2**32 - 1),
)
def test_medians_are_scipys_for_any_odd_window_with_many_equal_values(window: int, n: int, m: int, seed: int) -> None:
    x = np.random.default_rng(seed).integers(-3, 4, (n, m)).astype(np.float32)
    np.testing.assert_array_equal(running_median(x, window), reference(x, window))
