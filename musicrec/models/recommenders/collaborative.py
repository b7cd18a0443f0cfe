"""Methods that know only who likes what; no item that nobody likes is ever recommended.

``BM25``, ``ALS`` and ``BPR`` are learned by the library implicit. Its own ``recommend`` fills short lists with liked
items and with item 0, so scores are computed here from what it has learned. ALS and BPR run on one thread, and on no
GPU: BPR gives other factors in each run on several, and both do on other hardware.
"""

import warnings
from importlib import import_module, metadata
from types import ModuleType
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from musicrec.errors import ConfigError
from musicrec.models.recommenders.scored import CELLS, Rows, Scored, Scores

EXTRA = "collaborative"


class NoLibraryError(ConfigError):
    """The library implicit is not installed, or cannot be loaded."""


class Popularity(Scored):
    """The items that most listeners like, the same for all but for what they have heard."""

    needs_likes: ClassVar[bool] = False

    def _learn(self, likes: sparse.csr_array) -> None:
        n_likes = np.bincount(likes.indices, minlength=likes.shape[1])
        self._popularity = np.where(n_likes > 0, n_likes, -np.inf).astype(np.float32)

    def _scores(self, users: Rows) -> Scores:
        return np.tile(self._popularity, (len(users), 1))


class Random(Scored):
    """Items in random order, another for each listener.

    Parameters
    ----------
    seed : int
        Seed of the order.
    """

    needs_likes: ClassVar[bool] = False

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def _scores(self, users: Rows) -> Scores:
        n_items = self._likes.shape[1]
        rows = [np.random.default_rng([self._seed, int(user)]).random(n_items, np.float32) for user in users]
        return np.stack(rows)


class _Neighbours(Scored):
    """Each like votes for the items that are most similar to it, with the similarity."""

    _similarity: sparse.csr_array  # [n_items, n_items], a row for each like

    def _scores(self, users: Rows) -> Scores:
        votes = (self._likes[users] @ self._similarity).toarray()
        return np.where(votes > 0, votes, -np.inf).astype(np.float32)


class ItemKNN(_Neighbours):
    """Items that are liked by the same listeners, by the cosine.

    Parameters
    ----------
    k : int
        How many most similar items each like votes for.
    """

    def __init__(self, k: int = 50) -> None:
        self._k = k

    def _learn(self, likes: sparse.csr_array) -> None:
        self._similarity = most_similar(likes, self._k)


def most_similar(likes: sparse.csr_array, k: int) -> sparse.csr_array:
    """Return the cosines of each item with the `k` other items that are most similar to it.

    Parameters
    ----------
    likes : scipy.sparse.csr_array
        [n_users, n_items], 1 for each like.
    k : int
        Most entries in a row; of equal cosines, those with smaller numbers stay.

    Returns
    -------
    scipy.sparse.csr_array
        float64 [n_items, n_items].

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> likes = sparse.csr_array(np.array([[1.0, 1, 0], [1, 1, 1]]))
    >>> most_similar(likes, 1).toarray().round(3).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.707, 0.0, 0.0]]
    """
    n_items = likes.shape[1]
    length = np.sqrt(np.bincount(likes.indices, minlength=n_items))
    unit = (likes.astype(np.float64) @ sparse.diags_array(1 / np.maximum(1, length))).tocsc()
    at_once = max(1, CELLS // max(1, n_items))
    blocks = [_strongest(unit[:, i : i + at_once].T.tocsr() @ unit, i, k) for i in range(0, n_items, at_once)]
    return sparse.vstack(blocks, format="csr") if blocks else sparse.csr_array((0, 0))


def _strongest(cosines: sparse.csr_array, first: int, k: int) -> sparse.csr_array:
    """Return the `k` largest entries of each row, without those of an item with itself; `first` is the first item."""
    entries = cosines.tocoo()
    is_other = entries.col != entries.row + first
    row, col, value = entries.row[is_other], entries.col[is_other], entries.data[is_other]
    order = np.lexsort((col, -value.round(12), row))  # equal but for rounding is equal
    row, col, value = row[order], col[order], value[order]
    is_first = np.arange(len(row)) - np.searchsorted(row, row) < k
    return sparse.csr_array((value[is_first], (row[is_first], col[is_first])), shape=cosines.shape)


class BM25(_Neighbours):
    """As :class:`ItemKNN`, but likes are weighted by BM25, so that popular items and long histories count less.

    Parameters
    ----------
    k : int
        How many most similar items each like votes for.
    k1, b : float
        The parameters of BM25.
    """

    def __init__(self, k: int = 50, k1: float = 1.2, b: float = 0.75) -> None:
        self._k, self._k1, self._b = k, k1, b

    def _learn(self, likes: sparse.csr_array) -> None:
        neighbours = _implicit("nearest_neighbours", "bm25")
        model = neighbours.BM25Recommender(K=self._k + 1, K1=self._k1, B=self._b)  # K counts the item itself
        _fit(model, likes.astype(np.float64))
        similarity = sparse.csr_array(model.similarity)
        similarity.setdiag(0)
        self._similarity = similarity


class Factors(NamedTuple):
    """Vectors of listeners and of items, whose products are scores.

    Attributes
    ----------
    users : numpy.ndarray
        float32 [n_users, n_factors].
    items : numpy.ndarray
        float64 [n_items, n_factors].
    is_liked : numpy.ndarray
        bool [n_items], whether anybody likes it; another is never recommended.
    """

    users: NDArray[np.float32]
    items: NDArray[np.float64]
    is_liked: NDArray[np.bool_]

    def scores(self, users: Rows) -> Scores:
        """Return the scores of all items for some listeners, float32 [n_users, n_items]; -inf for no candidate."""
        products = (self.users[users] @ self.items.T).astype(np.float32)
        return np.where(self.is_liked, products, np.float32(-np.inf))


class _Factors(Scored):
    """Scores are products of factors of listeners and of items."""

    factors: Factors

    def _learn(self, likes: sparse.csr_array) -> None:
        model = self._model()
        _fit(model, likes.astype(np.float32))
        is_liked = np.bincount(likes.indices, minlength=likes.shape[1]) > 0
        self.factors = Factors(np.asarray(model.user_factors), np.asarray(model.item_factors, np.float64), is_liked)

    def _scores(self, users: Rows) -> Scores:
        return self.factors.scores(users)

    def _model(self) -> Any:  # noqa: ANN401 - a model of implicit
        raise NotImplementedError


class ALS(_Factors):
    """Factors by weighted alternating least squares (Hu, Koren, Volinsky: ICDM 2008).

    Parameters
    ----------
    factors, iterations, seed : int
        Numbers of a vector, rounds of training, and seed of the start.
    regularization : float
        Weight of the squared factors.
    alpha : float
        Weight of a like, where what is not liked has weight 1.
    """

    def __init__(
        self,
        *,
        factors: int = 64,
        regularization: float = 0.01,
        alpha: float = 1.0,
        iterations: int = 15,
        seed: int = 0,
    ) -> None:
        self._how = {
            "factors": factors,
            "regularization": regularization,
            "alpha": alpha,
            "iterations": iterations,
            "random_state": seed,
            "num_threads": 1,
            "use_gpu": False,  # by default it is used where there is one, and gives other factors
        }

    @property
    def card(self) -> dict[str, Any]:
        """What the factors depend on beside the likes."""
        return {"method": "als", "library": f"implicit {implicit_version()}", **self._how}

    def _model(self) -> Any:  # noqa: ANN401
        return _implicit("als", "als").AlternatingLeastSquares(**self._how)


class BPR(_Factors):
    """Factors that rank what is liked above what is not (Rendle et al.: UAI 2009).

    The paper draws what is not liked from all items alike. implicit draws it from all likes, so often from popular
    items, and learns how much more likely a listener is to like an item than others are. The logarithm of the number of
    an item's likes is therefore added to its scores: they then rank as those of the paper do.

    Parameters
    ----------
    factors, iterations, seed : int
        Numbers of a vector, rounds of training, and seed of the start and of the draws.
    learning_rate, regularization : float
        Step, and weight of the squared factors.
    """

    def __init__(
        self,
        *,
        factors: int = 64,
        learning_rate: float = 0.05,
        regularization: float = 0.01,
        iterations: int = 100,
        seed: int = 0,
    ) -> None:
        self._how = {
            "factors": factors,
            "learning_rate": learning_rate,
            "regularization": regularization,
            "iterations": iterations,
            "random_state": seed,
            "num_threads": 1,
            "use_gpu": False,
        }

    def _learn(self, likes: sparse.csr_array) -> None:
        super()._learn(likes)
        n_likes = np.bincount(likes.indices, minlength=likes.shape[1])
        self.factors.items[:, -1] += np.log(np.maximum(n_likes, 1))  # the factor that is 1 for every listener

    def _model(self) -> Any:  # noqa: ANN401
        return _implicit("bpr", "bpr").BayesianPersonalizedRanking(**self._how)


def implicit_version(method: str = "als") -> str:
    """Return the version of the library implicit, which a method needs.

    Raises
    ------
    NoLibraryError
        It is not installed, or cannot be loaded.
    """
    _implicit("als", method)
    return metadata.version("implicit")


def _implicit(module: str, method: str) -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that several threads are slower: they are set to one
            return import_module(f"implicit.{module}")
    except ModuleNotFoundError as e:
        raise NoLibraryError(
            f"{method} needs the library implicit, which is not installed; run: pip install 'musicrec[{EXTRA}]'"
        ) from e
    except ImportError as e:  # it was built for a system that has libgomp
        raise NoLibraryError(
            f"{method} needs the library implicit, which cannot be loaded ({e}); install what it misses, "
            f"on Debian and Ubuntu: apt install libgomp1"
        ) from e


def _fit(model: Any, likes: sparse.csr_array) -> None:  # noqa: ANN401
    """Train a model of implicit, which takes matrices of the older kind."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(sparse.csr_matrix(likes), show_progress=False)
