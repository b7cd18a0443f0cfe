"""The method ``hybrid``: the fused ranks of what similar listeners like and of what is most similar to the likes.

Both lists rank recordings, and hold as many as :mod:`musicrec.models.recommenders.fused` takes. A song that nobody
likes yet can be in the list by content only.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from musicrec.models.recommenders.collaborative import Factors
from musicrec.models.recommenders.fused import DEPTH, fused_lists
from musicrec.models.recommenders.scored import CELLS, Ids, best_unheard
from musicrec.similarity import Lists
from musicrec.similarity.listeners.nearest_to_likes import (
    Int32,
    Listeners,
    Recommended,
    caps_of,
    nearest_to_likes,
    nobody_yet,
)
from musicrec.similarity.listeners.nearest_to_tastes import DEEPER, most_similar_like
from musicrec.similarity.songs import CodeSets, as_sets
from musicrec.stages.recommendations.collaborative_fit import Fusion, Rows
from musicrec.stages.recommendations.methods import Found, Given, one_of_each_recording, recommend, rows_that_pass

MOST_CELLS = 2_000_000  # places in the lists of some listeners at once


class _Items(NamedTuple):
    """The recordings that can be recommended, by ascending number.

    Attributes
    ----------
    of_row : numpy.ndarray
        int32 [n_songs], the item of each song of the published table.
    of_recording : numpy.ndarray
        int32 [n_recordings], -1 for a recording that is not in the table.
    row : numpy.ndarray
        int32 [n_items], the first file that the rules for tags let pass; -1 for none.
    """

    of_row: Int32
    of_recording: Int32
    row: Int32


class _How(NamedTuple):
    """What songs are fused by."""

    given: Given
    fusion: Fusion
    items: _Items


def recommend_hybrid(given: Given, fusion: Fusion, users: Rows, listeners: Listeners) -> Found:
    """Recommend to some listeners; to those without likes, nothing.

    Where caps leave out so much that the fused lists hold too few songs, longer lists are fused.

    Parameters
    ----------
    given : Given
        Settings, lists, vectors and caps.
    fusion : Fusion
        Factors and weights.
    users : numpy.ndarray
        int64 [n_listeners], their rows in `fusion`.
    listeners : Listeners
        What they like and have heard.
    """
    n, how = given.settings.n, _How(given, fusion, _items(given))
    found = nobody_yet(len(users), n)
    deeper, by_lists_only = (np.zeros(len(users), np.bool_) for _ in range(2))
    todo, depth = np.flatnonzero(np.diff(listeners.likes.starts)), max(n, DEPTH)
    is_whole = np.zeros(len(users), np.bool_)
    while len(todo):
        for some in np.array_split(todo, -(-len(todo) * depth // MOST_CELLS)):
            own = Listeners(listeners.likes.take(some), listeners.heard.take(some))
            content = _by_content(given, own, depth)
            songs, is_whole[some] = _fused(how, users[some], own, content.songs.ids)
            for every, of_some in zip(found, songs, strict=True):
                every[some] = of_some
            deeper[some], by_lists_only[some] = content.deeper, content.by_lists_only
        todo = todo[(found.ids[todo, -1] < 0) & ~is_whole[todo]]
        depth = min(DEEPER * depth, max(depth, len(given.catalog.recording)))  # of all songs, some are likes
    assert given.vectors is not None
    most_similar_like(found, one_of_each_recording(listeners.likes, given.catalog.recording), given.vectors.unit)
    return Found(found, deeper, by_lists_only)


def _by_content(given: Given, listeners: Listeners, depth: int) -> Found:
    settings = given.settings.model_copy(update={"method": "max", "n": depth})
    return recommend(replace(given, settings=settings, caps=caps_of(given.catalog)), listeners)


def _fused(how: _How, users: Rows, listeners: Listeners, content: Int32) -> tuple[Recommended, NDArray[np.bool_]]:
    """Return the songs with the best fused ranks that caps let pass, and whether longer lists hold no other song."""
    given, fusion, items = how
    by_content = np.where(content >= 0, items.of_row[content], np.int32(-1))
    both = {1: by_content}
    if fusion.factors:
        both[0] = _by_factors(fusion.factors, users, listeners.heard, items, content.shape[1])
    counted = [number for number in sorted(both) if fusion.weights[number]]
    lists = [both[number] for number in counted]
    fused = fused_lists(lists, fusion.weights[counted], len(lists) * content.shape[1])
    rows = _rows_of(fused.ids, content, by_content, items)
    every = np.arange(len(users), dtype=np.int32)
    songs = nearest_to_likes(
        Lists(rows, fused.scores), Listeners(as_sets(every), listeners.heard), given.catalog, given.settings.n,
        caps=given.caps, rows=every,
    )  # fmt: skip
    return songs, np.all([ids[:, -1] < 0 for ids in lists], axis=0)


def _by_factors(factors: Factors, users: Rows, heard: CodeSets, items: _Items, depth: int) -> Ids:
    """Return the unheard items with the largest products of factors, int32 [n_listeners, depth]; -1 after the end."""
    known = _matrix_of(heard, items)
    at_once = max(1, CELLS // max(1, len(items.row)))
    found = [np.empty((0, depth), np.int32)]
    for start in range(0, len(users), at_once):
        some = slice(start, start + at_once)
        scores = np.where(items.row >= 0, factors.scores(users[some]), np.float32(-np.inf))
        found.append(best_unheard(scores, known[some], depth))
    return np.concatenate(found)


def _matrix_of(heard: CodeSets, items: _Items) -> sparse.csr_array:
    """Return the items that each listener has heard, [n_listeners, n_items]."""
    n_users = len(heard.starts) - 1
    user = np.repeat(np.arange(n_users), np.diff(heard.starts))
    is_known = heard.codes < len(items.of_recording)
    user, item = user[is_known], items.of_recording[heard.codes[is_known]]
    user, item = user[item >= 0], item[item >= 0]
    return sparse.csr_array((np.ones(len(item), np.float32), (user, item)), shape=(n_users, len(items.row)))


def _items(given: Given) -> _Items:
    recordings, of_row = np.unique(given.catalog.recording, return_inverse=True)
    of_recording = np.full(1 + int(recordings.max(initial=-1)), -1, np.int32)
    of_recording[recordings] = np.arange(len(recordings))
    row, passing = np.full(len(recordings), -1, np.int32), rows_that_pass(given)
    row[of_row[passing][::-1]] = passing[::-1]
    return _Items(of_row.astype(np.int32), of_recording, row)


def _rows_of(fused: Ids, content: Int32, by_content: Int32, items: _Items) -> Int32:
    """Return the song that stands for each fused item: the file that content has found, else the first."""
    n_users, n_items = len(fused), max(1, len(items.row))
    codes = np.arange(n_users)[:, None] * n_items
    listener, place = np.nonzero(content >= 0)
    known = (codes + by_content)[listener, place]
    order = np.argsort(known)
    rows = np.where(fused >= 0, items.row[fused], np.int32(-1)) if len(items.row) else fused
    if len(known):
        at = np.minimum(np.searchsorted(known[order], codes + fused), len(known) - 1)
        is_found = (fused >= 0) & (known[order][at] == codes + fused)
        rows = np.where(is_found, content[listener, place][order][at], rows)
    return rows.astype(np.int32)
