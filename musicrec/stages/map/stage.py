"""Give each song of the table ``similar`` a place on a map, and publish the places as the table ``map``.

All songs are laid out together once for each space in which songs are compared. From then on the map stays as people
know it: a new song is put among the songs of its list, a song that is gone leaves, and no other moves.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.errors import ConfigError, PublishError
from musicrec.schemas import MAP
from musicrec.serve.sidecar import Sidecar
from musicrec.serve.sidecar_cache import local_version
from musicrec.settings import MapSettings
from musicrec.similarity.layout.new_places import place_new
from musicrec.similarity.layout.rim import on_rim
from musicrec.similarity.layout.umap_layout import lay_out
from musicrec.store.outcomes import Counts
from musicrec.store.store import Store

TABLE = "map"
VERSIONS_KEPT = 3  # older versions that stay on disk beside the published one


@dataclass(frozen=True)
class MapCounts(Counts):
    """Counts, how many songs came after the last layout of all songs, and which version is published."""

    added: int
    table: str

    def __str__(self) -> str:
        return f"{super().__str__()}; added since all were laid out: {self.added}; {self.table}"


def draw_map(store: Store, settings: MapSettings, *, force: bool = False) -> MapCounts:
    """Publish the table ``map``, unless the lists and the settings are those of before.

    Parameters
    ----------
    store : Store
        OUT, locked by the caller, with ``similar``.
    settings : MapSettings
        How songs are laid out.
    force : bool
        Lay all songs out anew, even if a rollback has withdrawn such a map.

    Raises
    ------
    ConfigError
        There is no table ``similar``; or all songs are to be laid out, and umap-learn is not installed.
    PublishError
        The map could not be written; the previous one stays published.
    """
    if not store.exists("similar"):
        raise ConfigError(f"{store.out} has no lists to make a map of; run: musicrec similar {store.out}")
    lists = store.footer("similar")
    before = None if force else _to_go_on_from(store, settings, lists)
    if before and before["lineage"]["made_of"] == {"similar": lists["fingerprint"]}:
        store.versions(TABLE).confirm()
        return _counts(store)
    fingerprint = settings.fingerprint(lists["fingerprint"], *([before["fingerprint"]] if before else []))
    withdrawn = store.versions(TABLE).withdrawn_as(fingerprint)
    if withdrawn and not force:
        again = f"musicrec rollback {store.out} --table {TABLE} --to {withdrawn.version}"
        return _counts(store, note=f"{withdrawn.version} was withdrawn by a rollback; to publish it again: {again}")
    places, n_placed = _added(store, settings) if before else _laid_out(store, settings)
    lineage = {"made_of": {"similar": lists["fingerprint"]}, "space": _space(lists["lineage"]), **_figures(places)}
    _publish(store, settings, fingerprint, places, lineage)
    return _counts(store, fresh=n_placed)


def refresh_map(store: Store) -> MapCounts:
    """Bring the published map up to date with the lists, by the settings that it was made with."""
    return draw_map(store, MapSettings(**store.footer(TABLE)["settings"]))


def _to_go_on_from(store: Store, settings: MapSettings, lists: dict[str, Any]) -> dict[str, Any] | None:
    """Return the footer of the published map if new songs can be added to it: same space, same settings."""
    if not store.exists(TABLE):
        return None
    footer = store.footer(TABLE)
    same_way = (footer["settings"], footer["algorithm"]) == (
        settings.model_dump(mode="json"),
        f"{settings.stage} {settings.code_version}",
    )
    return footer if same_way and footer["lineage"]["space"] == _space(lists["lineage"]) else None


def _space(lineage: dict[str, Any]) -> list[list[Any]]:
    """Return the name, the id and the weight of each space in which songs are compared."""
    own = {"embeddings": {"id": lineage.get("model_id"), "weight": 1.0}}
    return [[name, space["id"], space["weight"]] for name, space in sorted(lineage.get("spaces", own).items())]


def _laid_out(store: Store, settings: MapSettings) -> tuple[pa.Table, int]:
    """Return the rows of a map on which all songs are laid out, and their number."""
    track_ids, sidecar = _lists(store)
    places = lay_out(sidecar.neighbours, sidecar.scores, track_ids.to_pylist(), **settings.model_dump())
    return _to_table(track_ids, places, np.zeros(len(places), bool)), len(places)


def _added(store: Store, settings: MapSettings) -> tuple[pa.Table, int]:
    """Return the rows of the published map without the songs that are gone and with the new ones; and how many."""
    track_ids, sidecar = _lists(store)
    old = store.read(TABLE).combine_chunks()
    row = pc.index_in(track_ids, value_set=old["track_id"].combine_chunks())
    places = np.stack([old[name].take(row).to_numpy() for name in ("x", "y")], axis=1)
    is_new = np.isnan(places[:, 0])
    places = place_new(places, sidecar.neighbours[:, : settings.neighbours])
    left = np.flatnonzero(np.isnan(places[:, 0]))
    places[left] = on_rim(np.delete(places, left, axis=0), track_ids.take(pa.array(left)).to_pylist())
    is_added = old["is_added"].take(row).fill_null(True).to_numpy()
    return _to_table(track_ids, places, is_added), int(is_new.sum())


def _lists(store: Store) -> tuple[pa.StringArray, Sidecar]:
    """Return the ids of the songs that have lists, in order, and the lists."""
    sidecar = Sidecar(local_version(store.path("similar")))
    return sidecar.songs["track_id"].combine_chunks().cast(pa.string()), sidecar


def _to_table(track_ids: pa.StringArray, places: NDArray[np.float32], is_added: NDArray[np.bool_]) -> pa.Table:
    columns = [track_ids, *map(pa.array, np.ascontiguousarray(places.T)), pa.array(is_added)]
    return pa.Table.from_arrays(columns, schema=MAP)


def _publish(store: Store, settings: MapSettings, fingerprint: str, places: pa.Table, lineage: dict[str, Any]) -> None:
    try:
        with store.new_version(TABLE, settings, fingerprint, **lineage) as version:
            version.write_part(places)
            store.publish(version, keep=VERSIONS_KEPT)
    except OSError as e:
        raise PublishError(
            f"map: the table could not be written to {store.out} ({e}); the published table is unchanged; "
            f"free space there and run it again"
        ) from e


def _figures(places: pa.Table) -> dict[str, int]:
    return {"songs": len(places), "added": int(np.count_nonzero(places["is_added"]))}


def _counts(store: Store, *, fresh: int = 0, note: str = "") -> MapCounts:
    """Return the figures in the footer of the published map."""
    lineage = store.footer(TABLE)["lineage"]
    table = "; ".join(filter(None, [f"{store.versions(TABLE).published} is published", note]))
    return MapCounts("map", lineage["songs"], 0, 0, fresh, added=lineage["added"], table=table)
