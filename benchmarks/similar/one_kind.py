"""Lists and nights on one kind of vectors, by the musicrec of this Python, which may be an older version.

The panel writes the vectors to a folder and starts this with it. The result is printed as JSON.
"""

import json
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.similar.reference import Matrix, Product, brute_force, differing

NEW, CHANGED, GONE = 0.006, 0.002, 0.002
OTHER = (0.001, 0.01)  # shares of songs of another catalog
IN_A_ROW = 5  # nights, each with songs of another catalog
CHECKED = 1000
EXHAUSTIVE = 200_000  # with more songs, one full run is timed, and nights are compared in some rows
CHECKED_AT_NIGHT = 300


class Asked(NamedTuple):
    """What to measure, as the panel writes it."""

    metric: str
    n: int
    repeats: int  # full runs
    nights: int


class Measured(NamedTuple):
    """What a kind takes."""

    product: float  # a full run, as a multiple of the matrix product
    full_s: float  # CPU seconds
    nights: list[float]  # shares of a full run: median of the ordinary ones, then by `OTHER`
    n_inexact: int  # lists of a full run that are not brute force's
    n_unlike: int  # nights whose lists are not a full run's


def n_fresh(n_songs: int) -> int:
    """Return how many songs a night brings."""
    return int(NEW * n_songs) + int(CHANGED * n_songs)


def other_catalog(n_songs: int, d: int, length: float, seed: int = 4) -> Matrix:
    """Make vectors around another centre, in all dimensions alike."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n_songs, d)) + 0.3 * rng.standard_normal(d)
    return (length * vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def night_of(vectors: Matrix, fresh: Matrix, rng: np.random.Generator) -> tuple[Matrix, NDArray[np.int64]]:
    """Return the vectors after a night of new, changed and lost songs, and each song's row before."""
    n = len(vectors)
    n_changed, n_gone = int(CHANGED * n), int(GONE * n)
    vectors = vectors.copy()
    vectors[rng.choice(n, n_changed, replace=False)] = fresh[:n_changed]
    return with_new(vectors, fresh[n_changed:], np.sort(rng.choice(n, n - n_gone, replace=False)), rng)


def with_new(
    vectors: Matrix, fresh: Matrix, kept: NDArray[np.int64], rng: np.random.Generator
) -> tuple[Matrix, NDArray[np.int64]]:
    """Return the kept songs with new ones among them, and each song's row before."""
    order = np.argsort(np.concatenate([kept, rng.uniform(0, len(vectors), len(fresh))]), kind="stable")
    before = np.concatenate([kept, np.full(len(fresh), -1)])[order]
    return np.concatenate([vectors[kept], fresh])[order], before


class Lists:
    """The lists of this version: full runs and refreshes, with their CPU seconds."""

    def __init__(self, metric: str, n: int) -> None:
        try:
            from musicrec.similarity.search import refresh
        except ModuleNotFoundError:  # where it was before
            from musicrec.similarity import refresh  # type: ignore[attr-defined,no-redef,unused-ignore]
        from musicrec.similarity import top_n

        self._refresh, self._top_n, self._metric, self._n = refresh, top_n, metric, n

    def compile(self, vectors: Matrix) -> None:
        """Compile all functions."""
        self._top_n(vectors[: 4 * self._n], self._n, self._metric)
        compiled = self.kept(vectors[:4000])[0]
        compiled = self.night(compiled, vectors[1:4001], np.append(np.arange(1, 4000), -1))[0]
        other = other_catalog(100, vectors.shape[1], float(np.linalg.norm(vectors[0])))
        self.night(compiled, np.concatenate([vectors[2:4001], other]), np.append(np.arange(1, 4000), [-1] * 100))

    def all(self, vectors: Matrix) -> tuple[Any, float]:
        """Return the lists of all songs."""
        return timed(partial(self._top_n, vectors, self._n, self._metric))

    def some(self, vectors: Matrix, rows: NDArray[np.int64]) -> Any:  # noqa: ANN401
        """Return the lists of some songs."""
        return self._top_n(vectors, self._n, self._metric, rows=rows)

    def kept(self, vectors: Matrix) -> tuple[Any, float]:
        """Return the lists of all songs, and what a night goes on from."""
        return timed(partial(self._refresh.full, vectors, self._n, self._metric))

    def night(self, last: Any, vectors: Matrix, before: NDArray[np.int64]) -> tuple[Any, float]:  # noqa: ANN401
        """Return the lists after a night, by a full run where a refresh declines."""
        return timed(
            lambda: (
                self._refresh.refresh(last.kept, vectors, before, self._metric)
                or self._refresh.full(vectors, self._n, self._metric)
            )
        )


def timed(call: Any) -> tuple[Any, float]:  # noqa: ANN401
    """Return the result of a call and its CPU seconds."""
    started = time.process_time()
    result = call()
    return result, time.process_time() - started


def measure(vectors: Matrix, pool: Matrix, asked: Asked) -> Measured:
    """Make all lists, then go through the nights; `pool` has the songs that they bring."""
    lists, rng, n_songs = Lists(asked.metric, asked.n), np.random.default_rng(5), len(vectors)
    lists.compile(vectors)
    is_small = n_songs <= EXHAUSTIVE
    product, ratios, seconds = Product(vectors), list[float](), list[float]()
    for _ in range(asked.repeats if is_small else 1):
        before_it = product.ns_per_pair()
        found, took = lists.all(vectors) if is_small else lists.kept(vectors)
        ratios.append(took * 1e9 / n_songs**2 / (0.5 * (before_it + product.ns_per_pair())))
        seconds.append(took)
    full_s, last = median(seconds), found
    all_lists = found if is_small else found.lists
    rows = np.sort(rng.choice(n_songs, min(CHECKED, n_songs), replace=False))
    n_inexact = differing(some_of(all_lists, rows), brute_force(vectors, rows, asked.n, asked.metric))
    length, d = float(np.median(np.linalg.norm(vectors[:100_000], axis=1))), vectors.shape[1]
    shares, unlike, fresh = list[float](), 0, iter(np.split(pool, len(pool) // n_fresh(n_songs)))

    def go_through(after: Matrix, before: NDArray[np.int64]) -> None:
        nonlocal last, unlike, vectors
        last, took = lists.night(last, after, before)
        shares.append(took / full_s)
        unlike += not is_right(lists, last.lists, after, rng, is_small)
        vectors = after

    if is_small:
        last = lists.kept(vectors)[0]
    for _ in range(asked.nights):
        go_through(*night_of(vectors, next(fresh), rng))
    for share in OTHER:
        if is_small:  # which leaves places for new songs
            last = lists.kept(vectors)[0]
        other = other_catalog(int(share * n_songs), d, length)
        go_through(*with_new(vectors, other, np.arange(len(vectors)), rng))
    last = lists.kept(vectors)[0] if is_small else last
    for night in range(IN_A_ROW if is_small else 0):
        other = other_catalog(int(OTHER[0] * n_songs), d, length, seed=night)
        with_others = np.concatenate([next(fresh), other])
        go_through(*night_of(vectors, with_others, rng))
    nights = [median(shares[: asked.nights]), *shares[asked.nights :][: len(OTHER)]]
    return Measured(median(ratios), full_s, nights, n_inexact, unlike)


def is_right(lists: Lists, found: Any, vectors: Matrix, rng: np.random.Generator, is_small: bool) -> bool:  # noqa: ANN401
    """Return whether lists are a full run's, to the byte; of many songs, some lists are compared."""
    if is_small:
        return all(a.tobytes() == b.tobytes() for a, b in zip(found, lists.all(vectors)[0], strict=True))
    rows = np.sort(rng.choice(len(vectors), CHECKED_AT_NIGHT, replace=False))
    return differing(some_of(found, rows), lists.some(vectors, rows)) == 0


def some_of(lists: Any, rows: NDArray[np.int64]) -> Any:  # noqa: ANN401
    """Return the lists of some rows."""
    return type(lists)(lists.ids[rows], lists.scores[rows])


def main() -> None:
    """Measure what lies in a folder."""
    folder = Path(sys.argv[1])
    asked = Asked(**json.loads((folder / "asked.json").read_text(encoding="utf-8")))
    print(json.dumps(measure(np.load(folder / "vectors.npy"), np.load(folder / "pool.npy"), asked)._asdict()))


if __name__ == "__main__":
    main()
