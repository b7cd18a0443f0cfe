"""Columns of ``tracks`` that an older musicrec, or another program, did not write, made of those that it did."""

from typing import Any

import pyarrow as pa

from musicrec.schemas import TRACKS
from musicrec.store.store import Store

MADE_OF = {"artist_ids": ["artist_id"], "album_id": ["artist_id", "album"], "genres": ["genre"]}


def read_tracks(store: Store, columns: list[str]) -> pa.Table:
    """Return columns of the published ``tracks``, whichever musicrec wrote it.

    Parameters
    ----------
    store : Store
        OUT, with ``tracks``.
    columns : list of str
        Names from :data:`musicrec.schemas.TRACKS`.

    Raises
    ------
    SchemaError
        The table is missing or damaged.
    """
    held = set(store.dataset("tracks").schema.names)
    wanted = [column for name in columns for column in (name, *MADE_OF.get(name, [])) if column in held]
    table = store.read("tracks", list(dict.fromkeys(wanted)))
    made = {name: _filled(table, name) for name in columns}
    return pa.table(made, schema=pa.schema([TRACKS.field(name) for name in columns]))


def _filled(table: pa.Table, name: str) -> pa.Array | pa.ChunkedArray:
    """Return a column; where it is null or not there, it is made of others."""
    is_held = name in table.column_names
    if is_held and (name not in MADE_OF or not table[name].null_count):
        return table[name]
    own = table[name].to_pylist() if is_held else [None] * table.num_rows
    rows = table.select(MADE_OF.get(name, [])).to_pylist() or [{}] * table.num_rows
    makers: dict[str, Any] = {
        "artist_ids": lambda row: [row["artist_id"]] if row["artist_id"] else [],
        "album_id": lambda row: row["album"] and "/".join(filter(None, [row["artist_id"], row["album"]])),
        "genres": lambda row: [row["genre"]] if row["genre"] else [],
    }
    make = makers.get(name, lambda row: None)
    filled = [make(row) if value is None else value for value, row in zip(own, rows, strict=True)]
    return pa.array(filled, TRACKS.field(name).type)
