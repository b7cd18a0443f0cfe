"""All figures of several methods on the same listeners: by bands, with intervals, and each method against each other.

Bands
-----
Items are divided by how many learning listeners like them: *cold* items nobody likes; of the others, *popular* ones are
the most popular that have a third of all likes together, *medium* ones have the next third, and *rare* ones the rest.
Recall in a band counts only held-out items of the band. *Cold artists* are those none of whose items anybody likes.
Listeners are divided into thirds by the length of their histories.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from musicrec.evaluate.listeners import list_variety
from musicrec.evaluate.listeners.ranking_metrics import (
    average_precision_at_k,
    hit_rate_at_k,
    ndcg_at_k,
    recall_at_k,
)
from musicrec.evaluate.listeners.user_intervals import Difference, Mean, means, paired_tests
from musicrec.evaluate.retrieval import diversity

Ids = NDArray[np.int32]
Figures = NDArray[np.float64]
Key = tuple[str, str]  # metric and band

ALL = "all"
ITEM_BANDS = ("cold items", "rare items", "medium items", "popular items")
COLD_ARTISTS = "cold artists"
HISTORY_BANDS = ("short histories", "medium histories", "long histories")
TESTED = ("recall", "ndcg")  # the figures by which methods are compared with each other
COLUMNS = ["method", "against", "metric", "band", "value", "low", "high", "p", "p_holm", "n_users"]


class HeldOut(NamedTuple):
    """What lists are judged by.

    Parameters
    ----------
    learned : scipy.sparse.csr_array
        [n_learning, n_items], an entry for each like that is learned from; of all listeners.
    users : numpy.ndarray
        int64 [n_users], rows of `learned` of the listeners who are judged.
    relevant : scipy.sparse.csr_array
        [n_users, n_items], an entry for each held-out like.
    artists : numpy.ndarray
        int [n_items], number of the artist of each item; -1 where none is known.
    vectors : numpy.ndarray, optional
        float32 [n_items, d], in which the diversity of a list is measured.
    """

    learned: sparse.csr_array
    users: NDArray[np.int64]
    relevant: sparse.csr_array
    artists: NDArray[np.integer]
    vectors: NDArray[np.float32] | None = None

    @property
    def popularity(self) -> NDArray[np.int64]:
        """By how many learning listeners each item is liked."""
        return np.bincount(self.learned.indices, minlength=self.learned.shape[1])


def judge(lists: Mapping[str, Ids], held_out: HeldOut, k: int, seed: int = 0) -> pd.DataFrame:
    """Judge the lists of several methods.

    Parameters
    ----------
    lists : mapping of str to numpy.ndarray
        By the name of the method, int32 [n_users, k], best first, -1 after the end.
    held_out : HeldOut
        The listeners and what was held out.
    k : int
        How many items of a list are looked at.
    seed : int
        Seed of the bootstrap over listeners.

    Returns
    -------
    pandas.DataFrame
        :data:`COLUMNS`. Where ``against`` names a method, ``value`` is the difference to it, and ``p`` is of the paired
        t-test. ``coverage`` is a figure of all lists together, so it has no interval.
    """
    figures = {method: figures_of(ids[:, :k], held_out, k) for method, ids in lists.items()}
    named = [(method, key) for method, mine in figures.items() for key in mine]
    rows: list[tuple[object, ...]] = []
    for (method, key), mean in zip(
        named, means(np.column_stack([figures[method][key] for method, key in named]), seed), strict=True
    ):
        rows.append(_row(method, key, mean))
    for method, ids in lists.items():
        spread = list_variety.coverage(ids[:, :k], held_out.learned.shape[1])
        rows.append(_row(method, ("coverage", ALL), Mean(spread, np.nan, np.nan, len(ids))))
    for metric in TESTED:
        of_all = {method: mine[metric, ALL] for method, mine in figures.items()}
        for pair in paired_tests(of_all, seed):
            rows.append(_row(pair.first, (metric, ALL), pair.difference, pair))
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(method: str, key: Key, mean: Mean, pair: Difference | None = None) -> tuple[object, ...]:
    against, p, p_holm = (pair.second, pair.p, pair.p_holm) if pair else (None, np.nan, np.nan)
    return method, against, *key, *mean[:3], p, p_holm, mean.n


def figures_of(ids: Ids, held_out: HeldOut, k: int) -> dict[Key, Figures]:
    """Return every figure of each listener, float64 [n_users], by metric and band."""
    relevant, popularity = held_out.relevant, held_out.popularity
    found = {
        ("recall", ALL): recall_at_k(ids, relevant, k),
        ("ndcg", ALL): ndcg_at_k(ids, relevant, k),
        ("map", ALL): average_precision_at_k(ids, relevant, k),
        ("hit_rate", ALL): hit_rate_at_k(ids, relevant, k),
        ("novelty", ALL): list_variety.novelty(ids, popularity, held_out.learned.shape[0]),
        ("cold_share", ALL): list_variety.cold_share(ids, popularity),
    }
    if (held_out.artists >= 0).any():
        found["artists_per_list", ALL] = list_variety.artists_per_list(ids, held_out.artists)
    if held_out.vectors is not None:
        found["diversity", ALL] = diversity(ids, held_out.vectors)
    for band, is_in in item_bands(held_out).items():
        found["recall", band] = recall_at_k(ids, _only(relevant, is_in), k)
    for band, is_theirs in history_bands(held_out).items():
        for metric in TESTED:
            found[metric, band] = np.where(is_theirs, found[metric, ALL], np.nan)
    return found


def item_bands(held_out: HeldOut) -> dict[str, NDArray[np.bool_]]:
    """Return which items are in each band of popularity, bool [n_items]; see the top of the module."""
    popularity = held_out.popularity
    order = np.lexsort((np.arange(len(popularity)), -popularity))
    before = np.empty(len(order))
    before[order] = np.cumsum(popularity[order]) - popularity[order]
    third = np.minimum(2, 3 * before // max(1, popularity.sum())).astype(int)
    number = np.where(popularity > 0, 3 - third, 0)
    bands = {name: number == i for i, name in enumerate(ITEM_BANDS)}
    is_known = held_out.artists >= 0
    if is_known.any():
        likes = np.bincount(held_out.artists[is_known], popularity[is_known])
        bands[COLD_ARTISTS] = is_known & (likes[held_out.artists] == 0)
    return bands


def history_bands(held_out: HeldOut) -> dict[str, NDArray[np.bool_]]:
    """Return which listeners are in each third by the number of likes that are learned from, bool [n_users]."""
    lengths = np.diff(held_out.learned.indptr)[held_out.users]
    edges = np.quantile(lengths, [1 / 3, 2 / 3], method="lower") if len(lengths) else [0, 0]
    number = np.searchsorted(edges, lengths, side="left")
    return {name: number == i for i, name in enumerate(HISTORY_BANDS)}


def _only(relevant: sparse.csr_array, is_in: NDArray[np.bool_]) -> sparse.csr_array:
    kept = relevant.tocoo()
    is_kept = is_in[kept.col]
    return sparse.csr_array((kept.data[is_kept], (kept.row[is_kept], kept.col[is_kept])), shape=relevant.shape)
