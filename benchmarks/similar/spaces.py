"""Lists in three spaces at once beside lists in one space of the summed width: CPU time on one core.

Timed is what `musicrec similar` does on one core: read the vectors of the tables, join them, make the lists, write the
table and, for several spaces, their shares. The two sides run in turns; figures are medians of CPU seconds.

The data are synthetic and clustered, not real songs: the spaces have the same clusters, each with a spectrum of its
own. The one space of the summed width comes twice: with vectors of its own, which are made like those of each space,
and with the joined vectors of the three, whose lists must be the same.
"""

import tempfile
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.shared.common import cpu, one_thread, print_machine, print_table, verdict
from benchmarks.shared.synthetic_vectors import KINDS, clustered
from musicrec.schemas import OUTCOMES, TRACKS
from musicrec.serve.comparable_songs import read_vectors
from musicrec.serve.space_shares import write_shares
from musicrec.serve.table_writer import write_table
from musicrec.settings import CatalogSettings, SimilarSettings, VectorsSettings
from musicrec.similarity import Lists, top_n
from musicrec.similarity.joined_spaces import join
from musicrec.store.spaces import PublishedSpace, SpaceCard, publish_space
from musicrec.store.store import Store

WIDTHS = {"a": 200, "b": 57, "c": 128}
WEIGHTS = {"a": 1.0, "b": 0.3, "c": 0.5}
BAR = 1.5


def publish(out: Path, matrices: dict[str, NDArray[np.float32]]) -> Store:
    """Make an OUT with a catalog and these spaces."""
    store, settings = Store(out), CatalogSettings(source="/music")
    store.create()
    n_songs = len(next(iter(matrices.values())))
    ids = [f"song-{i:07d}" for i in range(n_songs)]
    with store.new_version("tracks", settings, "benchmark") as version:
        version.write_part(pa.Table.from_pylist([{"track_id": t, "title": t} for t in ids], TRACKS))
        store.publish(version)
    for name, matrix in matrices.items():
        space = PublishedSpace(name, name, matrix.shape[1], SpaceCard())
        how = VectorsSettings(name=name, file="none")
        publish_space(store, how, space, pa.array(ids), matrix, left_out=OUTCOMES.empty_table())
    return store


def similar(store: Store, settings: SimilarSettings) -> Lists:
    """Make the lists of one OUT on this core, and write them."""
    vectors = read_vectors(store, settings.space)
    lists = top_n(vectors.matrix, settings.n)
    with store.new_version("similar", settings, "benchmark", **vectors.origin.lineage) as version:
        write_table(version, vectors.names, *lists)
        if len(vectors.widths) > 1:
            write_shares(version.folder, vectors.matrix, list(vectors.widths.values()), lists.ids)
        store.publish(version)
    return lists


def runs_in(folder: Path, kind: str, n_songs: int, n: int) -> dict[str, Callable[[], Lists]]:
    """Return what is compared, by name."""
    matrices = {name: clustered(KINDS[kind], n_songs, d) for name, d in WIDTHS.items()}
    joined = join(list(matrices.values()), list(WEIGHTS.values()))
    own = clustered(KINDS[kind], n_songs, joined.shape[1])
    several = tuple(f"{name}={weight}" for name, weight in WEIGHTS.items())
    sides = {
        "three spaces": (publish(folder / "three", matrices), several),
        "one space, its own vectors": (publish(folder / "own", {"own": own}), ("own",)),
        "one space, the joined vectors": (publish(folder / "joined", {"joined": joined}), ("joined",)),
    }
    return {
        name: lambda store=store, space=space: similar(store, SimilarSettings(n=n, space=space))
        for name, (store, space) in sides.items()
    }


def main() -> None:
    """Print the times."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--n-songs", type=int, default=100_000)
    parser.add_argument("--kind", choices=KINDS, default="harder")
    parser.add_argument("-n", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    one_thread()
    print_machine("numpy")
    with tempfile.TemporaryDirectory() as warm, tempfile.TemporaryDirectory() as folder:
        for run in runs_in(Path(warm), options.kind, 4000, options.n).values():
            run()  # compiled before anything is timed
        runs = runs_in(Path(folder), options.kind, options.n_songs, options.n)
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        lists: dict[str, Lists] = {}
        for _ in range(options.repeats):
            for name, run in runs.items():
                lists[name], took = cpu(run)
                seconds[name].append(took)
    three, *ones = runs
    median = {name: float(np.median(took)) for name, took in seconds.items()}
    widths = " + ".join(map(str, WIDTHS.values()))
    print(f"{options.n_songs:,} songs ({options.kind}), n = {options.n}, {widths} numbers\n")
    print_table(
        ("", "CPU s", "least", "most", "three spaces ×"),
        [(name, median[name], min(took), max(took), median[three] / median[name]) for name, took in seconds.items()],
    )
    same = all(np.array_equal(*pair) for pair in zip(lists[three], lists[ones[1]], strict=True))
    print(f"the lists of the three spaces are those of the joined vectors: {same}")
    for name in ones:
        ratio = median[three] / median[name]
        print(f"three spaces take {ratio:.2f} × of {name}, at most {BAR}: {verdict(ratio <= BAR)}")


if __name__ == "__main__":
    main()
