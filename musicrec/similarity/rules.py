"""Lists by rules: filters, genre boost, and methods against hubs.

The candidates of a song are ranked, and taken in order unless a rule forbids it. So a list is the same as if the whole
catalog had been ranked. The candidates come from a pool that is deeper than n. If it does not fill the list, or if a
song beyond it could rank higher, the song gets a deeper pool, in the end the whole catalog. If songs of the same genre
are boosted, they first get a pool of their own: otherwise the pool of all songs would have to be deep enough to hold a
list of one genre. With a method against hubs, the depth of the pool is part of the method: see
:mod:`musicrec.similarity.hubness`.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicrec.settings import Rules
from musicrec.similarity.filters import agreement, limits_of, longest, most_agreement, passes, take
from musicrec.similarity.hubness import NEIGHBOURS, Statistics, rescored, statistics
from musicrec.similarity.list_quality import SCORE_RANGE
from musicrec.similarity.ranking import ranked
from musicrec.similarity.search.blocks import Lists
from musicrec.similarity.search.exact import top_n
from musicrec.similarity.songs import Songs
from musicrec.similarity.tag_rules import allowed

Rows = NDArray[np.integer]

POOL_PER_N = 4  # candidates for each song of a list
DEEPER = 4  # each next pool is so many times as deep
MOST_CELLS = 8_000_000  # most candidates in memory at once
FAST_CELLS = 500_000  # most candidates processed together: their intermediate results fit in the cache


def refine(
    vectors: ArrayLike,
    songs: Songs,
    rules: Rules,
    lists: tuple[NDArray[np.int32], NDArray[np.float32]] | None = None,
    *,
    rows: NDArray[np.integer] | None = None,
    of_songs: Statistics | None = None,
) -> Lists:
    """Return the lists that follow the rules: filters, genre boost, and methods against hubs.

    Parameters
    ----------
    vectors : array_like
        [n_songs, d], finite.
    songs : Songs
        What the rules look at in each song.
    rules : Rules
        The rules.
    lists : tuple of numpy.ndarray, optional
        The result of :func:`top_n` for these rows, at any depth; :func:`pool_depth` is best. It saves the first pass,
        unless lists hold songs of one genre only.
    rows : numpy.ndarray, optional
        Ascending row numbers of the songs whose lists are wanted; all songs by default.
    of_songs : Statistics, optional
        Statistics of all songs of the catalog, of any genre, for a method against hubs; computed here by default.

    Returns
    -------
    Lists
        int32 and float32 [rows, min(n, n_songs - 1)], by descending score, then ascending row number; -1 and -inf at
        the end where no more songs pass. The score is the one by which the list is ranked: see :func:`score_range`.

    Examples
    --------
    >>> from musicrec.settings import Rules
    >>> from musicrec.similarity import refine, songs_of
    >>> vectors = [[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [0.0, 1.0]]
    >>> songs = songs_of({"artist_id": ["Ann", "Ann", "Ben", "Cid"]})
    >>> refine(vectors, songs, Rules(n=1, no_same_artist=True)).ids.ravel().tolist()
    [2, 2, 1, 2]
    """
    matrix = np.asarray(vectors)
    asked = np.arange(len(matrix)) if rows is None else np.asarray(rows, np.intp)
    if rules.hubness != "none" and of_songs is None:
        of_songs = statistics_of(matrix, rules, lists if rows is None else None)
    n = max(0, min(rules.n, len(matrix) - 1))
    found = Lists(np.full((len(asked), n), -1, np.int32), np.full((len(asked), n), -np.inf, np.float32))
    for members, places in _catalogs(songs, rules, asked):
        whole = len(members) == len(matrix)
        task = _Task(
            matrix if whole else matrix[members], songs.take(members), rules, of_songs and _take(of_songs, members)
        )
        first = _some(lists, places) if lists and whole else None
        ids, scores = task.lists(np.searchsorted(members, asked[places]), first)
        found.ids[places, : ids.shape[1]] = np.where(ids >= 0, members[ids], -1)
        found.scores[places, : ids.shape[1]] = scores
    return found


def pool_depth(rules: Rules, n_songs: int) -> int:
    """Return how deep the lists that :func:`refine` is given should be.

    Parameters
    ----------
    rules : Rules
        The rules.
    n_songs : int
        Number of songs in the catalog.

    Returns
    -------
    int
        n if the rules change nothing, several times n otherwise; never more than the number of other songs.

    Examples
    --------
    >>> from musicrec.settings import Rules
    >>> pool_depth(Rules(n=10), 1000), pool_depth(Rules(n=10, no_duplicates=True), 1000)
    (10, 40)
    """
    return max(0, min((POOL_PER_N if is_asked(rules) else 1) * rules.n, n_songs - 1))


def is_asked(rules: Rules) -> bool:
    """Return whether the rules can make lists that differ from those of :func:`top_n`.

    Parameters
    ----------
    rules : Rules
        The rules.

    Returns
    -------
    bool
        False if only ``n``, ``metric`` and ``genre_weight`` are set.

    Examples
    --------
    >>> from musicrec.settings import Rules
    >>> is_asked(Rules(n=10)), is_asked(Rules(n=10, no_duplicates=True))
    (False, True)
    """
    plain = Rules.model_validate({"n": rules.n, "metric": rules.metric, "genre_weight": rules.genre_weight})
    return any(getattr(rules, name) != getattr(plain, name) for name in Rules.model_fields)


def score_range(rules: Rules) -> tuple[float, float]:
    """Return the lowest and the highest score that lists by these rules can hold.

    The -inf at the end of a short list does not count.

    Parameters
    ----------
    rules : Rules
        The rules.

    Returns
    -------
    low, high : float
        The range, for :func:`check_lists`.

    Examples
    --------
    >>> from musicrec.settings import Rules
    >>> score_range(Rules()), score_range(Rules(metric="euclidean"))
    ((-1.0, 1.0), (-inf, 0.0))
    """
    low, high = SCORE_RANGE[rules.metric]
    match rules.hubness:
        case "mutual_proximity":
            return 0.0, np.inf
        case "local_scaling":
            return -np.inf, 0.0
        case "csls":
            return (2 * (low - high), 2 * (high - low)) if np.isfinite(low) else (-np.inf, np.inf)
    return low, high if rules.genre != "boost" else np.inf


def statistics_of(
    matrix: NDArray[np.floating], rules: Rules, lists: tuple[NDArray[np.int32], NDArray[np.float32]] | None = None
) -> Statistics:
    """Return the statistics of all songs that the method against hubs needs, from their vectors and lists.

    :func:`refine` of a few rows needs those of all songs too, so they should be computed once.
    """
    if rules.hubness == "mutual_proximity":
        return statistics(rules.hubness, matrix, np.empty((len(matrix), 0), np.float32), metric=rules.metric)
    if lists is None or lists[1].shape[1] < min(NEIGHBOURS, len(matrix) - 1):
        lists = top_n(matrix, NEIGHBOURS, rules.metric)
    return statistics(rules.hubness, matrix, lists[1], metric=rules.metric)


def _catalogs(songs: Songs, rules: Rules, asked: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Iterate over the sets of songs to choose from, ascending, each with the places in `asked` of its lists."""
    everybody = np.arange(len(songs.genre))
    if rules.genre != "only":
        yield everybody, np.arange(len(asked))
        return
    of_asked = songs.genre[asked]
    for genre in np.unique(of_asked):
        yield everybody if genre < 0 else np.flatnonzero(songs.genre == genre), np.flatnonzero(of_asked == genre)


def _take(of_songs: Statistics, rows: Rows) -> Statistics:
    return Statistics(of_songs.centre[rows], of_songs.spread[rows])


def _some(lists: tuple[NDArray[np.int32], NDArray[np.float32]], rows: Rows, depth: int | None = None) -> Lists:
    return Lists(lists[0][rows, :depth], lists[1][rows, :depth])


def _blocks(rows: Rows, at_once: int) -> list[Rows]:
    return np.split(rows, range(max(1, at_once), len(rows), max(1, at_once)))


class _Pool(NamedTuple):
    """Candidates of some songs in the order in which they are taken, and a bound for the songs beyond."""

    candidates: Lists
    is_all: NDArray[np.bool_]  # [rows], whether no song beyond the pool could be taken
    beyond: NDArray[np.float32]  # [rows], highest score that a song beyond the pool can have; -inf if none matters


class _Task:
    """Lists of the songs of one catalog."""

    def __init__(self, matrix: NDArray[np.floating], songs: Songs, rules: Rules, of_songs: Statistics | None) -> None:
        self._matrix, self._songs, self._rules, self._of_songs = matrix, songs, rules, of_songs
        self._boosts_own_genre = rules.genre == "boost" and songs.genre_probabilities is None
        self._limits = limits_of(songs, rules)
        self._n = max(0, min(rules.n, len(matrix) - 1))
        self._wanted = np.minimum(longest(self._limits), self._n)
        self._among = allowed(songs, rules)
        self._others = len(matrix) - 1  # so many candidates are all
        if self._among is not None:
            self._others = min(self._others, len(self._among))
            is_own = np.bincount(self._among, minlength=len(matrix))
            self._wanted = np.minimum(self._wanted, len(self._among) - is_own)

    def lists(self, rows: Rows, first: Lists | None) -> Lists:
        """Return the lists of some rows, from pools that become deeper where that is needed."""
        found = Lists(np.full((len(rows), self._n), -1, np.int32), np.full((len(rows), self._n), -np.inf, np.float32))
        depth = pool_depth(self._rules, len(self._matrix))
        if first is not None and self._rules.hubness == "none":
            depth = first.ids.shape[1]
        elif first is not None and (first.ids.shape[1] < depth or self._among is not None):
            first = None  # with a method against hubs, another pool gives another list
        todo, apart = np.flatnonzero(self._wanted[rows]), False
        while len(todo):
            short = []
            for block in _blocks(todo, MOST_CELLS // depth):
                near = _some(first, block, depth) if first else self._nearest(rows[block], depth)
                is_all = near.ids.shape[1] >= (len(self._matrix) - 1 if first else self._others)
                alike = self._alike(rows[block], depth) if apart else None
                for part in _blocks(np.arange(len(block)), FAST_CELLS // depth):
                    places = block[part]
                    pool = self._pool(rows[places], _some(near, part), alike and _some(alike, part), is_all=is_all)
                    short.append(places[~self._fill(found, places, rows[places], pool)])
            todo = np.concatenate(short)
            if self._boosts_own_genre and not apart:
                apart = True
            else:
                depth, first = min(DEEPER * depth, len(self._matrix) - 1), None
        return found

    def _fill(self, found: Lists, places: Rows, rows: Rows, pool: _Pool) -> NDArray[np.bool_]:
        """Fill lists from a pool; return which of them a deeper pool would not change."""
        ids, scores = take(pool.candidates, self._limits, rows, self._n)
        found.ids[places], found.scores[places] = ids, scores
        last = np.where(ids >= 0, scores, np.inf).min(axis=1)
        is_full = (ids >= 0).sum(axis=1) >= self._wanted[rows]
        return pool.is_all | (is_full & (last > pool.beyond))

    def _nearest(self, rows: Rows, depth: int) -> Lists:
        """Return lists by score alone, of the songs that the rules for tags allow."""
        everybody = len(rows) == len(self._matrix)
        return top_n(self._matrix, depth, self._rules.metric, rows=None if everybody else rows, among=self._among)

    def _alike(self, rows: Rows, depth: int) -> Lists:
        """Return lists, by score alone, of songs of the same genre; empty for songs of unknown genre."""
        of_genre = Lists(np.full((len(rows), depth), -1, np.int32), np.full((len(rows), depth), -np.inf, np.float32))
        genres = self._songs.genre
        for genre in np.unique(genres[rows][genres[rows] >= 0]):
            members, places = np.flatnonzero(genres == genre), np.flatnonzero(genres[rows] == genre)
            everybody = len(members) == len(places)
            which = None if everybody else np.searchsorted(members, rows[places])
            among = None if self._among is None else np.flatnonzero(np.isin(members, self._among))
            ids, scores = top_n(self._matrix[members], depth, self._rules.metric, rows=which, among=among)
            of_genre.ids[places, : ids.shape[1]] = np.where(ids >= 0, members[ids], -1)
            of_genre.scores[places, : ids.shape[1]] = scores
        return of_genre

    def _pool(self, rows: Rows, near: Lists, alike: Lists | None, *, is_all: bool) -> _Pool:
        """Return the candidates that pass on their own, in the order of the rules."""
        rules, songs = self._rules, self._songs
        farthest = near.scores[:, -1]
        ends = np.full(len(rows), is_all)
        beyond = np.full(len(rows), -np.inf, np.float32)
        if alike is not None:  # songs of the same genre come from `alike`, other songs from `near`
            own = agreement(songs, rows, near.ids) > 0
            near = _joined(Lists(np.where(own, np.int32(-1), near.ids), near.scores), alike)
            beyond = np.maximum(_plus(alike.scores[:, -1], rules.genre_weight), farthest)
            farthest = np.maximum(alike.scores[:, -1], farthest)
        elif rules.genre == "boost":
            beyond = _plus(farthest, rules.genre_weight * most_agreement(songs, rows))
        if rules.min_score is not None:
            ends |= farthest < np.float32(rules.min_score)
        fit = passes(songs, rules, rows, near)
        if self._among is not None:
            fit &= np.isin(near.ids, self._among)
        ids = np.where(fit, near.ids, np.int32(-1))
        scores = near.scores
        if self._of_songs is not None:
            scores = rescored(near, rules.hubness, self._of_songs, metric=rules.metric, rows=rows)
        elif rules.genre == "boost":
            scores = _plus(scores, rules.genre_weight * agreement(songs, rows, near.ids))
        return _Pool(ranked(ids, scores), ends, beyond)


def _joined(a: Lists, b: Lists) -> Lists:
    return Lists(np.hstack([a.ids, b.ids]), np.hstack([a.scores, b.scores]))


def _plus(scores: NDArray[np.float32], more: NDArray[np.float64] | float) -> NDArray[np.float32]:
    return (scores.astype(np.float64) + more).astype(np.float32)
