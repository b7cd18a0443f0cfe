"""What the report says of the lists: the songs in most of them, those in none, and what the last version changed."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from musicrec.errors import MusicrecError
from musicrec.serve.version_changes import TwoVersions
from musicrec.store.store import Store

Content = dict[str, Any]

MOST = 10  # songs to name


def hubs_and_orphans(store: Store, ids: "pd.Index[str]", counts: npt.NDArray[np.int64]) -> Content:
    """Name the songs that are in the most lists, and songs that are in none.

    Parameters
    ----------
    store : Store
    ids : pandas.Index, shape (n,)
        Songs that have a list.
    counts : ndarray of int64, shape (n,)
        Number of lists that each of them is in.
    """
    first = np.argsort(-counts, kind="stable")[:MOST]
    hubs, orphans = first[counts[first] > 0], np.flatnonzero(counts == 0)
    songs = _songs(store, [*ids[hubs], *ids[orphans[:MOST]]])
    return {
        "lists": len(ids),
        "hubs": [{**songs[ids[i]], "lists": int(counts[i])} for i in hubs],
        "n_orphans": len(orphans),
        "orphans": [songs[ids[i]] for i in orphans[:MOST]],
    }


def changes(store: Store) -> Content:
    """Return what the published version changed in the version before it, or why they cannot be compared."""
    if len(store.versions("similar").on_disk()) < 2:
        return {"why_not": "only one version is on disk"}
    try:
        return {"why_not": None, **TwoVersions(store).changes(MOST)._asdict()}
    except MusicrecError as e:  # one of them is damaged
        return {"why_not": str(e)}


def _songs(store: Store, ids: list[str]) -> dict[str, Content]:
    """Read title and artist of songs, by track id; a song that the catalog has lost has neither."""
    rows: list[Content] = []
    if store.exists("tracks"):
        wanted = pc.field("track_id").isin(pa.array(ids, pa.string()))
        rows = store.read("tracks", ["track_id", "title", "artist"], filter=wanted).to_pylist()
    unknown = {i: {"track_id": i, "title": None, "artist": None} for i in ids}
    return unknown | {row["track_id"]: row for row in rows}
