"""What lists for listeners hold beside what was held out: how new, how varied, how spread over the catalog.

Lists are ``ids`` as in :mod:`musicrec.evaluate.listeners.ranking_metrics`. The diversity within a list is
:func:`musicrec.evaluate.retrieval.diversity`.

Metrics
-------
=================  ===================================================================================
coverage           share of all items that are in at least one list
novelty            mean over a list of -log2(share of learning listeners who like the item); an item that nobody
                   likes counts as liked by one listener
cold share         share of a list that no learning listener likes
artists per list   number of different artists in a list, divided by its number of items; an item without an
                   artist is an artist of its own
=================  ===================================================================================
"""

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
Figures = NDArray[np.float64]


def coverage(ids: Ids, n_items: int) -> float:
    """Return the share of all items that are in at least one list.

    Examples
    --------
    >>> import numpy as np
    >>> coverage(np.array([[0, 1], [1, -1]], np.int32), 4)
    0.5
    """
    return len(np.unique(ids[ids >= 0])) / max(1, n_items)


def novelty(ids: Ids, popularity: NDArray[np.integer], n_users: int) -> Figures:
    """Return the mean self-information of the items of a list, in bits; NaN of an empty list.

    Parameters
    ----------
    ids : numpy.ndarray
        int32 [n_lists, k].
    popularity : numpy.ndarray
        int [n_items], by how many of the learning listeners each item is liked.
    n_users : int
        Number of the learning listeners.
    """
    bits = np.log2(max(1, n_users)) - np.log2(np.maximum(1, popularity))
    return _mean_of_lists(ids, bits)


def cold_share(ids: Ids, popularity: NDArray[np.integer]) -> Figures:
    """Return the share of each list that no learning listener likes; NaN of an empty list."""
    return _mean_of_lists(ids, (popularity == 0).astype(np.float64))


def artists_per_list(ids: Ids, artists: NDArray[np.integer]) -> Figures:
    """Return the number of different artists of each list, divided by its length; NaN of an empty list.

    Parameters
    ----------
    ids : numpy.ndarray
        int32 [n_lists, k].
    artists : numpy.ndarray
        int [n_items], number of the artist; -1 where none is known.
    """
    named = np.where(artists >= 0, artists, artists.max(initial=-1) + 1 + np.arange(len(artists)))
    ordered = np.sort(np.where(ids >= 0, named[ids], -1), axis=1)
    is_first = (ordered >= 0) & np.concatenate(
        [np.ones((len(ids), 1), bool), ordered[:, 1:] != ordered[:, :-1]], axis=1
    )
    n_items = (ids >= 0).sum(axis=1)
    return np.where(n_items > 0, is_first.sum(axis=1) / np.maximum(1, n_items), np.nan)


def _mean_of_lists(ids: Ids, values: Figures) -> Figures:
    there = ids >= 0
    n_items = there.sum(axis=1)
    return np.where(n_items > 0, np.where(there, values[ids], 0).sum(axis=1) / np.maximum(1, n_items), np.nan)
