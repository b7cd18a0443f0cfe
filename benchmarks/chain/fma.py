"""A simulated catalog of FMA's size through catalog, extract and similar: time, memory and disk.

The catalog has FMA's layout and 106 574 tracks. Its files are links to some forty real clips, encoded as FMA's are, so
that every track is read, hashed, decoded and written as any other (from memory, not from a disk: the pool is small). As
many tracks are decoded as the hours given allow; the rest is extrapolated from the steady rate, which leaves out the
first tenth of the time. Lists of similar songs are made from synthetic vectors, one for each track: forty clips have
only forty vectors, and lists of equal songs would be another problem.

Memory is the resident set of the driver and of the largest worker, including what they share, and what Ray's object
store holds, every few seconds. It is drawn over time with the tracks done. Flat means that a line fitted to the second
half of extract grows by less than the bar over all tracks.
"""

import logging
import os
import re
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.chain.fma_layout import TRACKS, write_catalog
from benchmarks.extract.memory import descendants
from benchmarks.shared.common import one_thread, parser, print_machine, print_table, verdict
from benchmarks.shared.synthetic_vectors import KINDS, clustered
from musicrec.cluster.deadline import deadline
from musicrec.errors import DeadlinePassed
from musicrec.monitor.cpu_time import CpuMeter
from musicrec.schemas import EMBEDDINGS
from musicrec.settings import CatalogSettings, EmbedSettings, ExtractSettings, SimilarSettings
from musicrec.stages.catalog.stage import catalog
from musicrec.stages.extract.stage import extract
from musicrec.stages.similar.stage import similar
from musicrec.store.store import Store

SECONDS_BETWEEN_LOOKS = 3.0
DIMENSIONS = 128
BAR_GROWTH_MB = 100.0  # most that the driver and the largest worker may grow over all tracks


class Look(NamedTuple):
    """What was seen at one moment; memory in MB."""

    seconds: float
    stage: str
    driver_mb: float
    worker_mb: float  # the largest worker's
    store_mb: float
    tracks: int  # decoded


class Stage(NamedTuple):
    """What a stage took."""

    name: str
    wall_s: float
    cpu_s: float


class Watch:
    """Looks at the memory of this process and of Ray's below it, until it is closed; a context manager."""

    def __init__(self, store: Store) -> None:
        self.looks: list[Look] = []
        self.stages: list[Stage] = []
        self._stage, self._store = "", store
        self._rows: dict[Path, int] = {}
        self._started, self._ended = time.monotonic(), Event()

    def __enter__(self) -> "Watch":
        self._meter = CpuMeter().__enter__()
        Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._meter.__exit__(None, None, None)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what a stage takes."""
        self._stage, started, cpu = name, time.monotonic(), self._meter.seconds() or 0
        with redirect_stderr(StringIO()):
            yield
        self.look()
        used = (self._meter.seconds() or 0) - cpu
        self.stages.append(Stage(name, time.monotonic() - started, used))

    def look(self) -> None:
        """Take a look now."""
        workers = [0.0]
        for pid in descendants(os.getpid()):
            try:
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::"):
                    workers.append(resident_mb(pid))
            except OSError:  # it has just ended
                continue
        now, driver_mb = time.monotonic() - self._started, resident_mb(os.getpid())
        self.looks.append(Look(now, self._stage, driver_mb, max(workers), store_mb(), self._decoded()))

    def _watch(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_LOOKS):
            self.look()

    def _decoded(self) -> int:
        """Count the tracks whose outcome is staged; each file is read once."""
        work = self._store.out / "_work" / ExtractSettings.stage
        for file in set(work.glob("*/*.parquet")) - self._rows.keys():
            self._rows[file] = pq.read_metadata(file).num_rows
        return sum(self._rows.values())


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process, including what it shares with others, in MB."""
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(match[1]) / 1000 if match else 0.0


def store_mb() -> float:
    """Return what Ray's object store holds, in MB."""
    import ray

    name = "object_store_memory"
    return float(ray.cluster_resources().get(name, 0) - ray.available_resources().get(name, 0)) / 1e6


def extract_for(store: Store, watch: Watch, hours: float, limit: int | None) -> None:
    """Decode until the time is over or somebody interrupts, then publish what there is."""
    with watch.stage("extract"):
        try:
            with deadline(hours * 3600):
                extract(store, ExtractSettings(), limit=limit)
        except (DeadlinePassed, KeyboardInterrupt):
            time.sleep(SECONDS_BETWEEN_LOOKS)  # let tasks that had begun end
    if not store.exists("mel"):
        with watch.stage("publish"):
            extract(store, ExtractSettings(), limit=0)


def publish_vectors(store: Store) -> None:
    """Publish a synthetic vector for every track."""
    track_ids = store.track_ids()
    vectors = clustered(KINDS["low-dimensional"], len(track_ids), DIMENSIONS)
    ends = pa.array(np.arange(0, vectors.size + 1, DIMENSIONS, dtype=np.int32))
    rows = {
        "track_id": track_ids,
        "model_id": ["synthetic"] * len(track_ids),
        "embedding": pa.ListArray.from_arrays(ends, pa.array(vectors.ravel())),
        "probabilities": pa.nulls(len(track_ids), pa.list_(pa.float32())),
    }
    version = store.new_version("embeddings", EmbedSettings(), "synthetic", model="synthetic", model_id="synthetic")
    version.write_part(pa.table(rows).cast(EMBEDDINGS))
    store.publish(version)


def run(folder: Path, options: Namespace) -> Watch:
    """Run the stages on a new OUT in a folder."""
    audio_mb = write_catalog(folder, options.data, options.tracks, options.clips)
    print(f"simulated catalog: {options.tracks} tracks in FMA's layout, {audio_mb:.0f} MB of audio by its names")
    store = Store(folder / "out")
    store.create()
    with Watch(store) as watch:
        with watch.stage("catalog"):
            catalog(store, CatalogSettings(source=str(folder / "fma_simulated"), kind="fma"))
        extract_for(store, watch, options.hours, options.limit)
        publish_vectors(store)
        with watch.stage("similar"):
            counts = similar(store, SimilarSettings())
    print(f"{counts}\n")
    return watch


# --- the report -------------------------------------------------------------------------------------------------------


def report(watch: Watch, store: Store, n_tracks: int) -> None:
    """Print a table of stages, the steady rate, memory, disk and what all tracks would take."""
    lines, decoded = [], store.dataset("mel").count_rows()
    for stage in watch.stages:
        done = n_tracks if stage.name in ("catalog", "similar") else decoded
        during = [look for look in watch.looks if look.stage == stage.name]
        peaks = [f"{max(values):.0f}" for values in list(zip(*during, strict=True))[2:5]]
        a_track = f"{stage.cpu_s / done * 1e3:.2f}"
        lines.append((stage.name, done, f"{stage.wall_s:.0f}", f"{stage.cpu_s:.0f}", a_track, *peaks))
    print_table(("stage", "tracks", "wall s", "CPU s", "CPU ms a track", "driver MB", "worker MB", "store MB"), lines)
    decoding = [look for look in watch.looks if look.stage == "extract" and look.tracks]
    steady = decoding[len(decoding) // 10 :]
    rate = slope(steady, lambda look: look.tracks)
    extracted = next(stage for stage in watch.stages if stage.name == "extract")
    cpu_hours = extracted.cpu_s / decoded * n_tracks / 3600
    print(f"steady rate of extract: {rate:.1f} tracks/s, of {len(steady)} looks")
    print(f"all {n_tracks} at that rate: {n_tracks / rate / 3600:.2f} h here, {cpu_hours:.2f} CPU hours")
    half = decoding[len(decoding) // 2 :]
    for name in ("driver", "worker"):
        grows = slope(half, lambda look, name=name: getattr(look, f"{name}_mb")) / rate * n_tracks
        bar = f"bar ≤ {BAR_GROWTH_MB:g} {verdict(grows <= BAR_GROWTH_MB)}"
        print(f"{name}: grows by {grows:+.0f} MB over all tracks; {bar}")
    print()
    sizes = []
    for name in store.published():
        rows = n_tracks if name == "similar" else sum(part.count_rows() for part in [store.dataset(name)])
        size = sum(file.stat().st_size for file in store.path(name).resolve().rglob("*") if file.is_file())
        sizes.append((name, rows, f"{size / 1e6:.0f}", f"{size / rows:.0f}"))
    print_table(("table", "tracks or rows", "MB", "bytes of each"), sizes)


def slope(looks: list[Look], of: Callable[[Look], float]) -> float:
    """Return the growth of something per second, by a line fitted by least squares."""
    seconds, values = np.array([(look.seconds, of(look)) for look in looks]).T
    return float(np.polyfit(seconds, values, 1)[0])


def draw(watch: Watch, file: Path) -> None:
    """Draw memory and tracks over time."""
    from matplotlib.figure import Figure

    seconds, _, *memory, tracks = map(np.array, zip(*watch.looks, strict=True))
    minutes = seconds / 60
    figure = Figure((9, 5), layout="constrained")
    axes = figure.subplots()
    for name, values in zip(("driver", "largest worker", "object store"), memory, strict=True):
        axes.plot(minutes, values, label=name)
    axes.set(xlabel="minutes", ylabel="memory, MB", ylim=(0, None))
    of_tracks = axes.twinx()
    of_tracks.plot(minutes, tracks, color="grey", linestyle=":", label="tracks decoded")
    of_tracks.set(ylabel="tracks decoded", ylim=(0, None))
    for stage in dict.fromkeys(look.stage for look in watch.looks if look.stage):
        start = next(look.seconds for look in watch.looks if look.stage == stage) / 60
        axes.axvline(start, color="lightgrey", linewidth=0.8)
        side = "left" if stage != "publish" else "right"  # similar follows in half a minute
        axes.annotate(stage, (start, 0.99), xycoords=("data", "axes fraction"), rotation=90, va="top", ha=side)
    figure.legend(loc="outside lower center", ncols=4)
    axes.set_title("musicrec on a simulated catalog in FMA's layout")
    figure.savefig(file, dpi=150)
    print(f"drawn: {file}")


def main() -> None:
    """Print the tables and draw the plot."""
    p = parser(__doc__, "python -m benchmarks.chain.fma --tracks 2000 --hours 0.1 --plot memory.png")
    p.add_argument("--tracks", type=int, default=TRACKS, help=f"of the simulated catalog (default {TRACKS})")
    p.add_argument("--clips", type=int, default=40, help="different clips among them (default 40)")
    p.add_argument("--hours", type=float, default=1.0, help="to decode, then publish what there is (default 1)")
    p.add_argument("--limit", type=int, help="decode only so many tracks (default all)")
    p.add_argument("--plot", type=Path, help="PNG to draw memory over time in")
    p.add_argument("--folder", type=Path, help="keep catalog, pool and OUT here (default a temporary folder)")
    p.add_argument("--cpus", type=int, default=2, help="of Ray (default 2)")
    options = p.parse_args()
    one_thread()
    print_machine("ray", "librosa", "numba", "pyarrow")
    os.environ.pop("RAY_ADDRESS", None)
    import ray

    ray.init("local", num_cpus=options.cpus, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        watch = run(folder, options)
        report(watch, Store(folder / "out"), options.tracks)
    if options.plot:
        draw(watch, options.plot)
    ray.shutdown()


if __name__ == "__main__":
    main()
