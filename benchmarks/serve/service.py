"""The songs similar to a song over HTTP, with their names: `musicrec serve` beside the same framework over databases.

The table is synthetic. Every server runs by uvicorn in a process of its own, and `wrk` asks each for the lists of songs
drawn at random, in turns. Answers a CPU second are those of the server's process alone; of Ray Serve, those of proxy,
replica and controller. Before that, answers about 200 songs are compared, one by one. Memory is what the processes
hold, with what they map of the table.

quick: what `musicrec serve` does with such requests. long way: the same with a parameter that it does not know, so that
Starlette routes it and json writes it. Ray Serve: the application of `musicrec serve` as a deployment of one replica.
nothing: an ASGI application that always sends the same list: the least that any server by uvicorn can take.

search: wall milliseconds of `/songs?q=`, asked one after the other: whole titles, their first three characters, and
words that no song has.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from argparse import SUPPRESS, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.serve import ray_serve
from benchmarks.serve.lookup_peers import Ask, sqlite_names
from benchmarks.serve.song_map import publish
from benchmarks.shared.common import print_machine, print_table, verdict
from musicrec.serve.export import export
from musicrec.serve.lookup import SimilarTable

N, COMPARED, TURNS, SECONDS = 10, 200, 5, 2
SERVERS = ("quick", "long way", "SQLite", "DuckDB over Parquet", "Ray Serve", "nothing")
SEARCHES, MOST_SEARCH_MS = 200, 20.0
LEAST_A_SECOND = 12_000
LEAST_TIMES = {"SQLite": 1.5, "DuckDB over Parquet": 100, "Ray Serve": 30}
USUAL_SONGS, SIZES = 100_000, {1_000_000: "million"}  # results of other sizes are kept under names of their own

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

    if name == "Ray Serve":
        ray_serve.serve(lambda: application(folder / "out"), port)
    with ExitStack() as stack:
        if name in ("quick", "long way"):
            app = application(folder / "out")
        elif name == "nothing":
            app = nothing(folder)
        else:
            opened = sqlite_names if name == "SQLite" else duckdb_over_parquet
            app = over_rows(stack.enter_context(opened(folder)))
        uvicorn.run(app, port=port, log_level="warning", access_log=False)


def free_port() -> int:
    """Return a port that no program listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


@contextmanager
def served(name: str, folder: Path, port: int, peers: Path | None) -> Iterator[list[int]]:
    """Serve in a process of its own, wait until it answers, and give the numbers of the processes that serve."""
    command = [sys.executable, "-m", "benchmarks.serve.service", "--serve", name, str(folder), str(port)]
    is_ray = name == "Ray Serve"
    process = subprocess.Popen(command, env=ray_serve.environment(peers) if is_ray else None)
    try:
        for _ in range(1200):
            if process.poll() is not None:
                raise SystemExit(f"{name} has ended with {process.returncode}; what it said stands above")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/songs/000000.mp3/similar").read()
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise SystemExit(f"{name} does not answer within two minutes")
        yield ray_serve.serving(process.pid) if is_ray else [process.pid]
    finally:
        process.terminate()
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


def cpu_seconds(pids: list[int]) -> float:
    """Return the CPU time of some processes, in user and system mode."""
    stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) / os.sysconf("SC_CLK_TCK")


def megabytes(pids: list[int]) -> float:
    """Return how much memory some processes hold, in MB."""
    statuses = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    return sum(int(re.search(r"VmRSS:\s+(\d+)", status)[1]) for status in statuses) / 1000


def answers_a_cpu_second(name: str, pids: list[int], port: int, n_songs: int, seed: int) -> tuple[float, str]:
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
        before = cpu_seconds(pids)
        command = ["wrk", "-t1", "-c8", f"-d{SECONDS}s", "--latency", "-s", file.name, f"http://127.0.0.1:{port}"]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert not re.search("Non-2xx|Socket errors", told), told
    n_answers = int(re.search(r"(\d+) requests in", told)[1])
    return n_answers / (cpu_seconds(pids) - before), re.search(r"99%\s+(\S+)", told)[1]


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


def measure(servers: dict[str, tuple[list[int], int]], n_songs: int) -> dict[str, list[tuple[float, str]]]:
    """Ask each server in turns; return answers a CPU second and the 99th percentile of each turn."""
    found: dict[str, list[tuple[float, str]]] = {name: [] for name in servers}
    for turn in range(TURNS + 1):
        for name, (pids, port) in servers.items():
            figure = answers_a_cpu_second(name, pids, port, n_songs, turn)
            found[name] += [figure] if turn else []  # the first turn, in which files are read, is not counted
    return found


def write(folder: Path, n_songs: int, servers: list[str]) -> SimilarTable:
    """Publish a table, and write what the servers read beside it."""
    store, *_ = publish(folder / "out", n_songs)
    table = SimilarTable(store.out)
    if "SQLite" in servers:
        export(table, folder / "similar.sqlite", N)
    if "DuckDB over Parquet" in servers:
        pq.write_table(pa.Table.from_pylist([song._asdict() for song in table.songs()]), folder / "songs.parquet")
    return table


def chosen(options: Namespace) -> list[str]:
    """Return which servers run; print a line if Ray Serve cannot."""
    has_ray = "Ray Serve" in options.servers and ray_serve.have_ray_serve(options.peers)
    if "Ray Serve" in options.servers and not has_ray:
        print("ray[serve] is not installed, and Ray Serve left out: --peers DIR installs it\n", flush=True)
    return [
        name for name in SERVERS if name == "quick" or (name in options.servers and (has_ray or name != "Ray Serve"))
    ]


def main() -> int:
    """Measure, and say whether the bars are met."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, default=USUAL_SONGS, help="songs of the table (default: %(default)s)")
    parser.add_argument(
        "--servers", nargs="+", choices=SERVERS, default=SERVERS, help="these beside the quick one alone"
    )
    parser.add_argument("--peers", type=Path, help="folder Ray Serve is installed into and kept in (default: none)")
    parser.add_argument("--serve", nargs=3, metavar=("SERVER", "FOLDER", "PORT"), help=SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve[0], Path(arguments.serve[1]), int(arguments.serve[2]))
        return 0
    if not shutil.which("wrk"):
        raise SystemExit("needs wrk, which asks the servers; on Debian: apt install wrk")
    n_songs = arguments.songs
    print_machine(
        "starlette",
        "uvicorn",
        "duckdb",
        "ray",
        kept_as="" if n_songs == USUAL_SONGS else SIZES.get(n_songs, str(n_songs)),
    )
    names = chosen(arguments)
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        table = write(folder, n_songs, names)
        ports = {name: free_port() for name in names}
        servers = {
            name: (stack.enter_context(served(name, folder, port, arguments.peers)), port)
            for name, port in ports.items()
        }
        for name, (_, port) in servers.items():
            if name != "nothing":
                require_right(name, port, table)
        found = measure(servers, n_songs)
        some = set(np.random.default_rng(0).choice(n_songs, SEARCHES, replace=False).tolist())
        is_fast = search(ports["quick"], [song.title or "" for row, song in enumerate(table.songs()) if row in some])
        memory = {name: megabytes(pids) for name, (pids, _) in servers.items()}
    rates = {name: median(rate for rate, _ in figures) for name, figures in found.items()}
    rows = [
        [name, f"{rates[name]:,.0f}", f"{rates['quick'] / rates[name]:.2f}", found[name][-1][1], f"{memory[name]:.0f}"]
        for name in names
    ]
    print(f"{n_songs:,} songs × {len(table.neighbours('000000.mp3', 1 << 30)[0])}\n")
    print_table(["server", "answers a CPU second", "quick is … times as fast", "p99", "MB"], rows)
    quick = rates["quick"]
    print(f"searches in {MOST_SEARCH_MS:g} ms: {verdict(is_fast)}")
    print(f"{LEAST_A_SECOND:,} answers a CPU second: {verdict(quick >= LEAST_A_SECOND)}")
    for name, times in LEAST_TIMES.items():
        if name in rates:
            print(f"{times:g} × {name}: {verdict(quick >= times * rates[name])}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
