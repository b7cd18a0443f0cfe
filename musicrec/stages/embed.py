"""The fourth stage: compute an embedding of every song with a trained model and publish the vectors.

A song that already has a vector from the same model keeps it. The same pass gives the genre probabilities, which are
published beside each vector. For songs that the model was trained on, they largely repeat the genres it was given.
"""

from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from musicrec.cluster import prometheus
from musicrec.cluster.lazy_ray import remote
from musicrec.cluster.tasks import connect, task_options
from musicrec.files.parquet import open_parquet, read_parquet, write_parquet
from musicrec.files.paths import AnyPath, children, local_copy
from musicrec.models import Model, load, read_card
from musicrec.models.inputs import Songs, ahead
from musicrec.monitor.progress import Progress
from musicrec.schemas import EMBEDDINGS, FAILED, OK, SKIPPED, Reason
from musicrec.settings import EmbedSettings
from musicrec.stages.finish import finish
from musicrec.stages.model_inputs import columns_of, lacking, read_songs, require_same_input, tables_read
from musicrec.stages.space_inputs import read_vectors
from musicrec.stages.staged_tasks import run_staged
from musicrec.store.lineage import digest, made_by
from musicrec.store.outcomes import Counts, Outcome, outcomes_table
from musicrec.store.pointer import parts_of
from musicrec.store.store import Store
from musicrec.store.table_parts import ROWS_FILE, published_places
from musicrec.store.table_spec import Place, Row, rows_of

MADE_OF = pa.schema([("track_id", pa.string()), ("fingerprint", pa.string())])  # rows of the table that was read
MEMORY = 1500 * 2**20  # bytes per worker; TensorFlow alone takes two thirds
FEATURE_ROWS, OTHER_ROWS = 50_000, 60  # batch sizes, a few MB each; 60 clips are five whole chunks of resnet
Shard = AnyPath | int  # part of the table that is read; of spaces, a number, as their tables have parts of their own


def embed(store: Store, settings: EmbedSettings, *, address: str | None = None, gpu: bool = False) -> Counts:
    """Bring ``embeddings`` up to date with the published model and the table that it reads.

    Parameters
    ----------
    store : Store
        OUT, with a trained model and its table.
    settings : EmbedSettings
        Which model.
    address : str, optional
        Ray cluster; embedded by default.
    gpu : bool
        Give every task a GPU. The last digits of the vectors then differ from those of a CPU.

    Raises
    ------
    ConfigError
        `gpu` is true, and no node has a GPU.
    """
    card = read_card(store.path(f"models/{settings.model}"))
    require_same_input(store, card)
    made_of = {table: store.footer(table)["fingerprint"] for table in tables_read(card["input"])}
    name = settings.fingerprint(card["model_id"], *made_of.values())
    is_current = store.exists("embeddings") and store.footer("embeddings")["fingerprint"] == name
    n_new = 0 if is_current else _embed_all(_Run(store, settings, name, card, made_of, address, gpu))
    return finish(store, settings, _outcomes(store, name, lacking(store, card["input"])), name, fresh=n_new)


class _Run(NamedTuple):
    """The input of one run: store, settings, model card and options."""

    store: Store
    settings: EmbedSettings
    name: str  # fingerprint of the table to come
    card: dict[str, Any]
    made_of: dict[str, str]  # fingerprints of the tables that the model reads
    address: str | None
    gpu: bool

    @property
    def lineage(self) -> dict[str, Any]:
        """Lineage for the footer."""
        model, model_id = self.settings.model, self.card["model_id"]
        made_of = {f"models/{model}": model_id, **self.made_of}
        return {"model": model, "model_id": model_id, "classes": self.card["classes"], "made_of": made_of}


def _embed_all(run: _Run) -> int:
    """Publish a vector of every song; return how many songs were new to this model."""
    store, before, places = run.store, _rows_before(run), _places(run)
    todo: dict[Shard, list[str]] = defaultdict(list)
    for row, shard in places:
        if row not in before:
            todo[shard].append(row[0])
    pieces = [EMBEDDINGS.empty_table(), *(_new_vectors(run, todo, len(places)) if todo else [])]
    if kept := [track_id for (track_id, fingerprint), _ in places if (track_id, fingerprint) in before]:
        vectors = store.read("embeddings").cast(EMBEDDINGS)
        pieces.append(vectors.filter(pc.is_in(vectors["track_id"], pa.array(kept))))
    version = store.new_version("embeddings", run.settings, run.name, **run.lineage)
    if kept:
        version.keep_rows_of(store.footer("embeddings"))
    version.write_part(pa.concat_tables(pieces).sort_by("track_id"))
    rows = [{"track_id": track_id, "fingerprint": fingerprint} for (track_id, fingerprint), _ in places]
    write_parquet(version.folder / ROWS_FILE, pa.Table.from_pylist(rows, MADE_OF))
    store.publish(version)
    return sum(map(len, todo.values()))


def _new_vectors(run: _Run, todo: dict[Shard, list[str]], total: int) -> list[pa.Table]:
    """Compute the vectors of the songs in `todo`, one task for each shard.

    Shards that an interrupted run has staged are not computed again.
    """
    store, stage = run.store, run.settings.stage
    model = store.path(f"models/{run.settings.model}")
    shards = {f"{run.name}-{digest([str(shard), *ids])}": (shard, ids) for shard, ids in todo.items()}
    connect(run.address)
    task = _embed_shard.options(**task_options(MEMORY, gpu=run.gpu))
    with Progress(stage, total, total - sum(map(len, todo.values()))) as progress:
        staged = run_staged(
            store,
            stage,
            shards,
            lambda name, shard: task.remote(store.out, name, model, *shard),
            lambda shard: progress.advance(len(shard[1])),
        )
    return [read_parquet(path) for path in staged]


def _places(run: _Run) -> list[tuple[Row, Shard]]:
    """Return every song that can be read, as a row, and the shard that it is in."""
    if run.card["input"]["reads"] != "spaces":
        return list(_in_parts(run.store, run.card["input"]["reads"]))
    made_of = [_fingerprints(run.store, table) for table in run.made_of]
    songs = sorted(set.intersection(*map(set, made_of)))
    return [((song, " ".join(of[song] for of in made_of)), i // FEATURE_ROWS) for i, song in enumerate(songs)]


def _fingerprints(store: Store, table: str) -> dict[str, str]:
    """Return what each vector of a table was made from."""
    rows = store.path(table) / ROWS_FILE
    if rows.exists():
        return dict(rows_of(read_parquet(rows)))
    track_ids = store.read(table, ["track_id"])["track_id"].to_pylist()
    return dict.fromkeys(track_ids, store.footer(table)["fingerprint"])


def _in_parts(store: Store, table: str) -> list[Place]:
    """Return the rows of a table, each with the part that holds it."""
    if (store.path(table) / ROWS_FILE).exists():
        return published_places(store, table)
    fingerprint = store.footer(table)["fingerprint"]  # no file of rows: all rows change with the table
    parts = {part: read_parquet(part, ["track_id"]) for part in children(parts_of(store.path(table)), "*.parquet")}
    return [((t, fingerprint), part) for part, rows in parts.items() for t in rows["track_id"].to_pylist()]


def _rows_before(run: _Run) -> set[Row]:
    """Return the rows that the published vectors were made from; none if another model or code version made them."""
    if not run.store.exists("embeddings"):
        return set()
    footer, rows = run.store.footer("embeddings"), run.store.path("embeddings") / ROWS_FILE
    by_this = footer["lineage"].get("model_id") == run.card["model_id"]
    by_this &= footer["algorithm"] == made_by(run.settings)["algorithm"]
    return set(rows_of(read_parquet(rows))) if by_this and rows.exists() else set()


@remote(num_cpus=1)
def _embed_shard(out: AnyPath, name: str, model: AnyPath, shard: Shard, ids: list[str]) -> None:
    """Stage the embeddings of the songs `ids` of one shard."""
    store, trained = Store(out), _load(model)
    pieces = [EMBEDDINGS.empty_table()]
    if isinstance(shard, int):
        songs, vectors_read = read_vectors(store, trained.card["input"], ids)
        pieces.append(_embedded(trained, pa.array(songs, pa.string()), vectors_read))
    else:
        batches = ahead(_batches(trained, shard, ids))
        pieces += (_embedded(trained, rows["track_id"], read_songs(rows, trained.card["input"])) for rows in batches)
    vectors = pa.concat_tables(pieces)
    store.work.stage(EmbedSettings.stage, name, vectors)
    prometheus.count_tracks(EmbedSettings.stage, OK, n=len(vectors))
    prometheus.count_tracks(EmbedSettings.stage, FAILED, Reason.NOT_FINITE, len(ids) - len(vectors))


def _batches(trained: Model, part: AnyPath, ids: list[str]) -> Iterator[pa.Table]:
    card_input = trained.card["input"]
    batch_rows = FEATURE_ROWS if card_input["reads"] == "features" else OTHER_ROWS
    wanted = pa.array(ids)
    with open_parquet(part) as file:
        for batch in file.iter_batches(batch_rows, columns=columns_of(card_input)):
            rows = pa.Table.from_batches([batch])
            if len(rows := rows.filter(pc.is_in(rows["track_id"], wanted))):
                yield rows


def _embedded(trained: Model, track_ids: pa.Array | pa.ChunkedArray, songs: Songs) -> pa.Table:
    vectors, probabilities = trained.embed_and_predict(songs)
    finite = np.isfinite(vectors).all(axis=1) & np.isfinite(probabilities).all(axis=1)
    kept = track_ids.filter(pa.array(finite))
    model_id = [trained.card["model_id"]] * len(kept)
    return pa.table([kept, model_id, list(vectors[finite]), list(probabilities[finite])], schema=EMBEDDINGS)


@lru_cache(maxsize=1)
def _load(model: AnyPath) -> Model:
    with local_copy(model) as folder:
        return load(folder)  # cached: once per worker, not once per part


def _outcomes(store: Store, name: str, lacks: dict[str, tuple[Reason, str]]) -> pa.Table:
    have_vector = set(store.read("embeddings", ["track_id"])["track_id"].to_pylist())
    rows = []
    for track_id in store.track_ids():
        if track_id in have_vector:
            rows.append(Outcome(track_id, "embed", OK, fingerprint=name))
        elif track_id in lacks:
            rows.append(Outcome(track_id, "embed", SKIPPED, *lacks[track_id]))
        else:
            rows.append(
                Outcome(track_id, "embed", FAILED, Reason.NOT_FINITE, "the network gave NaN or infinite values")
            )
    return outcomes_table(rows)
