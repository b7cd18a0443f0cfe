"""Similar songs and paths for Navidrome: a request is what an export of a plug-in takes, and gets what it returns."""

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from musicrec.errors import UnknownTrack
from musicrec.serve.lookup import Song
from musicrec.serve.navidrome.song_ref import SongRef, find, read_ref, written_ref
from musicrec.serve.service.access import BadRequest
from musicrec.serve.service.followed_table import OpenVersion

MOST = 1000  # songs in an answer; Navidrome reads 10 MB at most


def similar(opened: OpenVersion, request: Request) -> dict[str, Any]:
    """Return the songs most similar to a song, for ``nd_get_sonic_similar_tracks``."""
    content = request.state.content
    song = _meant(opened, content.get("song"))
    found = opened.table.similar(song.track_id, _count(content))
    return _matches(opened, [(song, score) for _, song, score in found])


def path(opened: OpenVersion, request: Request) -> dict[str, Any]:
    """Return the songs from one song to another, both among them, for ``nd_find_sonic_path``."""
    content = request.state.content
    first, last = (_meant(opened, content.get(name)).track_id for name in ("startSong", "endSong"))
    found = opened.playlists.between(first, last, _count(content), is_cut=True)
    return _matches(opened, [(song, 1.0 if score is None else score) for song, score in found])


def mix(opened: OpenVersion, request: Request) -> dict[str, Any]:
    """Return songs for an instant mix, for ``nd_get_similar_songs_by_track``."""
    content = request.state.content
    song = _meant(opened, content)
    found = opened.table.similar(song.track_id, _count(content))
    return {"songs": _refs(opened, [song for _, song, _ in found])}


def _meant(opened: OpenVersion, content: object) -> Song:
    ref = read_ref(content)
    track_id = find(ref, opened.facts, lambda track_id: _is_here(opened, track_id))
    if track_id is None:
        raise UnknownTrack(f"no song is {_shown(ref)}, by MusicBrainz's id, by ISRC, or by title and artist")
    return opened.table.song(track_id)


def _is_here(opened: OpenVersion, track_id: str) -> bool:
    try:
        opened.table.neighbours(track_id, 0)
    except UnknownTrack:
        return False
    return True


def _shown(ref: SongRef) -> str:
    return f"{ref.name[:200]!r} by {(ref.artist or ', '.join(ref.artists))[:200]!r}"


def _count(content: dict[str, object]) -> int:
    count = content.get("count")
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise BadRequest("count; expected a number of songs, at least 1")
    return min(count, MOST)


def _matches(opened: OpenVersion, found: Sequence[tuple[Song, float]]) -> dict[str, Any]:
    refs = _refs(opened, [song for song, _ in found])
    similarities = [min(max(score, 0.0), 1.0) for _, score in found]
    return {"matches": [{"song": ref, "similarity": s} for ref, s in zip(refs, similarities, strict=True)]}


def _refs(opened: OpenVersion, songs: Sequence[Song]) -> list[dict[str, Any]]:
    facts = opened.facts.of_all([song.track_id for song in songs])
    return [written_ref(*song) for song in zip(songs, facts, strict=True)]
