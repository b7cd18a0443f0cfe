"""Several methods as one, by reciprocal-rank fusion, with weights that fit listeners who are not tested."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from musicrec.evaluate.listeners.ranking_metrics import ndcg_at_k
from musicrec.models.recommenders.scored import Ids, Method, Rows
from musicrec.similarity.search.blocks import Lists

RANK_OFFSET = 60  # of Cormack, Clarke, Büttcher: SIGIR 2009
DEPTH = 100  # length of the lists that are fused
STEPS = 4  # weights are multiples of 1 / 4


class Hybrid:
    """The items with the largest sum of weight / (60 + rank) over the lists of several methods.

    Parameters
    ----------
    methods : mapping of str to Method
        The methods.
    weights : sequence of float, optional
        Weight of each; equal by default.
    """

    def __init__(self, methods: Mapping[str, Method], weights: Sequence[float] | None = None) -> None:
        self.methods = dict(methods)
        self.weights = np.array([1.0] * len(methods) if weights is None else weights)

    def fit(self, likes: sparse.csr_array, heard: sparse.csr_array | None = None) -> Self:
        """Fit each method; methods that are fitted already need it not."""
        for method in self.methods.values():
            method.fit(likes, heard)
        return self

    def fit_weights(self, users: Rows, relevant: sparse.csr_array, n: int) -> Self:
        """Choose the weights with the largest nDCG for listeners who are not tested afterwards.

        Parameters
        ----------
        users : numpy.ndarray
            int64 [n_users], the listeners.
        relevant : scipy.sparse.csr_array
            [n_users, n_items], what was held out of each.
        n : int
            How many items of a list count.
        """
        lists = self._lists(users, max(n, DEPTH))
        choices = simplex(len(self.methods))
        gains = [np.nanmean(ndcg_at_k(fuse(lists, weights, n), relevant, n)) for weights in choices]
        self.weights = choices[int(np.argmax(gains))]
        return self

    def recommend(self, users: Rows, n: int) -> Ids:
        """Return the best items that some listeners have not heard, int32 [n_users, n]; -1 after the end."""
        return fuse(self._lists(users, max(n, DEPTH)), self.weights, n)

    def _lists(self, users: Rows, n: int) -> list[Ids]:
        return [method.recommend(users, n) for method in self.methods.values()]


def fuse(lists: Sequence[Ids], weights: NDArray[np.float64], n: int) -> Ids:
    """Return the items with the largest sum of weight / (60 + rank) over several lists.

    Parameters
    ----------
    lists : sequence of numpy.ndarray
        int32 [n_users, depth] each, best first, -1 after the end.
    weights : numpy.ndarray
        float64 [number of lists], not negative. An item that only lists of weight 0 hold is left out.
    n : int
        How many are returned.

    Examples
    --------
    >>> import numpy as np
    >>> a, b = np.array([[4, 7, 1]], np.int32), np.array([[7, 2, 4]], np.int32)
    >>> fuse([a, b], np.array([0.5, 0.5]), 3).tolist()
    [[7, 4, 2]]
    """
    return fused_lists(lists, weights, n).ids


def fused_lists(lists: Sequence[Ids], weights: NDArray[np.float64], n: int) -> Lists:
    """Return what :func:`fuse` does, with the sums, float32 [n_users, n]; -inf after the end."""
    n_items = 1 + max(int(ids.max(initial=-1)) for ids in lists)
    places = [np.nonzero(ids >= 0) for ids in lists]
    shares = [weight / (RANK_OFFSET + 1 + place) for (_, place), weight in zip(places, weights, strict=True)]
    codes = [user * n_items + ids[user, place] for (user, place), ids in zip(places, lists, strict=True)]
    pairs, number = np.unique(np.concatenate(codes), return_inverse=True)
    scores = np.bincount(number, np.concatenate(shares), len(pairs)).astype(np.float32)
    order = np.lexsort((pairs, -scores, pairs // max(1, n_items)))
    order = order[scores[order] > 0]
    user = pairs[order] // max(1, n_items)
    place = np.arange(len(order)) - np.searchsorted(user, user)
    user, place, order = user[place < n], place[place < n], order[place < n]
    found = Lists(np.full((len(lists[0]), n), -1, np.int32), np.full((len(lists[0]), n), -np.inf, np.float32))
    found.ids[user, place] = pairs[order] % max(1, n_items)
    found.scores[user, place] = scores[order]
    return found


def simplex(n: int) -> NDArray[np.float64]:
    """Return all weights of `n` methods that are multiples of 1 / 4 and add up to 1, float64 [choices, n].

    Examples
    --------
    >>> simplex(2).tolist()
    [[0.0, 1.0], [0.25, 0.75], [0.5, 0.5], [0.75, 0.25], [1.0, 0.0]]
    """
    parts = [choice for choice in itertools.product(range(STEPS + 1), repeat=n) if sum(choice) == STEPS]
    return np.array(parts, np.float64).reshape(-1, n) / STEPS
