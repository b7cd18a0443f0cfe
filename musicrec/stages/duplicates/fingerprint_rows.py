"""Keep the table ``fingerprints`` up to date with ``mel``: a task makes the fingerprints of some hundred songs.

A song that has one keeps it. What an interrupted run has staged is used.
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.cluster import prometheus
from musicrec.cluster.lazy_ray import ray, remote
from musicrec.cluster.tasks import compiling, connect, run_tasks, task_options
from musicrec.features.fingerprint import LAG, STEP_S, check_mel, fingerprints
from musicrec.files.parquet import open_parquet
from musicrec.files.paths import AnyPath
from musicrec.monitor.progress import Progress
from musicrec.schemas import FINGERPRINTS, OK
from musicrec.settings import DuplicatesSettings, ExtractSettings
from musicrec.store.lineage import digest, made_by, to_metadata
from musicrec.store.outcomes import Outcome
from musicrec.store.staging import read_staged, stage_shard
from musicrec.store.store import Store
from musicrec.store.table_parts import published_places, published_rows, slices, tracks_per_part, write_version
from musicrec.store.table_spec import Place, Row, Table

FASTER = tuple(1 + step / 200 for step in range(1, 9))  # the other speeds of each fingerprint
TABLE = "fingerprints"
SONGS_PER_TASK = 512
MEMORY = 600 * 2**20  # bytes per worker, with its libraries
BATCH_ROWS = 16  # songs whose spectrograms are read at once

Shard = dict[AnyPath, list[Row]]  # songs by the part of ``mel`` that holds them


class Shared(NamedTuple):
    """Values that all tasks of a run share."""

    out: AnyPath
    work: str  # folder of the staged shards
    table: Table
    sample_rate: int


def bring_up_to_date(store: Store, settings: DuplicatesSettings, address: str | None) -> int:
    """Publish the fingerprint of every song of ``mel``; return how many were made.

    Raises
    ------
    ConfigError
        The spectrograms are too coarse for fingerprints.
    """
    how = store.footer("mel")["settings"]
    check_mel(how["sample_rate"], how["n_mels"])
    places = published_places(store, "mel")
    rows = sorted(row for row, _ in places)
    name = _name(settings, rows)
    if store.exists(TABLE) and store.footer(TABLE)["fingerprint"] == name:
        return 0
    work, table = f"{TABLE}/{settings.code_version}", _table(settings, ExtractSettings(**how))
    known = _known(store, settings) | set(zip(*_staged_rows(store, work), strict=True))
    todo = [place for place in places if place[0] not in known]
    if todo:
        connect(address)
        _make(Shared(store.out, work, table, how["sample_rate"]), todo, len(places))
    version = store.new_version(TABLE, settings, name, **table.lineage, made_of=_made_of(store))
    wanted = pa.table(
        [pa.array(column, pa.string()) for column in zip(*rows, strict=True)], ["track_id", "fingerprint"]
    )
    write_version(store, version, table, wanted, read_staged(store.work, work))
    store.publish(version, keep=0)
    store.work.clear(TABLE)
    return len(todo)


def _name(settings: DuplicatesSettings, rows: list[Row]) -> str:
    return digest([f"{settings.stage} {settings.code_version}", *(part for row in rows for part in row)])


def _made_of(store: Store) -> dict[str, str]:
    return {"mel": store.footer("mel")["fingerprint"]}


def _table(settings: DuplicatesSettings, extracted: ExtractSettings) -> Table:
    steps = int((extracted.duration_s + 1) / STEP_S) + 1 - LAG
    lineage = {"step_s": STEP_S, "faster": list(FASTER)}
    schema = FINGERPRINTS.with_metadata(to_metadata(made_by(settings, **lineage)))
    return Table(TABLE, schema, int(steps * 4.125 * (1 + len(FASTER))), lineage)


def _known(store: Store, settings: DuplicatesSettings) -> set[Row]:
    """Return the rows that are published, unless another version of the code made them."""
    if not store.exists(TABLE) or store.footer(TABLE)["algorithm"] != made_by(settings)["algorithm"]:
        return set()
    return published_rows(store, TABLE)


def _staged_rows(store: Store, work: str) -> list[list[str]]:
    staged = read_staged(store.work, work).outcomes
    return [staged[name].to_pylist() for name in ("track_id", "fingerprint")]


def _make(shared: Shared, todo: list[Place], total: int) -> None:
    """Stage the fingerprints of the songs in `todo`."""
    task = _stage_fingerprints.options(**task_options(MEMORY))
    reference = ray.put(shared)
    with Progress(TABLE, total, total - len(todo)) as progress:
        shards = slices(sorted(todo, key=lambda place: (str(place[1]), place[0])), SONGS_PER_TASK)
        for shard, _ in run_tasks(
            TABLE, lambda number: task.remote(_by_part(shards[number]), reference), range(len(shards))
        ):
            progress.advance(len(shards[shard]))


def _by_part(places: list[Place]) -> Shard:
    parts: Shard = defaultdict(list)
    for row, part in places:
        parts[part].append(row)
    return dict(parts)


@remote(num_cpus=1)
def _stage_fingerprints(shard: Shard, shared: Shared) -> None:
    with compiling():
        fingerprints(np.zeros((256, 64), np.float16), shared.sample_rate, [1.0])
    rows = [row for rows in shard.values() for row in rows]
    store, made = Store(shared.out), _rows(shard, shared.sample_rate)
    while part := sorted(islice(made, tracks_per_part(store, shared.table)), key=itemgetter("track_id")):
        name = digest([row["track_id"] for row in part], [row["fingerprint"] for row in part])
        stage_shard(store.work, shared.work, name, [shared.table], part)
    prometheus.count_tracks(DuplicatesSettings.stage, OK, n=len(rows))


def _rows(shard: Shard, sample_rate: int) -> Iterator[dict[str, Any]]:
    """Yield outcome and fingerprint of each song of a shard."""
    for part, rows in shard.items():
        names = dict(rows)
        with open_parquet(part) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=["track_id", "mel", "n_frames"]):
                songs = pa.Table.from_batches([batch])
                for song in songs.filter(pc.is_in(songs["track_id"], pa.array(list(names)))).to_batches():
                    yield from _rows_of(song, names, sample_rate)


def _rows_of(songs: pa.RecordBatch, names: dict[str, str], sample_rate: int) -> Iterator[dict[str, Any]]:
    for track_id, mel, n_frames in zip(
        songs["track_id"].to_pylist(), songs["mel"], songs["n_frames"].to_pylist(), strict=True
    ):
        spectrogram = mel.values.to_numpy(zero_copy_only=False).reshape(-1, n_frames)
        own, *faster = fingerprints(spectrogram, sample_rate, (1.0, *FASTER))
        outcome = Outcome(track_id, DuplicatesSettings.stage, OK, fingerprint=names[track_id])
        yield outcome._asdict() | {
            "codes": own.codes,
            "audible": pa.array(own.audible),
            "faster_codes": _side_by_side([made.codes for made in faster], len(own.codes)),
            "faster_audible": pa.array(_side_by_side([made.audible for made in faster], len(own.codes))),
        }


def _side_by_side(columns: list[NDArray[Any]], n_steps: int) -> NDArray[Any]:
    """Return the fingerprints at other speeds in a row, each padded by zeros to the length of the song's own."""
    padded = np.zeros((len(columns), n_steps), columns[0].dtype)
    for row, column in zip(padded, columns, strict=True):
        row[: len(column)] = column
    return padded.ravel()
