"""The two forms in which a table of similar songs is served: Parquet for every tool, a mapped sidecar for lookups.

The Parquet form has a row for each song and rank, so that any tool can read it without knowing of this project. It is
sorted by song and rank, and readers skip row groups by their least and greatest song: to look up one song, they read
the footers and one row group. Small groups make long footers; groups of a hundred thousand rows were the fastest to
search. These encodings are the smallest of those that every reader knows: ids that hardly repeat within a group
compress better without a dictionary. The bytes of scores would take a tenth less if they stood apart
(``BYTE_STREAM_SPLIT``), but Spark 4.2 and fastparquet could not read the table then.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from musicrec.files.paths import AnyPath, replacing
from musicrec.schemas import SIMILAR
from musicrec.serve.sidecar import write_sidecar
from musicrec.store.versions import Version

ROWS_PER_GROUP = 100_000
GROUPS_PER_PART = 128  # about 80 MB
WRITERS = 4  # threads that write parts; compressing releases the interpreter lock
WRITING: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": {
        "track_id": 3,
        "rank": 3,
        "similar_track_id": 1,
        "score": 1,
    },  # on ids, 2 to 12 do worse than 1; on scores, no better
    "dictionary_pagesize_limit": 8 * 2**20,  # all ids of a group
    "data_page_size": 64 * 2**10,  # before compression
    "max_rows_per_page": ROWS_PER_GROUP,
    "write_statistics": ["track_id"],
    "sorting_columns": pq.SortingColumn.from_ordering(SIMILAR, [("track_id", "ascending"), ("rank", "ascending")]),
}


def write_table(version: Version, songs: pa.Table, ids: Any, scores: Any) -> None:  # noqa: ANN401 - arrays
    """Write both forms of a table into its version; each thread holds one row group in memory at a time.

    Parameters
    ----------
    version : Version
        Version in the making.
    songs : pyarrow.Table
        ``SIDECAR_COLUMNS`` of the N songs, in order of ``track_id``.
    ids : numpy.ndarray
        int32 [N, n], in memory or mapped: rows of the songs most like each song, best first. -1 fills the end of a
        shorter list, and has no row in the Parquet form.
    scores : numpy.ndarray
        float32 [N, n].
    """
    songs_per_group = max(1, ROWS_PER_GROUP // max(1, ids.shape[1]))
    songs_per_part = GROUPS_PER_PART * songs_per_group
    track_ids = songs["track_id"].cast(pa.large_string()).combine_chunks()  # those of many songs take more than 2 GiB

    how = encodings(to_rows(track_ids, ids, scores, slice(0, songs_per_group)))

    def write_from(start: int) -> None:
        file = version.part(start // songs_per_part)
        end = min(start + songs_per_part, len(ids))
        groups = (slice(i, min(i + songs_per_group, end)) for i in range(start, end, songs_per_group))
        write_part(file, version.metadata, how, (to_rows(track_ids, ids, scores, group) for group in groups))

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write_from, range(0, len(ids), songs_per_part)))
    write_sidecar(version.folder, songs.replace_schema_metadata(version.metadata), ids, scores)


def write_part(file: AnyPath, metadata: dict[bytes, bytes], how: dict[str, Any], groups: Iterable[pa.Table]) -> None:
    """Write one Parquet file, each table of rows as a row group."""
    with replacing(file) as temporary, pq.ParquetWriter(temporary, SIMILAR.with_metadata(metadata), **how) as writer:
        for group in groups:
            writer.write_table(group, row_group_size=max(1, group.num_rows))


def encodings(group: pa.Table) -> dict[str, Any]:
    """Return the smaller of two ways to write a table of which `group` is a row group, as options of pyarrow.

    Ids go into a dictionary where the same songs come again and again within a group, as in a small catalog or one with
    hubs; otherwise they stand one after the other.
    """
    ways = [
        WRITING | {"use_dictionary": columns}
        for columns in (["track_id", "rank"], ["track_id", "rank", "similar_track_id"])
    ]
    return min(ways, key=lambda how: _size(group, how))


def _size(group: pa.Table, how: dict[str, Any]) -> int:
    sink = pa.BufferOutputStream()
    pq.write_table(group, sink, row_group_size=ROWS_PER_GROUP, **how)
    return int(sink.tell())


def to_rows(track_ids: pa.LargeStringArray, ids: Any, scores: Any, songs: slice) -> pa.Table:  # noqa: ANN401 - arrays
    """Return the lists of some songs as rows of the Parquet form."""
    others = np.asarray(ids[songs])
    song, place = np.nonzero(others >= 0)
    columns = [
        track_ids.take(pa.array(song + songs.start)),
        pa.array((place + 1).astype(np.int16)),
        track_ids.take(pa.array(others[song, place])),
        pa.array(np.asarray(scores[songs])[song, place]),
    ]
    return pa.table(columns, SIMILAR.names).cast(SIMILAR)
