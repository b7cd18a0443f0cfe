"""The chain under kill -9: in each stage in turn a process is killed, and the same command is given again.

A synthetic catalog changes from run to run. Each run is done twice: left alone into one OUT, and into another OUT with
processes killed: two in each stage, and two while a version of the lists is published. It may be the driver, the
raylet, the gcs_server, an idle worker, or a worker at one of its tasks, at a random moment of the stage or task. The
command is given again until it ends with 0, at once or, every other time, when what was left of Ray has ended; what was
given again is killed there again, or in its next stage. Then all tables must equal those of the OUT that was left
alone, value by value, with each song once. A reader looks at the published tables several times a second. It must only
see whole ones, each equal to one of the other OUT; a file may be gone for it only while another version is published.

With --s3, the OUT of the killed runs lies in a bucket of a real S3-compatible server, which they reach through a proxy
that breaks requests, and cuts uploads. The reader, and the checks, reach it past the proxy.
"""

import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.chain.kills_bucket import HEAD as REQUESTS
from benchmarks.chain.kills_bucket import Bucket, bucket_behind_faults
from benchmarks.chain.kills_command import SONGS_PER_LIST, Command
from benchmarks.chain.kills_pointers import version_of
from benchmarks.chain.kills_reader import WAYS, watch
from benchmarks.chain.kills_tables import KEYS, Accounts, accounts, differences, digest, leftovers, read
from benchmarks.chain.kills_targets import PLACES, PUBLISH, Kill, Target, by_place, fewest, strike, targets
from benchmarks.shared.common import print_machine, print_table, verdict
from musicrec.stages.catalog.synthetic import write_catalog

MOST_RESTARTS = 3  # without a kill in between
LEAST_KILLS = 8  # in each place, then no more runs are needed
LIMIT_S = 400.0  # a command that takes longer hangs
ENDING_S = 5.0  # Ray has so long to end by itself
PUBLISH_S = 0.03  # a version of the lists is written, and swapped in, in about so long
PUBLISH_TO_BUCKET_S = 1.0


# --- the catalog --------------------------------------------------------------------------------------------------


def change(source: Path, pool: Path, number: int, rng: np.random.Generator) -> str:
    """Add, change and remove a few songs; sometimes break one. Return how many, in words."""
    songs, others = sorted(source.glob("*/*.*")), sorted(p for p in pool.glob("*/*.*") if p.stat().st_size > 10_000)
    n_added, n_changed, n_removed = rng.integers(1, 4, 3)
    picked = [songs[i] for i in rng.permutation(len(songs))[: n_changed + n_removed]]
    for path in picked[n_changed:]:
        path.unlink()
    for path in picked[:n_changed]:
        if rng.random() < 0.2:
            path.write_bytes(path.read_bytes()[:40])
        else:
            same = [p for p in others if p.suffix == path.suffix]
            shutil.copyfile(same[rng.integers(len(same))], path)
    for i in range(n_added):
        song = others[rng.integers(len(others))]
        shutil.copyfile(song, source / song.parent.name / f"added-{number:03d}-{i}{song.suffix}")
    return f"+{n_added} ~{n_changed} -{n_removed}"


# --- one run ------------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """A run of the chain, some processes of which were killed."""

    number: int
    what: str  # command and changes of the catalog
    undisturbed_s: float
    kills: list[Kill] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)  # places that were passed before the process was found
    codes: list[int | None] = field(default_factory=list)  # with which the command ended; None: it hung
    at_once: bool = False
    left_running: int = 0  # processes that had to be killed
    seconds: float = 0.0
    found: Accounts = field(default_factory=lambda: Accounts([], []))
    faults: list[str] = field(default_factory=list)

    def row(self) -> list[object]:
        """Return the row of the table."""
        codes = " ".join("hung" if code is None else str(code) for code in self.codes)
        kills = ", ".join(f"{kill.place}: {kill.activity}" for kill in self.kills)
        found = [len(self.found.lost), len(self.found.doubled), len(self.faults)]
        return [self.number, self.what, f"{self.undisturbed_s:.1f}", f"{self.seconds:.1f}", kills or "none",
                " ".join(self.missed), codes, "yes" if self.at_once else "", self.left_running, *found]  # fmt: skip


HEAD = ("run", "command", "alone s", "took s", "killed", "missed", "codes", "at once", "left running", "lost",
        "doubled", "faults")  # fmt: skip


def disturbed(arguments: list[str], run: Run, wanted: list[Target], log: Path, environment: Mapping[str, str]) -> None:
    """Give a command, kill its processes one after the other, and give it again until it ends with 0."""
    started, wanted, before, in_vain = time.monotonic(), list(wanted), list[Command](), 0
    while True:
        before.append(command := Command(arguments, log.with_name(f"{log.name}-{len(before)}"), environment))
        n_kills = len(run.kills)
        kill_all(command, run, wanted, arguments[1])
        code = command.wait(LIMIT_S)
        run.codes.append(code)
        if code == 0:
            break
        in_vain = 0 if len(run.kills) > n_kills else in_vain + 1
        if in_vain > MOST_RESTARTS:
            run.faults.append(f"given {in_vain} times without success: {code}, {command.complaint}")
            break
        if code is None:
            run.faults.append(f"hung in {command.stage} after a kill")
        if code is None or not run.at_once:
            run.left_running += command.clean_up(0 if code is None else ENDING_S)
    run.missed += [target.place for target in wanted]
    run.seconds = time.monotonic() - started
    command.clean_up(ENDING_S)
    run.left_running += sum(one.clean_up(0) for one in before)


def kill_all(command: Command, run: Run, wanted: list[Target], out: str) -> None:
    """Kill one process after the other as long as the command runs; leave those wanted that it did not come to."""
    while wanted and command.wait(0) is None:
        target = wanted[0]
        activity = strike(command, target, out)
        if activity:
            run.kills.append(Kill(run.what.split()[0], target.place, activity, is_restart=bool(run.codes)))
        elif command.wait(0) not in (None, 0):
            return  # the kill before has ended it
        else:
            run.missed.append(target.place)
        wanted.pop(0)


def undisturbed(arguments: list[str], log: Path) -> tuple[float, dict[str, float]]:
    """Give a command, leave it alone and return its seconds, also by stage; try again where Ray is slow to start."""
    for _ in range(1 + MOST_RESTARTS):
        command, started, stage_s = Command(arguments, log), time.monotonic(), dict[str, float]()
        code, last = None, started
        while code is None and last < started + LIMIT_S:
            code, now, stage = command.wait(0), time.monotonic(), command.stage
            stage_s[stage] = stage_s.get(stage, 0.0) + now - last
            last = now
            time.sleep(0.05)
        command.clean_up(ENDING_S)
        if code == 0:
            return last - started, stage_s
    sys.exit(f"{' '.join(arguments)} failed, and nothing was killed: {command.complaint}")


# --- all runs -----------------------------------------------------------------------------------------------------


@contextmanager
def watched(out: str, folder: Path) -> Iterator[Path]:
    """Let a reader look at the tables; yield the file with what it has seen, which exists afterwards."""
    spawn = multiprocessing.get_context("spawn")
    is_over, seen = spawn.Event(), folder / "seen.json"
    reader = spawn.Process(target=watch, args=(out, is_over, seen), daemon=True)
    reader.start()
    try:
        yield seen
    finally:
        is_over.set()
        reader.join(60)


@contextmanager
def ray_of_its_own() -> Iterator[None]:
    """Let Ray keep its files in a temporary folder, apart from all other Rays."""
    os.environ.pop("RAY_ADDRESS", None)
    with tempfile.TemporaryDirectory(prefix="kills-", ignore_cleanup_errors=True) as folder:
        os.environ["RAY_TMPDIR"] = folder
        yield


class Runs:
    """Runs on a changing catalog, and the tables of each run in which nothing was killed.

    Parameters
    ----------
    folder : pathlib.Path
        New folder for songs, tables and logs.
    seed : int
        Another seed changes and kills others.
    songs_per_style : int
        How many songs the catalog has at first, of each style.
    bucket : Bucket, optional
        Where the tables of the killed runs are; in the folder by default.
    """

    def __init__(self, folder: Path, seed: int, songs_per_style: int, bucket: Bucket | None = None) -> None:
        self.source, self.pool, self.logs = (folder / name for name in ("songs", "pool", "logs"))
        self.control, self.seed = str(folder / "control"), seed
        self.out, self.environment = (bucket.out, bucket.environment) if bucket else (str(folder / "out"), {})
        self.publish_s = PUBLISH_TO_BUCKET_S if bucket else PUBLISH_S
        self.contents: dict[str, list[str]] = {"similar": [], "features": []}
        self.logs.mkdir(parents=True)
        write_catalog(self.source, songs_per_style=songs_per_style, seconds=1.5, seed=seed)
        write_catalog(self.pool, songs_per_style=songs_per_style, seconds=1.5, seed=seed + 1)

    def __call__(self, number: int, name: str) -> Run:
        """Do one run: ``run``, or ``refresh``, which trains nothing."""
        rng = np.random.default_rng((self.seed, number))
        changes = change(self.source, self.pool, number, rng) if number else "new"
        options = ["-n", str(SONGS_PER_LIST), "--epochs", "8", "--space", "embeddings"] if name == "run" else []

        def arguments(out: str) -> list[str]:
            return [name, out, "--source", str(self.source), *options]

        alone_s, stage_s = undisturbed(arguments(self.control), self.logs / f"{number:03d}-control")
        for table, contents in self.contents.items():
            contents.append(digest(read(self.control, table), KEYS[table]))
        wanted = targets(name, number, {**stage_s, PUBLISH: self.publish_s}, rng)
        run = Run(number, f"{name} {changes}", alone_s, at_once=bool(rng.random() < 0.5))
        disturbed(arguments(self.out), run, wanted, self.logs / f"{number:03d}", self.environment)
        run.found = accounts(self.out, self.source)
        run.faults += [*differences(self.out, self.control), *leftovers(self.out)]
        return run

    def reader_faults(self, seen: dict[str, Any]) -> list[str]:
        """Return the reader's complaints, then the tables it saw that no undisturbed run published in that order."""
        faults = [f"reader {way}: {fault}" for way, told in seen["faults"].items() for fault in told]
        for way, contents in seen["contents"].items():
            rest = iter(self.contents[WAYS[way][0]])
            strange = [content for content in contents if content not in rest]
            faults += [f"reader {way}: a table that no undisturbed run has published" for _ in strange]
        for way, swapped in seen["swapped"].items():
            published = int(version_of(self.out, WAYS[way][0]).partition("-")[0] or 0)
            if swapped > published:
                faults.append(f"reader {way}: {swapped} looks met a swap, and {published} versions were published")
        return faults


def main() -> None:
    """Kill, compare, and print what came of it; exit code 1 if anything that must hold does not."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs", type=int, default=20, help=f"at most; fewer do if each place has met {LEAST_KILLS} kills"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--songs-per-style", type=int, default=5, help="of twelve styles, and nine files more")
    parser.add_argument("--out", type=Path, required=True, help="new folder for songs, tables and logs")
    parser.add_argument("--s3", action="store_true", help="let the OUT of the killed runs lie in a bucket")
    parser.add_argument("--broken", type=float, default=0.05, help="share of the requests to the bucket to break")
    options = parser.parse_args()
    print_machine("ray", kept_as="s3" if options.s3 else "")
    folder = options.out.absolute()
    where = bucket_behind_faults(folder / "s3", options.broken, options.seed) if options.s3 else nullcontext()
    with ray_of_its_own(), where as bucket:
        runs, done = Runs(folder, options.seed, options.songs_per_style, bucket), list[Run]()
        with watched(runs.out, folder) as seen_file:
            while len(done) < options.runs and fewest(all_kills(done))[1] < LEAST_KILLS:
                wanted = fewest(all_kills(done))[0]
                done.append(runs(len(done), "refresh" if wanted == "refresh" else "run"))
                print(*done[-1].row(), *done[-1].faults, sep="  ", flush=True)
        seen = json.loads(seen_file.read_text(encoding="utf-8"))
        code = report(done, seen, runs.reader_faults(seen), bucket)
    sys.exit(code)


def all_kills(done: list[Run]) -> list[Kill]:
    """Return the kills of all runs."""
    return [kill for run in done for kill in run.kills]


def report(done: list[Run], seen: dict[str, Any], reader_faults: list[str], bucket: Bucket | None = None) -> int:
    """Print the tables and the verdict; return the exit code."""
    print()
    if bucket:
        print_table(REQUESTS, [bucket.row()])
    print_table(HEAD, [run.row() for run in done])
    kills = all_kills(done)
    print_table(("killed", *PLACES, "of a refresh", "of a restart", "all"), by_place(kills))
    print_table(
        ("reader", "looks", "contents seen", "swapped while listing", "faults"),
        [(way, seen["looks"].get(way, 0), len(seen["contents"].get(way, [])), seen["swapped"].get(way, 0),
          len(seen["faults"].get(way, []))) for way in WAYS],
    )  # fmt: skip
    faults = [
        f"run {run.number}: {fault}" for run in done for fault in (*run.found.lost, *run.found.doubled, *run.faults)
    ]
    print(*faults, *reader_faults, sep="\n")
    lost, doubled = (sum(len(run.found[i]) for run in done) for i in (0, 1))
    restarts = sum(len(run.codes) - 1 for run in done)
    ok = not faults and not reader_faults and all(seen["looks"].get(way) for way in WAYS)
    looks, others = sum(seen["looks"].values()), len(faults) - lost - doubled
    print(
        f"{len(kills)} kills, {restarts} restarts: {lost} songs lost, {doubled} doubled, {others} other faults, "
        f"{len(reader_faults)} tables not whole in {looks} looks: {'held' if ok else 'BROKEN'}"
    )
    place, n = fewest(kills)
    print(f"≥ {LEAST_KILLS} kills in each place: {verdict(n >= LEAST_KILLS)}; {n} in {place}")
    return 0 if ok else 1


if __name__ == "__main__":
    main()
