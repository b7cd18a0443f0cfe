"""The map over HTTP: all points in one answer, names by row, and nothing sent that the client has."""

import asyncio
import json
import struct
from http import HTTPStatus
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pytest

from musicrec.schemas import MAP, RECORDINGS, TRACKS
from musicrec.serve.service.application import application
from musicrec.serve.service.map_points import HAS_COPIES, IS_HUB, IS_ORPHAN
from musicrec.serve.sidecar import SIDECAR_COLUMNS
from musicrec.serve.table_writer import write_table
from musicrec.settings import CatalogSettings, DuplicatesSettings, MapSettings, SimilarSettings

N = 40
HTML = "<script>alert(1)</script>"
GENRES = [None, *(f"genre {k}" for k in range(13))]
SONGS = [
    {
        "track_id": f"a/song {i:02d}?",
        "title": HTML if i == 3 else f"שיר {i}",
        "artist": None,
        "genre": GENRES[min(i, 13)],
    }
    for i in range(N)
]
IDS = [song["track_id"] for song in SONGS]
LISTS = np.array([[0 if i else 1, 2 + i % 3, -1] for i in range(N)], np.int32)  # song 0 is in almost all lists


def publish(store, table, rows, schema, settings, made_of):
    with store.new_version(table, settings, made_of) as version:
        version.write_part(pa.Table.from_pylist(rows, schema))
        store.publish(version)


def publish_lists(store, made_of="1" * 16, songs=SONGS):
    names = pa.Table.from_pylist(songs, pa.schema([TRACKS.field(name) for name in SIDECAR_COLUMNS]))
    lists = LISTS[: len(songs)]
    with store.new_version("similar", SimilarSettings(), made_of) as version:
        write_table(version, names, lists, np.where(lists >= 0, 0.5, -np.inf).astype(np.float32))
        store.publish(version, keep=3)


def publish_map(store, ids, made_of="2" * 16):
    rows = [{"track_id": t, "x": i + 0.5, "y": -i / 3, "is_added": False} for i, t in enumerate(ids)]
    publish(store, "map", rows, MAP, MapSettings(), made_of)
    return {row["track_id"]: (row["x"], row["y"]) for row in rows}


@pytest.fixture
def out(store):
    store.settings.record(CatalogSettings(source="/music"))
    publish_lists(store)
    return store


def get(app, path, **headers):
    """Ask the application itself; return status, headers and body."""
    path, _, query = path.partition("?")
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": query.encode(),
        "headers": [(name.lower().replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        "root_path": "", "scheme": "http", "server": ("test", 80), "client": ("test", 1), "http_version": "1.1",
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:])


def unpack(body):
    """Read the bytes as their description says, number by number."""
    assert body[:4] == b"MAP1"
    n, length = struct.unpack_from("<2I", body, 4)
    at = 12 + length
    assert at % 4 == 0
    places = [struct.unpack_from("<2f", body, at + 8 * i) for i in range(n)]
    codes, flags = (body[at + start * n : at + (start + 1) * n] for start in (8, 9))
    assert len(body) == at + 10 * n
    return json.loads(body[12:at]), places, list(codes), list(flags)


def test_all_points_are_those_of_the_table_in_the_order_of_its_rows(out):
    publish(out, "recordings", [{"track_id": IDS[5], "recording": IDS[4], "score": 0.1, "speed": 1.0, "offset_s": 0.0},
                                {"track_id": IDS[4], "recording": IDS[4], "score": 0.0, "speed": 1.0, "offset_s": 0.0}],
            RECORDINGS, DuplicatesSettings(), "3" * 16)  # fmt: skip
    where = publish_map(out, ["gone", *IDS[:-2]])
    status, headers, body = get(application(out.out), "/map")
    assert (status, headers["content-type"]) == (HTTPStatus.OK, "application/octet-stream")
    head, places, codes, flags = unpack(body)
    assert head["version"] == out.path("similar").name
    for track_id, place in zip(IDS[:-2], places, strict=False):
        assert place == pytest.approx(where[track_id])
    assert np.isnan(places[-2:]).all()
    genres = [genre["name"] for genre in head["genres"]]
    assert genres == ["genre 12", *sorted(f"genre {k}" for k in range(12))[:9], "other genres", "no genre"]
    assert [genre["songs"] for genre in head["genres"]] == [codes.count(code) for code in range(12)]
    for song, code in zip(SONGS, codes, strict=True):
        wanted = "no genre" if song["genre"] is None else song["genre"]
        assert genres[code] == (wanted if wanted in genres else "other genres")
    counts = [sum(i in near for near in LISTS.tolist()) for i in range(N)]
    for i in range(N):
        is_hub = counts[i] > 5 * sum(counts) / N
        wanted = IS_HUB * is_hub + IS_ORPHAN * (counts[i] == 0) + HAS_COPIES * (i in (4, 5))
        assert flags[i] == wanted
    assert flags[0] & IS_HUB
    assert flags[N - 1] == IS_ORPHAN


def test_of_ten_thousand_genres_the_largest_have_a_colour_of_their_own(store):
    store.settings.record(CatalogSettings(source="/music"))
    songs = [{"track_id": f"{i:05d}", "title": None, "artist": None, "genre": f"genre {max(i - 3, 0):05d}"}
             for i in range(10_003)]  # fmt: skip
    names = pa.Table.from_pylist(songs, pa.schema([TRACKS.field(name) for name in SIDECAR_COLUMNS]))
    near = (np.arange(len(songs), dtype=np.int32)[:, None] + 1) % len(songs)
    with store.new_version("similar", SimilarSettings(), "1" * 16) as version:
        write_table(version, names, near, np.full(near.shape, 0.5, np.float32))
        store.publish(version)
    publish_map(store, [song["track_id"] for song in songs])
    head, _, codes, _ = unpack(get(application(store.out), "/map")[2])
    assert len(head["genres"]) == 12
    assert head["genres"][0] == {"name": "genre 00000", "songs": 4}
    assert head["genres"][10] == {"name": "other genres", "songs": 9_990}
    assert codes.count(10) == 9_990
    status, _, found = get(application(store.out), "/songs?q=09999&n=5")
    assert (status, [song["track_id"] for song in json.loads(found)]) == (HTTPStatus.OK, ["09999"])


def test_without_a_map_one_line_names_the_command(out):
    status, _, body = get(application(out.out), "/map")
    said = json.loads(body)["error"]
    assert (status, said) == (404, "OUT has no map; draw one: musicrec map OUT")


def test_a_damaged_map_is_told_in_one_line(out):
    publish_map(out, IDS)
    (part,) = out.path("map").rglob("*.parquet")
    part.write_bytes(part.read_bytes()[:200])
    status, _, body = get(application(out.out), "/map")
    assert status == HTTPStatus.SERVICE_UNAVAILABLE
    assert "cannot be read" in json.loads(body)["error"]
    assert get(application(out.out), "/map/songs?rows=" + "9" * 5000)[0] == HTTPStatus.BAD_REQUEST


def test_a_map_that_the_client_has_is_not_sent_again_and_a_new_one_is(out):
    publish_map(out, IDS)
    app = application(out.out)
    _, headers, _ = get(app, "/map")
    assert get(app, "/map", If_None_Match=headers["etag"])[::2] == (304, b"")
    publish_map(out, IDS[1:], made_of="4" * 16)
    status, newer, body = get(app, "/map", If_None_Match=headers["etag"])
    assert (status, newer["etag"] != headers["etag"]) == (200, True)
    assert np.isnan(unpack(body)[1][0]).all()


def test_songs_are_found_by_row_and_by_id(out):
    app = application(out.out)
    status, headers, body = get(app, f"/map/songs?rows=3,0&id={quote(IDS[1])}")
    assert (status, headers["etag"]) == (200, f'"{out.path("similar").name}"')
    found = json.loads(body)
    assert [song["row"] for song in found] == [3, 0, 1]
    for song in found:
        near = [row for row in LISTS[song["row"]].tolist() if row >= 0]
        assert song == {**SONGS[song["row"]], "row": song["row"], "similar": near}
    assert found[0]["title"] == HTML  # as text: the page shows it as such


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("id=nobody", 404, "no song has the id 'nobody'"),
        ("id=..%2f..%2fetc%2fpasswd", 404, "no song has the id '../../etc/passwd'"),
        (f"rows={N}", 400, f"rows = '{N}'; expected numbers below {N}"),
        ("rows=1,two", 400, "rows = 'two'"),
        ("rows=-1", 400, "rows = '-1'"),
        ("rows=%C2%B2", 400, "rows = '²'"),
        ("rows=0&version=00000-other", 409, "is served now; ask for /map again"),
    ],
)
def test_a_wrong_request_gets_one_line_that_says_why(out, query, status, said):
    code, _, body = get(application(out.out), f"/map/songs?{query}")
    assert code == status
    assert said in json.loads(body)["error"]
    assert "\n" not in json.loads(body)["error"]


def test_rows_are_of_the_version_that_is_served(out):
    app = application(out.out)
    version = out.path("similar").name
    assert get(app, f"/map/songs?rows=0&version={version}")[0] == 200


def test_only_who_has_the_token_sees_the_map(out):
    publish_map(out, IDS)
    app = application(out.out, token="geheim")
    assert get(app, "/map")[0] == get(app, "/map/songs?rows=0")[0] == 401
    assert get(app, "/map", Authorization="Bearer geheim")[0] == 200
