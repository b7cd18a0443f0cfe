"""The report's table of what each stage took when it last made something, from the reports of runs in ``OUT/_runs``."""

import datetime
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from musicrec.files.paths import children, read_bytes
from musicrec.store.store import Store

RUNS = "_runs"
MOST_RUNS = 50  # to read: in a bucket, each takes some hundredths of a second
Figures = Mapping[str, Mapping[str, Any]]  # seconds, cpu_seconds and fresh of each stage of one run


class StageTime(NamedTuple):
    """What a stage took."""

    stage: str
    began: str  # when the run began, ISO 8601
    made: int | None  # songs that the stage made something of; None for a stage that does not count them
    seconds: float
    cpu_seconds: float | None  # None if the workers were on other machines

    @property
    def cpu_ms_a_song(self) -> float | None:
        """CPU time of each song made, in milliseconds."""
        return 1000 * self.cpu_seconds / self.made if self.made and self.cpu_seconds is not None else None


def times(store: Store, now: tuple[str, Figures] | None = None) -> list[StageTime]:
    """Return what each stage took in the last run in which it made something, in the order in which they began.

    Parameters
    ----------
    store : Store
    now : tuple, optional
        When the run began that writes the report, and the figures of its stages so far.
    """
    found: dict[str, StageTime] = {}
    for began, stages in [*_runs(store), *([now] if now else [])]:
        for stage, figures in stages.items():
            time = _time(stage, began, figures)
            if time and (time.made != 0 or stage not in found):
                found.pop(stage, None)
                found[stage] = time
    return list(found.values())


def _runs(store: Store) -> list[tuple[str, Figures]]:
    """Return when each of the last runs began, and the figures of its stages, the oldest first.

    A report that is damaged is left out.
    """
    runs: list[tuple[str, Figures]] = []
    for path in children(store.out / RUNS, "*.json")[-MOST_RUNS:]:
        try:
            run = json.loads(read_bytes(path))
            began = datetime.datetime.fromisoformat(run["started_at"])
            runs.append((began.isoformat(), {stage: dict(figures) for stage, figures in run["stages"].items()}))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return runs


def _time(stage: str, began: str, figures: Mapping[str, Any]) -> StageTime | None:
    """Return what a stage took; None if it has not ended, or its figures are none."""
    made, seconds, cpu = (figures.get(name) for name in ("fresh", "seconds", "cpu_seconds"))
    if not isinstance(seconds, int | float):
        return None
    return StageTime(stage, began, made, float(seconds), cpu)
