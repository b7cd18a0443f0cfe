"""Which artists made the songs of a catalog, and of how many songs nobody knows."""

from collections.abc import Iterable

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from musicrec.evaluate.artist_circles import circles
from musicrec.models.dataset import MOSTLY
from musicrec.store.store import Store
from musicrec.store.tracks import read_tracks


def circles_of(store: Store, track_ids: Iterable[str]) -> "pd.Series[str]":
    """Return the circle of artists of songs by track id, as the split by artist keeps them apart.

    A song without artists has its recording instead, or None.

    Parameters
    ----------
    store : Store
        OUT, with ``tracks``.
    track_ids : iterable of str
        The songs, each once.
    """
    tracks = read_tracks(store, ["track_id", "artist_ids", "recording"])
    wanted = pd.Index(track_ids)
    rows = {
        row["track_id"]: row
        for row in tracks.filter(pc.is_in(tracks["track_id"], pa.array(wanted, pa.string()))).to_pylist()
    }
    own = [rows.get(track_id, {}) for track_id in wanted]
    found = circles([row.get("artist_ids") for row in own])
    named = [circle or row.get("recording") for circle, row in zip(found, own, strict=True)]
    return pd.Series(named, wanted, dtype=object)


def n_without_artist(store: Store, track_ids: pa.Array | None = None) -> int:
    """Return of how many songs, by default of the whole catalog, no artist is known.

    No rule about artists leaves them out of a list.
    """
    tracks = read_tracks(store, ["track_id", "artist_ids"])
    if track_ids is not None:
        tracks = tracks.filter(pc.is_in(tracks["track_id"], track_ids))
    lengths = pc.fill_null(pc.list_value_length(tracks["artist_ids"]), 0)
    return int(pc.sum(pc.equal(lengths, 0)).as_py() or 0)


def are_known(store: Store, track_ids: pa.Array) -> bool:
    """Return whether the artists of nearly all of some songs are known, so that they can be kept apart."""
    return len(track_ids) - n_without_artist(store, track_ids) >= MOSTLY * len(track_ids)


def tested_songs(store: Store) -> pa.Array:
    """Return the songs that the published evaluation has tested models on."""
    return pc.unique(store.read("evaluation", ["track_id"])["track_id"])


def without_artists(store: Store) -> str | None:
    """Return what the published evaluation cannot say, as some of its songs have no artist; None if all have one."""
    tested = tested_songs(store)
    n = n_without_artist(store, tested)
    if not n:
        return None
    counted = f"{n:,} of the {len(tested):,} songs {'has' if n == 1 else 'have'} no artist"
    if are_known(store, tested):
        return f"{counted}, so each is on its own in the split by artist"
    return (
        f"{counted}: how well a model does for artists that it has not heard cannot be known, and the figures of the "
        f"random split are too high for them; give artists in the tags or in a manifest"
    )
