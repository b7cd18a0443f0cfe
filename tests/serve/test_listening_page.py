"""The page of a listening test in a browser: it plays, keeps answers over a reload, and what it downloads is scored."""

import json
import time

import pytest

from listening_sites import make_out, write_likes
from musicrec.serve.listening_test.chosen_songs import Plan
from musicrec.serve.listening_test.key_file import read_key
from musicrec.serve.listening_test.likes_file import read_likes
from musicrec.serve.listening_test.scored_answers import score_answers
from musicrec.serve.listening_test.site import build_test

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(240)]
N_CLIPS = 17
SECONDS = 2.0


@pytest.fixture(scope="module")
def test_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    store = make_out(folder, seconds=SECONDS)
    likes = read_likes(write_likes(folder / "likes.csv", store, 6))
    return build_test(store, likes, folder / "test", Plan(), seed=3, seconds=SECONDS).folder


@pytest.fixture
def open_page(new_page, test_folder):
    """Open a participant's page from the disk; any error or refusal of the browser fails the test."""

    def open_page(turn=0, **options):
        code = list(read_key(test_folder / "key.json").clips)[turn]
        page = new_page(*LOCAL, accept_downloads=True, **options)
        page.goto((test_folder / "site" / f"{code}.html").as_uri())
        return page

    return open_page


LOCAL = ("file:", "blob:", "data:")


def listen(page):
    """Play as much of a clip as must be heard, at four times its speed."""
    page.get_by_role("button", name="Play").click()
    wait_until_heard(page)


def wait_until_heard(page):
    """Not by Playwright's own waiting, which the page's policy refuses."""
    page.evaluate("document.getElementById('audio').playbackRate = 4")
    until = time.monotonic() + 20
    while page.evaluate("document.getElementById('audio').currentTime") <= SECONDS / 2 + 0.05:
        assert time.monotonic() < until, "the clip does not play"
        page.wait_for_timeout(20)


def answer(page, *, like, known, rating):
    listen(page)
    page.get_by_label("Like" if like else "Don’t like", exact=True).check()
    if known:
        page.get_by_label("I know this song").check()
    page.get_by_label("How much do you like it?").fill(str(rating))
    page.locator("#next").click()


def position(page):
    return page.locator("#position").text_content()


def downloaded(page, name, folder):
    with page.expect_download() as download:
        page.get_by_role("button", name=name).click()
    target = folder / download.value.suggested_filename
    download.value.save_as(target)
    return target


def test_all_clips_are_answered_over_a_reload_and_the_file_is_scored(open_page, test_folder, tmp_path):
    page = open_page()
    page.get_by_role("button", name="Start").click()
    given = []
    for number in range(N_CLIPS):
        assert position(page) == f"Clip {number + 1} of {N_CLIPS}"
        if number == 8:
            page.get_by_label("I know this song").check()
            page.reload()
            assert position(page) == f"Clip {number + 1} of {N_CLIPS}"
            assert page.get_by_label("I know this song").is_checked()  # what was not sent off is kept too
            page.get_by_label("I know this song").uncheck()
        given.append((number % 2 == 0, number % 5 == 0, 5 * number))
        answer(page, like=given[-1][0], known=given[-1][1], rating=given[-1][2])
    assert page.get_by_role("heading", name="Thank you").is_visible()
    page.reload()
    file = downloaded(page, "Download my answers", tmp_path)

    key = read_key(test_folder / "key.json")
    content = json.loads(file.read_text())
    assert file.name == f"answers-{content['participant']}.json"
    clips = key.clips[content["participant"]]
    assert [row["clip"] for row in content["answers"]] == [clip.clip for clip in clips]
    assert [(row["like"], row["known"], row["rating"]) for row in content["answers"]] == given
    assert all(0.9 <= row["heard_s"] <= SECONDS + 0.2 for row in content["answers"])
    score = score_answers([file], key)
    assert (score.n_participants, score.n_answers) == (1, N_CLIPS)
    assert [left.reason for left in score.left_out] == ["no file"]
    of_recommended = [g[0] for g, clip in zip(given, clips, strict=True) if clip.conditions == ("recommended",)
                      and clip.repeat_of is None]  # fmt: skip
    assert score.rates["all songs"][0].liked == pytest.approx(100 * sum(of_recommended) / 5)
    assert score.retest.n == 2


def test_it_is_answered_by_the_keyboard_alone(open_page, tmp_path):
    page = open_page(1)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press(" ")
    wait_until_heard(page)
    page.keyboard.press("d")
    page.keyboard.press("k")
    for _ in range(4):  # play, like, slider
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "rating":
            break
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert position(page) == f"Clip 2 of {N_CLIPS}"
    (row,) = json.loads(downloaded(page, "Stop here", tmp_path).read_text())["answers"]
    assert (row["like"], row["known"], row["rating"]) == (False, True, 51)


def test_nothing_is_answered_by_accident(open_page):
    page = open_page(2)
    page.get_by_role("button", name="Start").click()
    message = page.get_by_role("alert")
    page.locator("#next").click()
    assert message.text_content() == "Please listen to the clip first."
    listen(page)
    page.locator("#next").click()
    assert message.text_content() == "Please say whether you like it."
    page.get_by_label("Like", exact=True).check()
    page.locator("#next").click()
    assert message.text_content() == "Please move the slider to say how much you like it."
    assert position(page) == f"Clip 1 of {N_CLIPS}"


def test_a_browser_that_keeps_nothing_says_so(open_page, tmp_path):
    page = open_page(3)
    page.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('refused'); }})")
    page.reload()
    assert "keeps nothing" in page.locator("#kept").text_content()
    page.get_by_role("button", name="Start").click()
    answer(page, like=True, known=False, rating=70)
    assert len(json.loads(downloaded(page, "Stop here", tmp_path).read_text())["answers"]) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 360, 1280])
def test_the_page_fits_and_can_be_read(open_page, width, scheme):
    page = open_page(4, viewport={"width": width, "height": 740}, color_scheme=scheme)
    for name in ("Start", None):
        if name:
            page.get_by_role("button", name=name).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    heights = page.locator("#listening .choice, #listening .main").evaluate_all(
        "found => found.map(element => element.getBoundingClientRect().height)"
    )
    assert min(heights) >= 44  # of a fingertip
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    text = page.evaluate("getComputedStyle(document.querySelector('.keys')).color")
    assert contrast(background, text) >= 4.5


def contrast(*colours):
    """Contrast of two colours by WCAG 2."""

    def luminance(colour):
        parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, light = sorted(map(luminance, colours))
    return (light + 0.05) / (dark + 0.05)
