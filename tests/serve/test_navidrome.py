"""What the plug-in for Navidrome asks: songs are found by what Navidrome knows of them, and told in its words."""

import json

import pytest

from musicrec.serve.catalog_facts import CatalogFacts
from musicrec.serve.navidrome.song_ref import SongRef, find, read_ref
from musicrec.serve.service.access import BadRequest
from player_catalog import ALL, COSINES, IDS, TITLES, make_out, publish_catalog
from serving import ask, serving

pytestmark = pytest.mark.thorough  # starts a server


def ref(i, **changed):
    """What Navidrome says of a song; its ids are its own."""
    return {
        "id": f"nd{i}", "name": TITLES[i], "artist": f"Artist {i}", "album": f"Album {i}", "duration": 61.6 + i,
        "mbid": "", "isrc": "",
    } | changed  # fmt: skip


def asked(port, name, content, status=200, **headers):
    code, found, _ = ask(port, f"/navidrome/{name}", "POST", content, **headers)
    assert code == status
    return json.loads(found)


def test_similar_songs_are_told_in_navidromes_words(navidrome_port):
    found = asked(navidrome_port, "similar", {"song": ref(5), "count": 5})["matches"]
    best = sorted((4, 6), key=lambda j: -COSINES[5, j])
    assert {match["song"]["id"] for match in found} == {IDS[j] for j in best}
    assert [match["similarity"] for match in found] == pytest.approx([COSINES[5, j] for j in best], abs=1e-6)
    song = next(match["song"] for match in found if match["song"]["id"] == IDS[4])
    assert song == {
        "id": IDS[4], "name": TITLES[4], "artist": "Artist 4", "album": "Album 4", "duration": pytest.approx(65.6),
        "durationMs": 65600, "mbid": "00000000-0000-0000-0000-000000000004", "isrc": "DEAAA2600004",
    }  # fmt: skip
    assert len(asked(navidrome_port, "similar", {"song": ref(5), "count": 1})["matches"]) == 1
    assert asked(navidrome_port, "mix", ref(5, count=5)) == {"songs": [match["song"] for match in found]}


def test_a_path_keeps_both_ends(navidrome_port):
    found = asked(navidrome_port, "path", {"startSong": ref(0), "endSong": ref(7), "count": 4})["matches"]
    assert [match["song"]["id"] for match in found] == [IDS[0], IDS[2], IDS[5], IDS[7]]
    assert found[0]["similarity"] == 1
    steps = [COSINES[0, 2], max(0, COSINES[2, 5]), COSINES[5, 7]]
    assert [match["similarity"] for match in found[1:]] == pytest.approx(steps, abs=1e-6)


def test_a_song_without_title_has_the_name_of_its_file(navidrome_port):
    found = asked(navidrome_port, "similar", {"song": ref(1), "count": 5})["matches"]
    assert {match["song"]["name"] for match in found} == {TITLES[0], "100%"}


FAMILY = [  # of one catalog: id, title, artist, album, seconds, recording, ISRC
    ("one", "Ça va", "Ann, Ben", "First", 100.0, "aa-1", "DEAAA2600001"),
    ("two", "ca VA", "Ann", "Second", 200.0, "aa-2", None),
    ("three", "Ca va", "Ann", "Second", 230.0, None, "DEAAA2600003"),
    ("four", "Ca va", "Zoe", "Second", 231.0, None, None),
    ("five", "Line\nCa va", "Ann", None, None, None, None),
    ("six", "Hello", "Earth, Wind & Fire", None, None, "aa-2", None),
    ("seven", None, None, None, None, None, None),
    ("gone", "Ca va", "Ann", "Third", 300.0, "aa-9", None),
]
SAID = [
    ({"id": "two", "mbid": "aa-1"}, "two"),
    ({"id": "gone", "mbid": "AA-1"}, "one"),
    ({"id": "nd1", "mbid": "aa-1", "isrc": "DEAAA2600003"}, "one"),
    ({"mbid": "aa-2"}, "six"),
    ({"mbid": "aa-2", "album": "second"}, "two"),
    ({"mbid": "aa-9", "isrc": "de-aaa-26-00003"}, "three"),
    ({"mbid": "unknown", "isrc": "unknown", "name": "CA VA", "artist": "zoe"}, "four"),
    ({"name": "ça va", "artist": "Ben"}, "one"),
    ({"name": "ça va", "artist": "ann, ben"}, "one"),
    ({"name": "ca va", "artist": "Ann"}, "one"),
    ({"name": "ca va", "artist": "Someone", "artists": [{"name": "Zoe"}]}, "four"),
    ({"name": "ca va", "artist": "Ann", "album": "Second", "duration": 226}, "three"),
    ({"name": "ca va", "artist": "Ann", "album": "Second", "duration": 1, "durationMs": 210000}, "two"),
    ({"name": "ca va", "artist": "Ann", "duration": 101}, "one"),
    ({"name": "ca va", "artist": "Ann", "album": "Nowhere", "duration": 101}, "one"),
    ({"name": "line\nca va", "artist": "Ann"}, "five"),
    ({"name": "hello", "artist": "Earth, Wind & Fire"}, "six"),
    ({"name": "hello", "artist": "Earth"}, "six"),
    ({"name": "ca va", "artist": ""}, None),
    ({"name": "ca va"}, None),
    ({"name": "va", "artist": "Ann"}, None),
    ({"name": "", "artist": ""}, None),
    ({"name": "seven", "artist": ""}, None),
    ({}, None),
]


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    out = make_out(tmp_path_factory.mktemp("family"))
    names = ("track_id", "title", "artist", "album", "duration_s", "recording_mbid", "isrc")
    publish_catalog(out, [dict(zip(names, row, strict=True)) | {"uri": row[0]} for row in FAMILY])
    return CatalogFacts(out)


@pytest.mark.parametrize(("said", "track_id"), SAID)
def test_a_song_is_known_by_its_ids_first_and_by_its_names_then(family, said, track_id):
    here = {row[0] for row in FAMILY} - {"gone"}
    assert find(read_ref(said), family, here.__contains__) == track_id


def test_facts_are_those_of_exactly_one_song(family):
    for row in FAMILY:
        facts = family.of(row[0])
        assert (facts.uri, facts.title, facts.album, facts.genres) == (row[0], row[1], row[3], [])
    for other in ("", "a", "onex", "on", "zzz", "two\n", "\u05d0"):
        assert family.of(other) is None


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), None])
def test_a_length_that_is_no_number_is_not_told(tmp_path, seconds):
    out = make_out(tmp_path)
    tracks = [track | {"duration_s": seconds} for track in out.read("tracks").to_pylist()]
    publish_catalog(out, tracks)
    with serving(out.out, password="x") as port:
        found = asked(port, "similar", {"song": ref(5), "count": 5})["matches"]
        assert not any({"duration", "durationMs"} & match["song"].keys() for match in found)
        song = json.loads(ask(port, "/rest/getSong?apiKey=x&f=json&id=plain")[1])["subsonic-response"]["song"]
        assert "duration" not in song


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "a song as a JSON object"), ([], "a song as a JSON object"), ({"name": 5}, "name of a song"),
        ({"id": ["x"]}, "id of a song"), ({"artists": "Ann"}, "artists of a song"), ({"artists": ["Ann"]}, "artists"),
        ({"duration": "3:20"}, "duration of a song"), ({"durationMs": True}, "duration of a song"),
    ],
)  # fmt: skip
def test_what_is_no_song_is_told(navidrome_port, content, said):
    with pytest.raises(BadRequest, match=said):
        read_ref(content)
    for name, request in (("similar", {"song": content}), ("path", {"startSong": ref(0), "endSong": content})):
        assert said in asked(navidrome_port, name, {**request, "count": 5}, 400)["error"]


@pytest.mark.parametrize("count", [0, -1, 1.5, "5", None, True])
def test_a_wrong_count_is_told(navidrome_port, count):
    requests = {"similar": {"song": ref(5)}, "path": {"startSong": ref(0), "endSong": ref(7)}, "mix": ref(5)}
    for name, request in requests.items():
        assert "count; expected" in asked(navidrome_port, name, {**request, "count": count}, 400)["error"]


def test_a_large_count_brings_the_whole_list(navidrome_port):
    assert len(asked(navidrome_port, "similar", {"song": ref(5), "count": 10**12})["matches"]) == 2


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b"5" * ((1 << 20) + 1)])
def test_what_is_no_request_is_one_line(navidrome_port, body):
    assert "expected" in asked(navidrome_port, "similar", body, 400)["error"]


def test_an_unknown_song_is_not_found(navidrome_port):
    error = asked(navidrome_port, "similar", {"song": ref(5, name="<b>\n", artist="x" * 3000), "count": 5}, 404)[
        "error"
    ]
    assert "no song is '<b>\\n' by 'xxx" in error
    assert len(error) < 400
    ends = {"startSong": ref(0, artist="Ann"), "endSong": ref(7), "count": 5}
    assert "no song is" in asked(navidrome_port, "path", ends, 404)["error"]


def test_navidrome_needs_the_token_too(navidrome_out):
    content = {"song": ref(5), "count": 5}
    with serving(navidrome_out.out, "secret") as port:
        assert "token" in asked(port, "similar", content, 401)["error"]
        assert asked(port, "similar", content, Authorization="Bearer secret")["matches"]


def test_an_empty_ref_says_nothing():
    assert read_ref({"name": None, "artists": None, "duration": 0, "more": 5}) == SongRef()
    assert {row["id"] for row in (ref(0), ref(1))}.isdisjoint(ALL)
