"""Exact all-pairs top-N beside the float32 matrix product alone, faiss, scikit-learn, TensorFlow and the seed's way.

The unit of all times is that product: NumPy's of two float32 matrices on the same core, block by block over the same
vectors, right before and right after each run, scaled to as many pairs. Everything runs on one core: every library is
given one thread, and CPU time counts all threads of the process. Figures are medians; all methods run in turns.

The data are synthetic and clustered, not real songs: clusters of sizes by Zipf, each with a decaying spectrum of its
own, 0.5 % exact duplicates, unit length. `low-dimensional` uses 20 dimensions and a little noise, `harder` uses all.

tables:
  screens      every screen of this machine and the peers, slow ones on some of the rows, scaled to all; our lists of
               1 000 rows beside float64 brute force: ids, order, bits of the scores
  adversarial  the same comparison on inputs made to break it
  sizes        d of 32 to 512 by n of 10 to 200
  million      1 000 000 songs: seconds, memory, the approximate regime, and what 10 and 100 million would take
"""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.shared.common import one_thread, print_machine, print_table, verdict
from benchmarks.shared.peers import have
from benchmarks.shared.synthetic_vectors import ADVERSARIAL, KINDS, Matrix, clustered
from benchmarks.similar.million import million
from benchmarks.similar.neighbours import (
    BY_PRODUCT_ROWS,
    CHECKED,
    FAISS,
    SEED,
    Method,
    Runs,
    in_common,
    in_turns,
    ours,
    peers,
    warm_up,
)
from benchmarks.similar.reference import brute_force, differing
from musicrec.similarity import Lists, top_n
from musicrec.similarity.search.screens import available

WIDTHS, LENGTHS = (32, 64, 128, 256, 512), (10, 50, 100, 200)
EXACT = 1000  # rows that are compared with brute force
FEWEST = 5000  # songs; the adversarial inputs hold 3 000 copies of one

BARS = {"amx": (0.30, 0.15), "vnni": (0.30, 0.15), "product": (0.65,)}  # most × product; the second is hoped for
BAR_ROWS, BAR_FAISS, BAR_SEED, BARS_FOR = 1.15, 4, 80, 100_000

HEAD = ("method", "rows run", "CPU s, all", "× product", "least", "most", "ids as ours")

# --- screens ------------------------------------------------------------------------------------------------------


def screens(n_songs: int, options: Namespace) -> None:
    """Print the times of all methods, and how many of our lists are not exact."""
    for kind in options.kinds:
        title(kind, n_songs, options.d, options.n, f"medians of {options.repeats}")
        vectors = clustered(KINDS[kind], n_songs, options.d)
        methods = [*ours(vectors, options.n), *peers(vectors, options.n)]
        runs = in_turns(methods, vectors, options.repeats)
        rows = some_rows(n_songs)
        exact, first = brute_force(vectors, rows, options.n), runs[methods[0].name].result
        lines = [
            (*times(method, some, n_songs, first), *faults(some.result, rows, exact, first))
            for method, some in zip(methods, runs.values(), strict=True)
        ]
        print_table((*HEAD, f"inexact of {len(rows)}", "unlike the first"), lines)
        n_faults = sum(count for line in lines for count in line[-2:] if count != "")
        print_verdicts({name: some.ratio for name, some in runs.items()}, n_faults, n_songs)


def times(method: Method, runs: Runs, n_songs: int, first: Lists) -> tuple[object, ...]:
    """Return the cells of a method's times, and the share of our ids that it finds."""
    seconds = runs.seconds * n_songs / method.rows
    found = method.ids(runs.result)[:CHECKED]
    ratios = (f"{ratio:.3f}" for ratio in (runs.ratio, *runs.spread))
    return method.name, method.rows, f"{seconds:.2f}", *ratios, f"{in_common(first.ids[:CHECKED], found):.4f}"


def faults(result: object, rows: NDArray[np.int64], exact: Lists, first: Lists) -> tuple[object, object]:
    """Count the lists that are not exact, and those of all that differ from the first screen's; blank for peers."""
    if not isinstance(result, Lists):
        return "", ""
    return differing(Lists(result.ids[rows], result.scores[rows]), exact), differing(result, first)


def print_verdicts(ratio: dict[str, float], n_faults: int, n_songs: int) -> None:
    """Print which bars were reached."""
    if n_songs < BARS_FOR:
        print(f"the bars are for {BARS_FOR} songs:")
    for screen in available():
        for bar in BARS[screen]:
            print(f"{screen} ≤ {bar} × product: {verdict(ratio[f'musicrec, {screen}'] <= bar)}")
    print(f"product by rows ≤ {BAR_ROWS} × product: {verdict(ratio[BY_PRODUCT_ROWS] <= BAR_ROWS)}")
    for peer, bar in ((FAISS, BAR_FAISS), (SEED, BAR_SEED)):
        if peer in ratio:
            faster = ratio[peer] / ratio[f"musicrec, {available()[0]}"]
            print(f"{faster:.1f} × faster than {peer}, of {bar}: {verdict(faster >= bar)}")
    print(f"exact: {verdict(n_faults == 0)}\n", flush=True)


# --- adversarial --------------------------------------------------------------------------------------------------


def adversarial(n_songs: int, options: Namespace) -> None:
    """Print, for each input, how many of our lists are not exact, and the time of each screen, run once."""
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


def sizes(n_songs: int, options: Namespace) -> None:
    """Print the time of the fastest screen by width of the vectors and length of the lists."""
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
    """Return our fastest method for lists of `n`."""
    warm_up(vectors, n)
    return Method(str(n), len(vectors), lambda _: top_n(vectors, n))


# --- the report ---------------------------------------------------------------------------------------------------


def some_rows(n_songs: int) -> NDArray[np.int64]:
    """Return the rows that are compared with brute force."""
    return np.sort(np.random.default_rng(7).choice(n_songs, min(EXACT, n_songs), replace=False))


def title(what: str, n_songs: int, d: int, n: int, how: str) -> None:
    """Print what a table is about."""
    print(f"{what}: N {n_songs}, d {d}, n {n}; {how}\n", flush=True)


TABLES = {
    "screens": (screens, 20_000),
    "adversarial": (adversarial, 20_000),
    "sizes": (sizes, 20_000),
    "million": (million, 1_000_000),
}
EXAMPLES = """examples:
  python -m benchmarks.similar.topn                                                  a few minutes
  python -m benchmarks.similar.topn --tables screens --n-songs 100000 --peers peers  the bars
  python -m benchmarks.similar.topn --tables sizes million"""


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
    if options.n_songs is not None and options.n_songs < FEWEST:
        p.error(f"--n-songs {options.n_songs}: expected at least {FEWEST}")
    one_thread()
    if options.peers:
        have(options.peers, "faiss", "--no-deps", "faiss-cpu")
    packages = ["numpy", "numba", "scikit-learn", "tensorflow", *["faiss-cpu"] * bool(find_spec("faiss"))]
    print_machine(*packages)
    print("one core: CPU time, one thread for each of OpenMP, OpenBLAS, MKL, numba, TensorFlow and faiss")
    print("data: synthetic and clustered; no real songs")
    print(f"screens of this machine: {', '.join(available())}; the first is the default")
    print("" if find_spec("faiss") else "faiss is not installed and left out: --peers DIR installs it\n", flush=True)
    for table in options.tables:
        show, n_songs = TABLES[table]
        show(options.n_songs or n_songs, options)


if __name__ == "__main__":
    main()
