"""Parts of the top-N benchmark: runs beside the unit of its times, and the methods beside ours."""

import os
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from statistics import median
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.shared.common import cpu
from benchmarks.shared.synthetic_vectors import Matrix
from benchmarks.similar.reference import Product
from musicrec.similarity import Lists, top_n
from musicrec.similarity.search.screens import available

BLOCK_ROWS = 512  # for peers that do not make blocks themselves
SLOW_ROWS, SLOWEST_ROWS = 4096, 1024  # for peers that are too slow for all rows
BY_ROWS = 25_000  # rows that we compute at once
CHECKED = 200  # rows in which a peer's ids are compared with ours

BY_PRODUCT_ROWS = "musicrec, product, by rows"
FAISS, SEED = "faiss IndexFlatIP", "cosine_similarity, argsort (the seed)"

Ids = NDArray[Any]  # [rows, n]

# --- the unit -----------------------------------------------------------------------------------------------------


class Run(NamedTuple):
    """One run of a method."""

    result: Any
    seconds: float
    ratio: float  # to the product of as many pairs


class Runs(list[Run]):
    """Runs of one method."""

    @property
    def seconds(self) -> float:
        """Median CPU seconds."""
        return median(run.seconds for run in self)

    @property
    def ratio(self) -> float:
        """Median ratio to the product."""
        return median(run.ratio for run in self)

    @property
    def spread(self) -> tuple[float, float]:
        """Least and largest ratio."""
        return min(run.ratio for run in self), max(run.ratio for run in self)

    @property
    def result(self) -> Any:  # noqa: ANN401 - what the method gives
        """Result of the last run."""
        return self[-1].result


def measured(call: Callable[[], Any], product: Product, pairs: float) -> Run:
    """Run once between two measurements of the product; `pairs` are ordered ones, N² for all songs."""
    before = product.ns_per_pair()
    result, seconds = cpu(call)
    return Run(result, seconds, seconds * 1e9 / pairs / (0.5 * (before + product.ns_per_pair())))


# --- methods ------------------------------------------------------------------------------------------------------


class Method(NamedTuple):
    """A way to find the neighbours of the first rows, as many as are given."""

    name: str
    rows: int
    call: Callable[[int], Any]

    def ids(self, result: Any) -> Ids:  # noqa: ANN401 - what the method gives
        """Return the row numbers in the result of a call."""
        return result.ids if isinstance(result, Lists) else result


def in_turns(methods: Sequence[Method], vectors: Matrix, repeats: int) -> dict[str, Runs]:
    """Run all methods in turns, so that a busy moment hits all; everything is compiled before."""
    product, runs = Product(vectors), {method.name: Runs() for method in methods}
    for _ in range(repeats):
        for method in methods:
            pairs = method.rows * len(vectors)
            runs[method.name].append(measured(lambda method=method: method.call(method.rows), product, pairs))
    return runs


def ours(vectors: Matrix, n: int) -> Iterator[Method]:
    """Yield each screen, which compares a pair once for both songs; and products by rows, which compares it twice."""
    for screen in available():
        warm_up(vectors, n, screen=screen)
        yield Method(f"musicrec, {screen}", len(vectors), lambda _, screen=screen: top_n(vectors, n, screen=screen))
    warm_up(vectors, n, rows=np.arange(n), screen="product")
    yield Method(BY_PRODUCT_ROWS, len(vectors), lambda n_rows: by_rows(vectors, n, n_rows))


def warm_up(vectors: Matrix, n: int, **how: Any) -> None:  # noqa: ANN401 - arguments of top_n
    """Compile the functions that a run needs."""
    top_n(vectors[: 4 * n], n, **how)


def by_rows(vectors: Matrix, n: int, n_rows: int) -> Lists:
    """Return lists by float32 products, some rows at a time."""
    parts = [np.arange(first, min(first + BY_ROWS, n_rows)) for first in range(0, n_rows, BY_ROWS)]
    found = [top_n(vectors, n, rows=part, screen="product") for part in parts]
    return Lists(*(np.concatenate(column) for column in zip(*found, strict=True)))


def peers(vectors: Matrix, n: int) -> Iterator[Method]:
    """Yield the methods of others. They find the song itself too, and so look for one more."""
    n_songs = len(vectors)
    if find_spec("faiss"):
        yield Method(FAISS, n_songs, with_faiss(vectors, n + 1))
    yield Method("TensorFlow matmul, top_k", n_songs, with_tensorflow(vectors, n + 1))
    yield Method("scikit-learn brute, euclidean", n_songs, with_sklearn(vectors, n + 1, "euclidean"))
    yield Method("scikit-learn brute, cosine", min(SLOW_ROWS, n_songs), with_sklearn(vectors, n + 1, "cosine"))
    yield Method(SEED, min(SLOWEST_ROWS, n_songs), with_argsort(vectors, n + 1))
    yield Method("the same, equals in order", min(SLOWEST_ROWS, n_songs), with_argsort(vectors, n + 1, "stable"))


def with_faiss(vectors: Matrix, n: int) -> Callable[[int], Ids]:
    """Return the search of faiss' exact index of inner products, which makes blocks itself."""
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return lambda n_rows: index.search(vectors[:n_rows], n)[1]


def with_tensorflow(vectors: Matrix, n: int) -> Callable[[int], Ids]:
    """Return a compiled product and selection."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    songs = tf.constant(vectors)

    @tf.function(input_signature=[tf.TensorSpec([None, vectors.shape[1]], tf.float32)])
    def best(rows: Any) -> Any:  # noqa: ANN401 - TensorFlow comes without types
        return tf.math.top_k(tf.matmul(rows, songs, transpose_b=True), n).indices

    best(songs[:1])  # compiles
    return in_blocks(lambda rows: best(rows).numpy(), vectors)


def with_sklearn(vectors: Matrix, n: int, metric: str) -> Callable[[int], Ids]:
    """Return nearest neighbours by brute force, which makes blocks itself."""
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=n, algorithm="brute", metric=metric, n_jobs=1).fit(vectors)
    return lambda n_rows: index.kneighbors(vectors[:n_rows], return_distance=False)


def with_argsort(vectors: Matrix, n: int, kind: Literal["quicksort", "stable"] = "quicksort") -> Callable[[int], Ids]:
    """Return the seed's way: sort all cosines of a song; block by block, as a matrix of all pairs would not fit."""
    from sklearn.metrics.pairwise import cosine_similarity

    return in_blocks(lambda rows: np.argsort(-cosine_similarity(rows, vectors), axis=1, kind=kind)[:, :n], vectors)


def in_blocks(some: Callable[[Matrix], Ids], vectors: Matrix) -> Callable[[int], Ids]:
    """Make a function of a number of rows from a function of a block of rows."""

    def call(n_rows: int) -> Ids:
        return np.concatenate(
            [some(vectors[first : min(first + BLOCK_ROWS, n_rows)]) for first in range(0, n_rows, BLOCK_ROWS)]
        )

    return call


# --- comparing ----------------------------------------------------------------------------------------------------


def in_common(ids: Ids, others: Ids) -> float:
    """Return the share of the ids of lists [rows, n] that others have too, in any order."""
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(ids, others, strict=True)]))
