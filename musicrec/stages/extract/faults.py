"""Faults of musicrec itself: what they are called, how they are reported, and when to stop running into one.

A file that cannot be used is a ``DecodeError``. Any other exception is a defect of musicrec, or of a library that it
calls. The song is not to blame, so it is tried again as soon as another version of either is installed.
"""

import platform
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import musicrec
from musicrec.schemas import Reason

SONGS_UNTIL_STOP = 5  # that fail by one fault, before any other of their kind has come through
LIBRARIES = ("av", "librosa", "numba", "numpy", "scipy", "soundfile", "soxr")  # that a song goes through
PACKAGE = Path(musicrec.__file__).parent


@cache
def versions() -> str:
    """Versions of everything that a song goes through, in one line."""
    names = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"musicrec {musicrec.__version__}, Python {platform.python_version()}, {names}"


def describe(error: Exception) -> str:
    """One line about a fault: its type and the line of musicrec's code that met it, its message, and all versions.

    Parameters
    ----------
    error : Exception
        As caught, with its traceback.

    Returns
    -------
    str
        Such as ``TypeError at musicrec/audio/ffmpeg.py:68: open() got …; with musicrec 0.1.0, …``.
    """
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(PACKAGE)]
    at = f" at {Path(frames[-1].filename).relative_to(PACKAGE.parent).as_posix()}:{frames[-1].lineno}" if frames else ""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}{at}: {message}; with {versions()}"


def fault_name(reason: str | None, detail: str | None) -> str | None:
    """What two songs that fail by the same fault have in common; None of an outcome that is no fault."""
    return (detail or "").partition(": ")[0] if reason == Reason.ERROR else None


def is_outdated(reason: str | None, detail: str | None) -> bool:
    """Whether an outcome is a fault of other versions than those installed, so that the song may come through now."""
    return reason == Reason.ERROR and not (detail or "").endswith(versions())


def file_kind(uri: str) -> str:
    """Such as ``.m4a``: songs of one kind take the same way through the decoders."""
    path = urlsplit(uri).path if "://" in uri else uri
    return PurePosixPath(unquote(path)).suffix.lower() or "files without an extension"


class Verdict(NamedTuple):
    """Kinds of files that have been found to work, and kinds that are no longer tried."""

    works: frozenset[str] = frozenset()
    stopped: frozenset[str] = frozenset()


NO_VERDICT = Verdict()


class Tally:
    """How the songs of each kind have ended, and which kinds are therefore no longer tried."""

    def __init__(self) -> None:
        self._works: set[str] = set()
        self._faults: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def add(self, kind: str, fault: str | None, n: int = 1) -> None:
        """Count `n` songs that have ended by a fault, or, for None, in any other way."""
        if fault is None:
            self._works.add(kind)
        else:
            self._faults[kind][fault] += n

    def update(self, seen: Mapping[tuple[str, str | None], int]) -> None:
        """Add what another tally has seen: songs by kind and fault."""
        for (kind, fault), n in seen.items():
            self.add(kind, fault, n)

    def is_stopped(self, kind: str, elsewhere: Verdict = NO_VERDICT) -> bool:
        """Whether no more songs of a kind are to be tried, by this tally and by the verdict of others."""
        if kind in self._works | elsewhere.works:
            return False
        return kind in elsewhere.stopped or max(self._faults[kind].values(), default=0) >= SONGS_UNTIL_STOP

    @property
    def verdict(self) -> Verdict:
        """For others that work on songs of the same kinds."""
        return Verdict(frozenset(self._works), frozenset(kind for kind in list(self._faults) if self.is_stopped(kind)))


class FaultySong(NamedTuple):
    """A song that has failed by a fault of musicrec."""

    uri: str
    detail: str


def report(songs: Iterable[FaultySong], untried: Iterable[str] = ()) -> list[str]:
    """One line for each fault, and one for each kind of file that is no longer tried.

    Parameters
    ----------
    songs : iterable of FaultySong
        That have failed.
    untried : iterable of str
        URIs of songs that were left out, because others of their kind had failed alike.
    """
    by_fault: defaultdict[str | None, list[FaultySong]] = defaultdict(list)
    for song in songs:
        by_fault[fault_name(Reason.ERROR, song.detail)].append(song)
    lines = [
        f"{_songs(len(same))} failed because of a bug in musicrec, not in the files: {same[0].detail}. "
        f"Please report this line and, if you may, the file {same[0].uri}"
        for same in by_fault.values()
    ]
    left = Counter(map(file_kind, untried))
    lines += [
        f"stopped trying {kind} after {SONGS_UNTIL_STOP} of {SONGS_UNTIL_STOP} failed alike: "
        f"{_songs(n)} left for a later run"
        for kind, n in sorted(left.items())
    ]
    return lines


def _songs(n: int) -> str:
    return f"{n} song" if n == 1 else f"{n} songs"
