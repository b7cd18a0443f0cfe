"""Make the next version of each table from staged shards and the published version, in parts of a handy size.

A worker writes what a shard's tracks have in each table as one file, in the form in which it is published. Files of a
large table (:attr:`Table.is_large`) enter each version by a link. A file that has lost rows is written again, by
itself. Only where there are too many small files, or too few rows are left, do several become one. So a refresh costs
what is new. A large table is therefore sorted by track only within each part, and its parts by their first track; a
small table is sorted as a whole.

Rows are written a group at a time, so that memory grows neither with the catalog nor with a shard.
"""

import os
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from musicrec.errors import SchemaError
from musicrec.files.parquet import ROW_GROUP_ROWS, open_dataset, open_parquet, read_parquet, write_parquet
from musicrec.files.paths import AnyPath, link_or_copy, replacing
from musicrec.store.lineage import FOOTER_FILE
from musicrec.store.made_with import Versions
from musicrec.store.pointer import PARTS, parts_of
from musicrec.store.staging import Staged
from musicrec.store.store import Store
from musicrec.store.table_spec import Place, Row, Table, rows_of, rows_per_group, writing
from musicrec.store.versions import Version

PART_BYTES = 128 * 2**20  # before compression
TRACKS_PER_PART = 16  # in a large table, about 4 MB of mel: after a night of few changes most such parts stay
TRACKS_PER_OBJECT = 32  # in a large table in a bucket, where a file is copied instead of linked
SMALL_PARTS = 16  # so many parts may be less than half full; more are merged
WRITERS = min(4, os.cpu_count() or 1)  # threads that write parts; reading and compressing release the interpreter lock
ROWS_FILE = "_rows"  # Parquet: track, fingerprint and part of each row of a version; beside the folder of the parts

Item = TypeVar("Item")


def slices(items: list[Item], size: int) -> list[list[Item]]:
    """Return `items` in their order, `size` at a time."""
    return [items[i : i + size] for i in range(0, len(items), size)]


def tracks_per_part(store: Store, table: Table) -> int:
    """Return how many tracks a part of a table holds at most."""
    handy = PART_BYTES // table.track_bytes
    if table.is_large:
        handy = min(handy, TRACKS_PER_PART if isinstance(store.out, Path) else TRACKS_PER_OBJECT)
    return max(1, handy)


def published_rows(store: Store, table: str) -> set[Row]:
    """Return track and fingerprint of each row of a published table; if a track has several rows, of each track."""
    return {row for row, _ in published_places(store, table)}


def published_places(store: Store, table: str) -> list[Place]:
    """Return each row of a published table, and the part that holds it."""
    if not store.exists(table):
        return []
    folder = store.path(table)
    rows, parts = read_parquet(folder / ROWS_FILE), parts_of(folder)
    return [(row, parts / part) for row, part in zip(rows_of(rows), rows["part"].to_pylist(), strict=True)]


def is_published_as_made_now(store: Store, table: Table, fingerprint: str) -> bool:
    """Return whether a table is published with these rows, in today's types and with its parts in a folder apart."""
    if not store.exists(table.name) or store.footer(table.name)["fingerprint"] != fingerprint:
        return False
    has_parts_apart = parts_of(store.path(table.name)).name == PARTS
    return has_parts_apart and bool(store.dataset(table.name).schema.equals(table.schema))


def write_version(store: Store, version: Version, table: Table, rows: pa.Table, staged: Staged) -> None:
    """Write the parts of a version, and the list of its rows.

    Parameters
    ----------
    store : Store
        Where the version before is published, if there is one.
    version : Version
        Receives the parts.
    table : Table
        The table that it is a version of.
    rows : pyarrow.Table
        ``track_id`` and ``fingerprint`` of the wanted rows, sorted; each staged, or in the version before.
    staged : Staged
        The staged shards.

    Raises
    ------
    SchemaError
        A wanted row is neither staged nor in the version before.
    """
    places = [*staged.places(table), *published_places(store, table.name)]
    where = dict(places)
    wanted = rows_of(rows)
    if not where.keys() >= set(wanted):
        raise _lacking(store, table)
    if not {row for row, _ in staged.places(table)} >= set(wanted) and store.exists(table.name):
        version.keep_rows_of(store.footer(table.name))
    held = Counter(file for _, file in places)
    most = tracks_per_part(store, table)
    staying = _staying(wanted, where, held, most) if table.is_large else {}
    settled = {row for part in staying.values() for row in part}
    merged = _evenly([row for row in wanted if row not in settled], most)
    parts: list[list[Row]] = sorted([*staying.values(), *merged]) or [[]]
    files = [version.part(number) for number in range(len(parts))]

    def make_part(target: AnyPath, part: list[Row]) -> None:
        file = where[part[0]] if part else None
        try:
            if file in staying and len(part) == held[file] and _is_as_made_now(table, file, len(part)):
                link_or_copy(file, target)
            else:
                _merge(table, part, where, target, version.footer.get("versions"))
        except (FileNotFoundError, pa.ArrowInvalid) as e:
            raise _lacking(store, table) from e

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(make_part, files, parts))
    part_of = {row: file.name for file, part in zip(files, parts, strict=True) for row in part}
    write_parquet(version.folder / ROWS_FILE, rows.append_column("part", [[part_of[row] for row in wanted]]))
    with replacing(version.folder / FOOTER_FILE) as temporary:
        pq.write_metadata(table.schema.with_metadata(version.metadata), temporary)


def _staying(
    wanted: list[Row], where: dict[Row, AnyPath], held: Counter[AnyPath], most: int
) -> dict[AnyPath, list[Row]]:
    """Return the files that become a part each, with their wanted rows: all that they held, or at least half a part.

    A version merges at most a sixteenth of the table, or one part: small files become few, and no refresh costs much.
    """
    rows: dict[AnyPath, list[Row]] = defaultdict(list)
    for row in wanted:
        rows[where[row]].append(row)
    staying = {file: part for file, part in rows.items() if len(part) == held[file] or most / 2 <= len(part) <= most}
    small = sorted((file for file, part in staying.items() if len(part) < most / 2), key=lambda file: len(rows[file]))
    left = max(most, len(wanted) // 16)
    for file in small if len(small) > SMALL_PARTS else []:
        left -= len(rows[file])
        if left < 0:
            break
        del staying[file]
    return staying


def _evenly(rows: list[Row], most: int) -> list[list[Row]]:
    """Return `rows` in their order, in slices of about the same size."""
    n = -(-len(rows) // most)
    return [rows[i * len(rows) // n : (i + 1) * len(rows) // n] for i in range(n)]


def _lacking(store: Store, table: Table) -> SchemaError:
    return SchemaError(f"{store.out / table.name} lacks songs that outcomes lists; run extract in another OUT")


def _is_as_made_now(table: Table, file: AnyPath, n_tracks: int) -> bool:
    """Return whether the columns of a file are of today's types; an older musicrec may have chosen others."""
    with open_parquet(file) as part:
        if not table.is_nested and part.metadata.num_rows != n_tracks:
            raise pa.ArrowInvalid(f"{file} does not have the {n_tracks} rows it was published with")
        return bool(part.schema_arrow.equals(table.schema))


def _merge(
    table: Table, rows: list[Row], where: dict[Row, AnyPath], target: AnyPath, versions: list[Versions] | None
) -> None:
    """Write a part of rows from several files, which may have been made with any of some versions of the libraries."""
    with writing(target, table, versions) as writer:
        for group in slices(rows, min(ROW_GROUP_ROWS, rows_per_group(table))):
            files: dict[AnyPath, list[str]] = defaultdict(list)
            for row in group:
                files[where[row]].append(row[0])
            merged = pa.concat_tables(_read(file, table, track_ids) for file, track_ids in files.items())
            found, wanted = merged["track_id"].to_pylist(), [row[0] for row in group]
            if not (set(found) <= set(wanted) if table.is_nested else sorted(found) == wanted):
                raise pa.ArrowInvalid(f"files of {table.name} do not have the rows they were written with")
            in_order = found == wanted
            writer.write_table(merged if in_order else merged.sort_by([(name, "ascending") for name in table.key]))


def _read(file: AnyPath, table: Table, ids: list[str]) -> pa.Table:
    """Return the rows of some tracks, given in order, from one file."""
    track_id = pc.field("track_id")
    (fragment,) = open_dataset(file).get_fragments()
    row_groups = fragment.subset((track_id >= ids[0]) & (track_id <= ids[-1]))  # the others are not decoded
    rows = row_groups.to_table(columns=table.schema.names).cast(table.schema)
    wanted = pc.is_in(rows["track_id"], pa.array(ids))
    return _share(rows, wanted.to_numpy()) if table.is_large else rows.filter(wanted)


def _share(rows: pa.Table, wanted: npt.NDArray[np.bool_]) -> pa.Table:
    """Return some rows without copying them; a copy of wide rows would take as long as reading them."""
    ends = np.flatnonzero(np.diff(wanted, prepend=False, append=False))
    return pa.concat_tables([rows[:0], *(rows[start:stop] for start, stop in ends.reshape(-1, 2))])
