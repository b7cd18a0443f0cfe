"""Pointers say which version of a table is the published one; swapping one is the only step that readers see.

On this machine ``OUT/<name>`` is a symbolic link to the folder of the version's parts, so that every tool reads the
table by that path. In a bucket there are no links: ``OUT/<name>`` is an object that holds the path of that folder below
OUT. A version that has no folder of parts, which is a model or a table of an older musicrec, is pointed to itself.
"""

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from musicrec.errors import ConfigError
from musicrec.files.paths import AnyPath, fsync, make_folder, read_bytes, remove, write_atomic

if TYPE_CHECKING:
    from upath import UPath

PARTS = "parts"  # folder of a version that holds its Parquet parts and nothing else, as readers open what they find


class Pointer(Protocol):
    """Names the published version."""

    def read(self) -> str | None:
        """Return the name; None if nothing is published."""

    def point_to(self, folder: str) -> None:
        """Publish a version in one atomic step; `folder` is the path of its parts below that of the versions."""

    def require_sound(self) -> None:
        """Raise ConfigError if something else stands where the pointer should."""

    def remove(self) -> None:
        """Remove the pointer, so that nothing is published."""


def parts_of(version: AnyPath) -> AnyPath:
    """Return the folder that holds the parts of a version: the version's own in an OUT of an older musicrec."""
    return version / PARTS if (version / PARTS).exists() else version


def version_of(folder: AnyPath) -> AnyPath:
    """Return the folder of the version whose parts are in a folder."""
    return folder.parent if folder.name == PARTS else folder


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
        return version_of(self._path.resolve()).name if self._path.exists() else None

    def point_to(self, folder: str) -> None:
        """Publish a version in one atomic step."""
        make_folder(self._path.parent)
        fresh = self._path.with_name(f".{self._path.name}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.path.relpath(self._root / folder, self._path.parent))
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
            return PurePosixPath(read_bytes(self._path).decode().strip()).relative_to(self._root).parts[0]
        except FileNotFoundError:
            return None

    def point_to(self, folder: str) -> None:
        """Publish a version in one atomic step."""
        write_atomic(self._path, f"{self._root}/{folder}\n".encode())

    def require_sound(self) -> None:
        """Do nothing: an object cannot be anything else."""

    def remove(self) -> None:
        """Remove the pointer, so that nothing is published."""
        remove(self._path)
