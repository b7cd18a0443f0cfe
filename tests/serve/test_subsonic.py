"""The OpenSubsonic server, asked as players ask; its XML and JSON are read by the parsers of the standard library."""

import hashlib
import json
import re
import time
from itertools import pairwise
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

import pytest

from musicrec import __version__
from musicrec.serve.subsonic import envelope, player_answers
from player_catalog import (
    ALL,
    COSINES,
    HERMIT,
    IDS,
    SOUND,
    TITLES,
    make_out,
    publish_catalog,
    publish_lists,
    publish_vectors,
)
from serving import ask, serving

pytestmark = pytest.mark.thorough  # each test starts a server

PASSWORD = "sesame ü &"
KEY = {"apiKey": PASSWORD}
NAMESPACE = "{http://subsonic.org/restapi}"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("players")
    make_out(folder)
    return folder


@pytest.fixture(scope="module")
def port(folder):
    with serving(folder / "out", password=PASSWORD) as port:
        yield port


def found(port, name, login=KEY, **parameters):
    """What an answer holds, as JSON."""
    status, content, headers = ask(port, f"/rest/{name}?{urlencode({**login, **parameters, 'f': 'json'})}")
    assert (status, headers["content-type"]) == (200, "application/json")
    (whole,) = json.loads(content).values()
    about = {key: whole.pop(key) for key in ("version", "type", "serverVersion", "openSubsonic")}
    assert about == {"version": "1.16.1", "type": "musicrec", "serverVersion": __version__, "openSubsonic": True}
    return whole


def found_in_xml(port, name, **parameters):
    """What an answer holds, as XML."""
    status, content, headers = ask(port, f"/rest/{name}?{urlencode({**KEY, **parameters})}")
    assert (status, headers["content-type"]) == (200, "application/xml")
    root = ElementTree.fromstring(content)
    assert root.tag == f"{NAMESPACE}subsonic-response"
    return root


def failed(port, name, code, login=KEY, **parameters):
    """Why there is no answer."""
    answer = found(port, name, login, **parameters)
    assert answer["status"] == "failed"
    assert answer["error"]["code"] == code
    assert "\n" not in answer["error"]["message"]
    root = found_in_xml(port, name, **parameters) if login is KEY else None
    if root is not None:
        assert root.get("status") == "failed"
        assert root.find(f"{NAMESPACE}error").attrib == {key: str(v) for key, v in answer["error"].items()}
    return answer["error"]["message"]


def token(password=PASSWORD, salt="c19b2d"):
    return {"u": "ann", "t": hashlib.md5((password + salt).encode()).hexdigest(), "s": salt}


# --- who is let in ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "login",
    [
        KEY, {"u": "ann", "p": PASSWORD}, {"u": "ann", "p": "enc:" + PASSWORD.encode().hex()},
        {"u": "ann", "p": "enc:" + PASSWORD.encode("latin-1").hex()}, token(),
        token() | {"t": token()["t"].upper()},
    ],
)  # fmt: skip
def test_whoever_knows_the_password_is_let_in(port, login):
    for name in ("ping", "ping.view"):
        assert found(port, name, login, v="1.13.0", c="test") == {"status": "ok"}
        status, content, _ = ask(port, f"/rest/{name}?f=json", "POST", urlencode(login).encode(), **FORM)
        assert (status, json.loads(content)["subsonic-response"]["status"]) == (200, "ok")


@pytest.mark.parametrize(
    ("login", "code"),
    [
        ({}, 10),
        ({"u": "ann"}, 10),
        ({"p": PASSWORD}, 10),
        ({"u": "", "p": PASSWORD}, 10),
        ({key: value for key, value in token().items() if key != "u"}, 10),
        ({key: value for key, value in token().items() if key != "s"}, 10),
        ({"u": "ann", "p": "wrong"}, 40),
        ({"u": "ann", "p": ""}, 40),
        ({"u": "ann", "p": "enc:zz"}, 40),
        ({"u": "ann", "p": "enc:ff"}, 40),
        ({"u": "ann", "p": "\udcff".encode("utf-8", "surrogatepass")}, 40),
        (token("wrong"), 40),
        (token() | {"s": "other"}, 40),
        (token() | {"t": ""}, 40),
        (token() | {"t": "ü"}, 40),
        (token() | {"p": PASSWORD}, 43),
        (KEY | {"u": "ann"}, 43),
        (KEY | token(), 43),
        ({"apiKey": "wrong"}, 44),
        ({"apiKey": ""}, 44),
        ({"apiKey": "ü" * 5000}, 44),
    ],
)
def test_nobody_else_is(port, login, code):
    message = failed(port, "ping", code, login)
    assert PASSWORD not in message
    failed(port, "stream", code, login, id="plain")
    failed(port, "nothing", code, login)


def test_a_login_by_a_header_is_not_known(port):
    _, content, _ = ask(port, "/rest/ping?f=json", Authorization=f"Bearer {quote(PASSWORD)}")
    assert json.loads(content)["subsonic-response"]["error"]["code"] == 42


def test_what_is_served_is_told_to_everybody(port):
    wanted = {"apiKeyAuthentication", "formPost", "sonicSimilarity"}
    listed = found(port, "getOpenSubsonicExtensions", {})["openSubsonicExtensions"]
    assert {extension["name"] for extension in listed} == wanted
    assert all(extension["versions"] == [1] for extension in listed)
    elements = found_in_xml(port, "getOpenSubsonicExtensions.view").findall(f"{NAMESPACE}openSubsonicExtensions")
    assert {element.get("name") for element in elements} == wanted
    assert [element.find(f"{NAMESPACE}versions").text for element in elements] == ["1"] * 3
    assert found(port, "tokenInfo")["tokenInfo"] == {"username": "musicrec"}


def test_the_token_of_the_service_and_the_password_of_players_are_two_things(folder):
    with serving(folder / "out", "other", password=PASSWORD) as port:
        assert found(port, "ping")["status"] == "ok"
        assert ask(port, "/songs/plain")[0] == 401
        failed(port, "ping", 44, {"apiKey": "other"})


def test_players_are_let_in_only_if_asked_for(folder):
    with serving(folder / "out") as port:
        assert ask(port, "/rest/ping")[0] == 404


# --- requests -----------------------------------------------------------------------------------------------------


def test_a_form_and_an_address_may_both_hold_parameters(port):
    body = urlencode({**KEY, "id": IDS[0], "f": "json"}).encode()
    content = ask(port, "/rest/getSong.view", "POST", body, **FORM)[1]
    assert json.loads(content)["subsonic-response"]["song"]["id"] == IDS[0]
    content = ask(port, f"/rest/getSong?id={quote(IDS[1])}", "POST", body, **FORM)[1]
    assert json.loads(content)["subsonic-response"]["song"]["id"] == IDS[1]
    content = ask(port, "/rest/getSong?f=json", "POST", body, **{"Content-Type": "text/plain"})[1]
    assert json.loads(content)["subsonic-response"]["error"]["code"] == 10


@pytest.mark.parametrize("body", [b"x" * ((1 << 20) + 1), b"&".join(b"a=1" for _ in range(1001))])
def test_a_form_that_is_too_large_is_one_line(port, body):
    status, content, _ = ask(port, "/rest/ping", "POST", body, **FORM)
    error = ElementTree.fromstring(content).find(f"{NAMESPACE}error")
    assert (status, error.get("code")) == (200, "0")
    assert "expected fewer" in error.get("message")


def test_bytes_that_are_no_text_break_nothing(port):
    for query in ("%ff%fe", b"\x00".hex(), "%00", "%ed%a0%80"):
        status, content, _ = ask(port, f"/rest/getSong?apiKey={quote(PASSWORD)}&id={query}")
        assert (status, ElementTree.fromstring(content).get("status")) == (200, "failed")


@pytest.mark.parametrize("form", ["yaml", "jsonp", "JSON", ""])
def test_an_unknown_form_is_told_in_xml(port, form):
    _, content, headers = ask(port, f"/rest/ping?{urlencode({**KEY, 'f': form})}")
    assert headers["content-type"] == "application/xml"
    assert "expected xml or json" in ElementTree.fromstring(content).find(f"{NAMESPACE}error").get("message")


def test_requests_that_are_not_served_say_so(port):
    assert "is not served" in failed(port, "getAlbumList2", 0)
    for name in ("star", "scrobble", "createPlaylist.view", "deleteUser", "setRating", "savePlayQueue"):
        assert "only reads" in failed(port, name, 50)
    assert ask(port, "/rest/a/b")[0] == 404
    assert "<script>" in failed(port, quote("<script>"), 0)


def test_answers_are_counted(port):
    found(port, "ping.view")
    failed(port, "nothing-of-the-kind", 0)
    lines = ask(port, "/metrics")[1].decode()
    assert re.search(r'requests_total\{request="/rest/ping",status="200"\} [1-9]', lines)
    assert re.search(r'requests_total\{request="/rest/\{name\}",status="200"\} [1-9]', lines)
    assert "nothing-of-the-kind" not in lines


def test_the_server_has_a_licence_and_one_folder(port):
    assert found(port, "getLicense")["license"] == {"valid": True}
    assert found_in_xml(port, "getLicense").find(f"{NAMESPACE}license").attrib == {"valid": "true"}
    assert found(port, "getMusicFolders")["musicFolders"]["musicFolder"] == [{"id": 1, "name": "Music"}]


# --- songs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("i", range(len(IDS)))
def test_a_song_has_what_the_catalog_says(port, i):
    title = TITLES[i] or "100%"
    song = found(port, "getSong", id=IDS[i])["song"]
    assert song == {
        "id": IDS[i], "isDir": False, "title": title, "album": f"Album {i}", "artist": f"Artist {i}",
        "displayArtist": f"Artist {i}", "size": len(SOUND[IDS[i]]), "duration": round(61.6 + i), "isVideo": False,
        "contentType": "audio/flac" if i == 2 else "audio/mpeg", "suffix": "flac" if i == 2 else "mp3",
        "type": "music", "mediaType": "song", "musicBrainzId": f"00000000-0000-0000-0000-00000000000{i}",
        "isrc": [f"DEAAA260000{i}"],
        **({"genre": "jazz", "genres": [{"name": "jazz"}, {"name": "<rock>"}]} if i else {"genres": []}),
    }  # fmt: skip
    element = found_in_xml(port, "getSong", id=IDS[i]).find(f"{NAMESPACE}song")
    assert (element.get("id"), element.get("title"), element.get("isDir")) == (IDS[i], title, "false")
    assert [child.text for child in element.findall(f"{NAMESPACE}isrc")] == song["isrc"]
    assert [child.attrib for child in element.findall(f"{NAMESPACE}genres")] == song["genres"]


@pytest.mark.parametrize("name", ["getSong", "getSonicSimilarTracks", "stream", "findSonicPath"])
@pytest.mark.parametrize("track_id", ["nobody", "", "../../etc/passwd", "/etc/passwd", "Hermit", "b #1?.mp3", "\x01"])
def test_an_unknown_id_is_not_found(port, name, track_id):
    """Names that people may use elsewhere are no ids."""
    ends = {"startSongId": "plain", "endSongId": track_id}
    assert "no song has the id" in failed(port, name, 70, **(ends if name == "findSonicPath" else {"id": track_id}))


@pytest.mark.parametrize("name", ["getSong", "getSonicSimilarTracks", "stream", "findSonicPath", "search3"])
def test_what_is_missing_is_named(port, name):
    assert "is missing" in failed(port, name, 10)


def test_a_song_that_left_the_catalog_still_has_its_names(tmp_path):
    out = make_out(tmp_path)
    left = [track for track in out.read("tracks").to_pylist() if track["track_id"] != "plain"]
    publish_catalog(out, left)
    with serving(out.out, password=PASSWORD) as port:
        song = found(port, "getSong", id="plain")["song"]
        assert (song["id"], song["title"]) == ("plain", TITLES[5])
        assert "contentType" not in song
        failed(port, "stream", 70, id="plain")


def test_characters_that_xml_cannot_hold_are_replaced():
    for form, wanted in (("xml", b'title="a\xef\xbf\xbdb"'), ("json", b'"title":"a\\u0001b"')):
        assert wanted in envelope.written({"song": {"title": "a\x01b"}}, form)


# --- search -------------------------------------------------------------------------------------------------------


def ids_of(answer):
    return [song["id"] for song in answer["searchResult3"]["song"]]


@pytest.mark.parametrize("query", ["", '""', " ", "*"])
def test_an_empty_query_answers_all_songs_page_by_page(port, query):
    assert ids_of(found(port, "search3", query=query)) == sorted(ALL)
    pages = [ids_of(found(port, "search3", query=query, songCount=4, songOffset=at)) for at in range(0, 16, 4)]
    assert [len(page) for page in pages] == [4, 4, 1, 0]
    assert [track_id for page in pages for track_id in page] == sorted(ALL)


def test_words_find_songs(port):
    assert ids_of(found(port, "search3", query="vibe")) == [IDS[6], IDS[0]]
    assert ids_of(found(port, "search3", query='"vibe*"', songCount=1)) == [IDS[6]]
    assert ids_of(found(port, "search3", query="vibe", songCount=1, songOffset=1)) == [IDS[0]]
    assert ids_of(found(port, "search3", query="שיר")) == [IDS[1]]
    assert ids_of(found(port, "search3", query="nothing of the kind")) == []
    assert ids_of(found(port, "search3", query="", songCount=0)) == []
    assert ids_of(found(port, "search3", query="", songOffset=10**17)) == []
    assert ids_of(found(port, "search3", query="", musicFolderId="2")) == []
    songs = found_in_xml(port, "search3", query="vibe").find(f"{NAMESPACE}searchResult3")
    assert [song.get("title") for song in songs] == [TITLES[6], TITLES[0]]


@pytest.mark.parametrize("count", ["-1", "two", "1.5", "²", "9" * 30, " 1", "0x1"])
def test_a_wrong_count_is_told(port, count):
    assert "expected a number" in failed(port, "search3", 0, query="", songCount=count)
    assert "expected a number" in failed(port, "search3", 0, query="", songOffset=count)
    assert "expected a number" in failed(port, "getSonicSimilarTracks", 0, id="plain", count=count)
    assert "expected a number" in failed(port, "findSonicPath", 0, startSongId=IDS[0], endSongId=IDS[1], count=count)


def test_an_answer_is_bounded_and_never_cut_silently(port, monkeypatch):
    monkeypatch.setattr(player_answers, "MOST_SONGS", 5)
    assert "expected at most 5" in failed(port, "search3", 0, query="", songCount=9)
    assert len(ids_of(found(port, "search3", query="", songCount=5))) == 5
    assert len(ids_of(found(port, "search3", query="", songCount=10**9, songOffset=4))) == 5


# --- what sounds alike --------------------------------------------------------------------------------------------


SHORT = [0, 2, 3, 4, 5, 7]  # the songs at the ends have the next but one in their lists, too


def matches(answer):
    return [(match["entry"]["id"], match["similarity"]) for match in answer["sonicMatch"]]


@pytest.mark.parametrize("i", range(len(ALL)))
def test_similar_songs_come_best_first_with_similarities_from_0_to_1(port, i):
    cosines = {ALL[j]: cosine for j, cosine in enumerate(COSINES[i].tolist()) if j != i}
    best = sorted(cosines, key=cosines.get, reverse=True)[:2]
    listed = matches(found(port, "getSonicSimilarTracks", id=ALL[i]))
    wanted = [max(0.0, cosines[other]) for other in best]
    assert [similarity for _, similarity in listed] == pytest.approx(wanted, abs=1e-6)
    assert {track_id for track_id, _ in listed} <= set(ALL) - {ALL[i]}
    assert (wanted == [0.0, 0.0]) == (ALL[i] == HERMIT)
    assert matches(found(port, "getSonicSimilarTracks", id=ALL[i], count=1)) == listed[:1]
    assert matches(found(port, "getSonicSimilarTracks", id=ALL[i], count=0)) == []
    assert matches(found(port, "getSonicSimilarTracks", id=ALL[i], count=10**9)) == listed
    elements = found_in_xml(port, "getSonicSimilarTracks", id=ALL[i]).findall(f"{NAMESPACE}sonicMatch")
    in_xml = [(e.find(f"{NAMESPACE}entry").get("id"), float(e.find(f"{NAMESPACE}similarity").text)) for e in elements]
    assert in_xml == listed


@pytest.mark.parametrize(
    ("count", "wanted"),
    [
        (25, range(8)),
        (8, range(8)),
        (7, SHORT),
        (6, SHORT),
        (5, [0, 2, 3, 5, 7]),
        (4, [0, 2, 5, 7]),
        (3, [0, 2, 7]),
        (2, [0, 7]),
    ],
)
def test_a_path_keeps_both_ends_and_is_cut_in_the_middle(port, count, wanted):
    listed = matches(found(port, "findSonicPath", startSongId=IDS[0], endSongId=IDS[7], count=count))
    assert [track_id for track_id, _ in listed] == [IDS[i] for i in wanted]
    steps = [1.0, *(max(0.0, COSINES[a, b]) for a, b in pairwise(wanted))]
    assert [similarity for _, similarity in listed] == pytest.approx(steps, abs=1e-6)


def test_the_ends_of_a_path_are_where_it_begins_and_ends(port):
    assert len(matches(found(port, "findSonicPath", startSongId=IDS[0], endSongId=IDS[7]))) == len(IDS)
    assert matches(found(port, "findSonicPath", startSongId="plain", endSongId="plain", count=1)) == [("plain", 1.0)]
    for count in (0, 1):
        assert "at least 2" in failed(port, "findSonicPath", 0, startSongId=IDS[0], endSongId=IDS[7], count=count)


def test_no_path_is_not_found(tmp_path):
    out = make_out(tmp_path)
    publish_lists(out, out.read("tracks").to_pylist(), 1)  # pairs of songs
    with serving(out.out, password=PASSWORD) as port:
        assert "no path leads" in failed(port, "findSonicPath", 70, startSongId=IDS[0], endSongId=IDS[7])


# --- files --------------------------------------------------------------------------------------------------------


def streamed(port, track_id, method="GET", name="stream", **headers):
    return ask(port, f"/rest/{name}?{urlencode({**KEY, 'id': track_id})}", method, **headers)


@pytest.mark.parametrize("track_id", ALL)
def test_a_song_is_streamed_as_it_is(port, track_id):
    content = SOUND[track_id]
    assert streamed(port, track_id)[:2] == (200, content)
    assert streamed(port, track_id, name="stream.view", Range="bytes=10-19")[:2] == (206, content[10:20])
    assert streamed(port, track_id, name="download", Range="bytes=-5")[:2] == (206, content[-5:])
    status, _, headers = streamed(port, track_id, Range="bytes=99999-")
    assert (status, headers["content-range"]) == (416, f"bytes */{len(content)}")
    status, sent, headers = streamed(port, track_id, "HEAD")
    assert (status, sent, int(headers["content-length"])) == (200, b"", len(content))
    body = urlencode({**KEY, "id": track_id, "maxBitRate": 128, "format": "mp3"}).encode()
    assert ask(port, "/rest/stream.view", "POST", body, Range="bytes=0-0", **FORM)[:2] == (206, content[:1])


def test_a_file_that_is_gone_is_not_found(port, folder):
    path = folder / "music" / "5 #1 100%?.mp3"
    content = path.read_bytes()
    path.unlink()
    try:
        assert failed(port, "stream", 70, id="plain") == "missing: there is no such file or object"
        assert found(port, "getSong", id="plain")["song"]["id"] == "plain"
        path.write_bytes(b"")
        assert failed(port, "stream", 0, id="plain") == "empty: no bytes, or no samples"
    finally:
        path.write_bytes(content)


def test_a_song_of_a_bucket_is_streamed_in_parts(tmp_path, s3):
    out, bucket, content = make_out(tmp_path), s3.bucket(), b"0123456789" * 150_000
    s3.filesystem().pipe_file(f"{bucket}/a b.mp3", content)
    tracks = out.read("tracks").to_pylist()
    next(track for track in tracks if track["track_id"] == "plain")["uri"] = f"s3://{bucket}/a b.mp3"
    publish_catalog(out, tracks)
    with serving(out.out, password=PASSWORD) as port:
        assert streamed(port, "plain")[:2] == (200, content)
        assert streamed(port, "plain", Range="bytes=1048570-1100000")[:2] == (206, content[1048570:1100001])
        s3.filesystem().rm_file(f"{bucket}/a b.mp3")
        assert failed(port, "stream", 70, id="plain") == "missing: there is no such file or object"


# --- publication and the command ----------------------------------------------------------------------------------


def test_a_new_version_is_served_and_a_rollback_too(tmp_path):
    out = make_out(tmp_path)
    tracks = out.read("tracks").to_pylist()
    with serving(out.out, password=PASSWORD) as port:
        assert found(port, "getSong", id="plain")["song"]["album"] == "Album 5"
        changed = [track | {"title": "New title", "album": "New album"} for track in tracks]
        publish_catalog(out, changed)
        publish_lists(out, changed, 3)
        deadline = time.monotonic() + 30
        while found(port, "getSong", id="plain")["song"]["title"] != "New title":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert found(port, "getSong", id="plain")["song"]["album"] == "New album"
        assert len(matches(found(port, "getSonicSimilarTracks", id="plain"))) == 3
        out.rollback("similar")
        while len(matches(found(port, "getSonicSimilarTracks", id="plain"))) != 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_path_goes_round_a_song_without_a_vector(tmp_path):
    out = make_out(tmp_path)
    publish_vectors(out, [track_id for track_id in ALL if track_id not in (HERMIT, IDS[2])])
    with serving(out.out, password=PASSWORD) as port:
        listed = matches(found(port, "findSonicPath", startSongId=IDS[0], endSongId=IDS[1]))
        assert [track_id for track_id, _ in listed] == IDS[:2]
        listed = matches(found(port, "findSonicPath", startSongId=IDS[3], endSongId=IDS[7]))
        assert [track_id for track_id, _ in listed] == IDS[3:]
        failed(port, "findSonicPath", 70, startSongId=IDS[0], endSongId=IDS[7])
        failed(port, "findSonicPath", 70, startSongId=IDS[0], endSongId=IDS[2])


def test_an_out_whose_vectors_are_gone_answers_all_but_paths(tmp_path):
    out = make_out(tmp_path)
    (out.out / "embeddings").unlink()
    with serving(out.out, password=PASSWORD) as port:
        failed(port, "findSonicPath", 0, startSongId=IDS[0], endSongId=IDS[7])
        assert len(matches(found(port, "getSonicSimilarTracks", id="plain"))) == 2


@pytest.mark.parametrize("token", [None, "of my own"])
def test_the_command_tells_the_password(folder, token, monkeypatch, command):
    started = {}
    monkeypatch.delenv("MUSICREC_TOKEN", raising=False)
    monkeypatch.setattr("musicrec.cli.service._run", lambda service, listening: listening.close())
    monkeypatch.setattr("musicrec.serve.service.application.application", lambda *_, **options: started.update(options))
    code, text, _ = command("serve", folder / "out", "--subsonic", "--port", 0, *(["--token", token] if token else []))
    assert code == 0
    if token:
        assert started["password"] == token
        assert token not in text
    else:
        assert started["password"] in text
        assert len(started["password"]) >= 16
    command("serve", folder / "out", "--port", 0)
    assert started["password"] is None
