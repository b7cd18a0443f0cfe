"""The audio of a song: its own file, whole or in the ranges that players ask for when they seek."""

import re
from pathlib import PurePosixPath

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from musicrec.audio.original import original
from musicrec.errors import DecodeError
from musicrec.schemas import Reason
from musicrec.serve.service.followed_table import OpenVersion
from musicrec.serve.service.told_errors import told_of_file

RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
TYPES = {  # by the end of the name
    "aac": "audio/aac", "aif": "audio/aiff", "aiff": "audio/aiff", "ape": "audio/x-ape", "flac": "audio/flac",
    "m4a": "audio/mp4", "mka": "audio/x-matroska", "mp3": "audio/mpeg", "mp4": "audio/mp4", "mpc": "audio/x-musepack",
    "oga": "audio/ogg", "ogg": "audio/ogg", "opus": "audio/ogg", "wav": "audio/wav", "webm": "audio/webm",
    "wma": "audio/x-ms-wma", "wv": "audio/x-wavpack",
}  # fmt: skip
UNKNOWN = "application/octet-stream"


class RangeOutside(Exception):  # noqa: N818 - reads as what happened
    """No byte of a range is in the file."""


def audio(opened: OpenVersion, request: Request) -> Response:
    """Return a song's file, or part of it. Only what the catalog lists is read."""
    try:
        return file_answer(opened.uri(request.path_params["id"]), request)
    except DecodeError as e:
        return JSONResponse({"error": told_of_file(e)}, 404 if e.reason == Reason.MISSING else 503)


def file_answer(uri: str, request: Request) -> Response:
    """Return the file of a song, or the part of it that the header ``Range`` asks for.

    A file that becomes shorter while it is sent breaks the connection: nobody takes the part for the whole.

    Raises
    ------
    DecodeError
        As for :func:`musicrec.audio.original.original`.
    """
    file = original(uri)
    headers = {"accept-ranges": "bytes", "etag": f'"{file.version}"'}
    wanted = request.headers.get("range", "")
    if request.headers.get("if-range", headers["etag"]) != headers["etag"]:
        wanted = ""  # the client has part of another file
    try:
        found = byte_range(wanted, file.size)
    except RangeOutside:
        return JSONResponse({"error": f"no byte of {wanted!r} is in the file, which has {file.size:,}"}, 416,
                            {"content-range": f"bytes */{file.size}"})  # fmt: skip
    start, end = found or (0, file.size)
    headers["content-length"] = str(end - start)
    if found:
        headers["content-range"] = f"bytes {start}-{end - 1}/{file.size}"
    status = 206 if found else 200
    kind = TYPES.get(ending(uri), UNKNOWN)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=kind)
    return StreamingResponse(file.parts(start, end), status, headers, kind)


def ending(uri: str) -> str:
    """Return what stands after the last dot of a file's name; only an address on the web has more behind it.

    Examples
    --------
    >>> ending("/music/#1 hit.MP3"), ending("https://example.org/a.flac?token=b.c")
    ('mp3', 'flac')
    """
    name = re.split("[?#]", uri)[0] if uri.startswith(("http://", "https://")) else uri
    return PurePosixPath(name).suffix.lower().lstrip(".")


def byte_range(wanted: str, size: int) -> tuple[int, int] | None:
    """Return what a ``Range`` header asks for, as the first byte and the one after the last.

    Parameters
    ----------
    wanted : str
        The header; one range.
    size : int
        Bytes of the file.

    Returns
    -------
    tuple of int or None
        None for the whole file: there is no such header, or it is not understood, as the standard demands.

    Raises
    ------
    RangeOutside
        It begins after the file.

    Examples
    --------
    >>> byte_range("bytes=2-4", 10), byte_range("bytes=-3", 10), byte_range("bytes=8-99", 10)
    ((2, 5), (7, 10), (8, 10))
    """
    match = RANGE.fullmatch(wanted.strip())
    if not match or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        raise RangeOutside
    return start, end
