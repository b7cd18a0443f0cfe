"""The files of a source: a walk through its folders, or what a bucket lists."""

import os
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from musicrec.audio import formats
from musicrec.files.paths import AnyPath, is_gone
from musicrec.schemas import Reason

if TYPE_CHECKING:
    from upath import UPath

OF_THE_SYSTEM = frozenset({"lost+found", "System Volume Information", "$RECYCLE.BIN"})  # folders that hold no songs


def relative_id(path: AnyPath, source: AnyPath) -> str:
    """Return the path below the source as text, with POSIX separators and composed characters (NFC).

    A path with undecodable bytes is percent-encoded instead.
    """
    relative = path.relative_to(str(source)).as_posix()
    try:
        relative.encode()
    except UnicodeEncodeError:
        return quote(os.fsencode(relative))
    return unicodedata.normalize("NFC", relative)


def audio_files(
    source: AnyPath, exclude: AnyPath
) -> tuple[dict[AnyPath, Any], list[tuple[str, Reason]], dict[AnyPath, str]]:
    """Find the audio files below the source, with the server's information, and the other files with the reason.

    The third are the folders that could not be listed, and why.
    """
    files: dict[AnyPath, Any] = {}
    ignored: list[tuple[str, Reason]] = []
    unread: dict[AnyPath, str] = {}
    found = _walk(source, exclude) if isinstance(source, Path) else _objects(source, exclude)
    for path, problem, info in found:
        name = relative_id(path, source)
        hidden = any(part.startswith(".") or part in OF_THE_SYSTEM for part in name.split("/"))
        reason = Reason.HIDDEN if hidden else Reason.UNREADABLE if problem else _why_not_audio(path)
        if reason is None:
            files[path] = info
        else:
            ignored.append((name, reason))
        if problem and not hidden:
            unread[path] = problem
    return files, ignored, unread


def _walk(source: Path, exclude: AnyPath) -> Iterator[tuple[Path, str, None]]:
    """Yield every file below a folder, following links, and each folder that cannot be listed, with the problem.

    A folder that is reached twice is entered once.
    """
    problems: list[OSError] = []
    entered = {exclude.resolve(), source.resolve()}

    def enter(folder: Path) -> bool:
        """Return whether the folder is new, and remember it."""
        real = folder.resolve()
        is_new = real not in entered
        entered.add(real)
        return is_new

    walk = os.walk(source, followlinks=True, onerror=problems.append)
    for folder, subfolders, names in walk:
        links_last = sorted(subfolders, key=lambda s: ((Path(folder) / s).is_symlink(), s))
        subfolders[:] = [s for s in links_last if enter(Path(folder) / s)]
        for name in sorted(names):
            yield Path(folder) / name, "", None
    for e in problems:
        if not is_gone(e) or Path(e.filename).is_dir():  # one that was away for a moment was not listed either
            yield Path(e.filename), e.strerror or str(e), None


def _objects(source: "UPath", exclude: AnyPath) -> Iterator[tuple["UPath", str, dict[str, Any]]]:
    """Yield every object below a prefix of a bucket, except those of OUT."""
    for name, info in source.fs.find(source.path, detail=True).items():
        path = source / name.removeprefix(source.path).lstrip("/")
        if not str(path).startswith(f"{exclude}/"):
            yield path, "", info


def _why_not_audio(path: AnyPath) -> Reason | None:
    """Return why a file is not taken for audio; None if its name or its first bytes say that it is."""
    has_name = path.suffix.lower() in formats.EXTENSIONS
    try:
        if isinstance(path, Path) and not stat.S_ISREG(path.stat().st_mode):  # reading a pipe could block for ever
            return Reason.NOT_AUDIO
        return None if has_name or _begins_as_audio(path) else Reason.NOT_AUDIO
    except OSError as e:
        if has_name:  # a song that cannot be read
            return None
        return Reason.NOT_AUDIO if is_gone(e) else Reason.UNREADABLE


def _begins_as_audio(path: AnyPath) -> bool:
    with path.open("rb") as f:
        return formats.is_audio(f.read(formats.HEAD_BYTES))
