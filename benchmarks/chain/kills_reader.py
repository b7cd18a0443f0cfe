"""A reader that looks at the published tables all the while: each that it sees must be whole, and of one version."""

import json
import multiprocessing
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads

from benchmarks.chain.kills_pointers import folder_of, version_of
from benchmarks.chain.kills_tables import KEYS, digest
from musicrec.errors import ConfigError, SchemaError
from musicrec.schemas import SIMILAR
from musicrec.serve.lookup import SimilarTable
from musicrec.store.lineage import read_footer

SECONDS_BETWEEN_LOOKS = 0.2


class BrokenError(Exception):
    """A table is not whole."""


def read_with_musicrec(out: str) -> pa.Table:
    """Read all lists, as a service asks for them."""
    table = SimilarTable(out)
    ids = [song.track_id for song in table.songs()]
    some = ids[:: max(1, len(ids) // 7)]
    rows = table.similar_many(ids, 10_000)
    alone = [(song.rank, song.song.track_id) for track_id in some for song in table.similar(track_id, 10_000)]
    among = rows.filter(pa.compute.is_in(rows["track_id"], pa.array(some)))
    _require(alone == list(zip(*(among[c].to_pylist() for c in SIMILAR.names[1:3]), strict=True)), "two ways differ")
    _require_lists(rows)
    return rows


def read_with_arrow(out: str) -> pa.Table:
    """Read all rows; check that the files are of one version, and its footer."""
    dataset = pads.dataset(folder_of(out, "similar"), format="parquet")
    rows = dataset.to_table()
    versions = {Path(file).stem.split("-", 2)[2] for file in dataset.files}
    _require(len(versions) == 1, f"files of {len(versions)} versions")
    n_songs = read_footer(dataset.schema)["lineage"]["gate"]["songs"]
    found = len(pa.compute.unique(rows["track_id"]))
    _require(n_songs == found, f"{found} songs, by its footer {n_songs}")
    _require_lists(rows)
    return rows


def read_with_pandas(out: str) -> pa.Table:
    """Read all rows."""
    rows = pa.Table.from_pandas(pd.read_parquet(folder_of(out, "similar")), SIMILAR, preserve_index=False)
    _require_lists(rows)
    return rows


def read_features(out: str) -> pa.Table:
    """Read all rows of another table."""
    rows = pa.Table.from_pandas(pd.read_parquet(folder_of(out, "features")), preserve_index=False)
    _require(len(set(rows["track_id"].to_pylist())) == rows.num_rows, "a song stands twice")
    return rows


WAYS: dict[str, tuple[str, Callable[[str], pa.Table]]] = {
    "musicrec": ("similar", read_with_musicrec),
    "pyarrow": ("similar", read_with_arrow),
    "pandas": ("similar", read_with_pandas),
    "features": ("features", read_features),
}


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise BrokenError(otherwise)


def _require_lists(rows: pa.Table) -> None:
    """Require a list for every song, all of one length, with ranks from 1 on, of songs that have lists themselves."""
    table = rows.to_pandas()
    songs = set(table["track_id"])
    sizes = table.groupby("track_id").size()
    _require(sizes.nunique() == 1, "lists of several lengths")
    n = int(sizes.iloc[0])
    ranks = table.sort_values(["track_id", "rank"])["rank"].to_numpy().reshape(-1, n)
    _require(bool((ranks == np.arange(1, n + 1)).all()), "ranks that are not 1, 2, 3, …")
    _require(set(table["similar_track_id"]) <= songs, "a similar song without a list")
    _require(not (table["track_id"] == table["similar_track_id"]).any(), "a song in its own list")


def is_swap(error: Exception, way: str, before: str, after: str) -> bool:
    """Return whether a file was gone because another version was published; to musicrec's reader no file ever is."""
    return isinstance(error, FileNotFoundError) and way != "musicrec" and before != after


def watch(out: str, is_over: Event, seen: Path) -> None:
    """Look until told to stop, then write what was seen as JSON.

    Parameters
    ----------
    out : str
        OUT; it need not exist yet.
    is_over : multiprocessing.Event
        Set to stop.
    seen : pathlib.Path
        Receives, by way of reading: ``looks``; ``swapped``, how often a file was gone because a version was published
        since the look began, for a reader that knows nothing of versions (see :mod:`musicrec.store.versions`);
        ``contents``, each new digest, in order; and ``faults``.
    """
    looks, swapped = Counter[str](), Counter[str]()
    contents, faults = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    parent = multiprocessing.parent_process()
    while not is_over.is_set() and (parent is None or parent.is_alive()):
        for way, (name, read) in WAYS.items():
            before = version_of(out, name)
            try:
                content = digest(read(out), KEYS[name])
            except Exception as e:  # whatever a reader may meet
                if not contents[way] and isinstance(e, FileNotFoundError | ConfigError | SchemaError):
                    continue  # nothing is published yet
                if is_swap(e, way, before, version_of(out, name)):
                    swapped[way] += 1
                else:
                    faults[way].append(f"{time.strftime('%H:%M:%S')} {type(e).__name__}: {e}")
            else:
                if content not in contents[way][-1:]:
                    contents[way].append(content)
            looks[way] += 1
        time.sleep(SECONDS_BETWEEN_LOOKS)
    told: dict[str, Any] = {"looks": looks, "swapped": swapped, "contents": contents, "faults": faults}
    seen.write_text(json.dumps(told), encoding="utf-8")
