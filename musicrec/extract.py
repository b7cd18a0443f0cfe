"""The second stage: decode each track once, compute its features and mel-spectrogram, publish both with outcomes.

The catalog's open tracks are cut into shards. A Ray task turns a shard into one staged Parquet file, whole or not at
all, with a row for every track, good or bad; when all shards are there, they are merged with the tables published
before. So a run that is killed anywhere is taken up where it stopped, and each track stands in the tables exactly once.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray

from musicrec import audio, features
from musicrec.accounting import Counts, Outcome, check_failures, count, digest
from musicrec.cluster import WorkerLost, connect, run_bounded
from musicrec.columns import FAILED, MEL, OK, OUTCOMES, SKIPPED, features_schema
from musicrec.errors import DecodeError
from musicrec.progress import Progress
from musicrec.settings import ExtractSettings
from musicrec.storage import Store

TRACKS_PER_SHARD = 16  # about twenty seconds of work: little is lost with a killed task
TRACKS_PER_PART = 256  # of the mel table: about 80 MB of float16 at 30 s and 128 bands
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
        Accept other settings than those OUT was made by, and compute everything anew.

    Raises
    ------
    ConfigError, MusicrecError
        The settings differ and `force` is false; too many tracks failed.
    """
    store.check_settings(settings, force=force)
    tracks = _wanted(store, settings)
    done = _done(store, retry_failed)
    todo = [track for track in tracks if done.get(track.track_id) != track.fingerprint]
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


def _done(store: Store, retry_failed: bool) -> dict[str, str]:
    """Fingerprint with which each track has been extracted, in published tables or by an unfinished run."""
    done: dict[str, str] = {}
    columns = ["track_id", "fingerprint", "status"]
    if store.exists("outcomes"):
        published = store.read("outcomes", columns, pc.field("stage") == ExtractSettings.stage)
        if retry_failed:
            published = published.filter(pc.field("status") != FAILED)
        done.update(zip(published["track_id"].to_pylist(), published["fingerprint"].to_pylist(), strict=True))
    for shard in store.staged(ExtractSettings.stage):
        staged = pq.read_table(shard, columns=columns)
        done.update(zip(staged["track_id"].to_pylist(), staged["fingerprint"].to_pylist(), strict=True))
    return done


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
    rows = [extract_track(track, settings) for track in shard]
    _stage(Store(out), settings, rows)
    return sum(row["status"] == FAILED for row in rows)


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
        return _row(track, settings, SKIPPED, "silent", "every sample of the clip is zero")
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
    store.stage_shard(settings.stage, name, pa.Table.from_pylist(rows, schema=schema))


# --- publishing ---------------------------------------------------------------------------------------------------


def _publish(store: Store, settings: ExtractSettings, tracks: list[Wanted]) -> pa.Table:
    """Merge staged shards into the tables of before, unless these are as wanted; return the stage's outcomes."""
    shards = [pq.read_table(path, columns=OUTCOMES.names) for path in store.staged(settings.stage)]
    outcomes = _merged_outcomes(store, tracks, shards)
    good = outcomes.filter(pc.field("status") == OK)
    name = settings.fingerprint(digest(good["track_id"].to_pylist(), good["fingerprint"].to_pylist()))
    tables = {"features": features_schema(features.feature_names(settings.feature_sets)), "mel": MEL}
    if any(not store.exists(table) or store.footer(table)["fingerprint"] != name for table in tables):
        for table, schema in tables.items():
            version = store.new_version(table, settings, name, hop_length=features.HOP_LENGTH)
            for part in _merged_parts(store, table, schema, good["track_id"].to_pylist(), shards):
                version.write_part(part)
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
    store: Store, table: str, schema: pa.Schema, track_ids: list[str], shards: list[pa.Table]
) -> Iterator[pa.Table]:
    """Rows of `track_ids` in their order, a part at a time, whichever file holds them."""
    files = store.staged(ExtractSettings.stage)
    shard_of = {track_id: i for i, shard in enumerate(shards) for track_id in shard["track_id"].to_pylist()}
    for ids in _slices(track_ids, TRACKS_PER_PART):
        parts = []
        for i in sorted({shard_of[t] for t in ids if t in shard_of}):
            wanted = pa.array([t for t in ids if shard_of.get(t) == i])
            parts.append(pq.read_table(files[i], columns=schema.names, filters=pc.field("track_id").isin(wanted)))
        if kept := [t for t in ids if t not in shard_of]:
            parts.append(store.read(table, schema.names, pc.field("track_id").isin(kept)))
        yield pa.concat_tables([part.cast(schema) for part in parts]).sort_by("track_id")
