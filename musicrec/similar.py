"""The fifth stage: the most similar songs of every song, published once the table has passed its gate.

Blocks of rows are independent tasks over vectors that each node holds once. Beside the Parquet parts a version carries
a sidecar for lookups: the same lists as mapped arrays, and the names of the songs.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from numpy.typing import NDArray

from musicrec.accounting import Counts, Outcome, check_failures, count, digest, outcomes_table
from musicrec.cluster import connect, run_staged
from musicrec.columns import OK, SKIPPED
from musicrec.errors import MusicrecError
from musicrec.progress import Progress
from musicrec.publish import Lists, publish_lists, published_lists, told
from musicrec.settings import SimilarSettings
from musicrec.similarity import top_n
from musicrec.storage import Store
from musicrec.vectors import read_vectors

ROWS_PER_SHARD = 4096


@dataclass(frozen=True)
class SimilarCounts(Counts):
    """Counts, and what became of the table: which version is published now, and its figures."""

    table: str

    def __str__(self) -> str:
        return f"{super().__str__()}; {self.table}"


def similar(
    store: Store, settings: SimilarSettings, *, address: str | None = None, force: bool = False
) -> SimilarCounts:
    """Compute the top-N table of the published embeddings and publish it.

    A table that a rollback has withdrawn is not published again while it would be made of the same, unless `force`.

    Parameters
    ----------
    store : Store
        OUT, with ``tracks`` and ``embeddings``.
    settings : SimilarSettings
        How many, which metric, and the limits of the gate.
    address : str, optional
        Ray cluster; embedded by default.
    force : bool
        Publish a withdrawn table too.

    Raises
    ------
    PublishError
        The new table did not pass its gate; the one before stays published.
    SchemaError
        The embeddings cannot be compared with each other.
    """
    names, vectors, left_out = read_vectors(store)
    if len(names) < 2:
        raise MusicrecError(f"similar: {len(names)} songs have an embedding; a table needs at least two")
    made_of = [store.footer("embeddings")["fingerprint"], digest(*(c.to_pylist() for c in names.columns))]
    name = settings.fingerprint(*made_of)
    shards = digest([made_of[0], str(settings.n), settings.metric])  # neither names nor limits change a list
    versions = store.versions("similar")
    is_current = versions.published is not None and store.footer("similar")["fingerprint"] == name
    withdrawn = None if is_current or force else versions.withdrawn_as(name)
    if is_current:
        versions.confirm()
    elif not withdrawn:
        connect(address)
        publish_lists(store, settings, name, names, _top_n_on_ray(store, settings, shards, vectors))
        store.clear_work(settings.stage)
    store.record(settings)
    outcomes = _outcomes(store, left_out, "withdrawn" if withdrawn else "no_embedding")
    store.save_outcomes(settings.stage, outcomes, settings, name)
    fresh = 0 if is_current or withdrawn else len(names)
    counts = count(settings.stage, store.track_ids(), outcomes, fresh)
    check_failures(counts, 1.0)
    return SimilarCounts(**vars(counts), table=_told(store, withdrawn))


def _outcomes(store: Store, left_out: dict[str, str], otherwise: str) -> pa.Table:
    """What became of every song of the catalog in the published table."""
    listed = set(published_lists(store)[0].to_pylist())
    name = store.footer("similar")["fingerprint"]
    return outcomes_table(
        Outcome(t, "similar", OK, fingerprint=name)
        if t in listed
        else Outcome(t, "similar", SKIPPED, left_out.get(t, otherwise))
        for t in store.track_ids()
    )


def _told(store: Store, withdrawn: tuple[str, str] | None) -> str:
    """Which version is published, and why not the one that the embeddings would give."""
    published = store.versions("similar").published
    if withdrawn:
        version, at = withdrawn
        return (
            f"{version} was withdrawn by a rollback on {at[:10]}, and {published} stays published; "
            f"to publish it again: musicrec similar {store.out} --force"
        )
    return f"{published} is published: {told(store.footer('similar')['lineage'].get('gate', {}))}"


# --- computing ----------------------------------------------------------------------------------------------------


def _top_n_on_ray(store: Store, settings: SimilarSettings, name: str, vectors: NDArray[np.float32]) -> Lists:
    n_songs = len(vectors)
    reference = ray.put(vectors)
    with Progress("similar", n_songs) as progress:
        shards = run_staged(
            store,
            settings.stage,
            {f"{name}-{start:010d}": start for start in range(0, n_songs, ROWS_PER_SHARD)},
            lambda shard, start: _top_n_shard.remote(store.out, shard, reference, settings, start),
            lambda start: progress.advance(min(ROWS_PER_SHARD, n_songs - start)),
        )
    staged = pa.concat_tables([pq.read_table(shard) for shard in shards])
    return Lists(np.stack(staged["ids"].to_numpy()), np.stack(staged["scores"].to_numpy()))


@ray.remote(num_cpus=1)
def _top_n_shard(out: str, name: str, vectors: Any, settings: SimilarSettings, start: int) -> None:  # noqa: ANN401
    """Stage the lists of the rows `start` … of `vectors`."""
    rows = (start, min(start + ROWS_PER_SHARD, len(vectors)))
    ids, scores = top_n(vectors, settings.n, settings.metric, rows=rows)
    schema = pa.schema([("ids", pa.list_(pa.int32())), ("scores", pa.list_(pa.float32()))])
    Store(out).stage_shard(settings.stage, name, pa.table([list(ids), list(scores)], schema=schema))
