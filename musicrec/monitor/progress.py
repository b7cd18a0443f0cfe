"""Progress of a stage: a bar on a terminal, a line every few seconds in a log (:mod:`musicrec.monitor.log`)."""

import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

from musicrec.monitor.log import is_json, log_event

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
        self._failed: int | None = None
        is_seen = sys.stderr.isatty() and not is_json()
        self._bar = tqdm(total=total, initial=done, desc=label, leave=False) if is_seen else None
        self._started = self._last_line = time.monotonic()
        self._printed: tuple[int, str] | None = None

    def advance(self, n: int = 1, note: str = "", *, failed: int | None = None) -> None:
        """Count `n` more as done, with `failed` failures so far; show `note` beside the count."""
        self.done += n
        self._note = note if failed is None else f"{failed} failed"
        self._failed = failed
        if self._bar is not None:
            self._bar.set_postfix_str(self._note, refresh=False)
            self._bar.update(n)
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES and not self._is_old_news():
            self._last_line, self._printed = time.monotonic(), (self.done, self._note)
            self._print_line()

    def _is_old_news(self) -> bool:
        """Return whether the last line said the same, with a note of what is waited for."""
        return bool(self._note) and self._printed == (self.done, self._note)

    def _print_line(self) -> None:
        seconds = time.monotonic() - self._started
        share = f" ({self.done / self.total:.0%})" if self.total else ""
        note = f", {self._note}" if self._note else ""
        log_event(
            "progress",
            f"{self.label}: {self.done} of {self.total}{share} after {seconds:.0f} s{note}",
            stage=self.label,
            done=self.done,
            total=self.total,
            failed=self._failed,
            note=self._note,
            seconds=round(seconds, 1),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()
