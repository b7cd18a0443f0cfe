"""Spaces in which features of different scales can be compared: standardised features, and principal components.

A space is fitted to blocks of rows, in one pass over a catalog of any size.
"""

from collections.abc import Iterable
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

CONSTANT = 1e-9  # a smaller relative spread is rounding: float32 features that differ at all differ by more


class Space(NamedTuple):
    """A space to which features are mapped: they are standardised, and then projected if there are axes.

    Parameters
    ----------
    mean, scale : numpy.ndarray
        float64 [d]: what is subtracted from each feature, and by what the difference is divided.
    axes : numpy.ndarray, optional
        float64 [d, k]: the axes of the projection.

    Examples
    --------
    >>> import numpy as np
    >>> features = np.array([[1.0, 200.0], [3.0, 600.0]])
    >>> Space.standardised([features]).place(features).tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    """

    mean: Matrix
    scale: Matrix
    axes: Matrix | None = None

    @classmethod
    def standardised(cls, blocks: Iterable[NDArray[np.floating]]) -> Self:
        """Fit the space in which every feature has mean 0 and variance 1 over the rows; a constant feature is 0.

        Parameters
        ----------
        blocks : iterable of numpy.ndarray
            Features [n, d], at least one row in all.

        Returns
        -------
        Space
            The space.

        Raises
        ------
        ValueError
            There is no row.
        """
        mean, covariance = moments(blocks)
        return cls(mean, _scale(mean, covariance))

    @classmethod
    def principal(cls, blocks: Iterable[NDArray[np.floating]], n_components: int) -> Self:
        """Fit the space of the first principal components of the standardised features.

        Parameters
        ----------
        blocks : iterable of numpy.ndarray
            Features [n, d], at least one row in all.
        n_components : int
            Number of components.

        Returns
        -------
        Space
            The space.

        Raises
        ------
        ValueError
            There is no row.
        """
        mean, covariance = moments(blocks)
        scale = _scale(mean, covariance)
        _, directions = np.linalg.eigh(covariance / np.outer(scale, scale))  # by ascending variance
        return cls(mean, scale, directions[:, ::-1][:, :n_components])

    def place(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the coordinates of songs.

        Parameters
        ----------
        features : numpy.ndarray
            [n, d].

        Returns
        -------
        numpy.ndarray
            float32 [n, k]; k is d if there are no axes.
        """
        standardised = (np.asarray(features, np.float64) - self.mean) / self.scale
        return (standardised if self.axes is None else standardised @ self.axes).astype(np.float32)


def moments(blocks: Iterable[NDArray[np.floating]]) -> tuple[Matrix, Matrix]:
    """Return the mean [d] and the covariance [d, d] of all rows of blocks [n, d].

    The moments of the blocks are combined as in Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm
    for computing sample variances", 1979. Unlike the mean of squares, this subtracts no large numbers.

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
        raise ValueError("there are no rows; expected at least one")
    return mean, scatter / n


def _scale(mean: Matrix, covariance: Matrix) -> Matrix:
    """Return the standard deviations; 1 for a feature that is constant up to rounding."""
    deviation = np.sqrt(np.diag(covariance))
    return np.where(deviation > CONSTANT * np.abs(mean), deviation, 1.0)
