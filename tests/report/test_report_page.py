"""The report in a browser: every section, on telephones and desktops, by day and night, by mouse and keyboard."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from browsing import SCHEMES, WIDTHS, until, violations
from musicrec import schemas
from musicrec.audio.encode import encode
from musicrec.evaluate.scores import control_scores, scores
from musicrec.files.parquet import write_parquet
from musicrec.report import page as report
from musicrec.report import write_report
from musicrec.report.times_section import RUNS
from musicrec.serve.sidecar import SIDECAR_COLUMNS
from musicrec.serve.table_writer import write_table
from musicrec.settings import ListenerEvaluationSettings, SimilarSettings, TrainSettings, TuneSettings
from report_catalog import Catalog
from report_evaluation import ARTISTS, IDS, N, synthetic, synthetic_curves

pytestmark = pytest.mark.thorough

HTML = "<img src=x onerror=alert(1)><b>bold</b>"
HEBREW = "שיר אחד (live)"
LONG = "x" * 2000
NAMES = (HTML, HEBREW, LONG)  # the first three songs, which the report shows
GENRES = ["blues", "jazz & soul", "ג'אז", "g" * 2000]
SECTIONS = (
    "examples table embedding listeners genres model other-models evaluation tuning features clips accounting times"
)
N_LISTED = 6


class Everything(Catalog):
    """A synthetic OUT that has every section of the report."""

    def tracks(self) -> None:
        sound = self.store.out / "song.wav"
        sound.write_bytes(encode(np.sin(np.arange(22_050) / 8).astype(np.float32), 22_050, "wav"))
        rows = [
            {"track_id": t, "uri": str(sound), "title": NAMES[i] if i < len(NAMES) else f"Title {t}", "genre": g,
             "artist": NAMES[i] if i < len(NAMES) else f"Artist {i % 20}", "artist_id": ARTISTS.get(t)}
            for i, (t, g) in enumerate(zip(self.ids, self.genres, strict=True))
        ]  # fmt: skip
        self.put("tracks", pa.Table.from_pylist(rows, schemas.TRACKS), self.catalog)

    def similar(self, step: int = 1) -> None:
        songs = self.store.read("tracks", list(SIDECAR_COLUMNS)).slice(0, len(self.good))
        ids = (np.arange(N)[:, None] + step + np.arange(N_LISTED)) % N
        falling = np.tile(np.linspace(0.9, 0.1, N_LISTED, dtype=np.float32), (N, 1))
        gate = {"coverage": 0.875, "max_hub_share": 0.25, "hub_skew": -0.5, "antihub_share": 0.125, "churn": None}
        with self.store.new_version("similar", SimilarSettings(n=N_LISTED), f"{step:016d}", gate=gate) as version:
            write_table(version, songs, ids.astype(np.int32), falling)
            self.store.publish(version)

    def clusters(self) -> None:
        """Beside the model, a clustering, and a model that somebody has half copied."""
        with self.store.new_version("models/kmeans", TrainSettings(model="kmeans"), "d" * 16) as version:
            shutil.copytree(self.store.path("models/mlp"), version.folder, dirs_exist_ok=True)
            self.store.publish(version)
        with self.store.new_version("models/knn", TrainSettings(model="knn"), "c" * 16) as version:
            (version.folder / "model.json").write_text('{"model": "knn"}')
            self.store.publish(version)
        folder = self.store.path("models/kmeans")
        songs = {"track_id": self.good, "cluster": [i % 3 - 1 for i in range(N)]}
        points = self.rng.normal(size=(N, 2)).astype(np.float32)
        write_parquet(folder / "clusters.parquet", pa.table([*songs.values(), list(points)], schemas.CLUSTERS))
        swept = [{"algorithm": "k_means", "components": 2, "asked": k, "clusters": k, "silhouette": 1 / k,
                  "davies_bouldin": 1.0} for k in (2, 3, 4)]  # fmt: skip
        write_parquet(folder / "sweep.parquet", pa.Table.from_pylist(swept, schemas.SWEEP))
        card = json.loads((folder / "model.json").read_text())
        card["clustering"] = {"n_clusters": 2, "noise": 30, "silhouette": 0.5, "davies_bouldin": 1.0,
                              "adjusted_rand": 0.1, "mutual_information": 0.2}  # fmt: skip
        (folder / "model.json").write_text(json.dumps(card))

    def evaluation(self) -> None:
        predictions = synthetic()
        sources = pd.Series(["wav", "mp3", "mp3"] * (N // 3), IDS)
        heard = pd.DataFrame({"a": (sources == "wav") + 0.0, "b": np.arange(N)}, IDS)
        of_models, controls = scores(predictions, ARTISTS), control_scores(predictions, sources, ARTISTS, heard)
        tables = {
            "evaluation": (predictions, schemas.EVALUATION),
            "scores": (pd.concat([of_models, controls], ignore_index=True), schemas.SCORES),
            "curves": (synthetic_curves(), schemas.CURVES),
        }
        for name, (rows, schema) in tables.items():
            table = pa.Table.from_pandas(rows, schema, preserve_index=False)
            self.put(name, table, self.catalog, classes=sorted(set(predictions["genre"])), folds=3)

    def tuning(self) -> None:
        rows = [{"model": "svm", "candidate": json.dumps({"C": c}), "fold": fold, "accuracy": 0.5 + c / 100,
                 "train_accuracy": 0.9} for c in (1, 10) for fold in range(2)]  # fmt: skip
        self.put("tuning", pa.Table.from_pylist(rows, schemas.TUNING), TuneSettings())

    def listeners(self) -> None:
        rows = [{"split": "last", "method": method, "metric": metric, "band": "all", "value": value, "low": value / 2,
                 "high": 2 * value, "n_users": 5}
                for method, value in (("mean", 0.2), ("random", 0.1)) for metric in ("ndcg", "recall")]  # fmt: skip
        settings = ListenerEvaluationSettings(split="last")
        table = pa.Table.from_pylist(rows, schemas.LISTENER_SCORES)
        self.put("listener_scores", table, settings, listeners={"n_users": 5})

    def runs(self) -> None:
        folder = self.store.out / RUNS
        folder.mkdir()
        stages = {"extract": {"seconds": 20.5, "cpu_seconds": 12.0, "fresh": N}, "report": {"seconds": 2.0}}
        run = {"started_at": "2026-11-29T02:00:00+00:00", "stages": stages}
        (folder / "20261129T020000.000000Z.json").write_text(json.dumps(run))


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    catalog = Everything(tmp_path_factory.mktemp("reported") / "out", N + 2, GENRES).everything()
    for make in (catalog.clusters, catalog.evaluation, catalog.tuning, catalog.listeners, catalog.runs):
        make()
    catalog.similar(step=3)
    return write_report(catalog.store).as_uri()


@pytest.fixture
def page(new_page):
    """A page that must not complain, nor ask for anything but itself."""
    return new_page("file:", "data:")


def assert_open_to_all(page, address):
    for width in WIDTHS:
        for scheme in SCHEMES:
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme=scheme)
            page.goto(address)
            page.evaluate("document.querySelectorAll('details').forEach(box => box.open = true)")
            assert (width, scheme, violations(page)) == (width, scheme, [])
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_nothing_is_in_the_way_of_anybody(page, address):
    assert_open_to_all(page, address)


@pytest.mark.engine
def test_nothing_is_in_the_way_in_the_report_of_a_run(page, chain, tmp_path):
    out = shutil.copytree(chain.out, tmp_path / "out", symlinks=True)
    assert_open_to_all(page, write_report(type(chain)(out)).as_uri())


def test_the_songs_come_first_and_the_accounting_last(page, address):
    page.goto(address)
    assert page.locator("main section").evaluate_all("all => all.map(s => s.id)") == SECTIONS.split()
    assert page.locator("nav a").evaluate_all("all => all.map(a => a.hash.slice(1))") == SECTIONS.split()
    assert re.search(r"run musicrec explore \S+/out", page.locator("#examples > p").first.inner_text())


def test_names_are_text_of_their_own_direction_and_no_wall_of_letters(page, address):
    page.goto(address)
    of_song = page.locator(".list h3")
    for title in (HTML, HEBREW):
        assert of_song.get_by_text(title, exact=True).count() == 1
    assert of_song.get_by_text("x" * 79 + "…").get_attribute("title") == LONG
    assert page.locator("h3", has_text=HEBREW).locator("bdi").evaluate("e => getComputedStyle(e).direction") == "rtl"
    assert page.locator("main b, main img[src=x]").count() == 0
    assert page.locator(".list tr").evaluate_all("all => Math.max(...all.map(r => r.offsetHeight))") < 300


FIGURES = (  # what the two reference systems show
    "Histogram of each feature", "Heat map of the correlation of every pair of features", "t-SNE map of the songs",
    "first two principal components", "Waveform and mel-spectrogram of", "Loss and accuracy of each epoch of",
    "Confusion matrix of the test songs of", "Confusion matrix of", "Silhouette against the number of clusters",
    "Map of the songs by cluster", "against each of its settings", "ROC curve of each genre by",
    "Accuracy of each model with its interval", "Histogram of the number of lists that a song is in",
)  # fmt: skip
TABLES = (
    "Models by split", "Differences between models", "Best and worst genre of each model", "Scores of each genre by",
    "genre by genre", "Neighbours of the same genre", "Hubs", "The lists that changed most", "Times of each stage",
    "Outcomes of each stage", "Skipped and failed songs by reason", "Other models",
)  # fmt: skip


def test_every_figure_of_the_reference_systems_is_there_and_is_drawn(page, address):
    page.goto(address)
    page.evaluate("document.querySelectorAll('details').forEach(box => box.open = true)")
    images = page.locator("figure img")
    named = images.evaluate_all("all => all.map(image => image.alt)")
    assert [words for words in FIGURES if not any(words in name for name in named)] == []
    assert images.evaluate_all("all => all.every(image => image.complete && image.naturalWidth > 100)")
    boxes = page.locator(".scroll").evaluate_all("all => all.map(box => box.getAttribute('aria-label'))")
    assert [words for words in TABLES if not any(words in box for box in boxes)] == []


def test_each_model_of_an_evaluation_has_its_scores_roc_and_confusion(page, address):
    page.goto(address)
    for model in ("crnn", "cnn", "<b>svm</b>"):
        for figure in ("ROC curve of each genre by", "Confusion matrix of"):
            assert page.locator("#evaluation img").evaluate_all("all => all.map(i => i.alt)").count(f"{figure} {model}")
    closed = page.locator("#evaluation details")
    assert closed.count() == 2
    assert not closed.first.locator("table").is_visible()
    closed.first.locator("summary").click()
    assert closed.first.locator("table").is_visible()


def test_a_model_that_is_half_there_says_so_and_takes_nothing_from_the_others(page, address):
    page.goto(address)
    rows = page.locator("#other-models .scroll").first.locator("tbody tr").all_inner_texts()
    assert [row.split()[0] for row in rows] == ["kmeans", "knn"]
    assert rows[1].endswith("does not say what the model reads; train the model again")


# --- tables that sort -----------------------------------------------------------------------------------------------


def column(page, n):
    return page.locator(f"tbody td:nth-child({n})").evaluate_all("all => all.map(cell => cell.textContent)")


@pytest.mark.parametrize(
    ("style", "cells", "rising"),
    [
        ("n", ["200", "1,234", "–", "−5.0 %", "+0.5"], ["−5.0 %", "+0.5", "200", "1,234", "–"]),
        ("figure", ["9.1 ± 2 3 to 15", "", "71.2 60 to 82"], ["9.1 ± 2 3 to 15", "71.2 60 to 82", ""]),
        ("", ["Take 10", "–", "Take 9", "ärger", "zoo"], ["ärger", "Take 9", "Take 10", "zoo", "–"]),
    ],
)
def test_a_column_sorts_both_ways_and_what_is_missing_stays_last(page, style, cells, rising):
    rows = "".join(f'<tr><td>{i}</td><td class="{style}">{cell}</td></tr>' for i, cell in enumerate(cells))
    head = '<thead><tr><td></td><th colspan="1">value</th></tr></thead>'
    end = "<tfoot><tr><td></td><th>mean</th></tr></tfoot>"
    script = (report.PLACE / "page.js").read_text("utf-8")
    page.set_content(f"<table>{head}<tbody>{rows}</tbody>{end}</table><script>{script}</script>")
    button = page.get_by_role("button", name="value")
    button.click()
    assert column(page, 2) == rising
    assert page.locator("th").first.get_attribute("aria-sort") == "ascending"
    button.click()
    known = [cell for cell in rising if cell not in ("", "–")]
    assert column(page, 2) == [*known[::-1], *(cell for cell in rising if cell in ("", "–"))]
    assert page.locator("th").first.get_attribute("aria-sort") == "descending"
    assert page.locator("table tr").last.inner_text().strip() == "mean"


def test_enter_on_a_head_sorts_that_table_alone(page, address):
    page.goto(address)
    tables = page.locator("#examples table")
    ranks = "all => all.map(cell => Number(cell.textContent))"
    table, other = tables.nth(0), tables.nth(1)
    table.get_by_role("button", name="score").focus()
    page.keyboard.press("Enter")
    assert table.locator("tbody td:first-child").evaluate_all(ranks) == list(range(N_LISTED, 0, -1))
    assert other.locator("tbody td:first-child").evaluate_all(ranks) == list(range(1, N_LISTED + 1))
    table.get_by_role("button", name="rank").focus()
    page.keyboard.press("Space")
    assert table.locator("tbody td:first-child").evaluate_all(ranks) == list(range(1, N_LISTED + 1))
    assert table.locator("[aria-sort]").count() == 1


def test_without_a_script_the_page_is_whole(browser, page, address):
    page.goto(address)
    with browser.new_context(java_script_enabled=False) as context:
        plain = context.new_page()
        plain.goto(address)
        assert plain.locator("th button").count() == 0
        # with the script, the same words stand in buttons
        assert plain.locator("main").inner_text().split() == page.locator("main").inner_text().split()


def test_a_box_stops_the_tab_key_only_where_it_scrolls(page, address):
    boxes = "[...document.querySelectorAll('.scroll, figure')].filter(box => box.checkVisibility())"
    scrolls = "box.scrollWidth > box.clientWidth"
    page.set_viewport_size({"width": 360, "height": 800})
    page.goto(address)
    for width in (360, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        until(page, f"{boxes}.every(box => ({scrolls}) === (box.tabIndex === 0))")
        assert width > 360 or page.evaluate(f"{boxes}.some(box => {scrolls})")
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    assert page.evaluate(f"{boxes}.length === document.querySelectorAll('.scroll, figure').length")
    until(page, f"{boxes}.every(box => ({scrolls}) === (box.tabIndex === 0))")
