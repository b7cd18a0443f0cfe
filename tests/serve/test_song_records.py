"""Records return what the columns hold: missing, odd and long texts, in any order, and from a sidecar of before."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicrec.serve import lookup
from musicrec.serve.lookup import SimilarTable
from musicrec.serve.sidecar import SIDECAR, SIDECAR_COLUMNS, write_sidecar
from musicrec.serve.song_records import FIELD_END, NO_TEXT, SongRecords, with_records, without_records
from musicrec.serve.song_texts import SongTexts
from musicrec.settings import SimilarSettings
from musicrec.store.store import Version, made_by

SCHEMA = pa.schema([(name, pa.large_string()) for name in SIDECAR_COLUMNS])
TEXT = st.text(st.sampled_from(f"aß夜 \n\r\x1c\x1d\0{FIELD_END}{NO_TEXT}"), max_size=9)
SONGS = st.lists(st.tuples(TEXT, *[st.none() | TEXT] * 3), min_size=1, max_size=30)


def table_of(songs):
    return pa.table(list(map(list, zip(*songs, strict=True))), schema=SCHEMA)


@pytest.mark.thorough
@given(SONGS, st.data())
def test_records_return_what_was_written(songs, data):
    records = SongRecords(with_records(table_of(songs)))
    rows = np.array(data.draw(st.lists(st.integers(0, len(songs) - 1), max_size=40)), np.int32)
    expected = [songs[row] for row in rows]
    assert list(records.names(rows)) == expected
    assert records.ids(rows) == [track_id for track_id, *_ in expected]
    for names, width in ((True, 4), (False, 1)):
        columns = records.arrays(rows, names)
        assert [column.to_pylist() for column in columns] == [[song[i] for song in expected] for i in range(width)]


@pytest.mark.parametrize("column", range(4))
def test_one_long_text_makes_no_record_longer_and_is_read_whole(column):
    songs = [(f"{i:03d}", "title", "artist", "genre") for i in range(200)]
    short = with_records(table_of(songs))
    songs[7] = tuple("long" * 500 if i == column else text for i, text in enumerate(songs[7]))
    long = with_records(table_of(songs))
    assert long.schema.field("record").type == short.schema.field("record").type
    records, rows = SongRecords(long), np.array([6, 7, 8])
    assert list(records.names(rows)) == songs[6:9]
    assert records.ids(rows) == [song[0] for song in songs[6:9]]
    assert list(zip(*(texts.to_pylist() for texts in records.arrays(rows, True)), strict=True)) == songs[6:9]


def test_many_long_texts_make_records_of_a_bounded_length():
    songs = [(f"{i:03d}", "long" * 500, None, "genre") for i in range(20)]
    table = with_records(table_of(songs))
    assert table.schema.field("record").type.byte_width < 300
    rows = np.arange(20)
    assert list(SongRecords(table).names(rows)) == songs
    assert SongRecords(table).ids(rows) == [song[0] for song in songs]


def test_texts_that_fit_are_not_read_from_the_columns(monkeypatch):
    songs = [("a", None, "ß", ""), ("b", "B", None, None)]
    records, rows = SongRecords(with_records(table_of(songs))), np.array([1, 0])

    def no(*_):
        raise AssertionError("read from the columns")

    for method in ("name", "ids", "arrays"):
        monkeypatch.setattr(SongTexts, method, no)
    assert list(records.names(rows)) == songs[::-1]
    assert records.ids(rows) == ["b", "a"]
    assert records.arrays(rows, True)[2].to_pylist() == [None, "ß"]


@pytest.fixture
def written(tmp_path, request):
    """A table of 2 500 songs, some without names, some with a list that is shorter."""
    rng, n = np.random.default_rng(0), 2500
    songs = [(f"{i:05d}", None if i % 3 else f"Title {i}", f"Artist {i % 7}" * (1 + i % 50), "x") for i in range(n)]
    ids = rng.integers(0, n, (n, 6), np.int32)
    ids[::5, 4:] = -1
    scores = np.where(ids < 0, -np.inf, np.sort(rng.random((n, 6)))[:, ::-1]).astype(np.float32)
    metadata = Version("similar", tmp_path, made_by(SimilarSettings(n=6))).metadata
    write_sidecar(tmp_path, table_of(songs).replace_schema_metadata(metadata), ids, scores)
    if request.param == "older":
        file = tmp_path / SIDECAR / "songs.arrow"
        older = without_records(pa.ipc.open_file(pa.memory_map(str(file))).read_all())
        file.unlink()
        with pa.ipc.new_file(str(file), older.schema) as writer:
            writer.write_table(older)
    table = SimilarTable(tmp_path)
    assert isinstance(table._texts, SongRecords) is (request.param == "new")
    return table, songs, ids, scores


@pytest.mark.parametrize("written", ["new", "older"], indirect=True)
def test_a_table_answers_alike_with_records_and_without(written):
    table, songs, ids, scores = written
    assert list(table.songs()) == songs
    assert table.song("00009") == songs[9]
    for row in (0, 5, 7, 2499):
        of, score = (lists[row][ids[row] >= 0][:5] for lists in (ids, scores))
        assert table.similar(f"{row:05d}", 5) == [
            (rank, songs[i], s) for rank, (i, s) in enumerate(zip(of, score.tolist(), strict=True), 1)
        ]
        assert all(isinstance(line, lookup.Similar) for line in table.similar(f"{row:05d}", 5))
        assert all(isinstance(line.song, lookup.Song) for line in table.similar(f"{row:05d}", 5))
        assert table.similar_ids(f"{row:05d}", 5) == ([songs[i][0] for i in of], score.tolist())
    assert table.similar_ids("00000", 0) == ([], [])
    asked = ["00005", "nobody", "00007"]
    named = table.similar_many(asked, 5, names=True)
    expected = [
        (songs[row][0], rank, *songs[i][:1], s, *songs[i][1:])
        for row in (5, 7)
        for rank, (i, s) in enumerate(zip(ids[row, :5].tolist(), scores[row, :5].tolist(), strict=True), 1)
        if i >= 0
    ]
    assert [tuple(line.values()) for line in named.to_pylist()] == expected
    assert named.drop_columns(["title", "artist", "genre"]).equals(table.similar_many(asked, 5))
    assert table.similar_many([], 5, names=True).num_rows == 0
