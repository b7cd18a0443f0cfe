"""Peers are no dependencies: they are installed into a folder of their own, for a benchmark."""

import subprocess
import sys
from importlib import invalidate_caches
from pathlib import Path


def have(folder: Path, module: str, *arguments: str) -> None:
    """Make a peer's module importable, and install it if it is not there yet.

    Parameters
    ----------
    folder : Path
        Where peers are installed and kept.
    module : str
        Package to import.
    *arguments : str
        What pip installs, with its options; by default the package of the module's name.
    """
    if not (folder / module).is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), *(arguments or [module])]
        subprocess.run(command, check=True)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # last: numpy and the like stay those of musicrec
    invalidate_caches()
