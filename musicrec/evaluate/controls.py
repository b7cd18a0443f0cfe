"""Controls: how well genres can be named without listening, and how well from songs whose frames are shuffled.

Where the source of a file (its format, its collection) goes with the genre, a model may learn the source and seem to
know the music. Two figures show whether it can: how often the source alone names the right genre, and how often the
features name the right source. Both are measured out of fold, beside always naming the commonest.
"""

from pathlib import PurePosixPath
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Answers = NDArray[np.object_]

SHUFFLED = ", frames shuffled"  # ends the name of a model that was tested on songs with their frames in random order
CONSTANT, SOURCE_ALONE = "always the commonest genre", "source of the file alone"
CONSTANT_SOURCE, SOURCE_HEARD = "always the commonest source", "source from the features"


def file_type(uri: str) -> str:
    """Return ``mp3`` for ``https://example.org/songs/one.MP3?key=1``; nothing where the name has no suffix."""
    path = urlsplit(uri).path if "://" in uri else uri
    return PurePosixPath(path).suffix[1:].lower()


def name_commonest(labels: ArrayLike, folds: ArrayLike, sources: ArrayLike | None = None) -> Answers:
    """Name each song by the commonest label of the other folds, or of their songs from the same source.

    Parameters
    ----------
    labels : array_like
        Genre, or whatever is to be named, [n].
    folds : array_like
        Fold that tests each song, [n].
    sources : array_like, optional
        Source of each song, [n]. A source that the other folds do not have gets their commonest label.

    Returns
    -------
    numpy.ndarray
        A label for each song, [n]; the first in the alphabet where several are as common.
    """
    frame = pd.DataFrame({"label": np.asarray(labels), "fold": np.asarray(folds)})
    frame["source"] = "" if sources is None else np.asarray(sources)
    answers = np.empty(len(frame), object)
    for fold in frame["fold"].unique():
        test = (frame["fold"] == fold).to_numpy()
        learn = frame[~test]
        overall = _commonest(learn["label"])
        by_source = {source: _commonest(rows["label"]) for source, rows in learn.groupby("source")}
        answers[test] = [by_source.get(source, overall) for source in frame.loc[test, "source"]]
    return answers


def _commonest(labels: pd.Series) -> str | None:
    counts = labels.value_counts().sort_index()
    return str(counts.index[int(counts.to_numpy().argmax())]) if len(counts) else None


def name_from_features(X: NDArray[np.floating], labels: ArrayLike, folds: ArrayLike) -> Answers:
    """Name each song by a logistic regression on the features of the other folds.

    Parameters
    ----------
    X : numpy.ndarray
        Features, [n, n_features]; what is not finite counts as the feature's median.
    labels, folds : array_like
        As for :func:`name_commonest`.

    Returns
    -------
    numpy.ndarray
        A label for each song, [n].
    """
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    y, fold = np.asarray(labels, object), np.asarray(folds)
    finite = np.where(np.isfinite(X), X, np.nan).astype(np.float64)
    answers = name_commonest(y, fold)
    for each in np.unique(fold):
        learn, test = fold != each, fold == each
        if len(set(y[learn])) > 1:  # else there is nothing to learn
            model = make_pipeline(
                SimpleImputer(strategy="median", keep_empty_features=True),
                StandardScaler(),
                LogisticRegression(max_iter=1000),
            )
            answers[test] = model.fit(finite[learn], y[learn].astype(str)).predict(finite[test])
    return answers
