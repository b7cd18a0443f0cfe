"""Songs of before that a listing lacks, although nothing says that they are gone: they keep what they had."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

from musicrec.audio import is_remote, local_path
from musicrec.errors import DecodeError
from musicrec.files.paths import AnyPath, is_gone
from musicrec.schemas import Reason
from musicrec.stages.catalog.layouts import Listing
from musicrec.stages.catalog.servers import server_info

AT_ONCE = 16  # songs that are asked for in parallel
SHOWN = 5  # lines about causes

Row = dict[str, Any]
NOTHING_UNREAD: Mapping[AnyPath, str] = MappingProxyType({})


def not_gone(listing: Listing, before: Mapping[str, Row]) -> list[tuple[Row, DecodeError]]:
    """Return the rows of songs that are not listed, but not gone either, each with the reason.

    A song is gone if its file or object is not there, the folders above it could be listed, none is a broken link, and
    none has lost all that it held. A song that a manifest no longer names is gone too.
    """
    if listing.kind == "manifest":
        return []
    listed = {track.track_id for track in listing.tracks}
    uris = {track.uri for track in listing.tracks}
    missing = [row for track_id, row in before.items() if track_id not in listed and row["uri"] not in uris]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        problems = list(
            pool.map(lambda row: problem_of(row["uri"], listing.unread) or out_of_sight(row["uri"]), missing)
        )
    return [
        (row, DecodeError(Reason.UNREADABLE, problem))
        for row, problem in zip(missing, problems, strict=True)
        if problem is not None
    ]


def problem_of(uri: str, unread: Mapping[AnyPath, str]) -> str | None:
    """Return why a song could not be seen; None if it is gone."""
    if is_remote(uri):
        return _problem_of_object(uri)
    path = Path(local_path(uri))
    for folder in path.parents:
        if folder in unread:
            return _not_listed(folder, unread[folder])
    try:
        path.stat()
    except OSError as e:
        return _broken_link(path) if is_gone(e) else f"{path.parent} cannot be read: {e.strerror or e}"
    return None  # it is there, but under another name, hidden, or beside the source


def out_of_sight(uri: str, *, is_named: bool = False) -> str | None:
    """Return why a file that is not there may come back; None if it is there, or gone.

    A disk that is not mounted leaves an empty folder, or none.

    Parameters
    ----------
    uri : str
        The song.
    is_named : bool
        The source still names the song: as a link, or in a manifest. Then a folder that is not there is enough; else
        the folder must have lost folders with songs, since one whose own songs are deleted is empty too.
    """
    if is_remote(uri) or (path := Path(local_path(uri))).exists():
        return None
    if problem := _broken_link(path):
        return problem
    lost = _lost(path)
    if (is_named or lost != path) and _is_empty(lost.parent):
        return f"{lost.parent} is empty, as a disk that is not mounted is; if its songs are gone, remove it"
    return f"{lost} is not there" if is_named and lost != path else None


def _lost(path: Path) -> Path:
    """Return the first part of a path that is not there."""
    return next((part for part in (path, *path.parents) if part.parent.exists()), path)


def _is_empty(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None  # a list of all would be made for each song that is missed
    except OSError:  # a file lies there now, or the folder may not be listed
        return False


def _broken_link(path: Path) -> str | None:
    """Return which part of a path is a link to what is not there, such as a disk that is not mounted."""
    if path.is_symlink() and not path.exists():
        return f"it is a link, and {_lost(path.parent / path.readlink())} is not there"
    for part in path.parents:
        if part.is_symlink() and not part.exists():
            return f"{part} is a link to {part.readlink()}, which is not there"
    return None


def _not_listed(folder: AnyPath, problem: str) -> str:
    return f"{folder} cannot be listed: {problem}"


def _problem_of_object(uri: str) -> str | None:
    try:
        server_info(uri)
    except DecodeError as e:
        return None if e.reason == Reason.MISSING else e.detail
    return "the server has it, but did not list it"


def lines_of(
    problems: Iterable[tuple[str, DecodeError]], unread: Mapping[AnyPath, str] = NOTHING_UNREAD
) -> tuple[str, ...]:
    """Return a line for each cause why songs could not be read, those of the most songs first.

    Parameters
    ----------
    problems : iterable of (str, DecodeError)
        Track ids, each with what is wrong.
    unread : mapping
        Folders that could not be listed, and why.

    Examples
    --------
    >>> wrong = DecodeError(Reason.UNREADABLE, "/music/rock cannot be listed: Permission denied")
    >>> lines_of([("rock/a.mp3", wrong), ("rock/b.mp3", wrong)])
    ('2 songs could not be read: /music/rock cannot be listed: Permission denied; for example rock/a.mp3',)
    """
    by_cause: dict[str, list[str]] = defaultdict(list)
    for track_id, problem in problems:
        if problem.reason == Reason.UNREADABLE:
            by_cause[problem.detail].append(track_id)
    causes = sorted(by_cause.items(), key=lambda cause: (-len(cause[1]), cause[0]))
    lines = [
        f"{len(ids):,} {'song' if len(ids) == 1 else 'songs'} could not be read: {cause}; for example {min(ids)}"
        for cause, ids in causes
    ]
    causes_named = {cause for cause, _ in causes}
    lines += [
        f"{place}; no song of it is known"
        for place in (_not_listed(folder, unread[folder]) for folder in unread)
        if place not in causes_named
    ]
    return (*lines[:SHOWN], *([f"and {len(lines) - SHOWN} more causes"] if len(lines) > SHOWN else []))
