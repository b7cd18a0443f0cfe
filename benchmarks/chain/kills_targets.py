"""Which process to kill, and when: in every stage in turn, whatever its processes do then.

A run has one target for each stage that it goes through. After a kill the command, given again where it has ended, is
killed in the next stage, so that restarts are killed too.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.chain.kills_command import STAGES, Command

PUBLISH = "publish"  # the part of the stage similar in which a version is written and swapped in
PLACES = ("extract", "train", "embed", "similar", PUBLISH)
WORK = "busy worker"
KINDS = (WORK, "driver", "raylet", "gcs_server", "idle worker")
SECONDS_OF_WORK = 0.5  # a worker is killed within so many seconds after it was first seen at work
SECONDS_OF_WRITING = 0.03
SECONDS_BETWEEN_LOOKS = 0.005


class Target(NamedTuple):
    """A kind of process to kill, where, and how many seconds after it was first seen there."""

    place: str
    kind: str
    delay_s: float


class Kill(NamedTuple):
    """A process that was killed: where, and what it did."""

    command: str
    place: str
    activity: str
    is_restart: bool


def targets(command: str, number: int, stage_s: dict[str, float], rng: np.random.Generator) -> list[Target]:
    """Return the targets of a run, in order; over five runs each kind of process is killed in each place.

    Parameters
    ----------
    command : str
        ``run``, or ``refresh``, which trains nothing.
    number : int
        Number of the run.
    stage_s : dict
        Seconds of each stage in a run that was left alone.
    rng : numpy.random.Generator
        Draws the moments.
    """
    places = [place for place in PLACES if command == "run" or place != "train"]
    found = []
    for place in places:
        kind = KINDS[(number + PLACES.index(place)) % len(KINDS)] if place != PUBLISH else "driver"
        stage = stage_s.get(place, 0.0)
        most = SECONDS_OF_WRITING if place == PUBLISH else min(stage, SECONDS_OF_WORK) if kind == WORK else stage
        found.append(Target(place, kind, float(rng.uniform(0, most))))
    return found


def strike(command: Command, target: Target, out: Path) -> str | None:
    """Kill a process of a kind where it is wanted; return what it did, or None if the command has passed that place."""
    first_seen = None
    while command.wait(0) is None and not _has_passed(command.stage, target.place):
        if _is_at(command.stage, target.place, out):
            pids = command.processes().get(target.kind, [])
            first_seen = first_seen or (time.monotonic() if pids else None)
            if pids and first_seen and time.monotonic() >= first_seen + target.delay_s:
                with suppress(OSError):  # that process has just ended: choose another
                    return _kill(pids[0], target.kind)
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return None


def _kill(pid: int, kind: str) -> str:
    """Kill a process; return its task if it is a busy worker, else its kind."""
    title = Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].decode(errors="replace")
    os.kill(pid, signal.SIGKILL)
    return f"at {title.removeprefix('ray::')}" if kind == WORK else kind


def _has_passed(stage: str, place: str) -> bool:
    order = [*STAGES, "end"]
    return order.index(stage) > order.index("similar" if place == PUBLISH else place)


def _is_at(stage: str, place: str, out: Path) -> bool:
    return stage == "similar" and is_publishing(out) if place == PUBLISH else stage == place


def is_publishing(out: Path) -> bool:
    """Return whether a version of the lists is there that is newer than the published one."""
    with suppress(OSError):
        newest = max((f.name for f in (out / "_versions" / "similar").iterdir() if f.is_dir()), default="")
        return newest > version_of(out, "similar")
    return False


def version_of(out: Path, name: str) -> str:
    """Return the name of the published version of a table, which begins with its number; empty if there is none."""
    with suppress(OSError):
        link = (out / name).readlink()
        return link.parent.name if link.name == "parts" else link.name
    return ""


def by_place(kills: list[Kill]) -> Iterator[tuple[Any, ...]]:
    """Yield a row for each activity, and one for all: kills by place, of a refresh, in restarts, and in all."""
    for activity in (*sorted({kill.activity for kill in kills}), "all"):
        its = [kill for kill in kills if activity in (kill.activity, "all")]
        counts = [sum(kill.place == place for kill in its) for place in PLACES]
        of_refresh, restarts = sum(kill.command == "refresh" for kill in its), sum(kill.is_restart for kill in its)
        yield activity, *counts, of_refresh, restarts, len(its)


def fewest(kills: list[Kill]) -> tuple[str, int]:
    """Return the place with the fewest kills, and their number; ``refresh`` counts as a place."""
    found = {place: sum(kill.place == place for kill in kills) for place in PLACES}
    found["refresh"] = sum(kill.command == "refresh" for kill in kills)
    place = min(found, key=lambda place: found[place])
    return place, found[place]
