"""The section on evaluation, from synthetic predictions drawn by a seeded generator."""

import re
import xml.etree.ElementTree as ET
from base64 import b64decode

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from musicrec.evaluate import controls
from musicrec.evaluate.bootstrap import artist_groups
from musicrec.evaluate.comparison import compare
from musicrec.evaluate.controls import SHUFFLED
from musicrec.evaluate.scores import control_scores, scores
from musicrec.evaluate.summary import best_and_worst
from musicrec.report import evaluation_figures, figures
from musicrec.report.evaluation_section import p_text
from musicrec.settings import CatalogSettings
from musicrec.store.store import Store
from report_evaluation import ARTISTS, GENRES, IDS, MODELS, N, synthetic, synthetic_curves, write
from report_page import Page, page_of


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    return synthetic()


@pytest.fixture(scope="module")
def table(predictions) -> pd.DataFrame:
    sources = pd.Series(["wav", "mp3", "mp3"] * (N // 3), IDS)
    features = pd.DataFrame({"a": (sources == "wav") + 0.0, "b": np.arange(N)}, IDS)
    controls_ = control_scores(predictions, sources, ARTISTS, features)
    return pd.concat([scores(predictions, ARTISTS), controls_], ignore_index=True)


@pytest.fixture(scope="module")
def page(predictions, table, tmp_path_factory) -> Page:
    return page_of(write(tmp_path_factory.mktemp("synthetic"), predictions, table, synthetic_curves()))


def test_without_artists_no_figure_for_new_artists_is_shown(predictions, tmp_path):
    """An older musicrec has published one, of songs that were each taken for an artist of their own."""
    store = write(tmp_path, predictions)
    assert "no artist on both sides" in page_of(store).text
    tracks = store.read("tracks")
    place = tracks.schema.get_field_index("artist_id")
    version = store.new_version("tracks", CatalogSettings(source="/synthetic"), "e" * 16)
    version.write_part(tracks.set_column(place, tracks.schema.field(place), [pa.nulls(N, pa.string())]))
    store.publish(version)
    text = page_of(store).text
    assert "no artist on both sides" not in text
    assert f"{N} of the {N} songs have no artist: how well a model does for artists that it has not heard" in text


def points(share: float) -> str:
    return f"{100 * share:.1f}".replace("-", "−")


def overall(table, model, split):
    return table[(table["model"] == model) & (table["split"] == split) & table["genre"].isna()].set_index("metric")


# --- what the section says ------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_models_stand_by_splits_with_their_intervals(page, table):
    printed = {row[0]: row for row in page.rows if len(row) == 8}
    for model in MODELS:
        for split, cells in (("random", printed[model][2:5]), ("artist", printed[model][5:8])):
            of_model = overall(table, model, split)
            value, low, high = of_model.loc["accuracy", ["value", "low", "high"]]
            spread = points(of_model.loc["accuracy_std", "value"])
            assert cells[0].split() == [points(value), "±", spread, points(low), "to", points(high)]
            assert cells[1:] == [points(of_model.loc["f1", "value"]), f"{of_model.loc['auc', 'value']:.3f}"]
    assert printed[controls.CONSTANT][5].startswith(points(overall(table, controls.CONSTANT, "artist")["value"].item()))
    ranks = [row[0] for row in page.rows if row[0] in MODELS and len(row) == 8]
    accuracies = [overall(table, model, "artist").loc["accuracy", "value"] for model in ranks]
    assert accuracies == sorted(accuracies, reverse=True)


@pytest.mark.thorough
def test_every_pair_is_told_from_the_side_of_the_row(page, predictions):
    of_split = predictions[(predictions["split"] == "artist") & ~predictions["model"].str.endswith(SHUFFLED)]
    pairs = compare(of_split, artist_groups(ARTISTS, IDS))
    header = next(i for i, row in enumerate(page.rows) if row[0] == "" and set(row[1:]) < set(MODELS))
    names = page.rows[header][1:]
    found = {
        frozenset((row[0], other)): (row[0], cell)
        for row in page.rows[header + 1 : header + 3]
        for other, cell in zip(names, row[1:], strict=True)
        if cell
    }
    assert len(found) == 3
    for pair in pairs.to_dict("records"):
        better, cell = found[frozenset((pair["first"], pair["second"]))]
        sign = 1 if better == pair["first"] else -1
        low, high = sorted((sign * pair["low"], sign * pair["high"]))
        assert cell.split()[:4] == [f"+{points(sign * pair['difference'])}", points(low), "to", points(high)]
        assert cell.replace("\xa0", " ").endswith(p_text(pair["p_holm"]).replace("\xa0", " "))


def test_the_best_model_is_told_genre_by_genre(page, table):
    assert "The best model, genre by genre: crnn" in page.text
    of_model = table[(table["model"] == "crnn") & (table["split"] == "artist")]
    for genre in GENRES:
        by_metric = of_model[of_model["genre"] == genre].set_index("metric")
        row = next(row for row in page.rows if row[0] == genre and len(row) == 10)
        value = by_metric["value"].to_dict()
        assert row[1] == str(by_metric["n_songs"].iloc[0])
        assert row[2:4] == [points(value["precision"]), points(value["recall"])]
        assert row[4].split()[0] == points(value["f1"])
        assert row[5] == f"{value['auc']:.3f}"
        assert row[7:] == [points(value[f"{rate}_at_half"]) for rate in ("precision", "recall", "f1")]


def test_what_a_genre_is_taken_for_is_its_commonest_mistake(page, predictions):
    wrong = predictions[(predictions["model"] == "crnn") & (predictions["split"] == "artist")]
    shares = pd.crosstab(wrong["genre"], wrong["predicted"], normalize="index")
    for genre in GENRES:
        row = next(row for row in page.rows if row[0] == genre and len(row) == 10)
        others = shares.loc[genre].drop(genre)
        assert row[6].replace("\xa0", " ") == f"{others.idxmax()} {points(others.max())} %"


def test_each_model_has_its_best_and_worst_genre(page, table):
    for model in MODELS:
        best, worst, *_ = best_and_worst(table, model, "artist")
        row = next(row for row in page.rows if row[0] == model and len(row) == 5)
        assert (row[1], row[3]) == (best, worst)


def test_the_control_of_the_source_is_in_words(page, table):
    told = {
        name: overall(table, name, "artist")["value"].item() for name in (controls.SOURCE_ALONE, controls.SOURCE_HEARD)
    }
    assert f"The source of the file alone predicts the genre of {points(told[controls.SOURCE_ALONE])}\xa0%" in page.text
    assert f"The features predict the source of {points(told[controls.SOURCE_HEARD])}\xa0%" in page.text


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("whole", "shuffled", "words"),
    [
        (3.0, 0.0, r"costs crnn [\d.]+ points of accuracy \([\d.]+ to [\d.]+; McNemar p\s<\s0.001\): this part of its"),
        (
            0.0,
            3.0,
            r"raises the accuracy of crnn by [\d.]+ points \([\d.]+ to [\d.]+; .*: it does not depend on the order",
        ),
        (1.0, 1.0, r"changes the accuracy of crnn by 0.0 points \(0.0 to 0.0; McNemar p\s=\s1.00\): nothing shows"),
    ],
)
def test_shuffled_frames_in_words(tmp_path, whole, shuffled, words):
    predictions = synthetic({"crnn": whole, f"crnn{SHUFFLED}": shuffled}, ("artist",))
    if whole == shuffled:
        same = predictions[predictions["model"] == "crnn"]
        predictions = pd.concat([same, same.assign(model=f"crnn{SHUFFLED}")])
    text = page_of(write(tmp_path, predictions)).text
    assert re.search(r"Shuffling the frames of the songs " + words, text)
    assert "One model against another" not in text  # a spoilt model is no other model


@pytest.mark.thorough
def test_a_random_split_alone_is_called_flattering(tmp_path, page):
    text = page_of(write(tmp_path, synthetic(splits=("random",)))).text
    assert "No split by artist was evaluated, so these figures are too high." in text
    assert "so these figures are too high" not in page.text


def test_learning_curves_are_those_of_the_networks(page):
    assert page.text.count("mean of 3 networks, one per fold and seed") == 2
    assert "stopped early" not in page.text


# --- what may be there or not ---------------------------------------------------------------------------------------


def test_without_an_evaluation_there_is_no_section(tmp_path):
    store = Store(tmp_path)
    store.create()
    store.settings.record(CatalogSettings(source="/synthetic"))
    page = page_of(store)
    assert "#evaluation" not in page.addresses
    assert "Evaluation" not in page.text


def test_names_are_escaped(page):
    assert "<b>svm</b>" in page.text
    assert "i" not in page.tags
    for address in page.addresses:
        if address.startswith("data:"):
            ET.fromstring(b64decode(address.partition(",")[2]))  # well-formed


@pytest.mark.thorough
def test_one_model_without_probabilities_and_with_lost_answers(tmp_path):
    predictions = synthetic({"svm": 1.0}, ("artist",), seeds=1).assign(probabilities=None)
    predictions.loc[:9, "predicted"] = None
    page = page_of(write(tmp_path, predictions))
    hits = (predictions["genre"] == predictions["predicted"]).mean()
    row = next(row for row in page.rows if row[0] == "svm" and len(row) == 5)
    assert row[2].split()[0] == points(hits)
    assert row[4] == "–"  # AUC
    assert "above one half" not in page.text
    assert "ROC of" not in page.text


@pytest.mark.thorough
def test_one_genre_only(tmp_path):
    page = page_of(write(tmp_path, synthetic({"svm": 1.0}, ("artist",), genres=["blues"])))
    assert "Best and worst genre" not in page.text
    assert next(row for row in page.rows if row[0] == "blues" and len(row) == 10)[2] == "100.0"


def test_an_empty_evaluation_has_no_section(tmp_path):
    assert "#evaluation" not in page_of(write(tmp_path, synthetic()[:0])).addresses


# --- the figures ----------------------------------------------------------------------------------------------------


def test_curves_of_several_networks_are_their_mean_in_a_band():
    history = synthetic_curves(("cnn",))
    history = history[(history["fold"] > 0) | (history["epoch"] < 4)]  # one stopped early
    ax = figures.learning_curves(history).axes[0]
    expected = history.groupby("epoch")["loss"]
    assert ax.lines[0].get_ydata() == pytest.approx(expected.mean().to_numpy())
    outline = ax.collections[0].get_paths()[0].vertices
    assert outline[:, 1].max() == pytest.approx((expected.mean() + expected.std(ddof=0)).max())
    single = figures.learning_curves(history[history["fold"] == 1]).axes[0]
    assert len(single.collections) == 0


def labels(ax):
    return {text.get_text() for text in ax.get_legend().get_texts()}


@pytest.mark.thorough
@pytest.mark.parametrize(("seeds", "said"), [(1, "which takes several seeds"), (2, "± shows that")])
def test_the_spread_over_seeds_is_spoken_of_where_it_is_shown(tmp_path, seeds, said):
    page = page_of(write(tmp_path, synthetic({"cnn": 1.0}, seeds=seeds)))
    assert said in page.text
    assert any("±" in cell for row in page.rows for cell in row) == (seeds > 1)


def test_roc_curves_and_intervals_draw_what_they_are_given():
    rates = np.linspace(0, 1, 201)
    ax = evaluation_figures.roc_curves({"_pop": rates**0.5, "jazz": rates}, {"_pop": 2 / 3, "jazz": 0.5}).axes[0]
    assert ax.lines[1].get_ydata() == pytest.approx(rates**0.5)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["pop  0.667", "jazz  0.500"]
    rows = pd.DataFrame(
        {"model": ["a", "b"], "split": "artist", "value": [0.5, 0.4], "low": [0.3, 0.3], "high": [0.6, 0.6]}
    )
    ax = evaluation_figures.accuracy_intervals(rows, chance=0.1).axes[0]
    reach = ax.collections[0].get_segments()
    assert [segment[:, 0].tolist() for segment in reach] == [pytest.approx([0.3, 0.6]), pytest.approx([0.3, 0.6])]
    assert labels(ax) == {"no artist on both sides", "always the commonest genre"}
    both = pd.concat([rows, rows.assign(split="random")])
    ax = evaluation_figures.accuracy_intervals(both, chance=0.1).axes[0]
    chance = "always the commonest genre (no artist on both sides)"  # on the random split, it is another one
    assert labels(ax) == {"no artist on both sides", "random split", chance}


@pytest.mark.parametrize(
    ("p", "text"), [(0.0004, "p < 0.001"), (0.0123, "p = 0.012"), (0.5, "p = 0.50"), (1.0, "p = 1.00")]
)
def test_p_values_in_words(p, text):
    assert p_text(p).replace("\xa0", " ") == text
