"""Which process to kill, and when: in every stage in turn, whatever its processes do then.

A run has two targets for each stage that it goes through. After a kill the command, given again where it has ended, is
killed there again, and then in the next stage, so that restarts are killed too.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.chain.kills_command import STAGES, Command
from benchmarks.chain.kills_pointers import is_publishing

PUBLISH = "publish"  # the part of the stage similar in which a version is written and swapped in, and older ones go
PLACES = ("extract", "train", "embed", "similar", PUBLISH)
WORK = "busy worker"
KINDS = (WORK, "driver", "raylet", "gcs_server", "idle worker")
KILLS_IN_A_PLACE = 2  # of one run: the second is often that of a restart
SECONDS_OF_WORK = 0.5  # a worker is killed within so many seconds after it was first seen at work
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
    """Return the targets of a run, in order; over three runs each kind of process is killed in each place.

    Parameters
    ----------
    command : str
        ``run``, or ``refresh``, which trains nothing.
    number : int
        Number of the run.
    stage_s : dict
        Seconds of each stage in a run that was left alone, and of ``PUBLISH``.
    rng : numpy.random.Generator
        Draws the moments.
    """
    places = [place for place in PLACES if command == "run" or place != "train"]
    found = []
    for place, i in product(places, range(KILLS_IN_A_PLACE)):
        turn = KILLS_IN_A_PLACE * number + i + PLACES.index(place)
        kind = KINDS[turn % len(KINDS)] if place != PUBLISH else "driver"
        most = min(stage_s.get(place, 0.0), SECONDS_OF_WORK if kind == WORK else float("inf"))
        found.append(Target(place, kind, float(rng.uniform(0, most))))
    return found


def strike(command: Command, target: Target, out: str) -> str | None:
    """Kill a process of a kind where it is wanted; return what it did, or None if the command has passed that place."""
    first_seen = None
    while command.wait(0) is None and not _has_passed(command.stage, target.place):
        if first_seen or _is_at(command.stage, target.place, out):  # what tidies up after the swap is killed too
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


def _is_at(stage: str, place: str, out: str) -> bool:
    return stage == "similar" and is_publishing(out) if place == PUBLISH else stage == place


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
