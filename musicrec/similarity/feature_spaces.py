"""Spaces of features in which the distance of songs means something: standardised, and their principal plane.

They are learned from blocks of rows, one pass over a catalog of any size.
"""

from collections.abc import Iterable
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

CONSTANT = 1e-9  # relative spread: float32 features that differ at all differ by more


class Space(NamedTuple):
    """Features [n, d] in, coordinates float32 [n, k] out: standardised, then along the axes if there are any."""

    mean: Matrix  # [d]
    scale: Matrix  # [d]
    axes: Matrix | None = None  # [d, k]

    @classmethod
    def standardised(cls, blocks: Iterable[NDArray[np.floating]]) -> Self:
        """Space in which every feature has mean 0 and variance 1 over the rows; a constant one is 0."""
        mean, covariance = moments(blocks)
        return cls(mean, _scale(mean, covariance))

    @classmethod
    def principal(cls, blocks: Iterable[NDArray[np.floating]], n_components: int) -> Self:
        """Space of the first principal components of the standardised features."""
        mean, covariance = moments(blocks)
        scale = _scale(mean, covariance)
        _, directions = np.linalg.eigh(covariance / np.outer(scale, scale))  # by ascending variance
        return cls(mean, scale, directions[:, ::-1][:, :n_components])

    def place(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Coordinates of songs."""
        standardised = (np.asarray(features, np.float64) - self.mean) / self.scale
        return (standardised if self.axes is None else standardised @ self.axes).astype(np.float32)


def moments(blocks: Iterable[NDArray[np.floating]]) -> tuple[Matrix, Matrix]:
    """Mean [d] and covariance [d, d] of all rows of blocks [n, d].

    Blocks are added up by Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", 1979: no large numbers are subtracted, as they are in the mean of squares.

    Raises
    ------
    ValueError
        There is no row.
    """
    n, mean, scatter = 0, np.zeros(1), np.zeros((1, 1))
    for block in blocks:
        x = np.asarray(block, np.float64)
        if len(x):
            centre = x.mean(axis=0)
            apart = centre - mean
            n += len(x)
            scatter = scatter + (x - centre).T @ (x - centre) + np.outer(apart, apart) * len(x) * (n - len(x)) / n
            mean = mean + apart * len(x) / n
    if n == 0:
        raise ValueError("moments of no rows; expected one at least")
    return mean, scatter / n


def _scale(mean: Matrix, covariance: Matrix) -> Matrix:
    """Standard deviations, 1 for a feature that is constant but for rounding."""
    deviation = np.sqrt(np.diag(covariance))
    return np.where(deviation > CONSTANT * np.abs(mean), deviation, 1.0)
