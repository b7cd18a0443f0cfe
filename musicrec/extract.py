"""The second stage: decode each track once, compute its features and mel-spectrogram, publish both with outcomes.

The catalog's open tracks are cut into shards. A Ray task turns a shard into one staged Parquet file, whole or not at
all, with a row for every track, good or bad; when all shards are there, they are merged with the tables published
before. So a run that is killed anywhere is taken up where it stopped, and each track stands in the tables exactly once.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray
from filelock import FileLock

from musicrec import audio, features
from musicrec.accounting import Counts, Outcome, check_failures, count, digest
from musicrec.cluster import WorkerLost, connect, run_bounded
from musicrec.columns import FAILED, MEL, OK, OUTCOMES, SKIPPED, features_schema
from musicrec.errors import DecodeError, SchemaError
from musicrec.progress import Progress
from musicrec.settings import ExtractSettings
from musicrec.storage import Store, write_parquet

TRACKS_PER_SHARD = 16  # about twenty seconds of work: little is lost with a killed task
TRACKS_PER_PART = 256  # of the mel table: about 80 MB of float16 at 30 s and 128 bands
ROWS_FILE = "_rows"  # Parquet: track and fingerprint of each row of a version; no reader of *.parquet sees it
SILENCE_PEAK = 1e-6  # -120 dB: below the last bit of 16-bit audio


def extract(
    store: Store,
    settings: ExtractSettings,
    *,
    address: str | None = None,
    retry_failed: bool = False,
    max_failed_fraction: float = 0.5,
    force: bool = False,
) -> Counts:
    """Bring ``features``, ``mel`` and ``outcomes`` up to date with ``tracks``.

    Parameters
    ----------
    store : Store
        OUT, with ``tracks``.
    settings : ExtractSettings
        What is decoded and computed.
    address : str, optional
        Ray cluster; embedded by default.
    retry_failed : bool
        Try tracks again that failed before.
    max_failed_fraction : float
        The stage fails if more than this share of the catalog failed.
    force : bool
        Accept other settings than those OUT was made by, and compute what depends on them anew.

    Raises
    ------
    ConfigError, MusicrecError
        The settings differ and `force` is false; too many tracks failed.
    """
    store.check_settings(settings, force=force)
    tracks = _wanted(store, settings)
    done = _done(store, settings, retry_failed)
    todo = [track for track in tracks if (track.track_id, track.fingerprint) not in done]
    with Progress("extract", len(tracks), len(tracks) - len(todo)) as progress:
        if todo:
            connect(address)
            _extract_all(store, settings, todo, progress)
    store.record(settings)
    outcomes = _publish(store, settings, tracks)
    counts = count(settings.stage, [track.track_id for track in tracks], outcomes, len(todo))
    check_failures(counts, max_failed_fraction)
    return counts


# --- planning -----------------------------------------------------------------------------------------------------


Item = TypeVar("Item")
Row = tuple[str, str]  # track id, fingerprint of content and settings


class Wanted(NamedTuple):
    """A track as the tables should hold it: its file, and the fingerprint of content and settings."""

    track_id: str
    uri: str
    fingerprint: str


def _wanted(store: Store, settings: ExtractSettings) -> list[Wanted]:
    columns = store.read("tracks", ["track_id", "uri", "content_hash"]).sort_by("track_id").to_pydict()
    return [
        Wanted(track_id, uri, settings.fingerprint(content_hash or ""))
        for track_id, uri, content_hash in zip(*columns.values(), strict=True)
    ]


def _done(store: Store, settings: ExtractSettings, retry_failed: bool) -> set[Row]:
    """What has an outcome, and if that is ``ok`` stands in both tables; an unfinished run's shards count too."""
    done: set[Row] = set()
    published = _published_outcomes(store)
    whole = _rows(store, "features") & _rows(store, "mel")
    for track_id, fingerprint, status in zip(*_columns(published, "track_id", "fingerprint", "status"), strict=True):
        retried = retry_failed and status == FAILED
        if not retried and (status != OK or (track_id, fingerprint) in whole):
            done.add((track_id, fingerprint))
    for shard in store.staged(_work(settings)):
        done.update(zip(*_columns(_identities(shard)), strict=True))
    return done


def _rows(store: Store, table: str) -> set[Row]:
    """Track and fingerprint of each row of a published table."""
    if not store.exists(table):
        return set()
    return set(zip(*_columns(pq.read_table(store.path(table) / ROWS_FILE)), strict=True))


def _columns(table: pa.Table, *names: str) -> list[list[Any]]:
    return [table[name].to_pylist() for name in names or table.column_names]


def _work(settings: ExtractSettings) -> str:
    """Work folder of these settings: what was staged under others is never mistaken for theirs."""
    return f"{settings.stage}/{settings.fingerprint()}"


def _slices(items: list[Item], size: int) -> list[list[Item]]:
    return [items[i : i + size] for i in range(0, len(items), size)]


# --- extraction ---------------------------------------------------------------------------------------------------


def _extract_all(store: Store, settings: ExtractSettings, todo: list[Wanted], progress: Progress) -> None:
    """Stage every open track; a shard that kills its worker is halved until the deadly file stands alone."""
    reference = ray.put(settings)
    queue = _slices(todo, TRACKS_PER_SHARD)
    failed = 0
    while queue:
        halves: list[list[Wanted]] = []
        for shard, result in run_bounded(lambda s: _extract_shard.remote(store.out, s, reference), queue):
            if isinstance(result, WorkerLost) and len(shard) > 1:
                halves += _slices(shard, (len(shard) + 1) // 2)
                continue
            if isinstance(result, WorkerLost):
                detail = f"this file ended every worker that decoded it ({result.cause})"
                _stage(store, settings, [_row(shard[0], settings, FAILED, "crashed", detail)])
            failed += 1 if isinstance(result, WorkerLost) else result
            progress.advance(len(shard), f"{failed} failed")
        queue = halves


@ray.remote(num_cpus=1, max_retries=1)
def _extract_shard(out: Path, shard: list[Wanted], settings: ExtractSettings) -> int:
    """Stage one shard; return how many of its tracks failed."""
    _compile()
    rows = [extract_track(track, settings) for track in shard]
    _stage(Store(out), settings, rows)
    return sum(row["status"] == FAILED for row in rows)


@cache
def _compile() -> None:
    """Compile librosa's and our own loops, one process of a node at a time.

    numba's cache on disk does not bear two writers: a compiled loop can end up under another's types, and crash.
    """
    with FileLock(Path(tempfile.gettempdir()) / f"musicrec-compile-{os.getuid()}.lock"):
        noise = np.random.default_rng(0).normal(size=22050).astype(np.float32)
        analysis = features.analyse(noise, 22050)
        features.evaluate(analysis, tuple(features.FEATURE_SETS))
        analysis.mel(128)


def extract_track(track: Wanted, settings: ExtractSettings) -> dict[str, Any]:
    """Row of one track: its outcome, and where that is ``ok`` its features and mel-spectrogram."""
    started = time.perf_counter()
    try:
        row = _features_row(track, settings)
    except DecodeError as e:
        row = _row(track, settings, FAILED, e.reason, e.detail)
    except Exception as e:  # one file, whatever is wrong with it, must not cost the others
        row = _row(track, settings, FAILED, "error", f"{type(e).__name__}: {e}".splitlines()[0])
    return row | {"seconds": time.perf_counter() - started}


def _features_row(track: Wanted, settings: ExtractSettings) -> dict[str, Any]:
    rate = settings.sample_rate
    y = audio.load(track.uri, sample_rate=rate, offset_s=settings.offset_s, duration_s=settings.duration_s)
    if len(y) < settings.min_duration_s * rate:
        detail = f"{len(y)} samples, less than {settings.min_duration_s:g} s"
        return _row(track, settings, SKIPPED, "too_short", detail)
    if np.abs(y).max() < SILENCE_PEAK:
        return _row(track, settings, SKIPPED, "silent", "the whole clip lies below -120 dB")
    analysis = features.analyse(y, rate)
    values = features.evaluate(analysis, settings.feature_sets)
    if not np.isfinite(np.array(list(values.values()), np.float32)).all():
        return _row(track, settings, FAILED, "not_finite", "a feature is NaN or infinite")
    mel = analysis.mel(settings.n_mels).astype(np.float16)
    return _row(track, settings, OK) | values | {"mel": mel.ravel(), "n_frames": mel.shape[1]}


def _row(
    track: Wanted, settings: ExtractSettings, status: str, reason: str | None = None, detail: str | None = None
) -> dict[str, Any]:
    return Outcome(track.track_id, settings.stage, status, reason, detail, track.fingerprint)._asdict()


def _stage(store: Store, settings: ExtractSettings, rows: list[dict[str, Any]]) -> None:
    names = features.feature_names(settings.feature_sets)
    schema = pa.unify_schemas([OUTCOMES, features_schema(names), MEL])
    name = digest([row["track_id"] for row in rows], [row["fingerprint"] for row in rows])
    store.stage_shard(_work(settings), name, pa.Table.from_pylist(rows, schema=schema))


# --- publishing ---------------------------------------------------------------------------------------------------


def _publish(store: Store, settings: ExtractSettings, tracks: list[Wanted]) -> pa.Table:
    """Merge staged shards into the tables of before, unless these are as wanted; return the stage's outcomes."""
    shards = [pq.read_table(path, columns=OUTCOMES.names) for path in store.staged(_work(settings))]
    outcomes = _merged_outcomes(store, tracks, shards)
    count(settings.stage, [track.track_id for track in tracks], outcomes, 0)
    rows = outcomes.filter(pc.field("status") == OK).select(["track_id", "fingerprint"])
    name = settings.fingerprint(digest(*_columns(rows)))
    tables = {"features": features_schema(features.feature_names(settings.feature_sets)), "mel": MEL}
    for table, schema in tables.items():
        if store.exists(table) and store.footer(table)["fingerprint"] == name:
            continue
        version = store.new_version(table, settings, name, hop_length=features.HOP_LENGTH)
        for part in _merged_parts(store, settings, table, schema, rows):
            version.write_part(part)
        write_parquet(version.folder / ROWS_FILE, rows)
        store.publish(version)
    if shards or outcomes != _published_outcomes(store):
        store.save_outcomes(settings.stage, outcomes, settings, name)  # last: till then the staged shards count
    store.clear_work(settings.stage)
    return outcomes


def _published_outcomes(store: Store) -> pa.Table:
    if not store.exists("outcomes"):
        return OUTCOMES.empty_table()
    return store.read("outcomes", filter=pc.field("stage") == ExtractSettings.stage)


def _merged_outcomes(store: Store, tracks: list[Wanted], shards: list[pa.Table]) -> pa.Table:
    """One outcome a track, in order of track; a staged one is newer than a published one."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for table in (_published_outcomes(store), *shards):
        found.update({(row["track_id"], row["fingerprint"]): row for row in table.to_pylist()})
    rows = [found[key] for track in tracks if (key := (track.track_id, track.fingerprint)) in found]
    return pa.Table.from_pylist(rows, schema=OUTCOMES)


def _merged_parts(
    store: Store, settings: ExtractSettings, table: str, schema: pa.Schema, rows: pa.Table
) -> Iterator[pa.Table]:
    """The wanted rows in their order, a part at a time, whichever file holds them; one empty part if there are none."""
    published = cache(lambda: store.dataset(table))  # opened once, and only if it is there to be opened
    files = store.staged(_work(settings))
    staged_in = {row: i for i, f in enumerate(files) for row in zip(*_columns(_identities(f)), strict=True)}
    wanted = list(zip(*_columns(rows), strict=True))
    for part in _slices(wanted, TRACKS_PER_PART) or [[]]:
        pieces = [schema.empty_table()]
        for i in sorted({staged_in[row] for row in part if row in staged_in}):
            ids = [row[0] for row in part if staged_in.get(row) == i]
            pieces.append(pq.read_table(files[i], columns=schema.names, filters=pc.field("track_id").isin(ids)))
        if kept := [track_id for track_id, fingerprint in part if (track_id, fingerprint) not in staged_in]:
            track_id = pc.field("track_id")
            inside = (track_id >= kept[0]) & (track_id <= kept[-1]) & track_id.isin(kept)  # whole parts are passed over
            pieces.append(published().to_table(columns=schema.names, filter=inside))
        merged = pa.concat_tables([piece.cast(schema) for piece in pieces]).sort_by("track_id")
        if merged["track_id"].to_pylist() != [row[0] for row in part]:
            raise SchemaError(f"{store.out / table} lacks songs that outcomes lists; run extract in another OUT")
        yield merged


def _identities(shard: Path) -> pa.Table:
    return pq.read_table(shard, columns=["track_id", "fingerprint"])
