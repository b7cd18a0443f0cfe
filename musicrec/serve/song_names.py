"""The names of a song beside its id, and the songs whose names are closest to a given one."""

import re
from collections.abc import Iterator

import pyarrow as pa

AUDIO_SUFFIX = re.compile(r"(?<=.)\.[A-Za-z][A-Za-z0-9]{1,3}$")  # not the .00002 of a GTZAN id
SONGS_AT_A_TIME = 100_000  # while they are indexed, the names of so many are in memory
NAMES_OFFERED = 3


def names_of(track_id: str, title: str | None) -> set[str]:
    """Return the names of a song beside its id: its file name, with and without extension, and its title."""
    file_name = track_id.rstrip("/").rpartition("/")[2]
    return {file_name, AUDIO_SUFFIX.sub("", file_name), title or ""} - {""}


def all_names(songs: pa.Table) -> Iterator[set[str]]:
    """Yield the names of each song of a table, row after row."""
    for batch in songs.select(["track_id", "title"]).to_batches(SONGS_AT_A_TIME):
        yield from map(names_of, batch["track_id"].to_pylist(), batch["title"].to_pylist())


def find_track(name: str, tracks: pa.Table) -> str | None:
    """Return the id of the track with this id, or else of the first with this name; None if there is none."""
    track_ids: list[str] = tracks["track_id"].to_pylist()
    if name in track_ids:
        return name
    wanted = name.casefold()
    names = zip(track_ids, all_names(tracks), strict=True)
    return next((t for t, called in names if wanted in map(str.casefold, called)), None)


def closest(name: str, songs: pa.Table) -> list[str]:
    """Return the ids of the songs with the names closest to `name`."""
    from rapidfuzz import process, utils

    track_ids = songs["track_id"].to_pylist()
    choices = [(name, t) for t, names in zip(track_ids, all_names(songs), strict=True) for name in (*names, t)]
    matches = process.extract(
        name, [name for name, _ in choices], processor=utils.default_process, limit=4 * NAMES_OFFERED
    )
    return list(dict.fromkeys(choices[at][1] for *_, at in matches))[:NAMES_OFFERED]
