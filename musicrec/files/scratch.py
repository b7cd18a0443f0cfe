"""Temporary folders that do not outlive their process for long, even if it is killed."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

PREFIX = "musicrec-work-"
NEW_S = 60.0  # a folder that was made so long ago is locked, if its process lives


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a new temporary folder, which is removed in the end.

    A lock on it says that its process lives. The first call in a process removes folders that killed ones have left.

    Yields
    ------
    pathlib.Path
        The folder, below that of the system (``$TMPDIR``).

    Examples
    --------
    >>> with scratch_folder() as folder:
    ...     _ = (folder / "notes.txt").write_text("la")
    >>> folder.exists()
    False
    """
    _remove_abandoned_once()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        handle = os.open(name, os.O_RDONLY)
        try:
            with suppress(OSError):  # not every file system has locks; there, nobody else can take the folder either
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield Path(name)
        finally:
            os.close(handle)


def remove_abandoned(parent: Path) -> None:
    """Remove the temporary folders of this user whose processes were killed."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another process was quicker, or the folder is another user's
            if time.time() - folder.lstat().st_mtime > NEW_S and _is_free(folder):
                shutil.rmtree(folder, ignore_errors=True)


@cache
def _remove_abandoned_once() -> None:
    remove_abandoned(Path(tempfile.gettempdir()))


def _is_free(folder: Path) -> bool:
    """Return whether nobody holds the lock of a folder; OSError if it is not a folder, or cannot be locked."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(handle).st_uid == os.getuid()
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
