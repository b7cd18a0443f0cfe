"""The input transform of networks: scikit-learn's figures, in numbers that JSON holds, from training rows alone."""

import json

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from musicrec.errors import ModelError
from musicrec.models import scaling, steps

PIPELINES = {
    "standardised": [StandardScaler()],
    "logarithmic": [steps.Logarithm(), StandardScaler()],
    "whitened": [steps.Logarithm(), StandardScaler(), steps.WhitenWithinClasses()],
}


def songs(n=240, n_features=12, n_classes=4, seed=0):
    """Songs with positive, skewed and correlated columns among them."""
    draw = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    X = draw.normal(size=(n, n_features)) + draw.normal(size=(n_classes, n_features))[y]
    X[:, 1] += X[:, 0]
    X[:, 6:] = np.exp(2 * X[:, 6:])
    return X.astype(np.float32), y.astype(np.int32)


def distances(X):
    return cdist(X, X)


@pytest.mark.parametrize("kind", scaling.KINDS)
def test_songs_lie_as_far_apart_as_after_scikit_learns_steps(kind):
    (X, y), (others, _) = songs(), songs(seed=1)
    ours = scaling.apply(others, scaling.fit(X, y, kind))
    theirs = make_pipeline(*PIPELINES[kind]).fit(X.astype(float), y).transform(others.astype(float))
    np.testing.assert_allclose(distances(ours), distances(theirs), rtol=1e-4, atol=1e-4)
    if kind != "whitened":  # that may be turned
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_classes_spread_alike_in_every_direction_after_whitening():
    X, y = songs(n=20_000)
    Z = scaling.apply(X, scaling.fit(X, y))
    centred = Z - np.stack([Z[y == k].mean(axis=0) for k in range(4)])[y]
    np.testing.assert_allclose(np.cov(centred, rowvar=False), np.eye(12), atol=0.05)


def test_the_whitening_is_the_symmetric_one():
    """Its root of a matrix has no arbitrary sign or order, so that workers on unlike machines find the same."""
    whiten = np.array(scaling.fit(*songs())["whiten"])
    np.testing.assert_allclose(whiten, whiten.T, atol=1e-10)
    assert np.linalg.eigvalsh(whiten).min() > 0


@pytest.mark.parametrize("kind", scaling.KINDS)
def test_json_gives_back_the_same_transform(kind):
    X, y = songs()
    X[:, 2] = np.nan
    X[5, 7] = np.inf
    numbers = scaling.fit(X, y, kind)
    again = json.loads(json.dumps(numbers, allow_nan=False))
    np.testing.assert_array_equal(scaling.apply(X, again), scaling.apply(X, numbers))


@pytest.mark.parametrize("kind", scaling.KINDS)
@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
def test_a_missing_value_is_the_median_of_the_training_rows(kind, missing):
    X, y = songs()
    holed = X.copy()
    holed[::5, 7] = missing
    numbers = scaling.fit(holed, y, kind)
    median = np.delete(X[:, 7], np.s_[::5]).astype(float)
    filled = SimpleImputer(strategy="median").fit_transform(np.where(np.isfinite(holed), holed, np.nan).astype(float))
    assert filled[0, 7] == np.median(median)
    np.testing.assert_allclose(scaling.apply(holed, numbers), scaling.apply(filled, numbers), rtol=1e-6)
    assert np.isfinite(scaling.apply(holed, numbers)).all()


@pytest.mark.parametrize("kind", scaling.KINDS)
def test_columns_without_a_value_or_without_variety_say_nothing(kind):
    X, y = songs()
    X[:, 3], X[:, 4] = np.nan, np.float32(0.1)
    numbers = scaling.fit(X, y, kind)
    Z = scaling.apply(X, numbers)
    others = np.delete(np.arange(12), [3, 4])
    alone = scaling.apply(X[:, others], scaling.fit(X[:, others], y, kind))
    assert np.isfinite(Z).all()
    if kind != "whitened":  # its shrinkage asks how many columns there are
        np.testing.assert_allclose(Z[:, others], alone, rtol=1e-6)
    np.testing.assert_allclose(Z[:, [3, 4]], 0, atol=1e-6)


def test_a_value_below_all_of_the_training_rows_counts_as_their_smallest():
    X, y = songs()
    numbers = scaling.fit(X, y, "logarithmic")
    below, smallest = X[:1].copy(), X[:1].copy()
    below[0, 8], smallest[0, 8] = -7, X[:, 8].min()
    np.testing.assert_array_equal(scaling.apply(below, numbers), scaling.apply(smallest, numbers))


@pytest.mark.parametrize("kind", scaling.KINDS)
def test_few_songs_of_many_features_stay_finite(kind):
    X, y = songs(n=6, n_features=100, n_classes=2)
    Z = scaling.apply(X, scaling.fit(X, y, kind))
    assert Z.dtype == np.float32
    assert Z.shape == X.shape
    assert np.isfinite(Z).all()


@pytest.mark.parametrize("kind", scaling.KINDS)
def test_a_song_is_the_same_alone_and_among_others(kind):
    X, y = songs()
    numbers = scaling.fit(X, y, kind)
    np.testing.assert_allclose(scaling.apply(X[:1], numbers), scaling.apply(X, numbers)[:1], rtol=1e-5, atol=1e-6)


def test_what_does_not_fit_is_refused():
    X, y = songs()
    with pytest.raises(ModelError, match="trained on 12 columns"):
        scaling.apply(X[:, :5], scaling.fit(X, y))
    with pytest.raises(ModelError, match="expected one of standardised"):
        scaling.fit(X, y, "squared")
