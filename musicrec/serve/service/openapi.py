"""The description of the service: OpenAPI, and a page for people."""

from html import escape
from typing import Any, NamedTuple

from musicrec import __version__

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
BYTES: Schema = {"type": "string", "format": "binary"}
MAYBE: Schema = {"type": ["string", "null"]}
SONG: Schema = {
    "type": "object",
    "properties": {"track_id": TEXT, "title": MAYBE, "artist": MAYBE, "genre": MAYBE},
}
ON_MAP: Schema = {
    "type": "object",
    "properties": {
        **SONG["properties"],
        "row": {"type": "integer"},
        "similar": {"type": "array", "items": {"type": "integer"}},
    },
}
SCORED: Schema = {
    "type": "object",
    "properties": {**SONG["properties"], "rank": {"type": "integer"}, "score": {"type": ["number", "null"]}},
}


class Parameter(NamedTuple):
    """What a request may say after its question mark."""

    about: str
    schema: Schema
    is_required: bool = False


class Request(NamedTuple):
    """One kind of request."""

    about: str
    parameters: dict[str, Parameter]
    answer: Schema
    body: Schema | None = None  # of a request that is sent by POST


SONG_REF: Schema = {
    "type": "object",
    "description": "A song as plug-ins of Navidrome know it; a SongRef.",
    "properties": {
        **dict.fromkeys(("id", "name", "mbid", "isrc", "artist", "album"), TEXT),
        "artists": {"type": "array", "items": {"type": "object", "properties": {"name": TEXT}}},
        "duration": {"type": "number"},
        "durationMs": {"type": "integer"},
    },
}
COUNT: Schema = {"type": "integer", "minimum": 1}
MATCHES: Schema = {
    "type": "object",
    "properties": {
        "matches": {
            "type": "array",
            "items": {"type": "object", "properties": {"song": SONG_REF, "similarity": {"type": "number"}}},
        }
    },
}
ID = Parameter("Id of a song, percent-encoded.", TEXT, is_required=True)
N = Parameter("Most songs in the answer.", {"type": "integer", "minimum": 1, "default": 10})
LIKE = {"type": "array", "items": TEXT}
REQUESTS = {
    "/songs": Request(
        "Songs that have every word of q in their id, artist or title, in order of id.",
        {"q": Parameter("Words; without it, all songs.", TEXT), "n": N},
        {"type": "array", "items": SONG},
    ),
    "/songs/{id}": Request("A song.", {"id": ID}, SONG),
    "/songs/{id}/similar": Request(
        "The songs most similar to a song, best first.", {"id": ID, "n": N}, {"type": "array", "items": SCORED}
    ),
    "/recommend": Request(
        "Songs that are like some songs, and unlike others.",
        {
            "like": Parameter("Id of a liked song; may be repeated.", LIKE, is_required=True),
            "dislike": Parameter("Id of a disliked song; may be repeated.", LIKE),
            "n": N,
        },
        {"type": "array", "items": SCORED},
    ),
    "/users/{id}/recommendations": Request(
        "What the table recommendations holds for a listener, best first.",
        {"id": Parameter("Id of the listener.", TEXT, is_required=True), "n": N},
        {"type": "array", "items": SCORED},
    ),
    "/map": Request(
        "The places of all songs on the map, as numbers; musicrec.serve.service.map_points says how they stand.",
        {},
        BYTES,
    ),
    "/map/songs": Request(
        "Songs by their rows in /map or by their ids, each with its row and the rows of the songs most similar to it.",
        {
            "rows": Parameter("Rows, with commas between them.", TEXT),
            "id": Parameter("Id of a song; may be repeated.", LIKE),
            "version": Parameter(
                "Version that the rows are of; if another one is served now, the answer is 409.", TEXT
            ),
        },
        {"type": "array", "items": ON_MAP},
    ),
    "/navidrome/similar": Request(
        "The songs most similar to a song that is named as Navidrome does, for its plug-in.",
        {},
        MATCHES,
        {"type": "object", "properties": {"song": SONG_REF, "count": COUNT}, "required": ["song", "count"]},
    ),
    "/navidrome/path": Request(
        "A path from one such song to another, both among them.",
        {},
        MATCHES,
        {
            "type": "object",
            "properties": {"startSong": SONG_REF, "endSong": SONG_REF, "count": COUNT},
            "required": ["startSong", "endSong", "count"],
        },
    ),
    "/navidrome/mix": Request(
        "Songs for an instant mix that begins with such a song.",
        {},
        {"type": "object", "properties": {"songs": {"type": "array", "items": SONG_REF}}},
        {**SONG_REF, "properties": {**SONG_REF["properties"], "count": COUNT}, "required": ["count"]},
    ),
    "/status": Request("Which version is served, since when, and how many songs it has.", {}, {"type": "object"}),
    "/metrics": Request("Counts of answers, for Prometheus.", {}, TEXT),
}


def openapi() -> Schema:
    """Return the description of all requests, as OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "musicrec", "version": __version__},
        "paths": {path: {_method(request): _operation(path, request)} for path, request in REQUESTS.items()},
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _method(request: Request) -> str:
    return "get" if request.body is None else "post"


def _operation(path: str, request: Request) -> Schema:
    kinds = {id(TEXT): "text/plain", id(BYTES): "application/octet-stream"}
    kind = kinds.get(id(request.answer), "application/json")
    sent = {} if request.body is None else {"requestBody": _content("application/json", request.body)}
    return {
        "summary": request.about,
        **sent,
        "parameters": [
            {
                "name": name,
                "in": "path" if f"{{{name}}}" in path else "query",
                "description": parameter.about,
                "required": parameter.is_required,
                "schema": parameter.schema,
            }
            for name, parameter in request.parameters.items()
        ],
        "responses": {"200": {"description": "The answer.", **_content(kind, request.answer)}},
    }


def _content(kind: str, schema: Schema) -> Schema:
    return {"content": {kind: {"schema": schema}}}


def page() -> str:
    """Return a page that lists all requests."""
    rows = "".join(
        f"<tr><td><code>{_shown(path, request)}</code><td>{escape(request.about)}<td>{_listed(request)}"
        for path, request in REQUESTS.items()
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>musicrec</title>'
        '<meta name="viewport" content="width=device-width"><style>body{font:16px/1.5 system-ui;margin:2rem auto;'
        "max-width:60rem;padding:0 1rem;color-scheme:light dark}td,th{text-align:left;vertical-align:top;"
        "padding:.3rem 1rem .3rem 0}div{overflow-x:auto}</style><main><h1>musicrec</h1><p>Similar songs over HTTP; "
        'nothing is changed. Machines read <a href="openapi.json">openapi.json</a>.</p><div tabindex="0"><table><thead>'
        f"<tr><th>request<th>answer<th>parameters<tbody>{rows}</table></div></main></html>"
    )


def _shown(path: str, request: Request) -> str:
    return escape(path if request.body is None else f"POST {path}")


def _listed(request: Request) -> str:
    return "<br>".join(f"<code>{name}</code> {escape(p.about)}" for name, p in request.parameters.items())
