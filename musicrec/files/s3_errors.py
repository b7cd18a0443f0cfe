"""Errors of S3: found within seconds, and reported in one line that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from musicrec.errors import ConfigError, MusicrecError
from musicrec.files.paths import AnyPath

REFUSED = "the key may not do this there; give it the right to list, read, write and delete below the prefix"
SILENT = "no server answers, or the connection breaks each time; check AWS_ENDPOINT_URL and the network"
REMEDIES = {  # by the name of the error, from the server or from the client library
    "NoSuchBucket": "there is no such bucket; create it, or correct the address",
    "InvalidAccessKeyId": "the server does not know the key; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "SignatureDoesNotMatch": "the server refuses the key; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "the key has expired; renew it",
    "NoCredentialsError": "no key was given; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "AccessDenied": REFUSED,
    "Forbidden": REFUSED,
    "403": REFUSED,  # a HEAD request is answered without a body
    "PermissionError": REFUSED,
    "EndpointConnectionError": SILENT,
    "ConnectTimeoutError": SILENT,
    "ConnectionClosedError": SILENT,
    "ClientPayloadError": SILENT,
    "SlowDown": "the server asks for fewer requests; run it again",
}


QUICK: dict[str, Any] = {"connect_timeout": 5, "read_timeout": 20, "retries": {"total_max_attempts": 3}}


def ask(where: AnyPath) -> None:
    """Ask a bucket for one name, with short timeouts; do nothing for a folder.

    Raises
    ------
    Exception
        From its file system: there is no server, no bucket, or no right to it.
    """
    if isinstance(where, Path) or where.protocol not in ("s3", "s3a"):
        return
    quick = type(where.fs)(**{**where.storage_options, "config_kwargs": QUICK})
    quick.retries = 1
    quick.call_s3("list_objects_v2", Bucket=where.path.partition("/")[0], MaxKeys=1)


@contextmanager
def explain_s3_errors(where: AnyPath) -> Iterator[None]:
    """Turn errors on the way to a bucket into a ConfigError; do nothing for a folder."""
    try:
        yield
    except MusicrecError:
        raise
    except Exception as e:
        problem = None if isinstance(where, Path) else _describe(e)
        if problem is None:
            raise
        raise ConfigError(f"{where}: {problem}") from e


def _describe(error: BaseException) -> str | None:
    """Return what is wrong and what to do; None if the error is not about the bucket."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    answers = [response for e in chain if isinstance(response := getattr(e, "response", None), dict)]
    codes = [str(answer.get("Error", {}).get("Code")) for answer in answers]
    kinds = [type(e).__name__ for e in chain if not getattr(e, "filename", None)]  # others are about a local file
    return next((REMEDIES[name] for name in (*codes, *kinds) if name in REMEDIES), None)
