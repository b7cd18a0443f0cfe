"""What the explorer's page asks for: a song's surroundings and its file, ways to recommend, playlists, a login."""

import asyncio
import json
import os
import re
import urllib.parse
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from musicrec.schemas import EMBEDDINGS, OUTCOMES, TRACKS
from musicrec.serve.service.audio_answer import RangeOutside, byte_range
from musicrec.serve.sidecar import SIDECAR_COLUMNS
from musicrec.serve.space_shares import write_shares
from musicrec.serve.table_writer import write_table
from musicrec.settings import CatalogSettings, EmbedSettings, SimilarSettings
from musicrec.store.store import Store
from serving import ask, most_similar, serving

pytestmark = pytest.mark.thorough  # each test starts a server

HTML = "<img src=x onerror=alert(1)>"
NAMES = ["a/b #1?.mp3", "a/audio", "a/around", "../up.mp3", "100%.flac", "夜 \u202e.ogg", "long", "gone.wav"]
SOUND = {name: os.urandom(5000 + i) for i, name in enumerate(NAMES)}
OUTSIDE = b"nobody may hear this"


def make_out(folder):
    """Songs whose ids are awkward, each with a file of its own."""
    music = folder / "music"
    music.mkdir()
    (folder / "secret.mp3").write_bytes(OUTSIDE)
    tracks = []
    for i, name in enumerate(NAMES):
        path = music / (f"{i}.mp3" if i > 1 else f"{i} #1 100% hit?.mp3")
        path.write_bytes(SOUND[name])
        tracks.append({"track_id": name, "uri": str(path) if i % 2 else path.as_uri(), "title": HTML if i else "Vibe",
                       "artist": "Ann", "genre": "jazz", "duration_s": 12.3})  # fmt: skip
    tracks[6]["title"] = "x" * 2000
    vectors = np.random.default_rng(0).normal(size=(len(NAMES), 6)).astype(np.float32)
    embeddings = [{"track_id": n, "model_id": "m", "embedding": list(v)} for n, v in zip(NAMES, vectors, strict=True)]
    store, settings = Store(folder / "out"), CatalogSettings(source=str(music))
    store.create()
    store.settings.record(settings)
    publish(store, "tracks", settings, pa.Table.from_pylist(tracks, TRACKS))
    schema = EMBEDDINGS.remove(EMBEDDINGS.get_field_index("probabilities"))
    publish(store, "embeddings", EmbedSettings(), pa.Table.from_pylist(embeddings, schema))
    publish_lists(store, tracks, vectors)
    return store


def publish(store, name, settings, content):
    with store.new_version(name, settings, "01234567") as version:
        version.write_part(content)
        store.publish(version)


def publish_lists(store, tracks, vectors, spaces=None):
    order = np.argsort([track["track_id"] for track in tracks])
    names = pa.Table.from_pylist([tracks[i] for i in order], TRACKS).select(SIDECAR_COLUMNS)
    ids, scores = most_similar(vectors[order], 4)
    lineage = {"spaces": spaces} if spaces else {}
    with store.new_version("similar", SimilarSettings(), "89abcdef", **lineage) as version:
        write_table(version, names, ids, scores)
        if spaces:
            write_shares(version.folder, vectors[order], [2, 4], ids)
        store.publish(version)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with songs, and an OUT of them. Who changes a file puts it back."""
    folder = tmp_path_factory.mktemp("explored")
    make_out(folder)
    return folder


@pytest.fixture(scope="module")
def port(folder):
    with serving(folder / "out", is_explored=True) as port:
        yield port


@contextmanager
def changed(path):
    """Let a file be changed for a while."""
    content = path.read_bytes()
    yield path
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    path.write_bytes(content)


def audio(port, name, **headers):
    return ask(port, f"/songs/{urllib.parse.quote(name, safe='')}/audio", **headers)


# --- audio --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_audio_of_a_song_is_its_file(port, name):
    status, content, headers = audio(port, name)
    assert (status, content) == (200, SOUND[name])
    assert (headers["content-type"], headers["accept-ranges"]) == ("audio/mpeg", "bytes")


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("bytes=0-0", slice(0, 1)), ("bytes=10-19", slice(10, 20)), ("bytes=4000-", slice(4000, None)),
        ("bytes=-7", slice(-7, None)), ("bytes=-99999", slice(None)), ("bytes=4990-99999", slice(4990, None)),
    ],
)  # fmt: skip
def test_a_range_is_that_part_of_the_file(port, wanted, part):
    status, content, headers = audio(port, NAMES[0], Range=wanted)
    assert (status, content) == (206, SOUND[NAMES[0]][part])
    start, end, _ = part.indices(5000)
    assert headers["content-range"] == f"bytes {start}-{end - 1}/5000"
    assert int(headers["content-length"]) == end - start


@pytest.mark.parametrize("wanted", ["bytes=5000-", "bytes=99999-100000", "bytes=-0"])
def test_a_range_outside_the_file_is_416(port, wanted):
    status, content, headers = audio(port, NAMES[0], Range=wanted)
    assert (status, headers["content-range"]) == (416, "bytes */5000")
    assert "5,000" in json.loads(content)["error"]


@pytest.mark.parametrize(
    "wanted", ["", "bytes=", "bytes=-", "bytes=9-3", "bytes=1-2,5-6", "lines=1-2", "bytes=²-", "x"]
)
def test_what_is_no_range_is_left_out_of_account(wanted):
    assert byte_range(wanted, 5000) is None


def test_no_range_reaches_beyond_the_file():
    for size in (1, 2, 7):
        for first in ["", *map(str, range(9))]:
            for last in ["", *map(str, range(9))]:
                try:
                    found = byte_range(f"bytes={first}-{last}", size)
                except RangeOutside:
                    continue
                assert found is None or 0 <= found[0] < found[1] <= size


def test_a_file_that_shrank_has_its_new_length(port, folder):
    tag = audio(port, NAMES[1])[2]["etag"]
    with changed(folder / "music" / "1 #1 100% hit?.mp3") as path:
        path.write_bytes(b"short")
        assert audio(port, NAMES[1])[:2] == (200, b"short")
        assert audio(port, NAMES[1], Range="bytes=3000-")[0] == 416
        assert audio(port, NAMES[1], Range="bytes=1-2")[:2] == (206, b"ho")
        assert audio(port, NAMES[1], Range="bytes=1-2", If_Range=tag)[:2] == (200, b"short")  # of another file


@pytest.mark.parametrize(
    ("spoil", "status", "said"),
    [
        (lambda path: path.unlink(), 404, "missing: there is no such file"),
        (lambda path: path.write_bytes(b""), 503, "empty: no bytes"),
        (lambda path: (path.unlink(), path.mkdir()), 503, "unreadable: permission denied, not a regular file"),
        (lambda path: (path.unlink(), os.mkfifo(path)), 503, "unreadable: permission denied, not a regular file"),
    ],
)
def test_a_file_that_is_gone_or_no_file_is_one_line(port, folder, spoil, status, said):
    with changed(folder / "music" / "7.mp3") as path:
        spoil(path)
        code, content, _ = audio(port, "gone.wav")
    assert code == status
    assert said in json.loads(content)["error"]
    assert "\n" not in json.loads(content)["error"]
    assert str(folder) not in json.loads(content)["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/songs/..%2f..%2fsecret.mp3/audio", "/songs/../../secret.mp3/audio", "/songs/secret.mp3/audio",
        "/songs/%2fetc%2fpasswd/audio", "/songs/file:%2f%2f%2fetc%2fpasswd/audio", "/songs/{outside}/audio",
        "/songs/{inside}/audio", "/songs/%00/audio", "/songs/Vibe/audio",
        "/explore/..%2f..%2f..%2fservice%2faccess.py", "/explore/../../__init__.py", "/explore/%2e%2e/__init__.py",
    ],
)  # fmt: skip
def test_nothing_but_the_files_of_the_catalog_is_sent(port, folder, path):
    outside, inside = (urllib.parse.quote(str(folder / p), safe="") for p in ("secret.mp3", "music/1 #1 100% hit?.mp3"))
    status, content, _ = ask(port, path.format(outside=outside, inside=inside))
    assert status in (400, 404)
    assert OUTSIDE not in content
    assert b"import" not in content
    assert b"root:" not in content


def test_head_says_what_a_song_is_without_sending_it(port):
    status, content, headers = ask(port, "/songs/long/audio", "HEAD")
    assert (status, content, int(headers["content-length"])) == (200, b"", len(SOUND["long"]))


def test_a_song_of_a_bucket_is_sent_in_parts(tmp_path, s3):
    out = make_out(tmp_path)
    bucket, content = s3.bucket(), os.urandom(3_000_000)
    s3.filesystem().pipe_file(f"{bucket}/a b.mp3", content)
    tracks = out.read("tracks").to_pylist()
    place = next(track for track in tracks if track["track_id"] == "long")
    place["uri"] = f"s3://{bucket}/a b.mp3"
    publish(out, "tracks", CatalogSettings(source="s3://x"), pa.Table.from_pylist(tracks, TRACKS))
    with serving(out.out, is_explored=True) as port:
        assert audio(port, "long")[:2] == (200, content)
        assert audio(port, "long", Range="bytes=1048570-2097160")[:2] == (206, content[1048570:2097161])
        assert audio(port, "long", Range="bytes=3000000-")[0] == 416
        s3.filesystem().rm_file(f"{bucket}/a b.mp3")
        status, said, _ = audio(port, "long")
    assert status == 404
    assert json.loads(said)["error"] == "missing: there is no such file or object"


# --- songs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_song_comes_with_its_list(port, name):
    path = f"/songs/{urllib.parse.quote(name, safe='')}"
    status, content, headers = ask(port, f"{path}/around?n=3")
    found = json.loads(content)
    assert status == 200
    assert found["song"]["track_id"] == name
    listed = json.loads(ask(port, f"{path}/similar?n=3")[1])
    assert [{k: v for k, v in song.items() if k != "because"} for song in found["similar"]] == listed
    assert {song["because"] == {} for song in found["similar"]} == {True}  # the table knows one space only
    assert headers["etag"]


def test_because_is_what_each_space_contributes(tmp_path):
    out = make_out(tmp_path)
    tracks = out.read("tracks").to_pylist()
    vectors = np.random.default_rng(1).normal(size=(len(NAMES), 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    publish_lists(out, tracks, vectors, {"sound": {"weight": 1.0}, "words": {"weight": 1.0}})
    of = {track["track_id"]: vector for track, vector in zip(tracks, vectors, strict=True)}
    with serving(out.out, is_explored=True) as port:
        found = json.loads(ask(port, "/songs/long/around")[1])
    assert len(found["similar"]) == 4
    for song in found["similar"]:
        products = of["long"] * of[song["track_id"]]
        wanted = {"sound": products[:2].sum(), "words": products[2:].sum()}
        assert song["because"] == pytest.approx(wanted, abs=2e-3)
        assert sum(song["because"].values()) == pytest.approx(song["score"], abs=3e-3)


def test_hubs_stand_in_most_lists_and_orphans_in_none(port):
    lists = [json.loads(ask(port, f"/songs/{urllib.parse.quote(n, safe='')}/similar")[1]) for n in NAMES]
    counts = {n: sum(n in [song["track_id"] for song in listed] for listed in lists) for n in NAMES}
    found = json.loads(ask(port, "/starts?n=3&seed=5")[1])
    assert [song["lists"] for song in found["hubs"]] == sorted(counts.values(), reverse=True)[:3]
    assert all(counts[song["track_id"]] == song["lists"] for song in (*found["hubs"], *found["songs"]))
    assert found["n_orphans"] == sum(n == 0 for n in counts.values())
    assert {song["track_id"] for song in found["orphans"]} <= {n for n, count in counts.items() if not count}
    assert len(found["songs"]) == 3


# --- ways to recommend --------------------------------------------------------------------------------------------


def test_five_songs_are_recommended_from_by_each_method_or_it_says_why_not(port):
    likes = "&".join(f"like={urllib.parse.quote(name, safe='')}" for name in NAMES[:3])
    said = {}
    for method in json.loads(ask(port, "/methods")[1]):
        status, content, _ = ask(port, f"/methods/{method['name']}?{likes}")
        answer = json.loads(content)
        assert status == 200
        if answer["why_not"]:
            said[method["name"]] = answer["why_not"]
            continue
        found = answer["recommended"]
        assert len(found) == 5
        assert not {song["track_id"] for song in found} & set(NAMES[:3])
        assert {song["because"]["track_id"] for song in found} <= set(NAMES[:3])
        scores = [song["score"] for song in found]
        assert scores == sorted(scores, reverse=True)
    assert set(said) == {"method-2", "knn", "clustering"}
    assert "no genre probabilities" in said["method-2"]
    assert "has no features" in said["knn"]
    assert all("\n" not in line for line in said.values())


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/methods/guess?like=long", 400, "no method 'guess'; expected one of table, method-1"),
        ("/methods/table", 400, "0 liked songs; expected 1 to 5"),
        (f"/methods/table?{'like=long&' * 6}", 400, "6 liked songs"),
        ("/methods/table?like=nobody", 404, "no song 'nobody'"),
        ("/methods/table?like=long&n=0", 400, "n = 0"),
        ("/starts?seed=-1", 400, "seed = -1"),
        ("/songs/nobody/around", 404, "no song 'nobody'"),
    ],
)
def test_a_wrong_request_gets_one_line(port, path, status, said):
    code, content, _ = ask(port, path)
    assert code == status
    assert said in json.loads(content)["error"]


def test_where_genres_are_too_few_for_a_model_it_says_so(tmp_path):
    out = make_out(tmp_path)
    out.versions("embeddings").remove()
    why = "a genre model needs at least two genres of two songs each"
    skipped = {"track_id": "long", "stage": "train", "status": "skipped", "reason": "too_few_genres", "detail": why}
    publish(out, "outcomes", CatalogSettings(source="/music"), pa.Table.from_pylist([skipped], OUTCOMES))
    with serving(out.out, is_explored=True) as port:
        for method in ("method-1", "method-2"):
            assert json.loads(ask(port, f"/methods/{method}?like=long")[1]) == {"recommended": [], "why_not": why}
        said = json.loads(ask(port, "/methods/knn?like=long")[1])["why_not"]
    assert said == "OUT has no features yet; run: musicrec extract OUT"


# --- playlists ----------------------------------------------------------------------------------------------------


def entries(form, content):
    text = content.decode()
    if form == "m3u8":
        return [Path(line) for line in text.splitlines() if not line.startswith("#")]
    if form == "xspf":
        places = re.findall("<location>(.*)</location>", text)
    else:
        places = [track["location"][0] for track in json.loads(text)["playlist"]["track"]]
    return [Path(urllib.parse.unquote(urllib.parse.urlsplit(place).path)) for place in places]


@pytest.mark.parametrize("form", ["m3u8", "xspf", "jspf"])
def test_a_playlist_finds_its_songs_from_wherever_it_is_saved(port, form):
    wanted = [NAMES[0], NAMES[4], NAMES[1]]
    status, content, headers = ask(port, "/playlist", "POST", {"name": "Mine: ä/b", "format": form, "songs": wanted})
    assert status == 200
    assert [path.read_bytes() for path in entries(form, content)] == [SOUND[name] for name in wanted]
    assert all(path.is_absolute() for path in entries(form, content))
    assert headers["content-disposition"] == f"attachment; filename*=UTF-8''Mine%3A%20%C3%A4%2Fb.{form}"


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"format": "exe"}, 400, "format 'exe'; expected m3u8, xspf, jspf"),
        ({"format": None}, 400, "format None"),
        ({"name": " "}, 400, "expected a name of 1 to 200 letters"),
        ({"name": "x" * 201}, 400, "expected a name"),
        ({"songs": []}, 400, "expected the ids of 1 to 5000 songs"),
        ({"songs": [1]}, 400, "expected the ids"),
        ({"songs": "long"}, 400, "expected the ids"),
        ({"songs": ["nobody"]}, 404, "no song 'nobody'"),
        ({"name": "\ud800"}, 400, "holds '\\ud800', half a character"),
        ({"songs": ["long", "\udfff x"]}, 400, "half a character"),
        (b'{"name": "\xed\xa0\x80", "format": "m3u8", "songs": ["long"]}', 400, "half a character"),
        (b"no JSON", 400, "expected a JSON object"),
        (b"[1]", 400, "expected a JSON object"),
        (b"x" * ((1 << 20) + 1), 400, "over 1,048,576 bytes"),
    ],
)
def test_what_is_no_playlist_is_refused_in_one_line(port, change, status, said):
    body = change if isinstance(change, bytes) else {"name": "Mine", "format": "m3u8", "songs": ["long"], **change}
    code, content, _ = ask(port, "/playlist", "POST", body)
    assert code == status
    assert said in json.loads(content)["error"]


# --- who is let in ------------------------------------------------------------------------------------------------


def test_a_browser_gets_a_cookie_for_the_token_and_nothing_without_it(folder):
    with serving(folder / "out", "geheim ü", is_explored=True) as port:
        for path in ("/songs/long/audio", "/songs/long/around", "/starts", "/methods", "/songs", "/status"):
            assert ask(port, path)[0] == 401
        assert ask(port, "/playlist", "POST", {})[0] == 401
        assert ask(port, "/explore/")[0] == 200  # which asks for the token
        assert json.loads(ask(port, "/login")[1]) == {"is_let_in": False}
        assert ask(port, "/login", "POST", {"token": "wrong"})[0] == 401
        assert ask(port, "/login", "POST", {"token": 7})[0] == 401
        assert ask(port, "/login", "POST", b"no JSON")[0] == 400
        assert ask(port, "/login", "POST", b"[" * 200_000)[0] == 400
        assert ask(port, "/login", "POST", b'{"token": "\\ud800"}')[0] == 400
        status, _, headers = ask(port, "/login", "POST", {"token": "geheim ü"})
        cookie, *marks = headers["set-cookie"].split("; ")
        assert status == 204
        assert {"HttpOnly", "SameSite=strict"} <= set(marks)
        assert "geheim" not in cookie
        assert json.loads(ask(port, "/login", Cookie=cookie)[1]) == {"is_let_in": True}
        assert ask(port, "/songs/long/audio", Cookie=cookie)[:2] == (200, SOUND["long"])
        assert ask(port, "/songs/long/audio", Cookie=f"{cookie}x")[0] == 401
        assert ask(port, "/songs/long/audio", Cookie=f"{cookie.partition('=')[0]}=geheim ü".encode())[0] == 401
    with serving(folder / "out", "another", is_explored=True) as port:
        name = f"musicrec-{port}={cookie.partition('=')[2]}"
        assert ask(port, "/songs/long/audio", Cookie=name)[0] == 401  # a pass is good for its token only


def test_the_page_loads_nothing_from_elsewhere(port):
    status, _, headers = ask(port, "/explore/")
    assert status == 200
    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert headers["x-content-type-options"] == "nosniff"


def test_a_service_without_the_page_sends_no_files(folder):
    with serving(folder / "out") as port:
        assert ask(port, "/songs/long/audio")[0] == 404
        assert ask(port, "/explore/")[0] == 404
        assert ask(port, "/playlist", "POST", {})[0] == 404


# --- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def explore(folder, command, monkeypatch):
    """Give the command, without serving: the address that is printed, those that are opened, and the service."""
    opened, ran = [], []

    def run(service, listening):
        listening.close()
        ran.append(service)

    monkeypatch.setattr("musicrec.cli.service._run", run)
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setenv("DISPLAY", ":0")

    def explore(*options):
        code, said, _ = command("explore", folder / "out", "--port", 0, *options)
        assert code == 0
        return said.split()[0], opened, ran[-1]

    return explore


def status_for(service, host):
    """Ask a service by a name for its address; return the status of the answer."""
    sent = []

    async def ask():
        async def receive():
            return {"type": "http.request"}

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/login", "query_string": b"", "headers": [(b"host", host)]}
        await service(scope, receive, send)

    asyncio.run(ask())
    return sent[0]["status"]


def test_the_command_opens_the_page_where_there_is_a_screen(explore, monkeypatch):
    address, opened, _ = explore()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/explore/", address)
    assert opened == [address]
    explore("--no-open")
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    explore()
    assert len(opened) == 1
    assert explore("--token", "a b#")[0].endswith("/explore/#token=a%20b%23")


def test_without_a_token_other_sites_reach_nothing_by_a_name_of_their_own(explore):
    _, _, service = explore()
    hosts = {b"127.0.0.1:80": 200, b"localhost": 200, b"[::1]:80": 200, b"evil.example": 400, b"127.0.0.1.evil": 400}
    assert {host: status_for(service, host) for host in hosts} == hosts
    assert status_for(explore("--token", "secret")[2], b"music.example") == 200  # then the token is what counts


def test_other_machines_are_let_in_by_a_token_only(folder, command):
    code, _, error = command("explore", folder / "out", "--host", "0.0.0.0")
    assert code == 2
    assert "--host 0.0.0.0 can be reached from other machines; give a --token" in error
