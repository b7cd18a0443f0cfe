"""The files of each recording that a collection holds several times, with what tells which of them to keep."""

from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc

from musicrec.errors import ConfigError
from musicrec.files.paths import replacing
from musicrec.store.store import Store

LOSSLESS = {"wav", "flac", "aif", "aiff", "aifc", "au", "w64", "caf", "ape", "wv", "tta"}
COPIES = pa.schema(
    [
        ("recording", pa.string()),  # the song that stands for the recording
        ("track_id", pa.string()),
        ("uri", pa.string()),
        ("format", pa.string()),  # the ending of the file name
        ("kbit_s", pa.float64()),  # size by length, so with tags and pictures
        ("duration_s", pa.float64()),
        ("size_bytes", pa.int64()),
        ("score", pa.float32()),
        ("speed", pa.float32()),
        ("offset_s", pa.float32()),
    ]
)


def copies(store: Store) -> pa.Table:
    """Return the files of each recording of which there are several.

    Parameters
    ----------
    store : Store
        OUT, with the table ``recordings``.

    Returns
    -------
    pyarrow.Table
        ``COPIES``, in order of recording, and the best file of each first: lossless formats, then higher bit rates,
        then longer files.

    Raises
    ------
    SchemaError
        There is no table ``recordings``.
    """
    found = store.read("recordings")
    members = found.group_by("recording").aggregate([("track_id", "count")])
    several = members.filter(pc.greater(members["track_id_count"], 1))["recording"]
    found = found.filter(pc.is_in(found["recording"], value_set=several.combine_chunks()))
    tracks = store.read("tracks", ["track_id", "uri", "size_bytes", "duration_s"])
    rows = found.join(tracks, "track_id").to_pylist()
    return pa.Table.from_pylist(sorted(map(_described, rows), key=_best_first), COPIES)


def _described(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with format and bit rate."""
    ending = PurePosixPath(urlsplit(row["uri"]).path if "://" in row["uri"] else row["uri"]).suffix
    is_known = row["size_bytes"] and row["duration_s"]
    kbit_s = round(row["size_bytes"] * 8 / 1000 / row["duration_s"], 1) if is_known else None
    return row | {"format": ending.removeprefix(".").lower(), "kbit_s": kbit_s}


def _best_first(row: dict[str, Any]) -> tuple[Any, ...]:
    is_lossy = row["format"] not in LOSSLESS
    return row["recording"], is_lossy, -(row["kbit_s"] or 0), -(row["duration_s"] or 0), row["track_id"]


def write_copies(table: pa.Table, file: Path) -> None:
    """Write a table of copies as CSV, with a header; an older file of that name is replaced.

    Raises
    ------
    ConfigError
        The file cannot be written.
    """
    from pyarrow.csv import write_csv  # slow to import

    try:
        with replacing(file) as temporary:
            write_csv(table, temporary)
    except OSError as e:
        raise ConfigError(f"{file} cannot be written ({e.strerror or e})") from e
