"""Circles of artists and songs without artists, from the table of songs."""

import pyarrow as pa

from musicrec.report.sections import accounting, read_genres
from musicrec.schemas import OUTCOMES, TRACKS
from musicrec.serve.known_artists import circles_of, n_without_artist
from musicrec.settings import CatalogSettings
from musicrec.store.store import Store

SONGS = {"a": ["ada", "ben"], "b": ["ben"], "c": ["cem"], "d": [], "e": None}


def test_songs_without_artists_are_counted_and_the_others_are_in_circles(tmp_path):
    store = Store(tmp_path / "out")
    store.create()
    rows = [{"track_id": t, "artist_ids": a, "recording": "r" if t == "d" else None} for t, a in SONGS.items()]
    for name, table in (("tracks", pa.Table.from_pylist(rows, TRACKS)), ("outcomes", OUTCOMES.empty_table())):
        version = store.new_version(name, CatalogSettings(source="/music"), "x")
        version.write_part(table)
        store.publish(version)
    assert circles_of(store, ["b", "a", "c", "d", "e", "gone"]).to_dict() == {
        "b": "ada", "a": "ada", "c": "cem", "d": "r", "e": None, "gone": None,
    }  # fmt: skip
    assert circles_of(store, ["b"]).to_dict() == {"b": "ben"}  # Ada is nowhere near
    assert n_without_artist(store) == 2
    assert n_without_artist(store, pa.array(["a", "e"])) == 1
    assert accounting(store, read_genres(store))["without_artist"] == 2
