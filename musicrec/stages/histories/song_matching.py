"""Match listens with the songs of a catalog: by id, recording, ISRC, artist and title, place, or nearly by names."""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.stages.histories.listens import NAMES
from musicrec.stages.histories.name_forms import artist_forms, path_form, title_form
from musicrec.stages.histories.near_names import NearNames

COLUMNS = ["track_id", "recording_mbid", "isrc", "uri", "artist", "title"]  # of tracks
MBID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
KEPT = 262_144  # names whose song is remembered: the memory does not grow with the listens

Key = tuple[str | None, ...]


class By(StrEnum):
    """What a listen and its song have in common, the surest first."""

    TRACK_ID = "track_id"
    RECORDING_MBID = "recording_mbid"
    ISRC = "isrc"
    NAMES = "names"
    PLACE = "place"
    NEAR_NAMES = "near_names"


class Matched(NamedTuple):
    """The songs of some listens."""

    rows: NDArray[np.int64]  # of the catalog; -1 for no song
    by: NDArray[np.int64]  # number of the :class:`By`; -1 for no song


NOT_FOUND = (-1, -1)


class Songs:
    """The songs of a catalog by all that listens may name them by. Where several songs fit, the first by id is meant.

    Parameters
    ----------
    tracks : pyarrow.Table
        :data:`COLUMNS`, by ascending ``track_id``.
    min_likeness : float
        How alike each word of artist and title must be, in percent; 100 for names that are equal in form.
    """

    def __init__(self, tracks: pa.Table, min_likeness: float) -> None:
        self.track_ids = tracks["track_id"].combine_chunks()
        column = {name: tracks[name].to_pylist() for name in COLUMNS}
        self._by_id = _first_rows(column["track_id"])
        self._by_mbid = _first_rows(map(_mbid, column["recording_mbid"]))
        self._by_isrc = _first_rows(map(_isrc, column["isrc"]))
        self._by_place = _first_rows(uri and path_form(uri) for uri in column["uri"])
        forms = [(artist_forms(a), title_form(t)) if a and t else ([], "") for a, t in
                 zip(column["artist"], column["title"], strict=True)]  # fmt: skip
        self._by_names: dict[tuple[str, str], int] = {}
        for number in range(max((len(artists) for artists, _ in forms), default=0)):  # whole credits before parts
            for row, (artists, title) in enumerate(forms):
                for artist in artists[number : number + 1]:
                    self._by_names.setdefault((artist, title), row)
        near = ((*names, row) for names, row in self._by_names.items()) if min_likeness < 100 else ()
        self._near = NearNames(near, min_likeness)
        self._known: dict[Key, tuple[int, int]] = {}

    def match(self, listens: pa.Table) -> Matched:
        """Return the song of each listen.

        Parameters
        ----------
        listens : pyarrow.Table
            Rows of :data:`LISTENS`.
        """
        given = [name for name in NAMES if listens[name].null_count < len(listens)]
        if given == ["track_id"]:
            rows = pc.fill_null(pc.index_in(listens["track_id"], value_set=self.track_ids), -1)
            found = rows.to_numpy().astype(np.int64)
            return Matched(found, np.where(found < 0, -1, 0))
        columns = [listens[name].to_pylist() if name in given else [None] * len(listens) for name in NAMES]
        pairs = [self._known.get(key) or self._look_up(key) for key in zip(*columns, strict=True)]
        rows, by = np.array(pairs, np.int64).reshape(-1, 2).T
        return Matched(rows, by)

    def _look_up(self, key: Key) -> tuple[int, int]:
        """Return the song with these :data:`NAMES`, and what it was found by."""
        if len(self._known) >= KEPT:
            self._known.clear()
        found = next(((row, list(By).index(by)) for by, row in self._candidates(key) if row is not None), NOT_FOUND)
        self._known[key] = found
        return found

    def _candidates(self, key: Key) -> Iterable[tuple[By, int | None]]:
        """Yield what each way of matching finds, the surest way first."""
        track_id, mbid, mapped, isrc, uri, artist, title = key
        yield By.TRACK_ID, self._by_id.get(track_id or "")
        yield By.RECORDING_MBID, self._by_mbid.get(_mbid(mbid) or "")
        yield By.RECORDING_MBID, self._by_mbid.get(_mbid(mapped) or "")
        yield By.ISRC, self._by_isrc.get(_isrc(isrc) or "")
        artists, form = (artist_forms(artist), title_form(title)) if artist and title else ([], "")
        for name in artists:
            yield By.NAMES, self._by_names.get((name, form))
        yield By.PLACE, self._by_place.get(path_form(uri)) if uri else None
        yield By.NEAR_NAMES, self._near.find(artists, form)


def _first_rows(values: Iterable[str | None]) -> dict[str, int]:
    """Return the first row of each value."""
    found: dict[str, int] = {}
    for row, value in enumerate(values):
        if value:
            found.setdefault(value, row)
    return found


def _mbid(text: str | None) -> str | None:
    """Return the id in a text, which may be its address at MusicBrainz."""
    found = MBID.search(text.lower()) if text else None
    return found[0] if found else None


def _isrc(text: str | None) -> str | None:
    return text.upper().replace("-", "").replace(" ", "") if text else None
