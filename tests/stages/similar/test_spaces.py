"""Lists by the vectors of a space: those of brute force, kept from night to night, never mixed with another space's."""

import json

import numpy as np
import pyarrow as pa
import pytest

from musicrec.errors import MusicrecError, UnknownTrack
from musicrec.files.parquet import write_parquet
from musicrec.schemas import TRACKS
from musicrec.serve.lookup import SimilarTable
from musicrec.serve.status import versions_of
from musicrec.settings import SimilarSettings, VectorsSettings
from musicrec.similarity import top_n
from musicrec.similarity.search.exact import Lists
from musicrec.stages.chain import ChainSettings, chain_settings, stages
from musicrec.stages.similar.kept_lists import FOLDER, load
from musicrec.stages.similar.stage import similar
from musicrec.stages.vectors.stage import add_vectors
from musicrec.store.spaces import read_space

pytestmark = pytest.mark.usefixtures("ray_session")
N, D = 60, 8
IN_MERT = SimilarSettings(n=5, space=("mert",))
KNOWN = {"model": "mert", "weights": "3f9a"}


def vectors(seed=0, n=N, d=D):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def names(n=N):
    return [f"song-{i:03d}" for i in range(n)]


def add(store, matrix, ids=None, name="mert", **known):
    """Bring vectors into a space, by a file of that name."""
    file = store.out.parent / f"{name}.parquet"
    write_parquet(file, pa.table({"track_id": ids or names(len(matrix)), "embedding": list(matrix)}))
    return add_vectors(store, VectorsSettings(name=name, file=str(file), **known))


def published(store):
    """Ids and lists of the published table, from its Parquet form."""
    rows = store.read("similar").to_pandas()
    ids = sorted(set(rows["track_id"]))
    row = {track_id: i for i, track_id in enumerate(ids)}
    found = np.full((len(ids), rows["rank"].max()), -1, np.int32)
    scores = np.full(found.shape, -np.inf, np.float32)
    where = rows["track_id"].map(row), rows["rank"] - 1
    found[where], scores[where] = rows["similar_track_id"].map(row), rows["score"]
    return ids, Lists(found, scores)


def assert_lists(store, matrix, ids=None, n=5):
    found, lists = published(store)
    assert found == (ids or names(len(matrix)))
    expected = top_n(matrix, n)
    assert np.array_equal(lists.ids, expected.ids)
    assert np.array_equal(lists.scores, expected.scores)


def how(store):
    return store.footer("similar")["lineage"]["compared"]


def reasons(store):
    rows = store.read("outcomes").to_pylist()
    return {row["track_id"]: row["reason"] for row in rows if row["stage"] == "similar"}


@pytest.fixture
def store(tmp_path, publish_vectors):
    """An OUT with embeddings ``vectors(9)``, and a space mert with ``vectors(0)``."""
    store = publish_vectors(tmp_path / "out", vectors(9))
    add(store, vectors(), **KNOWN)
    return store


# --- lists by a space ---------------------------------------------------------------------------------------------


def test_lists_are_those_of_the_space_and_the_footer_names_it(store):
    similar(store, IN_MERT)
    assert_lists(store, vectors())
    lineage = store.footer("similar")["lineage"]
    space = read_space(store, "mert")
    assert lineage["spaces"]["mert"]["id"] == space.space_id
    assert lineage["made_of"] == {"vectors/mert": store.footer("vectors/mert")["fingerprint"]}
    assert f"space mert {space.space_id[:8]}" in versions_of(store, "similar")[0].made_by
    assert similar(store, IN_MERT).fresh == 0
    similar(store, SimilarSettings(n=5, space=("embeddings",)))
    assert_lists(store, vectors(9))


def test_the_default_space_has_the_fingerprint_of_before_there_were_spaces():
    before = SimilarSettings.model_fields.keys() - {"space"}
    content = SimilarSettings().model_dump(mode="json")
    assert content.keys() == {*before, "space"}
    for named in (SimilarSettings(), SimilarSettings(space=("embeddings",))):
        assert named.fingerprint("x") == "c4c53f4bef0cfd7d"
    assert SimilarSettings(space=("mert",)).fingerprint("x") != SimilarSettings(space=("clap",)).fingerprint("x")


def test_a_song_without_a_vector_has_no_list_and_a_lookup_says_why(store):
    matrix = vectors(1)
    matrix[7] = np.nan
    add(store, matrix[:-1], **KNOWN)
    counts = similar(store, IN_MERT)
    assert (counts.ok, counts.skipped, counts.failed) == (N - 2, 2, 0)
    assert {t: r for t, r in reasons(store).items() if r} == {"song-007": "no_vector", "song-059": "no_vector"}
    left = [i for i in range(N - 1) if i != 7]
    assert_lists(store, matrix[left], [names()[i] for i in left])
    for name, why in (("song-007", "vectors/mert failed, not_finite"), ("song-059", "vectors/mert skipped, no_vector")):
        with pytest.raises(UnknownTrack, match=f"{name} is in the catalog but not in the table: {why}"):
            SimilarTable(store.out).similar(name)


def test_an_outcome_of_a_space_does_not_explain_a_table_of_another(store, publish_vectors):
    add(store, vectors()[:-1], **KNOWN)
    given = list(vectors(9))
    given[-1] = None
    publish_vectors(store.out, given)
    similar(store, SimilarSettings(n=5))
    with pytest.raises(UnknownTrack, match="not in the table: similar skipped, not_finite"):
        SimilarTable(store.out).similar("song-059")


@pytest.mark.parametrize(
    "rules",
    [
        {"no_same_artist": True, "max_per_artist": 1},
        {"hubness": "mutual_proximity"},
        {"genre": "boost"},
        {"min_score": 0.2},
    ],
    ids=lambda rules: next(iter(rules)),
)
def test_rules_are_those_of_embeddings_with_the_same_vectors(store, publish_vectors, tmp_path, rules):
    for out in (store, publish_vectors(tmp_path / "same", vectors())):
        tracks = out.read("tracks").to_pylist()
        songs = [t | {"artist_id": f"a{i % 7}", "genre": f"g{i % 3}"} for i, t in enumerate(tracks)]
        with out.new_version("tracks", IN_MERT, "other-tracks") as version:
            version.write_part(pa.Table.from_pylist(songs, TRACKS))
            out.publish(version)
        similar(out, SimilarSettings(n=5, space=("mert",) if out is store else (), **rules))
    assert store.read("similar").equals(out.read("similar"))


# --- from night to night ------------------------------------------------------------------------------------------


def test_a_newer_file_of_the_same_space_is_a_refresh_and_of_another_a_full_run(store):
    similar(store, IN_MERT)
    matrix = vectors()
    matrix[3] += 1
    add(store, matrix, **KNOWN)
    similar(store, IN_MERT)
    assert how(store)["changed"] == 1
    assert_lists(store, matrix)
    matrix[4] += 1
    add(store, matrix, model="mert", weights="other")
    similar(store, IN_MERT)
    assert "changed" not in how(store)
    assert_lists(store, matrix)
    matrix[5] += 1
    add(store, matrix)  # nothing is known of it, so each file is another space
    similar(store, IN_MERT)
    assert "changed" not in how(store)
    assert_lists(store, matrix)


def test_a_space_by_another_name_with_the_same_id_is_the_same_space(store):
    similar(store, IN_MERT)
    add(store, vectors(), name="again", **KNOWN)
    similar(store, SimilarSettings(n=5, space=("again",)))
    assert how(store)["changed"] == 0
    assert_lists(store, vectors())


def test_kept_lists_of_another_space_are_passed_over(store):
    similar(store, IN_MERT)
    folder = store.path("similar") / FOLDER
    made_by = json.loads((folder / "about.json").read_text())["made_by"]
    assert made_by["model_id"] == read_space(store, "mert").space_id
    assert load(folder, made_by)
    assert load(folder, made_by | {"model_id": "another"}) is None


def test_a_rollback_to_a_table_of_another_space_mixes_nothing(store):
    similar(store, SimilarSettings(n=5))
    similar(store, IN_MERT)
    store.rollback("similar")
    assert_lists(store, vectors(9))
    assert "was withdrawn by a rollback" in str(similar(store, IN_MERT))
    matrix = vectors()
    matrix[3] += 1
    add(store, matrix, **KNOWN)
    similar(store, IN_MERT)  # the published table is one of embeddings, and nothing of it is kept
    assert "changed" not in how(store)
    assert_lists(store, matrix)
    store.rollback("similar")
    similar(store, SimilarSettings(n=5))
    assert_lists(store, vectors(9))


def test_too_few_vectors_leave_the_table(store):
    similar(store, IN_MERT)
    add(store, vectors(n=1), **KNOWN)
    with pytest.raises(MusicrecError, match="1 songs have a vector; a table needs at least two"):
        similar(store, IN_MERT)
    assert_lists(store, vectors())


# --- the chain ----------------------------------------------------------------------------------------------------


def test_the_chain_looks_at_the_files_of_the_spaces_that_are_compared(store):
    add(store, vectors(2), name="unused")
    base = chain_settings(store, {"catalog": {"source": "/music"}})
    assert list(stages(store, base)) == list(ChainSettings._fields)
    chain = stages(store, base._replace(similar=IN_MERT))
    assert list(chain) == ["catalog", "extract", "train", "embed", "vectors/mert", "similar"]
    assert chain["vectors/mert"]().fresh == 0
    matrix = vectors(3)
    write_parquet(store.out.parent / "mert.parquet", pa.table({"track_id": names(), "embedding": list(matrix)}))
    assert chain["vectors/mert"]().fresh == N
    chain["similar"]()
    assert_lists(store, matrix)
    with pytest.raises(MusicrecError, match="has no space 'clap'"):
        stages(store, base._replace(similar=SimilarSettings(space=("clap",))))
