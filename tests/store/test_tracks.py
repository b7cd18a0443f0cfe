"""Columns of tracks, whichever musicrec wrote the table."""

import pyarrow as pa

from musicrec.schemas import TRACKS
from musicrec.settings import CatalogSettings
from musicrec.store.store import Store
from musicrec.store.tracks import read_tracks

COLUMNS = ["track_id", "artist_ids", "album_id", "genres", "isrc"]
NEW = {"artist_ids", "album_id", "genres", "recording_mbid", "track_mbid", "album_mbid", "isrc"}
ROWS = [
    {"track_id": "a", "artist_id": "ada", "album": "X", "genre": "Folk"},
    {"track_id": "b", "artist_id": None, "album": "X", "genre": None},
    {"track_id": "c", "artist_id": "ben", "album": None, "genre": "Jazz"},
]


def published(tmp_path, rows, schema):
    store = Store(tmp_path / "out")
    store.create()
    version = store.new_version("tracks", CatalogSettings(source="/music"), "x")
    version.write_part(pa.Table.from_pylist(rows, schema))
    store.publish(version)
    return store


def test_what_an_older_musicrec_did_not_write_is_made_of_what_it_did(tmp_path):
    store = published(tmp_path, ROWS, pa.schema([field for field in TRACKS if field.name not in NEW]))
    table = read_tracks(store, COLUMNS)
    assert table.schema.names == COLUMNS
    assert table["artist_ids"].to_pylist() == [["ada"], [], ["ben"]]
    assert table["album_id"].to_pylist() == ["ada/X", "X", None]
    assert table["genres"].to_pylist() == [["Folk"], [], ["Jazz"]]
    assert table["isrc"].to_pylist() == [None] * 3
    assert read_tracks(store, ["isrc"]).num_rows == 3


def test_what_is_null_is_made_of_the_others(tmp_path):
    rows = [*ROWS, {"track_id": "d", "artist_ids": [], "artist_id": "x"}]
    table = read_tracks(published(tmp_path, rows, TRACKS), COLUMNS)
    assert table["artist_ids"].to_pylist() == [["ada"], [], ["ben"], []]
    assert table["album_id"].to_pylist() == ["ada/X", "X", None, None]


def test_what_is_there_is_read_as_it_is(tmp_path):
    rows = [{"track_id": "a", "artist_ids": ["ada", "ben"], "album_id": "x", "genres": ["Folk", "Jazz"], "isrc": "I"}]
    assert read_tracks(published(tmp_path, rows, TRACKS), COLUMNS).to_pylist() == rows
