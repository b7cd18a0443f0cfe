"""A song as Navidrome and its plug-ins name it to each other: a ``SongRef``, which holds ids and names but no path."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from musicrec.serve.catalog_facts import CatalogFacts, Facts
from musicrec.serve.lookup import Song
from musicrec.serve.service.access import BadRequest
from musicrec.serve.song_names import title_of, words_of

TEXTS = ("id", "name", "mbid", "isrc", "artist", "album")


class SongRef(NamedTuple):
    """What Navidrome says of a song; a text that it does not say is empty."""

    id: str = ""
    name: str = ""
    mbid: str = ""
    isrc: str = ""
    artist: str = ""
    album: str = ""
    artists: tuple[str, ...] = ()
    duration_s: float | None = None


def read_ref(content: object) -> SongRef:
    """Return a song of Navidrome's JSON.

    Raises
    ------
    BadRequest
        It is none.
    """
    if not isinstance(content, dict):
        raise BadRequest("expected a song as a JSON object")
    texts = {name: content.get(name) or "" for name in TEXTS}
    if wrong := next((name for name, text in texts.items() if not isinstance(text, str)), None):
        raise BadRequest(f"{wrong} of a song; expected a text")
    artists = content.get("artists") or []
    if not isinstance(artists, list) or not all(isinstance(a, dict) for a in artists):
        raise BadRequest("artists of a song; expected a list of JSON objects")
    names = tuple(str(artist["name"]) for artist in artists if artist.get("name"))
    milliseconds, seconds = content.get("durationMs"), content.get("duration")
    duration_s = _number(milliseconds) / 1000 if milliseconds else _number(seconds) if seconds else None
    return SongRef(**texts, artists=names, duration_s=duration_s)


def written_ref(song: Song, facts: Facts | None) -> dict[str, Any]:
    """Return a song as Navidrome's JSON; it looks for the ids first, and then for the names."""
    found: dict[str, Any] = {
        "id": song.track_id,
        "name": title_of(song.track_id, song.title),
        "artist": song.artist,
        "album": facts and facts.album,
        "mbid": facts and facts.recording_mbid,
        "isrc": facts and facts.isrc,
    }
    if facts and facts.duration_s is not None:
        found |= {"duration": facts.duration_s, "durationMs": round(1000 * facts.duration_s)}
    return {name: value for name, value in found.items() if value is not None}


def find(ref: SongRef, catalog: CatalogFacts, is_here: Callable[[str], bool]) -> str | None:
    """Return the id of the song that is meant: by its id, else its recording, else its ISRC, else its title and artist.

    Of several such songs, one on the same album is taken, and of these the one that is nearest in length.

    Parameters
    ----------
    ref : SongRef
        What is said of the song.
    catalog : CatalogFacts
        What the catalog says of all songs.
    is_here : callable
        Whether the table has a song with some id.

    Returns
    -------
    str or None
        None if no song of the table is meant.
    """
    if ref.id and is_here(ref.id):
        return ref.id
    for candidates in _candidates(ref, catalog):
        if here := [(track_id, facts) for track_id, facts in candidates if is_here(track_id)]:
            return min(here, key=lambda candidate: _distance(ref, *candidate))[0]
    return None


def _candidates(ref: SongRef, catalog: CatalogFacts) -> Iterator[list[tuple[str, Facts]]]:
    """Yield the songs that may be meant, by what says it best first."""
    yield catalog.having("recording_mbid", ref.mbid.lower())
    yield catalog.having("isrc", "".join(filter(str.isalnum, ref.isrc)).upper())
    yield [(track_id, facts) for track_id, facts in catalog.titled(ref.name) if _is_by(ref, facts)]


def _is_by(ref: SongRef, facts: Facts) -> bool:
    """Return whether a song is by an artist; the catalog writes several of them with commas between."""
    theirs = {_folded(name) for name in (ref.artist, *ref.artists)} - {""}
    artist = facts.artist or ""
    return bool(theirs & {_folded(name) for name in (artist, *artist.split(", "))})


def _distance(ref: SongRef, track_id: str, facts: Facts) -> tuple[bool, float, str]:
    is_elsewhere = bool(ref.album) and _folded(facts.album or "") != _folded(ref.album)
    has_both = ref.duration_s is not None and facts.duration_s is not None
    seconds = abs((ref.duration_s or 0.0) - (facts.duration_s or 0.0)) if has_both else float("inf")
    return is_elsewhere, seconds, track_id


def _folded(text: str) -> str:
    return words_of(text)[0]


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRequest("duration of a song; expected a number")
    return float(value)
