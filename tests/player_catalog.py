"""A small catalog with files, as players meet it: songs in a half circle, each most like the two beside it."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa

from musicrec.schemas import EMBEDDINGS, TRACKS
from musicrec.serve.sidecar import SIDECAR_COLUMNS
from musicrec.serve.table_writer import write_table
from musicrec.settings import CatalogSettings, EmbedSettings, SimilarSettings
from musicrec.store.store import Store
from serving import most_similar

IDS = ["a/b #1?.mp3", "a/<b>&'\".mp3", "100%.flac", "שלום.ogg", "夜 \u202e.mp3", "plain", "x" * 300, "sp ace+plus.wav"]
TITLES = ['<b>Vibe</b> & "co" \'', "שיר ראשון", None, "\u202eRight", "Zeta", "y" * 2000, "Vibe two", "tab\tnew\nline"]
HERMIT = "hermit.mp3"  # no song is like it
ALL = [*IDS, HERMIT]
SOUND = {track_id: os.urandom(3000 + i) for i, track_id in enumerate(ALL)}
ANGLES = np.radians([*np.arange(8) * 22.0, 77.0])
HEIGHTS, RADII = np.array([0.3] * 8 + [-1.0]), np.array([1.0] * 8 + [0.1])
VECTORS = np.column_stack([RADII * np.cos(ANGLES), RADII * np.sin(ANGLES), HEIGHTS]).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
COSINES = VECTORS @ VECTORS.T


def tracks_in(music: Path) -> list[dict]:
    """Return the rows of the catalog, and write the songs' files."""
    music.mkdir()
    rows = []
    for i, track_id in enumerate(ALL):
        path = music / f"{i} #1 100%?{'.flac' if i == 2 else '.mp3'}"
        path.write_bytes(SOUND[track_id])
        rows.append({
            "track_id": track_id, "uri": str(path) if i % 2 else path.as_uri(), "title": [*TITLES, "Hermit"][i],
            "artist": f"Artist {i}", "artist_id": f"artist {i}", "artist_ids": [f"artist {i}"], "album": f"Album {i}",
            "genre": "jazz" if i else None, "genres": ["jazz", "<rock>"] if i else [], "duration_s": 61.6 + i,
            "size_bytes": len(SOUND[track_id]), "recording_mbid": f"00000000-0000-0000-0000-00000000000{i}",
            "isrc": f"DEAAA260000{i}",
        })  # fmt: skip
    return rows


def publish_catalog(store: Store, tracks: list[dict]) -> None:
    """Publish ``tracks``."""
    with store.new_version("tracks", CatalogSettings(source="/music"), "01234567") as version:
        version.write_part(pa.Table.from_pylist(tracks, TRACKS))
        store.publish(version)


def publish_lists(store: Store, tracks: list[dict], n: int = 2) -> None:
    """Publish the lists of the `n` most similar songs."""
    order = np.argsort([track["track_id"] for track in tracks])
    names = pa.Table.from_pylist([tracks[i] for i in order], TRACKS).select(SIDECAR_COLUMNS)
    with store.new_version("similar", SimilarSettings(), "89abcdef") as version:
        write_table(version, names, *most_similar(VECTORS[order], n))
        store.publish(version)


def publish_vectors(store: Store, ids: list[str]) -> None:
    """Publish the vectors of some songs."""
    schema = EMBEDDINGS.remove(EMBEDDINGS.get_field_index("probabilities"))
    rows = [{"track_id": t, "model_id": "m", "embedding": list(VECTORS[ALL.index(t)])} for t in ids]
    with store.new_version("embeddings", EmbedSettings(), "01234567") as version:
        version.write_part(pa.Table.from_pylist(rows, schema))
        store.publish(version)


def make_out(folder: Path) -> Store:
    """Publish the catalog, its vectors and its lists."""
    store, tracks = Store(folder / "out"), tracks_in(folder / "music")
    store.create()
    store.settings.record(CatalogSettings(source=str(folder / "music")))
    publish_catalog(store, tracks)
    publish_vectors(store, ALL)
    publish_lists(store, tracks)
    return store
