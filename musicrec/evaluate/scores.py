"""The table of scores: every figure of every model on every split, with its interval over artists."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from musicrec.evaluate import controls, genres
from musicrec.evaluate.bootstrap import artist_groups, draw_groups, interval
from musicrec.evaluate.classification import accuracy
from musicrec.schemas import SCORES


class Score(NamedTuple):
    """One figure: of one genre, or of all where the genre is None."""

    metric: str
    genre: str | None
    value: float
    low: float
    high: float
    n_songs: int


def scores(predictions: pd.DataFrame, artists: pd.Series, classes: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the scores of each model on each split.

    ``accuracy``; ``precision``, ``recall``, ``f1`` and ``auc`` of each genre and, genre null, their mean; the same but
    AUC with every genre named whose probability is above one half, as ``precision_at_half`` and so on;
    ``accuracy_std``, the standard deviation of accuracy over seeds, where there are several. A song counts once, by its
    mean over seeds. Intervals come from resampled artists; they do not include the chance in training again.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Columns of ``musicrec.schemas.EVALUATION``.
    artists : pandas.Series
        Artist by track id; a song without one is a group of its own.
    classes : sequence of str, optional
        Genres in the order of the probabilities; by default the genres tested, in alphabetical order.

    Returns
    -------
    pandas.DataFrame
        Columns of ``musicrec.schemas.SCORES``.
    """
    names = sorted(set(predictions["genre"])) if classes is None else list(classes)
    groups = artist_groups(artists, predictions["track_id"])
    table = []
    for (model, split), rows in predictions.groupby(["model", "split"], sort=True):
        of_model = _scores_of(genres.arrange(rows, groups, names), names)
        table += _rows(str(model), str(split), of_model, rows["seed"].nunique())
    return pd.DataFrame(table, columns=SCORES.names)


def control_scores(
    predictions: pd.DataFrame,
    sources: pd.Series,
    artists: pd.Series,
    features: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return the scores of the controls on the folds of each split, to be added to those of the models.

    ``accuracy`` of naming the genre by its frequency and by the source of the file alone; ``source_accuracy`` of naming
    the source by its frequency and from the features.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Columns of ``musicrec.schemas.EVALUATION``, of any models: songs, genres and folds are taken from it.
    sources, artists : pandas.Series
        Source (:func:`~musicrec.evaluate.controls.file_type`, say) and artist by track id.
    features : pandas.DataFrame, optional
        A row for each track id; the source of songs that have none is not predicted.

    Returns
    -------
    pandas.DataFrame
        Columns of ``musicrec.schemas.SCORES``.
    """
    groups = artist_groups(artists, predictions["track_id"])
    table = []
    for split, rows in predictions.groupby("split", sort=True):
        first = rows.sort_values(["model", "seed"], kind="stable").drop_duplicates("track_id").sort_values("track_id")
        songs = first.set_index("track_id")[["genre", "fold"]]
        songs["source"] = sources.reindex(songs.index).fillna("").astype(str)
        for name, score in _controls_of(songs, groups, features):
            table += _rows(name, str(split), [score], n_seeds=1)
    return pd.DataFrame(table, columns=SCORES.names)


def _scores_of(runs: genres.Runs, names: Sequence[str]) -> Iterator[Score]:
    n_groups = int(runs.group.max()) + 1
    weights = np.vstack([np.ones(n_groups), draw_groups(n_groups)]).T  # first the figure itself, then its draws
    n_songs = runs.truth.sum(axis=0) / (int(runs.seed.max()) + 1)
    by_seed = genres.accuracy_of_seeds(runs)
    per_genre = {
        **dict(zip(("precision", "recall", "f1"), _rates(runs, runs.named, weights), strict=True)),
        "auc": _auc(runs, weights),
    }
    if np.isfinite(runs.probabilities).any():
        at_half = (f"{rate}_at_half" for rate in ("precision", "recall", "f1"))
        per_genre |= dict(zip(at_half, _rates(runs, runs.thresholded, weights), strict=True))

    yield _score("accuracy", None, _accuracy(runs, weights), n_songs.sum())
    if len(by_seed) > 1:
        yield Score("accuracy_std", None, float(by_seed.std(ddof=1)), np.nan, np.nan, round(n_songs.sum()))
    for metric, draws in per_genre.items():
        yield _score(metric, None, genres.mean(draws, axis=1), n_songs.sum())
        for genre, values, songs in zip(names, draws.T, n_songs, strict=True):
            yield _score(metric, genre, values, songs)


def _accuracy(runs: genres.Runs, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    right = np.bincount(runs.group, (runs.truth & runs.named).any(axis=1))
    return (right @ weights) / (np.bincount(runs.group) @ weights)


def _rates(
    runs: genres.Runs, named: genres.Flags, weights: NDArray[np.float64]
) -> tuple[genres.Floats, genres.Floats, genres.Floats]:
    return genres.rates(runs.truth, named, runs.seed, runs.group, weights)


def _auc(runs: genres.Runs, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    columns = zip(runs.truth.T, runs.probabilities.T, strict=True)
    return np.array([genres.auc(*column, runs.network, runs.group, weights) for column in columns]).T


def _score(metric: str, genre: str | None, draws: NDArray[np.float64], n_songs: float) -> Score:
    return Score(metric, genre, float(draws[0]), *interval(draws[1:]), round(n_songs))


def _controls_of(songs: pd.DataFrame, groups: pd.Series, features: pd.DataFrame | None) -> Iterator[tuple[str, Score]]:
    genre, fold, source = (songs[column].to_numpy(object) for column in ("genre", "fold", "source"))
    artist = groups.reindex(songs.index)
    yield controls.CONSTANT, _hit("accuracy", controls.name_commonest(genre, fold), genre, artist)
    yield controls.SOURCE_ALONE, _hit("accuracy", controls.name_commonest(genre, fold, source), genre, artist)
    if features is None:
        return
    heard = songs.index.isin(features.index)
    if not heard.any():
        return
    X = features.reindex(songs.index[heard]).to_numpy(np.float64)
    source, fold, artist = source[heard], fold[heard], artist[heard]
    yield controls.CONSTANT_SOURCE, _hit("source_accuracy", controls.name_commonest(source, fold), source, artist)
    named = controls.name_from_features(X, source, fold)
    yield controls.SOURCE_HEARD, _hit("source_accuracy", named, source, artist)


def _hit(metric: str, named: controls.Answers, truth: controls.Answers, artist: ArrayLike) -> Score:
    return Score(metric, None, *accuracy(named == truth, artist))


def _rows(model: str, split: str, found: Iterable[Score], n_seeds: int) -> list[dict[str, Any]]:
    return [{"model": model, "split": split, **score._asdict(), "n_seeds": n_seeds} for score in found]
