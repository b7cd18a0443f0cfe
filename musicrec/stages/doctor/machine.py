"""Check the machine: the version of Python, and the folders that musicrec writes to."""

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

LEAST_FREE_BYTES = 500e6  # a fetched song may take this much


def python() -> str:
    """Compare the version of Python with the versions that musicrec needs."""
    version = platform.python_version()
    try:
        needed = metadata("musicrec")["Requires-Python"]
    except PackageNotFoundError:  # its folder was shipped to a cluster
        return f"{version} on {platform.machine()}; musicrec {__version__} runs from its folder, not installed"
    if not SpecifierSet(needed).contains(version, prereleases=True):
        raise ConfigError(f"{version}; musicrec {__version__} needs {needed}: install such a Python")
    return f"{version} on {platform.machine()}; musicrec {__version__} needs {needed}"


def folder(path: Path, remedy: str) -> str:
    """Write to a folder as musicrec writes to OUT, and leave nothing behind.

    If the folder does not exist, the nearest existing folder above it is tested.

    Parameters
    ----------
    path : pathlib.Path
        The folder.
    remedy : str
        What to do if it is not suitable.

    Raises
    ------
    ConfigError
        The folder cannot be written, cannot hold links, does not support locks, or is almost full.
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
    """Hold a lock, and check that it cannot be taken twice, which some file systems allow."""
    with filelock.FileLock(file, blocking=False):
        try:
            with filelock.FileLock(file, blocking=False):
                pass
        except filelock.Timeout:
            return
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
