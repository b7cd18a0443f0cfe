"""The time by which a run is to end. Stages look at it where stopping leaves whole work behind, and nowhere else."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from musicrec.errors import DeadlinePassed

_end: ContextVar[float] = ContextVar("end", default=math.inf)


@contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Give what is done inside so many seconds from now; None for as long as it takes."""
    token = _end.set(math.inf if seconds is None else time.monotonic() + seconds)
    try:
        yield
    finally:
        _end.reset(token)


def seconds_left() -> float | None:
    """Seconds till the deadline, 0 if it has passed; None if there is none."""
    return None if _end.get() == math.inf else max(0.0, _end.get() - time.monotonic())


def check_deadline() -> None:
    """Raise DeadlinePassed if it has."""
    if seconds_left() == 0:
        raise DeadlinePassed
