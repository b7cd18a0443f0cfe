"""Methods that compare songs by their vectors, so they know a song as soon as it is in the catalog.

Scores are those of all songs, summed in float64 and rounded to float32; none is left out beforehand. Songs are compared
by the cosine.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicrec.models.recommenders.scored import Ids, Rows, Scored, Scores, best_unheard
from musicrec.similarity.taste import medoid

Matrix = NDArray[np.float64]

MOST_INTERESTS = 5
POOL = 5  # so many times the songs of a list are looked at to make it more diverse


class _OfVectors(Scored):
    """Songs as unit vectors.

    Parameters
    ----------
    vectors : array_like
        [n_items, d], finite.
    """

    def __init__(self, vectors: ArrayLike) -> None:
        self._unit = unit_rows(vectors)


class Mean(_OfVectors):
    """The songs whose mean cosine to all likes is largest."""

    def _scores(self, users: Rows) -> Scores:
        return (self._tastes(users) @ self._unit.T).astype(np.float32)

    def _tastes(self, users: Rows) -> Matrix:
        """Return the mean vector of the likes of each listener."""
        likes = self._likes[users].astype(np.float64)
        n_likes = np.diff(likes.indptr)[:, None]
        return np.asarray(likes @ self._unit) / np.maximum(1, n_likes)


class Genre(Mean):
    """As :class:`Mean`, plus the agreement of genres: Method 2 of the reference system.

    The score is the mean cosine + λ·⟨p(genre | song), mean p(genre | likes)⟩.

    Parameters
    ----------
    vectors : array_like
        [n_items, d], finite.
    probabilities : array_like
        [n_items, n_genres], of each genre.
    weight : float
        λ.
    """

    def __init__(self, vectors: ArrayLike, probabilities: ArrayLike, weight: float = 1.0) -> None:
        super().__init__(vectors)
        self._unit = np.hstack([self._unit, np.sqrt(weight) * np.asarray(probabilities, np.float64)])


class Max(_OfVectors):
    """The songs that are most similar to any like, as ``musicrec recommend --histories`` finds them."""

    def _scores(self, users: Rows) -> Scores:
        likes = self._likes[users]
        scores = np.full((len(users), len(self._unit)), -np.inf, np.float32)
        for row in range(len(users)):
            liked = likes.indices[likes.indptr[row] : likes.indptr[row + 1]]
            if len(liked):
                scores[row] = (self._unit[liked] @ self._unit.T).max(axis=0)
        return scores


class MMR(Mean):
    """The songs of :class:`Mean`, ordered by maximal marginal relevance (Carbonell, Goldstein: SIGIR 1998).

    The next song is the one with the largest λ·(mean cosine to the likes) - (1 - λ)·(largest cosine to the songs
    before it), of five times as many songs as are asked for.

    Parameters
    ----------
    vectors : array_like
        [n_items, d], finite.
    relevance : float
        λ, from 0 to 1.
    """

    def __init__(self, vectors: ArrayLike, relevance: float = 0.7) -> None:
        super().__init__(vectors)
        self._relevance = relevance

    def _best(self, users: Rows, n: int) -> Ids:
        pools = super()._best(users, POOL * n)
        tastes = self._tastes(users)
        return np.stack([self._diverse(pool, taste, n) for pool, taste in zip(pools, tastes, strict=True)])

    def _diverse(self, pool: Ids, taste: Matrix, n: int) -> Ids:
        songs = pool[pool >= 0]
        found = np.full(n, -1, np.int32)
        gain = self._relevance * (self._unit[songs] @ taste)
        nearest = np.full(len(songs), -np.inf)
        for place in range(min(n, len(songs))):
            penalty = (1 - self._relevance) * np.where(np.isinf(nearest), 0, nearest)
            next_song = int(np.argmax(np.round(gain - penalty, 9)))
            found[place] = songs[next_song]
            gain[next_song] = -np.inf
            nearest = np.maximum(nearest, self._unit[songs] @ self._unit[songs[next_song]])
        return found


class MultiInterest(_OfVectors):
    """The songs nearest to the centre of each of a listener's interests, in turn.

    The likes are divided into at most five clusters by Ward's method. The medoid of each has its list, and the lists
    are interleaved, each by the share of the likes in its cluster (Pal et al.: PinnerSage, KDD 2020).
    """

    def _best(self, users: Rows, n: int) -> Ids:
        found = np.full((len(users), n), -1, np.int32)
        for row, user in enumerate(users):
            liked = self._likes.indices[self._likes.indptr[user] : self._likes.indptr[user + 1]]
            if len(liked):
                centres, sizes = interests(self._unit, np.sort(liked))
                scores = (self._unit[centres] @ self._unit.T).astype(np.float32)
                heard = self._heard[np.full(len(centres), user)]
                found[row] = interleaved(best_unheard(scores, heard, n), sizes)
        return found


def interests(unit: Matrix, liked: NDArray[np.integer]) -> tuple[Rows, Rows]:
    """Divide likes into clusters; return the medoid of each and how many likes it has, the largest cluster first.

    Parameters
    ----------
    unit : numpy.ndarray
        float64 [n_items, d], unit vectors of all songs.
    liked : numpy.ndarray
        int [n_likes], at least one, ascending.

    Examples
    --------
    >>> import numpy as np
    >>> interests(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([1, 2]))[0].tolist()
    [1, 2]
    """
    from scipy.cluster import hierarchy  # takes half a second to import

    numbers = np.ones(1, int)
    if len(liked) > 1:
        numbers = hierarchy.fcluster(hierarchy.linkage(unit[liked], "ward"), MOST_INTERESTS, "maxclust")
    clusters = [liked[numbers == number] for number in np.unique(numbers)]
    clusters.sort(key=lambda cluster: (-len(cluster), cluster[0]))
    centres = [cluster[medoid(unit[cluster])] for cluster in clusters]
    return np.array(centres, np.int64), np.array(list(map(len, clusters)), np.int64)


def interleaved(lists: Ids, sizes: NDArray[np.integer]) -> Ids:
    """Merge lists into one, so that after each place every list has given about its share; no item twice.

    Parameters
    ----------
    lists : numpy.ndarray
        int32 [n_lists, n], -1 after the end.
    sizes : numpy.ndarray
        int [n_lists], the weight of each list. The next item comes from the list with the largest
        weight / (2 · items given + 1), which is Sainte-Laguë's method; of equal ones, the first.

    Examples
    --------
    >>> import numpy as np
    >>> interleaved(np.array([[1, 2, 3], [2, 8, 9]], np.int32), np.array([2, 1])).tolist()
    [1, 2, 3]
    """
    n_lists, n = lists.shape
    found = np.full(n, -1, np.int32)
    waiting = [[int(item) for item in mine if item >= 0] for mine in lists]
    given = np.zeros(n_lists, int)
    taken: set[int] = set()
    for place in range(n):
        waiting = [_without(mine, taken) for mine in waiting]
        turn = np.where([len(mine) > 0 for mine in waiting], sizes / (2 * given + 1), -1)
        which = int(turn.argmax())
        if not waiting[which]:
            break
        found[place] = waiting[which][0]
        taken.add(waiting[which][0])
        given[which] += 1
    return found


def _without(items: list[int], taken: set[int]) -> list[int]:
    """Leave out the first items as long as they are taken."""
    start = next((i for i, item in enumerate(items) if item not in taken), len(items))
    return items[start:]


def unit_rows(vectors: ArrayLike) -> Matrix:
    """Return vectors of length 1, float64; zeros stay zeros."""
    x = np.asarray(vectors, np.float64)
    norm = np.sqrt((x * x).sum(axis=1, keepdims=True))
    return np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)
