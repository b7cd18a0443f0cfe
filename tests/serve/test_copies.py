"""The files of a recording are listed with what tells which of them to keep, the best one first."""

import csv

import pyarrow as pa
import pytest

from musicrec.errors import ConfigError, SchemaError
from musicrec.schemas import RECORDINGS, TRACKS
from musicrec.serve.copies import COPIES, copies, write_copies
from musicrec.settings import CatalogSettings, DuplicatesSettings
from musicrec.store.store import Store

MB = 1_000_000
FILES = {  # recording, bytes, seconds
    "a.mp3": ("a.mp3", 2 * MB, 100.0),
    "b.FLAC": ("a.mp3", 9 * MB, 90.0),
    "c.ogg": ("a.mp3", 2 * MB, 50.0),
    "d.mp3": ("a.mp3", 1 * MB, None),
    "e.wav": ("e.wav", 4 * MB, 20.0),
    "f, g.opus": ("f, g.opus", 1 * MB, 100.0),
    "h.opus": ("f, g.opus", 2 * MB, 200.0),
    "i.flac?v=2": ("f, g.opus", 3 * MB, 100.0),
}


def publish(store, table, rows, settings, schema):
    with store.new_version(table, settings, "test") as version:
        version.write_part(pa.Table.from_pylist(rows, schema))
        store.publish(version)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "out")
    store.create()
    tracks = [
        {"track_id": name, "uri": f"http://a/{name}" if "?" in name else f"/music/{name}", "size_bytes": size}
        | {"duration_s": seconds}
        for name, (_, size, seconds) in FILES.items()
    ]
    publish(store, "tracks", tracks, CatalogSettings(source="/music"), TRACKS)
    return store


@pytest.fixture
def found(store):
    rows = [{"track_id": name, "recording": recording, "score": 0.1} for name, (recording, *_) in FILES.items()]
    publish(store, "recordings", rows, DuplicatesSettings(), RECORDINGS)
    return copies(store)


def test_files_of_a_recording_stand_together_the_best_first(found):
    assert found.schema.equals(COPIES)
    assert found["track_id"].to_pylist() == [
        *("b.FLAC", "c.ogg", "a.mp3", "d.mp3"),  # lossless; 320 kbit/s; 160 kbit/s; unknown
        *("i.flac?v=2", "h.opus", "f, g.opus"),  # of two at 80 kbit/s the longer one
    ]
    assert found["recording"].to_pylist() == ["a.mp3"] * 4 + ["f, g.opus"] * 3


def test_format_and_bit_rate_are_told(found):
    rows = {row["track_id"]: row for row in found.to_pylist()}
    assert rows["b.FLAC"]["format"] == rows["i.flac?v=2"]["format"] == "flac"
    assert rows["a.mp3"]["kbit_s"] == 160
    assert rows["d.mp3"]["kbit_s"] is None
    assert rows["h.opus"]["duration_s"] == 200
    assert rows["h.opus"]["score"] == pytest.approx(0.1)


def test_the_file_is_csv_and_replaces_an_older_one(found, tmp_path):
    file = tmp_path / "copies.csv"
    file.write_text("old")
    write_copies(found, file)
    with file.open(newline="", encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    assert [row["uri"] for row in rows] == found["uri"].to_pylist()
    assert rows[0].keys() == set(COPIES.names)
    assert rows[-1]["track_id"] == "f, g.opus"


def test_a_collection_without_copies_has_an_empty_list(store):
    rows = [{"track_id": name, "recording": name} for name in FILES]
    publish(store, "recordings", rows, DuplicatesSettings(), RECORDINGS)
    assert copies(store).num_rows == 0


def test_what_is_missing_is_said(store, found, tmp_path):
    with pytest.raises(ConfigError, match=r"copies\.csv cannot be written"):
        write_copies(found, tmp_path / "nowhere" / "copies.csv")
    store.versions("recordings").remove()
    with pytest.raises(SchemaError, match="has no recordings yet"):
        copies(store)
