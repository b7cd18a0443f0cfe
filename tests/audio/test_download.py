"""Songs that lie elsewhere: fetched whole or not at all, within bounds, and gone again afterwards."""

import socket
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import soundfile as sf

from musicrec import audio
from musicrec.audio import download
from musicrec.errors import DecodeError

RATE = 8_000


class Server(ThreadingHTTPServer):
    """Answers by the first part of the path; counts what it was asked."""

    def __init__(self, song: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.song, self.asked, self.closing = song, Counter(), threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"

    def handle_error(self, request, client_address):
        """A client that hangs up is part of the test."""


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        """Say nothing."""

    def do_GET(self):
        kind = self.path.split("/")[1].split("?")[0]
        self.server.asked[kind] += 1
        is_first = self.server.asked[kind] == 1
        self.close_connection = True
        if kind.isdigit():
            self.send_error(int(kind))
        elif kind == "busy-once" and is_first:
            self.send_error(503)
        elif kind == "moved":
            self.send_response(302)
            self.send_header("Location", "/song.wav")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif kind == "dropped" or (kind == "dropped-once" and is_first):
            self.reply(self.server.song[:1000], len(self.server.song))
        elif kind == "stalled":
            self.reply(self.server.song[:1000], len(self.server.song))
            self.wfile.flush()
            self.server.closing.wait(30)
        elif kind == "boasting":
            self.reply(b"RIFF", 10**12)
        elif kind == "endless":
            self.send_response(200)
            self.end_headers()
            while not self.server.closing.is_set():
                self.wfile.write(bytes(1 << 16))
        elif kind == "empty":
            self.reply(b"", 0)
        elif kind == "text":
            self.reply(b"<html>please log in</html>", 26)
        else:
            self.reply(self.server.song, len(self.server.song))

    def reply(self, body: bytes, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def samples():
    return np.random.default_rng(0).uniform(-1, 1, 100_000).astype(np.float32)


@pytest.fixture
def server(tmp_path, samples):
    sf.write(tmp_path / "song.wav", samples, RATE, subtype="FLOAT")
    with Server((tmp_path / "song.wav").read_bytes()) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files, empty again after each test; no proxy, short pauses."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSES_S", (0.01, 0.01))
    yield folder
    assert list(folder.iterdir()) == []


def refusal(uri: str, **options) -> DecodeError:
    with pytest.raises(DecodeError) as e:
        audio.load(uri, **options)
    assert len(e.value.detail.splitlines()) == 1
    return e.value


@pytest.mark.parametrize(
    "path", ["song.wav", "song", "s%C3%A9culaire%20a.wav?signature=x", "séculaire a.wav", "moved", "song.wav#top"]
)
def test_a_song_elsewhere_gives_the_samples_of_the_same_file_here(server, samples, path):
    np.testing.assert_array_equal(audio.load(server.url(path), sample_rate=RATE), samples)


@pytest.mark.parametrize("path", ["busy-once/song.wav", "dropped-once/song.wav"])
def test_what_passes_is_tried_again(server, samples, path):
    np.testing.assert_array_equal(audio.load(server.url(path), sample_rate=RATE), samples)
    assert server.asked[path.split("/")[0]] == 2


@pytest.mark.parametrize(
    ("path", "reason", "attempts"),
    [
        ("404/song.wav", "missing", 1),
        ("410/song.wav", "missing", 1),
        ("401/song.wav", "unreadable", 1),
        ("403/song.wav", "unreadable", 1),
        ("500/song.wav", "unreadable", 3),
        ("503/song.wav", "unreadable", 3),
        ("dropped/song.wav", "unreadable", 3),
        ("empty/song.wav", "empty", 1),
        ("text/song.mp3", "undecodable", 1),
    ],
)
def test_what_cannot_be_had_has_a_reason(server, path, reason, attempts):
    error = refusal(server.url(path + "?token=secret"))
    assert error.reason == reason
    assert "secret" not in error.detail
    assert server.asked[path.split("/")[0]] == attempts


@pytest.mark.parametrize("path", ["boasting", "endless", "song.wav"])
def test_no_more_than_the_limit_is_fetched(server, path, temporary):
    assert refusal(server.url(path), limits=audio.Limits(max_download_bytes=300_000)).reason == "too_large"


def test_a_download_ends_in_time(server):
    started = time.monotonic()
    error = refusal(server.url("endless"), limits=audio.Limits(max_download_s=0.5, max_download_bytes=2**40))
    assert error.reason == "unreadable"
    assert time.monotonic() - started < 10


@pytest.mark.thorough
def test_a_server_that_falls_silent_is_left(server, monkeypatch):
    monkeypatch.setattr(download, "READ_TIMEOUT_S", 0.3)
    error = refusal(server.url("stalled"))
    assert (error.reason, error.detail.endswith("timed out")) == ("unreadable", True)
    assert server.asked["stalled"] == 3


@pytest.fixture
def deaf_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_nobody_there_is_unreadable(deaf_port):
    error = refusal(f"http://user:secret@127.0.0.1:{deaf_port}/song.wav")
    assert error.reason == "unreadable"
    assert "127.0.0.1" in error.detail
    assert "secret" not in error.detail


@pytest.mark.parametrize("uri", ["s3://AKIA:secret@bucket/song.wav", "http://user:secret@\u2100.invalid/song.wav"])
def test_a_password_in_a_place_that_cannot_be_is_not_told(uri):
    assert "secret" not in refusal(uri).detail


def test_no_s3_there_is_unreadable(deaf_port, monkeypatch):
    import s3fs

    for name, value in {"ENDPOINT_URL": f"http://127.0.0.1:{deaf_port}", "ACCESS_KEY_ID": "a"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    s3fs.S3FileSystem.clear_instance_cache()
    error = refusal("s3://bucket/song.wav")
    s3fs.S3FileSystem.clear_instance_cache()
    assert error.reason == "unreadable"
    assert error.detail.startswith("'s3://bucket/song.wav': ")


@pytest.mark.parametrize("uri", ["http://", "http://[bad/song.wav", "https:///song.wav", "s3://bucket", "s3://"])
def test_a_uri_that_names_nothing_has_a_reason(uri):
    assert refusal(uri).reason in ("unreadable", "missing")
