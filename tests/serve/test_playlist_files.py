"""Playlist files hold what players agree on, also for awkward names; each location leads to the file."""

import json
import os
from pathlib import Path
from urllib.parse import unquote_to_bytes, urljoin, urlsplit
from xml.etree import ElementTree

import pytest

from awkward_names import AWKWARD
from musicrec.errors import ConfigError
from musicrec.serve.playlist_files import FORMATS, Entry, playlist_file

MBID = "b1a9c0e9-d987-4042-ae91-78d6a3267d69"


def places(path):
    """The path of each song, as a reader of the format's specification finds it."""
    content = path.read_bytes()
    if path.suffix == ".m3u8":
        lines = [line.lstrip() for line in content.split(b"\n")]  # as mpv reads them
        return [path.parent / os.fsdecode(line) for line in lines if line and not line.startswith(b"#")]
    if path.suffix == ".xspf":
        root = ElementTree.fromstring(content)
        found = [node.text for node in root.iterfind(".//{http://xspf.org/ns/0/}location")]
    else:
        found = [track["location"][0] for track in json.loads(content)["playlist"]["track"]]
    return [Path(os.fsdecode(unquote_to_bytes(urlsplit(urljoin(path.as_uri(), place)).path))) for place in found]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_list_whose_name_is_no_text_is_written_all_the_same(tmp_path, suffix):
    """Without a name of its own it has that of its file, which may be any bytes."""
    file = tmp_path / os.fsdecode(b"caf\xe9" + suffix.encode())
    content = write(file, [Entry(str(tmp_path / "a.mp3"))], file.stem).read_bytes().decode()
    assert "caf\ufffd" in content


def write(path, songs, name="Mine"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(playlist_file(path, name, songs))
    return path


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("folder", ["music", "music/lists", "elsewhere/deep"])
def test_each_song_is_found_from_the_folder_of_the_playlist(tmp_path, suffix, folder):
    songs = [tmp_path / "music" / name for name in AWKWARD]
    songs[0].parent.mkdir()
    for song in songs:
        song.write_bytes(song.name.encode())
    path = write(tmp_path / folder / f"list{suffix}", [Entry(str(song)) for song in songs])
    assert [place.read_bytes().decode() for place in places(path)] == AWKWARD


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_name_that_is_not_unicode_is_found(tmp_path, suffix):
    """The catalog gives such a file a URI of percent-encoded bytes."""
    song = tmp_path / os.fsdecode(b"caf\xe9 #1.mp3")
    song.touch()
    (place,) = places(write(tmp_path / f"list{suffix}", [Entry(f"file://{tmp_path}/caf%E9%20%231.mp3")]))
    assert place.samefile(song)


def test_a_playlist_in_a_linked_folder_is_read_from_where_it_really_is(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b")
    song = tmp_path / "song.mp3"
    song.touch()
    (place,) = places(write(tmp_path / "link" / "l.m3u8", [Entry(str(song))]))
    assert place.samefile(song)


def test_m3u8_says_artist_title_and_whole_seconds_and_has_no_mark(tmp_path):
    songs = [
        Entry(str(tmp_path / "x.mp3"), "Title", "Ärtist", duration_s=61.5),
        Entry(str(tmp_path / "y.mp3"), "Two\nlines\u2028", None, duration_s=0.2),
        Entry("s3://bucket/a b#c.mp3"),
    ]
    assert playlist_file(tmp_path / "l.m3u8", "My\nlist", songs).decode() == (
        "#EXTM3U\n#PLAYLIST:My list\n#EXTINF:62,Ärtist - Title\nx.mp3\n#EXTINF:0,Two lines \ny.mp3\n"
        "#EXTINF:-1,a b#c.mp3\ns3://bucket/a b#c.mp3\n"
    )


def test_m3u8_refuses_a_path_with_a_line_break_and_names_what_can_hold_it(tmp_path):
    song = Entry(str(tmp_path / "a\nb.mp3"))
    with pytest.raises(
        ConfigError, match=r"a\\nb.mp3'?: M3U8 cannot hold a line break in a path; choose .xspf or .jspf"
    ):
        playlist_file(tmp_path / "l.m3u8", "l", [song])
    assert places(write(tmp_path / "l.xspf", [song])) == [tmp_path / "a\nb.mp3"]


def test_xspf_and_jspf_say_the_same(tmp_path):
    songs = [Entry("s3://bucket/a b%.mp3", "T <&> \x0b", "A", "B", 1.2345, MBID), Entry("https://host/a%20b.mp3")]
    tracks = json.loads(playlist_file(tmp_path / "l.jspf", "L & co", songs))["playlist"]["track"]
    assert tracks == [
        {
            "location": ["s3://bucket/a%20b%25.mp3"], "identifier": [f"https://musicbrainz.org/recording/{MBID}"],
            "title": "T <&> \x0b", "creator": "A", "album": "B", "duration": 1234,
        },
        {"location": ["https://host/a%20b.mp3"]},
    ]  # fmt: skip
    root = ElementTree.fromstring(playlist_file(tmp_path / "l.xspf", "L & co", songs))
    assert (root.tag, root.get("version")) == ("{http://xspf.org/ns/0/}playlist", "1")
    assert [node.tag.partition("}")[2] for node in root] == ["title", "trackList"]
    found = [{node.tag.partition("}")[2]: node.text for node in track} for track in root[1]]
    flat = [
        {key: str(value[0] if isinstance(value, list) else value) for key, value in track.items()} for track in tracks
    ]
    flat[0]["title"] = "T <&> \N{REPLACEMENT CHARACTER}"  # XML has no such character
    assert found == flat


def test_another_ending_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(ConfigError, match=r"l.pls: unknown ending '.pls'; expected .m3u8, .xspf, .jspf"):
        playlist_file(tmp_path / "l.pls", "l", [])


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_playlist_of_no_songs_is_valid(tmp_path, suffix):
    assert places(write(tmp_path / f"l{suffix}", [])) == []
