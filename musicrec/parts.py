"""From staged shards and the tables published before to the next version of each table, in parts of a handy size.

Rows are copied a group at a time, so that memory does not grow with the catalog.
"""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from musicrec.columns import OUTCOMES
from musicrec.errors import SchemaError
from musicrec.rows import OPTIONAL_TABLES, Row, Table
from musicrec.storage import ROW_GROUP_ROWS, Store, Version, write_atomic, write_parquet

GROUP_BYTES = 16 * 2**20  # of a row group, before compression: what one writer holds a few times
PART_BYTES = 192 * 2**20  # before compression: mel, features and images become files of 100 to 200 MiB
WRITERS = min(4, os.cpu_count() or 1)  # threads that write parts; reading and compressing release the interpreter lock
ROWS_FILE = "_rows"  # Parquet: track and fingerprint of each row of a version; no reader of *.parquet sees it
WRITING: dict[str, Any] = {  # numbers seldom repeat: a dictionary of them costs more time than it saves space
    "compression": "zstd",
    "use_dictionary": ["track_id"],
}

Item = TypeVar("Item")


def slices(items: list[Item], size: int) -> list[list[Item]]:
    """`items` in their order, `size` at a time."""
    return [items[i : i + size] for i in range(0, len(items), size)]


# --- staged shards ------------------------------------------------------------------------------------------------


class Staged(NamedTuple):
    """What an unfinished run has done: the outcome of each row, and the file it stands in."""

    outcomes: pa.Table
    files: dict[Row, str]


def stage_shard(store: Store, work: str, name: str, rows: pa.Table) -> None:
    """Write one shard into the work folder, whole or not at all; writing it again changes nothing."""
    content = pa.BufferOutputStream()
    pq.write_table(rows, content, **(WRITING | {"compression": "lz4"}))  # soon read, soon removed
    write_atomic(store.work_folder(work) / f"{name}.parquet", content.getvalue())


def read_staged(store: Store, work: str) -> Staged:
    """Outcomes of all staged shards; where two hold a row, the later one counts."""
    import pyarrow.dataset as pads

    files = store.staged(work)
    if not files:
        return Staged(OUTCOMES.empty_table(), {})
    table = pads.dataset(files, format="parquet").to_table(columns=[*OUTCOMES.names, "__filename"])
    return Staged(table.select(OUTCOMES.names), dict(zip(rows_of(table), table["__filename"].to_pylist(), strict=True)))


def rows_of(table: pa.Table) -> list[Row]:
    """Track and fingerprint of each row."""
    return list(zip(table["track_id"].to_pylist(), table["fingerprint"].to_pylist(), strict=True))


# --- versions -----------------------------------------------------------------------------------------------------


def published_rows(store: Store, table: str) -> set[Row]:
    """Track and fingerprint of each row of a published table; of a table with several rows a track, of each track."""
    return set(rows_of(pq.read_table(store.path(table) / ROWS_FILE))) if store.exists(table) else set()


def write_version(store: Store, version: Version, table: Table, rows: pa.Table, staged: Staged) -> None:
    """Write the parts of a version, and the list of its rows.

    Parameters
    ----------
    store : Store
        Where the version before is published, if there is one.
    version : Version
        Receives the parts.
    table : Table
        Which table it is of.
    rows : pyarrow.Table
        ``track_id`` and ``fingerprint`` of the wanted rows, sorted; each staged, or in the version before.
    staged : Staged
        The staged shards.

    Raises
    ------
    SchemaError
        A wanted row is neither here nor there.
    """
    tracks_a_group = max(1, min(ROW_GROUP_ROWS, GROUP_BYTES // table.track_bytes))
    tracks_a_part = tracks_a_group * max(1, PART_BYTES // (tracks_a_group * table.track_bytes))
    schema = table.schema.with_metadata(version.metadata)

    def write_part(number: int, part: list[Row]) -> None:
        with pq.ParquetWriter(version.folder / f"part-{number:05d}.parquet", schema, **WRITING) as writer:
            for group in slices(part, tracks_a_group):
                writer.write_table(_merged(store, table, staged, group).replace_schema_metadata(version.metadata))

    parts = slices(rows_of(rows), tracks_a_part) or [[]]
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write_part, range(len(parts)), parts))
    write_parquet(version.folder / ROWS_FILE, rows)


def withdraw(store: Store, wanted: list[Table]) -> None:
    """Remove the optional tables that the settings no longer ask for: nobody would keep them up to date."""
    for name in OPTIONAL_TABLES - {table.name for table in wanted}:
        (store.out / name).unlink(missing_ok=True)
        shutil.rmtree(store.out / "_versions" / name, ignore_errors=True)


def _merged(store: Store, table: Table, staged: Staged, rows: list[Row]) -> pa.Table:
    """The rows of some tracks in their order, whichever file holds them."""
    files = {row[0]: staged.files[row] for row in rows if row in staged.files}
    kept = [row[0] for row in rows if row not in staged.files]
    pieces = ([_from_shards(table, files)] if files else []) + ([_from_published(store, table, kept)] if kept else [])
    merged = pa.concat_tables(pieces)
    found, wanted = merged["track_id"].to_pylist(), [row[0] for row in rows]
    if not (set(found) <= set(wanted) if table.is_nested else sorted(found) == wanted):
        raise SchemaError(f"{store.out / table.name} lacks songs that outcomes lists; run extract in another OUT")
    return merged if found == wanted else merged.sort_by([(name, "ascending") for name in table.key])


def _from_shards(table: Table, files: dict[str, str]) -> pa.Table:
    """Rows of the given tracks, each from the given file; in order if the shards are."""
    import pyarrow.dataset as pads

    shards = pads.dataset(list(dict.fromkeys(files.values())), format="parquet")
    names = [*table.staged_schema.names, "__filename"]
    staged = shards.to_table(columns=names, filter=pc.field("track_id").isin(list(files)))
    if staged.num_rows > len(files):  # a track that was lost with its worker may stand in two shards
        found = zip(staged["track_id"].to_pylist(), staged["__filename"].to_pylist(), strict=True)
        staged = staged.filter(pa.array([files[track_id] == file for track_id, file in found], pa.bool_()))
    if not table.is_nested:
        columns = [_unpacked(staged[field.name], field.type) for field in table.schema]
        return pa.Table.from_arrays(columns, schema=table.schema)
    lists = staged[table.name].combine_chunks()
    track_ids = staged["track_id"].take(pc.list_parent_indices(lists))
    return pa.Table.from_arrays([track_ids, *pc.list_flatten(lists).flatten()], schema=table.schema)


def _unpacked(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray | pa.Array:
    """A staged column as the table has it: lists from their bytes, without a copy of these."""
    if not pa.types.is_list(kind):
        return column.cast(kind)
    packed = column.combine_chunks()
    _, offsets, content = packed.buffers()
    starts = np.frombuffer(offsets, np.int32)[packed.offset :][: len(packed) + 1] // (kind.value_type.bit_width // 8)
    return pa.ListArray.from_arrays(starts, pa.Array.from_buffers(kind.value_type, starts[-1], [None, content]), kind)


def _from_published(store: Store, table: Table, ids: list[str]) -> pa.Table:
    track_id = pc.field("track_id")
    inside = (track_id >= ids[0]) & (track_id <= ids[-1]) & track_id.isin(ids)  # whole row groups are passed over
    return store.dataset(table.name).to_table(columns=table.schema.names, filter=inside).cast(table.schema)
