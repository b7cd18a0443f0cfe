"""The songs with the largest inner product with a vector of each listener, exact over the whole catalog.

Listeners are queries of the search of :mod:`musicrec.similarity.search.queries`, which screens pairs by short codes and
scores the rest in float64.
"""

import numpy as np
from numpy.typing import NDArray

from musicrec.similarity.listeners.nearest_to_likes import (
    Caps,
    Catalog,
    Listeners,
    Recommended,
    nearest_to_likes,
    nobody_yet,
)
from musicrec.similarity.search.queries import Prepared, nearest
from musicrec.similarity.songs import CodeSets, as_sets

Matrix = NDArray[np.float64]
DEEPER = 4  # each next lists are so many times as long
MOST_LISTENERS = 0.9  # share for whom the first lists are long enough if all songs that were heard are in them
MOST_CELLS = 8_000_000  # songs in all lists of some listeners at once


def nearest_to_tastes(
    tastes: Matrix, songs: Prepared, heard: CodeSets, catalog: Catalog, n: int, *, caps: Caps | None = None
) -> Recommended:
    """Return for each listener the unheard songs with the largest inner product with the listener's vector.

    Parameters
    ----------
    tastes : numpy.ndarray
        float64 [n_listeners, d], finite.
    songs : Prepared
        Songs that may be recommended, by :func:`musicrec.similarity.search.queries.prepare_songs`.
    heard : CodeSets
        Recordings that each listener has heard; none of them is recommended.
    catalog, n, caps
        As for :func:`musicrec.similarity.listeners.nearest_to_likes.nearest_to_likes`.

    Returns
    -------
    Recommended
        By descending score, rounded to float32, then ascending row. ``because`` is -1: see :func:`most_similar_like`.

    Examples
    --------
    >>> import numpy as np
    >>> from musicrec.similarity.search.queries import prepare_songs
    >>> songs = prepare_songs([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], 3)
    >>> catalog = Catalog(np.arange(3, dtype=np.int32), as_sets(np.full(3, -1, np.int32)))
    >>> heard = as_sets(np.array([0], np.int32))
    >>> nearest_to_tastes(np.array([[1.0, 0.0]]), songs, heard, catalog, 3).ids.tolist()
    [[1, 2, -1]]
    """
    found = nobody_yet(len(tastes), n)
    n_songs = len(songs.lists.songs)
    todo = np.arange(len(tastes))
    depth = n + min(DEEPER * n, int(np.quantile(np.diff(heard.starts), MOST_LISTENERS))) if len(todo) else 0
    while len(todo) and n_songs:
        depth = min(depth, n_songs)
        for some in np.array_split(todo, -(-len(todo) * depth // MOST_CELLS)):
            lists = nearest(songs, tastes[some], depth)
            listeners = Listeners(as_sets(np.arange(len(some), dtype=np.int32)), heard.take(some))
            rows = np.arange(len(some), dtype=np.int32)
            anew = nearest_to_likes(lists, listeners, catalog, n, caps=caps, rows=rows, whole_at=n_songs)
            for old, new in zip(found, anew, strict=True):
                old[some] = new
        todo, depth = todo[~found.is_exact[todo]], DEEPER * depth
    found.because[:] = -1
    found.is_exact[:] = True
    return found


def most_similar_like(found: Recommended, likes: CodeSets, songs: Matrix) -> None:
    """Name for each recommended song the like that it is most similar to, of several the first.

    Parameters
    ----------
    found : Recommended
        Receives ``because``.
    likes : CodeSets
        Rows of the songs that each listener likes, at least one where songs are recommended.
    songs : numpy.ndarray
        float64 [n_songs, d], unit vectors.
    """
    for listener, n in enumerate((found.ids >= 0).sum(axis=1).tolist()):
        liked = likes.of(listener)
        if n:
            cosines = (songs[found.ids[listener, :n]] @ songs[liked].T).astype(np.float32)
            found.because[listener, :n] = liked[cosines.argmax(axis=1)]
