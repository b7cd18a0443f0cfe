"""Folders for files that can be made or fetched again: one of each node, and one of each user."""

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from musicrec.files.paths import remove

NODE_FOLDER = Path(tempfile.gettempdir()) / f"musicrec-{os.getuid()}"  # each node has its own
CACHE_VARIABLE = "MUSICREC_CACHE"
SECONDS_KEPT = 7 * 24 * 3600.0  # unused files are removed after a week


def user_cache() -> Path:
    """Return the user's folder for what was fetched: ``$MUSICREC_CACHE``, by default ``~/.cache/musicrec``."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "musicrec")


def forget_old(folder: Path) -> None:
    """Remove what nobody has touched for a week from a folder of this node."""
    for path in folder.iterdir():
        with suppress(OSError):  # another process was quicker
            if time.time() - path.stat().st_mtime > SECONDS_KEPT:
                remove(path)
