"""Faults of musicrec itself: how they are named and reported, and when a kind of file is no longer tried.

A file that cannot be used raises ``DecodeError``. Any other exception is a fault of musicrec or of a library that it
calls, not of the song. So the song is tried again as soon as another version of either is installed.
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

SONGS_UNTIL_STOP = 5  # a kind of file stops after this many songs with one fault and none without a fault
# Libraries that process a song.
LIBRARIES = ("av", "librosa", "numba", "numpy", "onnxruntime", "scipy", "soundfile", "soxr")
PACKAGE = Path(musicrec.__file__).parent


@cache
def versions() -> str:
    """Return the versions of everything that processes a song, in one line."""
    names = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"musicrec {musicrec.__version__}, Python {platform.python_version()}, {names}"


def describe(error: Exception) -> str:
    """Describe a fault in one line: its type, the line of musicrec's code where it occurred, its message, the versions.

    Parameters
    ----------
    error : Exception
        The caught exception, with its traceback.

    Returns
    -------
    str
        For example ``TypeError at musicrec/audio/ffmpeg.py:68: open() got …; with musicrec 0.1.0, …``.
    """
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(PACKAGE)]
    at = f" at {Path(frames[-1].filename).relative_to(PACKAGE.parent).as_posix()}:{frames[-1].lineno}" if frames else ""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}{at}: {message}; with {versions()}"


def fault_name(reason: str | None, detail: str | None) -> str | None:
    """Return the name of a fault, which is the same for all songs with that fault; None if the outcome is no fault."""
    return (detail or "").partition(": ")[0] if reason == Reason.ERROR else None


def is_outdated(reason: str | None, detail: str | None) -> bool:
    """Return whether an outcome is a fault of versions that are no longer installed, so that the song may work now."""
    return reason == Reason.ERROR and not (detail or "").endswith(versions())


def file_kind(uri: str) -> str:
    """Return the kind of a file, such as ``.m4a``; files of one kind use the same decoders."""
    path = urlsplit(uri).path if "://" in uri else uri
    return PurePosixPath(unquote(path)).suffix.lower() or "files without an extension"


class Verdict(NamedTuple):
    """Kinds of files that are known to work, and kinds that are no longer tried."""

    works: frozenset[str] = frozenset()
    stopped: frozenset[str] = frozenset()


NO_VERDICT = Verdict()


class Tally:
    """Results of the songs of each kind of file, and the kinds that are no longer tried because of them."""

    def __init__(self) -> None:
        self._works: set[str] = set()
        self._faults: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def add(self, kind: str, fault: str | None, n: int = 1) -> None:
        """Count `n` songs with a fault, or without one if `fault` is None."""
        if fault is None:
            self._works.add(kind)
        else:
            self._faults[kind][fault] += n

    def update(self, seen: Mapping[tuple[str, str | None], int]) -> None:
        """Add the counts of another tally: songs by kind and fault."""
        for (kind, fault), n in seen.items():
            self.add(kind, fault, n)

    def is_stopped(self, kind: str, elsewhere: Verdict = NO_VERDICT) -> bool:
        """Return whether songs of a kind are no longer tried, by this tally and by the verdict of others."""
        if kind in self._works | elsewhere.works:
            return False
        return kind in elsewhere.stopped or max(self._faults[kind].values(), default=0) >= SONGS_UNTIL_STOP

    @property
    def verdict(self) -> Verdict:
        """The verdict to pass to other workers."""
        return Verdict(frozenset(self._works), frozenset(kind for kind in list(self._faults) if self.is_stopped(kind)))


class FaultySong(NamedTuple):
    """A song that failed because of a fault of musicrec."""

    uri: str
    detail: str


def report(songs: Iterable[FaultySong], untried: Iterable[str] = ()) -> list[str]:
    """Return one line for each fault, and one for each kind of file that is no longer tried.

    Parameters
    ----------
    songs : iterable of FaultySong
        The songs that failed.
    untried : iterable of str
        URIs of songs that were not tried because others of their kind had failed with one fault.
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
        f"stopped trying {kind} after {SONGS_UNTIL_STOP} of {SONGS_UNTIL_STOP} failed in the same way: "
        f"{_songs(n)} left for a later run"
        for kind, n in sorted(left.items())
    ]
    return lines


def _songs(n: int) -> str:
    return f"{n} song" if n == 1 else f"{n} songs"
