"""Who is answered: requests that bring the token, or the cookie that a browser got for it."""

import hmac
import json
import secrets

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from musicrec.errors import MusicrecError

MOST_BYTES = 1 << 20  # of what a request sends


class BadRequest(MusicrecError):  # noqa: N818 - reads as what happened
    """A request is not one that the service answers."""


def refused(request: Request, token: str | None) -> Response | None:
    """Return the answer to a request without the token; None if it has it, or needs none."""
    if token is None or brings_token(request.headers.get("authorization", ""), token):
        return None
    if _is(request.cookies.get(_name(request), ""), _pass(token)):
        return None
    return JSONResponse(
        {"error": "a token is needed: Authorization: Bearer TOKEN"}, 401, {"www-authenticate": "Bearer"}
    )


def brings_token(authorization: str, token: str) -> bool:
    """Return whether a header ``Authorization`` holds the token."""
    return _is(authorization.removeprefix("Bearer "), token)


async def login(request: Request, token: str | None) -> Response:
    """Give a browser a cookie for the token that it sends: players of pages cannot send headers.

    Scripts cannot read the cookie, and no other site can have it sent along. It does not hold the token.
    """
    given = (await content(request)).get("token", "")
    if token is None:
        return Response(status_code=204)
    if not isinstance(given, str) or not secrets.compare_digest(given.encode(), token.encode()):
        return JSONResponse({"error": "this is not the token"}, 401)
    response = Response(status_code=204)
    response.set_cookie(
        _name(request), _pass(token), httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
    return response


async def content(request: Request) -> dict[str, object]:
    """Return the JSON object that a request sends.

    Raises
    ------
    BadRequest
        It sends none, or one that is too large, or a text that is not Unicode.
    """
    try:
        found = json.loads(await body(request))
    except (ValueError, RecursionError) as e:
        raise BadRequest("expected a JSON object") from e
    if not isinstance(found, dict):
        raise BadRequest("expected a JSON object")
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError as e:  # JSON can spell half a character, which no answer and no file can hold
        raise BadRequest(f"the text holds {e.object[e.start]!a}, half a character; expected Unicode") from e
    return found


async def body(request: Request) -> bytes:
    """Return what a request sends.

    Raises
    ------
    BadRequest
        It is too large.
    """
    sent = bytearray()
    async for part in request.stream():
        sent += part
        if len(sent) > MOST_BYTES:
            raise BadRequest(f"over {MOST_BYTES:,} bytes; expected fewer")
    return bytes(sent)


def _is(given: str, wanted: str) -> bool:
    return secrets.compare_digest(given.encode("latin-1"), wanted.encode())  # as bytes


def _pass(token: str) -> str:
    return hmac.new(token.encode(), b"musicrec", "sha256").hexdigest()


def _name(request: Request) -> str:
    return f"musicrec-{request.url.port or ''}"  # browsers do not tell ports apart
