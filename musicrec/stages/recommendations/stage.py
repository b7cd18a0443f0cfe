"""Recommend songs to all listeners of the table ``histories``, and publish them as the table ``recommendations``."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from musicrec.cluster.tasks import connect
from musicrec.errors import ConfigError, PublishError
from musicrec.files.paths import AnyPath, link_or_copy, replacing
from musicrec.schemas import RECOMMENDATIONS
from musicrec.serve.comparable_songs import read_vectors
from musicrec.serve.sidecar import Sidecar
from musicrec.serve.sidecar_cache import local_version
from musicrec.serve.song_facts import facts_of
from musicrec.settings import RecommendSettings, SimilarSettings, resolve
from musicrec.similarity import Songs, is_asked
from musicrec.stages.recommendations.listener_tasks import TABLE, Plan, counts_of, recommend_on_ray
from musicrec.stages.recommendations.song_numbers import SongNumbers, read_song_numbers
from musicrec.store.lineage import FOOTER_FILE, made_by, to_metadata
from musicrec.store.store import Store

FIGURES = "listeners"  # in the lineage of the table
VERSIONS_KEPT = 3  # older versions that stay on disk beside the published one
SAID = {  # of the figures, what is worth a word when it is not 0
    "without_likes": "without a like that can be compared",
    "without_songs": "with no song left",
    "fewer_songs": "with fewer songs than asked for",
    "deeper_lists": "by longer lists of their likes",
    "by_lists_only": "by lists that may be too short",
}


@dataclass(frozen=True)
class RecommendCounts:
    """What is published, and what became of the listeners."""

    listeners: int
    rows: int
    without_likes: int  # none of their likes is in the table of similar songs
    without_songs: int  # every song that is similar to their likes was heard
    fewer_songs: int
    deeper_lists: int  # the published lists were too short for them
    by_lists_only: int  # the same, and the vectors of these lists are not published now
    unknown_songs: int  # rows of histories whose song is not in the catalog
    table: str
    fresh: bool = True

    def __str__(self) -> str:
        listeners = [f"{n:,} {words}" for name, words in SAID.items() if (n := getattr(self, name))]
        unknown = [f"songs heard that are not in the catalog: {self.unknown_songs:,}"] if self.unknown_songs else []
        return "; ".join([
            f"recommend: {self.rows:,} songs for {self.listeners:,} listeners{'' if self.fresh else ' (none now)'}",
            *([f"listeners: {', '.join(listeners)}"] if listeners else []),
            *unknown,
            self.table,
        ])  # fmt: skip


def recommend_to_all(
    store: Store, settings: RecommendSettings, *, address: str | None = None, force: bool = False
) -> RecommendCounts:
    """Publish the table ``recommendations``, unless histories, lists and settings are those of before.

    Songs are ranked by their similarity to the most similar like. Songs that were heard, and other files of their
    recordings, are never recommended.

    Parameters
    ----------
    store : Store
        OUT, locked by the caller, with ``histories`` and ``similar``.
    settings : RecommendSettings
        How many songs.
    address : str, optional
        Ray cluster; embedded by default.
    force : bool
        Publish the table even if a rollback has withdrawn it.

    Raises
    ------
    ConfigError
        There is no table ``histories`` or ``similar``.
    PublishError
        The new table is not whole; the previous one stays published.
    """
    for table, command in (("histories", f"histories {store.out} PATH"), ("similar", f"similar {store.out}")):
        if not store.exists(table):
            raise ConfigError(f"{store.out} has no {table} to recommend from; run: musicrec {command}")
    similar = store.path("similar")
    songs = read_song_numbers(store, Sidecar(local_version(similar)).songs["track_id"].combine_chunks())
    made_of = {table: store.footer(table)["fingerprint"] for table in ("histories", "similar")}
    fingerprint = settings.fingerprint(*made_of.values(), songs.fingerprint)
    versions = store.versions(TABLE)
    if store.exists(TABLE) and store.footer(TABLE)["fingerprint"] == fingerprint:
        versions.confirm()
        return _counts(store, fresh=False)
    withdrawn = versions.withdrawn_as(fingerprint)
    if withdrawn and not force:
        return _counts(
            store, fresh=False, note=f"{withdrawn.version} was withdrawn by a rollback; --force publishes it"
        )
    if withdrawn and withdrawn.version in versions.on_disk():
        store.rollback(TABLE, withdrawn.version)  # forward
        return _counts(store, fresh=False)
    connect(address)
    of_lists = resolve(SimilarSettings, store.footer("similar")["settings"])
    matrix, facts = _vectors(store, of_lists, songs)
    metadata = to_metadata(made_by(settings, made_of=made_of) | {"fingerprint": fingerprint})
    plan = Plan(store.out, settings, similar, songs, metadata, of_lists, facts)
    shards = recommend_on_ray(store, store.path("histories"), plan, matrix, fingerprint)
    _publish(store, settings, fingerprint, shards, made_of)
    return _counts(store)


def _vectors(
    store: Store, of_lists: SimilarSettings, songs: SongNumbers
) -> tuple[NDArray[np.float32] | None, Songs | None]:
    """Return the vectors of the published lists, and what their rules look at, if longer lists can be made of them.

    That cannot be if the vectors have changed since, if the lists are approximate, or if a method against hubs made
    them, which depends on their length.
    """
    lineage = store.footer("similar")["lineage"]
    if of_lists.hubness != "none" or lineage.get("compared", {}).get("exact") is False:
        return None, None
    try:
        vectors = read_vectors(store, of_lists.space)
    except ConfigError:  # the space was removed
        return None, None
    listed = songs.track_ids.filter(songs.row >= 0)
    made_of = lineage.get("made_of", {})
    same = all(made_of.get(table) == name for table, name in vectors.origin.lineage["made_of"].items())
    if not same or vectors.names["track_id"].to_pylist() != listed.to_pylist():
        return None, None
    return vectors.matrix, facts_of(store, vectors, of_lists) if is_asked(of_lists) else None


def _publish(
    store: Store, settings: RecommendSettings, fingerprint: str, shards: list[AnyPath], made_of: dict[str, str]
) -> None:
    """Publish staged shards, each as a part."""
    figures: Counter[str] = Counter()
    for shard in shards:
        figures.update(counts_of(shard))
    try:
        lineage: dict[str, Any] = {"made_of": made_of, FIGURES: dict(figures)}
        with store.new_version(TABLE, settings, fingerprint, **lineage) as version:
            for number, shard in enumerate(shards):
                link_or_copy(shard, version.part(number))
            with replacing(version.folder / FOOTER_FILE) as temporary:  # of all parts
                pq.write_metadata(RECOMMENDATIONS.with_metadata(version.metadata), temporary)
            store.publish(version, keep=VERSIONS_KEPT)
    except OSError as e:
        raise PublishError(
            f"recommend: the table could not be written to {store.out} ({e}); the published table is unchanged; "
            f"free space there and run it again"
        ) from e
    store.work.clear(settings.stage)


def _counts(store: Store, *, fresh: bool = True, note: str = "") -> RecommendCounts:
    """Return the figures in the footer of the published table."""
    published = store.versions(TABLE).published
    figures = dict.fromkeys(RecommendCounts.__annotations__.keys() - {"table", "fresh"}, 0)
    figures |= store.footer(TABLE)["lineage"][FIGURES]
    table = "; ".join(filter(None, [f"{published} is published", note]))
    return RecommendCounts(**figures, table=table, fresh=fresh)
