"""The report of a command: ``OUT/_runs/<time>.json``, one file per run, written even if the run fails."""

import datetime
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import pyarrow.compute as pc

from musicrec import __version__
from musicrec.errors import Defect, Unread, exit_code_of
from musicrec.files.paths import AnyPath, children, make_folder, remove, write_atomic
from musicrec.monitor import log
from musicrec.monitor.cpu_time import CpuMeter
from musicrec.schemas import FAILED
from musicrec.serve.status import problems
from musicrec.store.made_with import made_with
from musicrec.store.outcomes import Counts
from musicrec.store.store import Store

FOLDER = "_runs"
FAILURES_NAMED = 5
KEPT = 400  # reports to keep: more than a year of nights

FAULTY = "some songs failed because of a bug in musicrec (see above); everything else is done"

UNREAD = "part of the source could not be read (see above); the songs there keep what they had, and all else is done"

Result = TypeVar("Result")
Songs = dict[str, str | None]  # content hash by track


@dataclass
class RunReport:
    """The report of one run. Times are in UTC."""

    command: str
    out: str
    started_at: str
    musicrec: str = __version__
    ended_at: str | None = None
    seconds: float = 0.0
    exit_code: int = 0
    error: str | None = None  # the error message, in one line
    songs: dict[str, int] = field(default_factory=dict)  # total, added, changed, moved, removed, if catalog has run
    decoded: int = 0
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)  # seconds, cpu_seconds and counts of each stage
    versions: dict[str, str] = field(default_factory=dict)  # of the libraries that made what is new
    faults: list[str] = field(default_factory=list)  # faults of musicrec that made songs fail in this run
    unread: list[str] = field(default_factory=list)  # what of the source could not be read
    problems: list[dict[str, Any]] = field(default_factory=list)  # stage, status, reason, tracks
    published: dict[str, dict[str, str | None]] = field(default_factory=dict)  # changed tables: version before and now
    gate: dict[str, Any] = field(default_factory=dict)  # figures of the published table; with churn if it is new


class Run:
    """A run on an OUT that the caller has locked; :func:`reported` makes it."""

    def __init__(self, store: Store, command: str, meter: CpuMeter | None) -> None:
        self.store = store
        self.report = RunReport(command, str(store.out), _time())
        self._meter = meter

    @property
    def path(self) -> AnyPath:
        """Path of the report."""
        started = datetime.datetime.fromisoformat(self.report.started_at)
        return self.store.out / FOLDER / f"{started:%Y%m%dT%H%M%S.%fZ}.json"

    @property
    def so_far(self) -> tuple[str, dict[str, dict[str, Any]]]:
        """When the run began, and the figures of its stages so far."""
        return self.report.started_at, self.report.stages

    def stage(self, name: str, function: Callable[[], Result]) -> Result:
        """Call a stage; record its time, even if it fails, and its counts."""
        figures = self.report.stages[name] = {}
        songs = _songs(self.store) if name == "catalog" else {}
        with self._timed(figures):
            result = function()
        if isinstance(result, Counts):
            figures |= {count: getattr(result, count) for count in ("ok", "skipped", "failed", "fresh")}
            if name == "catalog":
                moved = getattr(result, "moved", 0)
                self.report.songs = _changes(songs, _songs(self.store)) | {"moved": moved}
            self.report.faults += result.faults
            self.report.unread += result.unread
            if name == "extract":
                self.report.decoded = result.fresh
            if result.fresh:
                self.report.versions |= made_with("pretrained" if "/" in name else name)
        log.log_event("stage", **{"stage": name} | log.fields_of(result) | figures)
        return result

    @contextmanager
    def _timed(self, figures: dict[str, Any]) -> Iterator[None]:
        """Record the time, and the CPU time unless the workers are on a cluster."""
        started, cpu = time.monotonic(), self._meter.seconds() if self._meter else None
        try:
            yield
        finally:
            used = self._meter.seconds() if self._meter else None
            figures["seconds"] = round(time.monotonic() - started, 3)
            figures["cpu_seconds"] = None if used is None or cpu is None else round(used - cpu, 2)


@contextmanager
def reported(store: Store, command: str, *, on_cluster: bool = False) -> Iterator[Run]:
    """Write the report of a run when it ends, even if it fails.

    Parameters
    ----------
    store : Store
        OUT, locked by the caller.
    command : str
        Name of the command.
    on_cluster : bool
        Whether its workers may be on other machines, so that their CPU time is not known.

    Yields
    ------
    Run
        The run, whose method ``stage`` calls the stages.

    Raises
    ------
    Defect
        At the end of a run in which songs failed because of a fault of musicrec.
    Unread
        At the end of a run in which part of the source could not be read.
    """
    before, started = _published(store), time.monotonic()
    with CpuMeter() as meter:
        run = Run(store, command, None if on_cluster else meter)
        done = run.report
        try:
            yield run
            if done.faults:
                raise Defect(FAULTY)
            if done.unread:
                raise Unread(UNREAD)
        except BaseException as e:
            done.exit_code, done.error = exit_code_of(e), _line(e)
            raise
        finally:
            done.ended_at, done.seconds = _time(), round(time.monotonic() - started, 3)
            after = _published(store)
            changed = sorted(name for name in before | after if before.get(name) != after.get(name))
            done.published = {name: {"before": before.get(name), "now": after.get(name)} for name in changed}
            with suppress(Exception):  # a damaged table has been reported already
                done.problems = problems(store)
                done.gate = _gate(store, is_new="similar" in changed)
            _write(run)


def _line(error: BaseException) -> str:
    """Return an error as one line; one that ends a process from outside, as Ray stops a job, has no message."""
    if isinstance(error, SystemExit):
        return "stopped: the process was told to end"
    return " ".join(str(error).split()) or type(error).__name__


def _published(store: Store) -> dict[str, str | None]:
    return {name: store.versions(name).published for name in store.published()}


def _gate(store: Store, *, is_new: bool) -> dict[str, Any]:
    figures = dict(store.footer("similar")["lineage"].get("gate", {})) if store.exists("similar") else {}
    return figures if is_new else {name: value for name, value in figures.items() if name != "churn"}


def _write(run: Run) -> None:
    make_folder(run.path.parent)
    write_atomic(run.path, json.dumps(asdict(run.report), ensure_ascii=False, indent=2).encode())
    for old in children(run.path.parent, "*.json")[:-KEPT]:
        remove(old)


def _time() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat()


def _songs(store: Store) -> Songs:
    if not store.exists("tracks"):
        return {}
    columns = store.read("tracks", ["track_id", "content_hash"]).to_pydict()
    return dict(zip(columns["track_id"], columns["content_hash"], strict=True))


def describe_changes(songs: dict[str, int]) -> str:
    """Return what a night has found of songs, in a line."""
    changes = [f"{songs[what]} {what}" for what in ("added", "changed", "moved", "removed") if songs.get(what)]
    return f"songs: {', '.join(changes) or 'none added, changed, moved or removed'}"


def failures(store: Store) -> set[tuple[str, str]]:
    """Return the songs that a stage could not use because they failed, each with its reason."""
    if not store.exists("outcomes"):
        return set()
    rows = store.read("outcomes", ["track_id", "reason"], pc.field("status") == FAILED).to_pydict()
    return set(zip(rows["track_id"], rows["reason"], strict=True))


def describe_failures(new: set[tuple[str, str]]) -> str | None:
    """Return which songs have failed, in a line; None if none has."""
    if not new:
        return None
    named = [f"{track_id} ({reason})" for track_id, reason in sorted(new)[:FAILURES_NAMED]]
    more = [f"and {len(new) - FAILURES_NAMED:,} more"] if len(new) > FAILURES_NAMED else []
    return f"failed: {', '.join([*named, *more])}"


def _changes(before: Songs, after: Songs) -> dict[str, int]:
    both = before.keys() & after.keys()
    return {
        "total": len(after),
        "added": len(after.keys() - before.keys()),
        "changed": sum(before[track_id] != after[track_id] for track_id in both),
        "removed": len(before.keys() - after.keys()),
    }
