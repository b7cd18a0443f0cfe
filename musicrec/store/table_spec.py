"""The specification of a table of tracks: its schema, how large a row is, and how its files are written."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from musicrec.files.paths import AnyPath, replacing
from musicrec.store.lineage import with_versions
from musicrec.store.made_with import Versions

LARGE_BYTES = 16 * 1024  # per track: rewriting 100,000 of them takes a disk seconds, and the compressor half a minute
Row = tuple[str, str]  # track id, fingerprint of content and settings
GROUP_BYTES = 16 * 2**20  # size of a row group before compression; one writer holds a few of them
PAGE_BYTES = 128 * 2**10  # before compression: it stays in a core's cache on its way to the file
Place = tuple[Row, AnyPath]  # a row, and the file that holds it


class Table(NamedTuple):
    """A table of tracks."""

    name: str
    schema: pa.Schema
    track_bytes: int  # about the largest size of a track; rows are grouped by it
    lineage: Mapping[str, Any] = MappingProxyType({})  # what else it depends on, for the footer
    is_apart: bool = False  # whether a track's rows stand in a list of their own, apart from the track's columns
    dictionaries: tuple[str, ...] = ("track_id",)  # Parquet columns of few values; for others, one costs more

    @property
    def is_nested(self) -> bool:
        """Whether a track has several rows, or none."""
        return "segment" in self.schema.names

    @property
    def key(self) -> list[str]:
        """Columns that identify a row, and by which the table is sorted."""
        return ["track_id", "segment"] if self.is_nested else ["track_id"]

    @property
    def is_large(self) -> bool:
        """Whether it is so large that its parts are kept from version to version instead of written again in order."""
        return self.track_bytes >= LARGE_BYTES

    @property
    def plain_columns(self) -> list[str]:
        """Columns that hold a number or a short text, not a list or a picture."""
        return [f.name for f in self.schema if not (pa.types.is_list(f.type) or pa.types.is_binary(f.type))]

    def of(self, rows: Sequence[dict[str, Any]]) -> pa.Table:
        """Return the rows of this table for some tracks, each given as its columns and values."""
        if self.is_apart:
            rows = [{"track_id": row["track_id"]} | inner for row in rows for inner in row[self.name]]
        columns = [_column([row[field.name] for row in rows], field.type) for field in self.schema]
        return pa.Table.from_arrays(columns, schema=self.schema)


def _column(values: list[Any], kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    """Return a column; each list is a chunk, not copied, so that the Parquet writer holds only one at a time."""
    if not pa.types.is_list(kind):
        return pa.array(values, kind)
    return pa.chunked_array([pa.ListArray.from_arrays([0, len(value)], value, kind) for value in values], kind)


def rows_of(table: pa.Table) -> list[Row]:
    """Return track and fingerprint of each row."""
    return list(zip(table["track_id"].to_pylist(), table["fingerprint"].to_pylist(), strict=True))


@contextmanager
def writing(path: AnyPath, table: Table, versions: Sequence[Versions] | None = None) -> Iterator[pq.ParquetWriter]:
    """Write a file of a table that appears complete or not at all; see :func:`with_versions`."""
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(
            temporary,
            with_versions(table.schema, versions),
            compression="zstd",
            use_dictionary=list(table.dictionaries),
            data_page_size=PAGE_BYTES,
            write_statistics=table.plain_columns,  # those of numbers in lists take as long as all the rest
        ) as writer,
    ):
        yield writer


def rows_per_group(*tables: Table) -> int:
    """Return how many tracks make a row group in these tables, at least one."""
    return max(1, GROUP_BYTES // sum(table.track_bytes for table in tables))
