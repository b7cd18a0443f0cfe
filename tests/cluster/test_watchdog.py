"""The watchdog ends a process that is stuck, whatever it is stuck in, and tells it from one that died otherwise."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from musicrec.cluster.watchdog import Watchdog, stuck

HANGS = {
    "asleep": "import time; time.sleep(60)",
    "waiting": "import threading; threading.Lock().acquire() and threading.Event().wait()",
    "spinning with the interpreter lock": "import re; re.fullmatch('(a+)+b', 'a' * 64)",
    "asleep with the interpreter lock": "import ctypes; ctypes.PyDLL(None).sleep(60)",
}
OTHER_ENDS = {
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "crashed": "import ctypes; ctypes.string_at(0)",
    "gone": "import os; os._exit(1)",
    "raised": "raise OSError",
}


def watched(note: Path, second: str) -> subprocess.CompletedProcess:
    """Run two pieces of work in a process of its own, the second of them as given."""
    code = f"""
from pathlib import Path
from musicrec.cluster.watchdog import Watchdog
with Watchdog(Path({str(note)!r}), 0.5) as watchdog:
    watchdog.begin("first")
    watchdog.begin("second")
    {second}
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, check=False)


@pytest.mark.thorough
@pytest.mark.parametrize("hang", HANGS.values(), ids=HANGS)
def test_a_stuck_process_ends_and_its_note_says_over_what(tmp_path, hang):
    assert watched(tmp_path / "note", hang).returncode != 0
    assert stuck(tmp_path / "note") == "second"


@pytest.mark.parametrize("end", OTHER_ENDS.values(), ids=OTHER_ENDS)
def test_a_process_that_died_of_something_else_was_not_stuck(tmp_path, end):
    assert watched(tmp_path / "note", end).returncode != 0
    assert stuck(tmp_path / "note") is None


@pytest.mark.thorough
def test_each_piece_has_the_whole_time_and_no_note_stays(tmp_path):
    with Watchdog(tmp_path / "note", 0.5) as watchdog:
        for piece in range(8):
            watchdog.begin(str(piece))
            time.sleep(0.3)
    time.sleep(1.6)  # afterwards nothing is watched
    assert list(tmp_path.iterdir()) == []
    assert stuck(tmp_path / "note") is None
