"""How much features depend on the file that a song is kept in, so that songs can be compared and not their files.

An encoder leaves out what is hardly heard, such as all above some frequency. A feature that looks there has another
value in an MP3 than in the WAV that it was made from, and both are right. ``benchmarks/extract/codecs.py`` measured by
how much, on GTZAN's clips in four codecs at three bit rates each; ``codec_noise.csv`` holds the result.
"""

import csv
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).with_name("codec_noise.csv")

Matrix = NDArray[np.float64]


class _Column(NamedTuple):
    floor: float | None  # of its logarithm; None if it is compared as it is
    noise: float  # root mean square change from file to file, of the logarithm if there is a floor


@cache
def _columns() -> dict[str, _Column]:
    with FILE.open(newline="", encoding="utf-8") as file:
        return {
            row["column"]: _Column(float(row["floor"]) if row["floor"] else None, float(row["noise"]))
            for row in csv.DictReader(file)
        }


@cache
def noise_id() -> str:
    """Return a hash of what was measured: songs that are compared by something else are in another space."""
    return hashlib.blake2b(FILE.read_bytes(), digest_size=8).hexdigest()


def compared(features: NDArray[np.floating], names: Sequence[str]) -> Matrix:
    """Return features as songs are compared by them: logarithms of those that are always positive.

    Parameters
    ----------
    features : numpy.ndarray
        [n, d].
    names : sequence of str
        Column names. One that was not measured stays as it is.

    Returns
    -------
    numpy.ndarray
        float64 [n, d].

    Examples
    --------
    >>> import numpy as np
    >>> compared(np.array([[np.e, 1.0]]), ["rms_mean", "my_feature"]).tolist()
    [[1.0, 1.0]]
    """
    return as_compared(features, [column.floor if (column := _columns().get(name)) else None for name in names])


def as_compared(features: NDArray[np.floating], floors: Sequence[float | None]) -> Matrix:
    """Return features with the logarithm of each column that has a floor; a value below it counts as the floor."""
    values = np.array(features, np.float64)
    for column, floor in enumerate(floors):
        if floor is not None:
            values[:, column] = np.log(np.maximum(values[:, column], floor))
    return values


def reliability(names: Sequence[str], deviation: NDArray[np.floating]) -> Matrix:
    """Return how much of each column's spread over songs is not owed to their files: the weight it is compared with.

    Parameters
    ----------
    names : sequence of str
        Column names. One that was not measured weighs 1.
    deviation : numpy.ndarray
        [d]: standard deviation of each column over the songs, as :func:`compared` returns them; above 0.

    Returns
    -------
    numpy.ndarray
        float64 [d], in (0, 1]: 1 / (1 + noise² / deviation²), the best linear guess of one file's value from another's.
    """
    noise = np.array([column.noise if (column := _columns().get(name)) else 0.0 for name in names])
    weights: Matrix = 1 / (1 + (noise / deviation) ** 2)
    return weights
