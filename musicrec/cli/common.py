"""Helpers that the commands share: opening OUT, examples in the help, error messages."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from musicrec.errors import UnknownTrack
from musicrec.monitor import log
from musicrec.store.store import Store

if TYPE_CHECKING:
    from musicrec.serve.lookup import Song
    from musicrec.stages.run_report import Run


@contextmanager
def open_out(out: str, *, create: bool = False) -> Iterator[Store]:
    """Open OUT for writing and hold its lock."""
    store = Store(out)
    if create:
        store.create()
    else:
        store.require()
    with store.lock():
        yield store


@contextmanager
def open_run(out: str, *, create: bool = False, address: str | None = None) -> Iterator["Run"]:
    """Open OUT for writing, hold its lock, and report the run in OUT/_runs."""
    from musicrec.cluster.resources import is_embedded
    from musicrec.stages.run_report import reported

    command = str(click.get_current_context().info_name)
    with open_out(out, create=create) as store, reported(store, command, on_cluster=not is_embedded(address)) as run:
        yield run


def example(*lines: str) -> str:
    """Return examples for the end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  musicrec {line}" for line in lines)


def complain(message: str) -> None:
    """Log an error; by default it goes to standard error."""
    log.log_event("error", f"musicrec: {message}", level=logging.ERROR, message=message)


def song_called(name: str, find: Callable[[str], "Song"]) -> "Song":
    """Return the song with a name, or the only one that has all words of it in its names; say so if it is that one.

    Raises
    ------
    UnknownTrack
        There is no such song, or there are several.
    """
    try:
        return find(name)
    except UnknownTrack as e:
        if len(e.maybe) != 1:
            raise
        song = find(e.maybe[0])
        if song.name.casefold() != name.casefold():  # it is called so in lists
            complain(f"no song is called {name!r}, but one has these words in its name: {e.maybe[0]}")
        return song


def label(song: "Song", *, path: bool = False) -> str:
    """Return what lists call a song: its name, or its id if `path` asks for it."""
    return song.track_id if path else song.name


def show(result: object) -> None:
    """Print what a stage has done, unless the log is JSON, which holds it already."""
    if not log.is_json():
        click.echo(result)
