"""Pointers say which version of a table is the published one; swapping one is the only step that readers see.

On this machine ``OUT/<name>`` is a symbolic link to the version's folder, so that every tool reads the table by that
path. In a bucket there are no links: ``OUT/<name>`` is an object that holds the path of the version below OUT.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from musicrec.errors import ConfigError
from musicrec.files.paths import AnyPath, fsync, make_folder, read_bytes, remove, write_atomic

if TYPE_CHECKING:
    from upath import UPath


class Pointer(Protocol):
    """Names the published version."""

    def read(self) -> str | None:
        """Return the name; None if nothing is published."""

    def point_to(self, version: str) -> None:
        """Publish a version in one atomic step."""

    def require_sound(self) -> None:
        """Raise ConfigError if something else stands where the pointer should."""

    def remove(self) -> None:
        """Remove the pointer, so that nothing is published."""


def pointer_of(out: AnyPath, name: str) -> Pointer:
    """Return the pointer of a table or model of an OUT."""
    if isinstance(out, Path):
        return Link(out / name, out / "_versions" / name)
    return Note(out / name, f"_versions/{name}")


class Link:
    """A symbolic link to the folder of the version.

    Parameters
    ----------
    path : pathlib.Path
        Where the link is.
    root : pathlib.Path
        Folder of the versions.
    """

    def __init__(self, path: Path, root: Path) -> None:
        self._path, self._root = path, root

    def read(self) -> str | None:
        """Return the name; None if nothing is published."""
        return self._path.resolve().name if self._path.exists() else None

    def point_to(self, version: str) -> None:
        """Publish a version in one atomic step."""
        make_folder(self._path.parent)
        fresh = self._path.with_name(f".{self._path.name}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.path.relpath(self._root / version, self._path.parent))
        fresh.replace(self._path)
        fsync(self._path.parent)

    def require_sound(self) -> None:
        """Raise ConfigError if OUT was copied without its links."""
        if self._path.exists() and not self._path.is_symlink():
            raise ConfigError(f"{self._path} is not a link: OUT was copied without its links; copy it with cp -a")

    def remove(self) -> None:
        """Remove the pointer, so that nothing is published."""
        remove(self._path)


class Note:
    """An object that holds the path of the version below OUT.

    Parameters
    ----------
    path : upath.UPath
        Where the object is.
    root : str
        Path of the versions below OUT.
    """

    def __init__(self, path: "UPath", root: str) -> None:
        self._path, self._root = path, root

    def read(self) -> str | None:
        """Return the name; None if nothing is published."""
        try:
            return read_bytes(self._path).decode().strip().rpartition("/")[2]
        except FileNotFoundError:
            return None

    def point_to(self, version: str) -> None:
        """Publish a version in one atomic step."""
        write_atomic(self._path, f"{self._root}/{version}\n".encode())

    def require_sound(self) -> None:
        """Do nothing: an object cannot be anything else."""

    def remove(self) -> None:
        """Remove the pointer, so that nothing is published."""
        remove(self._path)
