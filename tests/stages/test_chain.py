"""Train, embed and similar on a real Ray, and the whole chain as a user runs it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from extracting import CHAIN
from musicrec.errors import ConfigError, ModelError, MusicrecError, PublishError
from musicrec.models import read_card
from musicrec.serve.lookup import SimilarTable
from musicrec.settings import CatalogSettings, EmbedSettings, ExtractSettings, SimilarSettings, TrainSettings
from musicrec.stages.chain import chain_settings, run
from musicrec.stages.embed import embed
from musicrec.stages.similar.stage import similar
from musicrec.stages.train.stage import train
from musicrec.store.store import Store

TRAIN = TrainSettings(**CHAIN["train"])
TABLES = ("tracks", "outcomes", "features", "mel", "embeddings", "similar")


@pytest.fixture
def copy(chain: Store, tmp_path: Path) -> Store:
    shutil.copytree(chain.out, tmp_path / "out", symlinks=True)
    return Store(tmp_path / "out")


@pytest.mark.parametrize("table", TABLES)
def test_pandas_and_duckdb_read_every_table_straight_from_its_folder(chain: Store, table: str) -> None:
    by_pandas = pd.read_parquet(chain.out / table)
    by_duckdb = duckdb.sql(f"SELECT count(*) FROM read_parquet('{chain.out}/{table}/*.parquet')").fetchall()
    assert by_duckdb == [(len(by_pandas),)]
    assert len(by_pandas) == chain.read(table).num_rows > 0
    assert by_pandas.columns.tolist() == chain.read(table).column_names


def test_every_stage_accounts_for_every_track(chain: Store) -> None:
    outcomes = chain.read("outcomes").to_pandas()
    catalog = sorted(chain.track_ids())
    assert outcomes.groupby("stage").track_id.apply(sorted).tolist() == [catalog] * 5
    assert outcomes.query("stage == 'similar'").status.value_counts().to_dict() == {
        "ok": len(chain.read("features")),
        "skipped": len(catalog) - len(chain.read("features")),
    }


def test_a_second_run_changes_nothing(copy: Store) -> None:
    before = {name: copy.path(name).resolve() for name in (*TABLES, "models/mlp")}
    fresh = []
    run(copy, chain_settings(copy), show=lambda counts: fresh.append(counts.fresh))
    assert fresh == [0] * 5
    assert {name: copy.path(name).resolve() for name in before} == before


# --- train and embed ----------------------------------------------------------------------------------------------


def test_the_network_is_the_reference_one_and_learns(chain: Store) -> None:
    card = read_card(chain.path("models/mlp"))
    assert card["parameters"] == 46_732  # twelve genres, 41 features: the reference system's count
    history = pd.read_parquet(chain.path("models/mlp") / "history.parquet")
    assert history.epoch.tolist() == list(range(1, TRAIN.epochs + 1))
    assert history.loss.iloc[-1] < history.loss.iloc[0] / 2
    predictions = pd.read_parquet(chain.path("models/mlp") / "predictions.parquet")
    test = predictions[predictions.split == "test"]
    assert (test.genre == test.predicted).mean() == pytest.approx(card["metrics"]["test_accuracy"])
    assert card["metrics"]["test_accuracy"] > 3 / 12  # chance is 1/12
    assert predictions.track_id.is_unique


def test_no_artist_stands_on_both_sides_of_the_split(chain: Store) -> None:
    predictions = pd.read_parquet(chain.path("models/mlp") / "predictions.parquet")
    artists = chain.read("tracks", ["track_id", "artist_id"]).to_pandas()
    sides = predictions.merge(artists, on="track_id").dropna().groupby("artist_id").split.nunique()
    assert len(sides) > 12
    assert (sides == 1).all()


def test_embeddings_are_the_forward_pass_written_in_numpy(chain: Store) -> None:
    import keras

    card = read_card(chain.path("models/mlp"))
    network = keras.models.load_model(chain.path("models/mlp") / "network.keras", compile=False)
    weights = {f"{layer.name}/{w.name}": w.numpy() for layer in network.layers for w in layer.weights}
    features = chain.read("features").to_pandas().set_index("track_id")[card["input"]["feature_names"]]
    train_ids = pd.read_parquet(chain.path("models/mlp") / "predictions.parquet").query("split == 'train'").track_id
    learned = features.loc[train_ids].astype("float64")
    x = (features - learned.mean()) / learned.std(ddof=0)
    h = np.maximum(x @ weights["dense/kernel"] + weights["dense/bias"], 0)
    norm = {name: weights[f"dense_norm/{name}"] for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    h = (h - norm["moving_mean"]) / np.sqrt(norm["moving_variance"] + 1e-3) * norm["gamma"] + norm["beta"]
    expected = np.maximum(h @ weights["dense_1/kernel"] + weights["dense_1/bias"], 0)
    embeddings = chain.read("embeddings").to_pandas().set_index("track_id")
    assert (embeddings.model_id == card["model_id"]).all()
    np.testing.assert_allclose(np.stack(embeddings.embedding), expected.loc[embeddings.index], rtol=1e-3, atol=1e-3)


def test_training_on_one_genre_is_refused_with_the_remedy(copy: Store) -> None:
    tracks = copy.read("tracks").to_pandas().assign(genre="synthetic-drone")
    replace(copy, "tracks", tracks)
    with pytest.raises(ModelError, match="at least two genres"):
        train(copy, TRAIN)


def test_training_on_a_set_that_was_not_extracted_is_refused(synthetic: Path, copy: Store) -> None:
    version = copy.new_version("features", ExtractSettings(feature_sets=("gtzan57",)), "0" * 16)
    version.write_part(copy.read("features"))
    copy.publish(version)
    with pytest.raises(ConfigError, match="reads iiitd41"):
        train(copy, TRAIN)


def test_a_model_is_not_applied_to_features_of_another_sample_rate(copy: Store) -> None:
    version = copy.new_version("features", ExtractSettings(sample_rate=44100), "1" * 16)
    version.write_part(copy.read("features"))
    copy.publish(version)
    with pytest.raises(ModelError, match="sample_rate 22050, now 44100; train it again"):
        embed(copy, EmbedSettings())


def replace(store: Store, table: str, rows: pd.DataFrame) -> None:
    import pyarrow as pa

    version = store.new_version(table, CatalogSettings(source="test"), "0" * 16)
    version.write_part(pa.Table.from_pandas(rows, schema=store.read(table).schema, preserve_index=False))
    store.publish(version)


# --- similar ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_published_table_is_the_brute_force_one(copy: Store, metric: str) -> None:
    similar(copy, SimilarSettings(n=7, metric=metric))
    embeddings = copy.read("embeddings").to_pandas().set_index("track_id")
    x = np.stack(embeddings.embedding).astype(np.float64)
    if metric == "cosine":
        x /= np.linalg.norm(x, axis=1, keepdims=True)
    score = x @ x.T if metric == "cosine" else -np.linalg.norm(x[:, None] - x[None], axis=2)
    np.fill_diagonal(score, -np.inf)
    table = copy.read("similar").to_pandas()
    assert table["rank"].tolist() == list(range(1, 8)) * len(x)
    assert table.track_id.tolist() == np.repeat(embeddings.index, 7).tolist()
    best = -np.sort(-score, axis=1)[:, :7]
    np.testing.assert_allclose(table.score.to_numpy().reshape(-1, 7), best, atol=1e-5)
    listed = score[np.repeat(range(len(x)), 7), embeddings.index.get_indexer(table.similar_track_id)]
    np.testing.assert_allclose(table.score, listed, atol=1e-5)


def test_lookup_reads_what_was_published(copy: Store) -> None:
    table = copy.read("similar").to_pandas()
    lookup = SimilarTable(copy.out)
    for track_id in table.track_id.unique()[::7]:
        expected = table[table.track_id == track_id]
        found = lookup.similar(track_id, 10)
        assert [s.song.track_id for s in found] == expected.similar_track_id.tolist()
        assert [s.score for s in found] == expected.score.tolist()


def test_a_table_that_fails_its_gate_is_not_published(copy: Store) -> None:
    before = copy.path("similar").resolve()
    with pytest.raises(PublishError, match=r"coverage is .* its limit 1; the previous table stays published"):
        similar(copy, SimilarSettings(n=1, min_coverage=1.0))
    with pytest.raises(PublishError, match="churn"):
        similar(copy, SimilarSettings(n=20, max_churn=0.1))
    assert copy.path("similar").resolve() == before
    assert len(SimilarTable(copy.out)) > 0


def test_one_embedding_is_too_few_for_a_table(copy: Store) -> None:
    replace(copy, "embeddings", copy.read("embeddings").to_pandas().head(1))
    with pytest.raises(MusicrecError, match="at least two"):
        similar(copy, SimilarSettings())


# --- as a user ----------------------------------------------------------------------------------------------------


def musicrec(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "musicrec", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.thorough
def test_embed_before_train_and_train_before_extract_say_what_is_missing(synthetic: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert musicrec("catalog", out, "--source", synthetic).returncode == 0
    for command, missing in (("train", "features"), ("embed", "models/mlp"), ("similar", "embeddings")):
        result = musicrec(command, out)
        assert result.returncode == 1
        assert f"has no {missing} yet" in result.stderr
        assert "Traceback" not in result.stderr


def test_embedding_again_after_the_chain_is_a_matter_of_reading_footers(copy: Store) -> None:
    assert embed(copy, EmbedSettings()).fresh == 0


@pytest.mark.slow
def test_gtzan_from_audio_to_lookup(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = musicrec("run", out, "--source", data / "gtzan")
    assert result.returncode == 0, result.stderr
    outcomes = pd.read_parquet(out / "outcomes")
    assert outcomes.stage.value_counts().to_dict() == dict.fromkeys(
        ("catalog", "extract", "train", "embed", "similar"), 100
    )
    found = json.loads(musicrec("lookup", out, "blues.00002", "--json").stdout)
    neighbours = [row["track_id"] for row in found["similar"]]
    assert len(set(neighbours)) == 10
    assert "blues.00002" not in neighbours
    assert set(neighbours) <= set(pd.read_parquet(out / "tracks").track_id)


@pytest.mark.slow
def test_the_torture_set_ends_with_every_file_accounted_for(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = musicrec("run", out, "--source", data / "odd")
    assert result.returncode == 0, result.stderr
    outcomes = pd.read_parquet(out / "outcomes")
    files = [p for p in (data / "odd").rglob("*") if p.is_file()]
    assert len(outcomes.query("stage == 'catalog'")) == len(files)
    assert outcomes[outcomes.status == "failed"].reason.notna().all()
    assert outcomes[outcomes.status == "failed"].detail.notna().all()
