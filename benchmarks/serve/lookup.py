"""One song's list out of a table of a million songs: the mapped sidecar and the Parquet table, beside databases.

The table is synthetic: each song's neighbours are drawn from all songs, which is the hardest to compress, and its
scores fall as those of an embedding do. All ways read the same content and return the ids and scores of one song. Every
answer is compared with what was written.

warm: one table is held open and asked for songs in random order; all ways take turns.
cold: the files are dropped from the page cache, the table is opened and asked for one song; imports are not counted.
"""

import gc
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow.dataset as pads

from benchmarks.shared.common import print_machine, print_table, verdict, wall
from benchmarks.shared.synthetic_tables import SHAPES, Lists, bytes_a_song, lists, sizes_by_id, songs_called, write
from musicrec.serve.export import export
from musicrec.serve.lookup import SimilarTable
from musicrec.serve.sidecar import SIDECAR

COLD, TURNS, BATCH, BATCHES, STARTS = 30, 10, 10_000, 7, 5
COLUMNS = "similar_track_id, score"

Ask = Callable[[str], Any]


class Peer(NamedTuple):
    """A way to read the table: its name, how the table is opened, and how often it is asked in one turn."""

    name: str
    opened: Callable[[Path], AbstractContextManager[Ask]]
    asked: int


# --- who answers --------------------------------------------------------------------------------------------------


@contextmanager
def sidecar_rows(folder: Path) -> Iterator[Ask]:
    """Answer with rows and scores as views of the mapped file: they are read when somebody looks at them."""
    table = SimilarTable(folder / "table")
    yield lambda track_id: table.neighbours(track_id, 1 << 30)


@contextmanager
def sidecar_copied(folder: Path) -> Iterator[Ask]:
    """Answer with rows and scores, copied."""
    table = SimilarTable(folder / "table")

    def ask(track_id: str) -> object:
        rows, scores = table.neighbours(track_id, 1 << 30)
        return rows.copy(), scores.copy()

    yield ask


@contextmanager
def sidecar_ids(folder: Path) -> Iterator[Ask]:
    """Answer with ids and scores as Python objects."""
    table = SimilarTable(folder / "table")

    def ask(track_id: str) -> object:
        rows, scores = table.neighbours(track_id, 1 << 30)
        return [table.track_id(row) for row in rows.tolist()], scores.tolist()

    yield ask


@contextmanager
def sidecar_songs(folder: Path) -> Iterator[Ask]:
    """Answer with ids, titles, artists, genres and scores of ten songs."""
    table = SimilarTable(folder / "table")
    yield lambda track_id: table.similar(track_id, 10)


@contextmanager
def pyarrow_parquet(folder: Path) -> Iterator[Ask]:
    """Answer from a dataset that is held open."""
    dataset = pads.dataset(folder / "table" / "parts", format="parquet")

    def ask(track_id: str) -> object:
        found = dataset.to_table(columns=COLUMNS.split(", "), filter=pads.field("track_id") == track_id)
        return [column.to_pylist() for column in found.columns]

    yield ask


@contextmanager
def duckdb_parquet(folder: Path) -> Iterator[Ask]:
    """Answer by a query of the Parquet files, with cached footers."""
    yield from _duckdb(":memory:", f"'{folder}/table/parts/*.parquet'", "SET parquet_metadata_cache = true")


@contextmanager
def duckdb_native(folder: Path) -> Iterator[Ask]:
    """Answer from a table of DuckDB's own, with an index."""
    yield from _duckdb(str(folder / "similar.duckdb"), "similar_songs", "SET threads = 1")


def _duckdb(file: str, table: str, setting: str) -> Iterator[Ask]:
    with duckdb.connect(file, read_only=file != ":memory:") as database:
        database.execute(setting)
        query = f"SELECT {COLUMNS} FROM {table} WHERE track_id = ? ORDER BY rank"
        yield lambda track_id: _columns(database.execute(query, [track_id]).fetchall())


@contextmanager
def sqlite(folder: Path) -> Iterator[Ask]:
    """Answer from the file that `musicrec export` writes."""
    with closing(sqlite3.connect(f"file:{folder}/similar.sqlite?mode=ro", uri=True)) as database:
        query = f"SELECT {COLUMNS} FROM similar_songs WHERE track_id = ? ORDER BY rank"
        yield lambda track_id: _columns(database.execute(query, (track_id,)).fetchall())


@contextmanager
def polars_parquet(folder: Path) -> Iterator[Ask]:
    """Answer by a lazy scan of the Parquet files."""
    import polars as pl

    def ask(track_id: str) -> object:
        scan = pl.scan_parquet(f"{folder}/table/parts/*.parquet").filter(pl.col("track_id") == track_id)
        found = scan.select(COLUMNS.split(", ")).collect()
        return found["similar_track_id"].to_list(), found["score"].to_list()

    yield ask


def _columns(rows: list[tuple[str, float]]) -> object:
    return tuple(zip(*rows, strict=True))


PEERS = [
    Peer("sidecar: rows, scores", sidecar_rows, 5000),
    Peer("sidecar: the same, copied", sidecar_copied, 5000),
    Peer("sidecar: ids, scores", sidecar_ids, 2000),
    Peer("sidecar: 10 songs by name", sidecar_songs, 1000),
    Peer("Parquet by pyarrow", pyarrow_parquet, 20),
    Peer("Parquet by DuckDB", duckdb_parquet, 20),
    Peer("Parquet by Polars", polars_parquet, 20),
    Peer("DuckDB's own table", duckdb_native, 50),
    Peer("sqlite", sqlite, 500),
]


# --- measuring ----------------------------------------------------------------------------------------------------


def warm(peers: list[Peer], folder: Path, track_ids: list[str], found: Lists) -> dict[str, tuple[float, float]]:
    """Return p50 and p99 in seconds of each way, in turns; the first turn, in which files are read, is not counted.

    One answer of each turn is compared with what was written, after it was timed.
    """
    rng = np.random.default_rng(2)
    seconds: dict[str, list[float]] = {peer.name: [] for peer in peers}
    opened = [(peer, peer.opened(folder)) for peer in peers]
    asks = [(peer, held.__enter__()) for peer, held in opened]
    for turn in range(TURNS):
        for peer, ask in asks:
            for i in rng.integers(0, len(track_ids), peer.asked):
                track_id = track_ids[i]
                started = time.perf_counter()
                answer = ask(track_id)
                seconds[peer.name] += [time.perf_counter() - started] if turn else []
            compare(peer, answer, i, track_ids, found)
    for _, held in opened:
        held.__exit__(None, None, None)
    return {name: (float(np.median(s)), float(np.quantile(s, 0.99))) for name, s in seconds.items()}


def cold(peers: list[Peer], folder: Path, track_ids: list[str]) -> dict[str, tuple[float, float]]:
    """Return p50 and p99 in seconds of opening and one answer, with nothing of the files in memory before."""
    rng = np.random.default_rng(3)
    seconds: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for turn in range(COLD + 1):  # the first, in which libraries start up, is not counted
        for peer in peers:
            drop(folder)
            track_id = track_ids[rng.integers(0, len(track_ids))]
            started = time.perf_counter()
            with peer.opened(folder) as ask:
                ask(track_id)
                seconds[peer.name] += [time.perf_counter() - started] if turn else []
            del ask
            gc.collect()  # unmaps, or the pages would stay
    return {name: (float(np.median(s)), float(np.quantile(s, 0.99))) for name, s in seconds.items()}


def drop(folder: Path) -> None:
    """Drop the files from the page cache; none may be mapped."""
    for file in folder.rglob("*"):
        if file.is_file():
            handle = os.open(file, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def check(peers: list[Peer], folder: Path, track_ids: list[str], found: Lists) -> None:
    """Raise AssertionError unless all ways return what was written."""
    for row in (0, len(found[0]) // 3, len(found[0]) - 1):
        for peer in peers:
            with peer.opened(folder) as ask:
                compare(peer, ask(track_ids[row]), row, track_ids, found)


def compare(peer: Peer, answer: Any, row: int, track_ids: list[str], found: Lists) -> None:  # noqa: ANN401
    """Raise AssertionError unless an answer is what was written."""
    written = [track_ids[i] for i in found[0][row]], found[1][row].tolist()
    if peer.opened is sidecar_songs:
        assert [(s.song.track_id, s.score) for s in answer] == list(zip(*written, strict=True))[:10], peer.name
        return
    if peer.opened in (sidecar_rows, sidecar_copied):
        answer = [track_ids[i] for i in answer[0]], answer[1]
    assert (list(answer[0]), list(answer[1])) == written, peer.name


def batches(folder: Path, track_ids: list[str]) -> list[tuple[str, float]]:
    """Return the median seconds for many songs at once."""
    import polars as pl

    table, rng = SimilarTable(folder / "table"), np.random.default_rng(4)
    memory = duckdb.connect()
    n = table.neighbours(track_ids[0], 1 << 30)[0].size
    scan = pl.scan_parquet(f"{folder}/table/parts/*.parquet")
    sql = f"SELECT * FROM '{folder}/table/parts/*.parquet' WHERE track_id IN (SELECT unnest(?))"
    ways: dict[str, Callable[[list[str]], Any]] = {
        f"sidecar: rows, scores, {n} each": lambda asked: table.neighbours_many(asked, n),
        "sidecar: Arrow table, 10 each": lambda asked: table.similar_many(asked, 10),
        f"Parquet by DuckDB, {n} each": lambda asked: memory.sql(sql, params=[asked]).to_arrow_table(),
        f"Parquet by Polars, {n} each": lambda asked: scan.filter(pl.col("track_id").is_in(asked)).collect(),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(BATCHES + 1):
        for name, way in ways.items():
            asked = [track_ids[i] for i in rng.integers(0, len(track_ids), BATCH)]
            _, took = wall(lambda way=way, asked=asked: way(asked))
            seconds[name] += [took] if turn else []
    return [(name, median(s)) for name, s in seconds.items()]


def start(folder: Path, track_id: str) -> float:
    """Return the median seconds of `musicrec lookup`, start to end, with nothing of the table in memory before."""
    command = [sys.executable, "-m", "musicrec", "lookup", str(folder / "table"), track_id]
    seconds = []
    for _ in range(STARTS):
        drop(folder)
        seconds.append(wall(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))[1])
    return median(seconds)


# --- the report ---------------------------------------------------------------------------------------------------


def in_words(seconds: float) -> str:
    """Return seconds as µs or ms."""
    return f"{seconds * 1e6:.1f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"


def main() -> None:
    """Write the table in all its forms, measure all ways to read it, and print."""
    p = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    p.add_argument("--songs", type=int, default=1_000_000, help="songs of the table (default: %(default)s)")
    p.add_argument("-n", type=int, default=50, help="neighbours of each (default: %(default)s)")
    p.add_argument("--folder", type=Path, help="folder to work in; some 7 GB (default: a temporary one)")
    p.add_argument("--peers", type=Path, help="folder Polars is installed into and kept in (default: a temporary one)")
    options = p.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        peers_at(options.peers or Path(temporary) / "peers")
        print_machine("pyarrow", "duckdb", "polars")
        report(Path(temporary) / "work", options.songs, options.n)


def peers_at(folder: Path) -> None:
    """Make Polars importable, and install it if it is not there yet; it is not a dependency."""
    if not (folder / "polars").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), "polars"]
        subprocess.run(command, check=True)
    sys.path.append(str(folder))  # last: numpy and the like stay those of musicrec


def report(folder: Path, n_songs: int, n: int) -> None:
    """Print the times to write and to ask, and the sizes."""
    folder.mkdir()
    songs, found = songs_called(SHAPES["fma/000123.mp3"], n_songs), lists(n_songs, n, n_songs)
    track_ids = songs["track_id"].to_pylist()
    table, took = wall(lambda: write(folder / "table", songs, found))
    _, took_sqlite = wall(lambda: export(SimilarTable(table), folder / "similar.sqlite", n))
    with duckdb.connect(str(folder / "similar.duckdb")) as database:
        database.execute(
            f"CREATE TABLE similar_songs AS SELECT * FROM '{table}/parts/*.parquet' ORDER BY track_id, rank"
        )
    check(PEERS, folder, track_ids, found)
    first = cold(PEERS, folder, track_ids)
    begun = start(folder, track_ids[0])
    then = warm(PEERS, folder, track_ids, found)
    print(
        f"synthetic table, {n_songs} songs × {n}: written in {took:.1f} s, exported to sqlite in {took_sqlite:.1f} s\n"
    )
    head = ("one song", "warm p50", "warm p99", "cold p50", "cold p99")
    print_table(head, [(name, *map(in_words, (*then[name], *first[name]))) for name in then])
    many = batches(folder, track_ids)
    print_table((f"{BATCH} songs at once", "median"), [(name, in_words(seconds)) for name, seconds in many])
    places = {
        "Parquet": (table / "parts", "*.parquet"),
        "sidecar": (table / SIDECAR, "*"),
        "sqlite": (folder, "*.sqlite"),
    }
    sizes = {name: bytes_a_song(at, n_songs, pattern) for name, (at, pattern) in places.items()}
    sizes["DuckDB's own table"] = bytes_a_song(folder, n_songs, "*.duckdb")
    print_table(("form", "bytes a song"), [(name, f"{size:.1f}") for name, size in sizes.items()])
    print_table(
        ("ids like", "published", "Parquet's defaults", "a row a song, with lists"), sizes_by_id(folder, n_songs, n)
    )
    print(f"musicrec lookup, fresh process, cold: {begun:.2f} s")
    p50, p99 = then[PEERS[1].name]
    print(f"sidecar, copied: p50 ≤ 3 µs, p99 ≤ 10 µs: {verdict(p50 <= 3e-6 and p99 <= 10e-6)}")
    print(f"Parquet alone ≤ 10 ms: {verdict(min(then[q.name][0] for q in PEERS if 'Parquet' in q.name) <= 10e-3)}")
    print(f"{BATCH} songs ≤ 10 ms: {verdict(many[0][1] <= 10e-3)}")
    print(f"Parquet ≤ 300 bytes a song: {verdict(sizes['Parquet'] <= 300)}")


if __name__ == "__main__":
    main()
