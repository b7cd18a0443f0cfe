"""Folders for files that can be made or fetched again: one of each node, and one of each user."""

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from musicrec.errors import ConfigError
from musicrec.files.paths import remove

NODE_FOLDER = Path(tempfile.gettempdir()) / f"musicrec-{os.getuid()}"  # each node has its own
CACHE_VARIABLE = "MUSICREC_CACHE"
SECONDS_KEPT = 7 * 24 * 3600.0  # unused files are removed after a week


def user_cache() -> Path:
    """Return the user's folder for what was fetched: ``$MUSICREC_CACHE``, by default ``~/.cache/musicrec``.

    A user without a home has a folder of the node.
    """
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given)
    try:
        return Path.home() / ".cache" / "musicrec"
    except RuntimeError:
        return NODE_FOLDER / "cache"


def make_cache(folder: Path) -> Path:
    """Make a folder of :func:`user_cache`.

    Raises
    ------
    ConfigError
        It cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as e:
        raise ConfigError(
            f"{folder}, where musicrec keeps what it fetches, cannot be written ({e.strerror}); "
            f"name another folder: {CACHE_VARIABLE}=FOLDER"
        ) from e


def forget_old(folder: Path) -> None:
    """Remove what nobody has touched for a week from a folder of this node."""
    for path in folder.iterdir():
        with suppress(OSError):  # another process was quicker
            if time.time() - path.stat().st_mtime > SECONDS_KEPT:
                remove(path)
