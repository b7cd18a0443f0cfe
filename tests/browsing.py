"""A browser for tests of pages: Chromium, driven by Playwright, and pages that must not complain."""

import shutil
import time
from contextlib import suppress

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
WIDTHS = (360, 1280)
SCHEMES = ("light", "dark")


@pytest.fixture(scope="module")
def browser(request):
    """Chromium, with the ``BROWSER_FLAGS`` of the module beside the usual ones."""
    reason = "needs pip install playwright axe-playwright-python"
    sync_api = pytest.importorskip("playwright.sync_api", reason=reason)
    if CHROMIUM is None:
        pytest.skip("needs Chromium; on Debian: apt install chromium")
    flags = [*FLAGS, *getattr(request.module, "BROWSER_FLAGS", ())]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def new_page(browser):
    """Open pages which must neither complain nor ask for anything but addresses that begin as `own` says."""
    contexts, wrong = [], []

    def new_page(*own, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        contexts.append(context)
        page = context.new_page()
        page.complaints = wrong
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: request.url.startswith(own) or wrong.append(request.url))
        return page

    yield new_page
    for context in contexts:
        context.close()
    assert wrong == []


def violations(page):
    """What axe-core, which knows the rules of accessibility, has against a page."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    return [(v["id"], v["nodes"][0]["html"][:200]) for v in axe.run(page).response["violations"]]


def until(page, condition):
    """Wait for a condition; a page's own policy keeps Playwright from doing so in the page."""
    from playwright.sync_api import Error

    end = time.monotonic() + 20
    while True:
        with suppress(Error):  # the page is just being loaded anew
            if page.evaluate(condition):
                return
        assert time.monotonic() < end, condition
        page.wait_for_timeout(50)
