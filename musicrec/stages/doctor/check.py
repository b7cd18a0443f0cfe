"""One check, and what it found: whatever goes wrong is one line that ends with what to do."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import NamedTuple

from musicrec.errors import ConfigError, MusicrecError

OK, FAILS, ABSENT = "ok", "fails", "absent"
REPORT = "update musicrec, or report it with this line"
MOST_S = 600  # of a process of its own; compiling on a busy machine takes minutes


class Absent(Exception):  # noqa: N818 - reads as what happened
    """What a check would try is not there, which is no fault."""


class Result(NamedTuple):
    """What a check found.

    Attributes
    ----------
    name : str
        Of the check.
    state : {"ok", "fails", "absent"}
        Absent is what is not installed or not set up, and need not be.
    detail : str
        One line for people.
    """

    name: str
    state: str
    detail: str


class Check(NamedTuple):
    """Something to try.

    Attributes
    ----------
    name : str
        What is tried.
    attempt : callable
        Returns what to say if it works; raises if it does not, :class:`Absent` if there is nothing to try.
    remedy : str
        What to do about a fault that does not say so itself, as a ConfigError does.
    needs : tuple of str
        Packages without which there is nothing to try.
    is_apart : bool
        Make it in a process of its own, so that what ends the process, such as an instruction that the processor lacks,
        is one more fault.
    """

    name: str
    attempt: Callable[[], str]
    remedy: str = REPORT
    needs: tuple[str, ...] = ()
    is_apart: bool = False

    def run(self) -> Result:
        """Make the check."""
        for package in self.needs:
            if find_spec(package) is None:
                return Result(self.name, ABSENT, f"{package} is not installed")
        return self._run_apart() if self.is_apart else self.run_here()

    def run_here(self) -> Result:
        """Make it in this process. With ``MUSICREC_DEBUG`` set, an exception of no kind of ours is raised, not told."""
        try:
            return Result(self.name, OK, self.attempt())
        except Absent as e:
            return Result(self.name, ABSENT, str(e))
        except ConfigError as e:
            return Result(self.name, FAILS, str(e))
        except MusicrecError as e:
            return self._fails(str(e))
        except Exception as e:
            if os.environ.get("MUSICREC_DEBUG"):
                raise
            return self._fails(f"{type(e).__name__}: {' '.join(str(e).split())}")

    def _run_apart(self) -> Result:
        shown = None if os.environ.get("MUSICREC_DEBUG") else subprocess.PIPE
        command = [sys.executable, "-m", "musicrec.stages.doctor", self.name]
        try:
            ended = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=shown, text=True, timeout=MOST_S, check=False
            )
        except subprocess.TimeoutExpired:
            return self._fails(f"no end after {MOST_S} s")
        if ended.returncode == 0:
            return Result(*json.loads(ended.stdout.splitlines()[-1]))
        by = signal.Signals(-ended.returncode).name if ended.returncode < 0 else f"exit code {ended.returncode}"
        last_words = (ended.stderr or "").strip().splitlines()[-1:]
        return self._fails(": ".join([f"its process died of {by}", *last_words]))

    def _fails(self, what: str) -> Result:
        return Result(self.name, FAILS, f"{what}; {self.remedy}")
