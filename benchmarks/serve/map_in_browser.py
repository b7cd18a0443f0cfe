"""A page with nothing but the map, and a browser without a GPU that shows it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from playwright.sync_api import Page, sync_playwright
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import musicrec.serve
from musicrec.serve.service.application import application
from musicrec.store.store import Store

EXPLORER = Path(musicrec.serve.__file__).parent / "explorer" / "page"
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
SIZE = {"width": 1280, "height": 800}
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>map</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width"><style>:root{color-scheme:light dark;font:16px/1.5 system-ui}
body{margin:1rem}</style><main><h1>Map</h1><section id="map" hidden></section></main>
<script type="module">
if (location.search) {  // else the page chooses
  const get = HTMLCanvasElement.prototype.getContext, told = WebGL2RenderingContext.prototype.getParameter;
  HTMLCanvasElement.prototype.getContext = function (kind, how) {
    return kind === "webgl2" && location.search === "?flat" ? null : get.call(this, kind, how);
  };
  WebGL2RenderingContext.prototype.getParameter = function (name) {
    return name === 0x9246 ? "a graphics card" : told.call(this, name);  // UNMASKED_RENDERER_WEBGL
  };
}
const { start } = await import("/explorer/map.js");
await start(document.querySelector("#map"));
requestAnimationFrame(() => setTimeout(() => { window.ready = performance.now() / 1000; }));
</script></html>"""
FRAMES = """(seconds) => new Promise((done) => {
  const canvas = document.querySelector("canvas"), from = performance.now();
  let frames = 0;
  const step = (now) => {
    if (now - from > seconds * 1000) return done(1000 * frames / (now - from));
    frames += 1;
    const key = frames % 16 < 8 ? "ArrowLeft" : "ArrowRight";
    canvas.dispatchEvent(new KeyboardEvent("keydown", { key }));
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""
PANNING_S = 4


@contextmanager
def served(store: Store) -> Iterator[str]:
    """Serve the page, the explorer's files and the tables; yield the address."""
    pages = Starlette(
        routes=[
            Route("/page", lambda _: HTMLResponse(PAGE)),
            Mount("/explorer", StaticFiles(directory=EXPLORER)),
            Mount("/", application(store.out)),
        ]
    )
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(pages, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()


def opened(page: Page, address: str) -> float:
    """Open the page, and return the seconds until its first picture."""
    page.goto(address)
    page.wait_for_function("window.ready")
    return float(page.evaluate("window.ready"))


def measure(store: Store, chromium: str) -> list[dict[str, Any]]:
    """Return, for each way to paint, the seconds until the map is there, frames a second while it moves, and bytes."""
    found = []
    with served(store) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for painter, query in (("as it chooses", ""), ("WebGL2", "?gl"), ("canvas", "?flat")):
            page = browser.new_page(viewport=SIZE)
            ready = [opened(page, f"{address}/page{query}") for _ in range(3)]
            frames = page.evaluate(FRAMES, PANNING_S)
            size = page.evaluate("fetch('/map').then((a) => a.arrayBuffer()).then((b) => b.byteLength)")
            found.append({"painter": painter, "ready_s": ready[0], "frames": frames, "bytes": size})
            page.close()
        browser.close()
    return found
