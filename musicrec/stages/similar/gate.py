"""The gate: what a new table of similar songs must satisfy to be published."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.errors import PublishError, SchemaError
from musicrec.serve.sidecar import Sidecar
from musicrec.serve.sidecar_cache import local_version
from musicrec.settings import SimilarSettings
from musicrec.similarity import Lists, check_lists, churn, quality
from musicrec.similarity.rules import score_range
from musicrec.store.store import Store

SONGS_PER_N_FOR_HUBS = 20  # a catalog smaller than 20·n is full of hubs by arithmetic alone


def gate(store: Store, settings: SimilarSettings, track_ids: pa.ChunkedArray, lists: Lists) -> dict[str, float | None]:
    """Figures of the new table; PublishError if one is outside its limit."""
    ids, scores = lists
    n_songs = len(track_ids)
    if ids.shape != (n_songs, min(settings.n, n_songs - 1)):
        raise PublishError(f"similar: {ids.shape} lists for {n_songs} songs; not every song has its list")
    short_lists = check_lists(ids, scores, score_range(settings))
    figures = quality(ids)
    changed = _churn(store, track_ids, ids)
    enough_songs = n_songs >= SONGS_PER_N_FOR_HUBS * settings.n
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
    return {"songs": n_songs, "short_lists": short_lists, **figures._asdict(), "churn": changed}


def _churn(store: Store, track_ids: pa.ChunkedArray, ids: NDArray[np.int32]) -> float | None:
    """Churn against the published table; None if there is none, or a damaged one, than which any is better."""
    try:
        ids_before, lists_before = published_lists(store)
    except SchemaError:
        return None
    value_set = ids_before.cast(track_ids.type).combine_chunks()
    rows_before = pc.fill_null(pc.index_in(track_ids, value_set=value_set), -1)
    return churn(lists_before, ids, rows_before.to_numpy())


def published_lists(store: Store) -> tuple[pa.ChunkedArray, NDArray[np.int32]]:
    """Track ids and lists, int32 [N, n], of the published table, mapped."""
    sidecar = Sidecar(local_version(store.path("similar")))
    return sidecar.songs["track_id"], sidecar.neighbours


def describe(lineage: dict[str, Any]) -> str:
    """The gate's figures in one line, and how the lists came about."""
    figures, how = lineage.get("gate", {}), lineage.get("compared", {})
    shown = {"coverage": "coverage", "max_hub_share": "largest hub", "churn": "churn"}
    parts = [f"{words} {figures[name]:.3f}" for name, words in shown.items() if figures.get(name) is not None]
    if figures.get("short_lists"):
        parts.append(f"{figures['short_lists']} lists have fewer songs")
    if how.get("exact") is False:
        parts.append(f"approximate, recall {how['recall']:.3f}")
    if "changed" in how:
        parts.append(f"refreshed, {how['changed']:,} new or changed")
    return ", ".join(parts)
