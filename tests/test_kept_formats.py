"""What code of before has written, code of today understands: tables, a mapped table, models, and what a night keeps.

``data/kept`` holds a few short songs and the OUT that was made of them; ``data/make_kept.py`` made both.
"""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf

from musicrec.models import load, read_card
from musicrec.models.classical import _parts_of_pipelines
from musicrec.serve.lookup import SimilarTable
from musicrec.serve.status import complaint, status
from musicrec.settings import STAGES, resolve
from musicrec.similarity import top_n
from musicrec.similarity.search.refresh import refresh as refresh_lists
from musicrec.stages.chain import ChainSettings, refresh, run
from musicrec.stages.similar.kept_lists import ABOUT, FOLDER
from musicrec.stages.similar.kept_lists import load as load_lists
from musicrec.store.store import Store

NEWER = {("musicrec.models.steps", "WeightedKNeighbors")}  # classes that have come since
KEPT = Path(__file__).parent / "data" / "kept"
MODELS = sorted(path.name for path in (KEPT / "out" / "models").iterdir())
N, N_SONGS = 5, 18  # of which one is silent, and one is none


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A copy of the OUT; its settings name the songs by a path from the folder that holds both."""
    shutil.copytree(KEPT, tmp_path / "kept", symlinks=True)
    monkeypatch.chdir(tmp_path / "kept")
    return Store(tmp_path / "kept" / "out")


def chain_settings(store):
    return ChainSettings(*(resolve(STAGES[name], store.settings.recorded(name)) for name in ChainSettings._fields))


def published(store):
    return {name: store.versions(name).published for name in store.published()}


def last_report(store):
    return json.loads(max((store.out / "_runs").iterdir()).read_bytes())


def rows(name):
    """A table as any reader of Parquet finds it, in order of its songs."""
    return pq.read_table(KEPT / "out" / name).to_pandas().sort_values("track_id", ignore_index=True)


def test_status_finds_every_table_whole_and_says_which_is_computed_otherwise_today(store):
    found = status(store)
    assert len(found.tables) == 6 + len(MODELS)
    assert [table for table in found.tables if table.version.damage] == []
    assert {table.version.name: table.why_not for table in found.tables if table.why_not} == {
        "tracks": "made by catalog 1, and this musicrec has catalog 3",
        "features": "made by extract 2, and this musicrec has extract 3",
        "mel": "made by extract 2, and this musicrec has extract 3",
    }
    assert [(p["stage"], p["status"], p["tracks"]) for p in found.problems if p["stage"] == "extract"] == [
        ("extract", "failed", 1),
        ("extract", "skipped", 1),
    ]
    assert complaint(store, "similar", None) is None


def test_lookups_find_what_the_parquet_parts_hold(store):
    table, expected = SimilarTable(store.out), rows("similar")
    assert len(table) == N_SONGS - 2
    for track_id, own in expected.sort_values("rank").groupby("track_id"):
        found, scores = table.neighbours(track_id, N)
        assert [table.track_id(row) for row in found] == own["similar_track_id"].tolist()
        assert scores.tolist() == own["score"].tolist()


@pytest.mark.parametrize("name", MODELS)
def test_models_say_of_each_song_what_they_said(name):
    folder = KEPT / "out" / "models" / name
    card, features = read_card(folder), rows("features").set_index("track_id")
    said = pq.read_table(folder / "predictions.parquet").to_pandas()
    X = features.loc[said["track_id"], card["input"]["feature_names"]].to_numpy(np.float32)
    model = load(folder)
    np.testing.assert_allclose(model.predict_proba(X), np.stack(said["probabilities"]), atol=1e-6)
    if name == Store(KEPT / "out").settings.recorded("embed")["model"]:
        embeddings = rows("embeddings").set_index("track_id").loc[said["track_id"], "embedding"]
        np.testing.assert_allclose(model.embed(X), np.stack(embeddings), atol=1e-6)


class Noting(pickle.Unpickler):
    """Notes what a pickle names."""

    def find_class(self, module, name):
        self.named = getattr(self, "named", set()) | {(module, name)}
        return super().find_class(module, name)


def test_the_models_name_every_class_of_ours_that_a_model_may_name():
    """So that none can move unnoticed: a pickle names the module of each class."""
    named = set()
    for name in MODELS:
        with (KEPT / "out" / "models" / name / "pipeline.pickle").open("rb") as file:
            noting = Noting(file)
            noting.load()
        named |= noting.named
    assert {(module, name) for module, name in _parts_of_pipelines() if module.startswith("musicrec.")} <= named | NEWER


def assert_any_reader_finds(store):
    """In the folder of each table lie parts and nothing else, and they hold what the songs had."""
    for name in set(published(store)) - {f"models/{model}" for model in MODELS}:
        assert {path.suffix for path in (store.out / name).rglob("*")} == {".parquet"}, name
    before, now = rows("mel"), store.read("mel").to_pandas().sort_values("track_id", ignore_index=True)
    assert store.dataset("mel").schema.field("mel").type == pa.list_(pa.float32())
    assert now["track_id"].tolist() == before["track_id"].tolist()
    for old, new in zip(before["mel"], now["mel"], strict=True):
        assert old.dtype == np.float16
        np.testing.assert_allclose(new, old.astype(np.float32), atol=0.07)  # dB; another processor rounds otherwise


@pytest.mark.thorough
def test_a_run_decodes_all_songs_again_once_as_some_are_decoded_otherwise_today(store):
    counts = []
    with store.lock():
        run(store, chain_settings(store), show=counts.append)
    done = {counted.stage: counted.fresh for counted in counts}
    # The songs were copied, so that the catalog reads them again and finds the same content.
    n = N_SONGS - 2
    assert done == {"catalog": N_SONGS, "extract": N_SONGS, "train": n, "embed": n, "similar": n}
    assert last_report(store)["songs"] == {"total": N_SONGS, "added": 0, "changed": 0, "removed": 0, "moved": 0}
    after, before = published(store), rows("features")
    now = store.read("features").to_pandas().sort_values("track_id", ignore_index=True)
    assert_any_reader_finds(store)  # of these songs, none
    assert now["track_id"].tolist() == before["track_id"].tolist()
    numbers = before.select_dtypes("number").columns
    np.testing.assert_allclose(now[numbers], before[numbers], rtol=1e-5, atol=1e-6)
    with store.lock():
        run(store, chain_settings(store), show=counts.append)
    assert [counted.fresh for counted in counts[5:]] == [0] * 5
    assert published(store) == after


def test_lists_that_were_kept_are_brought_up_to_date(store):
    folder = store.path("similar") / FOLDER
    kept = load_lists(folder, json.loads((folder / ABOUT).read_text())["made_by"])
    table, vectors = SimilarTable(store.out), rows("embeddings").set_index("track_id")["embedding"]
    matrix = np.stack([vectors[table.track_id(row)] for row in range(len(table))])
    matrix[3] = matrix[5][::-1]
    today = refresh_lists(kept, matrix, np.arange(len(matrix)))
    expected = top_n(matrix, N)
    assert today.n_changed == 1
    assert today.lists.ids.tolist() == expected.ids.tolist()
    assert today.lists.scores.tobytes() == expected.scores.tobytes()


def test_the_refresh_after_it_compares_only_what_is_new(store, ray_session):
    with store.lock():
        refresh(store, chain_settings(store), show=lambda line: None)
    song = Path("songs/synthetic-bells/synthetic-bells-2.flac")
    samples, rate = sf.read(song)
    sf.write(song, samples[::-1], rate)
    with store.lock():
        refresh(store, chain_settings(store), show=lambda line: None)
    assert last_report(store)["songs"] == {"total": N_SONGS, "added": 0, "changed": 1, "removed": 0, "moved": 0}
    assert last_report(store)["decoded"] == 1
    assert store.footer("similar")["lineage"]["compared"]["changed"] == 1
    embeddings = store.read("embeddings").to_pandas().sort_values("track_id", ignore_index=True)
    vectors = np.stack(embeddings["embedding"]).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :N]
    found = store.read("similar").to_pandas().sort_values(["track_id", "rank"])
    assert found["similar_track_id"].tolist() == embeddings["track_id"].to_numpy()[best].ravel().tolist()
