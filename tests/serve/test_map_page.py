"""The map in a browser: it is drawn, pointing finds songs, and choosing one tells the page, with WebGL and without."""

import math

import numpy as np
import pyarrow as pa
import pytest

from musicrec.schemas import MAP, TRACKS
from musicrec.serve.sidecar import SIDECAR_COLUMNS
from musicrec.serve.table_writer import write_table
from musicrec.settings import CatalogSettings, MapSettings, SimilarSettings
from musicrec.store.store import Store

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(240)]
BROWSER_FLAGS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
HTML = "<img src=x onerror=alert(1)>"
SIDE = 5  # songs stand on a grid of so many by so many
N = SIDE * SIDE


def publish(store, on_map=range(N)):
    songs = [
        {
            "track_id": f"a/song {i:02d}",
            "title": HTML if i == 12 else f"Title {i}",
            "artist": "שיר",
            "genre": f"g{i % 3}",
        }
        for i in range(N)
    ]
    names = pa.Table.from_pylist(songs, pa.schema([TRACKS.field(name) for name in SIDECAR_COLUMNS]))
    lists = np.array([[0 if i else 1, (i + 1) % N or 1] for i in range(N)], np.int32)  # song 0 is in all lists: a hub
    places = [{"track_id": s["track_id"], "x": float(i % SIDE), "y": float(i // SIDE), "is_added": False}
              for i, s in enumerate(songs) if i in on_map]  # fmt: skip
    with store.new_version("similar", SimilarSettings(), "1" * 16) as version:
        write_table(version, names, lists, np.full(lists.shape, 0.5, np.float32))
        store.publish(version)
    with store.new_version("map", MapSettings(), "2" * 16) as version:
        version.write_part(pa.Table.from_pylist(places, MAP))
        store.publish(version)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("map") / "out")
    store.create()
    store.settings.record(CatalogSettings(source="/music"))
    publish(store)
    return store


@pytest.fixture(scope="module")
def address(out):
    from benchmarks.serve.map_in_browser import served

    with served(out) as address:
        yield address


@pytest.fixture(params=["?gl", "?flat"], ids=["WebGL2", "canvas"])
def page(new_page, address, request):
    """The page with the map; an error of the browser fails the test."""
    page = new_page(address, "data:", viewport={"width": 900, "height": 800})
    page.goto(f"{address}/page{request.param}")
    page.wait_for_function("window.ready")
    page.evaluate("window.chosen = []; document.addEventListener('song-chosen', (e) => chosen.push(e.detail.id))")
    return page


def at(page, song):
    """Where a song is drawn on the page, as long as the whole map is seen."""
    box = page.locator("canvas").bounding_box()
    scale = min(box["width"], box["height"]) / (1.06 * (SIDE - 1))
    across, up = song % SIDE - (SIDE - 1) / 2, song // SIDE - (SIDE - 1) / 2
    return box["x"] + box["width"] / 2 + across * scale, box["y"] + box["height"] / 2 - up * scale


def colour_at(page, x, y):
    """The pixel that is seen there."""
    shot = page.screenshot(clip={"x": x, "y": y, "width": 1, "height": 1})
    from io import BytesIO

    from PIL import Image

    return Image.open(BytesIO(shot)).convert("RGB").getpixel((0, 0))


def test_songs_are_drawn_where_the_table_says_in_the_colours_of_the_legend(page):
    swatches = page.eval_on_selector_all(".map-keys i", "all => all.map((i) => getComputedStyle(i).backgroundColor)")
    legend = [tuple(map(int, text[4:-1].split(","))) for text in swatches]
    assert len(legend) == 3
    ground = colour_at(page, *(place + 40 for place in at(page, 12)))
    for song in (0, 7, 13, N - 1):
        seen = colour_at(page, *at(page, song))
        assert seen == legend[song % 3] != ground


def test_pointing_shows_the_names_as_text_and_a_click_chooses(page):
    page.mouse.move(*at(page, 12))
    page.wait_for_selector(".map-tip:not([hidden])")
    assert page.inner_text(".map-tip").split("\n") == [HTML, "שיר"]
    page.mouse.click(*at(page, 7))
    page.wait_for_function("chosen.length")
    assert page.evaluate("chosen") == ["a/song 07"]
    page.wait_for_function("document.querySelector('[aria-live]').textContent")
    assert page.inner_text("[aria-live]") == "On the map: שיר – Title 7"


def test_dragging_moves_the_map_and_chooses_nothing(page):
    x, y = at(page, 12)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 30, steps=3)
    page.mouse.up()
    page.mouse.click(x + 60, y + 30)
    page.wait_for_function("chosen.length")
    assert page.evaluate("chosen") == ["a/song 12"]


def test_wheel_and_keys_zoom_and_move(page):
    x, y = at(page, 12)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -math.log(2) / 0.0015)  # twice as large, around the song under the pointer
    page.wait_for_timeout(100)
    page.mouse.click(x + 2 * (at(page, 13)[0] - x), y)
    page.wait_for_function("chosen.length")
    page.focus("canvas")
    for key in ("0", "ArrowRight", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    page.wait_for_function("chosen.length == 2")
    assert page.evaluate("chosen") == ["a/song 13", "a/song 12"]


def test_genres_and_kinds_of_songs_are_hidden_and_shown(page):
    page.click("text=g0 9")
    page.mouse.click(*at(page, 0))
    page.mouse.click(*at(page, 7))
    page.wait_for_function("chosen.length")
    page.click("text=g0 9")
    page.click("text=only hubs: 1")
    page.mouse.click(*at(page, 8))
    page.mouse.click(*at(page, 0))
    page.wait_for_function("chosen.length == 2")
    assert page.evaluate("chosen") == ["a/song 07", "a/song 00"]


def test_a_song_that_the_page_chooses_is_brought_into_the_picture(page):
    page.focus("canvas")
    for _ in range(8):
        page.keyboard.press("+")
    page.evaluate("document.dispatchEvent(new CustomEvent('song-chosen', { detail: { id: 'a/song 24' } }))")
    page.wait_for_function("document.querySelector('[aria-live]').textContent")
    page.wait_for_timeout(600)
    page.keyboard.press("Enter")
    page.wait_for_function("chosen.length == 2")
    assert page.evaluate("chosen[1]") == "a/song 24"


@pytest.mark.parametrize("gone", [[], [3], [0, 1, 4]], ids=str)
def test_what_is_counted_is_what_is_drawn_and_songs_without_a_place_are_told(browser, tmp_path, gone):
    from benchmarks.serve.map_in_browser import served

    store = Store(tmp_path / "out")
    store.create()
    store.settings.record(CatalogSettings(source="/music"))
    on_map = [i for i in range(N) if i not in gone]
    publish(store, on_map)
    with served(store) as address:
        page = browser.new_page()
        page.goto(f"{address}/page")
        page.wait_for_function("window.ready")
        said, keys = (
            page.inner_text("#map"),
            page.eval_on_selector_all(".map-keys button", "all => all.map((b) => b.innerText)"),
        )
        drawn = page.get_attribute("canvas", "aria-label").partition(".")[0]
        page.close()
    counts = [sum(i % 3 == g for i in on_map) for g in range(3)]
    assert keys == [*(f"g{g} {n}" for g, n in enumerate(counts)), *(["only hubs: 1"] if 0 in on_map else [])]
    assert drawn == f"Map of {len(on_map)} songs"
    told = {
        0: None,
        1: "1 song is not on the map; musicrec map OUT adds it.",
        3: "3 songs are not on the map; musicrec map OUT adds them.",
    }
    assert ("not on the map" in said) == bool(gone)
    assert (told[len(gone)] or "") in said


def test_without_a_map_the_page_says_which_command_draws_one(browser, tmp_path):
    from benchmarks.serve.map_in_browser import served

    store = Store(tmp_path / "out")
    store.create()
    store.settings.record(CatalogSettings(source="/music"))
    publish(store)
    store.versions("map").remove()
    with served(store) as address:
        page = browser.new_page()
        page.goto(f"{address}/page")
        page.wait_for_function("window.ready")
        assert page.inner_text("#map") == "OUT has no map; draw one: musicrec map OUT"
        page.close()


def test_without_a_graphics_card_the_map_is_painted_without_webgl(new_page, address):
    page = new_page(address, "data:", viewport={"width": 900, "height": 800})
    page.goto(f"{address}/page")
    page.wait_for_function("window.ready")
    assert page.evaluate("document.querySelector('canvas').getContext('2d') !== null")  # null where it is WebGL's
