"""Files that appear complete or not at all, whatever fails or is killed meanwhile."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP_ROWS = 8192  # a reader decodes a row group at a time: small enough for lookups, large enough to compress


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file that appears complete or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a Parquet file that appears complete or not at all."""
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=ROW_GROUP_ROWS)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name for `path`, which appears under its own, complete, when all went well."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        fsync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync(path.parent)


def fsync(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
