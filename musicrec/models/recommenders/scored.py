"""What all methods share: the best unheard items of a matrix of scores, for some listeners at a time."""

from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from musicrec.similarity.ranking import ranked

Ids = NDArray[np.int32]
Rows = NDArray[np.int64]
Scores = NDArray[np.float32]

CELLS = 4_000_000  # scores in memory at once


class Method(Protocol):
    """What recommends to listeners; see the top of the package."""

    def fit(self, likes: sparse.csr_array, heard: sparse.csr_array | None = None) -> Self:
        """Learn what listeners like; `heard` is what is left out beside the likes."""
        ...

    def recommend(self, users: Rows, n: int) -> Ids:
        """Return the best items that some listeners have not heard."""
        ...


class Scored:
    """A method that gives each item a score: a subclass has ``_learn`` and ``_scores``."""

    needs_likes: ClassVar[bool] = True  # whether a listener without a like gets nothing

    def fit(self, likes: sparse.csr_array, heard: sparse.csr_array | None = None) -> Self:
        """Learn from likes.

        Parameters
        ----------
        likes : scipy.sparse.csr_array
            [n_users, n_items], 1 for each like.
        heard : scipy.sparse.csr_array, optional
            Of the same shape: what listeners have heard beside what they like.

        Raises
        ------
        ConfigError
            A library that the method needs is not installed.
        """
        self._likes = likes
        self._heard = likes if heard is None else (likes + heard).tocsr()
        self._learn(likes)
        return self

    def recommend(self, users: Rows, n: int) -> Ids:
        """Return the best items that some listeners have not heard.

        Parameters
        ----------
        users : numpy.ndarray
            int64 [n_users], rows of the matrix of likes.
        n : int
            How many.

        Returns
        -------
        numpy.ndarray
            int32 [n_users, n], by descending score, then ascending number; -1 after the end.
        """
        blocks = [self._best(some, n) for some in self._in_blocks(users)]
        found = np.concatenate([np.empty((0, n), np.int32), *blocks])
        if self.needs_likes:
            found[np.diff(self._likes.indptr)[users] == 0] = -1
        return found

    def _best(self, users: Rows, n: int) -> Ids:
        return best_unheard(self._scores(users), self._heard[users], n)

    def _in_blocks(self, users: Rows) -> list[Rows]:
        at_once = max(1, CELLS // max(1, self._likes.shape[1]))
        return [users[start : start + at_once] for start in range(0, len(users), at_once)]

    def _learn(self, likes: sparse.csr_array) -> None:
        """Learn what scores depend on."""

    def _scores(self, users: Rows) -> Scores:
        """Return the scores of all items, float32 [n_users, n_items]; -inf for one that is no candidate."""
        raise NotImplementedError


def best_unheard(scores: Scores, heard: sparse.csr_array, n: int) -> Ids:
    """Return the items with the best scores but for those that were heard.

    Parameters
    ----------
    scores : numpy.ndarray
        float32 [n_lists, n_items]; -inf for an item that is no candidate.
    heard : scipy.sparse.csr_array
        [n_lists, n_items], an entry for each item that is left out.
    n : int
        Length of the lists.

    Returns
    -------
    numpy.ndarray
        int32 [n_lists, n]; -1 after the end.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> heard = sparse.csr_array(np.array([[0, 1, 0, 0]]))
    >>> best_unheard(np.array([[0.5, 0.9, 0.7, -np.inf]], np.float32), heard, 3).tolist()
    [[2, 0, -1]]
    """
    n_lists, n_items = scores.shape
    ids = np.where(scores > -np.inf, np.arange(n_items, dtype=np.int32), np.int32(-1))
    ids[np.repeat(np.arange(n_lists), np.diff(heard.indptr)), heard.indices] = -1
    found = np.full((n_lists, n), -1, np.int32)
    found[:, : min(n, n_items)] = ranked(ids, scores, n).ids
    return found
