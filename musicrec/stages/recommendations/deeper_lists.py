"""Longer lists of some songs, for the listeners whose published lists end too early: the same as a larger table's."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.settings import SimilarSettings
from musicrec.similarity import Lists, is_asked, refine, top_n
from musicrec.similarity.listeners.nearest_to_likes import Int32, Recommended
from musicrec.similarity.listeners.nearest_to_tastes import DEEPER, MOST_CELLS
from musicrec.similarity.songs import CodeSets, Songs

Rows = NDArray[np.int64]
Merge = Callable[[Rows, Lists, Int32], Recommended]


class ListSource(NamedTuple):
    """What lists are made of: the vectors, the settings, and what the rules look at, None if there are none."""

    matrix: NDArray[np.float32]
    settings: SimilarSettings
    songs: Songs | None


def with_deeper_lists(
    found: Recommended, read: CodeSets, merge: Merge, source: ListSource, depth: int
) -> NDArray[np.bool_]:
    """Recommend anew, by longer lists, to the listeners for whom the lists were too short.

    Parameters
    ----------
    found : Recommended
        Receives the exact recommendations.
    read : CodeSets
        The songs whose lists are read for each listener.
    merge : callable
        Recommends to some listeners, given their rows, lists of songs, and for each song of the catalog the row of its
        list.
    source : ListSource
        What the lists were made of.
    depth : int
        Length of the lists that `found` was made from.

    Returns
    -------
    numpy.ndarray
        bool [n_listeners], to whom it was recommended anew.
    """
    anew = ~found.is_exact
    todo = np.flatnonzero(anew)
    while len(todo):
        depth = min(DEEPER * depth, len(source.matrix) - 1)
        for some in _in_blocks(todo, np.diff(read.starts)[todo], depth):
            parts = merge(some, *_lists_of(read.take(some), source, depth))
            for old, new in zip(found, parts, strict=True):
                old[some] = new
        todo = todo[~found.is_exact[todo]]
    return anew


def _in_blocks(listeners: Rows, n_lists: Rows, depth: int) -> list[Rows]:
    """Split listeners so that the lists that are read for each part fit into memory."""
    part = (np.cumsum(n_lists) - n_lists) * depth // MOST_CELLS
    return np.split(listeners, np.flatnonzero(np.diff(part)) + 1)


def _lists_of(read: CodeSets, source: ListSource, depth: int) -> tuple[Lists, Int32]:
    """Return the lists of some songs, and for each song of the catalog the row of its list."""
    matrix, settings, songs = source
    wanted = np.unique(read.codes).astype(np.int64)
    rows = np.full(len(matrix), -1, np.int32)
    rows[wanted] = np.arange(len(wanted))
    if songs is not None and is_asked(settings):
        return refine(matrix, songs, settings.model_copy(update={"n": depth}), rows=wanted), rows
    return top_n(matrix, depth, settings.metric, rows=wanted), rows
