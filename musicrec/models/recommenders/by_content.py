"""Methods that compare songs by their vectors, so they know a song as soon as it is in the catalog.

Scores are those of all songs, summed in float64 and rounded to float32; none is left out beforehand. Songs are compared
by the cosine.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from musicrec.models.recommenders.scored import Ids, Rows, Scored, Scores, best_unheard
from musicrec.similarity.listeners.in_turn import in_turn
from musicrec.similarity.listeners.nearest_to_likes import Catalog, Listeners
from musicrec.similarity.search.blocks import Lists
from musicrec.similarity.songs import CodeSets
from musicrec.similarity.taste import medoid

Matrix = NDArray[np.float64]

MOST_INTERESTS = 5
MOST_CLUSTERED = 1000  # of more likes, so many are clustered, evenly drawn: all pairs of them are in memory
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
        return tastes(self._likes[users], self._unit)


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
        self._unit = with_genres(self._unit, probabilities, weight)


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
        likes = self._likes[users].sorted_indices()
        liked = CodeSets(likes.indptr.astype(np.int64), likes.indices.astype(np.int32))
        centres, sizes = all_interests(self._unit, liked)
        lists = [self._nearest(user, centres.of(row), n) for row, user in enumerate(users)]
        return interleaved(np.concatenate([np.empty((0, n), np.int32), *lists]), sizes, centres.starts, len(self._unit))

    def _nearest(self, user: int, centres: NDArray[np.integer], n: int) -> Ids:
        """Return the unheard items nearest to some centres, int32 [n_centres, n]."""
        scores = (self._unit[centres] @ self._unit.T).astype(np.float32)
        return best_unheard(scores, self._heard[np.full(len(centres), user)], n)


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

    if len(liked) > MOST_CLUSTERED:
        liked = liked[np.linspace(0, len(liked) - 1, MOST_CLUSTERED).round().astype(np.int64)]
    numbers = np.ones(1, int)
    if len(liked) > 1:
        numbers = hierarchy.fcluster(hierarchy.linkage(unit[liked], "ward"), MOST_INTERESTS, "maxclust")
    clusters = [liked[numbers == number] for number in np.unique(numbers)]
    clusters.sort(key=lambda cluster: (-len(cluster), cluster[0]))
    centres = [cluster[medoid(unit[cluster])] for cluster in clusters]
    return np.array(centres, np.int64), np.array(list(map(len, clusters)), np.int64)


def interleaved(lists: Ids, sizes: Rows, starts: NDArray[np.int64], n_items: int) -> Ids:
    """Merge the lists of each user into one, in which no item comes twice; see :func:`in_turn`.

    Parameters
    ----------
    lists : numpy.ndarray
        int32 [n_lists, n], -1 after the end.
    sizes : numpy.ndarray
        int [n_lists], the share of each list.
    starts : numpy.ndarray
        int64 [n_users + 1], the first list of each user.
    n_items : int
        Number of items.

    Examples
    --------
    >>> import numpy as np
    >>> lists = np.array([[1, 2, 3], [2, 8, 9]], np.int32)
    >>> interleaved(lists, np.array([2, 1]), np.array([0, 2]), 10).tolist()
    [[1, 2, 3]]
    """
    none = np.empty(0, np.int32)
    rows = np.arange(max(len(lists), n_items), dtype=np.int32)
    items = Catalog(rows[:n_items], CodeSets(np.zeros(n_items + 1, np.int64), none))
    listeners = Listeners(CodeSets(starts, rows[: len(lists)]), CodeSets(np.zeros(len(starts), np.int64), none))
    found = in_turn(Lists(lists, np.zeros(lists.shape, np.float32)), listeners, sizes, items, lists.shape[1], rows=rows)
    return found.ids


def all_interests(unit: Matrix, likes: CodeSets) -> tuple[CodeSets, Rows]:
    """Return the centres of the interests of each listener, and how many likes each has; see :func:`interests`."""
    found = [interests(unit, own) for own in map(likes.of, range(len(likes.starts) - 1)) if len(own)]
    n_interests = np.zeros(len(likes.starts) - 1, np.int64)
    n_interests[np.diff(likes.starts) > 0] = [len(centres) for centres, _ in found]
    nothing = np.empty(0, np.int64)
    centres, sizes = (np.concatenate([nothing, *of]) for of in zip((nothing, nothing), *found, strict=True))
    return CodeSets(np.append(0, np.cumsum(n_interests)), centres.astype(np.int32)), sizes.astype(np.int64)


def tastes(likes: sparse.csr_array, unit: Matrix) -> Matrix:
    """Return the mean vector of the likes of each listener, float64 [n_users, d]; zeros without a like.

    Parameters
    ----------
    likes : scipy.sparse.csr_array
        [n_users, n_items], 1 for each like.
    unit : numpy.ndarray
        float64 [n_items, d], the items.
    """
    ones = likes.astype(np.float64)
    return np.asarray(ones @ unit) / np.maximum(1, np.diff(ones.indptr)[:, None])


def with_genres(unit: Matrix, probabilities: ArrayLike, weight: float) -> Matrix:
    """Return vectors whose inner product is the cosine plus weight · ⟨p(genre), p(genre)⟩.

    Parameters
    ----------
    unit : numpy.ndarray
        float64 [n_items, d], unit vectors.
    probabilities : array_like
        [n_items, n_genres], of each genre.
    weight : float
        Not negative.
    """
    return np.hstack([unit, np.sqrt(weight) * np.asarray(probabilities, np.float64)])


def unit_rows(vectors: ArrayLike) -> Matrix:
    """Return vectors of length 1, float64; zeros stay zeros."""
    x = np.asarray(vectors, np.float64)
    norm = np.sqrt((x * x).sum(axis=1, keepdims=True))
    return np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)
