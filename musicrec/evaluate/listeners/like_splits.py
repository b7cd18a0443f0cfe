"""Splits of what listeners like into what a method learns from and what it should find.

Conventions
-----------
A like is the first listen of a song by a listener that counts; each listener likes a song once. What is held out are
likes of listeners of whom some likes are learned from: nobody can be known without one. Likes without a time are
learned from.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import ConfigError

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Likes(NamedTuple):
    """What listeners like, in any order.

    Parameters
    ----------
    user, item : numpy.ndarray
        int64 [n_likes], numbers from 0; no pair twice.
    at : numpy.ndarray
        float64 [n_likes], when the listener first heard it, in seconds; NaN where it is not known.
    """

    user: Rows
    item: Rows
    at: NDArray[np.float64]

    def take(self, which: Rows | Mask) -> Self:
        """Return some of the likes."""
        return type(self)(self.user[which], self.item[which], self.at[which])


class Split(NamedTuple):
    """Which likes are learned from, and which are to be found.

    Attributes
    ----------
    learn, test : numpy.ndarray
        bool [n_likes]; a like may be in neither.
    n_cold_users : int
        Listeners who are not judged, as none of their likes is learned from.
    until : numpy.ndarray
        float64 [n_users], in seconds: what each listener heard before is known.
    """

    learn: Mask
    test: Mask
    n_cold_users: int
    until: NDArray[np.float64]


def time_split(likes: Likes, learn_share: float = 0.8) -> Split:
    """Learn from all likes before one moment, and test on those from then on.

    Parameters
    ----------
    likes : Likes
        The likes, some with a time.
    learn_share : float
        About this share of the likes with a time are before the moment.

    Raises
    ------
    ConfigError
        No time is known, or nobody has likes on both sides.

    Examples
    --------
    >>> import numpy as np
    >>> likes = Likes(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([1.0, 4.0, 2.0, 3.0]))
    >>> time_split(likes, 0.75).test.tolist()
    [False, True, False, False]
    """
    _require_times(likes, "time")
    moment = np.quantile(likes.at[~np.isnan(likes.at)], learn_share, method="higher")
    split = _of_known_users(likes, ~(likes.at >= moment), "the time split leaves nobody likes before and after it")
    return split._replace(until=np.full(len(split.until), moment))


def leave_last_out(likes: Likes) -> Split:
    """Test on the like that each listener came to last; of several at once, that with the largest number.

    A listener whose likes all lack a time is learned from only.

    Raises
    ------
    ConfigError
        No time is known, or nobody has two likes.
    """
    _require_times(likes, "last")
    order = np.lexsort((likes.item, np.nan_to_num(likes.at, nan=-np.inf), likes.user))
    n_timed = np.bincount(likes.user, ~np.isnan(likes.at))[likes.user]
    split = _one_or_more_out(likes, order, np.minimum(n_timed, 1).astype(np.int64))
    split.until[likes.user[split.test]] = likes.at[split.test]
    return split


def random_split(likes: Likes, learn_share: float = 0.8, seed: int = 0) -> Split:
    """Test on likes of each listener that are drawn at random: at least one, if there are two.

    It needs no times, and flatters every method: what a listener liked later helps to find what came before.

    Raises
    ------
    ConfigError
        Nobody has two likes.
    """
    canonical = np.lexsort((likes.item, likes.user))
    draw = np.empty(len(canonical))
    draw[canonical] = np.random.default_rng(seed).random(len(canonical))
    order = np.lexsort((draw, likes.user))
    n_likes = np.bincount(likes.user)[likes.user]
    return _one_or_more_out(likes, order, np.maximum(1, np.rint(n_likes * (1 - learn_share))).astype(np.int64))


def _one_or_more_out(likes: Likes, order: Rows, n_out: Rows) -> Split:
    """Test on the last `n_out` likes of each listener, but never on all; `order` is by listener."""
    user = likes.user[order]
    n_likes = np.bincount(user)[user]
    end = np.cumsum(np.bincount(user))[user]
    from_end = end - np.arange(len(user))  # 1 for the last
    test = np.empty(len(user), bool)
    test[order] = from_end <= np.minimum(n_out[order], n_likes - 1)
    return _of_known_users(likes, ~test, "no listener has two songs that count as likes")


def _of_known_users(likes: Likes, learn: Mask, complaint: str) -> Split:
    n_users = int(likes.user.max(initial=-1)) + 1
    is_known = np.bincount(likes.user[learn], minlength=n_users) > 0
    test = ~learn & is_known[likes.user]
    if not test.any():
        raise ConfigError(f"{complaint}, so nothing can be held out; add listens by: musicrec histories OUT PATH")
    n_cold = len(np.unique(likes.user[~is_known[likes.user]]))
    return Split(learn, test, n_cold, np.full(n_users, np.inf))


def _require_times(likes: Likes, split: str) -> None:
    if np.isnan(likes.at).all():
        raise ConfigError(f"no like has a time, which the split {split!r} needs; take the split 'random'")
