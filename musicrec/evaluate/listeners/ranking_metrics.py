"""How well lists for listeners hold what was held out.

Conventions
-----------
Lists are ``ids``, int32 [n_users, n]: item numbers, best first, no item twice, -1 after the end of a list. ``relevant``
is a sparse matrix [n_users, n_items] with an entry for each held-out like. Lists are made of all items that a listener
has not heard: none is sampled. Figures are float64 [n_users], NaN where nothing was held out.

Metrics
-------
With t the number of held-out items of a listener, and rel(i) 1 if place i of the list holds one of them, else 0:

=============  =======================================================================================
recall@k       Σ_{i≤k} rel(i) / t
hit rate@k     1 if any rel(i) with i ≤ k is 1, else 0
nDCG@k         Σ_{i≤k} rel(i) / log2(i + 1), divided by Σ_{i ≤ min(k, t)} 1 / log2(i + 1)
MAP@k          Σ_{i≤k} rel(i) · (Σ_{j≤i} rel(j) / i), divided by min(k, t)
=============  =======================================================================================

A perfect list has nDCG 1 and MAP 1, however many items were held out. RecTools divides by the gain of k ideal items,
unless ``divide_by_achievable``, and MAP by t.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Ids = NDArray[np.int32]
Figures = NDArray[np.float64]


def hits_of(ids: Ids, relevant: sparse.csr_array) -> NDArray[np.bool_]:
    """Return which places of the lists hold a held-out item, bool of the shape of `ids`."""
    n_users, n_items = relevant.shape
    user = np.repeat(np.arange(n_users), np.diff(relevant.indptr))
    wanted = user * np.int64(n_items) + relevant.indices
    listed = np.arange(n_users)[:, None] * np.int64(n_items) + ids
    return (ids >= 0) & np.isin(listed, wanted)


def recall_at_k(ids: Ids, relevant: sparse.csr_array, k: int) -> Figures:
    """Return the share of the held-out items that are among the first `k`."""
    return _per_user(hits_of(ids[:, :k], relevant).sum(axis=1), n_relevant(relevant))


def hit_rate_at_k(ids: Ids, relevant: sparse.csr_array, k: int) -> Figures:
    """Return 1 where a held-out item is among the first `k`, else 0."""
    return _per_user(hits_of(ids[:, :k], relevant).max(axis=1, initial=False), np.minimum(1, n_relevant(relevant)))


def ndcg_at_k(ids: Ids, relevant: sparse.csr_array, k: int) -> Figures:
    """Return the normalised discounted cumulative gain of the first `k`.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> held_out = sparse.csr_array(np.array([[0, 1, 0, 0]]))
    >>> ndcg_at_k(np.array([[3, 1]], np.int32), held_out, 2).round(4).tolist()
    [0.6309]
    """
    gain = 1 / np.log2(np.arange(k) + 2)
    hits = hits_of(ids[:, :k], relevant)
    ideal = np.concatenate([[0], np.cumsum(gain)])[np.minimum(k, n_relevant(relevant))]
    return _per_user(hits @ gain[: hits.shape[1]], ideal)


def average_precision_at_k(ids: Ids, relevant: sparse.csr_array, k: int) -> Figures:
    """Return the mean precision down to each held-out item among the first `k`; of many listeners, the mean is MAP@k.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> held_out = sparse.csr_array(np.array([[0, 1, 1, 0]]))
    >>> average_precision_at_k(np.array([[1, 0, 2]], np.int32), held_out, 3).round(4).tolist()
    [0.8333]
    """
    hits = hits_of(ids[:, :k], relevant)
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    return _per_user((precision * hits).sum(axis=1), np.minimum(k, n_relevant(relevant)))


def n_relevant(relevant: sparse.csr_array) -> NDArray[np.int64]:
    """Return how many items of each listener were held out."""
    return np.diff(relevant.indptr).astype(np.int64)


def _per_user(sums: NDArray[np.generic], by: NDArray[np.generic]) -> Figures:
    divisor = by.astype(np.float64)
    return np.divide(sums.astype(np.float64), divisor, out=np.full(len(divisor), np.nan), where=divisor > 0)
