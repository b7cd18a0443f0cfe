"""Which songs a model learns from and which it is tested on."""

import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import ModelError
from musicrec.evaluate.artist_circles import circles
from musicrec.models.inputs import Chosen, Songs
from musicrec.schemas import Reason

MOSTLY = 0.95


class TrainingSet(NamedTuple):
    """Songs that have features and a genre to learn."""

    track_ids: list[str]
    X: Songs  # what a model reads of each, as extracted: features [n_songs, n_features], or a sequence of arrays
    y: NDArray[np.int32]  # [n_songs], index into classes
    classes: list[str]
    groups: list[str]  # circle of artists of each song; without artists it is a group of its own, with all its clips
    recordings: list[str]  # the recording that each song is, or is a part of
    left_out: dict[str, Reason]  # track id → why it is not used

    @property
    def grouped_by_artist(self) -> bool:
        """Whether nearly all artists are known, so that each is kept on one side of the split."""
        known = sum(group != recording for group, recording in zip(self.groups, self.recordings, strict=True))
        return known >= MOSTLY * len(self.groups)


def training_set(
    track_ids: list[str],
    X: Songs,
    genres: list[str | None],
    artists: Sequence[Collection[str]],
    recordings: list[str | None] | None = None,
) -> TrainingSet:
    """Return the songs to learn from: those of genres with at least two songs.

    Parameters
    ----------
    track_ids : list of str
        The songs that have features, sorted.
    X : sequence
        What a model reads of each.
    genres, recordings : list of str or None
        Those of each song, where known.
    artists : sequence of collections of str
        All artists of each song. Artists who made songs together are in one group: see
        :func:`musicrec.evaluate.artist_circles.circles`.

    Raises
    ------
    ModelError
        Fewer than two genres have two songs.
    """
    songs = Counter(genre for genre in genres if genre is not None)
    left_out = {
        track_id: Reason.NO_GENRE if genre is None else Reason.GENRE_OF_ONE_SONG
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
    recording_of = recordings or [None] * len(track_ids)
    circle_of = circles([artists[i] for i in used])
    return TrainingSet(
        track_ids=[track_ids[i] for i in used],
        X=X[used] if isinstance(X, np.ndarray) else Chosen(X, np.array(used, np.intp)),
        y=np.array([classes.index(str(genres[i])) for i in used], np.int32),
        classes=classes,
        groups=[circle or recording_of[i] or track_ids[i] for circle, i in zip(circle_of, used, strict=True)],
        recordings=[recording_of[i] or track_ids[i] for i in used],
        left_out=left_out,
    )


def held_out(songs: TrainingSet, test_fraction: float, seed: int) -> NDArray[np.bool_]:
    """Choose the songs for testing: a split stratified by genre in which no artist stands on both sides.

    Parameters
    ----------
    songs : TrainingSet
        The songs that are split.
    test_fraction : float
        Share of the songs held out; one fold of ``StratifiedGroupKFold``. A genre whose songs would all be held out
        is trained on instead.
    seed : int
        Seed of the shuffle before the split.

    Raises
    ------
    ModelError
        No genre has songs of two artists.
    """
    largest_class = int(np.bincount(songs.y).max())
    n_folds = max(2, min(round(1 / test_fraction), len(set(songs.groups)), largest_class))
    _, is_test = next(iter(folds(songs.y, songs.groups, n_folds, seed)))
    if not is_test.any():
        raise ModelError("every genre has songs of one artist only, so none can be tested; add songs of other artists")
    return is_test


def folds(
    y: NDArray[np.int32], groups: Sequence[str], n_folds: int, seed: int
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Yield the folds of a cross-validation, stratified by genre, in which no group stands on both sides.

    Parameters
    ----------
    y : numpy.ndarray
        Class of each song, [n].
    groups : sequence of str
        Artist, or recording, of each.
    n_folds : int
        How many parts; each is tested once.
    seed : int
        Seed of the shuffle.

    Yields
    ------
    learn, test : numpy.ndarray
        bool [n]. Songs of a genre without a training song are learned from instead of tested, so that some songs may
        be tested by no fold.

    Raises
    ------
    ModelError
        No genre has as many songs as there are folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    largest_class = int(np.bincount(y).max())
    if n_folds > largest_class:
        raise ModelError(f"{n_folds} folds, but genres of at most {largest_class} songs; ask for fewer, or add songs")
    names = np.array(groups)
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # small genres are allowed
        warnings.filterwarnings("ignore", message="The number of unique classes")
        parts = [test for _, test in splitter.split(np.zeros(len(y)), y, names)]
    for part in parts:
        is_test = np.isin(np.arange(len(y)), part)
        only_tested = set(y[is_test]) - set(y[~is_test])
        is_test &= ~np.isin(names, names[np.isin(y, list(only_tested))])  # what cannot be learned cannot be tested
        yield ~is_test, is_test
