"""Coordinates on some axes, and what is left outside them."""

import numpy as np

from musicrec.similarity.search.bounds import project


def test_what_axes_leave_out_of_a_vector_is_known_however_short_it_is():
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(16, 16)))[0].astype(np.float32)
    vectors = rng.normal(size=(50, 16)).astype(np.float32)
    expected = np.linalg.norm(vectors @ axes[:, 6:], axis=1)
    for length in (2.0**40, 1.0, 2.0**-90):
        _, rest = project(length * vectors, axes[:, :6])
        np.testing.assert_allclose(rest / length, expected, rtol=1e-4)
        assert rest.dtype == np.float32  # of another type, each kernel would be compiled once more
