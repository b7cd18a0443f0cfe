"""A table that a rollback published again, while the vectors it was made of moved on: nothing mixes the two."""

import json

import numpy as np
import pyarrow as pa
import pytest

from musicrec import Recommender, SimilarTable
from musicrec.files.parquet import write_parquet
from musicrec.settings import SimilarSettings, VectorsSettings
from musicrec.stages.similar.stage import similar
from musicrec.stages.vectors.stage import add_vectors

pytestmark = pytest.mark.usefixtures("ray_session")
N, n = 40, 5
WEIGHTS = {"clap": 0.25, "mert": 1.0}
SEVERAL = SimilarSettings(n=n, space=tuple(f"{name}={weight}" for name, weight in WEIGHTS.items()))


def vectors(seed, d=8):
    return np.random.default_rng(seed).normal(size=(N, d)).astype(np.float32)


def names():
    return [f"song-{i:03d}" for i in range(N)]


def add(store, name, matrix, weights):
    file = store.out.parent / f"{name}.parquet"
    write_parquet(file, pa.table({"track_id": names(), "embedding": list(matrix)}))
    add_vectors(store, VectorsSettings(name=name, file=str(file), model=name, weights=weights))


def cosines(matrix):
    unit = matrix.astype(np.float64) / np.linalg.norm(matrix.astype(np.float64), axis=1, keepdims=True)
    return unit @ unit.T


def order(scores, row):
    return [names()[i] for i in np.argsort(-scores[row], kind="stable") if i != row]


@pytest.fixture
def store(tmp_path, publish_vectors):
    """Lists in mert and clap; then mert got vectors of another model and length, lists in it, and a rollback."""
    store = publish_vectors(tmp_path / "out", vectors(9))
    add(store, "mert", vectors(0), "1")
    add(store, "clap", vectors(1, 3), "1")
    similar(store, SEVERAL)
    add(store, "mert", vectors(2, 12), "2")
    similar(store, SEVERAL)
    store.rollback("similar")
    return store


@pytest.fixture
def parts():
    """What each space contributed to the cosine of each pair when the lists were made."""
    made_of = {"clap": vectors(1, 3), "mert": vectors(0)}
    return {name: WEIGHTS[name] / sum(WEIGHTS.values()) * cosines(matrix) for name, matrix in made_of.items()}


def test_lists_and_shares_are_those_of_the_vectors_they_were_made_of(store, parts, command):
    table, expected = SimilarTable(store.out), sum(parts.values())
    for row, name in enumerate(names()):
        found = table.similar(name, n)
        assert [line.song.track_id for line in found] == order(expected, row)[:n]
        for space, shares in table.shares(name, n).items():
            others = [names().index(line.song.track_id) for line in found]
            np.testing.assert_allclose(shares, parts[space][row, others], atol=1e-3)
    code, said, complaint = command("lookup", store.out, "song-003", "--why", "--json", "-n", n)
    assert (code, complaint) == (0, "")
    for line in json.loads(said)["similar"]:
        assert sum(line["shares"].values()) == pytest.approx(line["score"], abs=2e-3)


def test_why_not_refuses_in_one_line_and_status_names_what_moved_on(store, command):
    code, said, complaint = command("lookup", store.out, "song-003", "--why-not", "song-004")
    assert (code, said, complaint.count("\n")) == (1, "", 1)
    assert "similar was not made of the published vectors/mert, so its ranks cannot be found again" in complaint
    status = json.loads(command("status", store.out, "--json")[1])
    (similar_now,) = (table for table in status["tables"] if table["name"] == "similar")
    assert similar_now["up_to_date"] is False
    assert similar_now["why_not"].startswith("a rollback withdrew 00002-")


def test_a_recommendation_by_embeddings_compares_these_alone(store, publish_vectors):
    for seed in (9, 10):  # the second time, the embeddings have moved on too
        publish_vectors(store.out, vectors(seed))
        expected = cosines(vectors(seed))
        found = Recommender(store.out).recommend(["song-003"], n, by="embedding")
        assert [line.song.track_id for line in found] == order(expected, 3)[:n]
        np.testing.assert_allclose([line.score for line in found], -np.sort(-expected[3])[1 : n + 1], atol=1e-6)


def test_a_recommendation_by_the_table_compares_its_spaces_by_their_vectors_of_today(store):
    of_today = {"clap": vectors(1, 3), "mert": vectors(2, 12)}
    expected = sum(WEIGHTS[name] / sum(WEIGHTS.values()) * cosines(matrix) for name, matrix in of_today.items())
    found = Recommender(store.out).recommend(["song-003"], n)
    assert [line.song.track_id for line in found] == order(expected, 3)[:n]
    np.testing.assert_allclose([line.score for line in found], -np.sort(-expected[3])[1 : n + 1], atol=1e-6)


def test_a_rollback_to_lists_in_another_space_is_explained_by_that_space(store, parts, command):
    add(store, "mert", vectors(0), "1")  # the vectors that the lists were made of are back
    expected = sum(parts.values())
    other = order(expected, 3)[20]
    found = json.loads(command("lookup", store.out, "song-003", "--why-not", other, "--json")[1])
    assert (found["rank"], found["rule"]) == (21, "n")
    similar(store, SimilarSettings(n=n))
    store.rollback("similar")
    found = json.loads(command("lookup", store.out, "song-003", "--why-not", other, "--json")[1])
    assert (found["rank"], list(found["shares"])) == (21, ["clap", "mert"])


def test_the_next_run_compares_all_songs_by_the_vectors_of_today(store):
    assert "was withdrawn by a rollback" in str(similar(store, SEVERAL))
    add(store, "mert", vectors(3, 12), "2")
    similar(store, SEVERAL)
    expected = sum(
        WEIGHTS[name] / sum(WEIGHTS.values()) * cosines(matrix)
        for name, matrix in {"clap": vectors(1, 3), "mert": vectors(3, 12)}.items()
    )
    assert "changed" not in store.footer("similar")["lineage"]["compared"]
    table = SimilarTable(store.out)
    for row, name in enumerate(names()):
        assert [line.song.track_id for line in table.similar(name, n)] == order(expected, row)[:n]
