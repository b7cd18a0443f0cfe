"""Transforms of the features that a network reads: fitted on the training rows, kept as numbers in the model's card.

Every kind includes those before it:

``standardised``
    Mean 0 and standard deviation 1 of every column: the reference system's input.
``logarithmic``
    Before that, the logarithm of columns that are positive in every training row, which removes most of their skew.
``whitened``
    After that, a rotation and a scale by which songs of one genre spread alike in every direction.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import ModelError

Kind = Literal["standardised", "logarithmic", "whitened"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def fit(X: NDArray[np.floating], y: NDArray[np.integer], kind: Kind = "whitened") -> dict[str, Any]:
    """Find the transform of a kind.

    Parameters
    ----------
    X : numpy.ndarray
        Training rows [n, n_features]; NaN and infinities count as missing.
    y : numpy.ndarray
        Class of each row [n]; only whitening looks at it.
    kind : str
        One of :data:`KINDS`.

    Returns
    -------
    dict
        What :func:`apply` needs, as JSON holds it: kind, and for each column fill (stands in for a missing value: the
        median, 0 where there is none), floor (least value, null where no logarithm is taken), mean, scale (1 of a
        constant column); whiten [n_features, n_features] or null.

    Raises
    ------
    ModelError
        There is no such kind.
    """
    if kind not in KINDS:
        raise ModelError(f"no input transform {kind!r}; expected one of {', '.join(KINDS)}")
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import StandardScaler

    missing = SimpleImputer(strategy="median", keep_empty_features=True)
    filled = missing.fit_transform(np.where(np.isfinite(X), X, np.nan).astype(np.float64))
    floor = [float(low) if low > 0 and kind != "standardised" else None for low in filled.min(axis=0)]
    logs = _logarithms(filled, floor)
    scaler = StandardScaler().fit(logs)
    return {
        "kind": kind,
        "fill": missing.statistics_.tolist(),
        "floor": floor,
        "mean": scaler.mean_.tolist(),
        "scale": scaler.scale_.tolist(),
        "whiten": _whitening(scaler.transform(logs), y).tolist() if kind == "whitened" else None,
    }


def apply(X: NDArray[np.floating], numbers: Mapping[str, Any]) -> NDArray[np.float32]:
    """Return features as a network reads them.

    Parameters
    ----------
    X : numpy.ndarray
        Features [n, n_features] as extracted; NaN and infinities become the column's ``fill``.
    numbers : mapping
        What :func:`fit` returned, or what JSON made of it.

    Returns
    -------
    numpy.ndarray
        float32 [n, n_features].

    Raises
    ------
    ModelError
        X has another number of columns than the transform.
    """
    fill, mean, scale = (np.array(numbers[name], np.float64) for name in ("fill", "mean", "scale"))
    if X.ndim != 2 or X.shape[1] != len(fill):
        raise ModelError(f"features of shape {X.shape}; the model was trained on {len(fill)} columns: train it again")
    filled = np.where(np.isfinite(X), X, fill).astype(np.float64)
    scaled = (_logarithms(filled, numbers["floor"]) - mean) / scale
    if numbers["whiten"] is not None:
        scaled = scaled @ np.array(numbers["whiten"], np.float64)
    with np.errstate(over="ignore"):  # infinite beyond float32, which embed reports as not_finite
        return scaled.astype(np.float32)


def _logarithms(X: NDArray[np.float64], floor: Sequence[float | None]) -> NDArray[np.float64]:
    """Return X with the logarithm of each column that has a floor; a value below it counts as the floor."""
    least = np.array([np.nan if low is None else low for low in floor])
    has_floor = ~np.isnan(least)
    logs = X.copy()
    logs[:, has_floor] = np.log(np.maximum(X[:, has_floor], least[has_floor]))
    return logs


def _whitening(X: NDArray[np.float64], y: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the symmetric map [n_features, n_features] that whitens X within classes.

    Of all whitening maps it rotates the features least. It is the same, to rounding, on every machine.
    """
    from musicrec.models.steps import WhitenWithinClasses

    whiten = WhitenWithinClasses().fit(X, y).whiten_
    lengths = np.linalg.norm(whiten, axis=0)
    directions = whiten / np.where(lengths > 0, lengths, 1.0)
    symmetric: NDArray[np.float64] = whiten @ directions.T
    return symmetric
