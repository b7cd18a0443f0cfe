"""What musicrec stands on: the Python that runs it, and folders that it writes to."""

import errno
import os
import platform
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import filelock
from packaging.specifiers import SpecifierSet

from musicrec import __version__
from musicrec.errors import ConfigError
from musicrec.files.paths import write_atomic
from musicrec.store.pointer import pointer_of

LEAST_FREE_BYTES = 500e6  # a song that is fetched may take as much


def python() -> str:
    """Compare its version with what musicrec was installed for."""
    version = platform.python_version()
    try:
        needed = metadata("musicrec")["Requires-Python"]
    except PackageNotFoundError:  # shipped to a cluster as it is
        return f"{version} on {platform.machine()}; musicrec {__version__} runs from its folder, uninstalled"
    if not SpecifierSet(needed).contains(version, prereleases=True):
        raise ConfigError(f"{version}; musicrec {__version__} needs {needed}: install such a Python")
    return f"{version} on {platform.machine()}; musicrec {__version__} needs {needed}"


def folder(path: Path, remedy: str) -> str:
    """Write to a folder, or to the one it would be made in, what musicrec writes to OUT; nothing of it stays.

    Parameters
    ----------
    path : pathlib.Path
        The folder.
    remedy : str
        What to do if it is not fit.

    Raises
    ------
    ConfigError
        It cannot be written, holds no links, keeps no locks, or is almost full.
    """
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    if not there.is_dir():
        raise ConfigError(f"{there} is a file; {remedy}")
    what = "be written"
    try:
        with tempfile.TemporaryDirectory(dir=there, prefix=".musicrec-doctor-") as name:
            write_atomic(Path(name) / "file", b"musicrec")
            what = "hold a symbolic link"
            pointer_of(Path(name), "table").point_to("version")
            what = "keep a lock"
            _lock(Path(name) / "lock")
    except OSError as e:
        raise ConfigError(f"{there} cannot {what} ({e.strerror}); {remedy}") from e
    free_bytes = shutil.disk_usage(there).free
    if free_bytes < LEAST_FREE_BYTES:
        raise ConfigError(f"{there} has only {free_bytes / 1e6:.0f} MB left; make room, or {remedy}")
    return f"{there} can be written, links and locks work, {free_bytes / 1e9:.0f} GB are free"


def _lock(file: Path) -> None:
    """Hold a lock, and see that nobody else can: some file systems let anybody."""
    with filelock.FileLock(file, blocking=False):
        try:
            with filelock.FileLock(file, blocking=False):
                pass
        except filelock.Timeout:
            return
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
