"""What methods learn from and what they should find, as matrices; and the weights of a fusion that finds most of it."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from musicrec.evaluate.listeners.like_splits import Likes, Split, leave_last_out, random_split, time_split
from musicrec.models.recommenders.fused import Hybrid
from musicrec.models.recommenders.scored import Method
from musicrec.settings import ListenerEvaluationSettings
from musicrec.stages.listener_evaluation.listening_data import ListeningData

VALIDATION_SHARE = 0.2  # of the listeners with held-out likes; weights are fitted on them
FEWEST_TO_FIT = 2  # listeners with held-out likes: one to fit weights on, and another

Rows = NDArray[np.int64]


def split_likes(likes: Likes, settings: ListenerEvaluationSettings) -> Split:
    """Split likes into those that are learned from and those that are held out."""
    if settings.split == "time":
        return time_split(likes, settings.learn_share)
    if settings.split == "last":
        return leave_last_out(likes)
    return random_split(likes, settings.learn_share, settings.seed)


def matrices(data: ListeningData, split: Split) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Return what is learned from, and what is known to have been heard beside it, [n_users, n_items]."""
    learned = matrix(data, data.likes.take(split.learn))
    until = np.full(data.n_users, np.inf)
    until[: len(split.until)] = split.until  # listeners after these like nothing
    is_known = ~(data.heard.at >= until[data.heard.user])
    heard = matrix(data, data.heard.take(is_known))
    liked = matrix(data, data.likes)
    return learned, (
        heard - heard.multiply(liked)
    ).tocsr()  # a file of what is liked later is no reason to leave it out


def matrix(data: ListeningData, likes: Likes) -> sparse.csr_array:
    """Return some likes as a matrix, float32 [n_users, n_items]: 1 for each."""
    shape = data.n_users, len(data.items.track_ids)
    found = sparse.csr_array((np.ones(len(likes.user), np.float32), (likes.user, likes.item)), shape=shape)
    found.data[:] = 1
    return found


def held_out(data: ListeningData, split: Split, users: Rows) -> sparse.csr_array:
    """Return what was held out of some listeners, [n_users, n_items]."""
    return matrix(data, data.likes.take(split.test))[users]


def drawn(data: ListeningData, split: Split, settings: ListenerEvaluationSettings) -> tuple[Rows, Rows]:
    """Draw listeners with held-out likes: some to fit weights on, if there are enough, and others; both ascending."""
    order = np.random.default_rng(settings.seed).permutation(np.unique(data.likes.user[split.test]))
    if len(order) < FEWEST_TO_FIT:
        return order[:0], order
    n_validation = max(1, round(VALIDATION_SHARE * len(order)))
    judged = order[n_validation:][: settings.max_users]
    return np.sort(order[:n_validation][: settings.max_users]), np.sort(judged)


def fused_for(validation: Rows, methods: Mapping[str, Method], data: ListeningData, split: Split, n: int) -> Hybrid:
    """Fuse methods, fitted to what is learned from, by the weights that find most of what some listeners came to like.

    Parameters
    ----------
    validation : numpy.ndarray
        int64, at least one listener with held-out likes.
    methods : mapping of str to Method
        The methods, fitted.
    data, split : ListeningData, Split
        All likes, and which are held out.
    n : int
        Length of the lists in which they should be.
    """
    return Hybrid(methods).fit_weights(validation, held_out(data, split, validation), n)
