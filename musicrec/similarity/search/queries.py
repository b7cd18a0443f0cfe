"""The songs nearest to vectors that are no songs, such as tastes of listeners: songs are prepared once, asked often.

Lists start with limits guessed from a sample of the songs. A list that ends below its guess is made again without one.
So the lists are exact, as those of :mod:`musicrec.similarity.search.exact` are.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicrec.similarity.search import bounds, candidates
from musicrec.similarity.search.blocks import (
    BLOCK_ROWS,
    Block,
    Lists,
    as_lists,
    check,
    compare_blocks,
    new_lists,
    padded,
    prepare,
    slices,
)
from musicrec.similarity.search.bounds import Projection, Vectors
from musicrec.similarity.search.candidates import CandidateLists, closed
from musicrec.similarity.search.clusters import cluster
from musicrec.similarity.search.score_keys import INNER
from musicrec.similarity.search.starting_limits import guess_from_sample

ROWS_AT_ONCE = 4 * BLOCK_ROWS  # their codes fit into the L2 cache, and the catalog's codes are read less often


class Prepared(NamedTuple):
    """Songs that queries are compared with by inner product."""

    projection: Projection
    lists: CandidateLists  # closed; similar songs are in near places
    longest: float  # length of the longest song
    power: int  # the songs were divided by this power of two


def prepare_songs(
    vectors: ArrayLike,
    n: int,
    *,
    typical: ArrayLike | None = None,
    among: NDArray[np.integer[Any]] | None = None,
    screen: str | None = None,
) -> Prepared:
    """Make codes of songs for queries.

    Parameters
    ----------
    vectors : array_like
        [N, d], finite.
    n : int
        Length of the lists that will be asked for, about. As `typical`, it changes how fast they are found, and not
        what is found.
    typical : array_like, optional
        Some queries like those that will be asked, by default the songs.
    among : numpy.ndarray, optional
        Row numbers of the songs that lists may hold, each once; all by default.
    screen : str, optional
        As for :func:`musicrec.similarity.search.exact.top_n`.

    Raises
    ------
    ConfigError
        The screen is unknown.
    ValueError
        `vectors` is not a matrix, or it holds NaN or infinite values.
    """
    given = prepare(vectors, "inner")
    rows = np.arange(len(given.values)) if among is None else np.asarray(among, np.int64)
    chosen, power = given.rows(rows)._replace(unit=1.0), int(np.log2(given.unit))
    longest = length_of_longest(chosen)
    some = None if typical is None else _as_queries(longest, typical, given.values.dtype)[0]
    return Prepared(*codes_of(chosen, rows, n, check(1, "inner", screen), typical=some), longest, power)


def codes_of(
    given: Vectors, numbers: NDArray[np.int64], n: int, screen: str, *, typical: Vectors | None = None
) -> tuple[Projection, CandidateLists]:
    """Make codes of songs for queries no longer than the longest song.

    Parameters
    ----------
    given : Vectors
        [N, d].
    numbers : numpy.ndarray
        int64 [N], number of each song.
    n : int
        Length of the lists of queries.
    screen : str
        One of screens.available().
    typical : Vectors, optional
        Some of the queries, by default the songs.
    """
    fitted = given if len(numbers) else Vectors(np.zeros((1, given.values.shape[1]), np.float32), np.ones(1), 1.0)
    projection = bounds.fit(fitted, INNER, min(n, len(fitted.values)), screen, typical=typical)
    reach = length_of_longest(given) + float(np.linalg.norm(projection.centre))  # of a query from the centre
    projection = bounds.for_vectors_of(max(projection.longest, reach), projection)
    order = cluster(projection, given).order if len(numbers) else numbers
    return projection._replace(unit=given.unit), new_lists(projection, given.rows(order), numbers[order], 0)


def length_of_longest(given: Vectors) -> float:
    """Return the length of the longest vector; 0 if there is none."""
    return float(np.linalg.norm(given.values, axis=1).max(initial=0.0))


def nearest(songs: Prepared, queries: ArrayLike, n: int) -> Lists:
    """Return the `n` songs with the largest inner product with each query.

    Parameters
    ----------
    songs : Prepared
        The songs.
    queries : array_like
        [Q, d], finite; rounded to the type of the songs. They may be of any length: a power of two brings each to about
        that of the songs, because codes are coarse for shorter vectors. It changes no digit of a score.
    n : int
        Length of the lists; they are shorter if there are fewer songs.

    Returns
    -------
    Lists
        Rows of the songs, by descending score, rounded to float32, then ascending row.

    Raises
    ------
    ValueError
        `queries` is not a matrix, or it holds NaN or infinite values.

    Examples
    --------
    >>> songs = prepare_songs([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], 2)
    >>> nearest(songs, [[0.0, 0.25]], 2).ids.tolist()
    [[2, 1]]
    """
    given, powers = _as_queries(songs.longest, queries, songs.lists.vectors.dtype)
    depth, no_songs = min(n, len(songs.lists.songs)), int(songs.lists.songs.max(initial=-1)) + 1
    found = nearest_to(songs.projection, songs.lists, given, no_songs + np.arange(len(powers)), depth)
    lists = as_lists(found._replace(songs=np.arange(len(powers))), len(powers), depth)
    with np.errstate(over="ignore", under="ignore"):
        return Lists(lists.ids, np.ldexp(lists.scores, songs.power - powers[:, None]))


def _as_queries(longest: float, queries: ArrayLike, kind: np.dtype[Any]) -> tuple[Vectors, NDArray[np.int64]]:
    """Bring queries by powers of two to between half the length `longest` and all of it; return the powers too."""
    matrix = padded(queries)
    if not np.isfinite(matrix).all():
        raise ValueError(f"queries of shape {np.shape(queries)}: expected a finite matrix [Q, d]")
    ones, powers = np.ones(len(matrix)), np.zeros(len(matrix), np.int64)
    if not longest:
        return Vectors(np.zeros_like(matrix, kind), ones, 1.0), powers  # all scores are 0
    exponents = np.frexp(np.abs(matrix).max(axis=1))[1].astype(np.int64)
    below_1 = np.ldexp(matrix, -exponents[:, None])  # no square overflows
    lengths = np.linalg.norm(below_1, axis=1)
    powers = np.floor(np.log2(longest / np.where(lengths > 0, lengths, longest))).astype(np.int64)
    return Vectors(np.ldexp(below_1, powers[:, None]).astype(kind), ones, 1.0), powers - exponents


def nearest_to(
    projection: Projection,
    others: CandidateLists,
    given: Vectors,
    numbers: NDArray[np.int64],
    depth: int,
    *,
    floors: NDArray[np.uint64] | None = None,
    may_guess: bool = True,
) -> CandidateLists:
    """Return sorted lists of some vectors from all `others`, and offer the vectors to the lists of these.

    Parameters
    ----------
    projection : Projection
        By which the codes of the others were made; it fits the vectors.
    others : CandidateLists
        All songs, similar ones in near places. Closed lists take nothing.
    given : Vectors
        [V, d].
    numbers : numpy.ndarray
        int64 [V], number of each vector; no list holds its own.
    depth : int
        Length of the lists.
    floors : numpy.ndarray, optional
        uint64 [V], keys that songs must exceed to enter a list; by default all may enter.
    may_guess : bool
        Guess limits from a sample. It does not pay where the floors are near to what lists will end with.
    """
    new = _new_lists(projection, given, numbers, depth, floors)
    guessed = new.limits.copy()
    if may_guess:
        guess_from_sample(projection, new, others)
        guessed = np.maximum(new.limits, guessed, out=new.limits).copy()
    _compare_with_all(projection, new, others)
    candidates.set_limits(projection.scale, new)
    lacking = np.flatnonzero((new.limits < guessed)[: len(numbers)])
    if len(lacking):
        of_those = None if floors is None else floors[lacking]
        anew = _new_lists(projection, given.rows(lacking), numbers[lacking], depth, of_those)
        _compare_with_all(projection, anew, closed(others))
        new.keys[lacking], new.counts[lacking], new.floors[lacking] = anew.keys, anew.counts, anew.floors
    return new


def _new_lists(
    projection: Projection,
    given: Vectors,
    numbers: NDArray[np.int64],
    depth: int,
    floors: NDArray[np.uint64] | None,
) -> CandidateLists:
    new = new_lists(projection, given, numbers, depth)
    if floors is not None and depth:
        new.floors[:] = floors
        candidates.set_limits(projection.scale, new)
    return new


def _compare_with_all(projection: Projection, new: CandidateLists, others: CandidateLists) -> None:
    n_others = len(others.songs)
    blocks = (Block(*rows, 0, n_others) for rows in slices(0, len(new.songs), ROWS_AT_ONCE))
    compare_blocks(projection, new, others, blocks)
    candidates.put_in_order(projection.scale, new)
