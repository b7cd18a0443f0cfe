"""Sixteen numbers at once for numba kernels, and the aligned memory that they read."""
