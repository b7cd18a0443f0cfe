"""What the commands share: opening OUT, examples below their help, complaints."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from musicrec.monitor import log
from musicrec.store.store import Store

if TYPE_CHECKING:
    from musicrec.stages.run_report import Run


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


@contextmanager
def open_run(out: str, *, create: bool = False, address: str | None = None) -> Iterator["Run"]:
    """Hold OUT for writing; what the command does stands in OUT/_runs afterwards."""
    from musicrec.cluster.resources import is_embedded
    from musicrec.stages.run_report import reported

    command = str(click.get_current_context().info_name)
    with open_out(out, create=create) as store, reported(store, command, on_cluster=not is_embedded(address)) as run:
        yield run


def example(*lines: str) -> str:
    """Examples for the foot of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  musicrec {line}" for line in lines)


def complain(message: str) -> None:
    """Say on standard error what went wrong."""
    log.log_event("error", f"musicrec: {message}", level=logging.ERROR, message=message)


def show(result: object) -> None:
    """Say what a stage has done; machines have read it in the log."""
    if not log.is_json():
        click.echo(result)
