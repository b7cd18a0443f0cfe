"""What the explorer's page asks for beside the requests of every client."""

from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from musicrec.errors import ConfigError, SchemaError
from musicrec.serve.playlist_files import FORMATS, playlist_file
from musicrec.serve.service.access import BadRequest
from musicrec.serve.service.followed_table import OpenVersion

UNTOUCHED = "application/octet-stream"  # browsers save it as it is
MOST_LIKES = 5
MOST_SONGS = 5000  # of a playlist
MOST_LETTERS = 200  # of its name


class Method(NamedTuple):
    """A way to recommend songs to somebody who likes some."""

    title: str
    about: str
    how: dict[str, Any]  # for Recommender.recommend
    is_distance: bool = False  # its scores are minus distances


METHODS = {
    "table": Method("The table", "The cosine in the spaces of the published table", {"by": "table"}),
    "method-1": Method("Method 1", "The cosine of the model’s vectors", {"by": "embedding"}),
    "method-2": Method("Method 2", "That cosine, and how far the genres agree", {"by": "embedding", "method": "genre"}),
    "knn": Method("KNN", "The distance of all features", {"by": "knn"}, True),
    "clustering": Method(
        "Clustering", "The distance in the plane of two principal components", {"by": "clustering"}, True
    ),
}


def around(opened: OpenVersion, request: Request) -> dict[str, Any]:
    """Return a song, its list, and what each of several spaces contributes to the scores."""
    table, n = opened.table, number(request, "n", 20)
    song = table.song(request.path_params["id"])
    shares: dict[str, Any] = {}
    with suppress(SchemaError):  # a list without its reasons is still a list
        shares = table.shares(song.track_id, n)
    return {
        "song": song._asdict(),
        "similar": [
            {"rank": rank, **other._asdict(), "score": score,
             "because": {name: round(float(of_space[rank - 1]), 3) for name, of_space in shares.items()}}
            for rank, other, score in table.similar(song.track_id, n)
        ],
    }  # fmt: skip


def starts(opened: OpenVersion, request: Request) -> dict[str, Any]:
    """Return songs to begin with: any, the hubs that stand in most lists, and orphans, which stand in none."""
    n = number(request, "n", 8)
    rng = np.random.default_rng(number(request, "seed", 0, 2**31, least=0))
    counts, table = opened.counts, opened.table
    hubs = np.argsort(-counts, kind="stable")[:n]
    orphans = np.flatnonzero(counts == 0)

    def listed(rows: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - an array
        return [table.song(table.track_id(int(row)))._asdict() | {"lists": int(counts[row])} for row in rows]

    return {
        "songs": listed(rng.choice(len(table), min(n, len(table)), replace=False)),
        "hubs": listed(hubs[counts[hubs] > 0]),
        "orphans": listed(rng.permutation(orphans)[:n]),
        "n_orphans": len(orphans),
    }


def methods(_: OpenVersion, __: Request) -> list[dict[str, Any]]:
    """Return the ways to recommend."""
    return [{"name": name, **method._asdict()} for name, method in METHODS.items()]


def by_method(opened: OpenVersion, request: Request) -> dict[str, Any]:
    """Return what a way recommends, with the liked song that each song is most like; or why this OUT cannot do it."""
    name, likes = request.path_params["method"], request.query_params.getlist("like")
    if name not in METHODS:
        raise BadRequest(f"no method {name!r}; expected one of {', '.join(METHODS)}")
    if not 1 <= len(likes) <= MOST_LIKES:
        raise BadRequest(f"{len(likes)} liked songs; expected 1 to {MOST_LIKES}")
    n = number(request, "n", 5)
    try:
        found = opened.recommender.recommend(likes, n, **METHODS[name].how)
    except (SchemaError, ConfigError) as e:  # a table or a space that this way reads is not there
        return {"recommended": [], "why_not": opened.why_no_vectors(METHODS[name].how["by"]) or opened.told(e)}
    recommended = [
        {"rank": rank, **song._asdict(), "score": score, "because": because._asdict()}
        for rank, song, score, because in found
    ]
    return {"recommended": recommended, "why_not": None}


def playlist(opened: OpenVersion, request: Request) -> Response:
    """Return a playlist of some songs as a file; it may lie anywhere, so songs on this machine have whole paths."""
    name, form, ids = (request.state.content.get(key) for key in ("name", "format", "songs"))
    if form not in [ending.lstrip(".") for ending in FORMATS]:
        raise BadRequest(f"format {form!r}; expected {', '.join(FORMATS).replace('.', '')}")
    if not isinstance(name, str) or not 1 <= len(name.strip()) <= MOST_LETTERS:
        raise BadRequest(f"expected a name of 1 to {MOST_LETTERS} letters")
    if not isinstance(ids, list) or not 1 <= len(ids) <= MOST_SONGS or not all(isinstance(i, str) for i in ids):
        raise BadRequest(f"expected the ids of 1 to {MOST_SONGS} songs")
    lines = opened.playlists.as_given(ids)
    entries = opened.playlists.entries([line.song for line in lines])
    content = playlist_file(Path(f"playlist.{form}"), name.strip(), entries, is_placed=False)
    headers = {"content-disposition": f"attachment; filename*=UTF-8''{quote(name.strip(), safe='')}.{form}"}
    return Response(content, headers=headers, media_type=UNTOUCHED)


def number(request: Request, name: str, otherwise: int, most: int = 1000, *, least: int = 1) -> int:
    """Return a number of the request.

    Raises
    ------
    BadRequest
        It is none, or outside its bounds.
    """
    text = request.query_params.get(name, str(otherwise))
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and least <= int(text) <= most):
        raise BadRequest(f"{name} = {text}; expected a number from {least} to {most}")
    return int(text)
