"""Lists of a few songs among many, by plain products: no codes of the many have to be made.

A pair is dropped where its product lies below what both lists need, by more than rounding can explain. That allowance
goes by the lengths of the two songs. So, unlike codes, products fit songs of any length.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from musicrec.similarity.search import candidates
from musicrec.similarity.search.blocks import slices
from musicrec.similarity.search.bounds import Projection, Vectors
from musicrec.similarity.search.candidates import CandidateLists, as_read
from musicrec.similarity.search.codes import ROUNDING, UNDERFLOW
from musicrec.similarity.search.pairs import LOWEST, Terms, compare_plain_products
from musicrec.similarity.search.score_keys import EUCLIDEAN, least_similarities
from musicrec.similarity.search.screens import PANEL

FIRST_COLUMNS, MOST_COLUMNS, ROWS = 256, 2048, 512  # of a block; the first are few, as nearly all of them enter a list
HALF_ULP = 2.0**-24  # most that one float32 sum is off, relative; where vectors are alike, all err the same way
OWN_ROUNDING = 1e-6  # of a song's own term of a similarity, and of sums with it


def nearest_to(
    projection: Projection, others: CandidateLists, given: Vectors, numbers: NDArray[np.int64], depth: int
) -> CandidateLists:
    """Return sorted lists of some songs from all `others`, and offer the songs to the lists of these.

    Parameters
    ----------
    projection : Projection
        Of the others; only its metric, its unit and its centre matter.
    others : CandidateLists
        All songs. Closed lists take nothing.
    given : Vectors
        [V, d].
    numbers : numpy.ndarray
        int64 [V], number of each song; no list holds its own.
    depth : int
        Length of the lists.
    """
    if projection.metric != EUCLIDEAN:  # whose products are small where the songs are short
        projection = projection._replace(centre=np.zeros_like(projection.centre))
    new, all_songs = (
        _new_lists(others, given, numbers, depth),
        Vectors(others.vectors, others.inverse_norms, given.unit),
    )
    own = _terms(projection, given, new, slice(None))
    scale, a, b, room = projection.scale, as_read(new), as_read(others), np.empty(ROWS * MOST_COLUMNS, np.float32)
    for places in _blocks(len(others.songs)):
        theirs = _terms(projection, all_songs.rows(slice(*places)), others, slice(*places))
        for first, last in slices(0, len(numbers), ROWS):
            products = room[: (last - first) * len(theirs.own)].reshape(last - first, -1)
            np.matmul(own.vectors[first:last], theirs.vectors.T, out=products)
            compare_plain_products(scale, a, b, products, first, places[0], own, theirs)
    candidates.put_in_order(scale, new)
    return new


def _new_lists(others: CandidateLists, given: Vectors, numbers: NDArray[np.int64], depth: int) -> CandidateLists:
    """Return empty lists of songs, without codes."""
    n = len(numbers)
    return others._replace(
        vectors=given.values,
        inverse_norms=given.inverse_norms,
        songs=numbers,
        codes=others.codes[:0],
        starts=others.starts[:0],
        offsets=others.offsets[:0],
        panels=others.panels[:0],
        limits=np.empty(n, others.limits.dtype),
        floors=np.zeros(n, np.uint64),
        counts=np.zeros(n, np.int32),
        keys=candidates.room(n, depth),
        depth=depth,
    )


def _blocks(n_songs: int) -> Iterator[tuple[int, int]]:
    """Iterate over (start, stop) of blocks of columns, the first ones small."""
    start, size = 0, FIRST_COLUMNS
    while start < n_songs:
        yield start, min(start + size, n_songs)
        start, size = start + size, min(2 * size, MOST_COLUMNS)


def _terms(projection: Projection, given: Vectors, lists: CandidateLists, rows: slice) -> Terms:
    """Return what products need of the songs in some rows of lists, and of free places up to the end of a panel."""
    n, d = given.values.shape
    centred, own = projection.about_centre(given)
    limits = np.empty(n)
    least_similarities(projection.scale, lists.floors[rows], lists.inverse_norms[rows], limits)
    padded = -(-n // PANEL) * PANEL
    vectors = np.zeros((padded, d), np.float32)
    terms = Terms(vectors, *(np.full(padded, x, np.float32) for x in (-np.inf, 0, 0, np.inf)))
    terms.vectors[:n], terms.limits[:n] = centred, np.maximum(limits, LOWEST)
    terms.lengths[:n] = np.sqrt(np.einsum("ij,ij->i", centred, centred, dtype=np.float64))  # float32 squares underflow
    terms.slacks[:n] = (ROUNDING + d * HALF_ULP) * terms.lengths[:n]
    terms.own[:n] = np.where(lists.songs[rows] < 0, -np.inf, own + OWN_ROUNDING * np.abs(own) + UNDERFLOW)
    return terms
