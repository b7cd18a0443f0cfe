"""Run Ray tasks over songs, such that no file can harm another and a run that was killed continues.

Songs are cut into shards of similar work. A task turns a shard into staged Parquet files, one for each table and one of
outcomes, all or none of them; every song, good or bad, has an outcome. A file that hangs or crashes its worker costs
itself only.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from musicrec.cluster import prometheus
from musicrec.cluster.lazy_ray import ray
from musicrec.cluster.tasks import WorkerLost, cpus, on_every_node, run_bounded
from musicrec.cluster.watchdog import Watchdog, stuck
from musicrec.files.node_cache import NODE_FOLDER
from musicrec.monitor.progress import Progress
from musicrec.schemas import FAILED, Reason
from musicrec.stages.extract.faults import Tally, Verdict, fault_name, file_kind
from musicrec.stages.extract.plan import failed_rows
from musicrec.stages.extract.track_rows import Wanted, outcome_row
from musicrec.store.lineage import digest
from musicrec.store.staging import stage_shard
from musicrec.store.store import Store
from musicrec.store.table_parts import slices, tracks_per_part
from musicrec.store.table_spec import Table

LEAST_S = 0.25  # smallest work of a shard, in seconds: one CPU may work this long after the others are done
SHARDS_PER_CPU = 2  # the remaining work would make so many: shards get shorter, so that all CPUs finish together
FEW = 4  # tasks at once in the last pass: workers may have died because together they used too much memory


class Job(NamedTuple):
    """What the tasks of a stage are to stage."""

    stage: str  # of the outcomes
    work: str  # work folder
    tables: list[Table]


class ShardResult(NamedTuple):
    """The result of a shard, beside its staged rows."""

    failed: int
    lost: list[Wanted]  # tracks of a worker that died
    untried: list[Wanted]  # not tried, as all others of their kind failed with one fault of musicrec
    seen: Counter[tuple[str, str | None]]  # tracks by kind of file and fault


def run_songs(
    store: Store,
    job: Job,
    todo: list[Wanted],
    submit: Callable[[list[Wanted], Verdict], "ray.ObjectRef[ShardResult]"],
    *,
    seconds_per_file: float,
    progress: Progress,
) -> list[Wanted]:
    """Stage every open track; return those that were not tried because they would hit a known fault of musicrec.

    Tracks of a worker that died are run again, each in a task of its own, up to two times. The second time is for
    tracks whose node was taken away. A file that took too long is not tried again.

    Parameters
    ----------
    store : Store
        OUT.
    job : Job
        What is staged.
    todo : list of Wanted
        The tracks.
    submit : callable
        Starts the task of a shard, which calls :func:`stage_songs`.
    seconds_per_file : float
        A track fails if it takes longer.
    progress : Progress
        Is told of every track that is done.
    """
    shards = shards_of(todo, min(tracks_per_part(store, table) for table in job.tables))
    failed, tally, untried = 0, Tally(), list[Wanted]()
    for at_once in (None, None, FEW):
        lost: list[Wanted] = []
        left_out, untried = untried, []
        for shard, end in run_bounded(lambda shard: submit(shard, tally.verdict), shards, at_once=at_once):
            result = _after_loss(store, job, shard, seconds_per_file) if isinstance(end, WorkerLost) else end
            failed += result.failed
            lost += result.lost
            left_out += result.untried
            tally.update(result.seen)
            progress.advance(len(shard) - len(result.lost) - len(result.untried), failed=failed)
        untried = [track for track in left_out if tally.is_stopped(file_kind(track.uri))]
        elsewhere = [track for track in left_out if not tally.is_stopped(file_kind(track.uri))]
        shards = slices(lost + elsewhere, 1)
    for track in lost:
        _stage_failure(store, job, track, Reason.CRASHED, "this file ended every worker that decoded it")
    progress.advance(len(lost), failed=failed + len(lost))
    return untried


def shards_of(todo: list[Wanted], most: int) -> list[list[Wanted]]:
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


def stage_songs(
    store: Store,
    job: Job,
    shard: list[Wanted],
    make_row: Callable[[Wanted, Callable[[], None]], dict[str, Any]],
    *,
    seconds_per_file: float,
    run: str,
    verdict: Verdict,
) -> ShardResult:
    """Stage one shard, in a task; skip kinds of files that always hit the same fault of musicrec.

    Parameters
    ----------
    store : Store
        OUT.
    job : Job
        What is staged.
    shard : list of Wanted
        The tracks.
    make_row : callable
        Makes the row of a track: its outcome, and its values for the tables. It also gets a function that it may call
        to start the clock of a long track anew.
    seconds_per_file : float
        The worker ends itself if a track takes longer.
    run : str
        Unique name of the run.
    verdict : Verdict
        What other tasks have learned of faults.
    """
    tally = _tally(run)
    untried: list[Wanted] = []
    seen: Counter[tuple[str, str | None]] = Counter()

    def rows() -> Iterator[dict[str, Any]]:
        with Watchdog(_note(store, job, shard), seconds_per_file) as watchdog:
            for number, track in enumerate(shard):
                kind = file_kind(track.uri)
                if tally.is_stopped(kind, verdict):
                    untried.append(track)
                    continue
                begin = partial(watchdog.begin, str(number))
                begin()
                row = make_row(track, begin)
                prometheus.decoded(job.stage, row["status"], row["reason"], row["seconds"], track.size_bytes)
                fault = fault_name(row["reason"], row["detail"])
                tally.add(kind, fault)
                seen[kind, fault] += 1
                yield row

    failed = len(failed_rows(stage_rows(store, job, shard, rows())))
    return ShardResult(failed, [], untried, seen)


@lru_cache(maxsize=1)
def _tally(run: str) -> Tally:
    """Return the tally of this worker for a run; another run starts a new one."""
    return Tally()


def _after_loss(store: Store, job: Job, shard: list[Wanted], limit_s: float) -> ShardResult:
    """Stage a failure for the track on which the watchdog ended the worker, if it did; the others are run again."""
    note = _note(store, job, shard)
    here = isinstance(store.out, Path)
    number = stuck(note) if here else next(filter(None, on_every_node(stuck, note)), None)
    if number is None:
        return ShardResult(0, shard, [], Counter())
    track = shard[int(number)]
    detail = f"took longer than {limit_s:g} s; --seconds-per-file allows more"
    _stage_failure(store, job, track, Reason.TIMEOUT, detail)
    return ShardResult(1, [other for other in shard if other != track], [], Counter())


def _note(store: Store, job: Job, shard: list[Wanted]) -> Path:
    """Return the file that the watchdog of a shard's worker writes; if OUT is in a bucket, it is on the node's disk."""
    folder = store.work.folder(job.work)
    if not isinstance(folder, Path):
        folder = NODE_FOLDER / "notes"
        folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{_name(shard)}.note"


def _name(tracks: list[Wanted]) -> str:
    return digest([track.track_id for track in tracks], [track.fingerprint for track in tracks])


def stage_rows(store: Store, job: Job, shard: list[Wanted], rows: Iterable[dict[str, Any]]) -> pa.Table:
    """Stage the rows of a shard; return its outcomes."""
    return stage_shard(store.work, job.work, _name(shard), job.tables, rows)


def _stage_failure(store: Store, job: Job, track: Wanted, reason: Reason, detail: str) -> None:
    prometheus.count_tracks(job.stage, FAILED, reason)
    stage_rows(store, job, [track], [outcome_row(track, job.stage, FAILED, reason, detail)])
