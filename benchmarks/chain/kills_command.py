"""The processes of a musicrec command: which there are, of which kind, and what is left of them."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

SONGS_PER_SHARD = 16  # so that few songs make several shards of lists, and several files of the published table
SONGS_PER_LIST = 10
PROGRAM = f"""
from musicrec.cli import main
from musicrec.serve import table_writer
from musicrec.stages.similar import all_pairs
all_pairs.SONGS_PER_SHARD = {SONGS_PER_SHARD}
table_writer.ROWS_PER_GROUP = {SONGS_PER_SHARD * SONGS_PER_LIST}
table_writer.GROUPS_PER_PART = 1
main()
"""
STAGES = ("catalog", "extract", "train", "embed", "similar", "report")


class Command:
    """A musicrec command in a session of its own, which all processes of its Ray belong to.

    Until :meth:`clean_up` it stays a zombie when it has ended, so that no other session is given its number.

    Parameters
    ----------
    arguments : list of str
        What stands behind ``musicrec``.
    log : pathlib.Path
        What it prints is kept beside that name.
    environment : mapping of str to str, optional
        Variables that it is given besides those of this process.
    """

    def __init__(self, arguments: list[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._told, self._complaints = log.with_suffix(".out"), log.with_suffix(".err")
        with self._told.open("w") as told, self._complaints.open("w") as complaints:
            command = [sys.executable, "-c", PROGRAM, *arguments]
            variables = {**os.environ, **(environment or {})}
            self._process = subprocess.Popen(
                command, env=variables, stdout=told, stderr=complaints, start_new_session=True
            )
        self._started = time.monotonic()

    def wait(self, seconds: float) -> int | None:
        """Return the exit code; None if it has not ended `seconds` after its start."""
        while True:
            ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended:
                return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
            if time.monotonic() >= self._started + seconds:
                return None
            time.sleep(0.02)

    @property
    def stage(self) -> str:
        """The stage that it is at: those before have printed their counts."""
        ended = set(re.findall(r"^(?:\d\d:\d\d:\d\dZ )?(\w+): ", self._told.read_text(), re.MULTILINE))
        return next((stage for stage in STAGES if stage not in ended), "end")

    @property
    def complaint(self) -> str:
        """The last line that it wrote to standard error."""
        return next(iter(self._complaints.read_text().strip().splitlines()[::-1]), "")

    def processes(self) -> dict[str, list[int]]:
        """Return its processes by kind, without those of Ray's other services."""
        found: dict[str, list[int]] = {}
        for pid in self._members():
            with suppress(OSError):  # it has just ended
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
                kind = "driver" if pid == self._process.pid else _kind(words)
                if kind:
                    found.setdefault(kind, []).append(pid)
        return found

    def clean_up(self, seconds: float) -> int:
        """Wait at most so long until none of its processes is left, then kill the rest; return how many these were."""
        if self._process.returncode is not None:
            return 0  # it was cleaned up before
        end = time.monotonic() + seconds
        while self._members() and time.monotonic() < end:
            time.sleep(0.2)
        rest = self._members()
        for pid in rest:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        return len(rest)

    def _members(self) -> list[int]:
        """Return the running processes of its session."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(session) == self._process.pid and state not in "ZX":
                    found.append(int(entry.name))
        return found


def _kind(words: list[str]) -> str | None:
    """Return the kind of a process, by its command line."""
    name, title = Path(words[0]).name, words[0]
    if name in ("raylet", "gcs_server"):
        return name
    if any(word.endswith("default_worker.py") for word in words) or title.startswith("ray::IDLE"):
        return "idle worker"
    return "busy worker" if title.startswith("ray::") and not title.endswith("Agent") else None
