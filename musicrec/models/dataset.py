"""Which songs a model learns from and which it is tested on."""

import warnings
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import ModelError

MOSTLY = 0.95


class TrainingSet(NamedTuple):
    """Songs that have features and a genre to learn."""

    track_ids: list[str]
    X: NDArray[np.float32]  # [n_songs, n_features], as extracted
    y: NDArray[np.int32]  # [n_songs], index into classes
    classes: list[str]
    groups: list[str]  # artist of each song; a song whose artist is unknown is a group of its own
    left_out: dict[str, str]  # track id → why it is not used

    @property
    def grouped_by_artist(self) -> bool:
        """Whether nearly all artists are known, and so kept on one side of the split."""
        known = sum(group != track_id for group, track_id in zip(self.groups, self.track_ids, strict=True))
        return known >= MOSTLY * len(self.groups)


def training_set(
    track_ids: list[str], X: NDArray[np.float32], genres: list[str | None], artists: list[str | None]
) -> TrainingSet:
    """Songs to learn from: those of genres with two songs at least.

    Parameters
    ----------
    track_ids : list of str
        Of the songs that have features, sorted.
    X : numpy.ndarray
        float32 [n_songs, n_features].
    genres, artists : list of str or None
        Of each song, where known.

    Raises
    ------
    ModelError
        Fewer than two genres have two songs.
    """
    songs = Counter(genre for genre in genres if genre is not None)
    left_out = {
        track_id: "no_genre" if genre is None else "genre_of_one_song"
        for track_id, genre in zip(track_ids, genres, strict=True)
        if genre is None or songs[genre] < 2
    }
    classes = sorted(genre for genre, n in songs.items() if n >= 2)
    if len(classes) < 2:
        raise ModelError(
            f"training needs at least two genres of two songs each; the features cover {dict(songs) or 'no genre'}; "
            f"put the songs into one folder a genre, or give genres in a manifest"
        )
    used = [i for i, track_id in enumerate(track_ids) if track_id not in left_out]
    return TrainingSet(
        track_ids=[track_ids[i] for i in used],
        X=X[used],
        y=np.array([classes.index(str(genres[i])) for i in used], np.int32),
        classes=classes,
        groups=[artists[i] or track_ids[i] for i in used],
        left_out=left_out,
    )


def held_out(songs: TrainingSet, test_fraction: float, seed: int) -> NDArray[np.bool_]:
    """Which songs are for testing: a split stratified by genre in which no artist stands on both sides.

    Parameters
    ----------
    songs : TrainingSet
        What is split.
    test_fraction : float
        Share of the songs held out; one fold of ``StratifiedGroupKFold``. A genre whose songs would all be held out
        is trained on instead.
    seed : int
        Of the shuffle before the split.

    Raises
    ------
    ModelError
        No genre has songs of two artists.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    y, groups = songs.y, np.array(songs.groups)
    largest_class = int(np.bincount(y).max())
    n_splits = max(2, min(round(1 / test_fraction), len(set(songs.groups)), largest_class))
    folds = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # small genres are allowed
        warnings.filterwarnings("ignore", message="The number of unique classes")
        _, test = next(folds.split(songs.X, y, groups))
    is_test = np.isin(np.arange(len(y)), test)
    only_tested = set(y[is_test]) - set(y[~is_test])
    is_test &= ~np.isin(groups, groups[np.isin(y, list(only_tested))])  # what cannot be learned cannot be tested
    if not is_test.any():
        raise ModelError("every genre has songs of one artist only, so none can be tested; add songs of other artists")
    return is_test


def standardisation(X: NDArray[np.float32]) -> dict[str, Any]:
    """Mean and standard deviation of each column, those of constant columns 1."""
    mean, std = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
    return {"mean": mean.tolist(), "scale": np.where(std > 0, std, 1.0).tolist()}
