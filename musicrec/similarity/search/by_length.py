"""Lists by inner product of songs whose lengths differ by orders of magnitude.

Codes of one step are fine for the longest songs alone. So songs are put into levels by length, each with codes of its
own, and lists look for songs in one level after the other, the longest first. No inner product is larger than the
product of both lengths. So a list whose worst song is better than that needs no shorter songs, and most lists are done
after a few levels.

Source: the levels are the buckets of Teflioudi, Gemulla and Mykytiuk, LEMP: Fast Retrieval of Large Entries in a Matrix
Product, SIGMOD 2015.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.similarity.search import candidates
from musicrec.similarity.search.bounds import Projection, Vectors
from musicrec.similarity.search.candidates import CandidateLists, closed
from musicrec.similarity.search.queries import codes_of, length_of_longest, nearest_to

Rows = NDArray[np.int64]

APART, SHORT = 8.0, 0.05  # where the longest song is so many times as long as this share of the songs, levels pay
RATIO = 2.0  # of the longest and the shortest song of a level
MANY = 8  # times the songs of all levels before: lists will change, and limits are guessed
FEW = 64  # the longest songs are one level whatever their lengths: all pairs with them may be scored
ROUNDING = 1e-6  # of scores, relative to the product of both lengths, with room to spare


class Level(NamedTuple):
    """Songs of about one length."""

    projection: Projection
    lists: CandidateLists  # closed
    longest: float  # length of the longest song


def differ_much(given: Vectors) -> bool:
    """Return whether the lengths of vectors differ so much that levels pay."""
    lengths = np.linalg.norm(given.values, axis=1)
    return len(lengths) > FEW and float(lengths.max()) > APART * float(np.quantile(lengths, SHORT))


def levels_of(given: Vectors, n: int, screen: str) -> list[Level]:
    """Put songs into levels, the longest first, and make their codes.

    Parameters
    ----------
    given : Vectors
        [N, d] of all songs; the number of a song is its row.
    n : int
        Length of the lists that will be made.
    screen : str
        One of screens.available().
    """
    lengths = np.linalg.norm(given.values, axis=1)
    order, levels = np.argsort(-lengths, kind="stable"), []
    start = 0
    while start < len(order):
        shortest = lengths[order[start]] / RATIO if start else np.inf
        stop = max(start + FEW, int(np.searchsorted(-lengths[order], -shortest)))
        rows = np.sort(order[start:stop])
        level = given.rows(rows)
        levels.append(Level(*codes_of(level, rows, n, screen), length_of_longest(level)))
        start = stop
    return levels


def fill(lists: CandidateLists, given: Vectors, levels: Iterable[Level], scale: candidates.ScoreScale) -> None:
    """Fill lists with the best songs of all levels.

    Parameters
    ----------
    lists : CandidateLists
        Empty lists of songs; those of free places stay empty.
    given : Vectors
        [lists, d], the vectors of their songs.
    levels : iterable of Level
        All songs, the longest first.
    scale : ScoreScale
        Of the codes of `lists`, which are not used here.
    """
    lengths = np.linalg.norm(given.values, axis=1)
    n_seen = 0
    for level in levels:
        candidates.tighten(scale, lists)
        most = lengths * level.longest * given.unit**2
        least = _score_of_floors(lists.floors) - ROUNDING * most
        active = np.flatnonzero((lists.songs >= 0) & (most >= least))
        if not len(active):
            break
        powers = _powers(level.longest, lengths[active])
        values = np.ldexp(given.values[active], powers[:, None])
        queries = given.rows(active)._replace(values=values if level.longest else 0 * values)  # all scores are 0
        floors = rescaled(lists.floors[active], powers)
        n_songs = len(level.lists.songs)
        found = nearest_to(
            level.projection, closed(level.lists), queries, lists.songs[active], lists.depth,
            floors=floors, may_guess=n_songs > MANY * n_seen,
        )  # fmt: skip
        candidates.offer(scale, lists, active, found, np.ldexp(1.0, -powers))
        n_seen += n_songs


def _powers(longest: float, lengths: NDArray[np.float64]) -> Rows:
    """Return the powers of two that bring vectors to between half a length and all of it; 0 where there are none."""
    known = (lengths > 0) & (longest > 0)
    ratios = np.divide(longest, lengths, out=np.ones(len(lengths)), where=known)
    return np.floor(np.log2(ratios)).astype(np.int64)


def _score_of_floors(floors: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return the scores in floors; minus infinity where there is no floor."""
    scores = np.empty(len(floors))
    candidates.read_scores(floors, scores)
    return scores


def rescaled(keys: NDArray[np.uint64], powers: Rows) -> NDArray[np.uint64]:
    """Return keys of scores times powers of two; no key stays none."""
    new = np.zeros_like(keys)
    candidates.rescale(keys, np.ldexp(1.0, powers), new)
    return new
