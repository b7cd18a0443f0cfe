"""Temporary folders go with their process: in the end, or when the next one starts."""

import os
import signal
import subprocess
import sys
import time

import pytest

from musicrec.files import scratch

MAKES_ONE = """
import sys, time
from musicrec.files.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "copy.parquet").write_bytes(b"x" * 1000)
    print(folder, flush=True)
    if sys.argv[1:]:
        time.sleep(600)
"""


def started(parent, *arguments):
    """A process with a temporary folder below `parent`; return both."""
    environment = os.environ | {"TMPDIR": str(parent)}
    command = [sys.executable, "-c", MAKES_ONE, *arguments]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    return process, parent / process.stdout.readline().strip()


def aged(folder):
    """Let a folder look as old as one that must be locked."""
    os.utime(folder, (time.time() - 2 * scratch.NEW_S,) * 2)


def test_the_next_process_removes_what_a_killed_one_has_left_and_nothing_else(tmp_path):
    killed, left = started(tmp_path, "wait")
    living, in_use = started(tmp_path, "wait")
    new = tmp_path / f"{scratch.PREFIX}new"
    new.mkdir()
    others = [tmp_path / f"{scratch.PREFIX}file", tmp_path / "musicrec-other"]
    others[0].write_text("not a folder")
    others[1].mkdir()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    for path in (left, in_use, *others):
        aged(path)
    process, own = started(tmp_path)
    process.wait()
    living.kill()
    living.wait()
    assert not left.exists()
    assert (in_use / "copy.parquet").exists()
    assert new.exists()
    assert all(path.exists() for path in others)
    assert not own.exists()


def test_a_link_to_a_folder_is_left_alone(tmp_path):
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "song.flac").touch()
    link = tmp_path / f"{scratch.PREFIX}link"
    link.symlink_to(tmp_path / "music")
    os.utime(link, (0, 0), follow_symlinks=False)
    scratch.remove_abandoned(tmp_path)
    assert (tmp_path / "music" / "song.flac").exists()


def test_a_folder_goes_though_its_work_fails():
    folders = []

    def fail():
        with scratch.scratch_folder() as folder:
            folders.append(folder)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not folders[0].exists()


def test_without_locks_nothing_is_taken_for_abandoned(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError

    folder = tmp_path / f"{scratch.PREFIX}x"
    folder.mkdir()
    aged(folder)
    monkeypatch.setattr(scratch.fcntl, "flock", no_locks)
    scratch.remove_abandoned(tmp_path)
    assert folder.exists()
    with scratch.scratch_folder() as own:
        assert own.exists()
