"""Peak memory of the extract stage: a worker's and the driver's, for catalogs of any size and for a three-hour file.

Each line is one run of the stage in a new process with two Ray workers. The peak is VmHWM of Linux, which includes the
libraries and what processes share. Flat means: no more for a larger catalog or a longer file. Catalogs list real clips
over and over. The long file is synthetic: thirty seconds of chords in noise, repeated for three hours.
"""

import logging
import multiprocessing
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr
from functools import partial
from io import BytesIO, StringIO
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

import numpy as np
import soundfile as sf

from benchmarks.shared.common import audio_files, catalogued, one_thread, parser, print_machine, print_table, verdict
from musicrec.settings import ExtractSettings
from musicrec.stages.extract.stage import extract
from musicrec.store.store import Store

RATE = 48000  # at this rate, an mp3 of constant bit rate has frames of one size
LONG_HOURS = 3
BLOCK_S = 30
SECONDS_BETWEEN_LOOKS = 0.2
BAR_GROWTH = 1.1  # most that the largest catalog and the longest file may take, of what 100 tracks take


class Peaks(NamedTuple):
    """Peak memory of one run, in MB, and what it did."""

    worker_mb: float
    driver_mb: float
    tracks: int
    ok: int


def measure(out: Path) -> Peaks:
    """Run the extract stage in this process, which must be a new one."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    workers, ended = dict[int, float](), Event()
    watch = Thread(target=watch_workers, args=(os.getpid(), workers, ended))
    watch.start()
    try:
        with redirect_stderr(StringIO()):
            counts = extract(Store(out), ExtractSettings())
    finally:
        ended.set()
        watch.join()
        driver_mb = peak_mb(os.getpid())
        ray.shutdown()
    return Peaks(max(workers.values()), driver_mb, counts.total, counts.ok)


def watch_workers(driver: int, peaks: dict[int, float], ended: Event) -> None:
    """Note the peak memory of each Ray worker below the driver until the run has ended."""
    while True:
        last = ended.wait(SECONDS_BETWEEN_LOOKS)
        for pid in descendants(driver):
            try:
                is_worker = Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::")
                peaks |= {pid: peak_mb(pid)} if is_worker else {}
            except OSError:  # it has just ended
                continue
        if last:
            return


def descendants(pid: int) -> Iterator[int]:
    """Yield every process below one."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found = children.read_text().split()
        except OSError:
            continue
        for child in found:
            yield int(child)
            yield from descendants(int(child))


def peak_mb(pid: int) -> float:
    """Return the largest resident memory that a process has had, in MB."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(match[1]) / 1000 if match else 0.0


def write_long(file: Path) -> None:
    """Write three hours of stereo, in blocks, so that writing them takes little memory itself."""
    rng = np.random.default_rng(0)
    t = np.arange(BLOCK_S * RATE)[:, None] / RATE
    tone = np.sin(2 * np.pi * t * (220 * 2 ** (np.floor(2 * t) % 12 / 12)))
    block = (0.2 * tone + 0.05 * rng.normal(size=(len(t), 2))).astype(np.float32)
    n_blocks = LONG_HOURS * 3600 // BLOCK_S
    if file.suffix == ".mp3":  # encoding them all takes minutes; frames of constant size can be repeated
        encoded = BytesIO()
        sf.write(encoded, block, RATE, format="MP3", bitrate_mode="CONSTANT", compression_level=0.6)
        raw = encoded.getvalue()
        frames = raw[raw.index(raw[:2], 4) :]  # the first only says how long thirty seconds are
        with file.open("wb") as f:
            f.writelines(frames for _ in range(n_blocks))
        return
    with sf.SoundFile(file, "w", RATE, 2) as f:
        for _ in range(n_blocks):
            f.write(block)


def run(clips: list[Path], n: int) -> tuple[Peaks, float]:
    """Return the peaks of the stage over `n` tracks, and the size of their audio in MB."""
    size_mb = sum(clips[i % len(clips)].stat().st_size for i in range(n)) / 1e6
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(measure, catalogued(Path(folder) / "out", clips, n)).result(), size_mb


def run_long(kind: str) -> tuple[Peaks, float]:
    """Return the same for one long file of a kind, made for this."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"synthetic.{kind}"
        write_long(file)
        return run([file], 1)


def main() -> None:
    """Print one line for each run."""
    p = parser(__doc__, "python -m benchmarks.extract.memory --files 1 100 --formats flac")
    p.add_argument("--files", type=int, nargs="*", default=[1, 100, 5000], help="catalog sizes (default 1 100 5000)")
    formats = ("wav", "flac", "mp3")
    p.add_argument("--formats", nargs="*", choices=formats, default=formats, help="of the long file (default all)")
    options = p.parse_args()
    one_thread()
    if not Path("/proc/self/status").exists():
        sys.exit("no /proc here: peak memory is read from Linux")
    clips = audio_files(options.data / "gtzan")
    print_machine("ray", "librosa", "numba", "pyarrow")
    os.environ.pop("RAY_ADDRESS", None)
    runs = {f"{n} tracks": partial(run, clips, n) for n in options.files}
    runs |= {f"synthetic {LONG_HOURS} h {kind}": partial(run_long, kind) for kind in options.formats}
    found = {name: call() for name, call in runs.items()}
    rows = [
        [name, f"{size_mb:.0f}", f"{peaks.worker_mb:.0f}", f"{peaks.driver_mb:.0f}", f"{peaks.ok}"]
        for name, (peaks, size_mb) in found.items()
    ]
    print_table(["run", "audio MB", "worker peak MB", "driver peak MB", "tracks ok"], rows)
    expected = [*options.files, *(1 for _ in options.formats)]
    lines, ok = judge({name: peaks for name, (peaks, _) in found.items()}, expected)
    print(*lines, sep="\n")
    sys.exit(not ok)


def judge(found: dict[str, Peaks], expected: list[int]) -> tuple[list[str], bool]:
    """Return a line for each bar, and whether all were reached; a run that lost a track reaches none."""
    lost = [f"{name}: {peaks.ok} of {n} tracks" for (name, peaks), n in zip(found.items(), expected, strict=True)
            if peaks.ok != n]  # fmt: skip
    name = "100 tracks" if "100 tracks" in found else next(iter(found))
    growth = max(peaks.worker_mb for peaks in found.values()) / found[name].worker_mb
    ok = not lost and growth <= BAR_GROWTH
    lines = [
        f"every track decoded: {verdict(not lost)}{''.join(f'; {one}' for one in lost)}",
        f"largest worker over that of {name}: {growth:.2f}; bar ≤ {BAR_GROWTH} {verdict(ok)}",
    ]
    return lines, ok


if __name__ == "__main__":
    main()
