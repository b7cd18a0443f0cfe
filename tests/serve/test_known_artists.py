"""Circles of artists and songs without artists, from the table of songs."""

import pyarrow as pa

from musicrec.report.sections import accounting, read_genres
from musicrec.schemas import EVALUATION, OUTCOMES, TRACKS
from musicrec.serve.known_artists import are_known, circles_of, n_without_artist, without_artists
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


def test_a_few_songs_without_artists_are_counted_and_many_leave_nothing_to_say(tmp_path):
    for n_without, known in ((0, True), (2, True), (3, False), (40, False)):
        store = Store(tmp_path / str(n_without))
        store.create()
        ids = [f"song-{i:02d}" for i in range(40)]
        rows = [{"track_id": t, "artist_ids": [t] if i >= n_without else []} for i, t in enumerate(ids)]
        answers = pa.Table.from_pylist([{"track_id": t} for t in ids], EVALUATION)
        for name, table in (("tracks", pa.Table.from_pylist(rows, TRACKS)), ("evaluation", answers)):
            version = store.new_version(name, CatalogSettings(source="/music"), "x")
            version.write_part(table)
            store.publish(version)
        assert are_known(store, pa.array(ids)) == known
        line = without_artists(store)
        assert (line is None) == (n_without == 0)
        if line:
            assert line.startswith(f"{n_without} of the 40 songs have no artist")
            assert ("cannot be known" in line) == (not known)
