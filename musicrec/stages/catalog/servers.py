"""What the server of a song says about it, without fetching it."""

from typing import Any

from musicrec.audio import DEFAULT_LIMITS
from musicrec.errors import DecodeError
from musicrec.schemas import Reason

GONE = frozenset({404, 410})  # HTTP status codes for an object that does not exist


def server_info(uri: str) -> dict[str, Any]:
    """Return what the server says about an object, such as its size and version.

    Raises
    ------
    DecodeError
        There is no such object, or the server does not answer as it should.
    """
    from musicrec.audio.download import file_system

    try:
        return file_system(uri, DEFAULT_LIMITS).info(uri)
    except Exception as e:  # each file system raises what its own client library raises
        status = getattr(e.__cause__, "status", None)
        problem = f"HTTP status {status}" if status else type(e.__cause__ or e).__name__  # no URL: it may be signed
        if isinstance(e, FileNotFoundError) and (status in GONE or uri.startswith("s3:")):
            raise DecodeError(Reason.MISSING, f"the server has no such object ({problem})") from e
        raise DecodeError(Reason.UNREADABLE, f"the server does not answer as it should ({problem})") from e
