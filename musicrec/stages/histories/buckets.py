"""Rows of any number, sorted into files by a hash of a key, to be read key by key in bounded memory."""

import zlib
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pyarrow as pa

from musicrec.files.scratch import scratch_folder

N_BUCKETS = 64


class Buckets:
    """Rows on the disk of this machine; a context manager, which removes them at its end.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of the rows.
    key : str
        Column of text. Rows with the same key are read together.

    Examples
    --------
    >>> schema = pa.schema([("user", pa.string()), ("plays", pa.int64())])
    >>> with Buckets(schema, "user") as buckets:
    ...     buckets.add(pa.table([["ada", "ben"], [1, 2]], schema))
    ...     buckets.add(pa.table([["ada"], [3]], schema))
    ...     [table.num_rows for table in buckets.groups(1_000)]
    [3]
    """

    def __init__(self, schema: pa.Schema, key: str) -> None:
        self._schema, self._key = schema, key
        self._rows = np.zeros(N_BUCKETS, np.int64)

    def __enter__(self) -> "Buckets":
        self._stack = ExitStack()
        self._folder = self._stack.enter_context(scratch_folder())
        self._writers: dict[int, pa.RecordBatchStreamWriter] = {}
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the rows."""
        self._close()
        self._stack.close()

    def add(self, table: pa.Table) -> None:
        """Add rows."""
        keys = table[self._key].combine_chunks().dictionary_encode()
        hashes = [zlib.crc32(key.encode()) % N_BUCKETS for key in keys.dictionary.to_pylist()]
        bucket_of = np.array(hashes, np.int64)[keys.indices.to_numpy()]
        order = np.argsort(bucket_of, kind="stable")
        counts = np.bincount(bucket_of, minlength=N_BUCKETS)
        sorted_rows, ends = table.take(pa.array(order)), np.cumsum(counts)
        for bucket in np.flatnonzero(counts).tolist():
            rows = sorted_rows.slice(ends[bucket] - counts[bucket], counts[bucket])
            self._writer(bucket).write_table(rows.cast(self._schema))
        self._rows += counts

    def groups(self, most_rows: int) -> Iterator[pa.Table]:
        """Read the rows again: tables of as many buckets as make up to `most_rows`, none of which share a key.

        Which rows stand together depends on the keys and their numbers only. Only a bucket that is larger by itself
        makes a larger table.
        """
        self._close()
        together: list[int] = []
        for bucket in np.flatnonzero(self._rows).tolist():
            if together and self._rows[[*together, bucket]].sum() > most_rows:
                yield self._read(together)
                together = []
            together.append(bucket)
        if together:
            yield self._read(together)

    def _read(self, together: list[int]) -> pa.Table:
        tables = []
        for bucket in together:
            with pa.OSFile(str(self._folder / str(bucket))) as file, pa.ipc.open_stream(file) as reader:
                tables.append(reader.read_all())
        return pa.concat_tables(tables)

    def _writer(self, bucket: int) -> pa.RecordBatchStreamWriter:
        if bucket not in self._writers:
            self._writers[bucket] = pa.ipc.new_stream(str(self._folder / str(bucket)), self._schema)
        return self._writers[bucket]

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()
