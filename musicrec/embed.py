"""The fourth stage: run what a trained model reads of every song through it and publish the vectors.

Beside each vector stand the genre probabilities that the same pass gives. Of a song that the model was trained on they
are what it has learned to say.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray

from musicrec.accounting import Counts, Outcome, check_failures, count, digest, outcomes_table
from musicrec.cluster import WorkerLost, connect, run_bounded
from musicrec.columns import EMBEDDINGS, FAILED, OK, SKIPPED
from musicrec.errors import MusicrecError
from musicrec.models import Model, load, read_card
from musicrec.models.inputs import ahead
from musicrec.progress import Progress
from musicrec.settings import EmbedSettings
from musicrec.songs import columns_of, read_songs, require_same_input
from musicrec.storage import Store

FEATURE_ROWS, OTHER_ROWS = 50_000, 60  # read at once: a few MB of either; 60 clips are five whole chunks of resnet


def embed(store: Store, settings: EmbedSettings, *, address: str | None = None) -> Counts:
    """Bring ``embeddings`` up to date with the published model and the table that it reads.

    Parameters
    ----------
    store : Store
        OUT, with a trained model and its table.
    settings : EmbedSettings
        Which model.
    address : str, optional
        Ray cluster; embedded by default.
    """
    card = read_card(store.path(f"models/{settings.model}"))
    require_same_input(store, card)
    table, model_id = card["input"]["reads"], card["model_id"]
    name = settings.fingerprint(model_id, store.footer(table)["fingerprint"])
    is_current = store.exists("embeddings") and store.footer("embeddings")["fingerprint"] == name
    if not is_current:
        connect(address)
        _embed_all(store, settings, name, model_id, table)
    store.record(settings)
    outcomes = _outcomes(store, name, table)
    store.save_outcomes(settings.stage, outcomes, settings, name)
    counts = count(
        settings.stage, store.track_ids(), outcomes, 0 if is_current else store.dataset("embeddings").count_rows()
    )
    check_failures(counts, 1.0)
    return counts


def _embed_all(store: Store, settings: EmbedSettings, name: str, model_id: str, table: str) -> None:
    """A task a part of the table; parts that an interrupted run has done are left out."""
    parts = {f"{name}-{digest([part])}": Path(part) for part in store.dataset(table).files}
    rows = {shard: pq.read_metadata(part).num_rows for shard, part in parts.items()}
    model = store.path(f"models/{settings.model}").resolve()
    staged = {path.stem for path in store.staged(settings.stage)}
    todo = [shard for shard in parts if shard not in staged]
    done = sum(n for shard, n in rows.items() if shard in staged)
    with Progress("embed", sum(rows.values()), done) as progress:
        for shard, lost in run_bounded(lambda s: _embed_part.remote(store.out, s, model, parts[s]), todo):
            if isinstance(lost, WorkerLost):
                raise MusicrecError(f"embed: the worker of {parts[shard]} died again and again ({lost.cause})")
            progress.advance(rows[shard])
    pieces = [pq.read_table(store.work_folder(settings.stage) / f"{shard}.parquet") for shard in parts]
    classes = read_card(model)["classes"]
    version = store.new_version("embeddings", settings, name, model=settings.model, model_id=model_id, classes=classes)
    version.write_part(pa.concat_tables(pieces).sort_by("track_id"))
    store.publish(version)
    store.clear_work(settings.stage)


@ray.remote(num_cpus=1)
def _embed_part(out: Path, shard: str, model: Path, part: Path) -> None:
    """Stage the embeddings of the songs of one part."""
    trained = _load(model)
    pieces = [EMBEDDINGS.empty_table(), *(_embedded(trained, rows) for rows in ahead(_batches(trained, part)))]
    Store(out).stage_shard(EmbedSettings.stage, shard, pa.concat_tables(pieces))


def _batches(trained: Model, part: Path) -> Iterator[pa.Table]:
    described = trained.card["input"]
    most = FEATURE_ROWS if described["reads"] == "features" else OTHER_ROWS
    with pq.ParquetFile(part) as file:
        for batch in file.iter_batches(most, columns=columns_of(described)):
            yield pa.Table.from_batches([batch])


def _embedded(trained: Model, rows: pa.Table) -> pa.Table:
    vectors, probabilities = trained.embed_and_predict(read_songs(rows, trained.card["input"]))
    finite = np.isfinite(vectors).all(axis=1) & np.isfinite(probabilities).all(axis=1)
    track_ids = rows["track_id"].filter(pa.array(finite))
    model_id = [trained.card["model_id"]] * len(track_ids)
    return pa.table([track_ids, model_id, list(vectors[finite]), list(probabilities[finite])], schema=EMBEDDINGS)


@lru_cache(maxsize=1)
def _load(model: Path) -> Model:
    return load(model)  # once a worker, not once a part


def _outcomes(store: Store, name: str, table: str) -> pa.Table:
    have_input, have_vector = (
        set(pc.unique(store.read(source, ["track_id"])["track_id"]).to_pylist()) for source in (table, "embeddings")
    )
    rows = []
    for track_id in store.track_ids():
        if track_id in have_vector:
            rows.append(Outcome(track_id, "embed", OK, fingerprint=name))
        elif track_id in have_input:
            rows.append(Outcome(track_id, "embed", FAILED, "not_finite", "the network gave NaN or infinite values"))
        else:
            rows.append(Outcome(track_id, "embed", SKIPPED, "no_features", "extract did not come through"))
    return outcomes_table(rows)
