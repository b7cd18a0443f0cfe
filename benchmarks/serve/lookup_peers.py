"""Who answers in lookup.py: ways to read one song's list out of a table, and the forms that they read.

Each answers one of three questions with the same types: ``rows`` with row numbers and scores as arrays of its own,
``ids`` with lists of id strings and floats, ``names`` with ten rows of id, title, artist, genre and score.
"""

import sqlite3
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from benchmarks.shared.synthetic_tables import Lists
from musicrec.serve.export import export
from musicrec.serve.lookup import SimilarTable

COLUMNS = "similar_track_id, score"
IDS_QUERY = f"SELECT {COLUMNS} FROM {{}} WHERE track_id = ? ORDER BY rank"
NAMES_QUERY = """
SELECT songs.track_id, title, artist, genre, score
FROM similar_songs JOIN songs ON songs.track_id = similar_track_id
WHERE similar_songs.track_id = ? AND rank <= 10 ORDER BY rank
"""
LMDB_BYTES = 2**36  # of address space
ALL = 1 << 30

Ask = Callable[[str], Any]


class Peer(NamedTuple):
    """A way to read the table: its name, what it answers, how it is opened, and how often it is asked in one turn."""

    name: str
    question: str  # rows, ids or names
    opened: Callable[[Path], AbstractContextManager[Ask]]
    asked: int


# --- the sidecar --------------------------------------------------------------------------------------------------


@contextmanager
def sidecar_rows(folder: Path) -> Iterator[Ask]:
    """Answer with copies of rows and scores: the mapped lists have then been read."""
    table = SimilarTable(folder / "table")

    def ask(track_id: str) -> object:
        rows, scores = table.neighbours(track_id, ALL)
        return rows.copy(), scores.copy()

    yield ask


@contextmanager
def sidecar_ids(folder: Path) -> Iterator[Ask]:
    """Answer with ids and scores as Python objects."""
    table = SimilarTable(folder / "table")
    yield lambda track_id: table.similar_ids(track_id, ALL)


@contextmanager
def sidecar_names(folder: Path) -> Iterator[Ask]:
    """Answer with songs and scores."""
    table = SimilarTable(folder / "table")
    yield lambda track_id: table.similar(track_id, 10)


# --- Parquet ------------------------------------------------------------------------------------------------------


@contextmanager
def pyarrow_parquet(folder: Path) -> Iterator[Ask]:
    """Answer from a dataset that is held open."""
    dataset = pads.dataset(folder / "table" / "parts", format="parquet")

    def ask(track_id: str) -> object:
        found = dataset.to_table(columns=COLUMNS.split(", "), filter=pads.field("track_id") == track_id)
        return tuple(column.to_pylist() for column in found.columns)

    yield ask


@contextmanager
def duckdb_parquet(folder: Path) -> Iterator[Ask]:
    """Answer by a query of the Parquet files, with cached footers."""
    with duckdb.connect() as database:
        database.execute("SET parquet_metadata_cache = true")
        query = IDS_QUERY.format(f"'{folder}/table/parts/*.parquet'")
        yield lambda track_id: _columns(database.execute(query, [track_id]).fetchall())


@contextmanager
def polars_ids(folder: Path) -> Iterator[Ask]:
    """Answer by a lazy scan of the Parquet files."""
    import polars as pl

    def ask(track_id: str) -> object:
        scan = pl.scan_parquet(f"{folder}/table/parts/*.parquet").filter(pl.col("track_id") == track_id)
        found = scan.select(COLUMNS.split(", ")).collect()
        return found["similar_track_id"].to_list(), found["score"].to_list()

    yield ask


@contextmanager
def polars_names(folder: Path) -> Iterator[Ask]:
    """Answer by a lazy scan of the Parquet files, joined with the songs in memory."""
    import polars as pl

    songs = pl.read_parquet(folder / "songs.parquet").rename({"track_id": "similar_track_id"})

    def ask(track_id: str) -> object:
        wanted = (pl.col("track_id") == track_id) & (pl.col("rank") <= 10)
        found = pl.scan_parquet(f"{folder}/table/parts/*.parquet").filter(wanted).collect()
        named = found.join(songs, "similar_track_id", "left", maintain_order="left")
        return named.select("similar_track_id", "title", "artist", "genre", "score").rows()

    yield ask


# --- databases ----------------------------------------------------------------------------------------------------


@contextmanager
def duckdb_ids(folder: Path) -> Iterator[Ask]:
    """Answer from a sorted table of DuckDB's own."""
    with duckdb.connect(str(folder / "similar.duckdb"), read_only=True, config={"threads": 1}) as database:
        query = IDS_QUERY.format("similar_songs")
        yield lambda track_id: _columns(database.execute(query, [track_id]).fetchall())


@contextmanager
def duckdb_names(folder: Path) -> Iterator[Ask]:
    """Answer from tables of DuckDB's own."""
    with duckdb.connect(str(folder / "similar.duckdb"), read_only=True, config={"threads": 1}) as database:
        yield lambda track_id: database.execute(NAMES_QUERY, [track_id]).fetchall()


@contextmanager
def sqlite_ids(folder: Path) -> Iterator[Ask]:
    """Answer from the file that `musicrec export` writes."""
    with closing(sqlite3.connect(f"file:{folder}/similar.sqlite?mode=ro", uri=True)) as database:
        query = IDS_QUERY.format("similar_songs")
        yield lambda track_id: _columns(database.execute(query, (track_id,)).fetchall())


@contextmanager
def sqlite_names(folder: Path) -> Iterator[Ask]:
    """Answer from the file that `musicrec export` writes."""
    with closing(sqlite3.connect(f"file:{folder}/similar.sqlite?mode=ro", uri=True)) as database:
        yield lambda track_id: database.execute(NAMES_QUERY, (track_id,)).fetchall()


@contextmanager
def lmdb_ids(folder: Path) -> Iterator[Ask]:
    """Answer from LMDB, in which each list is one value."""
    with _lmdb(folder / "ids.lmdb", b"lists") as (get,):
        yield lambda track_id: _unpacked(get(track_id.encode()))


@contextmanager
def lmdb_names(folder: Path) -> Iterator[Ask]:
    """Answer from LMDB: the list, then each of its songs."""
    with _lmdb(folder / "names.lmdb", b"lists", b"songs") as (get, get_song):

        def ask(track_id: str) -> object:
            found = zip(*_unpacked(get(track_id.encode())), strict=True)
            return [(t, *get_song(t.encode()).decode().split("\0"), score) for t, score in found]

        yield ask


@contextmanager
def _lmdb(folder: Path, *names: bytes) -> Iterator[list[Callable[[bytes], bytes]]]:
    """Yield a function that looks up a key, for each database of a folder."""
    import lmdb

    opened = closing(lmdb.open(str(folder), max_dbs=2, readonly=True, lock=False))
    with opened as environment, environment.begin() as transaction:
        databases = [environment.open_db(name, transaction, create=False) for name in names]
        yield [partial(transaction.get, db=database) for database in databases]


def _packed(ids: Iterable[str], scores: Iterable[float]) -> bytes:
    """Return a list as bytes: how many, the scores, the ids."""
    floats = array("f", scores)
    return len(floats).to_bytes(4, "little") + floats.tobytes() + "\0".join(ids).encode()


def _unpacked(value: bytes) -> tuple[list[str], list[float]]:
    end = 4 + 4 * int.from_bytes(value[:4], "little")
    return value[end:].decode().split("\0"), array("f", value[4:end]).tolist()


def _columns(rows: list[tuple[str, float]]) -> object:
    return tuple(zip(*rows, strict=True))


PEERS = [
    Peer("sidecar: rows, scores", "rows", sidecar_rows, 4000),
    Peer("sidecar: ids, scores", "ids", sidecar_ids, 2000),
    Peer("LMDB: ids, scores", "ids", lmdb_ids, 2000),
    Peer("sqlite: ids, scores", "ids", sqlite_ids, 500),
    Peer("DuckDB's own table: ids, scores", "ids", duckdb_ids, 20),
    Peer("Parquet by pyarrow: ids, scores", "ids", pyarrow_parquet, 20),
    Peer("Parquet by DuckDB: ids, scores", "ids", duckdb_parquet, 20),
    Peer("Parquet by Polars: ids, scores", "ids", polars_ids, 20),
    Peer("sidecar: 10 songs by name", "names", sidecar_names, 2000),
    Peer("LMDB: 10 songs by name", "names", lmdb_names, 1000),
    Peer("sqlite: 10 songs by name", "names", sqlite_names, 500),
    Peer("DuckDB's own tables: 10 songs by name", "names", duckdb_names, 10),
    Peer("Parquet by Polars: 10 songs by name", "names", polars_names, 10),
]


# --- the forms ----------------------------------------------------------------------------------------------------


def write_forms(folder: Path, songs: pa.Table, found: Lists) -> None:
    """Write what the others read, from the table in the folder."""
    export(SimilarTable(folder / "table"), folder / "similar.sqlite", found[0].shape[1])
    pq.write_table(songs, folder / "songs.parquet")
    with duckdb.connect(str(folder / "similar.duckdb")) as database:
        for table, files in (("similar_songs", "table/parts/*"), ("songs", "songs")):
            order = "track_id, rank" if table == "similar_songs" else "track_id"
            database.execute(f"CREATE TABLE {table} AS SELECT * FROM '{folder}/{files}.parquet' ORDER BY {order}")
    track_ids, *names = (column.to_pylist() for column in songs.columns)
    texts = ("\0".join(song).encode() for song in zip(*names, strict=True))
    for form, n in (("ids", found[0].shape[1]), ("names", 10)):
        lists = (
            _packed([track_ids[i] for i in row[:n].tolist()], row_scores[:n].tolist())
            for row, row_scores in zip(*found, strict=True)
        )
        _write_lmdb(folder / f"{form}.lmdb", b"lists", track_ids, lists)
    _write_lmdb(folder / "names.lmdb", b"songs", track_ids, texts)


def _write_lmdb(folder: Path, name: bytes, track_ids: list[str], values: Iterable[bytes]) -> None:
    import lmdb

    with closing(lmdb.open(str(folder), map_size=LMDB_BYTES, max_dbs=2, sync=False)) as environment:
        database = environment.open_db(name)
        with environment.begin(db=database, write=True) as transaction:
            transaction.cursor().putmulti(zip(map(str.encode, track_ids), values, strict=True), append=True)
