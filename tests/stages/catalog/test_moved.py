"""A file that was renamed or moved is the song that it was: its id stays, and no new song takes it."""

import shutil

import numpy as np
import pyarrow.compute as pc
import pytest
import soundfile as sf

from musicrec.settings import CatalogSettings, ExtractSettings
from musicrec.stages.catalog.stage import catalog
from musicrec.stages.extract.plan import wanted_tracks
from musicrec.store.store import Store


def song(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, 0.1 * np.random.default_rng(seed).normal(size=8_000), 8_000)


@pytest.fixture
def source(tmp_path):
    for seed, name in enumerate(("a/one.wav", "a/two.wav", "b/three.wav")):
        song(tmp_path / "songs" / name, seed)
    return tmp_path / "songs"


@pytest.fixture
def store(tmp_path, source):
    store = Store(tmp_path / "out")
    store.create()
    look(store, source)
    return store


def look(store, source):
    """Run catalog; return how many songs have moved, and where each id is."""
    moved = catalog(store, CatalogSettings(source=str(source), genre_from="folder")).moved
    rows = store.read("tracks", ["track_id", "uri"]).to_pylist()
    return moved, {row["track_id"]: row["uri"].removeprefix(f"{source}/") for row in rows}


def test_a_song_that_moves_keeps_its_id_and_is_not_decoded_again(store, source):
    before = {track.row for track in wanted_tracks(store, ExtractSettings())}
    (source / "c").mkdir()
    (source / "a/one.wav").rename(source / "c/first.wav")
    songs = {"a/one.wav": "c/first.wav", "a/two.wav": "a/two.wav", "b/three.wav": "b/three.wav"}
    assert look(store, source) == (1, songs)
    assert {track.row for track in wanted_tracks(store, ExtractSettings())} == before
    assert store.read("tracks", ["genre"], pc.field("track_id") == "a/one.wav")["genre"].to_pylist() == ["c"]
    assert look(store, source) == (0, songs)


def test_a_new_song_where_another_lay_has_an_id_of_its_own(store, source):
    (source / "a/one.wav").rename(source / "a/first.wav")
    look(store, source)
    song(source / "a/one.wav", seed=9)
    songs = {"a/one.wav": "a/first.wav", "a/one.wav#2": "a/one.wav", "a/two.wav": "a/two.wav"}
    assert look(store, source) == (0, songs | {"b/three.wav": "b/three.wav"})
    assert look(store, source) == (0, songs | {"b/three.wav": "b/three.wav"})


def test_two_songs_that_change_places_with_a_third_are_told_apart_by_their_bytes(store, source):
    for old, new in (("a/one.wav", "x.wav"), ("a/two.wav", "y.wav")):
        (source / old).rename(source / new)
    assert look(store, source)[1] == {"a/one.wav": "x.wav", "a/two.wav": "y.wav", "b/three.wav": "b/three.wav"}


def test_a_source_that_is_elsewhere_now_has_the_same_songs(tmp_path, source, monkeypatch):
    store = Store(tmp_path / "other")
    store.create()
    monkeypatch.chdir(tmp_path)
    settings = CatalogSettings(source="songs", genre_from="folder")
    catalog(store, settings)
    before = store.track_ids()
    (source / "a/one.wav").rename(source / "first.wav")
    shutil.move(source, tmp_path / "there" / "songs")
    monkeypatch.chdir(tmp_path / "there")
    assert catalog(store, settings).moved == 1  # first.wav; the others lie where they lay in the source
    assert store.track_ids() == before


def test_a_copy_and_another_song_of_that_length_are_new(store, source):
    (source / "copy.wav").write_bytes((source / "a/one.wav").read_bytes())
    (source / "b/three.wav").unlink()
    song(source / "new.wav", seed=7)
    assert look(store, source) == (
        0, {"a/one.wav": "a/one.wav", "a/two.wav": "a/two.wav", "copy.wav": "copy.wav", "new.wav": "new.wav"}
    )  # fmt: skip


def test_a_text_where_a_song_lay_that_has_moved_has_an_outcome_of_its_own(store, source):
    bare = source / "a/bare"  # its first bytes tell what it is
    (source / "a/two.wav").rename(bare)
    assert look(store, source)[0] == 1
    song(source / "a/four.wav", seed=4)
    (source / "a/four.wav").rename(source / "a/four")
    look(store, source)
    (source / "a/four").rename(source / "a/five.wav")
    assert look(store, source) == (
        1, {"a/one.wav": "a/one.wav", "a/two.wav": "a/bare", "b/three.wav": "b/three.wav", "a/four": "a/five.wav"}
    )  # fmt: skip
    (source / "a/four").write_text("words")
    look(store, source)
    outcomes = store.read("outcomes", ["track_id"], pc.field("stage") == "catalog")["track_id"].to_pylist()
    assert sorted(outcomes) == ["a/four", "a/four#2", "a/one.wav", "a/two.wav", "b/three.wav"]
