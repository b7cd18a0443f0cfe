"""Progress of a stage: a bar on a terminal, a plain line every few seconds in a log."""

import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Count work done; a context manager.

    Parameters
    ----------
    label : str
        What is worked on.
    total : int
        How much there is to do.
    done : int
        How much of it was done before.
    """

    def __init__(self, label: str, total: int, done: int = 0) -> None:
        self.label = label
        self.total = total
        self.done = done
        self._note = ""
        self._bar = tqdm(total=total, initial=done, desc=label, leave=False) if sys.stderr.isatty() else None
        self._started = self._last_line = time.monotonic()

    def advance(self, n: int = 1, note: str = "") -> None:
        """`n` more are done; `note` is shown beside the count."""
        self.done += n
        self._note = note
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(n)
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self._print_line()

    def _print_line(self) -> None:
        seconds = time.monotonic() - self._started
        share = f" ({self.done / self.total:.0%})" if self.total else ""
        note = f", {self._note}" if self._note else ""
        print(
            f"{self.label}: {self.done} of {self.total}{share} after {seconds:.0f} s{note}", file=sys.stderr, flush=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()
