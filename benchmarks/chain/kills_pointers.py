"""Which version of a table is published in an OUT, in a folder or in a bucket, as any tool finds it."""

from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec


def file_system(out: str) -> tuple[Any, str]:
    """Return the file system of an OUT, which keeps no listings, and its root there."""
    return fsspec.core.url_to_fs(out, use_listings_cache=False)


def folder_of(out: str, name: str) -> str:
    """Return the folder of a published table's files: ``OUT/<name>``, a link; in a bucket, what stands in that object.

    Raises
    ------
    FileNotFoundError
        Nothing is published in the bucket.
    """
    return f"{out}/{_note(out, name)}" if "://" in out else f"{out}/{name}"


def version_of(out: str, name: str) -> str:
    """Return the name of the published version of a table, which begins with its number; empty if there is none."""
    with suppress(OSError):
        folder = PurePosixPath(_note(out, name) if "://" in out else Path(out, name).readlink())
        return folder.parent.name if folder.name == "parts" else folder.name
    return ""


def is_publishing(out: str) -> bool:
    """Return whether a version of the lists is there that is newer than the published one."""
    with suppress(OSError):
        fs, root = file_system(out)
        found = fs.ls(f"{root}/_versions/similar", detail=True)
        newest = max((Path(entry["name"]).name for entry in found if entry["type"] == "directory"), default="")
        return newest > version_of(out, "similar")
    return False


def _note(out: str, name: str) -> str:
    fs, root = file_system(out)
    return fs.cat_file(f"{root}/{name}", max_concurrency=1).decode().strip()
