"""Players that others wrote find every song of a playlist: mpv, VLC and MPD; the kernel tells which files they read.

mpv reads no XSPF. MPD leaves out names that begin with a space or a tab, and takes percent signs of XSPF as they are.
"""

import ctypes
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from awkward_names import AWKWARD
from musicrec.audio.encode import encode
from musicrec.serve.playlist_files import Entry, playlist_file

pytestmark = pytest.mark.thorough  # starts players

IN_ACCESS = 1
NOBODY = 65534
LONGEST_S = 60
PLAYERS = {
    "mpv": ["mpv", "--no-config", "--ao=null", "--vo=null", "--really-quiet"],
    "vlc": ["cvlc", "--no-interact", "--aout=dummy", "--vout=dummy", "--play-and-exit", "--no-media-library"],
}
NOT_BY_MPD = [name for name in AWKWARD if name[0] in " \t"]


@pytest.fixture
def music():
    """A folder of short songs with awkward names, which any user may read: VLC refuses to run as root."""
    with tempfile.TemporaryDirectory(prefix="musicrec-players-") as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "music"
        path.mkdir()
        sound = encode(np.zeros(800, np.float32), 8000, "wav")
        for name in AWKWARD:
            (path / name).write_bytes(sound)
        yield path


def playlist(music, form):
    file = music / f"list.{form}"
    songs = [Entry(str(music / name), title=name, artist="Ä", duration_s=0.1) for name in AWKWARD]
    file.write_bytes(playlist_file(file, "Mine", songs))
    return file


@contextmanager
def opened(folder):
    """Yield what tells the names in a folder from which somebody has read since."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(watch, os.fsencode(folder), IN_ACCESS) >= 0
    names = set()
    try:
        yield lambda: names.update(_read(watch)) or names
    finally:
        os.close(watch)


def _read(watch):
    try:
        events = os.read(watch, 1 << 20)
    except BlockingIOError:
        return
    at = 0
    while at < len(events):
        _, _, _, length = struct.unpack_from("iIII", events, at)
        yield os.fsdecode(events[at + 16 : at + 16 + length].rstrip(b"\0"))
        at += 16 + length


@contextmanager
def playing(command, home):
    """Run a player that has no settings, as nobody where this is root."""
    how = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
    env = {**os.environ, "HOME": home, "XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": home, "XDG_RUNTIME_DIR": home}
    silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    player = subprocess.Popen(command, env=env, start_new_session=True, **silent, **how)
    try:
        yield player
    finally:
        with suppress(ProcessLookupError):
            os.killpg(player.pid, signal.SIGKILL)  # with those that it has started
        player.wait()


@pytest.mark.parametrize(("player", "form"), [("mpv", "m3u8"), ("vlc", "m3u8"), ("vlc", "xspf")])
def test_a_player_finds_every_song(music, player, form):
    if not shutil.which(PLAYERS[player][0]):
        pytest.skip(f"no {player}; on Debian: apt install {player}")
    file = playlist(music, form)
    with tempfile.TemporaryDirectory() as home, opened(music) as names:
        Path(home).chmod(0o777)
        end = time.monotonic() + LONGEST_S
        with playing([*PLAYERS[player], str(file)], home) as run:
            while set(AWKWARD) - names() and run.poll() is None and time.monotonic() < end:
                time.sleep(0.05)
        assert set(AWKWARD) - names() == set()


def test_mpd_finds_every_song_but_those_whose_names_begin_with_a_space(music, tmp_path):
    if not shutil.which("mpd"):
        pytest.skip("no MPD; on Debian: apt install mpd")
    playlist(music, "m3u8")
    with mpd(music, tmp_path) as ask:
        ask('load "list.m3u8"')
        loaded = re.findall(r"^file: (.*)$", ask("playlistinfo"), re.MULTILINE)
        assert loaded == [name for name in AWKWARD if name not in NOT_BY_MPD]
        with opened(music) as names:
            ask("play")
            end = time.monotonic() + 60
            while "state: stop" not in ask("status"):
                assert time.monotonic() < end
                time.sleep(0.05)
            assert set(loaded) <= names()


@contextmanager
def mpd(music, folder):
    """Run MPD on a folder of songs; yield what asks it."""
    place = folder / "socket"
    (folder / "mpd.conf").write_text(
        f'music_directory "{music}"\nbind_to_address "{place}"\ndb_file "{folder}/db"\n'
        'audio_output {\n type "null"\n name "none"\n sync "no"\n}\n'
    )
    player = subprocess.Popen(["mpd", "--no-daemon", folder / "mpd.conf"], stderr=subprocess.DEVNULL)
    try:
        connection = _connected(place)
        with connection, connection.makefile("rw", encoding="utf-8", newline="\n") as talk:
            talk.readline()

            def ask(command):
                talk.write(f"{command}\n")
                talk.flush()
                lines = []
                while not (line := talk.readline()).startswith(("OK", "ACK")):
                    assert line
                    lines.append(line)
                assert line.startswith("OK"), line
                return "".join(lines)

            ask("update")
            while "updating_db" in ask("status"):
                time.sleep(0.05)
            yield ask
    finally:
        player.terminate()
        player.wait()


def _connected(place):
    end = time.monotonic() + 30
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(place))
            return connection
        except OSError:
            connection.close()
            assert time.monotonic() < end, "MPD does not answer"
            time.sleep(0.05)


def test_what_m3u8_reads_is_what_was_written(music):
    m3u8 = pytest.importorskip("m3u8", reason="no m3u8, which reads playlists: `make test-players` adds it")
    read = m3u8.loads(playlist(music, "m3u8").read_text(encoding="utf-8"))
    by_spec = [name.strip() for name in AWKWARD]  # it cuts spaces away
    assert [segment.uri.removeprefix("./").strip() for segment in read.segments] == by_spec


def test_what_xspf_lib_reads_is_what_was_written(music, tmp_path):
    xspf_lib = pytest.importorskip("xspf_lib", reason="no xspf-lib, which reads playlists: `make test-players` adds it")
    file = playlist(music, "xspf")
    read = xspf_lib.Playlist.parse(str(file))
    assert read.title == "Mine"
    assert [track.location for track in read] == [[name] for name in AWKWARD]  # it decodes them
    assert [track.title for track in read] == AWKWARD
    assert {track.creator for track in read} == {"Ä"}
    read.write(str(tmp_path / "again.xspf"))
    again = xspf_lib.Playlist.parse(str(tmp_path / "again.xspf"))
    assert [track.location[0].strip() for track in again] == [
        name.strip() for name in AWKWARD
    ]  # its own file lacks spaces
