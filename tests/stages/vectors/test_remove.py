"""A space is removed with its tags, its outcomes and its leftovers; one that lists stand on is not."""

import numpy as np
import pyarrow as pa
import pytest

from musicrec.errors import ConfigError
from musicrec.files.parquet import write_parquet
from musicrec.schemas import tags_schema
from musicrec.settings import PretrainedSettings, SimilarSettings, VectorsSettings
from musicrec.stages.similar.stage import similar
from musicrec.stages.vectors.remove import remove_space
from musicrec.stages.vectors.stage import add_vectors
from musicrec.store.spaces import read_space, spaces

N = 12


def names():
    return [f"song-{i:03d}" for i in range(N)]


def add(store, name):
    file = store.out.parent / f"{name}.parquet"
    matrix = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
    write_parquet(file, pa.table({"track_id": names(), "embedding": list(matrix)}))
    add_vectors(store, VectorsSettings(name=name, file=str(file), model=name, weights="1"))
    space = read_space(store, name).lineage
    with store.new_version(f"tags/{name}", PretrainedSettings(model=name), "0123456789abcdef", space=space) as version:
        version.write_part(pa.table([names(), np.ones(N, np.float32)], schema=tags_schema(["rock"])))
        store.publish(version)


@pytest.fixture
def store(tmp_path, publish_vectors):
    store = publish_vectors(tmp_path / "out", np.random.default_rng(1).normal(size=(N, 4)))
    for name in ("mert", "clap"):
        add(store, name)
    return store


def test_a_space_goes_with_its_tags_and_outcomes_and_the_others_stay(store, command):
    others = store.read("vectors/clap"), store.read("tags/clap")
    code, said, complaint = command("vectors", "remove", store.out, "mert")
    assert (code, said, complaint) == (0, f"vectors/mert and tags/mert removed from {store.out}\n", "")
    assert [space.name for space in spaces(store)] == ["tags/clap", "clap"]
    assert store.published() == ["embeddings", "outcomes", "tags/clap", "tracks", "vectors/clap"]
    assert set(store.read("outcomes")["stage"].to_pylist()) == {"vectors/clap"}
    assert (store.read("vectors/clap"), store.read("tags/clap")) == others
    assert not list((store.out / "_versions").glob("*/mert"))
    code, _, complaint = command("vectors", "remove", store.out, "mert")
    assert (code, complaint.count("\n")) == (2, 1)
    assert "has no space 'mert' that was added (there: clap); nothing was removed" in complaint
    for name in ("embeddings", "features"):
        with pytest.raises(ConfigError, match=f"has no space '{name}' that was added"):
            remove_space(store, name)
    add(store, "mert")
    assert [space.name for space in spaces(store)] == ["tags/clap", "tags/mert", "clap", "mert"]


def test_a_removal_that_was_killed_is_finished_by_the_next(store, monkeypatch):
    for n_kept in (1, 2):
        add(store, "mert")
        calls = []

        def killed(path, n_kept=n_kept, calls=calls):
            calls.append(path)
            if len(calls) > n_kept:
                raise KeyboardInterrupt
            if path.is_symlink():
                path.unlink()

        with monkeypatch.context() as patch:
            patch.setattr("musicrec.store.versions.remove", killed)
            patch.setattr("musicrec.store.pointer.remove", killed)
            with pytest.raises(KeyboardInterrupt):
                remove_space(store, "mert")
        remove_space(store, "mert")
        assert not list((store.out / "_versions").glob("*/mert"))
        assert [space.name for space in spaces(store)] == ["tags/clap", "clap"]


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({"space": ["mert=1", "embeddings=2"]}, "--space embeddings"),
        ({"require_tag": ["mert:rock"]}, "--require-tag none --exclude-tag none"),
        (
            {"space": ["mert"], "exclude_tag": ["mert:rock=1"]},
            "--space embeddings --require-tag none --exclude-tag none",
        ),
    ],
)
def test_a_space_that_lists_stand_on_stays_until_they_stand_on_another(store, command, settings, options):
    if "exclude_tag" in settings:
        space = read_space(store, "mert").lineage
        with store.new_version("tags/mert", PretrainedSettings(model="mert"), "f" * 16, space=space) as version:
            version.write_part(pa.table([names(), np.zeros(N, np.float32)], schema=tags_schema(["rock"])))
            store.publish(version)
    similar(store, SimilarSettings(n=3, max_hub_share=1.0, **settings))
    code, _, complaint = command("vectors", "remove", store.out, "mert")
    assert (code, complaint.count("\n")) == (2, 1)
    assert complaint.endswith(f"first make another table: musicrec similar {store.out} {options}\n")
    remove_space(store, "clap")
    assert command("similar", store.out, *options.split())[0] == 0
    assert command("vectors", "remove", store.out, "mert")[0] == 0
    assert command("similar", store.out)[0] == 0
