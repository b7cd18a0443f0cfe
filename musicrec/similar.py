"""The fifth stage: the most similar songs of every song, published once the table has passed its gate.

Blocks of rows are independent tasks over vectors that each node holds once. Beside the Parquet parts a version carries
a sidecar for lookups: the same lists as mapped arrays, and the names of the songs.
"""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray
from numpy.typing import NDArray

from musicrec.accounting import Counts, Outcome, check_failures, count, digest, outcomes_table
from musicrec.cluster import connect, run_staged
from musicrec.columns import OK, SKIPPED
from musicrec.errors import MusicrecError, PublishError
from musicrec.progress import Progress
from musicrec.served import write_table
from musicrec.settings import SimilarSettings
from musicrec.sidecar import SIDECAR_COLUMNS
from musicrec.similarity import Quality, check_lists, churn, quality, top_n
from musicrec.storage import Store

ROWS_PER_SHARD = 4096
SONGS_PER_N_FOR_HUBS = 20  # a catalog smaller than 20·n is full of hubs by arithmetic alone
VERSIONS_KEPT = 3  # before the published one


class Lists(NamedTuple):
    """The lists of all songs: row numbers and scores, best first."""

    ids: NDArray[np.int32]  # [N, n]
    scores: NDArray[np.float32]  # [N, n]


def similar(store: Store, settings: SimilarSettings, *, address: str | None = None) -> Counts:
    """Compute the top-N table of the published embeddings and publish it.

    Parameters
    ----------
    store : Store
        OUT, with ``tracks`` and ``embeddings``.
    settings : SimilarSettings
        How many, which metric, and the limits of the gate.
    address : str, optional
        Ray cluster; embedded by default.

    Raises
    ------
    PublishError
        The new table did not pass its gate; the one before stays published.
    """
    names = store.read("tracks", SIDECAR_COLUMNS).sort_by("track_id")
    embeddings = store.read("embeddings").sort_by("track_id")
    embeddings = embeddings.filter(pc.is_in(embeddings["track_id"], names["track_id"]))
    names = names.filter(pc.is_in(names["track_id"], embeddings["track_id"]))
    if embeddings.num_rows < 2:
        raise MusicrecError(f"similar: {embeddings.num_rows} songs have an embedding; a table needs at least two")
    made_of = [store.footer("embeddings")["fingerprint"], digest(*(c.to_pylist() for c in names.columns))]
    name = settings.fingerprint(*made_of)
    shards = digest([made_of[0], str(settings.n), settings.metric])  # neither names nor limits change a list
    is_current = store.exists("similar") and store.footer("similar")["fingerprint"] == name
    if not is_current:
        connect(address)
        lists = _top_n_on_ray(store, settings, shards, embeddings)
        _publish(store, settings, name, names, lists)
    store.record(settings)
    outcomes = _outcomes(store, names["track_id"].to_pylist(), name)
    store.save_outcomes(settings.stage, outcomes, settings, name)
    counts = count(settings.stage, store.track_ids(), outcomes, 0 if is_current else len(names))
    check_failures(counts, 1.0)
    return counts


def _outcomes(store: Store, listed: list[str], name: str) -> pa.Table:
    have_list = set(listed)
    return outcomes_table(
        Outcome(t, "similar", OK, fingerprint=name)
        if t in have_list
        else Outcome(t, "similar", SKIPPED, "no_embedding")
        for t in store.track_ids()
    )


# --- computing ----------------------------------------------------------------------------------------------------


def _top_n_on_ray(store: Store, settings: SimilarSettings, name: str, embeddings: pa.Table) -> Lists:
    n_songs = embeddings.num_rows
    vectors = np.stack(embeddings["embedding"].to_numpy())
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


# --- publishing ---------------------------------------------------------------------------------------------------


def _publish(store: Store, settings: SimilarSettings, name: str, names: pa.Table, lists: Lists) -> None:
    ids, scores = lists
    figures = _gate(store, settings, names["track_id"].to_pylist(), lists)
    lineage = store.footer("embeddings")["lineage"]
    version = store.new_version("similar", settings, name, gate=figures, **lineage)
    write_table(version, names, ids, scores)
    store.publish(version, keep=VERSIONS_KEPT)
    store.clear_work(settings.stage)


def _gate(store: Store, settings: SimilarSettings, track_ids: list[str], lists: Lists) -> dict[str, float | None]:
    """Figures of the new table; PublishError if one is outside its limit."""
    ids, scores = lists
    if ids.shape != (len(track_ids), min(settings.n, len(track_ids) - 1)):
        raise PublishError(f"similar: {ids.shape} lists for {len(track_ids)} songs; not every song has its list")
    check_lists(ids, scores, settings.metric)
    figures: Quality = quality(ids)
    changed = churn(
        _lists_before(store), {t: {track_ids[i] for i in row} for t, row in zip(track_ids, ids, strict=True)}
    )
    enough_songs = len(track_ids) >= SONGS_PER_N_FOR_HUBS * settings.n
    limits = [
        ("coverage", figures.coverage, figures.coverage >= settings.min_coverage, settings.min_coverage),
        ("max_hub_share", figures.max_hub_share, figures.max_hub_share <= settings.max_hub_share or not enough_songs,
         settings.max_hub_share),
        ("churn", changed, changed is None or changed <= settings.max_churn, settings.max_churn),
    ]  # fmt: skip
    for figure, value, passes, limit in limits:
        if not passes:
            raise PublishError(
                f"similar: {figure} is {value:.3f}, its limit {limit:g}; the table before stays published; "
                f"look at the embeddings, or change the limit"
            )
    return {**figures._asdict(), "churn": changed}


def _lists_before(store: Store) -> dict[str, set[str]]:
    lists: dict[str, set[str]] = {}
    if store.exists("similar"):
        table = store.read("similar", ["track_id", "similar_track_id"])
        for track_id, other in zip(*(column.to_pylist() for column in table.columns), strict=True):
            lists.setdefault(track_id, set()).add(other)
    return lists
