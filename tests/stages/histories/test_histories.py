"""The table of histories: the same from every kind of file, with counts that add up, and safe from bad files."""

import json
import signal
import subprocess
import sys
import time

import duckdb
import numpy as np
import pandas as pd
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
    publish_tracks,
    song_id,
    spotify,
    tracks,
    uri,
    write_export,
    write_json,
    write_zip,
    xspf,
)
from musicrec.errors import SchemaError
from musicrec.schemas import HISTORIES
from musicrec.settings import HistoriesSettings
from musicrec.stages.histories import tally as tally_module
from musicrec.stages.histories.stage import histories
from musicrec.store.store import Store

FIVE = [0, 1, 2, 3, 4]
NOW = START + 10**7


@pytest.fixture
def store(tmp_path):
    return publish_tracks(tmp_path / "out")


def run(store, *files, now_s=NOW, **settings):
    counts = histories(store, HistoriesSettings(files=tuple(map(str, files)), **settings), now_s=now_s)
    assert counts.listens == counts.likes + counts.no_likes + sum(counts.left_out.values())
    assert sum(counts.matched_by.values()) == counts.likes + counts.no_likes + counts.left_out.get("duplicate", 0)
    return counts


def table(store, *columns):
    columns = columns or ("user_id", "track_id", "plays")
    return list(zip(*(store.read("histories")[name].to_pylist() for name in columns), strict=True))


def version(store):
    return store.versions("histories").published


def write_csv(file, *lines, head="user_id,track_id"):
    file.write_text("\n".join([head, *lines]) + "\n")
    return file


# --- the same five songs ------------------------------------------------------------------------------------------

EXPORTS = {
    "spotify": lambda folder: write_json(folder / "Streaming_History_Audio_2018.json", spotify(FIVE)),
    "spotify zip": lambda folder: write_zip(
        folder / "my_spotify_data.zip", {"x/Streaming_History_Audio_2018.json": json.dumps(spotify(FIVE))}
    ),
    "listenbrainz": lambda folder: write_export(folder / "listenbrainz_ada_1.zip", listenbrainz(FIVE)),
    "listenbrainz unmapped": lambda folder: write_export(folder / "x.zip", listenbrainz(FIVE, mapped=False)),
    "lastfm": lambda folder: write_json(folder / "page.json", lastfm(FIVE)),
    "m3u8 of names": lambda folder: folder / ("ada.m3u8", (folder / "ada.m3u8").write_text(m3u8(FIVE)))[0],
    "m3u8 of paths": lambda folder: folder / ("ada.m3u8", (folder / "ada.m3u8").write_text(m3u8(FIVE, named=False)))[0],
    "xspf": lambda folder: folder / ("ada.xspf", (folder / "ada.xspf").write_text(xspf(FIVE)))[0],
    "jspf": lambda folder: write_json(folder / "ada.jspf", jspf(FIVE)),
}
WITH_TIMES = ("spotify", "spotify zip", "listenbrainz", "listenbrainz unmapped", "lastfm")


@pytest.mark.parametrize("kind", EXPORTS)
def test_the_same_five_songs_give_the_same_histories_from_every_service_and_player(store, tmp_path, kind):
    counts = run(store, EXPORTS[kind](tmp_path), user="ada" if kind.startswith("spotify") else "")
    assert table(store) == [("ada", song_id(i), 1) for i in FIVE]
    assert (counts.users, counts.rows, counts.likes, counts.no_likes) == (1, 5, 5, 0)
    times = [START + 180 * i for i in FIVE] if kind in WITH_TIMES else [None] * 5
    for name in ("first_at", "last_at"):
        found = store.read("histories")[name].cast(pa.int64()).to_pylist()
        assert [at and at // 1000 for at in found] == times


def test_the_same_listens_from_two_services_count_once(store, tmp_path):
    files = [EXPORTS[kind](tmp_path) for kind in ("spotify", "listenbrainz", "lastfm")]
    counts = run(store, *files, user="ada")
    assert table(store, "track_id", "plays", "seconds") == [(song_id(i), 1, 60) for i in FIVE]
    assert counts.left_out == {"duplicate": 10, "playing_now": 1}


# --- what is published --------------------------------------------------------------------------------------------


def test_the_table_and_its_footer_say_what_was_heard_and_what_became_of_all_listens(store, tmp_path):
    head = "user_id,artist,title,timestamp,plays,seconds,skipped"
    file = write_csv(
        tmp_path / "x.csv",
        f"ben,ada lovelace,ENGINE SONG (Remastered 2011),{START},,200,no",
        f"ben,ada lovelace,engine song,{START + 500},,100,no",
        f"ben,Dots,Symphony No. 5,{START},,10,no",
        f"Ben,Dots,Symphony No. 5,{START * 1000},3,,yes",
        "ada,Fay,Beautifull Weather,,2,,",
        "ada,Nobody,Nothing,,7,,",
        "ada,Nobody,Nothing at all,,9,,",
        f",Fay,Beautiful Weather,{START},,,",
        f"ada,Fay,Beautiful Weather,{NOW + 90_000},,,",
        "ada,Fay",
        head=head,
    )
    counts = run(store, file, min_likeness=85)
    rows = [("Ben", "song-002", 0, None), ("ada", "song-006", 2, None), ("ben", "song-000", 2, 300.0),
            ("ben", "song-002", 0, 10.0)]  # fmt: skip
    assert table(store, "user_id", "track_id", "plays", "seconds") == rows
    assert store.read("histories").schema.equals(HISTORIES)
    footer = store.footer("histories")
    assert footer["settings"]["min_seconds"] == 30
    assert footer["settings"]["min_likeness"] == 85
    figures = footer["lineage"]["listens"]
    assert figures["left_out"] == {"unknown_song": 16, "damaged": 1, "future": 1, "no_user": 1}
    assert figures["matched_by"] == {"names": 6, "near_names": 2}
    assert figures["unmatched"] == [["Nobody - Nothing at all", 9], ["Nobody - Nothing", 7]]
    assert str(counts) == (
        "histories: 3 users, 4 songs of users; listens: 4 likes + 4 skipped or short + 19 left out = 27; "
        "left out: unknown_song 16, damaged 1, future 1, no_user 1; "
        "matched by: names 6, near_names 2 (each word at least 85 % alike)"
    )


def test_any_tool_reads_the_table(store, tmp_path):
    run(store, EXPORTS["listenbrainz"](tmp_path))
    folder = store.out / "histories"
    assert list(pd.read_parquet(folder)["plays"]) == [1] * 5
    assert duckdb.sql(f"SELECT epoch_ms(min(first_at)) FROM '{folder}/*.parquet'").fetchall() == [(START * 1000,)]
    assert pq.read_table(folder).num_rows == 5


@pytest.mark.thorough
def test_the_result_does_not_depend_on_files_blocks_or_parts(store, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    n = 3000
    listens = pa.table({
        "user_id": [f"user-{u}" for u in rng.integers(0, 200, n)],
        "track_id": [song_id(i) for i in rng.integers(0, 10, n)],  # the last two are in no catalog
        "timestamp": START + rng.integers(0, 50, n),
        "seconds": rng.integers(0, 60, n).astype(float),
    })  # fmt: skip
    pq.write_table(listens, tmp_path / "all.parquet")
    first = run(store, tmp_path / "all.parquet")
    expected = sorted(table(store, *HISTORIES.names))
    assert expected == table(store, *HISTORIES.names)
    for number, part in enumerate(np.array_split(rng.permutation(n), 3)):
        pq.write_table(listens.take(pa.array(part)), tmp_path / f"part-{number}.parquet", row_group_size=100)
    monkeypatch.setattr(tally_module, "MOST_ROWS", 500)
    second = run(store, *tmp_path.glob("part-*.parquet"))
    assert len(list(store.path("histories").glob("parts/*"))) > 3
    assert sorted(table(store, *HISTORIES.names)) == expected
    counts = ("users", "rows", "likes", "no_likes", "left_out", "matched_by", "unmatched")
    assert [getattr(first, name) for name in counts] == [getattr(second, name) for name in counts]
    parts = [pq.read_table(part)["user_id"].unique().to_pylist() for part in store.path("histories").glob("parts/*")]
    assert sum(map(len, parts)) == first.users
    assert store.footer("histories")["lineage"]["listens"]["rows"] == len(expected)


def test_nothing_is_done_while_files_songs_and_settings_stay_the_same(store, tmp_path):
    file = EXPORTS["listenbrainz"](tmp_path)
    first, published = run(store, file), version(store)
    again = run(store, file, now_s=NOW + 10**6)
    assert version(store) == published
    assert (again.fresh, first.fresh) == (False, True)
    assert "(none read now)" in str(again)
    run(store, file, min_seconds=10)
    assert version(store) != published
    published = version(store)
    write_export(file, listenbrainz(FIVE[1:]))
    run(store, file, min_seconds=10)
    assert version(store) != published
    assert len(table(store)) == 4


def test_listens_that_were_in_the_future_are_looked_at_again(store, tmp_path):
    file = write_csv(tmp_path / "x.csv", f"ada,song-000,{START}", f"ada,song-001,{NOW + 10**6}",
                     head="user_id,track_id,timestamp")  # fmt: skip
    assert run(store, file).left_out == {"future": 1}
    assert run(store, file, now_s=NOW + 10**6).left_out == {}
    assert len(table(store)) == 2


def test_after_a_change_of_the_catalog_listens_are_matched_anew(store, tmp_path):
    file = EXPORTS["lastfm"](tmp_path)
    run(store, file)
    publish_tracks(store.out, tracks(3), "1123456789abcdef")
    counts = run(store, file)
    assert [row[1] for row in table(store)] == [song_id(i) for i in range(3)]
    assert counts.unmatched == [(f"{NAMES[3][0]} - {NAMES[3][1]}", 1), (f"{NAMES[4][0]} - {NAMES[4][1]}", 1)]


def test_a_history_of_an_older_catalog_stays_until_it_is_made_anew(store, tmp_path):
    file = EXPORTS["lastfm"](tmp_path)
    publish_tracks(store.out, tracks(3), "1123456789abcdef")
    run(store, file)
    store.rollback("tracks")
    assert len(table(store)) == 3
    run(store, file)
    assert len(table(store)) == 5


# --- bad input ----------------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_read_changes_nothing(store, tmp_path):
    good = EXPORTS["listenbrainz"](tmp_path)
    run(store, good)
    published = version(store)
    bad = tmp_path / "endsong_0.json"
    bad.write_text(json.dumps(spotify(FIVE))[:-20])
    with pytest.raises(SchemaError, match=r"endsong_0.json cannot be read \(.*\); export or copy it again"):
        run(store, good, bad, user="ada")
    assert version(store) == published
    assert store.versions("histories").on_disk() == [published]


def test_listens_of_no_song_of_the_catalog_change_nothing(store, tmp_path):
    run(store, EXPORTS["listenbrainz"](tmp_path))
    published = version(store)
    with pytest.raises(SchemaError, match=r"none of 2 listens is of a song of the catalog .unknown_song 2.; expected"):
        run(store, write_csv(tmp_path / "x.csv", "ada,x", "ada,y"))
    assert version(store) == published


def test_a_listener_without_likes_and_two_that_differ_in_case_are_listeners(store, tmp_path):
    file = write_csv(
        tmp_path / "x.csv", "ada,song-000,yes", "Ada,song-000,no", "eve,x,no", head="user_id,track_id,skipped"
    )
    counts = run(store, file)
    assert table(store) == [("Ada", "song-000", 1), ("ada", "song-000", 0), ("eve", None, 0)]
    assert (counts.users, counts.without_songs, counts.rows) == (3, 1, 2)


def test_who_has_heard_no_song_of_the_catalog_has_one_row_without_a_song(store, tmp_path):
    """Whatever else is unknown of them; not so where no song, or no listener, is named."""
    listens = [
        "ada,song-000", "ada,x", "eve,x", "eve,y", "eve,x", "Eve,x", ",x", "nobody,", "ben,song-001", "ben,song-001"
    ]  # fmt: skip
    counts = run(store, write_csv(tmp_path / "a.csv", *listens[:5]), write_csv(tmp_path / "b.csv", *listens[3:]))
    assert table(store) == [
        ("Eve", None, 0), ("ada", "song-000", 1), ("ben", "song-001", 2), ("eve", None, 0)
    ]  # fmt: skip
    assert table(store, "seconds", "first_at", "last_at")[0] == (None, None, None)
    assert (counts.users, counts.without_songs, counts.rows) == (4, 2, 2)
    assert counts.left_out == {"unknown_song": 7, "no_user": 1, "no_name": 1}
    assert str(counts).startswith("histories: 4 users (2 without a song of the catalog), 2 songs of users; ")


MEMORY = """
import resource, sys
from musicrec.settings import HistoriesSettings
from musicrec.stages.histories.stage import histories
from musicrec.store.store import Store
settings = HistoriesSettings(files=(sys.argv[2],))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
counts = histories(Store(sys.argv[1]), settings)
print(counts.listens, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def write_many(file, n):
    """Listens of as many users as a tenth of them, in random order: a row group at a time, as no memory holds them."""
    rng, n_block = np.random.default_rng(0), 250_000
    schema = pa.schema([("user_id", pa.string()), ("track_id", pa.string()), ("timestamp", pa.int64())])
    with pq.ParquetWriter(file, schema) as writer:
        for _ in range(n // n_block):
            users = pa.array(rng.integers(0, n // 10, n_block)).cast(pa.string())
            songs = pa.array([song_id(i) for i in range(9)]).take(pa.array(rng.integers(0, 9, n_block)))
            times = pa.array(START + rng.integers(0, 10**8, n_block))
            writer.write_table(pa.table([users, songs, times], schema=schema))
    return file


@pytest.mark.slow
def test_memory_grows_neither_with_listens_nor_with_listeners(store, tmp_path):
    used = {}
    for n in (2_000_000, 10_000_000):
        file = write_many(tmp_path / f"{n}.parquet", n)
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, store.out, file], capture_output=True, text=True, check=True
        )
        listens, used[n] = map(int, done.stdout.split())
        assert listens == n
    assert used[10_000_000] < 1.3 * used[2_000_000] + 50, used


@pytest.mark.thorough
def test_a_run_that_is_killed_leaves_the_published_table_and_the_next_completes(store, tmp_path):
    good = EXPORTS["listenbrainz"](tmp_path)
    run(store, good)
    published, before = version(store), table(store)
    many = write_many(tmp_path / "many.parquet", 1_000_000)
    for wait_s in (1.5, 3.0):
        process = subprocess.Popen([sys.executable, "-m", "musicrec", "histories", store.out, many])
        time.sleep(wait_s)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if version(store) == published:
            assert table(store) == before
    assert run(store, good).rows == 5
    assert store.versions("histories").published in store.versions("histories").on_disk()


# --- the command --------------------------------------------------------------------------------------------------


def test_the_command_prints_the_counts_and_the_names_without_a_song(store, tmp_path, command):
    (tmp_path / "in").mkdir()
    write_json(tmp_path / "in" / "page.json", lastfm(FIVE))
    write_csv(
        tmp_path / "in" / "x.csv", f"ben,{mbid(3)},", f"ben,,{uri(4)}", "ben,,/x", head="user_id,recording_mbid,uri"
    )
    (tmp_path / "in" / "ReadMe.pdf").touch()
    code, shown, _ = command("histories", store.out, tmp_path / "in")
    assert code == 0
    assert shown.splitlines() == [
        "histories: 2 users, 7 songs of users; listens: 7 likes + 0 skipped or short + 2 left out = 9; "
        "left out: playing_now 1, unknown_song 1; matched by: recording_mbid 1, names 5, place 1; not read: ReadMe.pdf",
        "not in the catalog  listens",
        "/x                        1",
    ]
    assert Store(store.out).footer("histories")["settings"]["files"] == [str(tmp_path / "in")]


def test_the_command_tells_what_is_wrong_in_one_line(store, tmp_path, command):
    for arguments, told in (
        ([store.out, tmp_path / "gone.csv"], "there is no file"),
        ([store.out, EXPORTS["spotify"](tmp_path)], "names no user; say who listened with --user NAME"),
        ([store.out, EXPORTS["lastfm"](tmp_path), "--min-share", "2"], "setting histories.min_share = 2.0"),
        ([tmp_path / "no-out", EXPORTS["lastfm"](tmp_path)], "is not a musicrec OUT"),
    ):
        code, shown, complaint = command("histories", *arguments)
        assert code in (1, 2)
        assert told in complaint
        assert (shown, complaint.count("\n")) == ("", 1)
