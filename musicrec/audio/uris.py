"""Where a song is: its URI names a file on this machine, or one that is fetched for as long as it is read."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from musicrec.audio.limits import Limits
from musicrec.errors import DecodeError
from musicrec.files.scratch import scratch_folder
from musicrec.schemas import Reason

REMOTE_SCHEMES = frozenset({"http", "https", "s3"})


def is_remote(uri: str) -> bool:
    """Return whether a song has to be fetched before it can be read.

    Parameters
    ----------
    uri : str
        Path or URI of the song.

    Returns
    -------
    bool
        True for ``http://``, ``https://`` and ``s3://``.

    Examples
    --------
    >>> is_remote("s3://bucket/song.mp3"), is_remote("music/song.mp3")
    (True, False)
    """
    scheme, separator, _ = uri.partition("://")
    return bool(separator) and scheme.lower() in REMOTE_SCHEMES


def local_path(uri: str) -> Path:
    """Return the path that a ``file://`` URI or a plain path names.

    Parameters
    ----------
    uri : str
        ``file://`` URI or path.

    Returns
    -------
    pathlib.Path
        The path. The file need not exist.

    Raises
    ------
    DecodeError
        The URI is not in the file system of this machine, with reason ``unsupported``.

    Examples
    --------
    >>> print(local_path("file:///music/Rock%20and%20Roll.mp3"))
    /music/Rock and Roll.mp3
    """
    if "://" not in uri:
        return Path(uri)
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        place = f"{parts.scheme}://{parts.netloc}"
        expected = "expected a path, file:///path, http://, https:// or s3://"
        raise DecodeError(Reason.UNSUPPORTED, f"songs cannot be read from {place}; {expected}")
    return Path(unquote(parts.path, errors="surrogateescape"))


@contextmanager
def local_file(uri: str, limits: Limits) -> Iterator[Path]:
    """Make a song readable as a file on this machine, in a ``with`` statement. A fetched file is removed afterwards.

    Parameters
    ----------
    uri : str
        Path, ``file://``, ``http://``, ``https://`` or ``s3://``.
    limits : Limits
        How large it may be, and how long fetching it may take.

    Yields
    ------
    pathlib.Path
        The file, which is not empty.

    Raises
    ------
    DecodeError
        With reason ``missing``, ``unreadable``, ``empty``, ``too_large`` or ``unsupported``.
    """
    if not is_remote(uri):
        path = local_path(uri)
        check_file(path, limits)
        yield path
        return
    from musicrec.audio.download import fetch

    with scratch_folder() as folder:
        suffix = re.fullmatch(r"\.\w{1,8}", PurePosixPath(re.split("[?#]", uri)[0]).suffix)
        path = folder / f"song{suffix[0] if suffix else ''}"
        fetch(uri, path, limits)
        check_file(path, limits)
        yield path


def check_file(path: Path, limits: Limits) -> None:
    """Raise DecodeError unless a file can be read, has bytes, and is not too large."""
    try:
        if path.exists() and not path.is_file():
            raise DecodeError(Reason.UNREADABLE, f"{path} is not a regular file")
        with path.open("rb") as f:
            if not f.read(1):
                raise DecodeError(Reason.EMPTY, "the file has no bytes")
        n_bytes = path.stat().st_size
    except (FileNotFoundError, ValueError) as e:  # ValueError: the name contains a zero byte
        raise DecodeError(Reason.MISSING, f"no file {str(path)!r}") from e
    except OSError as e:
        raise DecodeError(Reason.UNREADABLE, f"{path}: {e.strerror}") from e
    if n_bytes > limits.max_bytes:
        raise DecodeError(Reason.TOO_LARGE, f"{n_bytes} bytes; at most {limits.max_bytes} are read")
