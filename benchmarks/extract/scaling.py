"""The extract stage on Ray: two workers against one, Ray's own share of the time, and the start on a fresh node.

workers   wall time of the whole stage with two workers and with one (a task that only waits holds the other), in turns,
          Ray running and everything compiled; medians. Below it, the machine's own limit: two plain processes that
          share the same tracks, against one, without Ray and without writing anything.
overhead  wall time of the stage with one worker against a plain loop of `extract_track` over the same files, in turns;
          medians. The bar is for a loop that computes and writes nothing: writing and publishing the tables counts as
          overhead. Ray's part of it shows beside a loop that writes the same tables, 256 tracks a file.
cold      a new process with an empty numba cache: seconds from its start to the first extracted track, and for the
          second one; then the same with the cache that this process has left.

The files are real clips, listed again and again through a manifest until there are enough of them.
"""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack, redirect_stderr
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pyarrow.parquet as pq

from benchmarks.shared.common import (
    Result,
    audio_files,
    catalogued,
    one_thread,
    parser,
    print_machine,
    print_table,
    verdict,
    wall,
)
from musicrec.settings import ExtractSettings
from musicrec.stages.extract.stage import Wanted, extract, extract_track
from musicrec.stages.extract.track_rows import tables_of
from musicrec.store.store import Store

SETTINGS = ExtractSettings()
TRACKS_A_FILE = 256
BAR_SPEEDUP, BAR_OVERHEAD, BAR_COLD_S = 1.9, 0.05, 15.0
COLD = """
import sys, time
from musicrec.stages.extract.stage import Wanted, extract_track
from musicrec.settings import ExtractSettings
for path in sys.argv[1:]:
    row = extract_track(Wanted(path, path, ""), ExtractSettings())
    print(row["status"], time.time())
"""


class Stage(NamedTuple):
    """Seconds of one run of the extract stage."""

    wall_s: float
    tracks_s: float  # seconds inside tracks, summed over them


def run_stage(template: Path) -> Stage:
    """Run the extract stage on a fresh copy of an OUT."""
    with tempfile.TemporaryDirectory(dir=template.parent) as folder:
        store = Store(shutil.copytree(template, Path(folder) / "out", symlinks=True))
        with redirect_stderr(StringIO()):
            counts, wall_s = wall(lambda: extract(store, SETTINGS))
        seconds = store.read("outcomes", ["stage", "seconds"]).to_pandas().query("stage == 'extract'").seconds
    if counts.ok != counts.fresh or counts.ok != counts.total:
        sys.exit(f"expected every track to be decoded and ok, found {counts}")
    return Stage(wall_s, float(seconds.sum()))


def loop_seconds(template: Path, *, write: bool = False) -> float:
    """Return the wall seconds of extracting the same tracks one by one in this process; `write` their tables too."""
    tracks = Store(template).read("tracks", ["track_id", "uri"]).to_pylist()
    wanted = [Wanted(track["track_id"], track["uri"], "") for track in tracks]
    with tempfile.TemporaryDirectory(dir=template.parent) as folder:
        run = (lambda: written(wanted, Path(folder))) if write else (lambda: computed(wanted))
        statuses, seconds = wall(run)
    if statuses != {"ok"}:
        sys.exit(f"expected every track to be ok, found {sorted(statuses)}")
    return seconds


def computed(wanted: list[Wanted]) -> set[str]:
    """Extract tracks and throw their rows away; return the statuses."""
    return {extract_track(track, SETTINGS)["status"] for track in wanted}


def written(wanted: list[Wanted], folder: Path) -> set[str]:
    """Extract tracks and write their rows, some at a time, with the options of the stage; return the statuses."""
    statuses = set()
    for start in range(0, len(wanted), TRACKS_A_FILE):
        rows = [extract_track(track, SETTINGS) for track in wanted[start : start + TRACKS_A_FILE]]
        for table in tables_of(SETTINGS):
            pq.write_table(
                table.of(rows),
                folder / f"{table.name}-{start}.parquet",
                compression="zstd",
                use_dictionary=["track_id"],
                write_statistics=table.plain_columns,
            )
        statuses |= {row["status"] for row in rows}
    return statuses


def with_one_worker(call: Callable[[], Result]) -> Result:
    """Make a call while a task that only waits holds one of the two workers; both stay warm for the next call."""
    import ray

    @ray.remote(num_cpus=1)
    def wait_for(released: str) -> None:
        while not Path(released).exists():
            time.sleep(0.01)

    with tempfile.TemporaryDirectory() as folder:
        released = Path(folder) / "released"
        waiting = wait_for.remote(str(released))
        while ray.available_resources().get("CPU", 0) > 1:
            time.sleep(0.01)
        try:
            return call()
        finally:
            released.touch()
            ray.get(waiting)


def halves_seconds(processes: list[Executor], wanted: list[Wanted]) -> float:
    """Return the wall seconds of extracting tracks in plain processes that share them."""

    def share() -> set[str]:
        parts = [wanted[i :: len(processes)] for i in range(len(processes))]
        running = [process.submit(computed, part) for process, part in zip(processes, parts, strict=True)]
        return set[str]().union(*(done.result() for done in running))

    statuses, seconds = wall(share)
    if statuses != {"ok"}:
        sys.exit(f"expected every track to be ok, found {sorted(statuses)}")
    return seconds


def plain_processes(template: Path, repeats: int) -> list[object]:
    """Return the row of two plain processes against one."""
    tracks = Store(template).read("tracks", ["track_id", "uri"]).to_pylist()
    wanted = [Wanted(track["track_id"], track["uri"], "") for track in tracks]
    one, two = [], []
    with ExitStack() as open_:
        start = get_context("spawn")
        processes = [open_.enter_context(ProcessPoolExecutor(1, start)) for _ in range(2)]
        halves_seconds(processes, wanted[:20])  # both compile
        for _ in range(repeats):
            one.append(halves_seconds(processes[:1], wanted))
            two.append(halves_seconds(processes, wanted))
    speedup = median(one) / median(two)
    return ["one plain process / two", f"{median(one):.2f}", f"{median(two):.2f}", f"{speedup:.2f} ×", ""]


def workers(template: Path, repeats: int) -> list[list[object]]:
    """Return the rows of two workers against one, and of two plain processes against one."""
    one, two = [], []
    for _ in range(repeats):
        one.append(with_one_worker(lambda: run_stage(template)).wall_s)
        two.append(run_stage(template).wall_s)
    speedup = median(one) / median(two)
    bar = f"≥ {BAR_SPEEDUP} × {verdict(speedup >= BAR_SPEEDUP)}"
    stage = ["one worker / two workers", f"{median(one):.2f}", f"{median(two):.2f}", f"{speedup:.2f} ×", bar]
    return [stage, plain_processes(template, repeats)]


def overhead(template: Path, repeats: int) -> list[list[object]]:
    """Return the rows of the stage with one worker against the plain loops, and against its time inside tracks."""
    stage, loop, writing, tracks = [], [], [], []
    for _ in range(repeats):
        loop.append(loop_seconds(template))
        writing.append(loop_seconds(template, write=True))
        ran = with_one_worker(lambda: run_stage(template))
        stage.append(ran.wall_s)
        tracks.append(ran.tracks_s)
    return [
        compared("loop that computes", stage, loop, BAR_OVERHEAD),
        compared("loop that writes too", stage, writing),
        compared("its own tracks", stage, tracks),
    ]


def compared(name: str, stage: list[float], other: list[float], bar: float | None = None) -> list[object]:
    """Return the row of the stage with one worker against something else."""
    share = median(stage) / median(other) - 1
    judged = "" if bar is None else f"≤ {bar:.0%} {verdict(share <= bar)}"
    return [f"one worker / {name}", f"{median(stage):.2f}", f"{median(other):.2f}", f"{share:+.1%}", judged]


def cold(clips: list[Path], cache: str) -> list[float]:
    """Return the seconds to the first track of a new process with this numba cache, and from there to the second."""
    started = time.time()
    command = [sys.executable, "-c", COLD, *map(str, clips[:2])]
    environment = os.environ | {"NUMBA_CACHE_DIR": cache}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    lines = [line.split() for line in done.stdout.splitlines()]
    if done.returncode or [status for status, _ in lines] != ["ok", "ok"]:
        sys.exit(f"expected two tracks ok, found {lines}: {done.stderr.strip()[-300:]}")
    first, second = (float(at) for _, at in lines)
    return [first - started, second - first]


def main() -> None:
    """Print one table for Ray and one for the start."""
    p = parser(__doc__, "python -m benchmarks.extract.scaling --parts workers --files 200 --repeats 2")
    parts = ("workers", "overhead", "cold")
    p.add_argument("--parts", nargs="+", choices=parts, default=parts, help="these parts alone")
    p.add_argument("--files", type=int, default=1000, help="tracks a run of the stage (default 1000)")
    p.add_argument("--repeats", type=int, default=3, help="runs of each (default 3)")
    options = p.parse_args()
    one_thread()
    clips = audio_files(options.data / "gtzan")
    print_machine("ray", "librosa", "numba", "pyarrow")
    if "cold" in options.parts:
        with tempfile.TemporaryDirectory() as cache:
            rows = [[name, *(f"{s:.2f}" for s in cold(clips, cache))] for name in ("empty numba cache", "its cache")]
        print_table(["new process", "first track s", "second track s"], rows)
        print(f"bar: first ≤ {BAR_COLD_S:g} s {verdict(float(str(rows[0][1])) <= BAR_COLD_S)}\n")
    if "cold" in options.parts and len(options.parts) == 1:
        return
    os.environ.pop("RAY_ADDRESS", None)
    with tempfile.TemporaryDirectory() as folder:
        template = catalogued(Path(folder) / "out", clips, options.files)
        import ray

        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        run_stage(catalogued(Path(folder) / "warm", clips, min(options.files, 100)))  # both workers compile
        loop_seconds(Path(folder) / "warm")
        measured = {"workers": workers, "overhead": overhead}
        rows = [row for part in measured if part in options.parts for row in measured[part](template, options.repeats)]
        ray.shutdown()
    print_table([f"{options.files} tracks", "first s", "second s", "result", "bar"], rows)


if __name__ == "__main__":
    main()
