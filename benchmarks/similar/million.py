"""The part of topn.py about many songs: a million on one core, exact and approximate, and what more would take."""

import multiprocessing
import os
import re
from argparse import Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import mean

import numpy as np

from benchmarks.shared.common import cpu, print_table, verdict
from benchmarks.shared.synthetic_vectors import KINDS, Matrix, clustered
from benchmarks.similar.neighbours import Run, in_common, measured, warm_up
from benchmarks.similar.reference import Product
from musicrec.similarity import top_n

SMALLER = (16, 4, 1)  # divisors of all songs, to see how times grow
BUSY = 16  # all cores work at once on such a part of the songs
PROBES, RECALLED = (8, 16, 32, 64), 10_000  # lists whose recall is counted
PROJECTED, CORES, CORES_PER_NODE = (10_000_000, 100_000_000), (64, 1024), 64
BAR_EXACT, BAR_GIB, BAR_RECALL, BAR_APPROXIMATE = 0.20, 6, 0.95, 0.3

Cells = tuple[object, ...]


def million(n_songs: int, options: Namespace) -> None:
    """Print what so many songs take; each kind runs in a process of its own, so that its peak memory is the run's."""
    spawn = multiprocessing.get_context("spawn")
    for kind in options.kinds:
        with ProcessPoolExecutor(1, mp_context=spawn) as alone:
            exact_ns, approximate_ns = alone.submit(one_kind, kind, n_songs, options).result()
        part = (kind, n_songs // BUSY, options.d, options.n)
        with ProcessPoolExecutor(1, mp_context=spawn) as alone:
            undisturbed = alone.submit(seconds_of, *part).result()
        with ProcessPoolExecutor(os.cpu_count(), mp_context=spawn) as all_cores:
            busy = [all_cores.submit(seconds_of, *part) for _ in range(os.cpu_count() or 1)]
            speed = undisturbed / mean(run.result() for run in busy)
        print(f"{kind}: speed of a core while all {len(busy)} work, of its speed alone: {speed:.2f}\n", flush=True)
        speed = min(1.0, speed)  # what lies above is noise
        lines = [*projection("exact", 2 * exact_ns / speed, lambda n: float(n) ** 2, options.d, options.n)]
        if approximate_ns is not None:
            lines += projection("approximate", approximate_ns / speed, pairs_in_clusters, options.d, options.n)
        print_table(("projection", "songs", "cores", "hours", "core hours", "vectors read", "lists written"), lines)


def seconds_of(kind: str, n_songs: int, d: int, n: int) -> float:
    """Return the CPU seconds of the lists of some songs."""
    vectors = clustered(KINDS[kind], n_songs, d)
    warm_up(vectors, n)
    return cpu(lambda: top_n(vectors, n))[1]


def one_kind(kind: str, n_songs: int, options: Namespace) -> tuple[float, float | None]:
    """Print exact and approximate runs; return the CPU nanoseconds of a pair in both.

    Exact pairs are N², approximate ones those of :func:`pairs_in_clusters`.
    """
    lines: list[Cells] = []
    for part in SMALLER:
        vectors = clustered(KINDS[kind], n_songs // part, options.d)
        warm_up(vectors, options.n)
        pairs = float(len(vectors)) ** 2
        run = measured(lambda vectors=vectors: top_n(vectors, options.n), Product(vectors), pairs)
        gib, ns = peak_gib(), run.seconds * 1e9 / pairs
        lines.append((len(vectors), f"{run.seconds:.1f}", f"{ns:.3f}", f"{run.ratio:.3f}", f"{gib:.2f}"))
    print_table(("N", "CPU s", "ns a pair", "× product", "peak GiB"), lines)
    print(f"{kind}: ≤ {BAR_EXACT:.2f} × product: {verdict(run.ratio <= BAR_EXACT)}")
    print(f"{kind}: < {BAR_GIB} GiB: {verdict(gib < BAR_GIB)}\n", flush=True)
    return ns, approximate(kind, vectors, run, options.n)


def approximate(kind: str, vectors: Matrix, exact: Run, n: int) -> float | None:
    """Print time and recall by the number of clusters that are compared.

    Returns the CPU nanoseconds of a pair for the smallest number with enough recall; None if there is none.
    """
    from musicrec.similarity.search.approximate import top_n_approximate

    rows = np.sort(np.random.default_rng(8).choice(len(vectors), min(RECALLED, len(vectors)), replace=False))
    product, pairs, lines, enough = Product(vectors), float(len(vectors)) ** 2, list[Cells](), list[Run]()
    for probes in PROBES:
        run = measured(lambda p=probes: top_n_approximate(vectors, n, "cosine", probes=p), product, pairs)
        recall = in_common(exact.result.ids[rows], run.result.ids[rows])
        share = run.seconds / exact.seconds
        lines.append((probes, f"{run.seconds:.1f}", f"{share:.3f}", f"{run.ratio:.4f}", f"{recall:.4f}"))
        enough += [run] if recall >= BAR_RECALL else []
    print_table(("probes", "CPU s", "× exact", "× product", f"recall@{n} of {len(rows)}"), lines)
    reached = bool(enough) and enough[0].seconds <= BAR_APPROXIMATE * exact.seconds
    print(f"{kind}: recall ≥ {BAR_RECALL} at ≤ {BAR_APPROXIMATE} × exact: {verdict(reached)}\n", flush=True)
    return enough[0].seconds * 1e9 / pairs_in_clusters(len(vectors)) if enough else None


def pairs_in_clusters(n_songs: int) -> float:
    """Return the pairs that approximate search compares, but for a factor: clusters grow as the root of the songs."""
    return float(n_songs) ** 1.5


def projection(name: str, ns_per_pair: float, pairs: Callable[[int], float], d: int, n: int) -> Iterator[Cells]:
    """Yield lines with what more songs would take on more cores.

    Parameters
    ----------
    name : str
        What is projected.
    ns_per_pair : float
        CPU nanoseconds of a core, per pair as `pairs` counts them. A task makes only the lists of its own songs. So
        exact pairs, compared once where both songs are in one task, are compared twice and take at most twice the time.
    pairs : function
        From a number of songs to the pairs that are compared.
    d, n : int
        Length of the vectors, float32, and of the lists, with 8 bytes an entry.

    Notes
    -----
    A pair is taken to cost as much as where it was measured, although among more songs fewer pairs come near a list.
    Every node reads all vectors once, every list is written once, and nothing else is moved.
    """
    for n_songs in PROJECTED:
        for cores in CORES:
            hours, nodes = ns_per_pair * pairs(n_songs) / 1e9 / 3600, -(-cores // CORES_PER_NODE)
            read, written = f"{nodes} × {in_gb(n_songs * d * 4)}", in_gb(n_songs * n * 8)
            yield name, n_songs, cores, f"{hours / cores:.3g}", f"{hours:.3g}", read, written


def in_gb(size: float) -> str:
    """Return bytes as GB."""
    return f"{size / 1e9:.0f} GB"


def peak_gib() -> float:
    """Return the peak memory of this process since its start, libraries included, as Linux reports it."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 2**20 if found else float("nan")
