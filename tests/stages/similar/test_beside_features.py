"""A model that is worse than the features alone is not published silently."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from musicrec import features
from musicrec.schemas import EMBEDDINGS, PREDICTIONS, TRACKS, features_schema
from musicrec.serve.comparable_songs import read_vectors
from musicrec.settings import CatalogSettings, EmbedSettings, ExtractSettings, SimilarSettings, TrainSettings
from musicrec.stages.similar import beside_features as beside
from musicrec.stages.similar.beside_features import K, beside_features, warning
from musicrec.stages.similar.publish import _judged
from musicrec.store.store import Store

N, TESTED = 60, 15
IDS = [f"song-{i:02d}" for i in range(N)]
GENRE = np.arange(N) % 3
ARTIST = np.arange(N) % 20  # artists have three songs, of several genres


@pytest.fixture
def out(tmp_path):
    """An OUT whose model or whose features tell the genres apart; the other is noise."""

    def make(better: str, name: str = "out") -> Store:
        rng = np.random.default_rng(5)
        noise, told = rng.normal(size=(N, 41)), 6 * np.eye(41)[GENRE] + 0.1 * rng.normal(size=(N, 41))
        by_features, by_model = (told, noise) if better == "features" else (noise, told)
        store = Store(tmp_path / name)
        store.create()
        names = features.feature_names("iiitd41")
        songs = [
            {"track_id": t, "uri": t, "genre": "abc"[g], "artist_ids": [f"artist {a}"]}
            for t, g, a in zip(IDS, GENRE, ARTIST, strict=True)
        ]
        rows = [
            {"track_id": t, "model_id": "m", "embedding": vector}
            for t, vector in zip(IDS, by_model[:, :8], strict=True)
        ]
        columns = pa.table([IDS, *by_features.astype(np.float32).T], schema=features_schema(names))
        for table, content, settings in (
            ("tracks", pa.Table.from_pylist(songs, TRACKS), CatalogSettings(source="/music")),
            ("features", columns, ExtractSettings()),
            ("embeddings", pa.Table.from_pylist(rows, EMBEDDINGS), EmbedSettings()),
        ):
            version = store.new_version(table, settings, table, model="knn", model_id="m")
            version.write_part(content)
            store.publish(version)
        version = store.new_version("models/knn", TrainSettings(model="knn"), "m")
        (version.folder / "model.json").write_text(
            json.dumps({"model": "knn", "model_id": "m", "input": {"reads": "features"}})
        )
        sides = [{"track_id": t, "split": "test" if i < TESTED else "train"} for i, t in enumerate(IDS)]
        pq.write_table(pa.Table.from_pylist(sides, PREDICTIONS), version.folder / "predictions.parquet")
        store.publish(version)
        return store

    return make


def brute_force(store: Store, space: tuple[str, ...]) -> float:
    """Mean share of the five nearest songs by other artists with the song's genre, for the tested songs."""
    x = read_vectors(store, space).matrix.astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    shares = []
    for i in range(TESTED):
        others = np.flatnonzero(ARTIST[i] != ARTIST)
        nearest = others[np.argsort(-(x[others] @ x[i]), kind="stable")[:K]]
        shares.append((GENRE[nearest] == GENRE[i]).mean())
    return float(np.mean(shares))


@pytest.mark.parametrize("better", ["features", "embeddings"])
def test_both_are_judged_by_the_songs_that_the_model_was_tested_on(out, better):
    store = out(better)
    found = beside_features(store, read_vectors(store))
    assert found["n_songs"] == TESTED
    assert found["embeddings"][0] == pytest.approx(brute_force(store, ()), abs=1e-4)
    assert found["features"][0] == pytest.approx(brute_force(store, ("features",)), abs=1e-4)
    assert found["difference"][1] <= found["difference"][0] <= found["difference"][2]
    assert (warning(found) is None) == (better == "embeddings")


def test_a_worse_model_is_said_to_be_worse_and_the_table_keeps_the_figures(out, capsys):
    store = out("features")
    judged = _judged(store, SimilarSettings(), read_vectors(store))
    said = capsys.readouterr().err
    assert "the model is worse than the features alone" in said
    assert "to compare by features: --space features" in said
    assert judged.origin.lineage[beside.KEY]["difference"][0] < 0
    assert _judged(
        store, SimilarSettings(space=("features",)), read_vectors(store, ("features",))
    ).origin.lineage.keys() == (read_vectors(store, ("features",)).origin.lineage.keys())
    assert capsys.readouterr().err == ""


def test_a_better_model_is_published_without_a_word(out, capsys):
    store = out("embeddings")
    _judged(store, SimilarSettings(), read_vectors(store))
    assert capsys.readouterr().err == ""


def test_a_model_of_which_nothing_is_known_is_not_judged(out):
    store = out("features")
    store.versions("models/knn").remove()
    assert beside_features(store, read_vectors(store)) is None
    assert warning(None) is None
