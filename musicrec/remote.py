"""A version of the table of similar songs that lies elsewhere: its sidecar is fetched once, then mapped like any other.

Any address that fsspec knows will do. S3 takes the usual ``AWS_…`` variables.
"""

import hashlib
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from musicrec.errors import ConfigError, MusicrecError, SchemaError
from musicrec.files import S3, AnyPath, remove
from musicrec.sidecar import SIDECAR

CACHE_VARIABLE = "MUSICREC_CACHE"
SECONDS_KEPT = 7 * 24 * 3600.0  # since it was last asked for


def local_version(folder: AnyPath) -> Path:
    """Folder of a version, on this machine: itself, or one with its sidecar and nothing else."""
    return folder.resolve() if isinstance(folder, Path) else fetch_sidecar(str(folder))


def fetch_sidecar(uri: str) -> Path:
    """Folder of the version at `uri`, with its sidecar and nothing else.

    It lies in ``$MUSICREC_CACHE``, by default ``~/.cache/musicrec``, under a name that changes with any of its files,
    and appears there whole or not at all. What nobody has asked for in a week goes when another one is fetched; who has
    it mapped may go on reading.

    Parameters
    ----------
    uri : str
        Folder with the Parquet parts and the sidecar of one version, such as ``s3://bucket/similar``.

    Raises
    ------
    ConfigError
        `uri` is no address, or its server refuses.
    SchemaError
        There is no sidecar, or it changed while it was fetched.
    """
    import fsspec

    try:
        options = S3 if uri.startswith("s3://") else {}
        fs, root = fsspec.core.url_to_fs(f"{uri.rstrip('/')}/{SIDECAR}", **options)
        version = _version(fs, root)
        folder = _cache() / hashlib.blake2b(repr((uri, version)).encode(), digest_size=16).hexdigest()
        if version and folder.exists():
            os.utime(folder)
        elif version:
            _fetch(fs, root, version, folder)
            _forget_old(folder.parent)
    except MusicrecError:
        raise
    except Exception as e:  # each file system raises what its own client library raises
        told = " ".join(f"{type(e).__name__}: {e}".split())
        raise ConfigError(f"cannot read {uri} ({told}); check the address and the keys") from e
    if not version:
        raise SchemaError(f"{uri} has no {SIDECAR}; give the folder of a published table: a copy of OUT/similar")
    return folder


def _version(fs: Any, root: str) -> list[tuple[str, str]]:  # noqa: ANN401 - a file system
    """Name of each file, and a token that changes with its content; empty if there is none."""
    fs.invalidate_cache()
    return sorted((path.rpartition("/")[2], fs.ukey(path)) for path in fs.find(root))


def _fetch(fs: Any, root: str, version: list[tuple[str, str]], folder: Path) -> None:  # noqa: ANN401 - a file system
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as temporary:
        sidecar = Path(temporary) / folder.name / SIDECAR
        sidecar.mkdir(parents=True)
        for name, _ in version:
            fs.get_file(f"{root}/{name}", str(sidecar / name))
        if _version(fs, root) != version:
            raise SchemaError(f"{root} changed while it was fetched; ask again")
        if not folder.exists():  # another process may have been quicker
            sidecar.parent.rename(folder)


def _forget_old(cache: Path) -> None:
    for folder in cache.iterdir():
        with suppress(OSError):  # another process was quicker
            if time.time() - folder.stat().st_mtime > SECONDS_KEPT:
                remove(folder)


def _cache() -> Path:
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "musicrec") / "sidecars"
