"""Which songs a model learns from and which it is tested on."""

import warnings
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import ModelError


class TrainingSet(NamedTuple):
    """Songs with features and a genre, and their split."""

    track_ids: list[str]
    X: NDArray[np.float32]  # [n_songs, n_features], as extracted
    y: NDArray[np.int32]  # [n_songs], index into classes
    classes: list[str]
    is_test: NDArray[np.bool_]
    grouped_by_artist: bool  # whether any artist is known, and so kept on one side
    left_out: dict[str, str]  # track id → why it is not used


def training_set(
    track_ids: list[str],
    X: NDArray[np.float32],
    genres: list[str | None],
    groups: list[str],
    *,
    test_fraction: float,
    seed: int,
) -> TrainingSet:
    """Stratified split by genre in which no group (artist) stands on both sides.

    Parameters
    ----------
    track_ids : list of str
        Of the songs that have features, sorted.
    X : numpy.ndarray
        float32 [n_songs, n_features].
    genres : list of str or None
        Songs without a genre are left out, and so are genres with a single song.
    groups : list of str
        Artist of each song; a song whose artist is unknown is a group of its own.
    test_fraction : float
        Share of the songs held out; one fold of ``StratifiedGroupKFold``. A genre whose songs would all be held out
        is trained on instead.
    seed : int
        Of the shuffle before the split.

    Raises
    ------
    ModelError
        Fewer than two genres have two songs, or no genre has songs of two artists.
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
    y = np.array([classes.index(str(genres[i])) for i in used], np.int32)
    is_test = _held_out(y, [groups[i] for i in used], test_fraction, seed)
    if not is_test.any():
        raise ModelError("every genre has songs of one artist only, so none can be tested; add songs of other artists")
    used_ids = [track_ids[i] for i in used]
    grouped_by_artist = any(groups[i] != track_ids[i] for i in used)
    return TrainingSet(used_ids, X[used], y, classes, is_test, grouped_by_artist, left_out)


def _held_out(y: NDArray[np.int32], groups: list[str], test_fraction: float, seed: int) -> NDArray[np.bool_]:
    from sklearn.model_selection import StratifiedGroupKFold

    largest_class = int(np.bincount(y).max())
    n_splits = max(2, min(round(1 / test_fraction), len(set(groups)), largest_class))
    folds = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # small genres are allowed
        warnings.filterwarnings("ignore", message="The number of unique classes")
        _, test = next(folds.split(np.zeros((len(y), 1)), y, groups))
    is_test: NDArray[np.bool_] = np.zeros(len(y), bool)
    is_test[test] = True
    only_tested = set(y[is_test]) - set(y[~is_test])
    needed = {group for group, label in zip(groups, y, strict=True) if label in only_tested}
    return is_test & ~np.isin(
        np.array(groups), sorted(needed)
    )  # a genre that cannot be learned cannot be tested either


def standardisation(X: NDArray[np.float32]) -> dict[str, Any]:
    """Mean and standard deviation of each column, those of constant columns 1."""
    mean, std = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
    return {"mean": mean.tolist(), "scale": np.where(std > 0, std, 1.0).tolist()}
