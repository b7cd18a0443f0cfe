"""The deadline of a run. Stages check it only where stopping leaves no work half done."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from musicrec.errors import DeadlinePassed

_end: ContextVar[float] = ContextVar("end", default=math.inf)


@contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Set a deadline so many seconds from now for the work inside; None for no deadline."""
    token = _end.set(math.inf if seconds is None else time.monotonic() + seconds)
    try:
        yield
    finally:
        _end.reset(token)


def seconds_left() -> float | None:
    """Return the seconds until the deadline, 0 if it has passed; None if there is none."""
    return None if _end.get() == math.inf else max(0.0, _end.get() - time.monotonic())


def check_deadline() -> None:
    """Raise DeadlinePassed if the deadline has passed."""
    if seconds_left() == 0:
        raise DeadlinePassed
