"""Lists of ten million songs on one machine, from disk: some shards of them, and what all would take.

The vectors are synthetic. They are made in another process, written to a file, and mapped. The songs are written in
order of cluster with their codes; then some shards are made, spread over the catalog, by one thread. Lists of 1 000
songs of theirs are compared with float64 brute force. Peak memory is that of the process, with the pages of mapped
files that it held; `of its own` is without them, as sampled.

With fewer songs, the same shards are then made from the nearest clusters only, and their recall is counted.
"""

import multiprocessing
import re
import sys
import tempfile
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import numpy as np

from benchmarks.shared.common import cpu, one_thread, print_machine, print_table, verdict
from benchmarks.shared.synthetic_vectors import KINDS, Matrix, clustered
from benchmarks.similar.neighbours import in_common
from benchmarks.similar.reference import Product, brute_force, differing
from musicrec.similarity import Lists, top_n
from musicrec.similarity.search.on_disk import SONGS_PER_SHARD, WorkOnDisk, top_n_on_disk

D, N, CHECKED, CORES = 128, 50, 1000, (1, 2, 16)
MOST_GIB, LEAST_RECALL = 8.0, 0.98
PROBES = (32, 64, 128, 256, 512)


def write(file: Path, kind: str, n_songs: int) -> None:
    """Write vectors to a file."""
    np.save(file, clustered(KINDS[kind], n_songs, D))


@contextmanager
def mapped(kind: str, n_songs: int, folder: Path) -> Iterator[Matrix]:
    """Yield vectors that another process has made; they are removed at the end."""
    maker = multiprocessing.get_context("spawn").Process(target=write, args=(folder / "vectors.npy", kind, n_songs))
    maker.start()
    maker.join()
    yield np.load(folder / "vectors.npy", mmap_mode="r")
    (folder / "vectors.npy").unlink()


def gib(what: str) -> float:
    """Return a line of Linux' account of this process, in GiB."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(found[1]) / 2**20 if found else float("nan")


@contextmanager
def own_memory() -> Iterator[list[float]]:
    """Sample the memory of this process without mapped files; yield a list with the peak in GiB."""
    peak, is_over = [0.0], Event()

    def sample() -> None:
        while not is_over.wait(0.05):
            peak[0] = max(peak[0], gib("RssAnon"))

    sampler = Thread(target=sample)
    sampler.start()
    try:
        yield peak
    finally:
        is_over.set()
        sampler.join()


def chosen_shards(work: WorkOnDisk, n: int) -> list[int]:
    """Return some shards, spread over all."""
    return np.linspace(0, work.n_shards - 1, min(n + 2, work.n_shards)).astype(int)[1:-1].tolist()


def made(work: WorkOnDisk, shards: list[int]) -> tuple[list[float], Lists]:
    """Make shards; return the CPU seconds of each and the lists of all."""
    seconds = [cpu(lambda shard=shard: work.make(shard))[1] for shard in shards]
    found = [work.shard(shard) for shard in shards]
    return seconds, Lists(*(np.concatenate(column) for column in zip(*found, strict=True)))


def exact(vectors: Matrix, folder: Path, n_shards: int) -> tuple[bool, list[float], Lists]:
    """Print what exact lists take; return whether they are right and in bounds, seconds, and the lists."""
    product = Product(vectors[:200_000]).ns_per_pair()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    with own_memory() as peak:
        started = time.monotonic()
        work, preparing = cpu(lambda: WorkOnDisk(folder, vectors, N, "cosine"))
        wall = time.monotonic() - started
        shards = chosen_shards(work, n_shards)
        seconds, found = made(work, shards)
    most = gib("VmHWM")
    own = np.concatenate([work.songs(shard) for shard in shards])
    some = np.sort(np.random.default_rng(0).choice(len(own), min(CHECKED, len(own)), replace=False))
    n_wrong = differing(Lists(found.ids[some], found.scores[some]), brute_force(vectors, own[some], N))
    a_shard, songs = float(np.mean(seconds)), len(own) / len(shards)
    hours = (preparing + a_shard * len(vectors) / songs) / 3600
    ratio = a_shard * 1e9 / songs / len(vectors) / product
    print_table(
        ("songs", "writing them, CPU s", "wall s", "a shard, CPU s", "× product", "peak GiB", "of its own"),
        [(f"{len(vectors):,}", f"{preparing:.0f}", f"{wall:.0f}", " ".join(f"{s:.1f}" for s in seconds), f"{ratio:.3f}",
          f"{most:.2f}", f"{peak[0]:.2f}")],
    )  # fmt: skip
    print(f"{len(some)} lists as by brute force: {verdict(n_wrong == 0)}; {n_wrong} are not")
    print(f"peak at most {MOST_GIB:g} GiB: {verdict(most <= MOST_GIB)}")
    by_cores = ", ".join(f"{hours / cores:.1f} h by {cores} core{'s' * (cores > 1)}" for cores in CORES)
    print(f"all lists, by {len(shards)} of {work.n_shards} shards of {SONGS_PER_SHARD} songs: {by_cores}\n", flush=True)
    return n_wrong == 0 and most <= MOST_GIB, seconds, found


def approximate(vectors: Matrix, folder: Path, n_shards: int) -> bool:
    """Print time and recall by the number of clusters that are compared; return whether it reaches the bar."""
    ok, seconds, _ = exact(vectors, folder / "exact", n_shards)
    work, preparing = cpu(lambda: WorkOnDisk(folder / "near", vectors, N, "cosine", probes=PROBES[0]))
    shards = chosen_shards(work, n_shards)
    own = np.concatenate([work.songs(shard) for shard in shards])
    some = np.sort(np.random.default_rng(1).choice(len(own), min(CHECKED, len(own)), replace=False))
    right = top_n(vectors, N, rows=own[some]).ids
    rows, reached = [], False
    for probes in PROBES:
        work.probes = probes
        near, found = made(work, shards)
        recall = in_common(right, found.ids[some])
        rows.append((probes, " ".join(f"{s:.1f}" for s in near), f"{sum(near) / sum(seconds):.3f}", f"{recall:.4f}"))
        for file in (folder / "near").glob("shard-*"):
            file.unlink()
        if reached := recall >= LEAST_RECALL:
            break
    print(f"clusters are made in {preparing:.0f} CPU s")
    print_table(("clusters compared", "a shard, CPU s", "× exact", f"recall@{N} of {len(some)}"), rows)
    print(f"recall at least {LEAST_RECALL}: {verdict(reached)}\n")
    return ok and reached


def main() -> None:
    """Measure both."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--n-songs", type=int, default=10_000_000, help="exact (default: 10 million)")
    parser.add_argument("--recall-songs", type=int, default=5_000_000, help="approximate (default: 5 million)")
    parser.add_argument("--kind", choices=list(KINDS), default="harder", help="of vectors (default: %(default)s)")
    parser.add_argument("--shards", type=int, default=2, help="that are made (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="for 30 GB of files (default: where temporary files go)")
    options = parser.parse_args()
    one_thread()
    print_machine()
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        top_n_on_disk(clustered(KINDS[options.kind], 4000, D), N, folder / "compiled")
        with mapped(options.kind, options.n_songs, folder) as vectors:
            ok, *_ = exact(vectors, folder / "all", options.shards)
        with mapped(options.kind, options.recall_songs, folder) as vectors:
            ok &= approximate(vectors, folder, options.shards)
    sys.exit(not ok)


if __name__ == "__main__":
    main()
