"""The songs that can be compared: their vectors and names, in order of id, and why the others cannot."""

import hashlib
import json
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.errors import SchemaError
from musicrec.features.codec_noise import compared, noise_id, reliability
from musicrec.schemas import Reason
from musicrec.serve.sidecar import SIDECAR_COLUMNS
from musicrec.settings import OWN_SPACES, TAGS, weights_of
from musicrec.similarity import Space
from musicrec.store.spaces import read_space, require_spaces, table_of, tags_as_vectors
from musicrec.store.store import Store

BLOCK_ROWS = 65_536
EMBEDDINGS, FEATURES = OWN_SPACES
MISSING = {EMBEDDINGS: Reason.NO_EMBEDDING, FEATURES: Reason.NO_FEATURES}  # of a song that the table has no row of
SCALING_KEPT = 0.2  # features and tags keep their scaling until the number of songs has changed by more than this share

Float32 = NDArray[np.float32]


class Origin(NamedTuple):
    """What vectors were made of."""

    space_id: str | None  # vectors with another id are never compared with these
    fingerprint: str
    lineage: dict[str, Any]  # for the footer of what is made of them


class Vectors(NamedTuple):
    """Songs of the catalog with a finite vector."""

    names: pa.Table  # SIDECAR_COLUMNS, by ascending track_id
    matrix: Float32  # [N, d], a row for each of `names`
    left_out: dict[str, tuple[Reason, str | None]]  # reason and detail by track id, of all other songs of the catalog
    origin: Origin

    @property
    def widths(self) -> dict[str, int]:
        """How many numbers of a vector are of each space; empty for the vectors of embeddings alone."""
        return {name: space["dimension"] for name, space in self.origin.lineage.get("spaces", {}).items()}


class _InSpace(NamedTuple):
    """The songs of the catalog that have a vector in one space."""

    ids: pa.Array  # ascending
    matrix: Float32  # [len(ids), d], finite
    bad: dict[str, Reason]  # songs whose row cannot be used
    space: dict[str, Any]  # for the footer: id, dimension, and what made the vectors


def read_vectors(store: Store, space: tuple[str, ...] = ()) -> Vectors:
    """Read the vectors of a space, by default of the published embeddings, or of several spaces as one vector.

    A song whose vector is missing, or contains NaN or infinity, is left out. A vector of zeros is compared: it has
    cosine 0 with every other vector. In several spaces at once it is left out.

    Parameters
    ----------
    store : Store
        OUT.
    space : tuple of str
        As in :class:`musicrec.settings.SimilarSettings`.

    Raises
    ------
    ConfigError
        There is no space of that name.
    SchemaError
        A table holds vectors of two models or of two lengths, or a song twice.
    """
    weights = weights_of(space)
    require_spaces(store, tuple(weights))
    names = _in_order(store.read("tracks", SIDECAR_COLUMNS))
    found = {name: _read(store, name, names["track_id"]) for name in weights}
    if len(found) > 1:
        found = {name: _without_zeros(own) for name, own in found.items()}
    ids = names["track_id"]
    for own in found.values():
        ids = ids.filter(pc.is_in(ids, own.ids))
    matrix = _joined(list(found.values()), list(weights.values()), ids)
    left_out: dict[str, tuple[Reason, str | None]] = {}
    for name, own in found.items():
        detail = f"it has no vector in the space {name} that can be used" if space else None
        for track_id in names["track_id"].filter(pc.invert(pc.is_in(names["track_id"], own.ids))).to_pylist():
            reason = own.bad.get(track_id, MISSING.get(name, Reason.NO_VECTOR))
            left_out.setdefault(track_id, (reason, detail))
    return Vectors(_where(names, pc.is_in(names["track_id"], ids)), matrix, left_out, _origin(store, found, weights))


def _joined(found: list[_InSpace], weights: list[float], ids: pa.ChunkedArray) -> Float32:
    """Return a row for each of `ids`, which are in all spaces."""
    chosen = [own.matrix if len(own.ids) == len(ids) else own.matrix[_rows(ids, own.ids)] for own in found]
    if len(chosen) == 1:
        return chosen[0]
    from musicrec.similarity.joined_spaces import join

    return join(chosen, weights)


def _rows(ids: pa.ChunkedArray, of: pa.Array) -> NDArray[np.int64]:
    return np.asarray(pc.index_in(ids, value_set=of).to_numpy(), np.int64)


def _origin(store: Store, found: dict[str, _InSpace], weights: dict[str, float]) -> Origin:
    made_of = {table_of(name): store.footer(table_of(name))["fingerprint"] for name in found}
    if list(found) == [EMBEDDINGS]:
        lineage = store.footer(EMBEDDINGS)["lineage"] | {"made_of": made_of}
        return Origin(lineage.get("model_id"), made_of[EMBEDDINGS], lineage)
    spaces = {name: {"weight": weights[name], **own.space} for name, own in found.items()}
    ids = [(space["id"], space["weight"]) for space in spaces.values()]
    space_id = ids[0][0] if len(ids) == 1 else hashlib.blake2b(json.dumps(ids).encode(), digest_size=8).hexdigest()
    inputs = [f"{table} {fingerprint}" for table, fingerprint in made_of.items()]
    return Origin(space_id, " ".join([*inputs, str(space_id)]), {"spaces": spaces, "made_of": made_of})


# --- one space ----------------------------------------------------------------------------------------------------


def _read(store: Store, name: str, track_ids: pa.ChunkedArray) -> _InSpace:
    """Read the vectors that the songs of the catalog have in one space."""
    rows = store.read(table_of(name))
    rows = _in_order(_where(rows, pc.is_in(rows["track_id"], track_ids)))
    if name == FEATURES:
        return _standardised(store, rows)
    if name.startswith(TAGS):
        rows = tags_as_vectors(rows)
    _check(store, name, rows)
    given = _where(rows, pc.is_valid(rows["embedding"]))
    matrix = pc.list_flatten(given["embedding"]).to_numpy().reshape(given.num_rows, -1 if given.num_rows else 0)
    own = _finite_only(rows["track_id"], given["track_id"], matrix)
    lineage = store.footer(table_of(name))["lineage"]
    if name == EMBEDDINGS:
        return own._replace(space={"id": lineage.get("model_id"), "dimension": matrix.shape[1]})
    own = own._replace(space=read_space(store, name).lineage)
    return _centred(store, name, own) if name.startswith(TAGS) else own


def _centred(store: Store, name: str, own: _InSpace) -> _InSpace:
    """Return the vectors of tags minus their mean: so songs are alike in what is unusual, not in what all songs are."""
    made_by = {key: value for key, value in own.space.items() if key not in ("id", "dimension")}
    made_by["tags"] = own.space["id"]
    scaling = _kept_scaling(store, name, made_by, len(own.ids)) or _scaling(own.matrix)
    return _placed(own, made_by, scaling | {"scale": [1.0] * own.matrix.shape[1]})


def _standardised(store: Store, rows: pa.Table) -> _InSpace:
    """Return the vectors of features, logarithms of the positive ones, as they are compared when a scaling is fitted.

    Each then has mean 0, and as its standard deviation the share of its spread that is not owed to the songs' files.
    """
    columns = [name for name in rows.column_names if name != "track_id"]
    features = compared(np.column_stack([rows[name].to_numpy() for name in columns]), columns)
    own = _finite_only(rows["track_id"], rows["track_id"], features.astype(np.float32))
    footer = store.footer(FEATURES)
    made_by = {
        "columns": columns,
        "algorithm": footer["algorithm"],
        "settings": footer["settings"],
        "noise": noise_id(),
    }
    scaling = _kept_scaling(store, FEATURES, made_by, len(own.ids)) or _scaling(own.matrix, columns)
    return _placed(own, made_by, scaling)


def _placed(own: _InSpace, made_by: dict[str, Any], scaling: dict[str, Any]) -> _InSpace:
    """Return the vectors, scaled: a space of its own for each scaling."""
    about = {**made_by, **scaling}
    space_id = hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=8).hexdigest()
    space = Space(np.array(scaling["mean"]), np.array(scaling["scale"]))
    blocks = [space.place(own.matrix[i : i + BLOCK_ROWS]) for i in range(0, len(own.matrix), BLOCK_ROWS)]
    matrix = np.concatenate([np.empty((0, own.matrix.shape[1]), np.float32), *blocks])
    return own._replace(matrix=matrix, space={"id": space_id, "dimension": matrix.shape[1], **about})


def _scaling(features: Float32, columns: list[str] | None = None) -> dict[str, Any]:
    if not len(features):
        return {"n_songs": 0, "mean": [0.0] * features.shape[1], "scale": [1.0] * features.shape[1]}
    fitted = Space.standardised(features[i : i + BLOCK_ROWS] for i in range(0, len(features), BLOCK_ROWS))
    weights = reliability(columns, fitted.scale) if columns else 1.0
    scaling = {"mean": fitted.mean, "scale": fitted.scale / weights}
    rounded = {name: values.astype(np.float32).tolist() for name, values in scaling.items()}
    return {"n_songs": len(features), **rounded}  # of float32, as sums differ in their last digits by machine


def _kept_scaling(store: Store, name: str, made_by: dict[str, Any], n_songs: int) -> dict[str, Any] | None:
    """Return the scaling of the published table: with it, songs that did not change keep their vectors."""
    if not store.exists("similar"):
        return None
    before = store.footer("similar")["lineage"].get("spaces", {}).get(name)
    if not before or "mean" not in before or any(before.get(key) != value for key, value in made_by.items()):
        return None
    if abs(n_songs - before["n_songs"]) > SCALING_KEPT * before["n_songs"]:
        return None
    return {key: before[key] for key in ("n_songs", "mean", "scale")}


def _finite_only(track_ids: pa.ChunkedArray, given: pa.ChunkedArray, matrix: Float32) -> _InSpace:
    """Return the songs with a finite vector; `given` are those of `track_ids` that `matrix` has a row of."""
    finite = _finite(matrix)
    usable = given.filter(pa.array(finite)).combine_chunks()
    bad = track_ids.filter(pc.invert(pc.is_in(track_ids, usable)))
    matrix = matrix if finite.all() else matrix[finite]
    return _InSpace(usable, matrix, dict.fromkeys(bad.to_pylist(), Reason.NOT_FINITE), {})


def _without_zeros(own: _InSpace) -> _InSpace:
    """Leave out the vectors of zeros, which have no direction. If all songs are alike, all are zero and stay."""
    has_direction = own.matrix.any(axis=1)
    if has_direction.all() or not has_direction.any():
        return own
    zero = own.ids.filter(pa.array(~has_direction)).to_pylist()
    bad = own.bad | dict.fromkeys(zero, Reason.ZERO_VECTOR)
    return own._replace(ids=own.ids.filter(pa.array(has_direction)), matrix=own.matrix[has_direction], bad=bad)


def _finite(matrix: Float32) -> NDArray[np.bool_]:
    """Return which rows contain neither NaN nor infinity."""
    blocks = [np.isfinite(matrix[i : i + BLOCK_ROWS]).all(axis=1) for i in range(0, len(matrix), BLOCK_ROWS)]
    return np.concatenate([np.empty(0, bool), *blocks])


# --- tables -------------------------------------------------------------------------------------------------------


def _where(table: pa.Table, mask: pa.ChunkedArray) -> pa.Table:
    """Select rows of a table; it is not copied if all rows are selected."""
    return table if pc.all(mask).as_py() else table.filter(mask)


def _in_order(table: pa.Table) -> pa.Table:
    """Sort a table by ascending id; it is not copied if it is sorted already."""
    ids = table["track_id"].combine_chunks()
    return table if pc.all(pc.less_equal(ids[:-1], ids[1:])).as_py() else table.sort_by("track_id")


def _check(store: Store, name: str, rows: pa.Table) -> None:
    """Raise SchemaError unless each song has one vector, and all vectors are of one model and one length."""
    where = store.out / table_of(name)
    again = f"embed {store.out}" if name == EMBEDDINGS else f"vectors add {store.out} {name} FILE.parquet"
    if name.startswith(TAGS):
        again = f"vectors run {store.out} {name.removeprefix(TAGS)}"
    remedy = f"delete {where} and run: musicrec {again}"
    models = sorted(map(str, pc.unique(rows["model_id"]).to_pylist())) if "model_id" in rows.column_names else []
    if len(models) > 1:
        raise SchemaError(f"table {where} holds vectors of {len(models)} models ({', '.join(models[:3])}); {remedy}")
    lengths = sorted(pc.unique(pc.list_value_length(rows["embedding"]).drop_null()).to_pylist())
    if len(lengths) > 1:
        raise SchemaError(f"table {where} holds vectors of {lengths[0]} and of {lengths[-1]} numbers; {remedy}")
    counts = rows["track_id"].value_counts()
    twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    if len(twice):
        raise SchemaError(f"table {where} holds {twice[0].as_py()!r} more than once; {remedy}")
