"""Lists and nights on vectors as they really are: every kind, as shares of the matrix product and of a full run.

Real kinds are windows of GTZAN's clips, grown to the number of songs; a table shows their spectrum, hubs and nearness
beside those of the source. The others are synthetic: `harder`, `low-dimensional`, `heavy tails` (`harder` with lengths
that differ by orders of magnitude, by inner product) and `dense genre` (60 % of the songs in one cluster).

A night changes 1 % of the songs: 0.6 % are new, 0.2 % have another vector, 0.2 % are gone. The columns beside it are
nights on which that many new songs are of another catalog, which lies in other dimensions. Lists of every night are
compared with those of a full run, to the byte; lists of a full run with float64 brute force in 1 000 rows.
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.shared.common import cpu, one_thread, print_machine, print_table, verdict
from benchmarks.shared.real_vectors import REAL, grown, shape, source
from benchmarks.shared.synthetic_vectors import KINDS, Matrix, clustered, unit
from benchmarks.similar.neighbours import Product, brute_force, differing, measured, warm_up
from musicrec.similarity import Lists, top_n
from musicrec.similarity.search.refresh import Refreshed, full, refresh

D = 128
NEW, CHANGED, GONE = 0.006, 0.002, 0.002
OTHER = (0.001, 0.01)  # shares of songs of another catalog
CHECKED = 1000
BARS = {"lists": 0.20, "night": 0.03, 0.001: 0.035, 0.01: 0.08}
DENSE, TAIL = 0.6, 1.0  # share of the largest genre; deviation of the logarithm of lengths


class Kind(NamedTuple):
    """Vectors of a kind, and the score that compares them."""

    make: Callable[[int], Matrix]
    metric: str = "cosine"


def dense_genre(n_songs: int) -> Matrix:
    """Make vectors of which most lie in one cluster."""
    vectors, rng = clustered(KINDS["harder"], n_songs, D), np.random.default_rng(1)
    within = rng.choice(n_songs, int(DENSE * n_songs), replace=False)
    spread = clustered(KINDS["harder"], len(within), D, seed=2)
    vectors[within] = unit(vectors[within[0]] + 0.5 * spread)
    return vectors


def heavy_tails(n_songs: int) -> Matrix:
    """Make vectors whose lengths differ by orders of magnitude."""
    lengths = np.exp(TAIL * np.random.default_rng(3).standard_normal((n_songs, 1)))
    return (clustered(KINDS["harder"], n_songs, D) * lengths).astype(np.float32)


def kinds(data: Path) -> dict[str, Kind]:
    """Return all kinds by name."""
    real = {name: Kind(lambda n, name=name: grown(source(name, data), n)) for name in REAL}
    return real | {
        "harder": Kind(partial(clustered, KINDS["harder"], d=D)),
        "low-dimensional": Kind(partial(clustered, KINDS["low-dimensional"], d=D)),
        "dense genre": Kind(dense_genre),
        "heavy tails": Kind(heavy_tails, "inner"),
    }


def other_catalog(n_songs: int, d: int, length: float) -> Matrix:
    """Make vectors around another centre, in all dimensions alike."""
    rng = np.random.default_rng(4)
    return unit(rng.standard_normal((n_songs, d)) + 0.3 * rng.standard_normal(d)) * np.float32(length)


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


class Measured(NamedTuple):
    """What a kind takes."""

    product: float  # a full run, as a multiple of the matrix product
    full_s: float  # CPU seconds
    nights: list[float]  # shares of a full run: median of the ordinary ones, then by `OTHER`
    n_inexact: int  # lists of a full run that are not brute force's
    n_unlike: int  # nights whose lists are not a full run's


def measure(kind: Kind, n_songs: int, n: int, repeats: int, n_nights: int) -> Measured:
    """Make lists anew some times, then go through the nights."""
    n_fresh = int((NEW + CHANGED) * n_songs)
    pool = kind.make(n_songs + n_nights * n_fresh)
    rng = np.random.default_rng(5)
    pool = pool[rng.permutation(len(pool))]
    vectors, pool = np.ascontiguousarray(pool[:n_songs]), pool[n_songs:]
    length = float(np.median(np.linalg.norm(vectors, axis=1)))
    warm_up(vectors, n, metric=kind.metric)
    compiled = full(vectors[:4000], n, kind.metric).kept
    refresh(compiled, vectors[1:4001], np.append(np.arange(1, 4000), -1), kind.metric)
    product = Product(vectors)
    runs = [measured(lambda: top_n(vectors, n, kind.metric), product, n_songs**2) for _ in range(repeats)]
    rows = np.sort(rng.choice(n_songs, min(CHECKED, n_songs), replace=False))
    lists: Lists = runs[-1].result
    exact = brute_force(vectors, rows, n, kind.metric)
    n_inexact = differing(Lists(lists.ids[rows], lists.scores[rows]), exact)
    full_s, n_unlike = median(run.seconds for run in runs), 0
    last, shares = full(vectors, n, kind.metric), []
    for night in range(n_nights + len(OTHER)):
        if night < n_nights:
            fresh = pool[night * n_fresh :][:n_fresh]
            after, before = night_of(vectors, fresh, rng)
        else:  # each after a full run, which leaves places for new songs
            last = full(vectors, n, kind.metric)
            fresh = other_catalog(int(OTHER[night - n_nights] * n_songs), vectors.shape[1], length)
            after, before = with_new(vectors, fresh, np.arange(len(vectors)), rng)
        last, took = cpu(partial(refreshed, last, after, before, n, kind.metric))
        shares.append(took / full_s)
        expected = top_n(after, n, kind.metric)
        n_unlike += any(a.tobytes() != b.tobytes() for a, b in zip(last.lists, expected, strict=True))
        if night < n_nights:
            vectors = after
    ordinary = median(shares[:n_nights])
    return Measured(median(run.ratio for run in runs), full_s, [ordinary, *shares[n_nights:]], n_inexact, n_unlike)


def refreshed(last: Refreshed, vectors: Matrix, before: NDArray[np.int64], n: int, metric: str) -> Refreshed:
    """Return the lists after a night, by a full run where a refresh declines."""
    return refresh(last.kept, vectors, before, metric) or full(vectors, n, metric)


def main() -> None:
    """Print the panel."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--n-songs", type=int, default=100_000)
    parser.add_argument("-n", type=int, default=50)
    parser.add_argument("--kinds", nargs="+", help="kinds of vectors (default: all)")
    parser.add_argument("--repeats", type=int, default=3, help="full runs (default: %(default)s)")
    parser.add_argument("--nights", type=int, default=3, help="ordinary nights (default: %(default)s)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="real audio (default: %(default)s)")
    options = parser.parse_args()
    one_thread()
    print_machine()
    all_kinds = kinds(options.data)
    chosen = options.kinds or list(all_kinds)
    if unknown := set(chosen) - set(all_kinds):
        parser.error(f"no kinds {sorted(unknown)}; there are {list(all_kinds)}")
    print_shapes([name for name in chosen if name in REAL], options.data, options.n_songs)
    found = {
        name: measure(all_kinds[name], options.n_songs, options.n, options.repeats, options.nights) for name in chosen
    }
    print(f"{options.n_songs} songs, n = {options.n}; a full run beside the matrix product, nights beside a full run\n")
    head = ("kind", "× product", "full run, CPU s", "1 % changed", *(f"{share:.1%} of another" for share in OTHER))
    rows = [
        (
            name,
            f"{one.product:.3f}",
            f"{one.full_s:.2f}",
            *(f"{x:.2%}" for x in one.nights),
            one.n_inexact,
            one.n_unlike,
        )
        for name, one in found.items()
    ]
    print_table((*head, f"inexact of {CHECKED}", "nights unlike"), rows)
    sys.exit(not judge(found))


def print_shapes(names: list[str], data: Path, n_songs: int) -> None:
    """Print what real vectors are like, and what grew from them."""
    rows = []
    for name in names:
        real = source(name, data)
        for what, vectors in ("real", real), ("grown", grown(real, n_songs)):
            of = shape(vectors, len(real))
            cells = (f"{of.dimensions:.1f}", f"{of.hubness:.2f}", f"{of.nearness:.3f}")
            rows.append((name, what, len(vectors), vectors.shape[1], *cells))
    if rows:
        print_table(("vectors", "", "songs", "d", "dimensions", "hubness", "nearest / any"), rows)
        print()


def judge(found: dict[str, Measured]) -> bool:
    """Print what must hold of every kind, naming the worst; return whether all of it does."""
    columns = {"lists": lambda one: one.product, "night": lambda one: one.nights[0]}
    columns |= {share: lambda one, i=i: one.nights[1 + i] for i, share in enumerate(OTHER)}
    ok = all(one.n_inexact + one.n_unlike == 0 for one in found.values())
    print(f"\nexact lists, and nights as a full run, to the byte: {verdict(ok)}")
    for what, column in columns.items():
        worst = max(found, key=lambda name: column(found[name]))
        value, bar = column(found[worst]), BARS[what]
        name = what if isinstance(what, str) else f"{what:.1%} of another catalog"
        print(f"{name}: at most {value:.3f} ({worst}), bar {bar}: {verdict(value <= bar)}")
        ok &= value <= bar
    return ok


if __name__ == "__main__":
    main()
