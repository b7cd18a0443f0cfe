"""Lists and nights on vectors as they really are: every kind, as shares of the matrix product and of a full run.

Real kinds are windows of GTZAN's clips, grown to the number of songs; a table shows their spectrum, hubs and nearness
beside those of the source. `gtzan57 by distance` are not scaled to length 1, and compared by Euclidean distance. The
others are synthetic: `harder`, `low-dimensional`, `heavy tails` (`harder` with lengths that differ by orders of
magnitude, by inner product) and `dense genre` (60 % of the songs in one cluster).

A night changes 1 % of the songs: 0.6 % are new, 0.2 % have another vector, 0.2 % are gone. The columns beside it are
nights on which that many new songs are of another catalog, which lies in other dimensions. Lists of every night are
compared with those of a full run, to the byte; lists of a full run with float64 brute force in 1 000 rows. Five more
nights in a row each bring songs of another catalog too. With more than 200 000 songs there is one full run, and the
lists of nights are compared in 300 rows.

With `--beside`, another version of musicrec measures the same vectors, kind by kind.
"""

import json
import os
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.shared.common import one_thread, print_machine, print_table, verdict
from benchmarks.shared.real_vectors import REAL, grown, shape, source
from benchmarks.shared.synthetic_vectors import KINDS, Matrix, clustered, unit
from benchmarks.similar.one_kind import CHECKED, EXHAUSTIVE, IN_A_ROW, OTHER, Asked, Measured, n_fresh

D = 128
BARS = {"lists": 0.20, "night": 0.03, 0.001: 0.035, 0.01: 0.08}
ROOT = Path(__file__).resolve().parents[2]
MOST_SHOWN = 100_000  # songs whose shape is shown
BY_DISTANCE = "gtzan57 by distance"
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
    by_distance = Kind(lambda n: grown(source("gtzan57", data), n, as_unit=False), "euclidean")
    return real | {
        BY_DISTANCE: by_distance,
        "harder": Kind(partial(clustered, KINDS["harder"], d=D)),
        "low-dimensional": Kind(partial(clustered, KINDS["low-dimensional"], d=D)),
        "dense genre": Kind(dense_genre),
        "heavy tails": Kind(heavy_tails, "inner"),
    }


class Version(NamedTuple):
    """A musicrec that is measured: the Python it is installed for, and where its packages are looked for first."""

    name: str
    python: str
    path: Path


def measure(kind: Kind, version: Version, folder: Path, limit_s: float | None) -> Measured | None:
    """Measure vectors in a folder by one version; None if that takes too long."""
    environment = os.environ | {"PYTHONPATH": str(version.path)}
    command = [version.python, "-m", "benchmarks.similar.one_kind", str(folder)]
    try:
        done = subprocess.run(
            command, env=environment, cwd=folder, timeout=limit_s, check=True, stdout=subprocess.PIPE, text=True
        )
    except subprocess.TimeoutExpired:
        return None
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def write(kind: Kind, folder: Path, n_songs: int, asked: Asked) -> None:
    """Write the vectors of a kind, in random order, and the songs that its nights bring."""
    n_new = (asked.nights + IN_A_ROW) * n_fresh(n_songs)
    made = kind.make(n_songs + n_new)
    order = np.random.default_rng(5).permutation(len(made))
    np.save(folder / "vectors.npy", made[order[:n_songs]])
    np.save(folder / "pool.npy", made[order[n_songs:]])
    (folder / "asked.json").write_text(json.dumps(asked._asdict()), encoding="utf-8")


def main() -> None:
    """Print the panel."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--n-songs", type=int, default=100_000)
    parser.add_argument("-n", type=int, default=50)
    parser.add_argument("--kinds", nargs="+", help="kinds of vectors (default: all)")
    parser.add_argument("--repeats", type=int, default=3, help="full runs (default: %(default)s)")
    parser.add_argument("--nights", type=int, default=3, help="ordinary nights (default: %(default)s)")
    parser.add_argument("--beside", metavar="PYTHON", help="Python of an environment with another version of musicrec")
    parser.add_argument("--limit", type=float, default=900, help="seconds for the other (default: %(default)g)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="real audio (default: %(default)s)")
    options = parser.parse_args()
    one_thread()
    print_machine(kept_as="" if options.n_songs <= EXHAUSTIVE else "million")
    all_kinds = kinds(options.data)
    chosen = options.kinds or list(all_kinds)
    if unknown := set(chosen) - set(all_kinds):
        parser.error(f"no kinds {sorted(unknown)}; there are {list(all_kinds)}")
    print_shapes([name for name in chosen if name in REAL], options.data, min(options.n_songs, MOST_SHOWN))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
        versions = [Version("", sys.executable, ROOT)]
        if options.beside:
            versions.append(Version("before", options.beside, folder))
        found: dict[tuple[str, str], Measured | None] = {}
        for name in chosen:
            kind = all_kinds[name]
            write(kind, folder, options.n_songs, Asked(kind.metric, options.n, options.repeats, options.nights))
            for version in versions:
                limit = options.limit if version.name else None
                found[name, version.name] = one = measure(kind, version, folder, limit)
                print(*row(name, version.name, one), sep="  ", flush=True)
    print(f"{options.n_songs} songs, n = {options.n}; a full run beside the matrix product, nights beside a full run\n")
    print_table(HEAD, [row(name, version, one) for (name, version), one in found.items()])
    sys.exit(not judge({name: one for (name, version), one in found.items() if one and not version}))


HEAD = ("kind", "", "× product", "full run, CPU s", "1 % changed", *(f"{share:.1%} of another" for share in OTHER),
        f"inexact of {CHECKED}", "nights unlike")  # fmt: skip


def row(name: str, version: str, one: Measured | None) -> tuple[object, ...]:
    """Return a row of the table."""
    if one is None:
        return (name, version, "did not end", *[""] * (len(HEAD) - 3))
    nights = (f"{share:.2%}" for share in one.nights)
    return (name, version, f"{one.product:.3f}", f"{one.full_s:.2f}", *nights, one.n_inexact, one.n_unlike)


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
