"""Recommend songs to all listeners of the table ``histories``, and publish them as the table ``recommendations``."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from musicrec.cluster.tasks import connect
from musicrec.errors import ConfigError, PublishError
from musicrec.files.parquet import read_parquet
from musicrec.files.paths import AnyPath, link_or_copy, make_folder, replacing
from musicrec.models.recommenders.collaborative import NoLibraryError, implicit_version
from musicrec.schemas import RECOMMENDATIONS
from musicrec.serve.sidecar import Sidecar
from musicrec.serve.sidecar_cache import local_version
from musicrec.settings import RecommendSettings, SimilarSettings, resolve
from musicrec.stages.recommendations.cold_listeners import cold_start
from musicrec.stages.recommendations.collaborative_fit import fit_on_ray
from musicrec.stages.recommendations.kept_listeners import FOLDER, Same, figures_of
from musicrec.stages.recommendations.listener_keys import song_keys
from musicrec.stages.recommendations.listener_tasks import TABLE, Plan, Tonight, like_counts, n_anew, recommend_on_ray
from musicrec.stages.recommendations.methods import BY_VECTORS
from musicrec.stages.recommendations.song_numbers import read_song_numbers
from musicrec.stages.recommendations.song_vectors import NoVectorsError, read_song_vectors
from musicrec.store.lineage import FOOTER_FILE, made_by, to_metadata
from musicrec.store.store import Store

FIGURES, HYBRID = "listeners", "hybrid"  # in the lineage of the table
VERSIONS_KEPT = 3  # older versions that stay on disk beside the published one
SAID = {  # of the figures, what is worth a word when it is not 0
    "without_likes": "without a like that can be compared",
    "cold": "by centres of genres or popularity",
    "heard_everything": "with nothing left, as they have heard everything",
    "without_songs": "with no song left that anybody likes",
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
    cold: int  # what they like is not known, or gives no song: centres of their genres, and popular songs
    heard_everything: int  # no song for them, as they have heard all recordings
    without_songs: int  # no song for them, as they have heard all that anybody likes
    fewer_songs: int
    deeper_lists: int  # the published lists were too short for them
    by_lists_only: int  # the same, and the vectors of these lists are not published now
    unknown_songs: int  # rows of histories whose song is not in the catalog
    table: str
    fused: str = ""  # of the method hybrid: its weights, or why content counts alone
    anew: int = 0  # for how many listeners songs were computed; those of all others are as they were

    @property
    def fresh(self) -> bool:
        """Whether a new table was published."""
        return self.anew > 0

    def __str__(self) -> str:
        now = "" if self.anew == self.listeners else f" ({f'{self.anew:,}' if self.anew else 'none'} now)"
        listeners = [f"{n:,} {words}" for name, words in SAID.items() if (n := getattr(self, name))]
        unknown = [f"songs heard that are not in the catalog: {self.unknown_songs:,}"] if self.unknown_songs else []
        return "; ".join([
            f"recommend: {self.rows:,} songs for {self.listeners:,} listeners{now}",
            *([f"listeners: {', '.join(listeners)}"] if listeners else []),
            *unknown,
            *([f"hybrid: {self.fused}"] if self.fused else []),
            self.table,
        ])  # fmt: skip


def recommend_to_all(
    store: Store, settings: RecommendSettings, *, address: str | None = None, force: bool = False
) -> RecommendCounts:
    """Publish the table ``recommendations``, unless histories, lists and settings are those of before.

    Songs that were heard, and other files of their recordings, are never recommended. Only listeners for whom anything
    has changed since the published table are recommended to anew; the table is the same as if all were.

    Parameters
    ----------
    store : Store
        OUT, locked by the caller, with ``histories`` and ``similar``.
    settings : RecommendSettings
        How many songs, and by which method.
    address : str, optional
        Ray cluster; embedded by default.
    force : bool
        Publish the table even if a rollback has withdrawn it.

    Raises
    ------
    ConfigError
        There is no table ``histories`` or ``similar``, what the method compares is not published, or it needs a
        library that is not installed.
    PublishError
        The new table is not whole; the previous one stays published.
    """
    for table, command in (("histories", f"histories {store.out} PATH"), ("similar", f"similar {store.out}")):
        if not store.exists(table):
            raise ConfigError(f"{store.out} has no {table} to recommend from; run: musicrec {command}")
    similar = store.path("similar")
    songs = read_song_numbers(store, Sidecar(local_version(similar)).songs["track_id"].combine_chunks())
    made_of = {table: store.footer(table)["fingerprint"] for table in read_by(settings)}
    libraries = (implicit_version(HYBRID),) if settings.method == HYBRID else ()
    fingerprint = settings.fingerprint(*made_of.values(), songs.fingerprint, *libraries)
    versions = store.versions(TABLE)
    if store.exists(TABLE) and store.footer(TABLE)["fingerprint"] == fingerprint:
        versions.confirm()
        return _counts(store)
    withdrawn = versions.withdrawn_as(fingerprint)
    if withdrawn and not force:
        return _counts(store, note=f"{withdrawn.version} was withdrawn by a rollback; --force publishes it")
    if withdrawn and withdrawn.version in versions.on_disk():
        store.rollback(TABLE, withdrawn.version)  # forward
        return _counts(store)
    connect(address)
    of_lists = resolve(SimilarSettings, store.footer("similar")["settings"])
    vectors, facts = read_song_vectors(store, of_lists, songs, settings)
    metadata = to_metadata(made_by(settings, made_of=made_of) | {"fingerprint": fingerprint})
    plan = Plan(store.out, settings, similar, songs, metadata, of_lists, facts)
    given = plan.given(plan.lists, vectors)
    cold = cold_start(like_counts(store, plan), songs, given)
    keys = song_keys(songs, given, cold)
    makes_lists = vectors is not None and vectors.makes_lists
    unchanged = {"songs": songs.fingerprint, "cold": f"{keys.cold:016x}", "makes_lists": makes_lists}
    fusion, card = fit_on_ray(store, settings) if settings.method == HYBRID else (None, None)
    tonight = Tonight(cold, keys, _same_as_published(store, settings, made_of, unchanged), fusion)
    shards = recommend_on_ray(store, plan, vectors, tonight, fingerprint)
    lineage = {"made_of": made_of, **unchanged, **({HYBRID: card} if card else {})}
    anew = _publish(store, settings, fingerprint, shards, lineage)
    return _counts(store, anew=anew)


def refresh_recommendations(store: Store, *, address: str | None = None) -> RecommendCounts:
    """Bring the published table up to date with histories and lists, by the settings that it was made with.

    If the lists are of vectors that were replaced since, as after a rollback, and the method needs these, it stays; so
    it does if the method needs a library that this machine lacks.
    """
    try:
        return recommend_to_all(store, resolve(RecommendSettings, store.footer(TABLE)["settings"]), address=address)
    except (NoVectorsError, NoLibraryError) as e:
        return _counts(store, note=str(e))


def read_by(settings: RecommendSettings) -> tuple[str, ...]:
    """Return the tables that recommendations are made of, beside ``tracks`` and ``recordings``."""
    return ("histories", "similar", *(("embeddings",) if settings.method == "genre" else ()))


def _same_as_published(
    store: Store, settings: RecommendSettings, made_of: dict[str, str], unchanged: dict[str, Any]
) -> Same | None:
    """Return what has not changed since the published table was made; None if nothing of it can be used."""
    if not store.exists(TABLE) or settings.method == HYBRID:  # the factors of each listener depend on all others
        return None
    footer = store.footer(TABLE)
    how = (settings.formerly | footer["settings"], footer["algorithm"])
    if how != (settings.model_dump(mode="json"), f"{settings.stage} {settings.code_version}"):
        return None
    before = footer["lineage"]
    of_lists = {name: value for name, value in made_of.items() if name != "histories"}
    lists = all(before["made_of"].get(name) == value for name, value in of_lists.items())
    lists &= all(before.get(name) == unchanged[name] for name in ("songs", "makes_lists"))
    if settings.method in BY_VECTORS and not lists:  # any song may be in any list
        return None
    return Same(store.path(TABLE), lists=lists, cold=before.get("cold") == unchanged["cold"])


def _publish(
    store: Store,
    settings: RecommendSettings,
    fingerprint: str,
    shards: list[tuple[AnyPath, AnyPath]],
    lineage: dict[str, Any],
) -> int:
    """Publish staged shards, each as a part; return for how many listeners they are new."""
    figures: Counter[str] = Counter(dict.fromkeys(SAID, 0))
    anew = 0
    for _, kept in shards:
        figures += figures_of(read_parquet(kept), settings.n)
        anew += n_anew(kept)
    try:
        with store.new_version(TABLE, settings, fingerprint, **lineage, **{FIGURES: dict(figures)}) as version:
            folder = make_folder(version.folder / FOLDER)
            for number, (shard, kept) in enumerate(shards):
                link_or_copy(shard, version.part(number))
                link_or_copy(kept, folder / f"{number:05d}.parquet")
            with replacing(version.folder / FOOTER_FILE) as temporary:  # of all parts
                pq.write_metadata(RECOMMENDATIONS.with_metadata(version.metadata), temporary)
            store.publish(version, keep=VERSIONS_KEPT)
    except OSError as e:
        raise PublishError(
            f"recommend: the table could not be written to {store.out} ({e}); the published table is unchanged; "
            f"free space there and run it again"
        ) from e
    store.work.clear(settings.stage)
    return anew


def _counts(store: Store, *, anew: int = 0, note: str = "") -> RecommendCounts:
    """Return the figures in the footer of the published table."""
    table = "; ".join(filter(None, [f"{store.versions(TABLE).published} is published", note]))
    figures: dict[str, int] = store.footer(TABLE)["lineage"][FIGURES]
    known = {name: figures.get(name, 0) for name in ("listeners", "rows", *SAID, "unknown_songs")}
    fused = _fused(store.footer(TABLE)["lineage"].get(HYBRID))
    return RecommendCounts(**known, table=table, fused=fused, anew=anew)


def _fused(card: dict[str, Any] | None) -> str:
    """Return in words what the method hybrid has fused."""
    if not card:
        return ""
    if why := card.get("content_alone"):
        return f"by content alone, as {why}"
    shares = " + ".join(f"{weight:g} {name}" for name, weight in card["weights"].items() if weight)
    return f"{shares}; the weights fit {card['n_validation_users']:,} listeners"
