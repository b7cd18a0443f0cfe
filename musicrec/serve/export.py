"""Export of the table of similar songs to one file: CSV, JSON or SQLite.

Songs come from the mapped sidecar some thousands at a time, so that memory does not grow with the table, and the file
appears complete or not at all.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from musicrec.errors import ConfigError
from musicrec.files.paths import replacing
from musicrec.schemas import SIMILAR
from musicrec.serve.lookup import SimilarTable

SONGS_AT_A_TIME = 10_000
SQLITE_TABLES = """
CREATE TABLE songs (track_id TEXT PRIMARY KEY, title TEXT, artist TEXT, genre TEXT) WITHOUT ROWID;
CREATE TABLE similar_songs (
    track_id TEXT, rank INTEGER, similar_track_id TEXT, score REAL, PRIMARY KEY (track_id, rank)
) WITHOUT ROWID;
"""


def export(table: SimilarTable, file: Path, n: int = 10) -> None:
    """Write the `n` songs most like each song into one file.

    Parameters
    ----------
    table : SimilarTable
        What to write.
    file : pathlib.Path
        Its suffix decides the format: ``.csv``, with a header; ``.json``, one object with a list for each song;
        ``.sqlite``, tables ``songs`` and ``similar_songs``, each with an index by ``track_id``. An older file of that
        name is replaced.
    n : int
        How many similar songs of each song.

    Raises
    ------
    ConfigError
        Another suffix, or a place that cannot be written.
    """
    if file.suffix not in WRITERS:
        raise ConfigError(f"{file}: expected a name that ends in {', '.join(WRITERS)}")
    try:
        with replacing(file) as temporary:
            WRITERS[file.suffix](table, temporary, n)
    except (OSError, sqlite3.OperationalError) as e:
        raise ConfigError(f"{file} cannot be written ({getattr(e, 'strerror', None) or e})") from e


def _blocks(table: SimilarTable, n: int) -> Iterator[pa.Table]:
    """Yield the rows of the table, in order of song and rank."""
    for start in range(0, len(table), SONGS_AT_A_TIME):
        rows = range(start, min(start + SONGS_AT_A_TIME, len(table)))
        yield table.similar_many([table.track_id(row) for row in rows], n)


def _write_csv(table: SimilarTable, file: Path, n: int) -> None:
    from pyarrow.csv import CSVWriter

    with CSVWriter(file, SIMILAR) as writer:
        for block in _blocks(table, n):
            writer.write_table(block)


def _write_json(table: SimilarTable, file: Path, n: int) -> None:
    with file.open("w", encoding="utf-8") as f:
        f.write("{")
        for row in range(len(table)):
            track_id = table.track_id(row)
            others, scores = table.neighbours(track_id, n)
            found = zip(map(table.track_id, others.tolist()), scores, strict=True)
            lines = [f'{{"similar_track_id": {_quoted(other)}, "score": {score}}}' for other, score in found]
            f.write(f"{',' if row else ''}\n{_quoted(track_id)}: [{', '.join(lines)}]")
        f.write("\n}\n")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _write_sqlite(table: SimilarTable, file: Path, n: int) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {SQLITE_TABLES} BEGIN;")
        database.executemany("INSERT INTO songs VALUES (?, ?, ?, ?)", table.songs())
        for block in _blocks(table, n):
            rows = zip(*(column.to_pylist() for column in block.columns), strict=True)
            database.executemany("INSERT INTO similar_songs VALUES (?, ?, ?, ?)", rows)
        database.execute("COMMIT")


WRITERS: dict[str, Callable[[SimilarTable, Path, int], None]] = {
    ".csv": _write_csv,
    ".json": _write_json,
    ".sqlite": _write_sqlite,
}
