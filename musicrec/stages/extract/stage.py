"""The second stage: decode each track once, compute its rows, publish the tables with outcomes.

The open tracks of the catalog are cut into shards. A Ray task turns a shard into staged Parquet files, one per table
and one of outcomes, all or none of them; every track, good or bad, has an outcome. When all shards are staged, they are
merged into the tables published before. So a run that is killed at any point continues where it stopped, and each track
is in the tables exactly once.
"""

import logging
import uuid
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from musicrec import features
from musicrec.cluster.lazy_ray import ray, remote
from musicrec.cluster.tasks import compiling, connect, task_options
from musicrec.cluster.watchdog import SECONDS_PER_FILE
from musicrec.files.paths import AnyPath
from musicrec.monitor import log
from musicrec.monitor.progress import Progress
from musicrec.schemas import OK, Reason
from musicrec.settings import ExtractSettings
from musicrec.stages.extract.faults import FaultySong, Verdict, report
from musicrec.stages.extract.plan import plan, published_outcomes, work_of
from musicrec.stages.extract.track_rows import OPTIONAL_TABLES, Wanted, extract_track, tables_of
from musicrec.stages.finish import finish
from musicrec.stages.song_tasks import Job, ShardResult, run_songs, stage_songs
from musicrec.store.lineage import digest
from musicrec.store.outcomes import Counts, check_failures, count
from musicrec.store.staging import Staged, read_staged
from musicrec.store.store import Store
from musicrec.store.table_parts import is_published_as_made_now, write_version
from musicrec.store.table_spec import Table, rows_of

MEMORY = 600 * 2**20  # bytes per worker, with its libraries; measured by benchmarks/extract/memory.py


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


def _extract_all(
    store: Store, settings: ExtractSettings, todo: list[Wanted], seconds_per_file: float, progress: Progress
) -> list[Wanted]:
    """Stage every open track; return those that were not tried because they would hit a known fault of musicrec."""
    shared = ray.put(Shared(store.out, settings, seconds_per_file, run=uuid.uuid4().hex))
    task = _extract_shard.options(**task_options(MEMORY))
    return run_songs(
        store, job_of(settings), todo, lambda shard, verdict: task.remote(shard, shared, verdict),
        seconds_per_file=seconds_per_file, progress=progress,
    )  # fmt: skip


def job_of(settings: ExtractSettings) -> Job:
    """Return what the tasks of this stage are to stage."""
    return Job(settings.stage, work_of(settings), tables_of(settings))


@remote(num_cpus=1, max_retries=0)
def _extract_shard(shard: list[Wanted], shared: Shared, verdict: Verdict) -> ShardResult:
    """Stage one shard; skip kinds of files that always hit the same fault of musicrec."""
    settings = shared.settings
    _compile(settings.feature_sets, settings.n_mels)
    return stage_songs(
        Store(shared.out), job_of(settings), shard, lambda track, _: extract_track(track, settings),
        seconds_per_file=shared.seconds_per_file, run=shared.run, verdict=verdict,
    )  # fmt: skip


@cache
def _compile(feature_sets: tuple[str, ...], n_mels: int) -> None:
    """Compile the loops of librosa and of musicrec."""
    with compiling():
        noise = np.random.default_rng(0).normal(size=22050).astype(np.float32)
        analysis = features.analyse(noise, 22050)
        features.evaluate(analysis, feature_sets)
        analysis.mel(n_mels)


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
        if is_published_as_made_now(store, table, name):
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
