"""A trained classical model or clustering with all it needs to be used again.

It has the interface of :class:`~musicrec.models.Network`. ``pipeline.pickle`` is read by an unpickler that knows only
the classes of our own pipelines, so that a file from elsewhere is refused instead of run. scikit-learn is imported
where it is used.
"""

import json
import pickle
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import ModelError
from musicrec.models.inputs import Features, Songs, check
from musicrec.models.network import read_card
from musicrec.settings import ClassicalName, ClusteringName

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

Array = NDArray[np.float32]

CLASSICAL_MODELS: tuple[str, ...] = get_args(ClassicalName)
BATCH_ROWS = 4096
CLASSICAL_FILES = ("model.json", "pipeline.pickle", "history.parquet", "predictions.parquet")
CLUSTERINGS: tuple[str, ...] = get_args(ClusteringName)
CLUSTERING_FILES = (*CLASSICAL_FILES, "clusters.parquet", "sweep.parquet")


class Classical(NamedTuple):
    """A fitted pipeline and the card that describes it.

    Attributes
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Features in, indices into the card's classes out.
    card : dict
        What ``model.json`` holds: model, model_id, classes, input, settings, …
    """

    pipeline: "Pipeline"
    card: dict[str, Any]

    @classmethod
    def load(cls, folder: Path) -> "Classical":
        """Load a model that :meth:`save` has written.

        Raises
        ------
        ModelError
            The folder does not hold a whole model, or its file names a class that is no part of our pipelines.
        """
        card = read_card(folder)
        try:
            with (folder / "pipeline.pickle").open("rb") as file:
                return cls(_OnlyOurs(file).load(), card)
        except Exception as e:  # a damaged file may raise anything
            raise ModelError(f"model folder {folder} cannot be loaded ({e}); train the model again") from e

    def save(self, folder: Path) -> None:
        """Write ``pipeline.pickle`` and ``model.json``."""
        (folder / "pipeline.pickle").write_bytes(pickle.dumps(self.pipeline, protocol=5))
        (folder / "model.json").write_text(json.dumps(self.card, indent=2), encoding="utf-8")

    def predict_proba(self, songs: Songs) -> Array:
        """Return genre probabilities, float32 [n, n_classes], of features [n, n_features].

        Raises
        ------
        ModelError
            The songs do not have the features that the model was trained on.
        """
        X = self._features(songs)
        probabilities = np.zeros((len(X), len(self.card["classes"])), np.float32)
        if not self.card["classes"]:  # a clustering of songs without genres
            return probabilities
        for i in range(0, len(X), BATCH_ROWS):  # distances to all training songs are held only for a block
            probabilities[i : i + BATCH_ROWS, self.pipeline.classes_] = self.pipeline.predict_proba(
                finite_or_nan(X[i : i + BATCH_ROWS])
            )
        return probabilities

    def embed(self, songs: Songs) -> Array:
        """Return embeddings, float32 [n, d], of features [n, n_features]: what the classifier is given."""
        vectors: Array = self.pipeline[:-1].transform(finite_or_nan(self._features(songs))).astype(np.float32)
        return vectors

    def embed_and_predict(self, songs: Songs) -> tuple[Array, Array]:
        """Return what :meth:`embed` and :meth:`predict_proba` give."""
        return self.embed(songs), self.predict_proba(songs)

    def _features(self, songs: Songs) -> Array:
        check(songs, Features((self.pipeline.n_features_in_,), {}))
        return np.asarray(songs)


def fit(
    name: str,
    learn: tuple[Array, NDArray[np.int32]],
    seed: int,
    params: Mapping[str, Any] | None = None,
    weights: NDArray[np.float64] | None = None,
    *,
    of_spaces: bool = False,
) -> "Pipeline":
    """Train a classical model.

    Parameters
    ----------
    name : str
        One of :data:`CLASSICAL_MODELS` or :data:`CLUSTERINGS`.
    learn : (numpy.ndarray, numpy.ndarray)
        Features [n, n_features] as extracted, and class indices [n].
    seed : int
        Seed of what is random in the model.
    params : mapping, optional
        Settings of the classifier, instead of the reference system's.
    weights : numpy.ndarray, optional
        How much each song counts for the classifier, [n]; the steps before it take all songs alike.
    of_spaces : bool
        Whether the features are vectors of spaces.
    """
    from musicrec.models.pipelines import build

    X, y = learn
    if weights is not None and (weights == 1).all():
        weights = None  # with weights, a forest draws other songs
    pipeline = build(name, len(X), seed, params, of_spaces=of_spaces)
    return pipeline.fit(finite_or_nan(X), y, **{f"{pipeline.steps[-1][0]}__sample_weight": weights})


def n_learned(pipeline: "Pipeline") -> int:
    """Return how many numbers a fitted pipeline holds; of a tree, how many nodes."""
    parts = [*pipeline, *filter(None, [getattr(pipeline[-1], "clusterer_", None)])]
    arrays = sum(value.size for part in parts for value in vars(part).values() if isinstance(value, np.ndarray))
    return arrays + sum(tree.tree_.node_count for tree in getattr(pipeline[-1], "estimators_", ()))


def finite_or_nan(X: Array) -> NDArray[np.float64]:
    """Return features with NaN instead of infinities; the first step fills it in."""
    return np.where(np.isfinite(X), X, np.nan).astype(np.float64)


class _OnlyOurs(pickle.Unpickler):
    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as pickle
        if (module, name) not in _parts_of_pipelines():
            raise pickle.UnpicklingError(f"{module}.{name} is not part of a classical model")
        return super().find_class(module, name)


@cache
def _parts_of_pipelines() -> frozenset[tuple[str, str]]:
    """Return module and name of everything that a pickled pipeline of ours is made of."""
    from sklearn import ensemble, impute, linear_model, mixture, neighbors, pipeline, preprocessing, tree
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA, TruncatedSVD
    from sklearn.feature_selection import f_classif
    from sklearn.tree._tree import Tree

    from musicrec.models import clustering, steps

    ours = (
        steps.ClipOutliers, steps.Components, steps.DropCorrelated, steps.DropSkewed, steps.Logarithm,
        steps.ProbableSVC, steps.SelectAtMost, steps.WeightedKNeighbors, steps.WhitenWithinClasses,
        clustering.GenreOfCluster, clustering.PredictingDBSCAN, clustering.TreelessBirch,
    )  # fmt: skip
    theirs = (
        pipeline.Pipeline, impute.SimpleImputer, preprocessing.StandardScaler, TruncatedSVD, f_classif,
        linear_model.LogisticRegression, neighbors.KNeighborsClassifier,
        ensemble.RandomForestClassifier, tree.DecisionTreeClassifier, Tree,
        PCA, KMeans, mixture.GaussianMixture,
    )  # fmt: skip
    arrays = {
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
    }
    return frozenset((part.__module__, part.__qualname__) for part in (*ours, *theirs)) | arrays
