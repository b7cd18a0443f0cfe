"""One writer for each OUT: a lock of the operating system on a folder, a lease in a bucket."""

import json
import os
import random
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Protocol

import filelock

from musicrec.errors import ConfigError, InUse
from musicrec.files.paths import AnyPath, children, path_string, read_bytes, remove, write_atomic

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from upath import UPath

LEASE_S = 90.0  # a claim that was not renewed for so long is that of a dead run
RENEWALS = 4  # a claim is renewed so often in that time
ATTEMPTS = 5  # how often a run asks when it sees another that asks at the same time


class Lock(Protocol):
    """Held by the one run that may write to an OUT."""

    def held(self) -> "AbstractContextManager[None]":
        """Hold it; InUse if another run does."""

    def check(self) -> None:
        """Raise InUse if it was lost meanwhile."""


def lock_of(out: AnyPath) -> Lock:
    """Return the lock of an OUT."""
    return FolderLock(out) if isinstance(out, Path) else Lease(out / ".lock")


class FolderLock:
    """A lock that the system frees when its holder dies.

    Parameters
    ----------
    out : pathlib.Path
        The OUT.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._holder_file = out / ".lock.json"  # not in .lock, which some versions of filelock empty

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it; InUse if another run does."""
        lock = filelock.FileLock(self._out / ".lock", blocking=False)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise _in_use(self._out, self._holder()) from None
        except OSError as e:
            raise ConfigError(f"OUT {self._out} cannot be written ({e.strerror}); choose another folder") from e
        try:
            with suppress(OSError):  # a rollback must be possible on a full disk too
                self._remove_unfinished()
                write_atomic(self._holder_file, json.dumps(_myself()).encode())
            yield
        finally:
            with suppress(OSError):
                self._holder_file.unlink(missing_ok=True)
            lock.release()

    def check(self) -> None:
        """Do nothing: the system does not lose a lock."""

    def _remove_unfinished(self) -> None:
        """Remove files that killed runs were writing into OUT; those of a version or of work go with its folder."""
        for folder in (self._out, self._out / "_runs"):
            for file in folder.glob(f".*.{'?' * 8}"):  # named by tempfile
                file.unlink()

    def _holder(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._holder_file.read_bytes()))
        except (OSError, ValueError, TypeError):  # it has only just begun
            return {}


class Lease:
    """A claim in a bucket that its holder renews; if it was not renewed for `LEASE_S` seconds, it no longer counts.

    A run writes its claim, then looks at all claims, and holds the lease if its own is the only one. Of two runs that
    ask at once, the later one to look sees the other. The server only has to show what was written before, as S3 does.
    Its clock is the only one that counts.

    Parameters
    ----------
    folder : upath.UPath
        Where the claims are.
    """

    def __init__(self, folder: "UPath") -> None:
        self._folder = folder
        self._myself = _myself()
        self._renewed_s: float | None = None  # time of the last renewal, by the clock of this process

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it; InUse if another run does."""
        claim = self._folder / f"{uuid.uuid4().hex}.json"
        ended = Event()
        renewing = Thread(target=self._renew, args=(claim, ended), daemon=True)
        try:
            self._claim(claim)
            renewing.start()
            yield
        finally:
            ended.set()
            if renewing.ident:
                renewing.join(LEASE_S / RENEWALS)
            self._renewed_s = None
            with suppress(Exception):  # the claim expires by itself
                remove(claim)

    def check(self) -> None:
        """Raise InUse if it could not be renewed in time: another run may hold it."""
        if self._renewed_s is not None and time.monotonic() - self._renewed_s > LEASE_S:
            raise InUse(f"the lock {self._folder} could not be renewed for {LEASE_S:g} s; nothing more is published")

    def _claim(self, claim: "UPath") -> None:
        for attempt in range(ATTEMPTS):
            self._put(claim, holds=False)
            others = self._others(claim)
            if not others:
                self._put(claim, holds=True)
                return
            remove(claim)
            if attempt == ATTEMPTS - 1 or any(other.get("holds") for other in others):
                raise _in_use(self._folder.parent, max(others, key=lambda other: bool(other.get("holds"))))
            time.sleep(random.uniform(0.2, 2.0))

    def _put(self, claim: "UPath", *, holds: bool) -> None:
        started = time.monotonic()
        write_atomic(claim, json.dumps({**self._myself, "holds": holds}).encode())
        self._renewed_s = started

    def _renew(self, claim: "UPath", ended: Event) -> None:
        while not ended.wait(LEASE_S / RENEWALS):
            with suppress(Exception):  # the next one may succeed; check() raises if none does
                self._put(claim, holds=True)

    def _others(self, mine: "UPath") -> list[dict[str, Any]]:
        """Return the claims of other live runs, and remove those of dead runs. Times are the server's."""
        others, now = [], mine.fs.modified(mine.path)
        for claim in children(self._folder):
            if claim.name == mine.name:
                continue
            try:
                by = dict(json.loads(read_bytes(claim)))
                age = now - mine.fs.modified(path_string(claim))
            except (FileNotFoundError, ValueError):  # just released
                continue
            if age.total_seconds() > LEASE_S or _is_dead(by):
                remove(claim)
            else:
                others.append(by)
        return others


def _is_dead(by: dict[str, Any]) -> bool:
    """Return whether the holder ran on this machine and has ended: then nobody needs to wait for its lease to end."""
    if by.get("host") != socket.gethostname() or by.get("pids") != _pids():
        return False
    try:
        pid = int(by["pid"])
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, KeyError, ValueError):  # another user's, or not known: it may be alive
        return False
    return bool(by.get("started") != _started(pid))  # another process has its number now, or nobody has reaped it


def _pids() -> str | None:
    """Return among which processes a number names one; None away from Linux.

    Machines and containers may share a name, and not see each other's processes.
    """
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None


def _started(pid: int) -> str | None:
    """Return when a process started, in ticks since the boot; None if it has ended, and away from Linux."""
    try:
        state, *words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else words[18]


def _in_use(out: AnyPath, by: dict[str, Any]) -> InUse:
    holder = "another musicrec run"
    if {"command", "pid", "host", "since"} <= by.keys():
        holder += f": {by['command']!r}, process {by['pid']} on {by['host']} since {by['since']}"
    return InUse(f"OUT {out} is in use by {holder}; wait for it to end")


def _myself() -> dict[str, Any]:
    """Return what others that ask for the lock are told about this run."""
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return {
        "command": command,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "pids": _pids(),
        "started": _started(os.getpid()),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
