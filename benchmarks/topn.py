"""Exact all-pairs top-N beside the float32 matrix product alone, faiss, scikit-learn, TensorFlow and the seed's way.

The unit of all times is that product: NumPy's of two float32 matrices on the same core, block by block over the same
vectors, right before and right after each run, scaled to as many pairs. One core: every library is given one thread,
and CPU time counts all threads of the process. Medians; all methods run in turns.

The data are synthetic and clustered, no real songs: clusters of sizes by Zipf, each with a decaying spectrum of its
own, 0.5 % exact duplicates, unit length. `low-dimensional` takes 20 dimensions and a little noise, `harder` takes all.

tables:
  screens      every screen of this machine and the peers, slow ones on some of the rows, scaled to all; our lists of
               1 000 rows beside float64 brute force: ids, order, bits of the scores
  adversarial  the same comparison on inputs made to break it
  sizes        d of 32 to 512 by n of 10 to 200
  million      1 000 000 songs: seconds, memory, the approximate regime, and what 10 and 100 million would take
"""

import multiprocessing
import re
import subprocess
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from common import one_thread, print_machine, print_table, verdict
from neighbours import (
    BY_PRODUCT_ROWS,
    CHECKED,
    FAISS,
    SEED,
    Method,
    Product,
    Runs,
    brute_force,
    differing,
    in_common,
    in_turns,
    measured,
    ours,
    peers,
)
from numpy.typing import NDArray
from synthetic_vectors import ADVERSARIAL, KINDS, Matrix, clustered

from musicrec.similarity import Lists, top_n
from musicrec.similarity.screens import available

SONGS = {"screens": 20_000, "adversarial": 20_000, "sizes": 20_000, "million": 1_000_000}
WIDTHS, LENGTHS = (32, 64, 128, 256, 512), (10, 50, 100, 200)
EXACT, RECALLED = 1000, 10_000  # rows that are compared with brute force, and lists whose recall is counted
SMALLER = (16, 4, 1)  # parts of the million, to see how times grow
PROBES = (8, 16, 32, 64)
PROJECTED, CORES, CORES_PER_NODE = (10_000_000, 100_000_000), (64, 1024), 64

BARS = {"amx": 0.30, "vnni": 0.30, "product": 0.65}  # most, as multiples of the product, at 100 000 songs
MOONSHOT, BAR_ROWS, BAR_FAISS, BAR_SEED = 0.15, 1.15, 4, 80
BAR_MILLION, BAR_GIB, BAR_RECALL, BAR_APPROXIMATE = 0.20, 6, 0.95, 0.3

HEAD = ("method", "rows run", "CPU s, all", "× product", "least", "most", "ids as ours")

# --- screens ------------------------------------------------------------------------------------------------------


def screens(options: Namespace) -> None:
    """Print the times of all methods, and how many of our lists are not exact."""
    for kind, vectors in kinds(options, "screens"):
        methods = [*ours(vectors, options.n), *peers(vectors, options.n)]
        runs = in_turns(methods, vectors, options.repeats)
        rows = some_rows(len(vectors))
        exact, first = brute_force(vectors, rows, options.n), runs[methods[0].name].result
        lines = [
            (
                *times(method, runs[method.name], len(vectors), first),
                *faults(runs[method.name].result, rows, exact, first),
            )
            for method in methods
        ]
        title(kind, len(vectors), options.d, options.n, f"medians of {options.repeats}")
        print_table((*HEAD, f"inexact of {len(rows)}", "unlike the first"), lines)
        print_verdicts({name: some.ratio for name, some in runs.items()}, kind)


def times(method: Method, runs: Runs, n_songs: int, first: Lists) -> tuple[object, ...]:
    """Cells of a method's times, and the share of our ids that it finds."""
    seconds = runs.seconds * n_songs / method.rows
    found = method.ids(runs.result)[:CHECKED]
    ratios = (f"{ratio:.3f}" for ratio in (runs.ratio, *runs.spread))
    return method.name, method.rows, f"{seconds:.2f}", *ratios, f"{in_common(first.ids[:CHECKED], found):.4f}"


def faults(result: object, rows: NDArray[np.int64], exact: Lists, first: Lists) -> tuple[object, object]:
    """Lists that are not the exact ones, and lists of all that are not those of the first screen; blank for peers."""
    if not isinstance(result, Lists):
        return "", ""
    return differing(Lists(result.ids[rows], result.scores[rows]), exact), differing(result, first)


def print_verdicts(ratio: dict[str, float], kind: str) -> None:
    """Print which bars were reached."""
    best = ratio[f"musicrec, {available()[0]}"]
    for screen in available():
        bar = f"{screen} ≤ {BARS[screen]:.2f}" + (f" (moonshot {MOONSHOT})" if BARS[screen] < BARS["product"] else "")
        print(f"{kind}: {bar}: {verdict(ratio[f'musicrec, {screen}'] <= BARS[screen])}")
    print(f"{kind}: product by rows ≤ {BAR_ROWS}: {verdict(ratio[BY_PRODUCT_ROWS] <= BAR_ROWS)}")
    for peer, bar in ((FAISS, BAR_FAISS), (SEED, BAR_SEED)):
        if peer in ratio:
            times_faster = ratio[peer] / best
            print(f"{kind}: {peer} / ours = {times_faster:.1f} ≥ {bar}: {verdict(times_faster >= bar)}")
    print(flush=True)


# --- adversarial --------------------------------------------------------------------------------------------------


def adversarial(options: Namespace) -> None:
    """Print, for each input, how many of our lists are not exact, and the time of each screen, run once."""
    n_songs = options.n_songs or SONGS["adversarial"]
    title("adversarial", n_songs, options.d, options.n, "run once")
    lines = []
    for name, make in ADVERSARIAL.items():
        vectors = make(n_songs, options.d)
        rows = some_rows(n_songs)
        exact = brute_force(vectors, rows, options.n)
        methods = list(ours(vectors, options.n))
        runs = in_turns(methods, vectors, 1)
        first = runs[methods[0].name].result
        lines += [
            (name, method.name, f"{some.ratio:.3f}", *faults(some.result, rows, exact, first))
            for method, some in zip(methods, runs.values(), strict=True)
        ]
    print_table(("input", "method", "× product", f"inexact of {len(rows)}", "unlike the first"), lines)


# --- sizes --------------------------------------------------------------------------------------------------------


def sizes(options: Namespace) -> None:
    """Print the time of the fastest screen by width of the vectors and length of the lists."""
    n_songs = options.n_songs or SONGS["sizes"]
    for kind in options.kinds:
        lines = []
        for d in WIDTHS:
            vectors = clustered(KINDS[kind], n_songs, d)
            methods = [of_length(vectors, n) for n in LENGTHS]
            runs = in_turns(methods, vectors, options.repeats)
            lines.append((d, *(f"{some.ratio:.3f}" for some in runs.values())))
        print(f"{kind}: N {n_songs}; {available()[0]}, × product of the same d, medians of {options.repeats}\n")
        print_table(("d", *(f"n = {n}" for n in LENGTHS)), lines)


def of_length(vectors: Matrix, n: int) -> Method:
    """Our fastest lists of `n`."""
    top_n(vectors[: 4 * n], n)  # compiles
    return Method(str(n), len(vectors), lambda _: top_n(vectors, n))


# --- a million ----------------------------------------------------------------------------------------------------


def million(options: Namespace) -> None:
    """Print what a million songs take, each kind in a process of its own, whose peak memory is that of the run."""
    for kind in options.kinds:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
            alone.submit(million_of, kind, options).result()


def million_of(kind: str, options: Namespace) -> None:
    """Print one kind of a million songs: exact, approximate, and the projection of both."""
    n_songs = options.n_songs or SONGS["million"]
    title(kind, n_songs, options.d, options.n, f"run once by {available()[0]}")
    lines = []
    for part in SMALLER:
        vectors = clustered(KINDS[kind], n_songs // part, options.d)
        top_n(vectors[: 4 * options.n], options.n)  # compiles
        run = measured(lambda vectors=vectors: top_n(vectors, options.n), Product(vectors), float(len(vectors)) ** 2)
        gib = peak_gib()
        ns = run.seconds * 1e9 / len(vectors) ** 2
        lines.append((len(vectors), f"{run.seconds:.1f}", f"{ns:.3f}", f"{run.ratio:.3f}", f"{gib:.2f}"))
    print_table(("N", "CPU s", "ns a pair", "× product", "peak GiB"), lines)
    print(f"{kind}: ≤ {BAR_MILLION:.2f} × product: {verdict(run.ratio <= BAR_MILLION)}")
    print(f"{kind}: < {BAR_GIB} GiB: {verdict(gib < BAR_GIB)}\n", flush=True)
    approximate_ns = approximate(kind, vectors, run.seconds, run.result, options)
    lines = [*projection("exact", 2 * ns, lambda n: float(n) ** 2, options.d, options.n)]
    if approximate_ns is not None:
        lines += projection("approximate", approximate_ns, pairs_in_clusters, options.d, options.n)
    print_table(("projection", "songs", "cores", "hours", "core hours", "vectors read", "lists written"), lines)


def approximate(kind: str, vectors: Matrix, seconds: float, exact: Lists, options: Namespace) -> float | None:
    """Print time and recall by the number of clusters that are looked through; CPU ns a pair of the first that will do.

    A pair is one of :func:`pairs_in_clusters`. None if no number will do.
    """
    from musicrec.similarity.approximate import top_n_approximate

    rows = np.sort(np.random.default_rng(8).choice(len(vectors), min(RECALLED, len(vectors)), replace=False))
    product, pairs, lines, enough = Product(vectors), pairs_in_clusters(len(vectors)), [], None
    for probes in PROBES:
        call = lambda probes=probes: top_n_approximate(vectors, options.n, "cosine", probes=probes)  # noqa: E731
        run = measured(call, product, float(len(vectors)) ** 2)
        recall, share = in_common(exact.ids[rows], run.result.ids[rows]), run.seconds / seconds
        lines.append((probes, f"{run.seconds:.1f}", f"{share:.3f}", f"{run.ratio:.4f}", f"{recall:.4f}"))
        if recall >= BAR_RECALL and enough is None:
            enough = run.seconds, share
    print_table(("probes", "CPU s", "× exact", "× product", f"recall@{options.n}"), lines)
    reached = enough is not None and enough[1] <= BAR_APPROXIMATE
    print(f"{kind}: recall ≥ {BAR_RECALL} at ≤ {BAR_APPROXIMATE} × exact: {verdict(reached)}\n", flush=True)
    return enough[0] * 1e9 / pairs if enough else None


def pairs_in_clusters(n_songs: int) -> float:
    """Pairs that meet in the approximate regime, but for a factor: clusters are as many as the root of the songs."""
    return float(n_songs) ** 1.5


def projection(
    name: str, ns_per_pair: float, pairs: Callable[[int], float], d: int, n: int
) -> Iterator[tuple[object, ...]]:
    """Lines of what more songs would take on more cores.

    Parameters
    ----------
    name : str
        What is projected.
    ns_per_pair : float
        CPU nanoseconds as measured, per pair as `pairs` counts them. A task makes the lists of its own songs alone: the
        exact pairs, which meet once where both songs are at hand, meet twice.
    pairs : function
        Pairs that meet, of a number of songs.
    d, n : int
        Length of the vectors, float32, and of the lists, with 8 bytes an entry.

    Notes
    -----
    The time is that of a pair where it was measured, on cores that do not slow each other down; that fewer pairs come
    near a list among more songs is left out. Every node reads all vectors once, and every list is written once.
    """
    for n_songs in PROJECTED:
        for cores in CORES:
            hours = ns_per_pair * pairs(n_songs) / 1e9 / 3600
            nodes = -(-cores // CORES_PER_NODE)
            read, written = f"{nodes} × {in_gb(n_songs * d * 4)}", in_gb(n_songs * n * 8)
            yield name, n_songs, cores, f"{hours / cores:.2f}", f"{hours:.0f}", read, written


def in_gb(size: float) -> str:
    """Bytes, as GB."""
    return f"{size / 1e9:.0f} GB"


def peak_gib() -> float:
    """Peak memory of this process, as Linux has it; what was used before it began does not count."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 2**20 if found else float("nan")


# --- the report ---------------------------------------------------------------------------------------------------


def kinds(options: Namespace, table: str) -> Iterator[tuple[str, Matrix]]:
    """Each kind of clustered vectors that is asked for."""
    for kind in options.kinds:
        yield kind, clustered(KINDS[kind], options.n_songs or SONGS[table], options.d)


def some_rows(n_songs: int) -> NDArray[np.int64]:
    """Rows that are compared with brute force."""
    return np.sort(np.random.default_rng(7).choice(n_songs, min(EXACT, n_songs), replace=False))


def title(what: str, n_songs: int, d: int, n: int, how: str) -> None:
    """Print what a table is about."""
    print(f"{what}: N {n_songs}, d {d}, n {n}; {how}\n", flush=True)


TABLES = {"screens": screens, "adversarial": adversarial, "sizes": sizes, "million": million}
EXAMPLES = """examples:
  python benchmarks/topn.py                                                  a few minutes
  python benchmarks/topn.py --tables screens --n-songs 100000 --peers peers  the bars
  python benchmarks/topn.py --tables sizes million"""


def main() -> None:
    """Print the tables that are asked for."""
    p = ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=RawDescriptionHelpFormatter)
    p.add_argument("--tables", nargs="+", choices=TABLES, default=["screens", "adversarial"], help="which to print")
    p.add_argument("--n-songs", type=int, help="songs, for all tables (default: 20 000; 1 000 000 for million)")
    p.add_argument("--d", type=int, default=128, help="length of the vectors, but for sizes (default: %(default)s)")
    p.add_argument("--n", type=int, default=50, help="length of the lists, but for sizes (default: %(default)s)")
    p.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="kinds of vectors (default: both)")
    p.add_argument("--repeats", type=int, default=3, help="runs of screens and sizes (default: %(default)s)")
    p.add_argument("--peers", type=Path, help="folder faiss-cpu is installed into and kept in (default: none)")
    options = p.parse_args()
    one_thread()
    if options.peers:
        have_faiss(options.peers)
    packages = ["numpy", "numba", "scikit-learn", "tensorflow", *["faiss-cpu"] * bool(find_spec("faiss"))]
    print_machine(*packages)
    print(
        "one core: one thread a library (OMP, OpenBLAS, MKL, numba, TensorFlow, faiss), CPU time; data synthetic, clustered"
    )
    print(f"screens of this machine: {', '.join(available())}; the first is the default")
    print("" if find_spec("faiss") else "faiss is not installed and left out: --peers DIR installs it\n", flush=True)
    for table in options.tables:
        TABLES[table](options)


def have_faiss(folder: Path) -> None:
    """Have faiss importable, installed if it is not there yet; it is no dependency."""
    if not (folder / "faiss").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), "faiss-cpu"]
        subprocess.run(command, check=True)
    sys.path.append(str(folder))  # last: numpy and the like stay those of musicrec


if __name__ == "__main__":
    main()
