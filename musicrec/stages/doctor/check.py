"""A check and its result: every fault is reported in one line that ends with what to do."""

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
MOST_S = 600  # time limit of a check in its own process; compiling on a busy machine takes minutes


class Absent(Exception):  # noqa: N818 - reads as what happened
    """The part that a check tests is not installed or not set up, which is no fault."""


class Result(NamedTuple):
    """The result of a check.

    Attributes
    ----------
    name : str
        Name of the check.
    state : {"ok", "fails", "absent"}
        ``absent`` means that the part is optional, and not installed or not set up.
    detail : str
        One line for the reader.
    """

    name: str
    state: str
    detail: str


class Check(NamedTuple):
    """A test of one part of the installation.

    Attributes
    ----------
    name : str
        The part that is tested.
    attempt : callable
        Returns the detail for the result if the part works. Raises an error if it does not, and :class:`Absent` if
        there is nothing to test.
    remedy : str
        What to do about a fault. A ConfigError says so itself.
    needs : tuple of str
        Packages without which there is nothing to test.
    is_apart : bool
        Run the check in its own process, so that a crash of the process, such as an instruction that the processor
        lacks, is reported as a fault.
    """

    name: str
    attempt: Callable[[], str]
    remedy: str = REPORT
    needs: tuple[str, ...] = ()
    is_apart: bool = False

    def run(self) -> Result:
        """Run the check."""
        for package in self.needs:
            if find_spec(package) is None:
                return Result(self.name, ABSENT, f"{package} is not installed")
        return self._run_apart() if self.is_apart else self.run_here()

    def run_here(self) -> Result:
        """Run the check in this process. With ``MUSICREC_DEBUG`` set, unexpected exceptions are raised."""
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
            return self._fails(f"not finished after {MOST_S} s")
        if ended.returncode == 0:
            return Result(*json.loads(ended.stdout.splitlines()[-1]))
        by = signal.Signals(-ended.returncode).name if ended.returncode < 0 else f"exit code {ended.returncode}"
        last_line = (ended.stderr or "").strip().splitlines()[-1:]
        return self._fails(": ".join([f"its process ended with {by}", *last_line]))

    def _fails(self, what: str) -> Result:
        return Result(self.name, FAILS, f"{what}; {self.remedy}")
