"""Lists of similar songs, answered before anything else looks at the request: it is what services ask for most."""

import json
import time

from starlette.types import ASGIApp, Receive, Scope, Send

from musicrec.errors import UnknownTrack
from musicrec.serve.lookup import SimilarTable
from musicrec.serve.service.access import brings_token
from musicrec.serve.service.followed_table import FollowedTable, OpenVersion
from musicrec.serve.service.request_counts import RequestCounts

BEFORE, AFTER = "/songs/", "/similar"  # an id
KIND = "/songs/{id}/similar"
MOST_KEPT = 200_000  # songs whose texts are kept, some 200 bytes each
USUAL, MOST = 10, 1000  # songs in an answer


class ListTexts:
    """Lists of one version of the table as JSON. What is written of a song is kept for other lists.

    Parameters
    ----------
    table : SimilarTable
        The version.
    """

    def __init__(self, table: SimilarTable) -> None:
        self._table = table
        self._songs: dict[int, str] = {}  # by row

    def json(self, track_id: str, n: int) -> bytes:
        """Return the `n` songs that are most similar to the song with an id.

        Raises
        ------
        UnknownTrack
            No song has that id.
        """
        rows, scores = self._table.neighbours(track_id, n)
        found = rows.tolist()
        try:
            songs = [self._songs[row] for row in found]
        except KeyError:
            self._write(track_id, found)
            return self.json(track_id, n)
        lines = [
            f'{{"rank":{rank},{song},"score":{score!r}}}'
            for rank, (song, score) in enumerate(zip(songs, scores.tolist(), strict=True), 1)
        ]
        return f"[{','.join(lines)}]".encode()

    def _write(self, track_id: str, rows: list[int]) -> None:
        """Keep what is written of the songs of a list."""
        if len(self._songs) + len(rows) > MOST_KEPT:
            self._songs = {}
        for row, (_, song, _) in zip(rows, self._table.similar(track_id, len(rows)), strict=True):
            text = json.dumps(song._asdict(), ensure_ascii=False, separators=(",", ":"))
            self._songs[row] = text[1:-1]


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
        self._texts: tuple[OpenVersion, ListTexts] | None = None

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
        if self._texts is None or self._texts[0] is not opened:
            self._texts = opened, ListTexts(opened.table)
        try:
            return self._texts[1].json(path[len(BEFORE) : -len(AFTER)], n)
        except UnknownTrack:
            return None

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
