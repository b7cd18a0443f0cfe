"""A cache for tables of similar songs in a bucket: a sidecar is fetched once, then mapped like any other.

Any address that fsspec knows will do. S3 takes the usual ``AWS_…`` variables.
"""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from musicrec.errors import ConfigError, MusicrecError, SchemaError
from musicrec.files.node_cache import forget_old, make_cache, user_cache
from musicrec.files.paths import AnyPath, fetch, files_below, path_string
from musicrec.serve.sidecar import SIDECAR

if TYPE_CHECKING:
    from upath import UPath


def local_version(folder: AnyPath) -> Path:
    """Return the folder of a version on this machine: itself, or one with its sidecar and nothing else."""
    return folder.resolve() if isinstance(folder, Path) else fetch_sidecar(folder)


def fetch_sidecar(version: "UPath") -> Path:
    """Return a folder on this machine with the sidecar of a version, and nothing else.

    It lies in ``$MUSICREC_CACHE``, by default ``~/.cache/musicrec``, under a name that changes with any of its files,
    and appears there whole or not at all. A sidecar that nobody has asked for in a week is removed when another one is
    fetched; a process that has mapped it may go on reading.

    Parameters
    ----------
    version : upath.UPath
        Folder with the Parquet parts and the sidecar of one version, such as ``s3://bucket/similar``.

    Raises
    ------
    ConfigError
        The server refuses, or does not answer.
    SchemaError
        There is no sidecar, or it changed while it was fetched.
    """
    try:
        files = _files(version / SIDECAR)
        folder = _cache() / hashlib.blake2b(repr((str(version), files)).encode(), digest_size=16).hexdigest()
        if files and folder.exists():
            os.utime(folder)
        elif files:
            _fetch(version / SIDECAR, files, folder)
            forget_old(folder.parent)
    except MusicrecError:
        raise
    except Exception as e:  # each file system raises what its own client library raises
        problem = " ".join(f"{type(e).__name__}: {e}".split())
        raise ConfigError(f"cannot read {version} ({problem}); check the address and the keys") from e
    if not files:
        raise SchemaError(f"{version} has no {SIDECAR}; give the folder of a published table: a copy of OUT/similar")
    return folder


def _files(remote: "UPath") -> list[tuple[str, str]]:
    """Return the name of each file, and a token that changes with its content; empty if there is none."""
    return sorted((name, remote.fs.ukey(path_string(remote / name))) for name in files_below(remote))


def _fetch(remote: "UPath", files: list[tuple[str, str]], folder: Path) -> None:
    make_cache(folder.parent)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as temporary:
        sidecar = Path(temporary) / folder.name / SIDECAR
        fetch(remote, sidecar)
        if _files(remote) != files:
            raise SchemaError(f"{remote} changed while it was fetched; ask again")
        if not folder.exists():  # another process may have been quicker
            sidecar.parent.rename(folder)


def _cache() -> Path:
    return user_cache() / "sidecars"
