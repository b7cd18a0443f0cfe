"""Longer lists of some likes, for the listeners whose published lists end too early: the same as a larger table's."""

import numpy as np
from numpy.typing import NDArray

from musicrec.settings import SimilarSettings
from musicrec.similarity import Lists, is_asked, refine, top_n
from musicrec.similarity.listeners.nearest_to_likes import Catalog, Listeners, Recommended, nearest_to_likes
from musicrec.similarity.songs import CodeSets, Songs

DEEPER = 4  # each next lists are so many times as long
MOST_CELLS = 8_000_000  # songs in all lists of some listeners at once

Rows = NDArray[np.int64]


def with_deeper_lists(
    found: Recommended,
    listeners: Listeners,
    catalog: Catalog,
    vectors: tuple[NDArray[np.float32], SimilarSettings, Songs | None],
    depth: int,
    *,
    max_per_artist: int = 0,
) -> int:
    """Recommend anew, by longer lists of their likes, to the listeners for whom the lists were too short.

    Parameters
    ----------
    found : Recommended
        Receives the exact recommendations.
    listeners : Listeners
        The listeners that `found` is for.
    catalog : Catalog
        All songs.
    vectors : tuple
        The vectors that the lists were made of, float32 [n_songs, d]; the settings of the lists; and what their rules
        look at, None if they follow no rule.
    depth : int
        Length of the lists that `found` was made from.
    max_per_artist : int
        As for :func:`nearest_to_likes`.

    Returns
    -------
    int
        To how many listeners it was recommended anew.
    """
    todo = np.flatnonzero(~found.is_exact)
    n_anew = len(todo)
    while len(todo):
        depth = min(DEEPER * depth, len(catalog.recording) - 1)
        for some in _in_blocks(todo, np.diff(listeners.likes.starts)[todo], depth):
            own = Listeners(listeners.likes.take(some), listeners.heard.take(some))
            lists, rows = _lists_of(own.likes, vectors, depth)
            anew = nearest_to_likes(lists, own, catalog, found.ids.shape[1], max_per_artist=max_per_artist, rows=rows)
            for old, new in zip(found, anew, strict=True):
                old[some] = new
        todo = todo[~found.is_exact[todo]]
    return n_anew


def _in_blocks(listeners: Rows, n_likes: Rows, depth: int) -> list[Rows]:
    """Split listeners so that the lists of the likes of each part fit into memory."""
    part = (np.cumsum(n_likes) - n_likes) * depth // MOST_CELLS
    return np.split(listeners, np.flatnonzero(np.diff(part)) + 1)


def _lists_of(
    likes: CodeSets, vectors: tuple[NDArray[np.float32], SimilarSettings, Songs | None], depth: int
) -> tuple[Lists, NDArray[np.int32]]:
    """Return the lists of some likes, and for each song of the catalog the row of its list."""
    matrix, settings, songs = vectors
    wanted = np.unique(likes.codes).astype(np.int64)
    rows = np.full(len(matrix), -1, np.int32)
    rows[wanted] = np.arange(len(wanted))
    if songs is not None and is_asked(settings):
        return refine(matrix, songs, settings.model_copy(update={"n": depth}), rows=wanted), rows
    return top_n(matrix, depth, settings.metric, rows=wanted), rows
