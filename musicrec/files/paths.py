"""Files and folders on this machine or in a bucket: each appears complete or not at all, whatever fails meanwhile.

A path is a :class:`pathlib.Path`, or behind ``s3://`` a ``UPath``, which has the same methods. What differs is handled
here: a file on this machine is written under a temporary name and renamed, an object is uploaded as a whole.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from musicrec.errors import ConfigError
from musicrec.files.scratch import scratch_folder

if TYPE_CHECKING:
    from upath import UPath

    AnyPath: TypeAlias = Path | UPath
else:
    AnyPath = Path  # UPath takes a while to import, and only a bucket needs it

AT_ONCE = 16  # parallel requests to a bucket, in an operation on a folder
S3_PROTOCOLS = ("s3", "s3a")
S3: dict[str, Any] = {
    "use_listings_cache": False,  # other processes write there too
    "config_kwargs": {
        "connect_timeout": 10,
        "read_timeout": 60,
        # Timeouts, throttling and 5xx are retried, for some seconds in all.
        "retries": {"mode": "standard", "total_max_attempts": 8},
    },
}


def to_path(address: str | os.PathLike[str] | AnyPath) -> AnyPath:
    """Return the path of an address: a folder, or ``s3://bucket/prefix``, or any other that fsspec knows.

    ``~/`` is the home folder: a shell leaves it in quotes as it is, and Python everywhere.

    S3 takes the usual variables: ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_DEFAULT_REGION``,
    ``AWS_ENDPOINT_URL``, ``AWS_PROFILE``.

    Raises
    ------
    ConfigError
        The address is of an unknown kind, or names no bucket.
    """
    if isinstance(address, Path):
        return address.absolute()
    text = str(address)
    if "://" not in text:
        return (Path(text).expanduser() if text.startswith("~/") else Path(text)).absolute()
    from upath import UPath

    scheme, _, rest = text.partition("://")
    try:
        if not rest.strip("/"):
            raise ValueError
        return UPath(text.rstrip("/"), **(S3 if scheme in S3_PROTOCOLS else {"use_listings_cache": False}))
    except (ValueError, ImportError) as e:
        raise ConfigError(f"{text} cannot hold tables; expected a folder or s3://bucket/prefix") from e


def real_path(path: AnyPath) -> str:
    """Return a path without symbolic links, as far as there is one: links in a circle stay as they are."""
    return os.path.realpath(path) if isinstance(path, Path) else str(path.resolve())


def path_string(path: AnyPath) -> str:
    """Return the name of a path in its file system."""
    return str(path) if isinstance(path, Path) else path.path


# --- what cannot be read ------------------------------------------------------------------------------------------


def is_gone(error: OSError) -> bool:
    """Return whether an error says that a file is not there; any other leaves open whether it is."""
    return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


# --- files --------------------------------------------------------------------------------------------------------


def write_atomic(path: AnyPath, content: bytes) -> None:
    """Write a file that appears complete or not at all."""
    if isinstance(path, Path):
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    else:
        path.fs.pipe_file(path.path, content)


def read_bytes(path: AnyPath) -> bytes:
    """Return the content of a small file as it is at one moment, even while it is being replaced."""
    if isinstance(path, Path):
        return path.read_bytes()
    # More at a time would first take a request for the size.
    return bytes(path.fs.cat_file(path.path, **({"max_concurrency": 1} if path.protocol in S3_PROTOCOLS else {})))


@contextmanager
def replacing(path: AnyPath) -> Iterator[Path]:
    """Yield a temporary name; the file appears as `path`, complete, if nothing fails."""
    if not isinstance(path, Path):
        with scratch_folder() as folder:
            yield folder / path.name
            path.fs.put_file(str(folder / path.name), path.path)
        return
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        fsync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync(path.parent)


def link_or_copy(source: AnyPath, target: AnyPath) -> None:
    """Make `target` the same file as `source`, which may then be removed: files are replaced, never changed."""
    if isinstance(target, Path):
        assert isinstance(source, Path)
        try:
            os.link(source, target)
        except OSError:  # a file system without links
            shutil.copyfile(source, target)
    elif isinstance(source, Path):
        target.fs.put_file(str(source), target.path)
    else:
        target.fs.cp_file(source.path, target.path)  # the server copies it


def fsync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- folders ------------------------------------------------------------------------------------------------------


def make_folder(path: AnyPath) -> AnyPath:
    """Make a folder and its parents; a bucket needs none."""
    if isinstance(path, Path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def is_unicode(text: str) -> bool:
    r"""Return whether a text can be written: names of files and arguments may hold bytes that are no characters.

    Examples
    --------
    >>> is_unicode("Ä 夜"), is_unicode("caf\udce9")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def children(folder: AnyPath, pattern: str = "*") -> list[AnyPath]:
    """Return the files and folders in a folder whose names match, sorted; none if there is no folder."""
    if isinstance(folder, Path):
        return sorted(folder.glob(pattern))
    try:
        return sorted((p for p in folder.iterdir() if fnmatchcase(p.name, pattern)), key=str)
    except (FileNotFoundError, NotADirectoryError):
        return []


def files_below(folder: AnyPath) -> dict[str, int]:
    """Return the size in bytes of each file in a folder and those below it, by its path from there."""
    if isinstance(folder, Path):
        return {p.relative_to(folder).as_posix(): p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    found = folder.fs.find(folder.path, detail=True)
    return {name.removeprefix(folder.path).lstrip("/"): info["size"] for name, info in found.items()}


def remove(path: AnyPath) -> None:
    """Remove a file, a link, or a folder with its content; do nothing if there is none."""
    if isinstance(path, Path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        return

    def remove_object(name: str) -> None:
        with suppress(FileNotFoundError):
            path.fs.rm_file(name)

    with ThreadPoolExecutor(AT_ONCE) as pool:  # a request for each: not every server can delete many at once
        list(pool.map(remove_object, path.fs.find(path.path)))


@contextmanager
def local_copy(folder: AnyPath) -> Iterator[Path]:
    """Yield a folder on this machine with the same files: the folder itself, or a temporary copy."""
    if isinstance(folder, Path):
        yield folder
        return
    with scratch_folder() as copy:
        fetch(folder, copy)
        yield copy


@contextmanager
def write_folder(folder: AnyPath) -> Iterator[Path]:
    """Yield a folder on this machine; what is written there is in `folder` afterwards, if nothing fails."""
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with scratch_folder() as copy:
        yield copy
        names = list(files_below(copy))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda name: link_or_copy(copy / name, folder / name), names))


def fetch(folder: "UPath", target: Path) -> None:
    """Copy all files of a remote folder into one on this machine."""

    def fetch_one(name: str) -> None:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        folder.fs.get_file(f"{folder.path}/{name}", str(target / name))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(fetch_one, files_below(folder)))
