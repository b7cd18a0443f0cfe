"""Lists of songs whose lengths differ by orders of magnitude: by inner product, or by Euclidean distance.

Codes of one step are fine for the longest songs alone. So songs are put into levels by length, each with codes of its
own, and lists look for songs in one level after the other. For distances, lengths are those from the centre of all.

inner product   No product is larger than that of both lengths. So a list looks among the longest songs first, and needs
                none that are too short to be better than its worst.
distance        No distance is shorter than the difference of both lengths. So a list looks among songs of its own
                length first, and needs none that are too long or too short.

Most lists are done after a few levels.

Source: the levels are the buckets of Teflioudi, Gemulla and Mykytiuk, LEMP: Fast Retrieval of Large Entries in a Matrix
Product, SIGMOD 2015.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.similarity.search import bounds, candidates
from musicrec.similarity.search.blocks import new_lists
from musicrec.similarity.search.bounds import Projection, Vectors
from musicrec.similarity.search.candidates import CandidateLists, closed
from musicrec.similarity.search.clusters import cluster
from musicrec.similarity.search.queries import nearest_to
from musicrec.similarity.search.score_keys import COSINE, EUCLIDEAN, INNER, MOST, ScoreScale
from musicrec.similarity.search.within import compare_within

Rows = NDArray[np.int64]
Lengths = NDArray[np.float64]

APART, SHORT = 8.0, 0.05  # where the longest song is so many times as long as this share of the songs, levels pay
RATIO = 2.0  # of the longest and the shortest song of a level
MANY = 8  # times the songs of all levels before: lists will change, and limits are guessed
FEW = 64  # the longest songs are one level whatever their lengths: all pairs with them may be scored
NEGLIGIBLE = 2.0**-40  # songs that are so short beside the longest are one level
ROUNDING = 1e-6  # of lengths and scores, with room to spare
AT_ONCE = 8192


class Coded(NamedTuple):
    """Songs of a level with their codes."""

    projection: Projection  # it fits all songs no longer than these
    starts: Rows  # where each cluster of them starts, and where the last one ends
    songs: CandidateLists  # closed


class Level(NamedTuple):
    """Songs of about one length; their codes are made when they are asked for, once."""

    shortest: float
    longest: float
    n_songs: int
    coded: Callable[[], Coded]


class Levels(NamedTuple):
    """All songs, the longest first; lengths are measured from a centre."""

    centre: NDArray[np.float64]  # [d]
    levels: Sequence[Level]


def centre_of(given: Vectors, metric: int) -> NDArray[np.float64]:
    """Return the point from which lengths are measured: the mean for distances, and the origin for inner products."""
    if metric == EUCLIDEAN and len(given.values):
        mean: NDArray[np.float64] = given.values.mean(axis=0, dtype=np.float64)
        return mean
    return np.zeros(given.values.shape[1])


def lengths_of(given: Vectors, centre: NDArray[np.float64]) -> Lengths:
    """Return the lengths [N] of vectors from a centre."""
    blocks = (given.values[first : first + AT_ONCE] - centre for first in range(0, len(given.values), AT_ONCE))
    return np.concatenate([*(np.linalg.norm(block, axis=1) for block in blocks), np.empty(0)])


def differ_much(given: Vectors, metric: int) -> bool:
    """Return whether the lengths of vectors differ so much that levels pay; for the cosine, they never do."""
    if metric == COSINE or len(given.values) <= FEW:
        return False
    lengths = lengths_of(given, centre_of(given, metric))
    return float(lengths.max()) > APART * float(np.quantile(lengths, SHORT))


def levels_of(given: Vectors, numbers: Rows, n: int, metric: int, screen: str, *, most: int | None = None) -> Levels:
    """Put songs into levels, and make their codes.

    Parameters
    ----------
    given : Vectors
        [N, d].
    numbers : numpy.ndarray
        [N], number of each song in the lists.
    n : int
        Length of the lists that will be made.
    metric : int
        EUCLIDEAN or INNER.
    screen : str
        One of screens.available().
    most : int, optional
        Songs of a level, so that each can be held in memory; by default as many as are of its length.
    """
    centre = centre_of(given, metric)
    lengths = lengths_of(given, centre)
    order, levels = np.argsort(-lengths, kind="stable"), list[Level]()
    start = 0
    while start < len(order):
        shortest = lengths[order[start]] / RATIO if start else np.inf
        stop = max(start + FEW, int(np.searchsorted(-lengths[order], -shortest)))
        if lengths[order[start]] <= NEGLIGIBLE * lengths[order[0]]:
            stop = len(order)
        stop = min(stop, start + (most or len(order)), len(order))
        rows = np.sort(order[start:stop])
        ends = float(lengths[order[stop - 1]]), float(lengths[order[start]])
        coded = cache(
            partial(_coded, given.rows(rows), numbers[rows], (metric, min(n, len(rows)), screen), ends[1], centre)
        )
        levels.append(Level(*ends, len(rows), coded))
        start = stop
    return Levels(centre, levels)


def _coded(
    given: Vectors, numbers: Rows, how: tuple[int, int, str], longest: float, centre: NDArray[np.float64]
) -> Coded:
    """Return songs, the longest of which is so long from a centre, with their codes."""
    metric, n, screen = how
    projection = bounds.fit(given, metric, n, screen)
    reach = longest * (1 + ROUNDING) + float(np.linalg.norm(projection.centre - centre))  # from its centre
    projection = bounds.for_vectors_of(max(projection.longest, reach), projection)
    _, order, starts = cluster(projection, given)
    return Coded(projection, starts, closed(new_lists(projection, given.rows(order), numbers[order], 0)))


# --- lists ------------------------------------------------------------------------------------------------------------


class _Seekers(NamedTuple):
    """Lists that look for songs."""

    lists: CandidateLists
    given: Vectors  # the vectors of their songs
    lengths: Lengths
    scale: ScoreScale  # of the codes of the lists, which are not used here
    levels: Sequence[Level]  # of all songs to look among

    def may_enter(self, rows: Rows, level: Level) -> NDArray[np.bool_]:
        """Return which lists in some rows a song of a level may enter, by its length alone."""
        lengths, unit = self.lengths[rows], self.given.unit
        with np.errstate(over="ignore", under="ignore"):
            if self.scale.metric == INNER:
                best = lengths * unit * level.longest * unit
                slack = ROUNDING * best
            else:
                best = -np.maximum(0.0, np.maximum(lengths - level.longest, level.shortest - lengths)) * unit
                slack = ROUNDING * (lengths + level.longest) * unit
            as_scores = (best + slack).astype(np.float32)  # infinite where scores are
        may: NDArray[np.bool_] = as_scores >= _score_of_floors(self.lists.floors[rows])
        return may

    def look(self, rows: Rows, levels: Iterable[Level]) -> None:
        """Look for songs for the lists in some rows, in one level after the other."""
        n_seen, is_new = 0, not self.lists.floors[rows].any()
        for level in levels:
            if is_new:
                candidates.tighten(self.scale, self.lists)
            active = rows[self.may_enter(rows, level)]
            if len(active):
                self._look_in(level, active, may_guess=is_new and level.n_songs > MANY * n_seen)
            n_seen += level.n_songs

    def _look_in(self, level: Level, rows: Rows, *, may_guess: bool) -> None:
        given, lengths, lists = self.given.rows(rows), self.lengths[rows], self.lists
        if self.scale.metric == EUCLIDEAN:
            projection, songs = _codes_for(level, self.levels, given, float(lengths.max()))
        else:
            projection, _, songs = level.coded()
            given = given._replace(inverse_norms=_factors(level.longest, lengths))
        found = nearest_to(
            projection, songs, given, lists.songs[rows], lists.depth, floors=lists.floors[rows], may_guess=may_guess
        )
        candidates.offer(self.scale, lists, rows, found)


def fill(lists: CandidateLists, given: Vectors, all_songs: Levels, scale: ScoreScale) -> None:
    """Offer to lists all songs that may enter them.

    Parameters
    ----------
    lists : CandidateLists
        Lists of songs, none of which hold a song of the levels; those of free places, without a song, stay as they are.
    given : Vectors
        [lists, d], the vectors of their songs.
    all_songs : Levels
        The songs to look among.
    scale : ScoreScale
        Of the codes of `lists`, which are not used here.
    """
    seekers = _Seekers(lists, given, lengths_of(given, all_songs.centre), scale, all_songs.levels)
    living, levels = np.flatnonzero(lists.songs >= 0), all_songs.levels
    if scale.metric == INNER:
        seekers.look(living, levels)
        return
    for rows, own in _by_own_level(seekers.lengths, living, levels):
        seekers.look(rows, (levels[k] for k in _nearest_first(own, len(levels))))


def fill_all(lists: CandidateLists, given: Vectors, all_songs: Levels, scale: ScoreScale) -> None:
    """Fill the lists of all songs, as :func:`fill` does; lists are in the order of :func:`places_of`."""
    if scale.metric == INNER:
        fill(lists, given, all_songs, scale)
        return
    levels = all_songs.levels
    ends = np.cumsum([0, *(level.n_songs for level in levels)])
    for level, (start, stop) in zip(levels, pairwise(ends), strict=True):
        _meet(level, lists, slice(start, stop))
    seekers = _Seekers(lists, given, lengths_of(given, all_songs.centre), scale, all_songs.levels)
    for own, (start, stop) in enumerate(pairwise(ends)):
        seekers.look(np.arange(start, stop), (levels[k] for k in _nearest_first(own, len(levels)) if k != own))


def places_of(all_songs: Levels) -> Rows:
    """Return the numbers of all songs, level by level, similar ones near each other."""
    return np.concatenate([level.coded().songs.songs for level in all_songs.levels])


def songs_in(all_songs: Levels, first: int, last: int, unit: float) -> tuple[Vectors, Rows]:
    """Return the vectors, divided by a unit, and the numbers of the songs in some places of :func:`places_of`."""
    ends = np.cumsum([0, *(level.n_songs for level in all_songs.levels)])
    taken = [
        (level.coded().songs, slice(max(first - start, 0), last - start))
        for level, (start, stop) in zip(all_songs.levels, pairwise(ends), strict=True)
        if start < last and first < stop
    ]
    columns = ("vectors", "inverse_norms", "songs")
    values, norms, numbers = (np.concatenate([getattr(of, name)[rows] for of, rows in taken]) for name in columns)
    return Vectors(values, norms, unit), numbers


def _meet(level: Level, lists: CandidateLists, rows: slice) -> None:
    """Compare the songs of a level with each other, each pair once; `rows` has their lists."""
    projection, starts, songs = level.coded()
    limits = np.full(len(songs.offsets), MOST, songs.offsets.dtype)
    own = songs._replace(
        limits=limits, floors=lists.floors[rows], counts=lists.counts[rows], keys=lists.keys[rows], depth=lists.depth
    )
    candidates.set_limits(projection.scale, own)
    compare_within(projection, own, starts)


def _nearest_first(own: int, n_levels: int) -> list[int]:
    return sorted(range(n_levels), key=lambda k: (abs(k - own), k))


def _by_own_level(lengths: Lengths, rows: Rows, levels: Sequence[Level]) -> Iterator[tuple[Rows, int]]:
    """Yield rows with the number of the level that is nearest to their lengths."""
    ends = np.array([level.shortest for level in levels])
    own = np.minimum(np.searchsorted(-ends, -lengths[rows]), len(levels) - 1)
    for k in np.unique(own):
        yield rows[own == k], int(k)


def _codes_for(
    level: Level, levels: Sequence[Level], given: Vectors, longest: float
) -> tuple[Projection, CandidateLists]:
    """Return the songs of a level with codes that fit some others too, the longest of which is so long."""
    own, _, songs = level.coded()
    if longest <= level.longest:
        return own, songs
    of_songs = Vectors(songs.vectors, songs.inverse_norms, given.unit)
    fitting = [longer for longer in levels if longer.longest >= longest]
    projection = fitting[-1].coded().projection if fitting else _longer(own, given, of_songs)
    return projection, closed(new_lists(projection, of_songs, songs.songs, 0))


def _longer(projection: Projection, given: Vectors, of_songs: Vectors) -> Projection:
    """Return a projection that fits vectors longer than all songs."""
    n = min(len(given.values), len(of_songs.values))
    longer = bounds.fit(given, projection.metric, n, projection.screen)
    return bounds.for_vectors_of(max(longer.longest, bounds.longest(longer, of_songs)), longer)


def _factors(longest: float, lengths: Lengths) -> Lengths:
    """Return the powers of two that bring vectors to between half a length and all of it; 0 for a length of 0."""
    if not longest:
        return np.zeros(len(lengths))  # all scores are 0
    ratios = np.divide(longest, lengths, out=np.ones(len(lengths)), where=lengths > 0)
    return np.ldexp(1.0, np.floor(np.log2(ratios)).astype(np.int64))


def _score_of_floors(floors: NDArray[np.uint64]) -> Lengths:
    """Return the scores in floors; minus infinity where there is no floor."""
    scores = np.empty(len(floors))
    candidates.read_scores(floors, scores)
    return scores
