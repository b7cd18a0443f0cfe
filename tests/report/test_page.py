"""The report page, on small catalogs whose songs, features and vectors are synthetic: drawn by a seeded generator."""

import base64
import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

from musicrec import schemas
from musicrec.errors import ConfigError
from musicrec.evaluate.proportion import wilson
from musicrec.report import figures, map_section, numbers, sections, write_report
from musicrec.settings import EmbedSettings, SimilarSettings
from musicrec.store.store import Store
from report_catalog import GENRES, HOSTILE, N_SIMILAR, Catalog
from report_page import Page, page_of


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Catalog:
    return Catalog(tmp_path_factory.mktemp("synthetic") / "out").everything()


@pytest.fixture(scope="module")
def page(full) -> Page:
    return page_of(full.store)


# --- what the page says ---------------------------------------------------------------------------------------------


def test_duplicates_are_accounted_for_where_somebody_has_asked_for_them(tmp_path):
    catalog = Catalog(tmp_path / "out")
    catalog.tracks()
    catalog.outcomes()

    def stages():
        found = sections.accounting(catalog.store, sections.read_genres(catalog.store))
        return {row.stage: row.total for row in found["stages"]}

    assert "duplicates" not in stages()
    catalog.store.settings.record(SimilarSettings(no_duplicates=True))
    assert stages()["duplicates"] == 0
    catalog.store.settings.record(SimilarSettings())
    catalog.outcomes(("catalog", "duplicates"))
    assert stages()["duplicates"] == len(catalog.ids)


@pytest.mark.thorough
def test_accounting_is_that_of_the_tables(page):
    assert ["catalog", "26", "0", "0", "26", "26", "adds up"] in page.rows
    assert ["extract", "24", "1", "1", "26", "26", "adds up"] in page.rows
    assert ["similar", "–", "–", "–", "–", "26", "not run yet"] in page.rows
    assert not [row for row in page.rows if row[0] == "duplicates"]  # nobody has asked for it
    assert ["extract", "failed", "not_audio", "1", "song-025 <b>RIFF</b> expected"] in page.rows
    assert ["extract", "skipped", "too_short", "1", "song-024 0.02 s"] in page.rows


def test_a_lost_song_is_called_lost(tmp_path):
    catalog = Catalog(tmp_path)
    catalog.tracks()
    catalog.outcomes(lost=1)
    assert ["catalog", "25", "0", "0", "25", "26", "1 unaccounted for"] in page_of(catalog.store).rows


@pytest.mark.thorough
def test_accuracy_comes_with_its_count_and_wilson_interval(page):
    low, high = stats.binomtest(6, 8).proportion_ci(method="wilson")
    assert "6 of 8 test songs: 75.0\xa0%" in page.text
    assert f"{100 * low:.1f}\xa0% – {100 * high:.1f}\xa0%" in page.text  # the headline is no single figure
    assert "genre accuracy, 95\xa0% interval of 8 test songs" in page.text
    assert f"{100 * low:.1f}\xa0% to {100 * high:.1f}\xa0%" in page.text


@pytest.mark.thorough
def test_a_flattering_split_is_called_one(tmp_path, page):
    assert "not artist-disjoint" in page.text
    assert "The test set is small" in page.text
    catalog = Catalog(tmp_path)
    catalog.model(grouped=True)
    assert "not artist-disjoint" not in page_of(catalog.store).text


def test_gate_figures_are_those_of_the_footer(page):
    values = {row[0]: row[1] for row in page.rows if len(row) == 3}
    assert values["coverage"] == "87.5\xa0%"
    assert values["hub skew"] == "0.50"
    assert values["churn"] == "–"


@pytest.mark.thorough
def test_versions_on_disk_are_listed_with_their_figures_the_newest_first(tmp_path):
    catalog = Catalog(tmp_path / "out").everything()
    catalog.similar()
    first, second = catalog.store.versions("similar").on_disk()
    catalog.store.rollback("similar")
    rows = [row for row in page_of(catalog.store).rows if len(row) == 7 and row[0] in (first, second)]
    assert [row[0] for row in rows] == [second, first]
    assert [row[3:6] for row in rows] == [["87.5\xa0%", "25.0\xa0%", "–"]] * 2
    assert rows[0][6].startswith("withdrawn 20")
    assert rows[1][6] == "published"


def test_examples_are_rows_of_the_table(full, page):
    similar = full.store.read("similar").to_pandas()
    genre = dict(zip(full.ids, full.genres, strict=True))
    printed = [row for row in page.rows if len(row) == 5 and row[0].isdigit()]
    asked = re.findall(r"Similar songs to Title (song-\d+)", page.text)
    assert len(printed) == sections.N_EXAMPLES * N_SIMILAR
    assert f"Similar songs to {HOSTILE}" in page.text
    asked.append(full.ids[0])
    assert {genre[t] for t in asked} == set(GENRES)
    for track_id in asked:
        for row in similar[similar["track_id"] == track_id].itertuples():
            other = row.similar_track_id
            title = HOSTILE if other == full.ids[0] else f"Title {other}"
            artist = HOSTILE if other == full.ids[0] else f"Artist {other}"
            assert [str(row.rank), title, artist, genre[other], f"{row.score:.3f}"] in printed


def test_same_genre_share_is_shown_beside_chance(full, page):
    pairs = full.store.read("similar").to_pandas()
    genre = dict(zip(full.ids, full.genres, strict=True))
    share = (pairs["track_id"].map(genre) == pairs["similar_track_id"].map(genre)).mean()
    chance = 5 / 23  # six songs of each of four genres
    assert ["all songs", "24", f"{100 * share:.1f}\xa0%", f"{100 * chance:.1f}\xa0%"] in page.rows
    assert "In-sample" in page.text


@pytest.mark.thorough
def test_a_table_of_an_earlier_model_is_called_so(tmp_path):
    catalog = Catalog(tmp_path).everything()
    catalog.similar(model_id="mlp-0")
    page = page_of(catalog.store)
    assert "made with an earlier model" in page.text
    assert "not trained on" not in page.text  # which songs that model had seen is not known any more


@pytest.mark.thorough
def test_a_table_of_other_spaces_names_them(tmp_path):
    catalog = Catalog(tmp_path).everything()
    catalog.similar(model_id=None, spaces={"clap": {"id": "1" * 16}, "mert": {"id": "2" * 16}})
    page = page_of(catalog.store)
    assert "Songs were compared in the spaces clap, mert." in page.text
    assert "made with an earlier model" not in page.text


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("source", "genres"), [("/data/Synthetic-100", None), ("/music", ["synthetic drone", "synthetic click"])]
)
def test_a_synthetic_catalog_says_so(tmp_path, source, genres):
    catalog = Catalog(tmp_path, genres=genres, source=source)
    catalog.tracks()
    assert "Synthetic catalog: every song here was generated by a program" in page_of(catalog.store).text


def test_a_real_catalog_does_not_say_synthetic(page):
    assert "Synthetic catalog" not in page.text


# --- the page as a file ---------------------------------------------------------------------------------------------


def test_names_are_escaped(page):
    assert HOSTILE in page.text
    assert page.html.count("<script") == 1  # the page's own, which sorts tables
    assert "b" in page.tags  # headline numbers
    assert "<b>RIFF" not in page.html


def test_nothing_is_loaded_from_outside(page):
    assert page.addresses
    assert all(a.startswith(("#", "data:image/svg+xml;base64,")) for a in page.addresses)
    assert not re.search(r"url\(|@import|https?://", page.html)
    for address in page.addresses:
        if address.startswith("data:"):
            svg = base64.b64decode(address.partition(",")[2]).decode()
            targets = re.findall(r"href=\"([^\"]*)|url\(([^)]*)", svg)
            assert all((a or b).startswith(("#", "data:")) for a, b in targets)


@pytest.mark.thorough
def test_the_same_tables_give_the_same_page(full, page):
    again = page_of(full.store)
    without_time = [re.sub(r"<time>.*?</time>", "", p.html) for p in (page, again)]
    assert without_time[0] == without_time[1]


def test_no_figure_stays_open_in_pyplot(page):
    from matplotlib import pyplot as plt

    assert plt.get_fignums() == []


# --- what is not there ----------------------------------------------------------------------------------------------


def test_an_empty_out_names_the_command_of_each_section(tmp_path):
    out = tmp_path / "my songs"
    page = page_of(Catalog(out).store)
    for stage in ("extract", "train", "embed", "similar"):
        assert f"musicrec {stage} '{out}'" in page.text
    assert f"musicrec catalog '{out}' --source FOLDER" in page.text
    assert not page.rows
    assert "img" not in page.tags


@pytest.mark.thorough
@pytest.mark.parametrize("missing", ["outcomes", "features", "model", "embeddings", "similar"])
def test_a_missing_table_leaves_the_others(tmp_path, missing):
    catalog = Catalog(tmp_path)
    makers = ("tracks", "outcomes", "features", "model", "embeddings", "similar")
    for maker in makers:
        if maker != missing:
            getattr(catalog, maker)()
    command = {"outcomes": "extract", "features": "extract", "model": "train", "embeddings": "embed"}
    page = page_of(catalog.store)
    assert f"To make it, run musicrec {command.get(missing, missing)} {tmp_path}" in page.text
    assert page.text.count("Nothing to show yet") == (2 if missing == "similar" else 1)


def test_a_folder_that_is_no_out_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="not a musicrec OUT"):
        write_report(Store(tmp_path))


@pytest.mark.thorough
@pytest.mark.parametrize("n", [2, 3, 7])
def test_tiny_catalogs(tmp_path, n):
    page = page_of(Catalog(tmp_path, n).everything().store)
    assert f"{n} songs in" in page.text


@pytest.mark.thorough
def test_ten_thousand_genres_are_counted_and_the_largest_are_drawn(tmp_path):
    page = page_of(Catalog(tmp_path, 10_002, [f"genre {i:05d}" for i in range(10_000)]).everything().store)
    assert "10,002 songs in 10,000 genres" in page.text
    assert "The chart shows the 20 largest" in page.text
    assert len(page.html.encode()) < 15e6
    drawn = [base64.b64decode(a.partition(",")[2]).decode() for a in page.addresses if a.startswith("data:")]
    assert max(svg.count("<!-- genre ") for svg in drawn) <= 2 * 21  # in rows and in columns
    assert any("<!-- other genres -->" in svg for svg in drawn)


@pytest.mark.thorough
def test_songs_without_a_genre(tmp_path):
    catalog = Catalog(tmp_path, genres=[None])
    for make in (catalog.tracks, catalog.outcomes, catalog.features, catalog.embeddings, catalog.similar):
        make()
    page = page_of(catalog.store)
    assert "26 songs in 0 genres; 26 of them have no genre" in page.text
    assert "neighbours of the same genre" not in page.text


def test_vectors_that_are_all_alike(tmp_path):
    catalog = Catalog(tmp_path)
    table = pa.table([catalog.ids, ["m"] * 26, *[[[1.0, 2.0]] * 26] * 2], schemas.EMBEDDINGS)
    catalog.put("embeddings", table, EmbedSettings(), model="mlp")
    assert "All 26 songs" in page_of(catalog.store).text


@pytest.mark.thorough
def test_large_tables_are_sampled_and_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(map_section, "MAX_MAPPED", 10)
    monkeypatch.setattr(sections, "MAX_FEATURE_ROWS", 12)
    monkeypatch.setattr(sections, "MAX_QUERIES", 14)
    page = page_of(Catalog(tmp_path).everything().store)
    assert "A random sample of 10 of 24 songs" in page.text
    assert "a random sample of 12 of 24 songs" in page.text
    assert "Estimated on a random sample of 14 songs" in page.text


# --- the figures behind it ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "n"), [(0, 5), (5, 5), (17, 24), (194, 240)])
def test_wilson_is_the_textbook_interval(k, n):
    z, p = stats.norm.ppf(0.975), k / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert wilson(k, n) == pytest.approx((centre - half, centre + half), abs=1e-9)


def test_genre_scores_count_by_hand():
    truth = pd.Series(["a", "a", "a", "accuracy"])
    predicted = pd.Series(["a", "a", "accuracy", "accuracy"])
    scores = numbers.genre_scores(truth, predicted).set_index("genre")
    assert list(scores.loc["a"]) == pytest.approx([1.0, 2 / 3, 0.8, 3])
    assert list(scores.loc["accuracy"]) == pytest.approx([0.5, 1.0, 2 / 3, 1])


def test_chance_is_what_every_possible_neighbour_gives():
    pool = pd.Series(["a", "a", "a", "b", "b", None], list("uvwxyz"))
    labelled = pool.dropna()
    every = [g == h for t, g in labelled.items() for o, h in labelled.items() if t != o]
    assert numbers.chance_share(pool, pool) == pytest.approx(np.mean(every))


def test_occurrences_add_up_over_pieces():
    ids = pd.Index(["a", "b", "c"])
    pieces = [pd.Series(["a", "c", "a"]), pd.Series(["c", "gone"]), pd.Series(["a"])]
    assert numbers.count_occurrences(ids, pieces).tolist() == [3, 0, 2]


def test_examples_visit_every_genre_before_any_twice():
    genres = pd.Series(["a", "a", "a", "b", None], ["5", "4", "3", "2", "1"])
    assert numbers.pick_examples(genres, 4) == ["3", "2", "1", "4"]
    assert numbers.pick_examples(genres, 9) == ["3", "2", "1", "4", "5"]
    many = pd.Series([f"g{i:02d}" for i in range(20)], [f"{i:02d}" for i in range(20)])
    assert len(set(many[numbers.pick_examples(many, 6)])) == 6


def test_rare_genres_are_folded_into_one():
    genres = pd.Series(["a"] * 3 + ["b"] * 2 + ["c", "d"])
    assert figures.fold_rare(genres, 2).tolist() == ["a"] * 3 + ["b"] * 2 + [figures.OTHER] * 2
    assert figures.fold_rare(genres, 4).tolist() == genres.tolist()


@pytest.mark.thorough
def test_figures_draw_any_genre_name():
    genres = pd.Series(["$\\frac{$", "_hidden", "\x01bell", "音楽", "a" * 300, "--><b>"] * 3)
    for figure in (
        figures.genre_bars(genres),
        figures.confusion_matrix(genres, genres[::-1].reset_index(drop=True)),
        figures.song_map(np.zeros((len(genres), 2), np.float32), genres),
    ):
        ET.fromstring(base64.b64decode(figures.data_uri(figure).partition(",")[2]))  # well-formed
