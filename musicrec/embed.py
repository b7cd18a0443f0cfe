"""The fourth stage: run every song's features through a trained network and publish the vectors."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import ray

from musicrec.accounting import Counts, Outcome, check_failures, count, outcomes_table
from musicrec.cluster import connect, run_staged
from musicrec.columns import EMBEDDINGS, FAILED, OK, SKIPPED
from musicrec.models import Model, load, read_card
from musicrec.progress import Progress
from musicrec.settings import EmbedSettings
from musicrec.storage import Store

TRACKS_PER_SHARD = 50_000


def embed(store: Store, settings: EmbedSettings, *, address: str | None = None) -> Counts:
    """Bring ``embeddings`` up to date with ``features`` and the published model.

    Parameters
    ----------
    store : Store
        OUT, with ``features`` and a trained model.
    settings : EmbedSettings
        Which model.
    address : str, optional
        Ray cluster; embedded by default.
    """
    model_id = read_card(store.path(f"models/{settings.model}"))["model_id"]
    name = settings.fingerprint(model_id, store.footer("features")["fingerprint"])
    is_current = store.exists("embeddings") and store.footer("embeddings")["fingerprint"] == name
    if not is_current:
        connect(address)
        _embed_all(store, settings, name, model_id)
    store.record(settings)
    outcomes = _outcomes(store, name)
    store.save_outcomes(settings.stage, outcomes, settings, name)
    counts = count(
        settings.stage, store.track_ids(), outcomes, 0 if is_current else store.dataset("embeddings").count_rows()
    )
    check_failures(counts, 1.0)
    return counts


def _embed_all(store: Store, settings: EmbedSettings, name: str, model_id: str) -> None:
    n = store.dataset("features").count_rows()
    starts = range(0, n, TRACKS_PER_SHARD)
    model, features = (store.path(name).resolve() for name in (f"models/{settings.model}", "features"))
    with Progress("embed", n) as progress:
        shards = run_staged(
            store,
            settings.stage,
            {f"{name}-{start:010d}": start for start in starts},
            lambda shard, start: _embed_shard.remote(store.out, shard, model, features, start),
            lambda start: progress.advance(min(TRACKS_PER_SHARD, n - start)),
        )
    version = store.new_version("embeddings", settings, name, model=settings.model, model_id=model_id)
    for shard in shards:
        version.write_part(pq.read_table(shard))
    store.publish(version)
    store.clear_work(settings.stage)


@ray.remote(num_cpus=1)
def _embed_shard(out: Path, name: str, model: Path, features: Path, start: int) -> None:
    """Stage the embeddings of the songs `start` … of the features table."""
    trained = _load(model)
    card = trained.card
    table = pads.dataset(features, format="parquet").to_table(columns=["track_id", *card["feature_names"]])
    songs = table.slice(start, TRACKS_PER_SHARD)
    vectors = trained.embed(songs.select(card["feature_names"]).to_pandas().to_numpy("float32"))
    finite = np.isfinite(vectors).all(axis=1)
    columns = [songs["track_id"].filter(finite), [card["model_id"]] * int(finite.sum()), list(vectors[finite])]
    Store(out).stage_shard(EmbedSettings.stage, name, pa.table(columns, schema=EMBEDDINGS))


@lru_cache(maxsize=1)
def _load(model: Path) -> Model:
    return load(model)  # once a worker, not once a shard


def _outcomes(store: Store, name: str) -> pa.Table:
    have_features, have_vector = (
        set(store.read(table, ["track_id"])["track_id"].to_pylist()) for table in ("features", "embeddings")
    )
    rows = []
    for track_id in store.track_ids():
        if track_id in have_vector:
            rows.append(Outcome(track_id, "embed", OK, fingerprint=name))
        elif track_id in have_features:
            rows.append(Outcome(track_id, "embed", FAILED, "not_finite", "the network gave NaN or infinite values"))
        else:
            rows.append(Outcome(track_id, "embed", SKIPPED, "no_features", "extract did not come through"))
    return outcomes_table(rows)
