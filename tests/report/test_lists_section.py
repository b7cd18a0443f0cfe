"""Hubs, orphans and what the last version changed, on lists that can be counted by hand."""

import numpy as np
import pyarrow as pa
import pytest

from musicrec.schemas import TRACKS
from musicrec.serve.sidecar import SIDECAR_COLUMNS
from musicrec.serve.table_writer import write_table
from musicrec.settings import CatalogSettings, SimilarSettings
from musicrec.store.store import Store
from report_page import page_of

pytestmark = pytest.mark.thorough

FIRST = [[1], [0], [0], [0]]  # song 0 is in three lists, 1 in one, 2 and 3 in none
SECOND = [[1], [2], [0], [0]]


def store_of(folder, *versions):
    store = Store(folder)
    store.create()
    settings = CatalogSettings(source="/music")
    store.settings.record(settings)
    rows = [
        {"track_id": f"{i}.wav", "uri": f"{i}.wav", "title": f"Song {i}", "artist": f"Artist {i}"} for i in range(4)
    ]
    tracks = pa.Table.from_pylist(rows, TRACKS)
    with store.new_version("tracks", settings, "1" * 16) as version:
        version.write_part(tracks)
        store.publish(version)
    for i, lists in enumerate(versions):
        ids = np.array(lists, np.int32)
        with store.new_version("similar", SimilarSettings(n=1), f"{i}" * 16) as version:
            write_table(version, tracks.select(SIDECAR_COLUMNS), ids, np.full(ids.shape, 0.5, np.float32))
            store.publish(version)
    return store


def test_hubs_come_with_their_share_and_orphans_by_name(tmp_path):
    page = page_of(store_of(tmp_path, FIRST))
    assert page.rows.index(["Song 0", "Artist 0", "3", "75.0\xa0%"]) + 1 == page.rows.index(
        ["Song 1", "Artist 1", "1", "25.0\xa0%"]
    )
    assert not [row for row in page.rows if row[0] == "Song 2"]
    assert "2 songs are recommended for no other: Song 2 Artist 2 Song 3 Artist 3" in page.text


def test_what_the_last_version_changed_is_told(tmp_path):
    store = store_of(tmp_path, FIRST, SECOND)
    page = page_of(store)
    assert "0 songs were added and 0 left. Of the lists of the songs of both, 3 are equal" in page.text
    assert "1 hold other songs; on average 75.0\xa0% of a list stayed" in page.text
    assert ["Song 1 Artist 1", "0", "1", "Song 2", "Song 0"] in page.rows
    assert "1 song is recommended for no other" in page.text


def test_one_version_has_nothing_to_be_compared_with(tmp_path):
    assert "Nothing to compare: only one version is on disk." in page_of(store_of(tmp_path, FIRST)).text


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"?"),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: path.unlink(),
    ],
    ids=["overwritten", "half copied", "lost"],
)
def test_a_damaged_older_version_stops_no_report(tmp_path, damage):
    store = store_of(tmp_path, FIRST, SECOND)
    versions = store.versions("similar")
    older = versions.root / versions.on_disk()[0]
    for path in [path for path in older.rglob("*") if path.is_file()]:
        damage(path)
    page = page_of(store)
    assert "Nothing to compare: " in page.text
    assert ["Song 0", "Artist 0", "2", "50.0\xa0%"] in page.rows
