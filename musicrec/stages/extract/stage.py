"""The second stage: decode each track once, compute its rows, publish the tables with outcomes.

The open tracks of the catalog are cut into shards. A Ray task turns a shard into staged Parquet files, one per table
and one of outcomes, all or none of them; every track, good or bad, has an outcome. When all shards are staged, they are
merged into the tables published before. So a run that is killed at any point continues where it stopped, and each track
is in the tables exactly once.
"""

import logging
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from musicrec import features
from musicrec.cluster import prometheus
from musicrec.cluster.tasks import WorkerLost, compiling, connect, cpus, on_every_node, run_bounded, task_options
from musicrec.cluster.watchdog import SECONDS_PER_FILE, Watchdog, stuck
from musicrec.files.node_cache import NODE_FOLDER
from musicrec.files.paths import AnyPath
from musicrec.monitor import log
from musicrec.monitor.progress import Progress
from musicrec.schemas import FAILED, OK, Reason
from musicrec.settings import ExtractSettings
from musicrec.stages.extract.faults import FaultySong, Tally, Verdict, fault_name, file_kind, report
from musicrec.stages.extract.plan import failed_rows, plan, published_outcomes, work_of
from musicrec.stages.extract.track_rows import OPTIONAL_TABLES, Wanted, extract_track, outcome_row, tables_of
from musicrec.stages.finish import finish
from musicrec.store.lineage import digest
from musicrec.store.outcomes import Counts, check_failures, count
from musicrec.store.staging import Staged, read_staged, stage_shard
from musicrec.store.store import Store
from musicrec.store.table_parts import slices, tracks_per_part, write_version
from musicrec.store.table_spec import Table, rows_of

LEAST_S = 0.25  # smallest work of a shard, in seconds: one CPU may work this long after the others are done
SHARDS_PER_CPU = 2  # the remaining work would make so many: shards get shorter, so that all CPUs finish together
MEMORY = 600 * 2**20  # bytes per worker, with its libraries; measured by benchmarks/extract/memory.py
FEW = 4  # tasks at once in the last pass: workers may have died because together they used too much memory


@dataclass(frozen=True)
class ExtractCounts(Counts):
    """Counts of the tracks that have an outcome; `left` more tracks are for a later run."""

    left: int = 0

    def __str__(self) -> str:
        return super().__str__() + (f", {self.left} left for a later run" if self.left else "")


def extract(
    store: Store,
    settings: ExtractSettings,
    *,
    address: str | None = None,
    retry_failed: bool = False,
    max_failed_fraction: float = 0.5,
    force: bool = False,
    limit: int | None = None,
    seconds_per_file: float = SECONDS_PER_FILE,
) -> ExtractCounts:
    """Bring the tables of :func:`tables_of` and ``outcomes`` up to date with ``tracks``.

    Parameters
    ----------
    store : Store
        OUT, with ``tracks``.
    settings : ExtractSettings
        What is decoded and computed.
    address : str, optional
        Ray cluster; embedded by default.
    retry_failed : bool
        Try failed tracks again.
    max_failed_fraction : float
        The stage fails if more than this share of the tracks with an outcome failed.
    force : bool
        Accept settings that differ from those of OUT, and recompute what depends on them.
    limit : int, optional
        Decode at most this many tracks, in order of their id. The tables hold the finished tracks, and a later run
        continues.
    seconds_per_file : float
        A track fails if it takes longer.

    Raises
    ------
    ConfigError, MusicrecError
        The settings differ and `force` is false, or too many tracks failed.
    """
    todo = plan(store, settings, retry_failed=retry_failed, force=force, limit=limit)
    untried: list[Wanted] = []
    with Progress("extract", len(todo.now) + todo.n_known, todo.n_known) as progress:
        if todo.now:
            connect(address)
            untried = _extract_all(store, settings, todo.now, seconds_per_file, progress)
    todo = todo.without(untried)
    outcomes, fingerprint = _publish(store, settings, todo.covered)
    covered = [track.track_id for track in todo.covered]
    done = finish(store, settings, outcomes, fingerprint, fresh=len(todo.now), track_ids=covered, most_failed=None)
    faults = _report_faults(outcomes, todo.now, untried)
    counts = ExtractCounts(**vars(done) | {"faults": faults}, left=len(todo.left))
    check_failures(counts, max_failed_fraction)
    return counts


def _report_faults(outcomes: pa.Table, now: list[Wanted], untried: list[Wanted]) -> tuple[str, ...]:
    """Log as errors which songs of this run failed because of a fault of musicrec; return the lines."""
    uris = {track.track_id: track.uri for track in now}
    rows = outcomes.filter(pc.field("reason") == Reason.ERROR).select(["track_id", "detail"]).to_pylist()
    songs = [FaultySong(uris[row["track_id"]], row["detail"]) for row in rows if row["track_id"] in uris]
    lines = tuple(report(songs, [track.uri for track in untried]))
    for line in lines:
        log.log_event("fault", f"musicrec: {line}", level=logging.ERROR, message=line)
    return lines


# --- extraction ---------------------------------------------------------------------------------------------------


class Shared(NamedTuple):
    """Values that all shards of a run share."""

    out: AnyPath
    settings: ExtractSettings
    seconds_per_file: float
    run: str  # unique name of the run


class ShardResult(NamedTuple):
    """The result of a shard, beside its staged rows."""

    failed: int
    lost: list[Wanted]  # tracks of a worker that died
    untried: list[Wanted]  # not tried, as all others of their kind failed with one fault of musicrec
    seen: Counter[tuple[str, str | None]]  # tracks by kind of file and fault


def _extract_all(
    store: Store, settings: ExtractSettings, todo: list[Wanted], seconds_per_file: float, progress: Progress
) -> list[Wanted]:
    """Stage every open track; return those that were not tried because they would hit a known fault of musicrec.

    Tracks of a worker that died are run again, each in a task of its own, up to two times. The second time is for
    tracks whose node was taken away. A file that took too long is not tried again.
    """
    shared = ray.put(Shared(store.out, settings, seconds_per_file, run=uuid.uuid4().hex))
    task = _extract_shard.options(**task_options(MEMORY))
    shards = _shards(todo, min(tracks_per_part(store, table) for table in tables_of(settings)))
    failed, tally, untried = 0, Tally(), list[Wanted]()
    for at_once in (None, None, FEW):
        lost: list[Wanted] = []
        left_out, untried = untried, []
        tasks = run_bounded(lambda shard: task.remote(shard, shared, tally.verdict), shards, at_once=at_once)
        for shard, end in tasks:
            result = _after_loss(store, settings, shard, seconds_per_file) if isinstance(end, WorkerLost) else end
            failed += result.failed
            lost += result.lost
            left_out += result.untried
            tally.update(result.seen)
            progress.advance(len(shard) - len(result.lost) - len(result.untried), failed=failed)
        untried = [track for track in left_out if tally.is_stopped(file_kind(track.uri))]
        elsewhere = [track for track in left_out if not tally.is_stopped(file_kind(track.uri))]
        shards = slices(lost + elsewhere, 1)
    for track in lost:
        _stage_failure(store, settings, track, Reason.CRASHED, "this file ended every worker that decoded it")
    progress.advance(len(lost), failed=failed + len(lost))
    return untried


def _shards(todo: list[Wanted], most: int) -> list[list[Wanted]]:
    """Cut tracks into shards of similar work and at most `most` tracks; no value in a table depends on the cut.

    Shards get shorter, and those with more work come first, so that a long song runs while there is other work.
    """
    left = sum(track.work_s for track in todo)
    shards: list[list[Wanted]] = []
    room = 0.0
    for track in todo:
        if track.work_s > room or len(shards[-1]) == most:
            shards.append([])
            room = max(LEAST_S, left / (SHARDS_PER_CPU * cpus()))
        shards[-1].append(track)
        room -= track.work_s
        left -= track.work_s
    return sorted(shards, key=lambda shard: -sum(track.work_s for track in shard))


@ray.remote(num_cpus=1, max_retries=0)
def _extract_shard(shard: list[Wanted], shared: Shared, verdict: Verdict) -> ShardResult:
    """Stage one shard; skip kinds of files that always hit the same fault of musicrec."""
    settings, store, tally = shared.settings, Store(shared.out), _tally(shared.run)
    _compile(settings.feature_sets, settings.n_mels)
    untried: list[Wanted] = []
    seen: Counter[tuple[str, str | None]] = Counter()

    def rows() -> Iterator[dict[str, Any]]:
        with Watchdog(_note(store, settings, shard), shared.seconds_per_file) as watchdog:
            for number, track in enumerate(shard):
                kind = file_kind(track.uri)
                if tally.is_stopped(kind, verdict):
                    untried.append(track)
                    continue
                watchdog.begin(str(number))
                row = extract_track(track, settings)
                prometheus.decoded(settings.stage, row["status"], row["reason"], row["seconds"], track.size_bytes)
                fault = fault_name(row["reason"], row["detail"])
                tally.add(kind, fault)
                seen[kind, fault] += 1
                yield row

    failed = len(failed_rows(_stage(store, settings, shard, rows())))
    return ShardResult(failed, [], untried, seen)


@lru_cache(maxsize=1)
def _tally(run: str) -> Tally:
    """Return the tally of this worker for a run; another run starts a new one."""
    return Tally()


@cache
def _compile(feature_sets: tuple[str, ...], n_mels: int) -> None:
    """Compile the loops of librosa and of musicrec."""
    with compiling():
        noise = np.random.default_rng(0).normal(size=22050).astype(np.float32)
        analysis = features.analyse(noise, 22050)
        features.evaluate(analysis, feature_sets)
        analysis.mel(n_mels)


def _after_loss(store: Store, settings: ExtractSettings, shard: list[Wanted], limit_s: float) -> ShardResult:
    """Stage a failure for the track on which the watchdog ended the worker, if it did; the others are run again."""
    note = _note(store, settings, shard)
    here = isinstance(store.out, Path)
    number = stuck(note) if here else next(filter(None, on_every_node(stuck, note)), None)
    if number is None:
        return ShardResult(0, shard, [], Counter())
    track = shard[int(number)]
    detail = f"took longer than {limit_s:g} s; --seconds-per-file allows more"
    _stage_failure(store, settings, track, Reason.TIMEOUT, detail)
    return ShardResult(1, [other for other in shard if other != track], [], Counter())


def _note(store: Store, settings: ExtractSettings, shard: list[Wanted]) -> Path:
    """Return the file that the watchdog of a shard's worker writes; if OUT is in a bucket, it is on the node's disk."""
    folder = store.work.folder(work_of(settings))
    if not isinstance(folder, Path):
        folder = NODE_FOLDER / "notes"
        folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{_name(shard)}.note"


def _name(tracks: list[Wanted]) -> str:
    return digest([track.track_id for track in tracks], [track.fingerprint for track in tracks])


def _stage(store: Store, settings: ExtractSettings, shard: list[Wanted], rows: Iterable[dict[str, Any]]) -> pa.Table:
    return stage_shard(store.work, work_of(settings), _name(shard), tables_of(settings), rows)


def _stage_failure(store: Store, settings: ExtractSettings, track: Wanted, reason: Reason, detail: str) -> None:
    prometheus.count_tracks(settings.stage, FAILED, reason)
    _stage(store, settings, [track], [outcome_row(track, settings, FAILED, reason, detail)])


# --- publishing ---------------------------------------------------------------------------------------------------


def _publish(store: Store, settings: ExtractSettings, tracks: list[Wanted]) -> tuple[pa.Table, str]:
    """Merge staged shards into the published tables, unless these are up to date.

    Returns the outcomes of the stage, and the fingerprint of its tables.
    """
    staged = read_staged(store.work, work_of(settings))
    outcomes = _merged_outcomes(tracks, published_outcomes(store), staged)
    count(settings.stage, [track.track_id for track in tracks], outcomes, 0)
    rows = outcomes.filter(pc.field("status") == OK).select(["track_id", "fingerprint"])
    name = settings.fingerprint(digest(*(column.to_pylist() for column in rows.columns)))
    tables = tables_of(settings)
    for table in tables:
        if store.exists(table.name) and store.footer(table.name)["fingerprint"] == name:
            continue
        version = store.new_version(table.name, settings, name, **table.lineage)
        write_version(store, version, table, rows, staged)
        store.publish(version)
    withdraw(store, tables)
    return outcomes, name


def _merged_outcomes(tracks: list[Wanted], published: pa.Table, staged: Staged) -> pa.Table:
    """Return one outcome per track, in order of track; a staged outcome replaces a published one."""
    both = pa.concat_tables([published, staged.outcomes])
    at = {row: i for i, row in enumerate(rows_of(both))}
    return both.take(pa.array([at[track.row] for track in tracks if track.row in at], pa.int64()))


def withdraw(store: Store, wanted: list[Table]) -> None:
    """Remove the optional tables that the settings no longer ask for, as they would go out of date."""
    for name in OPTIONAL_TABLES - {table.name for table in wanted}:
        store.versions(name).remove()
