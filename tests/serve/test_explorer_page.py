"""The explorer's page in a browser: what people do there, by mouse, keyboard, screen reader and telephone."""

import json
import re
import shutil
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pytest

from browsing import SCHEMES, WIDTHS, until, violations
from musicrec.audio.encode import encode
from musicrec.schemas import EMBEDDINGS, MAP, TRACKS
from musicrec.serve.explorer import PAGE
from musicrec.serve.sidecar import SIDECAR_COLUMNS
from musicrec.serve.space_shares import write_shares
from musicrec.serve.table_writer import write_table
from musicrec.settings import CatalogSettings, EmbedSettings, MapSettings, PretrainedSettings, SimilarSettings
from musicrec.store.outcomes import outcomes_table
from musicrec.store.spaces import PublishedSpace, SpaceCard, publish_space
from musicrec.store.store import Store
from serving import ask, most_similar, serving

pytestmark = pytest.mark.thorough

N_SONGS = 24
HTML = "<img src=x onerror=alert(1)><b>bold</b>"
TITLES = {1: HTML, 2: "שיר אחד (live)", 3: "x" * 2000, 4: "Very long " * 200, 5: "Ärger & Ünfug"}
SPACE = PublishedSpace("musicnn", "0123456789abcdef", 6, SpaceCard(model="musicnn", weights="3f9a", licence="ISC"))
SPACES = {"embeddings": {"weight": 1.0, "id": "89abcdef"}, "musicnn": {"weight": 1.0, "id": "01234567"}}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Two dozen synthetic songs of twenty seconds, compared in three spaces."""
    folder = tmp_path_factory.mktemp("explored")
    rng = np.random.default_rng(0)
    tracks = []
    for i in range(N_SONGS):
        path = folder / f"song {i:02d} #1.wav"
        path.write_bytes(encode(0.1 * np.sin(np.arange(20 * 8000) * (0.1 + i / 50)).astype(np.float32), 8000, "wav"))
        tracks.append({"track_id": f"a b/{i:02d}?.wav", "uri": str(path), "title": TITLES.get(i, f"Song {i:02d}"),
                       "artist": f"Artist {i % 5}", "genre": f"genre {i}", "duration_s": 20.0})  # fmt: skip
    vectors = rng.normal(size=(N_SONGS, 12)).astype(np.float32) + 1
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    odds = np.full((N_SONGS, 2), 0.5, np.float32)
    embeddings = [
        {"track_id": track["track_id"], "model_id": "m", "embedding": list(vector), "probabilities": list(odd)}
        for track, vector, odd in zip(tracks, vectors, odds, strict=True)
    ]
    store = Store(folder / "out")
    store.create()
    settings = CatalogSettings(source=str(folder))
    store.settings.record(settings)
    for name, content, how in (
        ("tracks", pa.Table.from_pylist(tracks, TRACKS), settings),
        ("embeddings", pa.Table.from_pylist(embeddings, EMBEDDINGS), EmbedSettings()),
    ):
        with store.new_version(name, how, "01234567") as version:
            version.write_part(content)
            store.publish(version)
    of_space = PretrainedSettings(model="musicnn")
    with store.new_version("outcomes", settings, "01234567") as version:
        version.write_part(outcomes_table([]))
        store.publish(version)
    known = pa.array([track["track_id"] for track in tracks])
    publish_space(store, of_space, SPACE, known, vectors[:, 6:].copy(), left_out=outcomes_table([]))
    places = [
        {"track_id": track["track_id"], "x": float(i % 5), "y": float(i // 5), "is_added": False}
        for i, track in enumerate(tracks)
    ]
    with store.new_version("map", MapSettings(), "01234567") as version:
        version.write_part(pa.Table.from_pylist(places, MAP))
        store.publish(version)
    ids, scores = most_similar(vectors, 15)
    with store.new_version("similar", SimilarSettings(), "89abcdef", spaces=SPACES) as version:
        write_table(version, pa.Table.from_pylist(tracks, TRACKS).select(SIDECAR_COLUMNS), ids, scores)
        write_shares(version.folder, vectors, [6, 6], ids)
        store.publish(version)
    return store


@pytest.fixture(scope="module")
def address(out):
    with serving(out.out, is_explored=True) as port:
        yield f"http://127.0.0.1:{port}/explore/"


@pytest.fixture
def page(new_page):
    """A page that must not complain."""
    return new_page("http://127.0.0.1", "blob:")


def song(address, i):
    return f"{address}#song={quote(f'a b/{i:02d}?.wav', safe='')}"


def title(page):
    return page.locator("#title").inner_text()


def test_the_page_is_small():
    assert sum(path.stat().st_size for path in PAGE.iterdir()) < 100_000


def test_a_song_is_found_by_keyboard_and_opened(page, address):
    page.goto(address)
    page.get_by_role("heading", name="Where do you want to begin?").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("song 07")
    options = page.get_by_role("option")
    options.first.wait_for()
    assert options.first.locator(".name").inner_text() == "Song 07"
    page.keyboard.press("ArrowDown")
    words = page.get_by_role("combobox", name="Search for a song")
    assert words.get_attribute("aria-activedescendant") == options.first.get_attribute("id")
    page.keyboard.press("Enter")
    page.locator("#title", has_text="Song 07").wait_for()
    assert page.url == song(address, 7)
    assert page.evaluate("document.activeElement.id") == "title"
    assert "similar songs" in page.locator("#said").inner_text()
    assert page.locator("#song .songs > li:visible").count() == 10
    page.get_by_role("button", name="Show all 15").click()
    assert page.locator("#song .songs > li:visible").count() == 15


def test_lists_of_two_collections_at_one_address_are_kept_apart(page, address, out, tmp_path):
    page.goto(song(address, 7))
    page.locator("#song > .does .list").click()
    page.locator("#song > .does .likes").click()
    port = int(address.split(":")[2].split("/")[0])
    collection = json.loads(ask(port, "/status")[1])["collection"]
    kept = "JSON.parse(localStorage.getItem('{} {}')).map(song => song.track_id)"
    for what in ("list", "likes"):
        assert page.evaluate(kept.format(what, collection)) == ["a b/07?.wav"]
    other = {"list": "[]", "likes": "nonsense"}
    for what, songs in other.items():  # of another collection, and what is no list
        page.evaluate("([place, songs]) => localStorage.setItem(place, songs)", [f"{what} 0123", songs])
    page.evaluate("place => localStorage.setItem(place, '{\"track_id\": 3}')", f"likes {collection}")
    page.reload()
    page.locator("#list-songs li").wait_for()
    assert page.locator("#list-songs li").count() == 1
    assert not page.locator("#likes").is_visible()
    assert {what: page.evaluate("place => localStorage.getItem(place)", f"{what} 0123") for what in other} == other
    shutil.copytree(out.out, tmp_path / "other", symlinks=True)
    with serving(tmp_path / "other") as another:
        assert json.loads(ask(another, "/status")[1])["collection"] != collection


def test_newer_lists_bring_a_newer_map(page, address, out):
    """The rows of songs may have changed with the version, so the page is loaded anew, at the same song."""
    page.goto(song(address, 7))
    page.get_by_text("On the map: Artist 2 – Song 07").wait_for()
    page.evaluate("globalThis.isOld = true")
    before = out.path("similar").name
    vectors = np.random.default_rng(1).normal(size=(N_SONGS, 6)).astype(np.float32)
    with out.new_version("similar", SimilarSettings(), "76543210") as version:
        write_table(version, out.read("tracks", list(SIDECAR_COLUMNS)), *most_similar(vectors, 15))
        out.publish(version)
    try:
        until(page, f"fetch('../status').then(answer => answer.json()).then(({{version}}) => version !== '{before}')")
        page.locator("#map canvas").focus()
        page.keyboard.press("Enter")
        until(page, "globalThis.isOld === undefined")
        page.get_by_text("On the map: Artist 2 – Song 07").wait_for()
        assert page.url == song(address, 7)
        page.locator("#map canvas").focus()
        page.keyboard.press("Enter")
        until(page, "document.activeElement.id === 'title'")
        assert page.url != song(address, 7)
    finally:
        out.rollback("similar", before)
        until(page, f"fetch('../status').then(answer => answer.json()).then(({{version}}) => version === '{before}')")
        page.complaints[:] = [said for said in page.complaints if "409" not in said]


def test_words_that_nobody_has_and_escape(page, address):
    page.goto(address)
    page.get_by_label("Search for a song").fill("zzzzqqq")
    page.get_by_text("No song has these words").wait_for()
    page.keyboard.press("Escape")
    assert not page.locator("#found").is_visible()


def test_one_walks_from_song_to_song_and_back(page, address, out):
    page.goto(song(address, 7))
    first = page.locator("#song .songs a").first
    name = first.inner_text()
    first.click()
    page.locator("#trail").wait_for()
    assert [link.inner_text() for link in page.locator("#trail a").all()] == ["Song 07", name]
    assert title(page) == name
    page.go_back()
    page.locator("#title", has_text="Song 07").wait_for()
    assert not page.locator("#trail").is_visible()
    page.go_forward()
    page.locator("#title", has_text=name).wait_for()
    page.reload()
    page.locator("#title", has_text=name).wait_for()
    until(page, "document.querySelectorAll('#trail a').length === 2")
    page.get_by_role("link", name="musicrec", exact=True).click()
    page.get_by_role("heading", name="Where do you want to begin?").wait_for()


def test_other_parts_choose_songs_and_hear_of_them_by_an_event(page, address):
    page.goto(song(address, 7))
    page.locator("#title").wait_for()
    page.evaluate("document.addEventListener('song-chosen', ({detail}) => (globalThis.heard = detail.id))")
    page.evaluate("document.dispatchEvent(new CustomEvent('song-chosen', {detail: {id: 'a b/09?.wav'}}))")
    page.locator("#title", has_text="Song 09").wait_for()
    assert page.url == song(address, 9)
    page.locator("#song .songs a").first.click()
    until(page, "globalThis.heard !== 'a b/09?.wav'")
    assert page.evaluate("globalThis.heard") != "a b/07?.wav" or title(page) == "Song 07"


def test_the_map_shows_the_chosen_song_and_chooses_songs(page, address):
    page.goto(song(address, 7))
    page.locator("#map canvas").wait_for()
    page.get_by_text("On the map: Artist 2 – Song 07").wait_for()
    page.locator("#map canvas").focus()
    page.keyboard.press("Enter")
    until(page, "document.activeElement.id === 'title'")
    page.get_by_text("On the map: ").wait_for()
    assert page.url != song(address, 7)
    until(page, "document.querySelectorAll('#trail a').length === 2")


def test_a_song_and_its_neighbours_play_and_seek(page, address):
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "/audio" in request.url else None)
    page.goto(song(address, 7))
    page.locator("#song > .does .play").click()
    until(page, "document.getElementById('audio').currentTime > 0.3")
    assert page.get_by_role("button", name="Pause Song 07").count() == 1
    assert page.evaluate("document.getElementById('audio').duration") == pytest.approx(20, abs=0.1)
    page.evaluate("document.getElementById('audio').currentTime = 15")
    until(page, "document.getElementById('audio').currentTime > 15.2")
    page.locator("#song .songs .play").first.click()
    until(page, "document.getElementById('audio').currentTime < 5 && !document.getElementById('audio').paused")
    until(page, "document.getElementById('audio').currentTime > 0.2")
    assert page.get_by_role("button", name=re.compile("^Pause")).count() == 1
    assert len(set(asked)) == 2


def test_html_in_titles_is_text_and_right_to_left_stays_right(page, address):
    page.goto(song(address, 1))
    page.locator("#title").wait_for()
    assert title(page) == HTML
    assert page.locator("#title *").count() == 0
    assert page.locator("img").count() == 0
    page.goto(song(address, 2))
    page.locator("#title", has_text="שיר").wait_for()
    assert page.locator("#title").evaluate("element => getComputedStyle(element).direction") == "rtl"


@pytest.mark.parametrize("width", WIDTHS)
def test_long_titles_do_not_break_the_page(page, address, width):
    page.set_viewport_size({"width": width, "height": 800})
    for i in (3, 4):
        page.goto(song(address, i))
        page.locator("#title", has_text=TITLES[i][:9]).wait_for()
        page.locator("#song > .does .list").click()
        page.locator("#song > .does .likes").click()
        page.locator("[data-method=table] li").first.wait_for()
        page.locator("#song > .does .play").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("#title").bounding_box()["height"] < 260
        assert page.locator("#player").bounding_box()["height"] < 160
        page.get_by_label("Search for a song").fill("x")
        page.locator("#found li").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_five_likes_give_five_songs_by_each_method(page, address):
    page.goto(song(address, 7))
    hearts = page.locator("#song .songs .likes")
    for i in range(5):
        hearts.nth(i).click()
    hearts.nth(5).click()
    page.locator("#said", has_text="Five songs are liked already").wait_for(state="attached")
    until(page, "document.querySelectorAll('#likes li').length === 5")
    for method in ("table", "method-1", "method-2"):
        rows = page.locator(f"[data-method={method}] li")
        rows.nth(4).wait_for()
        until(page, f"document.querySelectorAll('[data-method={method}] li').length === 5")
        rows.first.filter(has_text="as you like").wait_for()
    for method in ("knn", "clustering"):
        page.locator(f"[data-method={method}]", has_text="Not here: ").wait_for()
    page.locator("#likes button").first.click()
    until(page, "document.querySelectorAll('#likes li').length === 4")


@pytest.mark.parametrize("form", ["m3u8", "xspf"])
def test_a_playlist_downloads_and_its_songs_are_there(page, address, tmp_path, form):
    page.goto(song(address, 7))
    page.locator("#song > .does .list").click()
    for i in range(3):
        page.locator("#song .songs .list").nth(i).click()
    until(page, "document.querySelectorAll('#list-songs li').length === 4")
    page.get_by_role("button", name="Remove Song 07").click()
    page.locator("#list-songs").get_by_role("button", name=re.compile("^Move up")).first.click()
    wanted = page.locator("#list-songs a").all_inner_texts()
    page.locator("#list-name").fill("Evening / one")
    page.locator("#list-format").select_option(form)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save playlist").click()
    assert download.value.suggested_filename == f"Evening _ one.{form}"
    file = tmp_path / "playlist"
    download.value.save_as(file)
    text = file.read_text()
    if form == "m3u8":
        assert [Path(line).is_file() for line in text.splitlines() if not line.startswith("#")] == [True] * 3
    assert len(wanted) == 3
    assert text.index("Artist") < len(text)
    page.reload()  # the list stays
    page.locator("#list-songs li").nth(2).wait_for()
    assert page.locator("#list-songs a").all_inner_texts() == wanted


def test_a_file_that_is_gone_or_cannot_be_played_is_one_line(browser, address, out):
    page = browser.new_page()
    uri = Path(out.read("tracks", ["track_id", "uri"]).to_pylist()[11]["uri"])
    content = uri.read_bytes()
    try:
        uri.write_bytes(b"this is no music at all")
        page.goto(song(address, 11))
        page.get_by_role("button", name="Play Song 11").click()
        page.get_by_text("This browser cannot play Song 11 (audio/wav).").wait_for()
        uri.unlink()
        page.reload()
        page.get_by_role("button", name="Play Song 11").click()
        page.locator("#player-wrong", has_text="no such file").wait_for()
    finally:
        uri.write_bytes(content)
        page.close()


def test_a_song_that_is_not_there_is_one_line(browser, address):
    page = browser.new_page()
    page.goto(f"{address}#song=nobody")
    page.get_by_role("alert").filter(has_text="no song 'nobody'").wait_for()
    page.close()


def test_the_token_is_asked_for_once(browser, out):
    with serving(out.out, "geheim", is_explored=True) as port:
        address = f"http://127.0.0.1:{port}/explore/"
        context = browser.new_context()
        page = context.new_page()
        page.goto(address)
        page.locator("#token").fill("wrong")
        page.get_by_role("button", name="Enter").click()
        page.get_by_text("this is not the token").wait_for()
        page.locator("#token").fill("geheim")
        page.get_by_role("button", name="Enter").click()
        page.get_by_role("heading", name="Where do you want to begin?").wait_for()
        page.goto(song(address, 7))
        page.locator("#title", has_text="Song 07").wait_for()
        page.locator("#song > .does .play").click()
        until(page, "document.getElementById('audio').currentTime > 0.1")
        assert page.evaluate("document.cookie") == ""
        context.close()
        page = browser.new_page()
        page.goto(f"{address}#token=geheim")
        page.get_by_role("heading", name="Where do you want to begin?").wait_for()
        assert page.url == address
        page.close()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_in_the_way_of_anybody(page, address, width, scheme):
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.goto(address)
    page.locator("#starts li").first.wait_for()
    assert violations(page) == []
    page.goto(song(address, 7))
    page.locator("#song .songs a").first.click()
    page.locator("#trail").wait_for()
    for i in range(2):
        page.locator("#song .songs .likes").nth(i).click()
        page.locator("#song .songs .list").nth(i).click()
    page.locator("[data-method=knn] .quiet").wait_for()
    page.locator("#map canvas").wait_for()
    page.locator("#song > .does .play").click()
    page.get_by_label("Search for a song").fill("song")
    page.locator("#found li").nth(3).wait_for()
    page.keyboard.press("ArrowDown")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
