"""The map of all songs, as a page draws it: the places of all in one answer, and the names of a few at a time.

``/map`` answers in bytes, all numbers little-endian:

====================  ==================================================================================
``MAP1``              four letters
uint32 [2]            the number N of songs, and the length of the head in bytes, a multiple of four
head                  JSON: ``version`` of the lists, ``map`` version, ``genres`` by code: ``name`` and ``songs``
float32 [N, 2]        x and y of each song, in the order of the rows of the table; NaN for a song that is not on the map
uint8 [N]             code of its genre
uint8 [N]             1: a hub, plus 2: in no list, plus 4: there are several files of its recording
====================  ==================================================================================
"""

import json
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from musicrec.errors import ConfigError, SchemaError, UnknownTrack
from musicrec.files.parquet import open_dataset
from musicrec.files.paths import AnyPath
from musicrec.serve.service.followed_table import TABLE, OpenVersion
from musicrec.serve.sidecar import Sidecar
from musicrec.serve.sidecar_cache import local_version
from musicrec.store.pointer import parts_of
from musicrec.store.store import Store

MOST_GENRES = 10  # that have a code of their own
MOST_SONGS = 1000  # in an answer
NEIGHBOURS = 10
HUB = 5  # in so many times as many lists as there are songs in a list
IS_HUB, IS_ORPHAN, HAS_COPIES = 1, 2, 4


class _Packed(NamedTuple):
    tag: str
    content: bytes


class SongMap:
    """Answers about the map of one OUT.

    Parameters
    ----------
    store : Store
        OUT.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._packed = _Packed("", b"")
        self._lists: tuple[str, Sidecar] | None = None

    def points(self, opened: OpenVersion, request: Request) -> Response:
        """Return the places of all songs of a version of the table."""
        published = self._store.versions("map").published
        if published is None:
            return JSONResponse({"error": "OUT has no map; draw one: musicrec map OUT"}, 404)
        tag = f'"{opened.version}+{published}+{self._store.versions("recordings").published}"'
        how = {"etag": tag, "cache-control": "no-cache"}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=how)
        packed = self._packed
        if packed.tag != tag:
            folder = self._store.versions("map").root / published
            packed = self._packed = _Packed(tag, pack(opened.version, self._sidecar(opened), folder, self._copies()))
        return Response(packed.content, media_type="application/octet-stream", headers=how)

    def songs(self, opened: OpenVersion, request: Request) -> Any:  # noqa: ANN401 - JSON
        """Return the songs of some rows, or with some ids, each with the rows of its nearest."""
        asked = request.query_params
        if asked.get("version", opened.version) != opened.version:
            return JSONResponse({"error": f"version {opened.version} is served now; ask for /map again"}, 409)
        sidecar = self._sidecar(opened)
        rows = [_row(text, len(sidecar.neighbours)) for text in asked.get("rows", "").split(",") if text]
        for track_id in asked.getlist("id"):
            row = sidecar.row(track_id)
            if row is None:
                raise UnknownTrack(f"no song has the id {track_id!r}")
            rows.append(row)
        return [self._song(sidecar, row) for row in rows[:MOST_SONGS]]

    @staticmethod
    def _song(sidecar: Sidecar, row: int) -> dict[str, Any]:
        track_id, title, artist, genre = sidecar.texts.name(row)
        near = sidecar.neighbours[row, :NEIGHBOURS]
        return {"row": row, "track_id": track_id, "title": title, "artist": artist, "genre": genre,
                "similar": near[near >= 0].tolist()}  # fmt: skip

    def _sidecar(self, opened: OpenVersion) -> Sidecar:
        lists = self._lists
        if lists is None or lists[0] != opened.version:
            folder = self._store.versions(TABLE).root / opened.version
            lists = self._lists = opened.version, Sidecar(local_version(folder))
        return lists[1]

    def _copies(self) -> pa.Array:
        """Return the ids of the songs whose recording has several files."""
        if not self._store.exists("recordings"):
            return pa.array([], pa.string())
        rows = self._store.read("recordings", ["track_id", "recording"])
        copies = rows.filter(pc.not_equal(rows["track_id"], rows["recording"]))
        return pa.concat_arrays([*copies["track_id"].chunks, *copies["recording"].chunks, pa.array([], pa.string())])


def _row(text: str, n_songs: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < n_songs):
        raise ConfigError(f"rows = {text[:40]!r}; expected numbers below {n_songs}, with commas between them")
    return int(text)


def pack(version: str, sidecar: Sidecar, folder: AnyPath, copies: pa.Array) -> bytes:
    """Return the map as ``/map`` answers it.

    Parameters
    ----------
    version : str
        Version of the table of similar songs.
    sidecar : Sidecar
        Its songs and lists.
    folder : pathlib.Path or upath.UPath
        A version of the table ``map``.
    copies : pyarrow.Array
        Ids of the songs whose recording has several files.

    Returns
    -------
    bytes
        As the module says.
    """
    track_ids = sidecar.songs["track_id"].cast(pa.string())
    try:
        on_map = open_dataset(parts_of(folder)).to_table(columns=["track_id", "x", "y"]).combine_chunks()
    except (pa.ArrowException, OSError) as e:  # damaged, or removed by now
        raise SchemaError(f"the map in {folder} cannot be read: {e}".splitlines()[0]) from e
    row = pc.index_in(track_ids, value_set=on_map["track_id"].combine_chunks()).combine_chunks()
    places = np.stack([on_map[name].take(row).to_numpy() for name in ("x", "y")], axis=1)
    genres, codes = _genres(sidecar.songs["genre"].combine_chunks())
    head = json.dumps({"version": version, "map": folder.name, "genres": genres}, ensure_ascii=False).encode()
    head += b" " * (-len(head) % 4)
    flags = _list_flags(sidecar.neighbours)
    flags |= HAS_COPIES * pc.is_in(track_ids, value_set=copies).to_numpy().astype(np.uint8)
    sizes = np.array([len(places), len(head)], "<u4").tobytes()
    return b"".join([b"MAP1", sizes, head, places.astype("<f4").tobytes(), codes.tobytes(), flags.tobytes()])


def _genres(genres: pa.LargeStringArray) -> tuple[list[dict[str, Any]], NDArray[np.uint8]]:
    """Return the most frequent genres, then the rest and the songs without one; and the code of each song."""
    counts = genres.drop_null().value_counts().to_pylist()
    counts.sort(key=lambda count: (-count["counts"], count["values"]))
    named = [{"name": count["values"], "songs": count["counts"]} for count in counts[:MOST_GENRES]]
    known = pa.array([genre["name"] for genre in named], pa.large_string())
    code = pc.index_in(genres, value_set=known).fill_null(MOST_GENRES)
    code = pc.if_else(pc.is_null(genres), MOST_GENRES + 1, code).to_numpy()
    named += [{"name": "", "songs": 0}] * (MOST_GENRES - len(named))
    others = {"name": "other genres", "songs": sum(count["counts"] for count in counts[MOST_GENRES:])}
    return [*named, others, {"name": "no genre", "songs": genres.null_count}], code.astype(np.uint8)


def _list_flags(ids: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return which songs are hubs, and which are in no list."""
    counts = np.bincount(ids[ids >= 0], minlength=len(ids))
    is_hub = counts > HUB * max(1.0, counts.mean())
    return (IS_HUB * is_hub + IS_ORPHAN * (counts == 0)).astype(np.uint8)
