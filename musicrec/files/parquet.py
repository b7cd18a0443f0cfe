"""Parquet files on this machine or in a bucket, by the same calls."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from musicrec.files.paths import AnyPath, path_string, replacing

if TYPE_CHECKING:
    import pyarrow.dataset as pads

ROW_GROUP_ROWS = 8192  # a reader decodes a row group at a time: small enough for lookups, large enough to compress


def write_parquet(path: AnyPath, table: pa.Table) -> None:
    """Write a Parquet file that appears complete or not at all."""
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=ROW_GROUP_ROWS)


def read_parquet(path: AnyPath, columns: list[str] | None = None) -> pa.Table:
    """Read all rows of a file, or of the files of a folder; all columns by default."""
    return pq.read_table(path_string(path), columns=columns, filesystem=arrow_file_system(path))


def open_parquet(path: AnyPath) -> pq.ParquetFile:
    """Open a file to be read batch by batch; a context manager."""
    return pq.ParquetFile(path_string(path), filesystem=arrow_file_system(path))


def rows_in(path: AnyPath) -> int:
    """Return how many rows a file holds."""
    with open_parquet(path) as file:
        return int(file.metadata.num_rows)


def open_dataset(files: AnyPath | Sequence[AnyPath]) -> "pads.Dataset":
    """Open a file, the files of a folder, or some files, to be read piece by piece."""
    import pyarrow.dataset as pads  # imports pandas: too slow for a lookup that does not need it

    several = files if isinstance(files, Sequence) else [files]
    names = [path_string(file) for file in several]
    source = names if isinstance(files, Sequence) else names[0]
    return pads.dataset(source, format="parquet", filesystem=arrow_file_system(several[0]))


def arrow_file_system(path: AnyPath) -> pa.fs.FileSystem | None:
    """Return the file system by which Arrow reads and writes a path; None on this machine."""
    return None if isinstance(path, Path) else pa.fs.PyFileSystem(pa.fs.FSSpecHandler(path.fs))
