"""Fetch one object over HTTP or from S3 into a file: bounded in bytes and in time, never whole in memory."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import fsspec
from fsspec.callbacks import Callback

from musicrec.audio.limits import Limits
from musicrec.errors import DecodeError
from musicrec.schemas import Reason

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60  # without a byte from the server
PAUSES_S = (0.5, 2.0)  # before the second and the third attempt
PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})  # after these, another attempt may succeed
GONE = 410


def fetch(uri: str, path: Path, limits: Limits) -> None:
    """Fetch the object into `path`.

    A failure that may pass (a lost connection, a timeout, a busy server) is retried.

    Parameters
    ----------
    uri : str
        ``http://``, ``https://`` or ``s3://bucket/key``; S3 takes the usual ``AWS_…`` variables.
    path : pathlib.Path
        File to write; it may be left half-written on failure.
    limits : Limits
        The most bytes that are fetched, and the most time.

    Raises
    ------
    DecodeError
        With reason ``missing``, ``unreadable`` or ``too_large``.
    """
    meter = _Meter(limits)
    pauses_s = () if _scheme(uri) == "s3" else PAUSES_S  # s3fs retries by itself
    for pause_s in (*pauses_s, None):
        try:
            file_system(uri, limits).get_file(uri, str(path), callback=meter)
        except DecodeError:
            raise
        except Exception as e:  # each file system raises what its own client library raises
            if pause_s is None or not _may_pass(e):
                raise _error(e, uri) from e
            time.sleep(pause_s)
        else:
            return


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turn what a file system raises into a DecodeError with reason ``missing`` or ``unreadable``."""
    try:
        yield
    except Exception as e:
        raise _error(e, uri) from e


def _error(error: Exception, uri: str) -> DecodeError:
    if isinstance(error, FileNotFoundError) or getattr(error, "status", None) == GONE:
        return DecodeError(Reason.MISSING, f"no object {_place(uri)}")
    return DecodeError(Reason.UNREADABLE, f"{_place(uri)}: {_describe(error, uri)}")


def file_system(uri: str, limits: Limits) -> Any:  # noqa: ANN401 - fsspec is untyped
    """Return the file system that serves a URI, with our timeouts; fsspec keeps one for each process."""
    if _scheme(uri) == "s3":
        config = {
            "connect_timeout": CONNECT_TIMEOUT_S,
            "read_timeout": READ_TIMEOUT_S,
            "retries": {"total_max_attempts": 1},
        }
        return fsspec.filesystem("s3", config_kwargs=config, max_concurrency=1)  # one stream: 64 KiB at a time
    timeout = aiohttp.ClientTimeout(
        total=limits.max_download_s, connect=CONNECT_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S
    )
    return fsspec.filesystem(_scheme(uri), client_kwargs={"timeout": timeout, "trust_env": True})


class _Meter(Callback):
    """Stops a download that grows too large or lasts too long; the clock runs on from one attempt to the next."""

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self.limits = limits
        self.deadline = time.monotonic() + limits.max_download_s

    def set_size(self, size: int | None) -> None:
        """Check the size that the server states before the first byte."""
        super().set_size(size)
        self.value = 0  # each attempt counts its own bytes
        self._check(size or 0)

    def relative_update(self, inc: int = 1) -> None:
        """Count the bytes of a chunk."""
        super().relative_update(inc)
        self._check(self.value)

    def _check(self, n_bytes: int) -> None:
        if n_bytes > self.limits.max_download_bytes:
            most = self.limits.max_download_bytes
            raise DecodeError(Reason.TOO_LARGE, f"{n_bytes} bytes or more; at most {most} are fetched")
        if time.monotonic() > self.deadline:
            raise DecodeError(Reason.UNREADABLE, f"not fetched within {self.limits.max_download_s:g} s")


def _scheme(uri: str) -> str:
    return uri.partition("://")[0].lower()


def _may_pass(error: Exception) -> bool:
    """Return whether another attempt may succeed."""
    if isinstance(error, aiohttp.ClientResponseError):
        return error.status in PASSING_STATUS
    return isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | TimeoutError)


def _place(uri: str) -> str:
    """Return the URI for messages: without a password, and without a query, which may hold a signature."""
    return repr(re.split("[?#]", re.sub(r"//[^/]*@", "//", uri))[0])


def _describe(error: Exception, uri: str) -> str:
    """Return the error in one line, without the query of any URL and without a name and password."""
    if isinstance(error, aiohttp.ClientResponseError):
        return f"HTTP {error.status} {error.message}"
    if isinstance(error, TimeoutError):
        return "timed out"
    line = " ".join(f"{type(error).__name__}: {error}".split())
    own = re.search(r"//([^/]*)@", uri)
    return re.sub(r"\?\S+", "?…", line.replace(own[1], "…") if own else line)
