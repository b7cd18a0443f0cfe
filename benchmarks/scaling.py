"""The extract stage on Ray: two workers against one, Ray's own share of the time, and the start on a fresh node.

workers   wall time of the whole stage with two workers and with one (a task that only waits holds the other), in turns,
          Ray running and everything compiled; medians.
overhead  wall time of the stage with one worker against a plain loop of `extract_track` over the same files, in turns;
          medians. Publishing the tables is part of the stage, so it counts as overhead.
cold      a new process with an empty numba cache: seconds from its start to the first extracted track, and for the
          second; and the same once more, with the cache that the first has left.

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
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from statistics import median
from typing import NamedTuple

from common import Result, audio_files, catalogued, one_thread, parser, print_machine, print_table, verdict, wall

from musicrec.extract import Wanted, extract, extract_track
from musicrec.settings import ExtractSettings
from musicrec.storage import Store

SETTINGS = ExtractSettings()
BAR_SPEEDUP, BAR_OVERHEAD, BAR_COLD_S = 1.9, 0.05, 15.0
COLD = """
import sys, time
from musicrec.extract import Wanted, extract_track
from musicrec.settings import ExtractSettings
for path in sys.argv[1:]:
    row = extract_track(Wanted(path, path, ""), ExtractSettings())
    print(row["status"], time.time())
"""


class Stage(NamedTuple):
    """Seconds of one run of the extract stage."""

    wall_s: float
    tracks_s: float  # of it inside of tracks, summed over them


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


def loop_seconds(template: Path) -> float:
    """Wall seconds of extracting the same tracks one by one in this process."""
    tracks = Store(template).read("tracks", ["track_id", "uri"]).to_pylist()
    wanted = [Wanted(track["track_id"], track["uri"], "") for track in tracks]
    rows, seconds = wall(lambda: [extract_track(track, SETTINGS)["status"] for track in wanted])
    if set(rows) != {"ok"}:
        sys.exit(f"expected every track to be ok, found {sorted(set(rows))}")
    return seconds


def with_one_worker(call: Callable[[], Result]) -> Result:
    """Result of a call while a task that only waits holds one of the two workers; both stay warm for the next call."""
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


def workers(template: Path, repeats: int) -> list[list[object]]:
    """Row of two workers against one."""
    one, two = [], []
    for _ in range(repeats):
        one.append(with_one_worker(lambda: run_stage(template)).wall_s)
        two.append(run_stage(template).wall_s)
    speedup = median(one) / median(two)
    bar = f"≥ {BAR_SPEEDUP} × {verdict(speedup >= BAR_SPEEDUP)}"
    return [["one worker / two workers", f"{median(one):.2f}", f"{median(two):.2f}", f"{speedup:.2f} ×", bar]]


def overhead(template: Path, repeats: int) -> list[list[object]]:
    """Rows of the stage with one worker against the plain loop, and against what it spends inside of tracks."""
    stage, loop, tracks = [], [], []
    for _ in range(repeats):
        loop.append(loop_seconds(template))
        ran = with_one_worker(lambda: run_stage(template))
        stage.append(ran.wall_s)
        tracks.append(ran.tracks_s)
    share = median(stage) / median(loop) - 1
    bar = f"≤ {BAR_OVERHEAD:.0%} {verdict(share <= BAR_OVERHEAD)}"
    inside = median(stage) / median(tracks) - 1
    return [
        ["one worker / plain loop", f"{median(stage):.2f}", f"{median(loop):.2f}", f"{share:+.1%}", bar],
        ["one worker / its own tracks", f"{median(stage):.2f}", f"{median(tracks):.2f}", f"{inside:+.1%}", ""],
    ]


def cold(clips: list[Path], cache: str) -> list[float]:
    """Seconds to the first track of a new process with this numba cache, and from the first to the second."""
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
    p = parser(__doc__, "python benchmarks/scaling.py --parts workers --files 200 --repeats 2")
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
