"""The requests of the service, and its answers."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from os import PathLike
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from musicrec import __version__
from musicrec.errors import ConfigError, MusicrecError, UnknownListener, UnknownTrack
from musicrec.files.paths import AnyPath
from musicrec.serve.explorer import PAGE, Page
from musicrec.serve.lookup import Song
from musicrec.serve.navidrome import plugin_answers
from musicrec.serve.playlist_songs import Listed
from musicrec.serve.service.access import BadRequest, content, login, refused
from musicrec.serve.service.audio_answer import audio
from musicrec.serve.service.explorer_answers import around, by_method, methods, number, playlist, starts
from musicrec.serve.service.followed_table import FollowedTable, OpenVersion
from musicrec.serve.service.map_points import SongMap
from musicrec.serve.service.openapi import openapi, page
from musicrec.serve.service.quick_lists import QuickLists
from musicrec.serve.service.request_counts import RequestCounts
from musicrec.serve.subsonic.rest import rest

Answer = Callable[[OpenVersion, Request], Any]


def application(
    out: str | PathLike[str] | AnyPath,
    token: str | None = None,
    *,
    is_explored: bool = False,
    password: str | None = None,
) -> Starlette:
    """Return the service over an OUT, for any ASGI server.

    Parameters
    ----------
    out : str or path-like
        OUT, a folder or an s3:// prefix.
    token : str, optional
        What each request must bring along, as ``Authorization: Bearer TOKEN``.
    is_explored : bool
        Whether to show the page of the explorer at ``/explore/`` and to send songs to its player.
    password : str, optional
        What music players must know, which then find an OpenSubsonic server at ``/rest/``.

    Raises
    ------
    ConfigError
        `out` is not an OUT, or cannot be read.
    SchemaError
        No table of similar songs is published.
    """
    followed, counts = FollowedTable(out, is_searched=is_explored or password is not None), RequestCounts()
    song_map = SongMap(followed.store)

    @asynccontextmanager
    async def following(_: Starlette) -> AsyncIterator[None]:
        followed.follow()
        yield
        followed.stop()

    def route(
        path: str, answer: Answer, *, is_slow: bool = False, of_version: bool = True, method: str = "GET"
    ) -> Route:
        kind = path.replace(":path", "")

        async def endpoint(request: Request) -> Response:
            start = time.perf_counter()
            opened = followed.current
            response = refused(request, token) or (_known(opened, request) if of_version else None)
            response = response or await _answered(opened, request, answer, is_slow=is_slow)
            if of_version and response.status_code == 200:
                response.headers["etag"] = _tag(opened)
            counts.add(kind, response.status_code, time.perf_counter() - start)
            return response

        return Route(path, endpoint, methods=[method])

    async def enter(request: Request) -> Response:
        if request.method == "GET":
            return JSONResponse({"is_let_in": refused(request, token) is None})
        try:
            return await login(request, token)
        except BadRequest as e:
            return _error(400, str(e))

    def status(opened: OpenVersion, _: Request) -> dict[str, Any]:
        return {
            "version": opened.version, "created_at": opened.created_at, "songs": len(opened.table),
            "collection": followed.collection, "musicrec": __version__, "problem": followed.problem,
            "has_map": followed.store.exists("map"),
        }  # fmt: skip

    def metrics(opened: OpenVersion, _: Request) -> Response:
        return PlainTextResponse(counts.text(opened.version, len(opened.table)))

    of_explorer = [
        route("/songs/{id:path}/around", around, is_slow=True),
        route("/songs/{id:path}/audio", audio, is_slow=True, of_version=False),
        route("/starts", starts, is_slow=True),
        route("/methods", methods, of_version=False),
        route("/methods/{method}", by_method, is_slow=True, of_version=False),
        route("/playlist", playlist, is_slow=True, of_version=False, method="POST"),
        Route("/login", enter, methods=["GET", "POST"]),
        Mount("/explore", Page(directory=PAGE, html=True)),
    ]
    return Starlette(
        routes=[
            *(of_explorer if is_explored else []),
            *([rest(followed, counts, password)] if password is not None else []),
            route("/songs", songs, is_slow=True),
            route("/songs/{id:path}/similar", similar),
            route("/songs/{id:path}", song),
            route("/recommend", recommend, is_slow=True),
            route("/users/{id:path}/recommendations", recommendations, is_slow=True, of_version=False),
            route("/map", song_map.points, is_slow=True, of_version=False),
            route("/map/songs", song_map.songs),
            *(
                route(f"/navidrome/{answer.__name__}", answer, is_slow=True, of_version=False, method="POST")
                for answer in (plugin_answers.similar, plugin_answers.path, plugin_answers.mix)
            ),
            route("/status", status, is_slow=True, of_version=False),
            route("/metrics", metrics, of_version=False),
            route("/openapi.json", lambda *_: openapi(), of_version=False),
            route("/", lambda *_: HTMLResponse(page()), of_version=False),
        ],
        middleware=[Middleware(QuickLists, followed=followed, counts=counts, token=token)],
        lifespan=following,
    )


async def _answered(opened: OpenVersion, request: Request, answer: Answer, *, is_slow: bool) -> Response:
    """Return the answer of one version, or why there is none."""
    try:
        if request.method == "POST":
            request.state.content = await content(request)
        found = await run_in_threadpool(answer, opened, request) if is_slow else answer(opened, request)
    except (UnknownTrack, UnknownListener) as e:
        return _error(404, opened.told(e))
    except (BadRequest, ConfigError) as e:
        return _error(400, opened.told(e))
    except MusicrecError as e:
        return _error(503, opened.told(e))
    return found if isinstance(found, Response) else JSONResponse(found)


def _tag(opened: OpenVersion) -> str:
    return f'"{opened.version}"'


def _known(opened: OpenVersion, request: Request) -> Response | None:
    """Return the answer to a client that has this version; None if it has not."""
    has_it = _tag(opened) in request.headers.get("if-none-match", "")
    return Response(status_code=304, headers={"etag": _tag(opened)}) if has_it else None


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": message}, status, headers)


# --- answers ------------------------------------------------------------------------------------------------------


def songs(opened: OpenVersion, request: Request) -> list[dict[str, Any]]:
    """Return the songs with some words in their names."""
    found = opened.table.search(request.query_params.get("q", ""), _n(request))
    return [song._asdict() for song in found]


def song(opened: OpenVersion, request: Request) -> dict[str, Any]:
    """Return a song."""
    return opened.table.song(request.path_params["id"])._asdict()


def similar(opened: OpenVersion, request: Request) -> list[dict[str, Any]]:
    """Return the songs most similar to a song."""
    found = opened.table.similar(request.path_params["id"], _n(request))
    return [_scored(rank, song, score) for rank, song, score in found]


def recommend(opened: OpenVersion, request: Request) -> list[dict[str, Any]]:
    """Return songs that are like some songs and unlike others."""
    likes, dislikes = (request.query_params.getlist(name) for name in ("like", "dislike"))
    return _listed(opened.playlists.like(likes, dislikes, _n(request)))


def recommendations(opened: OpenVersion, request: Request) -> list[dict[str, Any]]:
    """Return what is recommended to a listener."""
    return _listed(opened.playlists.of_user(request.path_params["id"], _n(request)))


def _n(request: Request) -> int:
    return number(request, "n", 10)


def _listed(found: list[Listed]) -> list[dict[str, Any]]:
    return [_scored(rank, song, score) for rank, (song, score) in enumerate(found, start=1)]


def _scored(rank: int, song: Song, score: float | None) -> dict[str, Any]:
    return {"rank": rank, **song._asdict(), "score": score}
