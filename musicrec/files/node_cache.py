"""The folder that each node keeps by itself, for what it can make or fetch again."""

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from musicrec.files.paths import remove

NODE_FOLDER = Path(tempfile.gettempdir()) / f"musicrec-{os.getuid()}"  # for what each node has by itself
SECONDS_KEPT = 7 * 24 * 3600.0  # there, of what nobody asks for


def forget_old(folder: Path) -> None:
    """Remove what nobody has touched for a week from a folder that a node has by itself."""
    for path in folder.iterdir():
        with suppress(OSError):  # another process was quicker
            if time.time() - path.stat().st_mtime > SECONDS_KEPT:
                remove(path)
