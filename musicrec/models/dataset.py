"""Which songs a model learns from and which it is tested on."""

import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import ModelError, NotLearnable
from musicrec.evaluate.artist_circles import groups_apart
from musicrec.models.inputs import Chosen, Songs
from musicrec.schemas import Reason

MOSTLY = 0.95
GENRES_NAMED = 3  # in a message
LEAST_CLUSTERED = 3  # songs without genres
LEAST_GENRES, LEAST_SONGS = 2, 2  # genres that a model must tell apart, and songs of each


class TrainingSet(NamedTuple):
    """Songs that have features and a genre to learn."""

    track_ids: list[str]
    X: Songs  # what a model reads of each, as extracted: features [n_songs, n_features], or a sequence of arrays
    y: NDArray[np.int32]  # [n_songs], index into classes
    classes: list[str]  # none if the songs are taken without their genres; y is then 0
    groups: list[str]  # circle of artists of each song; without artists it is a group of its own, with all its clips
    recordings: list[str]  # the recording that each song is, or is a part of
    left_out: dict[str, Reason]  # track id → why it is not used

    @property
    def genres(self) -> list[str]:
        """The genre of each song; none if the songs are taken without their genres."""
        return [self.classes[i] for i in self.y] if self.classes else []

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
    *,
    needs_genres: bool = True,
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
    needs_genres : bool
        Whether songs without such genres are refused. If not, they are taken all, without genres.

    Raises
    ------
    NotLearnable
        Fewer than two genres have two songs.
    """
    problem = too_few_genres(genres)
    if problem and needs_genres:
        raise NotLearnable(f"{problem}; {GENRES_REMEDY}")
    if problem and len(track_ids) < LEAST_CLUSTERED:
        raise NotLearnable(f"clusters need at least {LEAST_CLUSTERED} songs, and there are {len(track_ids)}")
    left_out = {} if problem else why_left_out(track_ids, genres)
    classes = [] if problem else learnable_genres(genres)
    used = [i for i, track_id in enumerate(track_ids) if track_id not in left_out]
    recording_of = recordings or [None] * len(track_ids)
    ids = [track_ids[i] for i in used]
    return TrainingSet(
        track_ids=ids,
        X=X[used] if isinstance(X, np.ndarray) else Chosen(X, np.array(used, np.intp)),
        y=np.array([classes.index(str(genres[i])) if classes else 0 for i in used], np.int32),
        classes=classes,
        groups=groups_apart([artists[i] for i in used], [recording_of[i] for i in used], ids),
        recordings=[recording_of[i] or track_ids[i] for i in used],
        left_out=left_out,
    )


GENRES_REMEDY = "put the songs into one folder a genre, write genres into their tags, or give them in a manifest"


def learnable_genres(genres: Iterable[str | None]) -> list[str]:
    """Return the genres that have songs enough to be learned, sorted."""
    songs = Counter(genre for genre in genres if genre is not None)
    return sorted(genre for genre, n in songs.items() if n >= LEAST_SONGS)


def too_few_genres(genres: Sequence[str | None]) -> str | None:
    """Return why no model can learn the genres of songs; None if one can.

    Examples
    --------
    >>> too_few_genres(["rock", "rock", None])
    'a genre model needs at least two genres of two songs each, and of the 3 songs 2 are rock and 1 has no genre'
    >>> too_few_genres(["rock", "rock", "jazz", "jazz"])
    """
    if len(learnable_genres(genres)) >= LEAST_GENRES:
        return None
    counts = Counter(genre for genre in genres if genre is not None).most_common()
    parts = [f"{n} {'is' if n == 1 else 'are'} {genre}" for genre, n in counts[:GENRES_NAMED]]
    if others := sum(n for _, n in counts[GENRES_NAMED:]):
        parts.append(f"{others} of other genres")
    if not counts:
        parts.append("none has a genre")
    elif without := len(genres) - sum(n for _, n in counts):
        parts.append(f"{without} {'has' if without == 1 else 'have'} no genre")
    said = " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
    return f"a genre model needs at least two genres of two songs each, and of the {len(genres)} songs {said}"


def why_left_out(track_ids: Sequence[str], genres: Sequence[str | None]) -> dict[str, Reason]:
    """Return why a model cannot learn from songs, by track id."""
    learnable = set(learnable_genres(genres))
    return {
        track_id: Reason.NO_GENRE if genre is None else Reason.GENRE_OF_ONE_SONG
        for track_id, genre in zip(track_ids, genres, strict=True)
        if genre not in learnable
    }


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
    NotLearnable
        No genre has songs of two artists.
    """
    if not songs.classes:
        return np.zeros(len(songs.y), bool)
    largest_class = int(np.bincount(songs.y).max())
    n_folds = max(2, min(round(1 / test_fraction), len(set(songs.groups)), largest_class))
    _, is_test = next(iter(folds(songs.y, songs.groups, n_folds, seed)))
    if not is_test.any():
        raise NotLearnable(
            "every genre has songs of one artist only, so none can be tested; add songs of other artists"
        )
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
