"""From staged shards and the tables published before to the next version of each table, in parts of a handy size.

A worker writes what a shard's tracks have in each table as one file, as it will be published. Files of a large table
(:attr:`Table.is_large`) enter each version by a link. One that rows have left is written again, by itself; only where
there are too many small ones, or too few rows are left, several become one: a refresh costs what is new. So a large
table is in order of track within each part only, its parts in order of their first track, while a small table is in
order as a whole.

Rows are written a group at a time, so that memory grows neither with the catalog nor with a shard.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from musicrec.errors import SchemaError
from musicrec.files.parquet import ROW_GROUP_ROWS, open_dataset, read_parquet, rows_in, write_parquet
from musicrec.files.paths import AnyPath, link_or_copy, make_folder, name_of, replacing
from musicrec.schemas import OK, OUTCOMES
from musicrec.stages.extract.track_rows import OPTIONAL_TABLES, Row, Table
from musicrec.store.lineage import FOOTER_FILE
from musicrec.store.store import Store
from musicrec.store.versions import Version

GROUP_BYTES = 16 * 2**20  # of a row group, before compression: what one writer holds a few times
PAGE_BYTES = 128 * 2**10  # before compression: it stays in a core's cache on its way to the file
PART_BYTES = 128 * 2**20  # before compression
TRACKS_PER_PART = 16  # of a large table, about 4 MB of mel: a night of few changes leaves most of such parts alone
TRACKS_PER_OBJECT = 32  # of a large table in a bucket, which copies what a folder links
SMALL_PARTS = 16  # with less than half the rows they might have; more are merged
WRITERS = min(4, os.cpu_count() or 1)  # threads that write parts; reading and compressing release the interpreter lock
ROWS_FILE = "_rows"  # Parquet: track, fingerprint and part of each row of a version; no reader of *.parquet sees it

Item = TypeVar("Item")
Place = tuple[Row, AnyPath]  # the file in which a row stands


def slices(items: list[Item], size: int) -> list[list[Item]]:
    """`items` in their order, `size` at a time."""
    return [items[i : i + size] for i in range(0, len(items), size)]


def rows_of(table: pa.Table) -> list[Row]:
    """Track and fingerprint of each row."""
    return list(zip(table["track_id"].to_pylist(), table["fingerprint"].to_pylist(), strict=True))


def tracks_per_part(store: Store, table: Table) -> int:
    """Tracks of a part of some table, at most."""
    handy = PART_BYTES // table.track_bytes
    if table.is_large:
        handy = min(handy, TRACKS_PER_PART if isinstance(store.out, Path) else TRACKS_PER_OBJECT)
    return max(1, handy)


# --- staged shards ------------------------------------------------------------------------------------------------


class Staged(NamedTuple):
    """What an unfinished run has done: the outcome of each row, and the file of outcomes it stands in."""

    outcomes: pa.Table
    files: list[AnyPath]

    def places(self, table: Table) -> list[Place]:
        """Where the rows of a table are staged."""
        beside = {file: _beside(file, table) for file in set(self.files)}
        done = zip(rows_of(self.outcomes), self.outcomes["status"].to_pylist(), self.files, strict=True)
        return [(row, beside[file]) for row, status, file in done if status == OK]


def stage_shard(store: Store, work: str, name: str, tables: list[Table], rows: Iterable[dict[str, Any]]) -> pa.Table:
    """Write one shard into the work folder as its rows come: a file a table, then the outcomes, by which it counts.

    Killed before the outcomes are there, it has done nothing. Writing it again changes nothing.

    Returns
    -------
    pyarrow.Table
        The outcomes.
    """
    shard = store.work_folder(work) / f"{name}.parquet"
    outcomes = [OUTCOMES.empty_table()]
    narrow: dict[str, list[pa.Table]] = {table.name: [] for table in tables if not table.is_large}
    with ExitStack() as files:
        writers: dict[str, pq.ParquetWriter] = {}

        def write(table: Table, content: pa.Table) -> None:
            if table.name not in writers:
                make_folder(_beside(shard, table).parent)
                writers[table.name] = files.enter_context(_writing(_beside(shard, table), table))
            writers[table.name].write_table(content)

        rows, tracks_a_group = iter(rows), max(1, GROUP_BYTES // sum(table.track_bytes for table in tables))
        while group := list(islice(rows, tracks_a_group)):
            outcomes.append(pa.Table.from_pylist(group, schema=OUTCOMES))
            done = [row for row in group if row["status"] == OK]
            for table in tables if done else []:
                if table.is_large:
                    write(table, table.of(done))
                else:
                    narrow[table.name].append(table.of(done))
        for table in tables:
            if pieces := narrow.get(table.name):
                write(table, pa.concat_tables(pieces))
    write_parquet(shard, pa.concat_tables(outcomes))
    return pa.concat_tables(outcomes)


def read_staged(store: Store, work: str) -> Staged:
    """Outcomes of all staged shards; where two hold a row, the later one counts."""
    files = {name_of(file): file for file in store.staged(work)}
    if not files:
        return Staged(OUTCOMES.empty_table(), [])
    table = open_dataset(list(files.values())).to_table(columns=[*OUTCOMES.names, "__filename"])
    return Staged(table.select(OUTCOMES.names), [files[name] for name in table["__filename"].to_pylist()])


def _beside(shard: AnyPath, table: Table) -> AnyPath:
    """The file of a table that belongs to a file of outcomes."""
    return shard.parent / table.name / shard.name


@contextmanager
def _writing(path: AnyPath, table: Table) -> Iterator[pq.ParquetWriter]:
    """Write a file of a table that appears complete or not at all."""
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(
            temporary,
            table.schema,
            compression="zstd",
            use_dictionary=["track_id"],  # numbers seldom repeat: theirs would cost more than they save
            data_page_size=PAGE_BYTES,
            write_statistics=table.plain_columns,  # of the numbers in lists they take as long as all the rest
        ) as writer,
    ):
        yield writer


# --- versions -----------------------------------------------------------------------------------------------------


def published_rows(store: Store, table: str) -> set[Row]:
    """Track and fingerprint of each row of a published table; of a table with several rows a track, of each track."""
    return {row for row, _ in published_places(store, table)}


def published_places(store: Store, table: str) -> list[Place]:
    """Each row of a published table, and the part that it stands in."""
    if not store.exists(table):
        return []
    folder = store.path(table)
    rows = read_parquet(folder / ROWS_FILE)
    return [(row, folder / part) for row, part in zip(rows_of(rows), rows["part"].to_pylist(), strict=True)]


def write_version(store: Store, version: Version, table: Table, rows: pa.Table, staged: Staged) -> None:
    """Make the parts of a version, and the list of its rows.

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
    places = [*staged.places(table), *published_places(store, table.name)]
    where = dict(places)
    wanted = rows_of(rows)
    if not where.keys() >= set(wanted):
        raise _lacking(store, table)
    held = Counter(file for _, file in places)
    most = tracks_per_part(store, table)
    staying = _staying(wanted, where, held, most) if table.is_large else {}
    settled = {row for part in staying.values() for row in part}
    merged = _evenly([row for row in wanted if row not in settled], most)
    parts: list[list[Row]] = sorted([*staying.values(), *merged]) or [[]]
    names = [version.part_name(number) for number in range(len(parts))]

    def make_part(name: str, part: list[Row]) -> None:
        file = where[part[0]] if part else None
        try:
            if file in staying and len(part) == held[file]:
                _move(table, file, version.folder / name, len(part))
            else:
                _merge(table, part, where, version.folder / name)
        except (FileNotFoundError, pa.ArrowInvalid) as e:
            raise _lacking(store, table) from e

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(make_part, names, parts))
    part_of = {row: name for name, part in zip(names, parts, strict=True) for row in part}
    write_parquet(version.folder / ROWS_FILE, rows.append_column("part", [[part_of[row] for row in wanted]]))
    with replacing(version.folder / FOOTER_FILE) as temporary:
        pq.write_metadata(table.schema.with_metadata(version.metadata), temporary)


def withdraw(store: Store, wanted: list[Table]) -> None:
    """Remove the optional tables that the settings no longer ask for: nobody would keep them up to date."""
    for name in OPTIONAL_TABLES - {table.name for table in wanted}:
        store.versions(name).remove()


def _staying(
    wanted: list[Row], where: dict[Row, AnyPath], held: Counter[AnyPath], most: int
) -> dict[AnyPath, list[Row]]:
    """Files that become a part each, and their wanted rows: all that they held, or half a part and more.

    A version merges a sixteenth of the table at most, or one part: small files grow few, and no refresh costs much.
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
    """`rows` in their order, in slices of about the same size."""
    n = -(-len(rows) // most)
    return [rows[i * len(rows) // n : (i + 1) * len(rows) // n] for i in range(n)]


def _lacking(store: Store, table: Table) -> SchemaError:
    return SchemaError(f"{store.out / table.name} lacks songs that outcomes lists; run extract in another OUT")


def _move(table: Table, source: AnyPath, target: AnyPath, n_tracks: int) -> None:
    """Let `target` be the same file as `source`, which may be removed then."""
    if not table.is_nested and rows_in(source) != n_tracks:
        raise pa.ArrowInvalid(f"{source} has not the {n_tracks} rows it was published with")
    link_or_copy(source, target)


def _merge(table: Table, rows: list[Row], where: dict[Row, AnyPath], target: AnyPath) -> None:
    """Write a part of rows that stand in several files."""
    with _writing(target, table) as writer:
        for group in slices(rows, max(1, min(ROW_GROUP_ROWS, GROUP_BYTES // table.track_bytes))):
            files: dict[AnyPath, list[str]] = defaultdict(list)
            for row in group:
                files[where[row]].append(row[0])
            merged = pa.concat_tables(_read(file, table, track_ids) for file, track_ids in files.items())
            found, wanted = merged["track_id"].to_pylist(), [row[0] for row in group]
            if not (set(found) <= set(wanted) if table.is_nested else sorted(found) == wanted):
                raise pa.ArrowInvalid(f"files of {table.name} have not the rows they were written with")
            in_order = found == wanted
            writer.write_table(merged if in_order else merged.sort_by([(name, "ascending") for name in table.key]))


def _read(file: AnyPath, table: Table, ids: list[str]) -> pa.Table:
    """Rows of some tracks, given in order, from one file."""
    track_id = pc.field("track_id")
    (fragment,) = open_dataset(file).get_fragments()
    row_groups = fragment.subset((track_id >= ids[0]) & (track_id <= ids[-1]))  # the others are not decoded
    rows = row_groups.to_table(columns=table.schema.names).cast(table.schema)
    wanted = pc.is_in(rows["track_id"], pa.array(ids))
    return _share(rows, wanted.to_numpy()) if table.is_large else rows.filter(wanted)


def _share(rows: pa.Table, wanted: npt.NDArray[np.bool_]) -> pa.Table:
    """Some rows without a copy of them, which of wide ones would take as long as to read them."""
    ends = np.flatnonzero(np.diff(wanted, prepend=False, append=False))
    return pa.concat_tables([rows[:0], *(rows[start:stop] for start, stop in ends.reshape(-1, 2))])
