"""What a run keeps beside the table ``recordings`` for the next night, which matches only what has changed.

Kept are all matches, and which songs they are of, in the folder of the published version.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.files.parquet import read_parquet, write_parquet
from musicrec.files.paths import AnyPath, make_folder, read_bytes, write_atomic
from musicrec.similarity.duplicates.matches import Matches

FOLDER = "_kept"
ABOUT, SONGS, MATCHES = "about.json", "songs", "matches"
REST = ("errors", "speed", "offset")


class Kept(NamedTuple):
    """The matches of an earlier run.

    Attributes
    ----------
    songs : pyarrow.Table
        ``track_id``, ``fingerprint`` and ``is_crowded`` of each song that was matched.
    matches : pyarrow.Table
        ``song`` and ``earlier``, both track ids, ``errors``, ``speed`` and ``offset`` of each match.
    """

    songs: pa.Table
    matches: pa.Table

    def is_changed(self, songs: pa.Table) -> NDArray[np.bool_]:
        """Return which of tonight's songs are new, are others than they were, or were crowded."""
        is_same = pc.equal(_looked_up("fingerprint", songs, self.songs), songs["fingerprint"])
        was_crowded = _looked_up("is_crowded", songs, self.songs)
        return ~pc.fill_null(pc.and_not(is_same, was_crowded), fill_value=False).to_numpy()

    def matches_of(self, track_ids: pa.Array, is_changed: NDArray[np.bool_]) -> Matches:
        """Return the matches of songs that have not changed, by the numbers of tonight."""
        unchanged = np.flatnonzero(~is_changed)
        ids = track_ids.take(pa.array(unchanged))
        places = [pc.index_in(self.matches[name], value_set=ids) for name in ("song", "earlier")]
        stays = pc.and_(*map(pc.is_valid, places))
        song, earlier = (unchanged[column.filter(stays).to_numpy()] for column in places)
        return Matches(song, earlier, *(self.matches[name].filter(stays).to_numpy() for name in REST))


def _looked_up(column: str, songs: pa.Table, table: pa.Table) -> pa.ChunkedArray:
    """Return a column of a table for some songs; null for a song that it lacks."""
    return table[column].take(pc.index_in(songs["track_id"], value_set=table["track_id"].combine_chunks()))


def to_kept(songs: pa.Table, is_crowded: NDArray[np.bool_], matches: Matches) -> Kept:
    """Return what is kept of a run, given ``track_id`` and ``fingerprint`` of its songs."""
    pairs = {name: songs["track_id"].take(pa.array(getattr(matches, name))) for name in ("song", "earlier")}
    rest = {name: getattr(matches, name) for name in REST}
    return Kept(songs.append_column("is_crowded", pa.array(is_crowded)), pa.table(pairs | rest))


def save(kept: Kept, folder: AnyPath, made_by: Mapping[str, Any]) -> None:
    """Write what is kept into a new folder.

    Parameters
    ----------
    kept : Kept
        All matches.
    folder : pathlib.Path or upath.UPath
        Folder to create.
    made_by : mapping
        How the matches were made; :func:`load` compares it.
    """
    make_folder(folder)
    write_parquet(folder / SONGS, kept.songs)
    write_parquet(folder / MATCHES, kept.matches)
    write_atomic(folder / ABOUT, json.dumps(made_by).encode())


def load(folder: AnyPath, made_by: Mapping[str, Any]) -> Kept | None:
    """Read what is kept; None if it is missing, damaged, or was made in another way."""
    try:
        if json.loads(read_bytes(folder / ABOUT)) != made_by:
            return None
        return Kept(read_parquet(folder / SONGS), read_parquet(folder / MATCHES))
    except (OSError, ValueError):
        return None
