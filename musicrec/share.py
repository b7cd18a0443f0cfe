"""How many CPUs of a cluster a run may use at a time, beside the jobs of others."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_most: ContextVar[int | None] = ContextVar("most", default=None)


@contextmanager
def at_most(cpus: int | None) -> Iterator[None]:
    """Let what is done inside use so many CPUs, as many tasks at a time; None for all that are free."""
    token = _most.set(cpus)
    try:
        yield
    finally:
        _most.reset(token)


def most_cpus() -> int | None:
    """CPUs that this run may use; None for all that are free."""
    return _most.get()
