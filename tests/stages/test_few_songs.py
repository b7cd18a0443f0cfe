"""Songs without genres, and an only song, through the stages behind extract; nothing here needs Ray."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import soundfile as sf

from musicrec.errors import ConfigError, MusicrecError, NotLearnable
from musicrec.features import feature_names
from musicrec.files.parquet import write_parquet
from musicrec.models import load, read_card, with_defaults
from musicrec.report import write_report
from musicrec.schemas import OK, TRACKS, features_schema
from musicrec.serve.lookup import SimilarTable
from musicrec.settings import (
    CatalogSettings,
    EmbedSettings,
    ExtractSettings,
    SimilarSettings,
    TrainSettings,
    VectorsSettings,
)
from musicrec.stages.chain import chain_settings, run
from musicrec.stages.model_inputs import load_training_set
from musicrec.stages.similar.stage import similar
from musicrec.stages.train.stage import fit_and_write
from musicrec.stages.vectors.stage import add_vectors
from musicrec.stages.without_genres import (
    comparable,
    foretell,
    has_no_model,
    skip_embedding,
    space_without_embeddings,
    train_if_possible,
)
from musicrec.store.outcomes import Outcome, outcomes_table, save_outcomes
from musicrec.store.store import Store

NAMES = feature_names("iiitd41")


def store_of(out, genres):
    """An OUT of as many songs with drawn features, in three heaps."""
    store = Store(out)
    store.create()
    n = len(genres)
    ids = [f"song-{i:02d}" for i in range(n)]
    heap = 9 * np.eye(3)[np.arange(n) % 3] @ np.random.default_rng(1).normal(size=(3, len(NAMES)))
    X = (heap + np.random.default_rng(0).normal(size=(n, len(NAMES)))).astype(np.float32)
    songs = [
        {"track_id": t, "uri": t, "title": t, "genre": g, "artist_ids": [t]} for t, g in zip(ids, genres, strict=True)
    ]
    for name, rows, how in (
        ("tracks", pa.Table.from_pylist(songs, TRACKS), CatalogSettings(source="/music")),
        ("features", pa.table([ids, *X.T], schema=features_schema(NAMES)), ExtractSettings()),
    ):
        version = store.new_version(name, how, "drawn")
        version.write_part(rows)
        store.publish(version)
        store.settings.record(how)
    return store


def add_mert(store, folder):
    """Give the first song a vector of a model from elsewhere."""
    file = folder / "mert.parquet"
    write_parquet(file, pa.table({"track_id": ["song-00"], "embedding": [[1.0, 2.0]]}))
    add_vectors(store, VectorsSettings(name="mert", file=str(file)))


NO_GENRES = [None] * 30


@pytest.mark.parametrize(
    ("model", "genres"),
    [
        ("kmeans", NO_GENRES),
        ("birch", NO_GENRES),
        ("gaussian_mixture", NO_GENRES),
        ("dbscan", NO_GENRES),
        ("birch", ["rock"] * 30),
        ("birch", ["rock", "jazz"] + [None] * 28),
    ],
)
def test_clusters_are_found_without_genres(tmp_path, model, genres):
    store, folder = store_of(tmp_path / "out", genres), tmp_path / "model"
    folder.mkdir()
    fit_and_write(store, with_defaults(TrainSettings(model=model)), "id", folder)
    card = read_card(folder)
    assert (card["classes"], card["metrics"]["test_accuracy"], card["metrics"]["n_train"]) == ([], None, 30)
    assert "adjusted_rand" not in card["clustering"]
    clusters = pd.read_parquet(folder / "clusters.parquet").sort_values("track_id")
    assert clusters.track_id.tolist() == store.track_ids()
    assert clusters.cluster.nunique() >= 3
    heaps = [set(clusters.cluster[i::3]) - {-1} for i in range(3)]
    assert not heaps[0] & heaps[1]  # no cluster holds songs of two heaps
    assert not heaps[1] & heaps[2]
    X = load_training_set(store, with_defaults(TrainSettings(model=model)), needs_genres=False).X
    vectors, probabilities = load(folder).embed_and_predict(X)
    assert (vectors.shape, probabilities.shape) == ((30, 2), (30, 0))


def test_the_report_of_clusters_without_genres_says_so(tmp_path):
    store = store_of(tmp_path / "out", [None] * 12)
    settings = with_defaults(TrainSettings(model="kmeans"))
    version = store.new_version("models/kmeans", settings, "id")
    fit_and_write(store, settings, "id", version.folder)
    store.publish(version)
    store.settings.record(settings)
    assert "the songs have no genres to compare with" in write_report(store).read_text()


def test_a_classifier_refuses_them_with_the_remedy(tmp_path):
    for genres, said in (([None] * 3, "of the 3 songs none has a genre"), (["rock"] * 3, "3 are rock")):
        with pytest.raises(NotLearnable, match=rf"two genres of two songs each, and .*{said}; put the songs into"):
            load_training_set(store_of(tmp_path / said, genres), with_defaults(TrainSettings()))


def test_two_songs_are_too_few_for_clusters(tmp_path):
    with pytest.raises(NotLearnable, match="clusters need at least 3 songs, and there are 2"):
        load_training_set(
            store_of(tmp_path, [None] * 2), with_defaults(TrainSettings(model="kmeans")), needs_genres=False
        )


@pytest.mark.parametrize("space", [("features",), ("features=1", "mert=1")])
def test_an_only_song_has_an_empty_list(tmp_path, space):
    store = store_of(tmp_path / "out", [None])
    add_mert(store, tmp_path)
    for expected in (1, 0):  # and the second time it is up to date
        assert similar(store, SimilarSettings(space=space)).fresh == expected
    table = SimilarTable(store.out)
    assert table.similar("song-00", 10) == []
    assert len(table) == 1
    assert len(pd.read_parquet(store.out / "similar")) == 0
    write_report(store)


def test_a_song_that_lost_all_others_vectors_is_no_table(tmp_path):
    store = store_of(tmp_path / "out", [None] * 3)
    add_mert(store, tmp_path)
    with pytest.raises(MusicrecError, match="1 songs have a vector; a table needs at least two"):
        similar(store, SimilarSettings(space=("mert",)))


def test_the_stages_that_need_genres_leave_every_song_with_the_reason(tmp_path):
    store = store_of(tmp_path / "out", ["rock", None])
    train, embed = TrainSettings(), EmbedSettings()
    assert not has_no_model(store, embed)  # nothing has been tried yet, so embed says what is missing
    assert str(train_if_possible(store, train)).startswith(
        "train: 0 ok + 2 skipped + 0 failed = 2 (none trained on now); no model: a genre model needs at least two"
    )
    assert has_no_model(store, embed)
    assert skip_embedding(store, embed).skipped == 2
    outcomes = store.read("outcomes").to_pandas()
    assert set(outcomes.reason) == {"too_few_genres"}
    assert outcomes.stage.tolist() == ["embed", "embed", "train", "train"]
    assert comparable(store, SimilarSettings()).space == ("features",)
    assert comparable(store, SimilarSettings(space=("embeddings=1", "mert=2"))).space == ("mert",)
    assert comparable(store, SimilarSettings(space=("mert",))).space == ("mert",)


# --- what is said first -------------------------------------------------------------------------------------------


def test_what_will_not_work_is_said_before_any_song_is_decoded(tmp_path, monkeypatch, capsys):
    from musicrec.stages.extract import stage

    for name in ("a", "b"):
        (tmp_path / "songs").mkdir(exist_ok=True)
        sf.write(tmp_path / f"songs/{name}.wav", np.zeros(800), 8_000)

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    def start(out, **similar):
        store = Store(tmp_path / out)
        store.create()
        settings = chain_settings(store, {"catalog": {"source": str(tmp_path / "songs")}, "similar": similar})
        run(store, settings, show=lambda counts: None)

    monkeypatch.setattr(stage, "extract", stop)
    with pytest.raises(KeyboardInterrupt):
        start("out")
    said = capsys.readouterr().err
    assert "of the 2 songs none has a genre: no model is trained, and songs are compared by features" in said
    assert "train, tune, evaluate and --genre need genres" in said
    with pytest.raises(ConfigError, match="--genre only leaves no song in any list"):
        start("only", genre="only")


@pytest.mark.engine
def test_the_report_advises_no_command_that_would_fail(tmp_path):
    store = store_of(tmp_path, [None] * 3)
    train_if_possible(store, TrainSettings())
    skip_embedding(store, EmbedSettings())
    similar(store, SimilarSettings(space=("features",)))
    page = write_report(store).read_text()
    assert '<p class="note">There is none: a genre model needs at least two genres' in page
    assert "There is no model that embeds the songs" in page
    assert "To make it, run" not in page
    assert page.count("of the 3 songs none has a genre") == 2  # in the section, and once for all songs of the table


def test_what_does_not_work_is_not_foretold_every_night(tmp_path, capsys):
    store = store_of(tmp_path, [None, None])
    for said in (True, False):
        foretell(store, TrainSettings(), SimilarSettings(), keep_model=False)
        assert ("no model is trained" in capsys.readouterr().err) == said
        train_if_possible(store, TrainSettings())


def test_the_model_of_before_stays_when_genres_are_gone(tmp_path):
    store, settings = store_of(tmp_path, ["rock", "jazz", "pop"] * 4), with_defaults(TrainSettings(model="knn"))
    version = store.new_version("models/knn", settings, "0" * 16)
    fit_and_write(store, settings, "id", version.folder)
    store.publish(version)
    learned = outcomes_table(Outcome(track_id, "train", OK) for track_id in store.track_ids())
    save_outcomes(store, "train", learned, settings, "id")
    before = store.path("models/knn").resolve()
    store_of(tmp_path, [None] * 12)
    counts = train_if_possible(store, settings)
    assert counts.ok == 12
    assert str(counts).endswith(
        "the model of before is kept: a genre model needs at least two genres of two songs each, and of the 12 songs "
        "none has a genre"
    )
    assert store.path("models/knn").resolve() == before
    assert read_card(before)["classes"] == ["jazz", "pop", "rock"]
    assert not has_no_model(store, EmbedSettings(model="knn"))
    foretell(store, settings, SimilarSettings(), keep_model=False)


def test_with_genres_nothing_is_foretold(tmp_path, capsys):
    store = store_of(tmp_path / "out", ["rock", "rock", "jazz", "jazz"])
    foretell(store, TrainSettings(), SimilarSettings(genre="only"), keep_model=False)
    assert capsys.readouterr().err == ""


def test_an_only_song_is_told_that_its_list_stays_empty(tmp_path, capsys):
    store = store_of(tmp_path / "out", ["rock"])
    foretell(store, TrainSettings(model="kmeans"), SimilarSettings(), keep_model=False)
    assert capsys.readouterr().err == "there is one song, so its list stays empty\n"


def test_the_space_without_a_model():
    assert space_without_embeddings(()) == ("features",)
    assert space_without_embeddings(("musicnn",)) == ("musicnn",)
    assert space_without_embeddings(("embeddings=1", "musicnn=2")) == ("musicnn",)
