"""Which Ray cluster a run uses, and how many of its CPUs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_most: ContextVar[int | None] = ContextVar("most", default=None)


@contextmanager
def at_most(cpus: int | None) -> Iterator[None]:
    """Let the work inside use at most so many CPUs, and as many tasks at a time; None for all that are free."""
    token = _most.set(cpus)
    try:
        yield
    finally:
        _most.reset(token)


def most_cpus() -> int | None:
    """Return how many CPUs this run may use; None for all that are free."""
    return _most.get()


def address_of(address: str | None) -> str:
    """Return the address for :func:`ray.init`: the given one, or the environment's ``RAY_ADDRESS``, or ``local``."""
    return address or os.environ.get("RAY_ADDRESS") or "local"


def is_embedded(address: str | None = None) -> bool:
    """Return whether this process starts a Ray of its own."""
    return address_of(address) == "local"
