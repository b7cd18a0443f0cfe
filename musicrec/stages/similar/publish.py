"""From lists of similar songs to the published table: the gate, Parquet parts, the sidecar, the swap."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
from numpy.typing import NDArray

from musicrec.errors import PublishError, SchemaError
from musicrec.files.paths import remove
from musicrec.serve.sidecar import Sidecar
from musicrec.serve.sidecar_cache import local_version
from musicrec.serve.table_writer import write_table
from musicrec.settings import SimilarSettings
from musicrec.similarity import Lists, check_lists, churn, quality
from musicrec.similarity.rules import score_range
from musicrec.stages.similar.kept_lists import FOLDER, Compared, save
from musicrec.store.store import Store

SONGS_PER_N_FOR_HUBS = 20  # a catalog smaller than 20·n is full of hubs by arithmetic alone
VERSIONS_KEPT = 3  # before the published one


def publish_lists(
    store: Store, settings: SimilarSettings, fingerprint: str, names: pa.Table, compared: Compared
) -> None:
    """Publish the lists of some songs as ``similar``, if they pass the gate.

    Parameters
    ----------
    store : Store
        OUT, with the ``embeddings`` that the lists were made of.
    settings : SimilarSettings
        By which they were made, and the limits of the gate.
    fingerprint : str
        Name of what made them.
    names : pyarrow.Table
        ``SIDECAR_COLUMNS`` of the songs, by ascending track_id.
    compared : Compared
        Lists of each of `names`; what they keep for tomorrow stands beside the table as long as it is published.

    Raises
    ------
    PublishError
        They did not pass, or the disk is full; the table before stays published.
    """
    figures = gate(store, settings, names["track_id"], compared.lists)
    made_of = store.footer("embeddings")
    lineage = made_of["lineage"] | {
        "made_of": {"embeddings": made_of["fingerprint"]},
        "compared": dict(compared.how),
        "gate": figures,
    }
    try:
        with store.new_version("similar", settings, fingerprint, **lineage) as version:
            write_table(version, names, *compared.lists)
            if compared.kept:
                save(compared.kept, version.folder / FOLDER, compared.made_by)
            store.publish(version, keep=VERSIONS_KEPT)
        _keep_only_newest(store)
    except OSError as e:
        raise PublishError(
            f"similar: the table could not be written to {store.out} ({e}); what is published stays whole; "
            f"make room there and run it again"
        ) from e


def _keep_only_newest(store: Store) -> None:
    """Remove from older versions what a refresh would need: it is as large as the vectors, and no longer of use."""
    versions = store.versions("similar")
    for name in versions.on_disk():
        if name != versions.published:
            remove(versions.root / name / FOLDER)


# --- the gate -----------------------------------------------------------------------------------------------------


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


def told(lineage: dict[str, Any]) -> str:
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
