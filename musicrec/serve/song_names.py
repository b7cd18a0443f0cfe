"""How people name a song: by its id, file name, title or place, by words of these, or nearly so."""

import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

AUDIO_SUFFIX = re.compile(r"(?<=.)\.[A-Za-z][A-Za-z0-9]{1,3}$")  # not the .00002 of a GTZAN id
SONGS_AT_A_TIME = 100_000  # while they are indexed, the names of so many are in memory
NAMES_OFFERED = 3
LEAST_LIKENESS = 75.0  # of a name that is offered, from 0 to 100
WORDS_OF = ["track_id", "artist", "title"]


def names_of(track_id: str, title: str | None) -> set[str]:
    """Return the names of a song beside its id: its file name, with and without extension, and its title."""
    file_name = track_id.rstrip("/").rpartition("/")[2]
    return {file_name, AUDIO_SUFFIX.sub("", file_name), title or ""} - {""}


def title_of(track_id: str, title: str | None) -> str:
    """Return the title of a song, or its file name without extension if it has none.

    Examples
    --------
    >>> title_of("a/one.mp3", "One"), title_of("a/one.mp3", None)
    ('One', 'one')
    """
    return title or AUDIO_SUFFIX.sub("", track_id.rstrip("/").rpartition("/")[2]) or track_id


def all_names(songs: pa.Table) -> Iterator[set[str]]:
    """Yield the names of each song of a table, row after row."""
    for batch in songs.select(["track_id", "title"]).to_batches(SONGS_AT_A_TIME):
        yield from map(names_of, batch["track_id"].to_pylist(), batch["title"].to_pylist())


def find_track(name: str, tracks: pa.Table) -> str | None:
    """Return the id of the track with this id, or else of the first with this name; None if there is none.

    Parameters
    ----------
    name : str
        Id, file name, title, or where the song is: a path on this machine, or a URI.
    tracks : pyarrow.Table
        The columns ``track_id``, ``title`` and ``uri`` of the table ``tracks``.
    """
    track_ids: list[str] = tracks["track_id"].to_pylist()
    if name in track_ids:
        return name
    wanted, places = name.casefold(), _places(name)
    songs = zip(track_ids, all_names(tracks), tracks["uri"].to_pylist(), strict=True)
    return next((t for t, called, uri in songs if uri in places or wanted in map(str.casefold, called)), None)


def at_file(name: str, tracks: pa.Table) -> list[str]:
    """Return the ids of the tracks whose file has this name now: a song keeps its id when its file is renamed.

    Parameters
    ----------
    name : str
        File name, with or without extension.
    tracks : pyarrow.Table
        The columns ``track_id`` and ``uri`` of the table ``tracks``.
    """
    wanted = name.casefold()
    songs = zip(tracks["track_id"].to_pylist(), tracks["uri"].to_pylist(), strict=True)
    return [t for t, uri in songs if wanted in map(str.casefold, names_of(unquote(uri), None))]


def _places(name: str) -> set[str]:
    """Return how the catalog may write the place of a song that is at this path or URI."""
    path = Path(os.path.abspath(os.path.expanduser(name)))  # noqa: PTH100, PTH111 - also what is no path, and ".."
    paths = {path, path.resolve()}
    return {name, *map(str, paths), *(path.as_uri() for path in paths)}


def with_words(text: str, songs: pa.Table) -> list[int]:
    """Return the rows of the songs that have every word of a text in their id, artist or title.

    Neither case nor accents count.

    Parameters
    ----------
    text : str
        Such as ``vibe``, or ``Artist - Title``.
    songs : pyarrow.Table
        Their columns ``track_id``, ``artist`` and ``title``.

    Returns
    -------
    list of int
        Ascending. Empty if the text has no word.
    """
    found: list[int] = rows_with_words(text, searchable(songs)).tolist()
    return found


def in_full(text: str, songs: pa.Table, rows: list[int]) -> list[int]:
    """Return those of some songs whose artist and title, as lists show them, are all of a text.

    Parameters
    ----------
    text : str
        Such as ``Artist – Title``.
    songs : pyarrow.Table
        The columns ``track_id``, ``artist`` and ``title``.
    rows : list of int
        The songs in question, such as those that :func:`with_words` has found.
    """
    _, wanted = words_of(text)
    named = songs.select(WORDS_OF).take(rows).to_pylist()
    shown = [f"{song['artist'] or ''} – {title_of(song['track_id'], song['title'])}" for song in named]
    return [row for row, name in zip(rows, shown, strict=True) if words_of(name)[1] == wanted]


def searchable(songs: pa.Table) -> pa.ChunkedArray:
    """Return id, artist and title of each song as one text in which words are found, without case and accents."""
    import pyarrow.compute as pc

    columns = [songs[name].cast(pa.large_string()) for name in WORDS_OF]
    whole = pc.binary_join_element_wise(*columns, pa.scalar("\n", pa.large_string()), null_handling="replace")
    return _folded(pc.replace_substring_regex(pc.utf8_normalize(whole, "NFKD"), r"\p{Mn}", ""))


def rows_with_words(text: str, songs: pa.ChunkedArray, *, best_first: bool = False) -> NDArray[np.int64]:
    """Return the rows of the songs that have every word of a text, as :func:`with_words`.

    Parameters
    ----------
    text : str
        Some words.
    songs : pyarrow.ChunkedArray
        What :func:`searchable` has made.
    best_first : bool
        Begin with those whose artist or title begins with the text.

    Returns
    -------
    numpy.ndarray
        int64 [k], ascending, or twice so.
    """
    import pyarrow.compute as pc

    text, words = words_of(text)
    if not words:
        return np.zeros(0, np.int64)
    rows = np.arange(len(songs))
    for word in sorted(words, key=len, reverse=True):  # the fewer songs are left, the faster
        has_it = pc.match_substring(songs, word)
        rows, songs = rows[np.asarray(has_it, bool)], songs.filter(has_it)
    if best_first:
        begins = np.asarray(pc.match_substring(songs, "\n" + text), bool)
        rows = np.concatenate([rows[begins], rows[~begins]])
    return rows


def words_of(text: str) -> tuple[str, list[str]]:
    """Return a text in the form that :func:`searchable` gives to names, and its words."""
    text = text.encode(errors="surrogatepass").decode(errors="replace")  # bytes that are no characters are in no name
    text = _folded(pa.scalar(_without_accents(text).strip())).as_py()
    return text, [word for word in text.split() if any(map(str.isalnum, word))]


def _folded(texts: Any) -> Any:  # noqa: ANN401 - an array or a scalar of Arrow
    """Return texts without upper case; both ways, as σ and ς have one upper case."""
    import pyarrow.compute as pc

    return pc.utf8_lower(pc.utf8_upper(texts))


def _without_accents(text: str) -> str:
    return "".join(letter for letter in unicodedata.normalize("NFKD", text) if unicodedata.category(letter) != "Mn")


def closest(name: str, songs: pa.Table) -> list[str]:
    """Return the ids of the songs with the names closest to `name`, if any is close."""
    from rapidfuzz import process, utils

    track_ids = songs["track_id"].to_pylist()
    choices = [(name, t) for t, names in zip(track_ids, all_names(songs), strict=True) for name in (*names, t)]
    matches = process.extract(
        name,
        [name for name, _ in choices],
        processor=utils.default_process,
        limit=4 * NAMES_OFFERED,
        score_cutoff=LEAST_LIKENESS,
    )
    return list(dict.fromkeys(choices[at][1] for *_, at in matches))[:NAMES_OFFERED]
