"""Tags are a space of their own beside the vectors of their model."""

import numpy as np
import pyarrow as pa
import pytest

from musicrec.errors import ConfigError
from musicrec.files.parquet import read_parquet
from musicrec.schemas import TRACKS, tags_schema
from musicrec.serve.comparable_songs import read_vectors
from musicrec.settings import CatalogSettings, PretrainedSettings
from musicrec.stages.chain import chain_settings, stages
from musicrec.store.outcomes import outcomes_table
from musicrec.store.spaces import PublishedSpace, SpaceCard, publish_space, read_space, require_spaces, spaces
from musicrec.store.store import Store
from musicrec.store.table_parts import ROWS_FILE

TAGS, IDS = ["rock", 'a "quoted" tag', "blues"], ["song-0", "song-1", "song-2"]
SETTINGS = PretrainedSettings(model="small")
SMALL = PublishedSpace("small", "0123456789abcdef", 2, SpaceCard(model="small", weights="3f9a", licence="CC0-1.0"))
RNG = np.random.default_rng(0)
VECTORS, SCORES = RNG.normal(size=(3, 2)).astype(np.float32), RNG.random((3, 3)).astype(np.float32)


@pytest.fixture
def store(tmp_path):
    """An OUT with vectors and tags of a model, as a run of the model writes them."""
    store = Store(tmp_path / "out")
    store.create()
    with store.new_version("tracks", CatalogSettings(source="/music"), "songs") as version:
        version.write_part(pa.Table.from_pylist([{"track_id": t, "uri": f"file:///{t}"} for t in IDS], TRACKS))
        store.publish(version)
    publish_space(store, SETTINGS, SMALL, pa.array(IDS), VECTORS, left_out=outcomes_table([]))
    publish_tags(store, SCORES)
    return store


def publish_tags(store, scores, ids=IDS):
    columns = [pa.array(ids), *(pa.array(column) for column in np.ascontiguousarray(scores.T))]
    with store.new_version("tags/small", SETTINGS, f"tags {scores.sum()}", space=SMALL.lineage) as version:
        version.write_part(pa.table(columns, schema=tags_schema(TAGS)))
        store.publish(version)


def test_the_vectors_of_tags_are_the_scores_minus_their_means(store):
    found = read_vectors(store, ("tags/small",))
    assert found.names["track_id"].to_pylist() == IDS
    np.testing.assert_allclose(found.matrix, SCORES - SCORES.mean(axis=0), atol=1e-6)
    both = read_vectors(store, ("small", "tags/small"))
    assert both.widths == {"small": 2, "tags/small": 3}
    assert both.matrix.shape == (3, 5)


def test_tags_are_another_space_than_the_vectors_of_their_model(store):
    tags, small = spaces(store)
    assert (tags.name, tags.dimension, tags.card) == ("tags/small", 3, SMALL.card)
    assert small == SMALL
    assert tags.space_id not in (small.space_id, SMALL.of_tags(TAGS[::-1]).space_id)
    assert read_space(store, "tags/small") == tags
    assert read_vectors(store, ("tags/small",)).origin.lineage["spaces"]["tags/small"]["tags"] == tags.space_id


def test_the_means_are_kept_from_night_to_night_until_the_songs_are_others(store):
    """So a song that did not change keeps its vector, and vectors by two means are of two spaces."""
    first = read_vectors(store, ("tags/small",))
    with store.new_version("similar", SETTINGS, "lists", **first.origin.lineage) as version:
        version.write_part(pa.table({"track_id": IDS}))
        store.publish(version)
    changed = SCORES.copy()
    changed[2] = 0.5
    publish_tags(store, changed)
    second = read_vectors(store, ("tags/small",))
    assert second.origin.space_id == first.origin.space_id
    assert np.array_equal(second.matrix[:2], first.matrix[:2])
    assert not np.array_equal(second.matrix[2], first.matrix[2])
    publish_tags(store, SCORES[:2], IDS[:2])  # a third of the songs is gone
    third = read_vectors(store, ("tags/small",))
    assert third.origin.space_id != first.origin.space_id
    np.testing.assert_allclose(third.matrix, SCORES[:2] - SCORES[:2].mean(axis=0), atol=1e-6)


def test_the_chain_runs_the_model_once_for_its_vectors_and_its_tags(store):
    for asked in (["tags/small"], ["small", "tags/small"]):
        settings = chain_settings(store, {"catalog": {"source": "/music"}, "similar": {"space": asked}})
        assert list(stages(store, settings))[-2:] == ["vectors/small", "similar"]


def test_a_space_is_another_once_its_songs_its_vectors_or_the_model_change(store):
    def fingerprint(space=SMALL, ids=IDS, vectors=VECTORS):
        publish_space(store, SETTINGS, space, pa.array(ids), vectors, left_out=outcomes_table([]))
        return store.footer("vectors/small")["fingerprint"]

    first, others = fingerprint(), [VECTORS.copy(), VECTORS[:2]]
    others[0][2, 1] = np.nextafter(others[0][2, 1], np.float32(9))
    found = [
        fingerprint(PublishedSpace("small", "f" * 16, 2, SMALL.card)),
        fingerprint(ids=["song-0", "song-1", "song-3"]),
        fingerprint(vectors=others[0]),
        fingerprint(ids=IDS[:2], vectors=others[1]),
    ]
    assert len({first, *found}) == 5
    assert fingerprint() == first


def test_a_stage_that_keeps_vectors_says_whose_libraries_made_them_and_which_rows_they_are(store, monkeypatch):
    songs = pa.table({"track_id": IDS, "fingerprint": ["a", "b", "c"]})
    monkeypatch.setattr("musicrec.store.store.made_with", lambda stage: {"onnxruntime": "9.9"})
    before = store.footer("vectors/small")["versions"]
    how = {"left_out": outcomes_table([]), "songs": songs}
    publish_space(store, SETTINGS, SMALL, pa.array(IDS), VECTORS + 1, keeps_rows=True, **how)
    assert store.footer("vectors/small")["versions"] == [{"onnxruntime": "9.9"}, *before]
    assert read_parquet(store.path("vectors/small") / ROWS_FILE).equals(songs)
    publish_space(store, SETTINGS, SMALL, pa.array(IDS), VECTORS + 2, **how)
    assert store.footer("vectors/small")["versions"] == [{"onnxruntime": "9.9"}]


def test_tags_that_no_model_gives_are_refused(store):
    with pytest.raises(ConfigError, match=r"no space 'tags/x'; .* musicrec vectors run .* x, if the model has tags"):
        require_spaces(store, ("tags/x",))
