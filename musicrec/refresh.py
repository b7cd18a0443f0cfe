"""The nightly chain: what a source has added, changed or removed goes into the published table, with a report."""

import datetime
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from musicrec import __version__, log
from musicrec.accounting import Counts
from musicrec.cluster import is_embedded
from musicrec.deadline import check_deadline, deadline
from musicrec.errors import exit_code_of
from musicrec.files import AnyPath, children, make_folder, remove, write_atomic
from musicrec.pipeline import ChainSettings, report, stages
from musicrec.status import problems
from musicrec.storage import Store
from musicrec.usage import CpuMeter

FOLDER = "_runs"
RUNS_KEPT = 400  # a year of nights

Songs = dict[str, str | None]  # content hash by track


@dataclass
class RunReport:
    """What one refresh has done: ``OUT/_runs/<time>.json``. Times are in UTC."""

    out: str
    started_at: str
    musicrec: str = __version__
    ended_at: str | None = None
    seconds: float = 0.0
    exit_code: int = 0
    error: str | None = None  # the line that was said
    songs: dict[str, int] = field(default_factory=dict)  # total, added, changed, removed since the run before
    decoded: int = 0
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)  # seconds, cpu_seconds, counts of each
    problems: list[dict[str, Any]] = field(default_factory=list)  # stage, status, reason, tracks
    published: dict[str, dict[str, str | None]] = field(default_factory=dict)  # what changed: version before and now
    gate: dict[str, Any] = field(default_factory=dict)  # figures of the published table; its churn, if it is new


def refresh(
    store: Store,
    settings: ChainSettings,
    *,
    deadline_s: float | None = None,
    address: str | None = None,
    tell: Callable[[str], None] = print,
    **how: Any,  # noqa: ANN401
) -> AnyPath:
    """Bring what is published up to date with the source; train nothing, unless no model is published.

    Parameters
    ----------
    store : Store
        OUT, locked by the caller.
    settings : ChainSettings
        Of each stage; the model is that of embed.
    deadline_s : float, optional
        Seconds after which the run ends: before the next stage, or within one where that leaves whole work behind.
    address : str, optional
        Ray cluster; embedded by default.
    tell : callable
        Called with a line about each stage as it ends.
    **how
        Of :func:`musicrec.pipeline.stages`.

    Returns
    -------
    pathlib.Path or upath.UPath
        The report of the run. It is written too if the run fails.

    Raises
    ------
    DeadlinePassed
        What is done is kept; the next run goes on from there.
    """
    keep_model = store.exists(f"models/{settings.embed.model}")
    chain: dict[str, Callable[[], Any]] = {
        **stages(store, settings, address=address, keep_model=keep_model, **how),
        "report": lambda: report(store),
    }
    with _reported(store) as done, deadline(deadline_s), CpuMeter() as meter:
        for name, stage in chain.items():
            check_deadline()
            songs = _songs(store) if name == "catalog" else {}
            with _timed(done, name, meter if is_embedded(address) else None):
                result = stage()
            done.stages[name].update(_counts(result))
            if name == "catalog":
                done.songs = _changes(songs, _songs(store))
            if name == "extract":
                done.decoded = result.fresh
            log.tell("stage", **{"stage": name} | log.fields_of(result) | done.stages[name])
            tell(
                f"{result if isinstance(result, Counts) else f'{name}: {result}'}; {done.stages[name]['seconds']:.1f} s"
            )
    return _path(store, done)


# --- the report of the run ----------------------------------------------------------------------------------------


@contextmanager
def _reported(store: Store) -> Iterator[RunReport]:
    """A report that is written when the run is over, however it ends."""
    done, started, before = RunReport(str(store.out), _time()), time.monotonic(), _published(store)
    try:
        yield done
    except BaseException as e:
        done.exit_code, done.error = exit_code_of(e), " ".join(str(e).split()) or type(e).__name__
        raise
    finally:
        done.ended_at, done.seconds = _time(), round(time.monotonic() - started, 3)
        after = _published(store)
        changed = sorted(name for name in before | after if before.get(name) != after.get(name))
        done.published = {name: {"before": before.get(name), "now": after.get(name)} for name in changed}
        with suppress(Exception):  # of a damaged table, which has been complained of
            done.problems = problems(store)
            done.gate = _gate(store, is_new="similar" in changed)
        _write(store, done)


def _published(store: Store) -> dict[str, str | None]:
    return {name: store.versions(name).published for name in store.published()}


def _gate(store: Store, *, is_new: bool) -> dict[str, Any]:
    figures = dict(store.footer("similar")["lineage"].get("gate", {})) if store.exists("similar") else {}
    return figures if is_new else {name: value for name, value in figures.items() if name != "churn"}


def _write(store: Store, done: RunReport) -> None:
    path = _path(store, done)
    make_folder(path.parent)
    write_atomic(path, json.dumps(asdict(done), ensure_ascii=False, indent=2).encode())
    for old in children(path.parent, "*.json")[:-RUNS_KEPT]:
        remove(old)


def _path(store: Store, done: RunReport) -> AnyPath:
    started = datetime.datetime.fromisoformat(done.started_at)
    return store.out / FOLDER / f"{started:%Y%m%dT%H%M%S.%fZ}.json"


def _time() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat()


# --- figures ------------------------------------------------------------------------------------------------------


def _songs(store: Store) -> Songs:
    if not store.exists("tracks"):
        return {}
    columns = store.read("tracks", ["track_id", "content_hash"]).to_pydict()
    return dict(zip(columns["track_id"], columns["content_hash"], strict=True))


def _changes(before: Songs, after: Songs) -> dict[str, int]:
    both = before.keys() & after.keys()
    return {
        "total": len(after),
        "added": len(after.keys() - before.keys()),
        "changed": sum(before[track_id] != after[track_id] for track_id in both),
        "removed": len(before.keys() - after.keys()),
    }


def _counts(result: Any) -> dict[str, int]:  # noqa: ANN401 - Counts, or the path of the report
    if not isinstance(result, Counts):
        return {}
    return {name: getattr(result, name) for name in ("ok", "skipped", "failed", "fresh")}


@contextmanager
def _timed(done: RunReport, stage: str, meter: CpuMeter | None) -> Iterator[None]:
    """Note the time that a stage takes; CPU time too, unless its workers are out of sight on a cluster."""
    started, cpu = time.monotonic(), meter.seconds() if meter else None
    try:
        yield
    finally:
        used = meter.seconds() if meter else None
        done.stages[stage] = {
            "seconds": round(time.monotonic() - started, 3),
            "cpu_seconds": None if used is None or cpu is None else round(used - cpu, 2),
        }
