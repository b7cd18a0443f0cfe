"""The service over HTTP: a real server, asked as any client asks, while tables are published and rolled back."""

import http.client
import json
import re
import socket
import threading
import time
from contextlib import closing
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import JSONResponse

from musicrec.schemas import RECOMMENDATIONS, TRACKS
from musicrec.serve.lookup import Similar, SimilarTable, Song
from musicrec.serve.service.application import application
from musicrec.serve.service.quick_lists import list_json
from musicrec.serve.sidecar import SIDECAR_COLUMNS
from musicrec.serve.table_writer import write_table
from musicrec.settings import CatalogSettings, SimilarSettings
from musicrec.similarity import top_n
from musicrec.store.store import Store

HTML = "<script>alert(1)</script>"
SONGS = [
    {"track_id": "a/b #1?.mp3", "title": HTML, "artist": "Ann", "genre": "jazz"},
    {"track_id": "a/similar", "title": "שלום", "artist": None, "genre": None},
    {"track_id": "blues.00002", "title": "Vibe & co", "artist": "Ärzte", "genre": "blues"},
    {"track_id": "long", "title": "x" * 2000, "artist": "Ann", "genre": "jazz"},
    {"track_id": "one more", "title": "Vibe two", "artist": "Ben", "genre": "jazz"},
]
IDS = [song["track_id"] for song in SONGS]


def publish_table(store, seed):
    """Lists of random vectors; the title of each song tells the version."""
    rows = [song | {"title": f"{song['title']} {seed}"} for song in SONGS] if seed else SONGS
    names = pa.Table.from_pylist(rows, pa.schema([TRACKS.field(name) for name in SIDECAR_COLUMNS]))
    vectors = np.random.default_rng(seed).normal(size=(len(SONGS), 3)).astype(np.float32)
    with store.new_version("similar", SimilarSettings(), f"{seed:08d}") as version:
        write_table(version, names, *top_n(vectors, 4))
        store.publish(version, keep=3)


def publish_all(store):
    """Publish songs, what is recommended to one listener, and lists."""
    store.settings.record(CatalogSettings(source="/music"))
    tracks = [{"uri": f"/music/{song['track_id']}", **song} for song in SONGS]
    row = {"user_id": "ada", "rank": 1, "track_id": IDS[2], "score": 0.5, "method": "max", "because": IDS[0]}
    for name, content in (
        ("tracks", pa.Table.from_pylist(tracks, TRACKS)),
        ("recommendations", pa.Table.from_pylist([row], RECOMMENDATIONS)),
    ):
        with store.new_version(name, CatalogSettings(source="/music"), "01234567") as version:
            version.write_part(content)
            store.publish(version)
    publish_table(store, 0)
    return store


@pytest.fixture
def out(store):
    return publish_all(store)


@pytest.fixture(scope="module")
def serve():
    """Serve an OUT on a free port until the last test has ended; return the port."""
    servers = []

    def start(store, token=None):
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(application(store.out, token), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        servers.append((server, thread))
        return listening.getsockname()[1]

    yield start
    for server, _ in servers:
        server.should_exit = True
    for _, thread in servers:
        thread.join()


@pytest.fixture(scope="module")
def unchanging(serve, tmp_path_factory):
    """The port of a service over an OUT that nobody changes."""
    store = Store(tmp_path_factory.mktemp("unchanging"))
    store.create()
    return serve(publish_all(store))


def get(port, path, **headers):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        body = response.read()
    is_json = response.headers["content-type"] == "application/json"
    return response.status, json.loads(body) if is_json else body.decode(), response.headers


def raw(port, path, **headers):
    """Status, body and headers as they are sent, but for the date."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read(), {k: v for k, v in response.getheaders() if k != "date"}


@pytest.mark.parametrize("token", [None, "secret"])
def test_lists_are_answered_quickly_and_to_the_byte_as_all_else_is(out, serve, token):
    """A parameter that nobody knows takes a request the long way."""
    port, headers = serve(out, token), {"Authorization": f"Bearer {token}"} if token else {}
    for seed in (0, 1):
        publish_table(out, seed)
        version = f'"{out.path("similar").name}"'
        while raw(port, "/songs/long/similar", **headers)[2]["etag"] != version:  # it follows within a second
            time.sleep(0.05)
        for track_id in (*IDS, "Vibe two", "nobody", "", "a/b"):
            for n in ("", "?n=1", "?n=3", "?n=1000", "?n=0", "?n=1001", "?n=x", "?n=", "?n=\u0663"):
                path = f"/songs/{quote(track_id)}/similar{quote(n, safe='?=')}"
                long_way = f"{path}{'&' if n else '?'}other=1"
                assert raw(port, path, **headers) == raw(port, long_way, **headers), path
        assert raw(port, "/songs/long/similar", If_None_Match=version, **headers)[0] == 304
        assert raw(port, "/songs/long/similar", Authorization="Bearer wrong")[0] == (401 if token else 200)
        assert raw(port, "/songs/long/similar")[0] == (401 if token else 200)
    _, metrics, _ = raw(port, "/metrics", **headers)
    counted = re.findall(rb'requests_total\{request="/songs/\{id\}/similar",status="200"\} (\S+)', metrics)
    assert float(*counted) > 2 * len(IDS) * 4  # by both ways


@given(text=st.text(st.characters(codec="utf-8")) | st.none(), score=st.floats(-1, 1, width=32))
def test_a_list_is_written_as_the_application_writes_it(text, score):
    found = [Similar(1, Song("an id", text, None, text), score), Similar(2, Song(text or "", "", "two", None), score)]
    lines = [{"rank": rank, **song._asdict(), "score": score} for rank, song, score in found]
    assert list_json(found) == JSONResponse(lines).body


def test_answers_are_what_the_table_says(out, serve):
    port, table = serve(out), SimilarTable(out.out)
    for track_id in IDS:
        status, found, headers = get(port, f"/songs/{quote(track_id)}/similar?n=3")
        wanted = [
            {"rank": rank, **song._asdict(), "score": pytest.approx(s)} for rank, song, s in table.similar(track_id, 3)
        ]
        assert (status, found) == (200, wanted)
        assert headers["etag"] == f'"{out.path("similar").name}"'
        if not track_id.endswith("/similar"):  # then its own path is that of the list of another song
            assert get(port, f"/songs/{quote(track_id)}")[1] == table.song(track_id)._asdict()
    assert [song["track_id"] for song in get(port, "/songs?q=vibe")[1]] == [IDS[2], IDS[4]]
    assert [song["track_id"] for song in get(port, "/songs?n=2")[1]] == IDS[:2]
    assert get(port, "/users/ada/recommendations")[1] == [
        {"rank": 1, **table.song(IDS[2])._asdict(), "score": 0.5}
    ]  # fmt: skip
    status = get(port, "/status")[1]
    assert (status["songs"], status["version"], status["problem"]) == (5, out.path("similar").name, None)
    assert status["created_at"] == out.footer("similar")["created_at"]


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/songs/nobody", 404, "no song 'nobody'"),
        ("/songs/nobody/similar", 404, "no song 'nobody'"),
        ("/songs/..%2f..%2fetc%2fpasswd", 404, "no song '../../etc/passwd'"),
        ("/songs/blues.00002/similar?n=0", 400, "n = 0; expected a number from 1 to 1000"),
        ("/songs/blues.00002/similar?n=1001", 400, "n = 1001"),
        ("/songs?n=two", 400, "n = two"),
        ("/songs?n=%C2%B2", 400, "n = ²"),
        ("/recommend", 400, "a playlist needs a liked song"),
        ("/recommend?like=nobody", 404, "no song 'nobody'"),
        ("/users/eve/recommendations", 404, "nothing is recommended to 'eve'"),
    ],
)
def test_a_wrong_request_gets_one_line_that_says_why(unchanging, path, status, said):
    code, found, _ = get(unchanging, path)
    assert code == status
    assert said in found["error"]
    assert "\n" not in found["error"]
    assert not re.search(r"(?<![\w.])/\w", found["error"])  # no path of the machine that serves


def test_a_version_that_the_client_has_is_not_sent_again(unchanging):
    tag = get(unchanging, "/songs/blues.00002")[2]["etag"]
    assert get(unchanging, "/songs/blues.00002", If_None_Match=tag)[:2] == (304, "")
    assert get(unchanging, "/songs/blues.00002", If_None_Match='"00000-other"')[0] == 200


@pytest.mark.parametrize("path", ["/users/ada/recommendations", "/status", "/metrics"])
def test_what_changes_without_a_new_table_is_always_sent(unchanging, path):
    tag = get(unchanging, "/songs/blues.00002")[2]["etag"]
    status, _, headers = get(unchanging, path, If_None_Match=tag)
    assert (status, headers["etag"]) == (200, None)


def test_only_who_has_the_token_is_answered(out, serve):
    port = serve(out, token="geheim ü")
    for path in ("/songs/blues.00002", "/metrics", "/status", "/", "/openapi.json"):
        status, found, headers = get(port, path)
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert "token" in found["error"]
    assert get(port, "/songs/blues.00002", Authorization="Bearer wrong")[0] == 401
    assert get(port, "/songs/blues.00002", Authorization="Bearer geheim ü".encode())[0] == 200


def test_all_requests_are_described(out, serve):
    port = serve(out)
    described = get(port, "/openapi.json")[1]
    assert described["openapi"].startswith("3.1")
    routes = {route.path.replace(":path", "") for route in application(out.out).routes}
    assert set(described["paths"]) == routes - {"/", "/openapi.json"}
    page = get(port, "/")[1]
    assert all(path in page for path in described["paths"])


def test_answers_are_counted_for_prometheus(out, serve):
    port = serve(out)
    for path in ("/songs/blues.00002", "/songs/nobody", "/songs/blues.00002"):
        get(port, path)
    lines = get(port, "/metrics")[1].splitlines()
    assert 'musicrec_requests_total{request="/songs/{id}",status="200"} 2' in lines
    assert 'musicrec_requests_total{request="/songs/{id}",status="404"} 1' in lines
    assert "musicrec_songs 5" in lines
    assert f'musicrec_table_info{{version="{out.path("similar").name}"}} 1' in lines


@pytest.mark.parametrize("n_requests", [100, pytest.param(10_000, marks=pytest.mark.slow)])
def test_every_kind_of_request_is_answered_from_one_version_meanwhile(out, serve, n_requests):
    """Searches, songs and the songs of the map; what has scores is asked in test_load.py."""
    port, asked, stop = serve(out), [0], threading.Event()
    paths = (
        "/songs?q=vibe",
        "/songs/blues.00002",
        "/songs/blues.00002/similar?n=4",
        "/map/songs?rows=2",
        "/songs?q=ann",
    )
    wrong, versions = [], set()

    def ask():
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            while not stop.is_set():
                for path in paths:
                    connection.request("GET", path)
                    response = connection.getresponse()
                    found, version = json.loads(response.read()), response.headers["etag"]
                    songs = found if isinstance(found, list) else [found]
                    number = int(version.strip('"').partition("-")[2]) if response.status == 200 else -1
                    said = [f" {number}" if number else song["title"][-2:] for song in songs]
                    if not songs or said != [song["title"][-2:] for song in songs]:
                        wrong.append((path, version, found))
                    versions.add(version)
                    asked[0] += 1

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for client in clients:
        client.start()
    for turn in range(6):
        out.rollback("similar") if turn % 3 == 2 else publish_table(out, turn + 1)
        time.sleep(0.5)
        while asked[0] < (turn + 1) * n_requests / 6 and any(client.is_alive() for client in clients):
            time.sleep(0.1)
    stop.set()
    for client in clients:
        client.join()
    assert wrong == []
    assert asked[0] >= n_requests
    assert len(versions) >= 5


def test_a_new_version_that_cannot_be_opened_leaves_the_last_one_open_and_is_told(out, serve, monkeypatch):
    port = serve(out)
    version = get(port, "/status")[1]["version"]
    publish_table(out, 1)
    (out.path("similar") / "_sidecar" / "scores.npy").write_bytes(b"no array")
    time.sleep(0.8)
    status = get(port, "/status")[1]
    assert status["version"] in (version, out.path("similar").name)  # it may have been opened before it was damaged
    if status["version"] == version:
        assert "not whole" in status["problem"] or "damaged" in status["problem"]
    assert get(port, "/songs/blues.00002/similar")[0] == 200


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0 can be reached from other machines; give a --token"),
        (["--host", "example.org"], "can be reached from other machines"),
    ],
)
def test_other_machines_are_let_in_by_a_token_only(out, command, options, said):
    code, _, error = command("serve", out.out, *options)
    assert code == 2
    assert said in error


def test_a_port_in_use_and_an_out_without_a_table_are_one_line(out, command, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, error = command("serve", out.out, "--port", port)
    assert code == 2
    assert f"cannot listen at 127.0.0.1:{port} (Address already in use)" in error
    empty = Store(tmp_path / "empty")
    empty.create()
    empty.settings.record(CatalogSettings(source="/music"))
    code, _, error = command("serve", empty.out)
    assert code == 1
    assert "has no similar yet" in error
