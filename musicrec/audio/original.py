"""The bytes of a song as it lies in its folder or bucket: any part of it, without the rest."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from musicrec.audio.limits import Limits
from musicrec.audio.uris import check_file, is_remote, local_path
from musicrec.errors import DecodeError
from musicrec.schemas import Reason

PART_BYTES = 256 * 1024
REMOTE_PART_BYTES = 1024 * 1024  # a request for each


class Original(NamedTuple):
    """A song's own file.

    Attributes
    ----------
    size : int
        Its bytes.
    version : str
        Hexadecimal digits that change with its content.
    parts : callable
        ``parts(start, end)`` yields the bytes from `start` to before `end`, and fewer if the file has become shorter.
    """

    size: int
    version: str
    parts: Callable[[int, int], Iterator[bytes]]


def original(uri: str, limits: Limits | None = None) -> Original:
    """Open a song's own file.

    Parameters
    ----------
    uri : str
        Path, ``file://``, ``http://``, ``https://`` or ``s3://``.
    limits : Limits, optional
        How large it may be.

    Returns
    -------
    Original
        The file. What is on this machine stays open as long as this is in use.

    Raises
    ------
    DecodeError
        With reason ``missing``, ``unreadable``, ``empty``, ``too_large`` or ``unsupported``.

    Examples
    --------
    >>> from pathlib import Path
    >>> Path("song.mp3").write_bytes(b"not really audio")
    16
    >>> file = original("song.mp3")
    >>> file.size, b"".join(file.parts(4, 10))
    (16, b'really')
    """
    limits = limits or Limits()
    return _remote(uri, limits) if is_remote(uri) else _local(local_path(uri), limits)


def _local(path: Path, limits: Limits) -> Original:
    check_file(path, limits)  # a pipe would be waited for
    try:
        file = path.open("rb")
    except OSError as e:
        raise DecodeError(Reason.UNREADABLE, f"{path}: {e.strerror}") from e
    stat = os.fstat(file.fileno())
    return Original(stat.st_size, f"{stat.st_mtime_ns:x}-{stat.st_size:x}", lambda start, end: _read(file, start, end))


def _read(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        while start < end and (part := file.read(min(PART_BYTES, end - start))):
            yield part
            start += len(part)


def _remote(uri: str, limits: Limits) -> Original:
    from musicrec.audio.download import explained, file_system

    with explained(uri):
        files = file_system(uri, limits)
        about = files.info(uri)
    if not about["size"]:
        raise DecodeError(Reason.EMPTY, "the server tells of no bytes")
    changes = repr([about.get(name) for name in ("ETag", "LastModified", "size")]).encode()
    version = hashlib.blake2b(changes, digest_size=8).hexdigest()
    return Original(about["size"], version, lambda start, end: _fetch(files, uri, start, end))


def _fetch(files: Any, uri: str, start: int, end: int) -> Iterator[bytes]:  # noqa: ANN401 - fsspec is untyped
    while start < end and (part := files.cat_file(uri, start=start, end=min(start + REMOTE_PART_BYTES, end))):
        yield part
        start += len(part)
