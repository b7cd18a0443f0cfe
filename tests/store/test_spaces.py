"""Tags are a space of their own beside the vectors of their model."""

import numpy as np
import pyarrow as pa
import pytest

from musicrec.errors import ConfigError
from musicrec.schemas import TRACKS, tags_schema
from musicrec.serve.comparable_songs import read_vectors
from musicrec.settings import CatalogSettings, PretrainedSettings
from musicrec.stages.chain import chain_settings, stages
from musicrec.store.outcomes import outcomes_table
from musicrec.store.spaces import PublishedSpace, SpaceCard, publish_space, read_space, require_spaces, spaces
from musicrec.store.store import Store

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
    columns = [pa.array(IDS), *(pa.array(column) for column in SCORES.T)]
    with store.new_version("tags/small", SETTINGS, "tags", space=SMALL.lineage) as version:
        version.write_part(pa.table(columns, schema=tags_schema(TAGS)))
        store.publish(version)
    return store


def test_the_vectors_of_tags_are_the_scores(store):
    found = read_vectors(store, ("tags/small",))
    assert found.names["track_id"].to_pylist() == IDS
    assert np.array_equal(found.matrix, SCORES)
    both = read_vectors(store, ("small", "tags/small"))
    assert both.widths == {"small": 2, "tags/small": 3}
    assert both.matrix.shape == (3, 5)


def test_tags_are_another_space_than_the_vectors_of_their_model(store):
    tags, small = spaces(store)
    assert (tags.name, tags.dimension, tags.card) == ("tags/small", 3, SMALL.card)
    assert small == SMALL
    assert tags.space_id not in (small.space_id, SMALL.of_tags(TAGS[::-1]).space_id)
    assert read_space(store, "tags/small") == tags
    assert read_vectors(store, ("tags/small",)).origin.space_id == tags.space_id


def test_the_chain_runs_the_model_once_for_its_vectors_and_its_tags(store):
    for asked in (["tags/small"], ["small", "tags/small"]):
        settings = chain_settings(store, {"catalog": {"source": "/music"}, "similar": {"space": asked}})
        assert list(stages(store, settings))[-2:] == ["vectors/small", "similar"]


def test_tags_that_no_model_gives_are_refused(store):
    with pytest.raises(ConfigError, match=r"no space 'tags/x'; .* musicrec vectors run .* x, if the model has tags"):
        require_spaces(store, ("tags/x",))
