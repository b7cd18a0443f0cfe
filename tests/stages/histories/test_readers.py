"""Readers of listening histories: what each kind of file says, and the one line that says what is wrong with it."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from listening_files import (
    NAMES,
    START,
    jspf,
    lastfm,
    listenbrainz,
    m3u8,
    mbid,
    spotify,
    uri,
    write_export,
    write_json,
    write_zip,
    xspf,
)
from musicrec.errors import SchemaError
from musicrec.stages.histories.history_files import files_of, read_file
from musicrec.stages.histories.listens import LISTENS, seconds_since_1970


def read(file, user=""):
    tables = list(read_file(file, user))
    assert all(table.schema.equals(LISTENS) for table in tables)
    return pa.concat_tables(tables).to_pylist()


def column(rows, name):
    return [row[name] for row in rows]


# --- CSV and Parquet ----------------------------------------------------------------------------------------------


def write_csv(folder, text, name="x.csv", encoding="utf-8"):
    file = folder / name
    file.write_bytes(text.encode(encoding))
    return file


@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_a_csv_is_read_whatever_stands_between_its_columns_and_however_they_are_spelled(tmp_path, between):
    lines = ["User ID,ARTIST,Title,timestamp,plays,seconds,Skipped", 'ada,"Béla, Cid",None,1543566813,3,90.5,no',
             "12, Ada ,x,,,,TRUE"]  # fmt: skip
    quoted = [line.replace(",", between).replace(f"Béla{between}", "Béla,") for line in lines]
    rows = read(write_csv(tmp_path, "\ufeff" + "\r\n".join(quoted)))
    assert column(rows, "user_id") == ["ada", "12"]
    assert column(rows, "artist") == ["Béla, Cid", "Ada"]
    assert column(rows, "title") == ["None", "x"]
    assert column(rows, "at_s") == [START, None]
    assert column(rows, "plays") == [3, 1]
    assert column(rows, "seconds") == [90.5, None]
    assert column(rows, "skipped") == [False, True]
    assert column(rows, "reason") == [None, None]


TIMES = {
    "1543566813": START,
    "1543566813.7": START,
    "1543566813000": START,
    "1543566813000000": START,
    "1543566813000000000": START,
    "2018-11-30T08:33:33Z": START,
    "2018-11-30 08:33:33": START,
    "2018-11-30T09:33:33+01:00": START,
    "2018-11-30": START - 8 * 3600 - 33 * 60 - 33,
    "": None,
    "0": None,
    "-5": None,
    "1970-01-01T00:00:07Z": None,
    "20181130": None,  # no number of seconds that a listen can have: its time is unknown
}


def test_times_are_seconds_milliseconds_or_texts_and_those_of_clocks_never_set_are_unknown(tmp_path):
    text = "user_id,track_id,timestamp\n" + "".join(f"ada,x,{time}\n" for time in TIMES)
    rows = read(write_csv(tmp_path, text))
    assert dict(zip(TIMES, column(rows, "at_s"), strict=True)) == TIMES
    assert {time: seconds_since_1970(time) for time in TIMES} == TIMES
    assert set(column(rows, "reason")) == {None}


BAD = [
    *("timestamp,yesterday", "timestamp,inf", "timestamp,-inf", "timestamp,1e300", "timestamp,30/11/2018"),
    *("plays,0", "plays,-1", "plays,1.5", "plays,many", "plays,1e300"),
    *("seconds,-1", "seconds,inf", "seconds,long", "skipped,perhaps"),
]


@pytest.mark.parametrize("cell", BAD)
def test_a_cell_that_cannot_be_read_costs_its_row(tmp_path, cell):
    name, value = cell.split(",")
    good = {"timestamp": START, "plays": 2, "seconds": 40, "skipped": "no"}
    lines = [good, good | {name: value}, good]
    text = "user_id,track_id," + ",".join(good) + "\n"
    text += "".join("ada,x," + ",".join(map(str, line.values())) + "\n" for line in lines)
    rows = read(write_csv(tmp_path, text))
    assert column(rows, "reason") == [None, "bad_value", None]
    assert column(rows, "plays") == [2, 1, 2]


def test_a_row_of_too_few_or_too_many_cells_is_damaged_and_the_others_are_read(tmp_path):
    rows = read(write_csv(tmp_path, 'user_id,artist,title\nada,a,b\nada,a\nada,a,b,c\nben,"two\nlines",d\n'))
    assert column(rows, "reason") == [None, None, "damaged", "damaged"]
    assert column(rows, "artist")[:2] == ["a", "two\nlines"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty; expected a row for each listen"),
        ("user_id,artist,title\n", "holds no listens"),
        ("artist,title\na,b\n", "has no column user_id; its columns are artist, title; name one so, or say --user"),
        (
            "user_id,artist\nada,b\n",
            "has no column that names songs; its columns are user_id, artist; expected track_id",
        ),
        ("user_id,title\nada,b\n", "has no column that names songs; its columns are user_id, title; expected track_id"),
        ("user_id,uri,URI\nada,b,c\n", "has 2 columns 'uri'; keep one of them"),
    ],
)
def test_a_csv_that_cannot_be_used_is_refused_in_one_line(tmp_path, text, told):
    file = write_csv(tmp_path, text)
    with pytest.raises(SchemaError, match=told) as e:
        read(file)
    assert str(file) in str(e.value)
    assert "\n" not in str(e.value)


def test_a_csv_in_another_encoding_is_refused_in_one_line(tmp_path):
    with pytest.raises(SchemaError, match=r"x.csv cannot be read \(.*utf-8"):
        read(write_csv(tmp_path, "user_id,artist,title\nada,Béla,x\n", encoding="latin-1"))


def test_with_a_user_the_column_is_neither_needed_nor_read(tmp_path):
    assert column(read(write_csv(tmp_path, "track_id\na\nb\n"), "eve"), "user_id") == ["eve", "eve"]
    assert column(read(write_csv(tmp_path, "user_id,track_id\nada,a\n"), "eve"), "user_id") == ["eve"]


def test_parquet_keeps_ids_that_are_numbers_and_times_that_are_timestamps(tmp_path):
    table = pa.table({
        "user_id": pa.array([12.0, None]),
        "track_id": pa.array(["a", "b"]).dictionary_encode(),
        "timestamp": pa.array([START * 10**9, None], pa.timestamp("ns", "Europe/Berlin")),
        "seconds": pa.array([40, 50], pa.int16()),
        "skipped": [True, None],
    })  # fmt: skip
    pq.write_table(table, tmp_path / "x.parquet")
    rows = read(tmp_path / "x.parquet")
    assert column(rows, "user_id") == ["12", None]
    assert column(rows, "track_id") == ["a", "b"]
    assert column(rows, "at_s") == [START, None]
    assert column(rows, "seconds") == [40, 50]
    assert column(rows, "skipped") == [True, None]


def test_a_damaged_parquet_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no longer")
    with pytest.raises(SchemaError, match=r"x.parquet cannot be read"):
        read(tmp_path / "x.parquet")


def test_blocks_stay_small_in_a_large_file(tmp_path):
    n = 200_000
    pq.write_table(pa.table({"user_id": np.full(n, "ada"), "track_id": np.arange(n)}), tmp_path / "x.parquet")
    sizes = [len(table) for table in read_file(tmp_path / "x.parquet")]
    assert sum(sizes) == n
    assert max(sizes) <= 65_536


# --- ListenBrainz -------------------------------------------------------------------------------------------------


def test_an_export_of_listenbrainz_gives_its_listens_and_nothing_else_in_it(tmp_path):
    sent = listenbrainz([0, 1], duration_ms=200_000, duration_played=90, recording_mbid=mbid(6), isrc="GB-X")
    file = write_export(tmp_path / "listenbrainz_x_1.zip", [*sent, *listenbrainz([2], mapped=False)])
    rows = read(file)
    assert column(rows, "user_id") == ["ada"] * 3
    assert column(rows, "recording_mbid") == [mbid(6), mbid(6), None]
    assert column(rows, "mapped_mbid") == [mbid(0), mbid(1), None]
    assert column(rows, "isrc") == ["GB-X", "GB-X", None]
    assert column(rows, "at_s") == [START, START + 180, START]
    assert column(rows, "seconds") == [90, 90, None]
    assert column(rows, "length_s") == [200, 200, None]
    assert column(rows, "title") == [NAMES[i][1] for i in range(3)]


def test_the_user_of_an_export_is_that_of_the_command_or_of_the_file_name(tmp_path):
    file = write_export(tmp_path / "listenbrainz_ada_l_1764400000.zip", listenbrainz([0]), user=None)
    assert column(read(file), "user_id") == ["ada_l"]
    assert column(read(file, "eve"), "user_id") == ["eve"]
    with pytest.raises(SchemaError, match="names no user; say who listened with --user NAME"):
        read(file.rename(tmp_path / "listens.zip"))


def test_a_truncated_line_costs_its_listen_only(tmp_path):
    lines = [json.dumps(row | {"user_name": "ada"}) for row in listenbrainz([0, 1])]
    (tmp_path / "5.jsonl").write_text(
        "\n".join([lines[0], lines[1][:50], "[]", "7", '{"track_metadata": 3}', lines[1]])
    )
    rows = read(tmp_path / "5.jsonl")
    assert column(rows, "reason") == [None, "damaged", "damaged", "damaged", "damaged", None]
    assert rows[-1]["user_id"] == "ada"


# --- Spotify ------------------------------------------------------------------------------------------------------


def test_the_time_of_a_stream_is_that_of_its_beginning(tmp_path):
    rows = read(write_json(tmp_path / "Streaming_History_Audio_2018.json", spotify([0, 1])), "ada")
    assert column(rows, "at_s") == [START, START + 180]
    assert column(rows, "seconds") == [60, 60]
    assert column(rows, "artist") == [NAMES[0][0], NAMES[1][0]]


def test_podcasts_and_private_sessions_are_left_out_and_skips_are_told(tmp_path):
    podcast = {"master_metadata_track_name": None, "spotify_episode_uri": "spotify:episode:x", "episode_name": "x"}
    (song,), (talk,) = spotify([0], skipped=True), spotify([1], **podcast)
    (hidden,), (unknown,) = spotify([2], incognito_mode=True), spotify([3], skipped=None, ms_played="x")
    rows = read(write_json(tmp_path / "endsong_0.json", [song, talk, hidden, unknown, 7]), "ada")
    assert column(rows, "reason") == [None, "not_music", "private", "bad_value", "damaged"]
    assert column(rows, "skipped") == [True, None, None, None, None]


def test_a_zip_of_spotify_gives_its_audio_and_no_film(tmp_path):
    folder = "Spotify Extended Streaming History"
    file = write_zip(
        tmp_path / "my_spotify_data.zip",
        {
            f"{folder}/Streaming_History_Audio_2018_1.json": json.dumps(spotify([1])),
            f"{folder}/Streaming_History_Audio_2018_0.json": json.dumps(spotify([0])),
            f"{folder}/Streaming_History_Video_2018.json": json.dumps(spotify([2])),
            f"{folder}/ReadMeFirst.pdf": b"%PDF",
        },
    )
    assert column(read(file, "ada"), "title") == [NAMES[0][1], NAMES[1][1]]
    with pytest.raises(SchemaError, match="names no user; say who listened with --user NAME"):
        read(file)


def test_the_user_of_an_older_export_is_in_its_streams(tmp_path):
    file = write_json(tmp_path / "endsong_0.json", spotify([0], username="ada"))
    assert column(read(file), "user_id") == ["ada"]


# --- Last.fm ------------------------------------------------------------------------------------------------------


def test_the_song_that_plays_now_is_no_listen(tmp_path):
    rows = read(write_json(tmp_path / "page.json", lastfm([0, 1])))
    assert column(rows, "reason") == ["playing_now", None, None]
    assert column(rows, "user_id") == ["ada"] * 3
    assert column(rows, "at_s") == [None, START, START + 180]


def test_pages_in_one_file_and_a_page_of_one_listen_are_read(tmp_path):
    one = lastfm([0])
    one["recenttracks"]["track"] = one["recenttracks"]["track"][1]
    rows = read(write_json(tmp_path / "pages.json", [lastfm([0, 1]), one]))
    assert len(rows) == 4
    assert rows[-1]["title"] == NAMES[0][1]


def test_a_page_with_an_error_is_refused_in_one_line(tmp_path):
    file = write_json(tmp_path / "page.json", [lastfm([0]), {"error": 8, "message": "Operation failed"}])
    with pytest.raises(SchemaError, match="a page holds the error 'Operation failed'; fetch it again") as e:
        read(file)
    assert str(file) in str(e.value)


# --- playlists ----------------------------------------------------------------------------------------------------


def test_a_playlist_is_the_likes_of_the_listener_it_is_called_by(tmp_path):
    (tmp_path / "ada.m3u8").write_text(m3u8([0, 1]), encoding="utf-8")
    rows = read(tmp_path / "ada.m3u8")
    assert column(rows, "user_id") == ["ada", "ada"]
    assert column(rows, "artist") == [NAMES[0][0], NAMES[1][0]]
    assert column(rows, "uri") == ["/elsewhere/0.flac", "/elsewhere/1.flac"]
    assert column(rows, "length_s") == [200, 200]
    assert column(read(tmp_path / "ada.m3u8", "eve"), "user_id") == ["eve", "eve"]


def test_lines_of_a_playlist_may_have_no_names_and_relative_or_foreign_paths(tmp_path):
    lines = "#EXTINF:-1,Just a title\nx\\..\\sub\\a.mp3\nC:\\Music\\b.mp3\nhttp://x/c.mp3\n#EXTINF:nonsense\nd.mp3\n"
    (tmp_path / "ada.m3u").write_bytes(lines.encode() + "Béla.mp3".encode("cp1252"))
    rows = read(tmp_path / "ada.m3u")
    places = [
        f"{tmp_path}/sub/a.mp3",
        "C:\\Music\\b.mp3",
        "http://x/c.mp3",
        f"{tmp_path}/d.mp3",
        f"{tmp_path}/Béla.mp3",
    ]
    assert column(rows, "uri") == places
    assert column(rows, "title") == ["Just a title", None, None, None, None]
    assert set(column(rows, "length_s")) == {None}


def test_xspf_and_jspf_name_songs_by_places_and_recordings(tmp_path):
    (tmp_path / "ada.xspf").write_text(xspf([1, 4]), encoding="utf-8")
    assert [Path(row["uri"]).suffix for row in read(tmp_path / "ada.xspf")] == [".mp3", ".mp3"]
    assert column(read(tmp_path / "ada.xspf"), "length_s") == [200, 200]
    rows = read(write_json(tmp_path / "ben.jspf", jspf([2])))
    assert (rows[0]["recording_mbid"], rows[0]["user_id"]) == (mbid(2), "ben")
    rows = read(write_json(tmp_path / "cid.jspf", {"playlist": {"track": [{"location": "a b.mp3"}, 7]}}))
    assert rows[0]["uri"] == f"{tmp_path.as_uri()}/a b.mp3"
    assert rows[1]["reason"] == "damaged"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("x.xspf", b"<playlist><trackList>", "cannot be read"),
        ("x.xspf", b"<playlist><trackList/></playlist>", "holds no listens"),
        ("x.m3u8", b"#EXTM3U\n", "holds no listens"),
        ("x.jspf", b'{"playlist": 7}', "holds no listens"),
        ("x.json", b'[{"ts": "2018', "cannot be read"),
        ("x.json", b"", "cannot be read"),
        ("x.json", b"\xff\xfe", "cannot be read"),
        ("x.json", b"[" * 100_000, "cannot be read"),
        ("x.json", b"[]", "holds no listens"),
        ("x.json", b'{"a": 1}', "it is none of these"),
        ("x.json", b'[{"endTime": "2019-01-01 12:00"}]', "expected Spotify's extended streaming history"),
        ("x.jsonl", b"", "holds no listens"),
        ("x.zip", b"PK no longer", "cannot be read"),
        ("x.parquet", b"", "cannot be read"),
        ("x.mp3", b"ID3", "is of no kind that holds listens; expected .csv"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(tmp_path, name, content, told):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(SchemaError) as e:
        read(file, "ada")
    assert told in str(e.value)
    assert str(file) in str(e.value)
    assert "\n" not in str(e.value)


def test_a_zip_of_other_files_and_one_that_is_cut_are_refused(tmp_path):
    with pytest.raises(SchemaError, match=r"expected an export of ListenBrainz .* or Spotify .*; it holds neither"):
        read(write_zip(tmp_path / "x.zip", {"photo.jpg": b"x", "listens.txt": b"x"}), "ada")
    whole = write_export(tmp_path / "y.zip", listenbrainz([0] * 500)).read_bytes()
    (tmp_path / "y.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SchemaError, match=r"y.zip cannot be read"):
        read(tmp_path / "y.zip")


# --- folders ------------------------------------------------------------------------------------------------------


def test_a_folder_gives_the_files_that_hold_listens_each_once(tmp_path):
    for name in ("a.csv", "sub/b.jsonl", "sub/Streaming_History_Video_1.json", "ReadMe.pdf", ".c.csv", "_d/e.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    files, others = files_of([str(tmp_path), str(tmp_path / "a.csv")])
    assert [file.name for file in files] == ["a.csv", "b.jsonl"]
    assert others == ["ReadMe.pdf", "Streaming_History_Video_1.json"]
    with pytest.raises(SchemaError, match=r"there is no file .*gone.csv; give the files or folders that hold listens"):
        files_of([str(tmp_path / "gone.csv")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SchemaError, match=r"empty holds no file of listens; expected .csv"):
        files_of([str(tmp_path / "empty")])


def test_places_of_a_playlist_are_those_of_the_catalog(tmp_path):
    (tmp_path / "ada.m3u8").write_text(m3u8([4], named=False), encoding="utf-8")
    assert column(read(tmp_path / "ada.m3u8"), "uri") == [uri(4)]


@pytest.mark.parametrize("time", [10**400, -(10**400), 1e300, float("nan"), True, [], {}, "1e300", "x" * 1000])
def test_a_time_in_json_that_is_none_costs_its_listen(tmp_path, time):
    row = listenbrainz([0])[0] | {"listened_at": time, "user_name": "ada"}
    (tmp_path / "5.jsonl").write_text(json.dumps(row))
    assert column(read(tmp_path / "5.jsonl"), "reason") == ["bad_value"]


@pytest.mark.parametrize("value", [10**400, float("inf"), {}, [1], True, "\ud800", "a\0b", 7])
def test_names_in_json_that_are_none_are_missing_and_others_are_valid_text(tmp_path, value):
    row = spotify([0], master_metadata_track_name=value, ms_played=value)
    (found,) = read(write_json(tmp_path / "endsong_0.json", row), "ada")
    assert found["title"] is None or found["title"].encode()
