"""Which Ray cluster a run uses, and how much of it beside the jobs of others."""

import os
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


def address_of(address: str | None) -> str:
    """What :func:`ray.init` is given: the address, or the environment's ``RAY_ADDRESS``, or ``local``."""
    return address or os.environ.get("RAY_ADDRESS") or "local"


def is_embedded(address: str | None = None) -> bool:
    """Whether Ray runs inside this process."""
    return address_of(address) == "local"
