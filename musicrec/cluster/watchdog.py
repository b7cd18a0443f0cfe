"""A watchdog for work that may never end: a process that is stuck in one piece of it notes which, and ends itself.

Python's faulthandler keeps the time in a thread of its own that does not need the interpreter lock. So not even native
code that spins with the lock held can stop it.
"""

import faulthandler
import math
import time
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

SECONDS_PER_FILE = 300.0  # unless the command says otherwise
REARM_S = 1.0  # pieces begun within so long share an alarm, a thread that costs as much as the loudness of a song
SIGN = "Timeout ("  # how faulthandler begins what it writes


class Watchdog:
    """Ends this process when one piece of work takes too long; a context manager.

    Parameters
    ----------
    note : pathlib.Path
        File that names each piece as it begins. It is removed when all are done, and stays if the process dies.
    limit_s : float
        Seconds that a piece may take; the alarm comes up to a second later.
    """

    def __init__(self, note: Path, limit_s: float) -> None:
        self.limit_s = limit_s
        self._note = note

    def __enter__(self) -> Self:
        self._file = self._note.open("w", encoding="utf-8")
        self._armed_s = -math.inf
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        faulthandler.cancel_dump_traceback_later()
        self._file.close()
        self._note.unlink(missing_ok=True)

    def begin(self, piece: str) -> None:
        """Watch over the next piece of work, named by one line of text, until another begins or all are done."""
        print(piece, file=self._file, flush=True)
        now = time.monotonic()
        if now >= self._armed_s + REARM_S:
            faulthandler.dump_traceback_later(self.limit_s + REARM_S, exit=True, file=self._file)
            self._armed_s = now


def stuck(note: Path) -> str | None:
    """Return the piece of work that took too long; None if the process died of something else, or never began."""
    try:
        lines = note.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return None
    return next((piece for piece, then in pairwise(lines) if then.startswith(SIGN)), None)
