"""The songs similar to a song over HTTP, with their names: `musicrec serve` beside the same framework over databases.

The table is synthetic. Every server runs by uvicorn in a process of its own, and `wrk` asks each for the lists of songs
drawn at random, in turns. Answers a CPU second are those of the server's process alone. Before that, answers about 200
songs are compared, one by one.

quick: what `musicrec serve` does with such requests. long way: the same with a parameter that it does not know, so that
Starlette routes it and json writes it. nothing: an ASGI application that always sends the same list: the least that any
server by uvicorn can take.

search: wall milliseconds of `/songs?q=`, asked one after the other: whole titles, their first three characters, and
words that no song has.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.serve.lookup_peers import Ask, sqlite_names
from benchmarks.serve.song_map import publish
from benchmarks.shared.common import print_machine, print_table, verdict
from musicrec.serve.export import export
from musicrec.serve.lookup import SimilarTable

N, COMPARED, TURNS, SECONDS = 10, 200, 5, 2
SERVERS = ("quick", "long way", "SQLite", "DuckDB over Parquet", "nothing")
SEARCHES, MOST_SEARCH_MS = 200, 20.0
LEAST_A_SECOND, LEAST_TIMES_SQLITE, LEAST_TIMES_DUCKDB = 12_000, 1.5, 100

DUCKDB_QUERY = """
SELECT songs.track_id, title, artist, genre, score
FROM '{folder}/out/similar/*.parquet' AS lists
JOIN '{folder}/songs.parquet' AS songs ON songs.track_id = similar_track_id
WHERE lists.track_id = ? AND rank <= {n} ORDER BY rank
"""

# --- servers ------------------------------------------------------------------------------------------------------


@contextmanager
def duckdb_over_parquet(folder: Path) -> Iterator[Ask]:
    """Answer by a query of the published Parquet files, with cached footers."""
    with duckdb.connect(config={"threads": 1}) as database:
        database.execute("SET parquet_metadata_cache = true")
        query = DUCKDB_QUERY.format(folder=folder, n=N)
        yield lambda track_id: database.execute(query, [track_id]).fetchall()


def over_rows(ask: Any) -> Any:  # noqa: ANN401
    """Return an application that answers by what a database finds."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    names = ("track_id", "title", "artist", "genre", "score")

    async def similar(request: Any) -> Any:  # noqa: ANN401
        found = ask(request.path_params["id"])
        return JSONResponse([{"rank": i, **dict(zip(names, row, strict=True))} for i, row in enumerate(found, 1)])

    return Starlette(routes=[Route("/songs/{id:path}/similar", similar)])


def nothing(folder: Path) -> Any:  # noqa: ANN401
    """Return an application that always sends the list of the first song."""
    table = SimilarTable(folder / "out")
    first = next(table.songs()).track_id
    found = [{"rank": rank, **song._asdict(), "score": score} for rank, song, score in table.similar(first, N)]
    body = json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()
    headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return app


def serve(name: str, folder: Path, port: int) -> None:
    """Serve until the process ends."""
    import uvicorn

    from musicrec.serve.service.application import application

    with ExitStack() as stack:
        if name in ("quick", "long way"):
            app = application(folder / "out")
        elif name == "nothing":
            app = nothing(folder)
        else:
            opened = sqlite_names if name == "SQLite" else duckdb_over_parquet
            app = over_rows(stack.enter_context(opened(folder)))
        uvicorn.run(app, port=port, log_level="warning", access_log=False)


@contextmanager
def served(name: str, folder: Path, port: int) -> Iterator[int]:
    """Serve in a process of its own, wait until it answers, and give its number."""
    command = [sys.executable, "-m", "benchmarks.serve.service", "--serve", name, str(folder), str(port)]
    process = subprocess.Popen(command)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/songs/000000.mp3/similar").read()
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise SystemExit(f"{name} does not answer at port {port}; another program may have that port")
        yield process.pid
    finally:
        process.kill()
        process.wait()


# --- measuring ----------------------------------------------------------------------------------------------------


def ask(port: int, track_id: str, more: str = "") -> list[dict[str, Any]]:
    """Return one answer."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/songs/{track_id}/similar?n={N}{more}") as answer:
        found: list[dict[str, Any]] = json.loads(answer.read())
    return found


def require_right(name: str, port: int, table: SimilarTable) -> None:
    """Raise AssertionError unless answers about some songs are those of the table."""
    for row in np.random.default_rng(0).integers(0, len(table), COMPARED):
        track_id = f"{row:06d}.mp3"
        right = [{"rank": rank, **song._asdict(), "score": score} for rank, song, score in table.similar(track_id, N)]
        assert ask(port, track_id) == right, (name, track_id)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def megabytes(pid: int) -> float:
    """Return how much memory a process holds, in MB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1000


def answers_a_cpu_second(name: str, pid: int, port: int, n_songs: int, seed: int) -> tuple[float, str]:
    """Ask by wrk for some seconds; return answers for each CPU second of the server, and wrk's 99th percentile."""
    more = "&other=1" if name == "long way" else ""
    script = f"""
math.randomseed({seed})
request = function()
  return wrk.format("GET", string.format("/songs/%06d.mp3/similar?n={N}{more}", math.random(0, {n_songs - 1})))
end
"""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        before = cpu_seconds(pid)
        command = ["wrk", "-t1", "-c8", f"-d{SECONDS}s", "--latency", "-s", file.name, f"http://127.0.0.1:{port}"]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert not re.search("Non-2xx|Socket errors", told), told
    n_answers = int(re.search(r"(\d+) requests in", told)[1])
    return n_answers / (cpu_seconds(pid) - before), re.search(r"99%\s+(\S+)", told)[1]


def search(port: int, titles: list[str]) -> bool:
    """Print how long searches take; return whether 99 of 100 of each kind are fast enough."""
    asked = {
        "whole titles": titles,
        "first characters": [title[:3] for title in titles],
        "in no title": [f"{title[::-1]}zq" for title in titles],
    }
    rows, slowest = [], 0.0
    for kind, queries in asked.items():
        times = []
        for query in queries:
            started = time.perf_counter()
            url = f"http://127.0.0.1:{port}/songs?q={urllib.parse.quote(query)}"
            with urllib.request.urlopen(url) as answer:
                found = json.load(answer)
            times.append(1000 * (time.perf_counter() - started))
            assert bool(found) == (kind != "in no title"), query
        rows.append([kind, *(f"{np.percentile(times, at):.1f}" for at in (50, 99))])
        slowest = max(slowest, float(np.percentile(times, 99)))
    print_table(["search", "ms at the median", "p99"], rows)
    return slowest <= MOST_SEARCH_MS


def main() -> int:
    """Measure, and say whether the bars are met."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, default=100_000)
    parser.add_argument("--serve", nargs=3, metavar=("SERVER", "FOLDER", "PORT"))
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve[0], Path(arguments.serve[1]), int(arguments.serve[2]))
        return 0
    if not shutil.which("wrk"):
        raise SystemExit("needs wrk, which asks the servers; on Debian: apt install wrk")
    print_machine()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        store, *_ = publish(folder / "out", arguments.songs)
        table = SimilarTable(store.out)
        export(table, folder / "similar.sqlite", N)
        pq.write_table(pa.Table.from_pylist([song._asdict() for song in table.songs()]), folder / "songs.parquet")
        ports = {what: 18090 + i for i, what in enumerate(SERVERS)}
        servers = {what: (stack.enter_context(served(what, folder, port)), port) for what, port in ports.items()}
        for what, (_, port) in servers.items():
            if what != "nothing":
                require_right(what, port, table)
        found: dict[str, list[tuple[float, str]]] = {what: [] for what in SERVERS}
        for turn in range(TURNS + 1):
            for what, (pid, port) in servers.items():
                figure = answers_a_cpu_second(what, pid, port, arguments.songs, turn)
                found[what] += [figure] if turn else []  # the first turn, in which files are read, is not counted
        rng = np.random.default_rng(0)
        some = rng.choice(arguments.songs, SEARCHES, replace=False).tolist()
        names = [song.title or song.track_id for row, song in enumerate(table.songs()) if row in set(some)]
        is_fast = search(ports["quick"], names)
        memory = {what: megabytes(pid) for what, (pid, _) in servers.items()}
    rates = {what: median(rate for rate, _ in figures) for what, figures in found.items()}
    rows = [
        [what, f"{rates[what]:,.0f}", f"{rates['quick'] / rates[what]:.2f}", found[what][-1][1], f"{memory[what]:.0f}"]
        for what in SERVERS
    ]
    print_table(["server", "answers a CPU second", "quick is … times as fast", "p99", "MB"], rows)
    quick = rates["quick"]
    for bar, is_met in (
        (f"searches in {MOST_SEARCH_MS:g} ms", is_fast),
        (f"{LEAST_A_SECOND:,} answers a CPU second", quick >= LEAST_A_SECOND),
        (f"{LEAST_TIMES_SQLITE} × SQLite", quick >= LEAST_TIMES_SQLITE * rates["SQLite"]),
        (f"{LEAST_TIMES_DUCKDB} × DuckDB", quick >= LEAST_TIMES_DUCKDB * rates["DuckDB over Parquet"]),
    ):
        print(f"{bar}: {verdict(is_met)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
