"""The models that can be trained, by name; none of them is built for the list."""

from typing import NamedTuple, get_args

from musicrec.models.networks import NETWORKS
from musicrec.monitor.text_table import text_table
from musicrec.settings import ModelName

ABOUT_ESTIMATORS = {
    "knn": "k nearest neighbours, weighted by distance, of the first reference system",
    "logistic": "logistic regression, of the first reference system",
    "svm": "support vector machine with a radial kernel, of the first reference system",
    "random_forest": "random forest, of the first reference system",
    "whitened_svm": "support vector machine on logarithms whitened within genres, the project's own",
    "kmeans": "k-means in the plane of two principal components, of the first reference system",
    "birch": "BIRCH in the plane of two principal components, of the first reference system",
    "gaussian_mixture": "Gaussian mixture in the plane of two principal components, of the first reference system",
    "dbscan": "DBSCAN in the plane of two principal components, of the first reference system",
}
INPUT = {"features": "a feature set", "mel": "mel", "mel96": "mel96", "images": "images"}

NOTES = (
    "The parameters of a network are counted for as many genres as its publication had, or for ten.",
    "Models that read a feature set can read vectors of other models: musicrec train OUT --space NAME.",
    "Before cnn and crnn: musicrec extract OUT --mel96; before cnn_image: musicrec extract OUT --images.",
)


class About(NamedTuple):
    """One model."""

    name: str
    what: str
    reads: str  # table, or feature set
    parameters: int | None  # None for models whose size depends on the songs
    genres: int | None  # for which the parameters are counted: as many as the publication had


def about() -> list[About]:
    """Return all models, in the order of the settings."""
    return [_of(name) for name in get_args(ModelName)]


def _of(name: str) -> About:
    if name not in NETWORKS:
        return About(name, ABOUT_ESTIMATORS[name], INPUT["features"], None, None)
    network = NETWORKS[name]
    parameters, genres = network.PARAMETERS
    return About(name, network.ABOUT, INPUT[network.READS], parameters, genres)


def describe(models: list[About]) -> str:
    """Return the models as a table for people."""
    rows = [(model.name, _number(model.parameters), model.reads, model.what) for model in models]
    return "\n".join([text_table(("model", "parameters", "reads", "what it is"), rows), "", *NOTES])


def _number(parameters: int | None) -> str:
    return "" if parameters is None else f"{parameters:,}".replace(",", " ")
