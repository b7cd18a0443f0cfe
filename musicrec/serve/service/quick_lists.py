"""Lists of similar songs, answered before anything else looks at the request: it is what services ask for most."""

import time
from collections.abc import Iterable
from json.encoder import encode_basestring

from starlette.types import ASGIApp, Receive, Scope, Send

from musicrec.serve.lookup import Similar
from musicrec.serve.service.access import brings_token
from musicrec.serve.service.followed_table import FollowedTable, OpenVersion
from musicrec.serve.service.request_counts import RequestCounts

BEFORE, AFTER = "/songs/", "/similar"  # an id
KIND = "/songs/{id}/similar"
USUAL, MOST = 10, 1000  # songs in an answer


def list_json(found: Iterable[Similar]) -> bytes:
    """Return a list as the application writes it, in a fifth of the time of a general encoder.

    Parameters
    ----------
    found : iterable of Similar
        Rank, song and score of each.

    Returns
    -------
    bytes
        JSON in UTF-8.

    Examples
    --------
    >>> from musicrec.serve.lookup import Similar, Song
    >>> print(list_json([Similar(1, Song("b.mp3", "Bells", None, None), 0.5)]).decode())
    [{"rank":1,"track_id":"b.mp3","title":"Bells","artist":null,"genre":null,"score":0.5}]
    """
    lines = [
        f'{{"rank":{rank},"track_id":{_written(track_id)},"title":{_written(title)},"artist":{_written(artist)},'
        f'"genre":{_written(genre)},"score":{score!r}}}'
        for rank, (track_id, title, artist, genre), score in found
    ]
    return f"[{','.join(lines)}]".encode()


def _written(text: str | None) -> str:
    return "null" if text is None else encode_basestring(text)


class QuickLists:
    """Answers plain requests for the list of a song; all others go on to the application.

    An answer is the one that the application would give, to the byte.

    Parameters
    ----------
    app : ASGI application
        What answers all other requests.
    followed : FollowedTable
        What is published.
    counts : RequestCounts
        Where answers are counted.
    token : str, optional
        What each request must bring along.
    """

    def __init__(self, app: ASGIApp, followed: FollowedTable, counts: RequestCounts, token: str | None) -> None:
        self._app, self._followed, self._counts, self._token = app, followed, counts, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        start, opened = time.perf_counter(), self._followed.current
        body = self._list(scope, opened) if scope["type"] == "http" else None
        if body is None:
            await self._app(scope, receive, send)
            return
        headers = [
            (b"content-length", b"%d" % len(body)),
            (b"content-type", b"application/json"),
            (b"etag", b'"%b"' % opened.version.encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self._counts.add(KIND, 200, time.perf_counter() - start)

    def _list(self, scope: Scope, opened: OpenVersion) -> bytes | None:
        """Return the list that is asked for; None if the request is of another kind, or is not answered by a list."""
        path: str = scope["path"]
        if scope["method"] != "GET" or not (path.startswith(BEFORE) and path.endswith(AFTER)):
            return None
        n = _number(scope["query_string"])
        if n is None or not self._is_plain(dict(scope["headers"])):
            return None
        track_id = path[len(BEFORE) : -len(AFTER)]
        return list_json(opened.table.similar(track_id, n)) if track_id in opened.table else None

    def _is_plain(self, headers: dict[bytes, bytes]) -> bool:
        """Return whether a request brings what it must, and names no version that it has."""
        if b"if-none-match" in headers:
            return False
        return self._token is None or brings_token(headers.get(b"authorization", b"").decode("latin-1"), self._token)


def _number(query: bytes) -> int | None:
    """Return how many songs a query asks for; None if it asks for anything else."""
    if not query:
        return USUAL
    name, _, value = query.partition(b"=")
    is_number = name == b"n" and value.isdigit() and len(value) <= len(str(MOST)) and 1 <= int(value) <= MOST
    return int(value) if is_number else None
