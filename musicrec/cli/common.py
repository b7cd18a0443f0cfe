"""What the commands share: opening OUT, examples below their help, complaints."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import click

from musicrec import log
from musicrec.storage import Store


@contextmanager
def open_out(out: str, *, create: bool = False) -> Iterator[Store]:
    """Hold OUT for writing."""
    store = Store(out)
    if create:
        store.create()
    else:
        store.require()
    with store.lock():
        yield store


def example(*lines: str) -> str:
    """Examples for the foot of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  musicrec {line}" for line in lines)


def complain(message: str) -> None:
    """Say on standard error what went wrong."""
    log.tell("error", f"musicrec: {message}", level=logging.ERROR, message=message)


def tell(result: object) -> None:
    """Say what a stage has done: in a line for people, or to machines in JSON."""
    if log.is_json():
        log.tell("stage", **log.fields_of(result))
    else:
        click.echo(result)
