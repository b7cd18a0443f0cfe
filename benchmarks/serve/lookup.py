"""One song's list out of a table of a million songs: the mapped sidecar and the Parquet table, beside databases.

The table is synthetic: each song's neighbours are drawn from all songs, which is the hardest to compress, and its
scores fall as those of an embedding do. All ways read the same content and are asked for the same songs. Every answer
is compared with what was written, value by value and type by type, after it was timed.

warm: one table is held open and asked for songs in random order; all ways take turns.
read: the same, while a second process asks the same table all the time.
cold: the files are dropped from the page cache, the table is opened and asked for one song; imports are not counted.
"""

import gc
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks.serve.lookup_peers import ALL, PEERS, Ask, Peer, write_forms
from benchmarks.shared.common import print_machine, print_table, verdict, wall
from benchmarks.shared.peers import have
from benchmarks.shared.synthetic_tables import SHAPES, Lists, bytes_a_song, lists, sizes_by_id, songs_called, write
from musicrec.serve.lookup import NAMED, SimilarTable
from musicrec.serve.sidecar import SIDECAR

COLD, TURNS, BATCH, BATCHES, STARTS = 30, 10, 10_000, 7, 5
AT_ONCE = 16  # answers that are held until they are compared
BESIDE_A_READER = 3  # turns


class Written(NamedTuple):
    """What was written: the columns of the songs, and the lists."""

    songs: list[list[str]]
    found: Lists

    def answer(self, question: str, row: int) -> list[Any]:
        """Return the right answer to a question about one song."""
        rows, scores = (part[row].tolist() for part in self.found)
        if question == "rows":
            return [rows, scores]
        if question == "ids":
            return [[self.songs[0][i] for i in rows], scores]
        return [(*(column[i] for column in self.songs), score) for i, score in zip(rows[:10], scores, strict=False)]


class Times(NamedTuple):
    """Seconds of an answer."""

    p50: float
    p99: float


# --- measuring ----------------------------------------------------------------------------------------------------


def warm(peers: list[Peer], folder: Path, written: Written, turns: int = TURNS) -> dict[str, Times]:
    """Return the times of each way, in turns; the first turn, in which files are read, is not counted."""
    rng, track_ids = np.random.default_rng(2), written.songs[0]
    seconds: dict[str, list[float]] = {peer.name: [] for peer in peers}
    with ExitStack() as stack:
        asks = [(peer, stack.enter_context(peer.opened(folder))) for peer in peers]
        for turn in range(turns):
            drawn = rng.integers(0, len(track_ids), max(peer.asked for peer in peers)).tolist()
            for peer, ask in asks:
                took = ask_for(peer, ask, drawn[: peer.asked], written)
                seconds[peer.name] += took if turn else []
    return {name: times(s) for name, s in seconds.items()}


def ask_for(peer: Peer, ask: Ask, rows: list[int], written: Written) -> list[float]:
    """Return the seconds of each answer, after all were compared with what was written."""
    seconds = []
    for start in range(0, len(rows), AT_ONCE):
        answers = []
        for row in rows[start : start + AT_ONCE]:
            track_id = written.songs[0][row]
            started = time.perf_counter()
            answer = ask(track_id)
            seconds.append(time.perf_counter() - started)
            answers.append(answer)
        for row, answer in zip(rows[start : start + AT_ONCE], answers, strict=True):
            compare(peer, answer, row, written)
    return seconds


def compare(peer: Peer, answer: Any, row: int, written: Written) -> None:  # noqa: ANN401
    """Raise AssertionError unless an answer is what was written, and of the same types."""
    if peer.question == "names":
        got = [(*line.song, line.score) if hasattr(line, "song") else line for line in answer]
    else:
        got = [part.tolist() if isinstance(part, np.ndarray) else list(part) for part in answer]
    right = written.answer(peer.question, row)
    same = got == right and all(list(map(type, a)) == list(map(type, b)) for a, b in zip(got, right, strict=True))
    assert same, f"{peer.name} answers {got}, not {right}, of song {row}"


def cold(peers: list[Peer], folder: Path, written: Written) -> dict[str, Times]:
    """Return the times of opening and one answer, with nothing of the files in memory before."""
    rng, track_ids = np.random.default_rng(3), written.songs[0]
    seconds: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for turn in range(COLD + 1):  # the first, in which libraries start up, is not counted
        row = int(rng.integers(0, len(track_ids)))
        for peer in peers:
            drop(folder)
            started = time.perf_counter()
            with peer.opened(folder) as ask:
                answer = ask(track_ids[row])
                seconds[peer.name] += [time.perf_counter() - started] if turn else []
            compare(peer, answer, row, written)
            del ask
            gc.collect()  # unmaps, or the pages would stay
    return {name: times(s) for name, s in seconds.items()}


def times(seconds: list[float]) -> Times:
    """Return the median and the 99th percentile."""
    return Times(float(np.median(seconds)), float(np.quantile(seconds, 0.99)))


@contextmanager
def read_by_another(folder: Path) -> Iterator[None]:
    """Let a second process ask the table for songs all the while."""
    asking = multiprocessing.get_context("spawn").Process(target=keep_asking, args=(folder,), daemon=True)
    asking.start()
    time.sleep(2)  # it imports
    assert asking.is_alive()
    yield
    assert asking.is_alive()
    asking.kill()
    asking.join()


def keep_asking(folder: Path) -> None:
    """Ask a table for songs in random order until the process ends."""
    table, rng = SimilarTable(folder / "table"), np.random.default_rng(5)
    while True:
        for row in rng.integers(0, len(table), 1000).tolist():
            table.similar(table.track_id(row))


def drop(folder: Path) -> None:
    """Drop the files from the page cache; none may be mapped."""
    for file in folder.rglob("*"):
        if file.is_file():
            handle = os.open(file, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def batches(folder: Path, written: Written) -> list[tuple[str, float]]:
    """Return the median seconds for many songs at once; each answer is compared with what was written."""
    import polars as pl

    table, rng = SimilarTable(folder / "table"), np.random.default_rng(4)
    memory, n = duckdb.connect(), written.found[0].shape[1]
    scan = pl.scan_parquet(f"{folder}/table/parts/*.parquet")
    sql = f"SELECT * FROM '{folder}/table/parts/*.parquet' WHERE track_id IN (SELECT unnest(?))"

    def by_polars(asked: list[str]) -> object:
        return scan.filter(pl.col("track_id").is_in(asked)).collect()

    ways: dict[str, Callable[[list[str]], Any]] = {
        f"sidecar: rows, scores, {n} each": lambda asked: table.neighbours_many(asked, ALL),
        "sidecar: ids, scores, 10 each": lambda asked: table.similar_many(asked, 10),
        "sidecar: names, 10 each": lambda asked: table.similar_many(asked, 10, names=True),
        f"Parquet by DuckDB: ids, scores, {n} each": lambda asked: memory.sql(sql, params=[asked]).to_arrow_table(),
        f"Parquet by Polars: ids, scores, {n} each": lambda asked: scan.filter(
            pl.col("track_id").is_in(asked)
        ).collect(),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(BATCHES + 1):
        rows = np.sort(rng.choice(len(table), min(BATCH, len(table)), replace=False))
        asked = [written.songs[0][row] for row in rows]
        for name, way in ways.items():
            answer, took = wall(lambda way=way, asked=asked: way(asked))
            seconds[name] += [took] if turn else []
            assert equal(answer, rows, written), name
    return [(name, median(s)) for name, s in seconds.items()]


def equal(answer: Any, rows: np.ndarray, written: Written) -> bool:  # noqa: ANN401
    """Return whether the answer for many songs, in order of id, is what was written."""
    if isinstance(answer, tuple):
        return all(np.array_equal(part, lists[rows]) for part, lists in zip(answer, written.found, strict=True))
    found = answer if isinstance(answer, pa.Table) else answer.to_arrow()
    found = found.sort_by([("track_id", "ascending"), ("rank", "ascending")])
    n = len(found) // len(rows)
    ids, scores = (part[rows, :n] for part in written.found)
    columns = [np.repeat(rows, n), np.tile(np.arange(1, n + 1), len(rows)), ids.ravel(), scores.ravel()]
    texts = [pa.array(column) for column in written.songs]
    expected = [texts[0].take(pa.array(columns[0])), columns[1], texts[0].take(pa.array(columns[2])), columns[3]]
    expected += [column.take(pa.array(columns[2])) for column in texts[1:]]
    schema = pa.schema(list(NAMED)[: found.num_columns])
    return bool(found.cast(schema).equals(pa.table(expected[: found.num_columns], schema.names).cast(schema)))


def start(folder: Path, track_id: str) -> float:
    """Return the median seconds of `musicrec lookup`, start to end, with nothing of the table in memory before."""
    command = [sys.executable, "-m", "musicrec", "lookup", str(folder / "table"), track_id]
    seconds = []
    for _ in range(STARTS):
        drop(folder)
        seconds.append(wall(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))[1])
    return median(seconds)


# --- the report ---------------------------------------------------------------------------------------------------


def in_words(seconds: float | str) -> str:
    """Return seconds as µs or ms."""
    if isinstance(seconds, str):
        return seconds
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
        for peer in ("polars", "lmdb"):
            have(options.peers or Path(temporary) / "peers", peer)
        print_machine("pyarrow", "duckdb", "polars", "lmdb")
        report(Path(temporary) / "work", options.songs, options.n)


def report(folder: Path, n_songs: int, n: int) -> None:
    """Print the times to write and to ask, and the sizes."""
    folder.mkdir()
    songs, found = songs_called(SHAPES["fma/000123.mp3"], n_songs), lists(n_songs, n, n_songs)
    _, took = wall(lambda: write(folder / "table", songs, found))
    _, took_forms = wall(lambda: write_forms(folder, songs, found))
    written = Written([column.to_pylist() for column in songs.columns], found)
    first = cold(PEERS, folder, written)
    begun = start(folder, written.songs[0][0])
    then = warm(PEERS, folder, written)
    with read_by_another(folder):
        beside = warm([peer for peer in PEERS if peer.asked >= 500], folder, written, BESIDE_A_READER)
    print(f"synthetic table, {n_songs} songs × {n}: written in {took:.1f} s, the other forms in {took_forms:.1f} s\n")
    head = ("one song", "warm p50", "warm p99", "read p50", "read p99", "cold p50", "cold p99")
    rows = [(name, *map(in_words, (*then[name], *beside.get(name, ("", "")), *first[name]))) for name in then]
    print_table(head, rows)
    many = batches(folder, written)
    print_table((f"{BATCH} songs at once", "median"), [(name, in_words(seconds)) for name, seconds in many])
    sizes = sizes_of(folder, n_songs)
    print_table(("form", "bytes a song"), [(name, f"{size:.1f}") for name, size in sizes.items()])
    shapes = sizes_by_id(folder, n_songs, n)
    print_table(("ids like", "published", "Parquet's defaults", "a row a song, with lists"), shapes)
    print(f"musicrec lookup, fresh process, cold: {begun:.2f} s")
    for line in verdicts(then, dict(many), sizes["Parquet"]):
        print(line)


def sizes_of(folder: Path, n_songs: int) -> dict[str, float]:
    """Return the bytes a song of each form."""
    places = {
        "Parquet": (folder / "table" / "parts", "*.parquet"),
        "sidecar": (folder / "table" / SIDECAR, "*"),
        "sqlite": (folder, "*.sqlite"),
        "DuckDB's own tables": (folder, "*.duckdb"),
        "LMDB: ids, scores": (folder / "ids.lmdb", "data.mdb"),
    }
    return {name: bytes_a_song(at, n_songs, pattern) for name, (at, pattern) in places.items()}


def verdicts(then: dict[str, Times], many: dict[str, float], parquet_bytes: float) -> Iterator[str]:
    """Yield a line for each bar."""
    rows, ids, names = (then[f"sidecar: {what}"] for what in ("rows, scores", "ids, scores", "10 songs by name"))
    by_parquet = min(times.p50 for name, times in then.items() if name.startswith("Parquet"))
    named = many["sidecar: names, 10 each"]
    yield f"rows and scores, copied: p50 ≤ 3 µs, p99 ≤ 10 µs: {verdict(rows.p50 <= 3e-6 and rows.p99 <= 10e-6)}"
    yield f"ids and scores: p50 ≤ 5 µs: {verdict(ids.p50 <= 5e-6)}"
    yield f"10 songs by name: p50 ≤ 8 µs: {verdict(names.p50 <= 8e-6)}"
    yield f"Parquet alone ≤ 10 ms: {verdict(by_parquet <= 10e-3)}"
    yield f"{BATCH} songs ≤ 10 ms: {verdict(next(iter(many.values())) <= 10e-3)}"
    yield f"{BATCH} songs, 10 each by name ≤ 25 ms: {verdict(named <= 25e-3)}"
    yield f"Parquet ≤ 300 bytes a song: {verdict(parquet_bytes <= 300)}"


if __name__ == "__main__":
    main()
