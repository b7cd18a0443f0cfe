"""Nights after a first run: CPU seconds of `musicrec refresh` when one song in a hundred changed, and when none did.

The songs are simulated: each is thirty seconds cut somewhere from real recordings, encoded one after the other as FMA's
clips are, in a folder whose genre means nothing. The first run decodes all of them and trains mlp. On each later night
a third of one per cent is added, as many are changed and as many removed. CPU time is that of the command with all of
its Ray, the start of both included, as a scheduler would see it.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from benchmarks.chain.fma_layout import GENRES, write_pool
from benchmarks.shared.common import one_thread, parser, print_machine, print_table, verdict
from musicrec.monitor.cpu_time import CpuMeter

CLIP_BYTES = 960_000  # 30 s at 256 kbit/s
SYNC, FRAME_BYTES = b"\xff\xfb", 144 * 256_000 // 44_100  # a frame of MPEG-1 Layer III may have one byte more
BAR_CHANGED, BAR_NOTHING_S = 0.05, 60.0


class Night(NamedTuple):
    """What one run of the command took, and its own report."""

    name: str
    wall_s: float
    cpu_s: float
    report: dict[str, Any]


class Songs:
    """The source, which changes from night to night."""

    def __init__(self, folder: Path, data: Path, n_clips: int, seed: int) -> None:
        self.folder, self._rng, self._written = folder / "songs_simulated", np.random.default_rng(seed), 0
        self._recordings = b"".join(file.read_bytes() for file in write_pool(folder / "pool", data, n_clips))
        starts = np.array(list(frame_starts(self._recordings)))
        self._starts = starts[starts <= len(self._recordings) - CLIP_BYTES]
        for genre in GENRES:
            (self.folder / genre).mkdir(parents=True)

    def add(self, n: int) -> None:
        """Add songs."""
        for number in range(self._written, self._written + n):
            self._cut(self.folder / GENRES[number % len(GENRES)] / f"{number:06d}.mp3")
        self._written += n

    def change(self, n: int) -> None:
        """Add so many songs, change as many, remove as many."""
        songs = sorted(self.folder.glob("*/*.mp3"))
        picked = [songs[i] for i in self._rng.permutation(len(songs))[: 2 * n]]
        for song in picked[:n]:
            self._cut(song)
        for song in picked[n:]:
            song.unlink()
        self.add(n)

    def _cut(self, song: Path) -> None:
        start = self._rng.choice(self._starts)
        song.write_bytes(self._recordings[start : start + CLIP_BYTES])


def frame_starts(recordings: bytes) -> Iterator[int]:
    """Yield where frames begin; a file that begins elsewhere takes its readers long to find the first one."""
    at = recordings.index(SYNC)
    while recordings.startswith(SYNC, at):
        yield at
        at += FRAME_BYTES + (recordings[at + 2] >> 1 & 1)


def night(name: str, folder: Path, songs: Songs) -> Night:
    """Run the command."""
    command = [sys.executable, "-m", "musicrec", "refresh", str(folder / "out"), "--source", str(songs.folder)]
    without_models = os.environ | {"MUSICREC_CACHE": str(folder / "cache")}  # the same chain on every machine
    with CpuMeter() as meter:
        before, started = meter.seconds() or 0, time.monotonic()
        ended = subprocess.run(command, capture_output=True, text=True, check=False, env=without_models)
        wall_s, cpu_s = time.monotonic() - started, (meter.seconds() or 0) - before
    if ended.returncode:
        sys.exit(f"the run failed: {ended.stderr.strip().splitlines()[-1]}")
    report = json.loads(max((folder / "out" / "_runs").glob("*.json")).read_text(encoding="utf-8"))
    print(f"{name}: {wall_s:.0f} s", flush=True)
    return Night(name, wall_s, cpu_s, report)


def run(folder: Path, asked: Namespace) -> None:
    """Run the nights and print what they took."""
    songs = Songs(folder, asked.data, asked.clips, asked.seed)
    songs.add(asked.songs)
    first, changed, unchanged = night("first", folder, songs), [], []
    for number in range(asked.nights):
        songs.change(max(1, asked.songs // 300))
        changed.append(night(f"1 % changed, {number + 1}", folder, songs))
        unchanged.append(night(f"nothing changed, {number + 1}", folder, songs))
    print()
    nights = [first, *changed, *unchanged]
    stages = list(first.report["stages"])
    kinds = ("added", "changed", "removed")
    print_table(
        ["night", *kinds, "decoded", "wall s", "CPU s", "of first", *(f"{stage} CPU s" for stage in stages)],
        [[n.name, *(n.report["songs"][kind] for kind in kinds), n.report["decoded"], f"{n.wall_s:.1f}",
          f"{n.cpu_s:.1f}", f"{n.cpu_s / first.cpu_s:.2%}",
          *(f"{n.report['stages'][stage]['cpu_seconds']:.1f}" for stage in stages)] for n in nights],
    )  # fmt: skip
    share, longest = median(n.cpu_s for n in changed) / first.cpu_s, max(n.wall_s for n in unchanged)
    decoded = sum(n.report["decoded"] for n in unchanged)
    print(f"1 % changed: {share:.2%} of the first run's CPU; bar ≤ {BAR_CHANGED:.0%} {verdict(share <= BAR_CHANGED)}")
    print(
        f"nothing changed: {longest:.1f} s, {decoded} songs decoded; bar ≤ {BAR_NOTHING_S:.0f} s and none decoded "
        f"{verdict(longest <= BAR_NOTHING_S and not decoded)}"
    )


def main() -> None:
    """Print the table."""
    p = parser(__doc__, "python -m benchmarks.chain.nightly --songs 1000 --nights 1")
    p.add_argument("--songs", type=int, default=10_000, help="of the first run (default 10000, 10 GB on disk)")
    p.add_argument("--nights", type=int, default=3, help="with 1 %% changed, each followed by one without (default 3)")
    p.add_argument("--clips", type=int, default=40, help="of half a minute, that songs are cut out of (default 40)")
    p.add_argument("--seed", type=int, default=0, help="of what is cut and what changes (default 0)")
    p.add_argument("--folder", type=Path, help="keep songs and OUT here (default a temporary folder)")
    asked = p.parse_args()
    one_thread()
    print_machine("ray", "librosa", "tensorflow")
    with tempfile.TemporaryDirectory() as temporary:
        run(asked.folder or Path(temporary), asked)


if __name__ == "__main__":
    main()
