"""The songs that can be compared: their vectors and names, in order of id, and why the others cannot."""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.errors import SchemaError
from musicrec.schemas import Reason
from musicrec.serve.sidecar import SIDECAR_COLUMNS
from musicrec.settings import OWN_SPACES
from musicrec.store.spaces import read_space, require_spaces, table_of
from musicrec.store.store import Store

BLOCK_ROWS = 65_536
EMBEDDINGS = OWN_SPACES[0]


class Origin(NamedTuple):
    """What vectors were made of."""

    space_id: str | None  # vectors with another id are never compared with these
    fingerprint: str
    lineage: dict[str, Any]  # for the footer of what is made of them
    missing: Reason  # of a song that the table has no row of


class Vectors(NamedTuple):
    """Songs of the catalog with a finite vector."""

    names: pa.Table  # SIDECAR_COLUMNS, by ascending track_id
    matrix: NDArray[np.float32]  # [N, d], a row for each of `names`
    left_out: dict[str, Reason]  # reason by track id, for songs whose vector cannot be compared
    origin: Origin


def read_vectors(store: Store, space: tuple[str, ...] = ()) -> Vectors:
    """Read the vectors of a space, by default of the published embeddings.

    A song whose vector is missing, or contains NaN or infinity, is left out. A vector of zeros is compared: it has
    cosine 0 with every other vector.

    Raises
    ------
    ConfigError
        There is no space of that name.
    SchemaError
        The table holds vectors of two models or of two lengths, or a song twice.
    """
    require_spaces(store, space)
    name = space[0] if space else EMBEDDINGS
    names = _in_order(store.read("tracks", SIDECAR_COLUMNS))
    rows = store.read(table_of(name))
    rows = _in_order(_where(rows, pc.is_in(rows["track_id"], names["track_id"])))
    _check(store, name, rows)
    given = _where(rows, pc.is_valid(rows["embedding"]))
    matrix = pc.list_flatten(given["embedding"]).to_numpy().reshape(given.num_rows, -1 if given.num_rows else 0)
    finite = _finite(matrix)
    usable = given["track_id"].filter(pa.array(finite))
    bad = rows["track_id"].filter(pc.invert(pc.is_in(rows["track_id"], usable)))
    if not finite.all():
        matrix = matrix[finite]
    usable_names = _where(names, pc.is_in(names["track_id"], usable))
    return Vectors(usable_names, matrix, dict.fromkeys(bad.to_pylist(), Reason.NOT_FINITE), _origin(store, name))


def _origin(store: Store, name: str) -> Origin:
    """Return what the published vectors of a space were made of."""
    table = table_of(name)
    footer = store.footer(table)
    made_of = {"made_of": {table: footer["fingerprint"]}}
    if name == EMBEDDINGS:
        lineage = footer["lineage"] | made_of
        return Origin(lineage.get("model_id"), footer["fingerprint"], lineage, Reason.NO_EMBEDDING)
    space = read_space(store, name)
    lineage = {"spaces": {name: space.lineage}} | made_of
    return Origin(space.space_id, f"{table} {footer['fingerprint']}", lineage, Reason.NO_VECTOR)


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


def _finite(matrix: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which rows contain neither NaN nor infinity."""
    blocks = [np.isfinite(matrix[i : i + BLOCK_ROWS]).all(axis=1) for i in range(0, len(matrix), BLOCK_ROWS)]
    return np.concatenate([np.empty(0, bool), *blocks])
