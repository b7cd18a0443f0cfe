"""Footers name the libraries that made the values, also where a night keeps rows that older ones made."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from musicrec.schemas import OK
from musicrec.serve.status import version_status
from musicrec.settings import ExtractSettings
from musicrec.store import lineage
from musicrec.store import store as store_module
from musicrec.store.lineage import made_by, read_footer, to_metadata
from musicrec.store.made_with import made_with, side_by_side
from musicrec.store.staging import read_staged, stage_shard
from musicrec.store.store import Store
from musicrec.store.table_parts import write_version
from musicrec.store.table_spec import Table

SETTINGS = ExtractSettings()
SCHEMA = pa.schema([("track_id", pa.string()), ("value", pa.float32())], to_metadata(made_by(SETTINGS)))


@pytest.fixture
def night(tmp_path, monkeypatch):
    """A function that makes some songs with a version of a library, and publishes these and those of before."""
    store, published = Store(tmp_path / "out"), []
    store.create()

    def run(library, *songs, anew=False, track_bytes=8):
        table = Table("features", SCHEMA, track_bytes)
        for module in (lineage, store_module):
            monkeypatch.setattr(module, "made_with", lambda stage: {"libsndfile": library, "numpy": "2.0"})
        published[:] = sorted({*([] if anew else published), *songs})
        row = {"status": OK, "fingerprint": "f", "stage": "extract", "value": 1.0}
        rows = [{"track_id": song} | row for song in songs]
        stage_shard(store.work, "extract", library, [table], rows)
        version = store.new_version("features", SETTINGS, f"{len(published):08d}")
        wanted = pa.table({"track_id": published, "fingerprint": ["f"] * len(published)})
        write_version(store, version, table, wanted, read_staged(store.work, "extract"))
        store.publish(version)
        store.work.clear("extract")
        return store

    return run


def libraries(footer):
    return [versions["libsndfile"] for versions in footer["versions"]]


def of_parts(store):
    return [libraries(read_footer(pq.read_schema(part))) for part in sorted((store.out / "features").iterdir())]


def told(store):
    return version_status(store, "features", store.versions("features").published).versions


def test_the_libraries_of_a_stage_are_those_of_this_machine():
    found = made_with("pretrained")
    assert list(found) == ["libsndfile", "FFmpeg", "soxr", "numpy", "onnxruntime"]
    assert all(version[0].isdigit() for version in found.values())
    assert made_with("catalog") == {}


def test_a_table_whose_rows_two_versions_made_names_both_and_status_says_so(night):
    store = night("1.2", "a", "b")
    assert (libraries(store.footer("features")), of_parts(store), told(store)) == (["1.2"], [["1.2"]], None)
    night("1.3", "c")
    assert libraries(store.footer("features")) == ["1.3", "1.2"]
    assert of_parts(store) == [["1.3", "1.2"]]  # one file holds them all
    assert told(store) == "libsndfile 1.3 and 1.2"
    night("1.3", "d")
    assert libraries(store.footer("features")) == ["1.3", "1.2"]
    night("1.4", "a", "b", anew=True)
    assert (libraries(store.footer("features")), told(store)) == (["1.4"], None)


def test_a_file_that_a_night_keeps_goes_on_to_name_what_made_it(night):
    store = night("1.2", "a", "b", track_bytes=2**24)
    night("1.3", "c", track_bytes=2**24)
    assert sorted(of_parts(store)) == [["1.2"], ["1.3"]]


def test_libraries_that_are_known_on_one_side_only_are_not_told_apart():
    assert side_by_side([]) is None
    assert side_by_side([{"numpy": "2.0"}, {"numpy": "2.0", "soxr": "1.0"}]) is None
    assert side_by_side([{"numpy": "2.1", "soxr": "1.1"}, {"numpy": "2.0", "soxr": "1.0"}]) == (
        "numpy 2.1 and 2.0, soxr 1.1 and 1.0"
    )
