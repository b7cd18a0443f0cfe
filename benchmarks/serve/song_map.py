"""The map of all songs: what a layout costs, how many neighbours stay near, and how fast a browser draws it.

The lists are those of synthetic clustered vectors. Beside UMAP stand the first two principal components of the vectors
and places drawn at random. Of each song's ten most similar songs, the share is printed that is among the 10 and the 50
nearest on the map, over 5 000 songs.

The browser is Chromium without a GPU, by its software renderer, where it is installed. Ready is the time from asking
for the page to the first picture; then the map is moved by the arrow keys, a step in every frame.
"""

import shutil
import tempfile
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.shared.common import cpu, one_thread, print_machine, print_table, verdict
from benchmarks.shared.peers import have
from benchmarks.shared.synthetic_vectors import KINDS, clustered
from musicrec.schemas import TRACKS
from musicrec.serve.sidecar import SIDECAR_COLUMNS
from musicrec.serve.table_writer import write_table
from musicrec.settings import CatalogSettings, MapSettings, SimilarSettings
from musicrec.similarity import top_n
from musicrec.stages.map.stage import draw_map
from musicrec.store.store import Store

MOST_CPU_S, MOST_READY_S, FEWEST_FRAMES = 60.0, 2.0, 30.0
DIMENSIONS, LISTED, ASKED = 64, 50, 5000
GENRES = 16

Places = NDArray[np.float32]


def publish(out: Path, n_songs: int) -> tuple[Store, NDArray[np.float32], NDArray[np.int32]]:
    """Publish lists of synthetic songs; return OUT, the vectors and the lists."""
    vectors = clustered(KINDS["low-dimensional"], n_songs, DIMENSIONS)
    ids, scores = top_n(vectors, LISTED)
    genre = np.argmax(vectors[:, :GENRES], axis=1)
    songs = [
        {
            "track_id": f"{i:06d}.mp3",
            "title": f"Synthetic song {i}",
            "artist": f"Artist {i % 997}",
            "genre": f"style {g}",
        }
        for i, g in enumerate(genre.tolist())
    ]
    store = Store(out)
    store.create()
    store.settings.record(CatalogSettings(source="/synthetic"))
    names = pa.Table.from_pylist(songs, pa.schema([TRACKS.field(name) for name in SIDECAR_COLUMNS]))
    with store.lock(), store.new_version("similar", SimilarSettings(), "0" * 16, model_id="synthetic") as version:
        write_table(version, names, ids, scores)
        store.publish(version)
    return store, vectors, ids


def by_components(vectors: NDArray[np.float32]) -> Places:
    """Return the first two principal components."""
    centred = vectors - vectors.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    return np.asarray(centred @ axes[:, -2:], np.float32)


def share_kept(places: Places, ids: NDArray[np.int32], k: int) -> float:
    """Return the share of the ten most similar songs that are among the `k` nearest on the map."""
    from scipy.spatial import cKDTree

    rows = np.random.default_rng(0).choice(len(ids), min(ASKED, len(ids)), replace=False)
    _, nearest = cKDTree(places).query(places[rows], k + 1)
    pairs = zip(nearest.tolist(), ids[rows, :10].tolist(), strict=True)
    return float(np.mean([len(set(on_map) & set(listed)) / 10 for on_map, listed in pairs]))


def layout(store: Store, vectors: NDArray[np.float32], ids: NDArray[np.int32]) -> None:
    """Print what a layout and a night cost, and how near neighbours stay."""
    with store.lock():
        _, took = cpu(lambda: draw_map(store, MapSettings()))
        _, again = cpu(lambda: draw_map(store, MapSettings(), force=True))
    table = store.read("map")
    places = np.stack([table[name].to_numpy() for name in ("x", "y")], axis=1)
    maps = {
        "UMAP of the lists": places,
        "principal components": by_components(vectors),
        "at random": np.random.default_rng(9).random(places.shape),
    }
    rows = [(name, *(f"{share_kept(where, ids, k):.3f}" for k in (10, 50))) for name, where in maps.items()]
    print_table(("map", "among 10 nearest", "among 50 nearest"), rows)
    ok = verdict(took <= MOST_CPU_S)
    print(f"{len(ids):,} songs: {took:.1f} CPU s, of which compiling {took - again:.1f}; at most {MOST_CPU_S:g}: {ok}")


def browser(store: Store, peers: Path | None) -> None:
    """Print how soon a browser shows the map, and how many frames a second it draws while the map moves."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        print("no Chromium here: frames are not measured")
        return
    with tempfile.TemporaryDirectory() as temporary:
        have(peers or Path(temporary), "playwright")
        from benchmarks.serve.map_in_browser import measure

        found: list[dict[str, Any]] = measure(store, chromium)
    rows = [(f["painter"], f"{f['ready_s']:.2f} s", f"{f['frames']:.0f}", f"{f['bytes'] / 1e6:.2f} MB") for f in found]
    print_table(("painter", "ready", "frames a second", "/map"), rows)
    ready, frames = found[0]["ready_s"], found[0]["frames"]
    print(f"ready within {MOST_READY_S:g} s: {verdict(ready <= MOST_READY_S)}; "
          f"{FEWEST_FRAMES:g} frames a second: {verdict(frames >= FEWEST_FRAMES)}")  # fmt: skip


def main() -> None:
    """Publish synthetic lists, lay them out, show them in a browser, and print."""
    p = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    p.add_argument("--songs", type=int, default=100_000, help="songs of the table (default: %(default)s)")
    p.add_argument(
        "--peers", type=Path, help="folder Playwright is installed into and kept in (default: a temporary one)"
    )
    options = p.parse_args()
    one_thread()
    print_machine("umap-learn", "numba", "numpy")
    with tempfile.TemporaryDirectory() as folder:
        store, vectors, ids = publish(Path(folder) / "out", options.songs)
        layout(store, vectors, ids)
        browser(store, options.peers)


if __name__ == "__main__":
    main()
