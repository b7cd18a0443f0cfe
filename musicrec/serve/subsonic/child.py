"""A song as OpenSubsonic's ``Child`` describes it."""

from musicrec.serve.catalog_facts import Facts
from musicrec.serve.lookup import Song
from musicrec.serve.service.audio_answer import TYPES, UNKNOWN, ending
from musicrec.serve.song_names import title_of
from musicrec.serve.subsonic.envelope import Content


def child(song: Song, facts: Facts | None) -> Content:
    """Return what is known of a song. What is not known is left out, or empty where OpenSubsonic added the field.

    Parameters
    ----------
    song : Song
        The song, as the published table names it.
    facts : Facts or None
        What the catalog says of it; None if it has left the catalog.

    Examples
    --------
    >>> found = child(Song("a/one.mp3", None, "Ann", "jazz"), None)
    >>> found["id"], found["title"], found["genres"]
    ('a/one.mp3', 'one', [{'name': 'jazz'}])
    """
    genres = facts.genres if facts and facts.genres else [song.genre] if song.genre else []
    kind = ending(facts.uri) if facts else ""
    found = {
        "id": song.track_id,
        "isDir": False,
        "title": title_of(song.track_id, song.title),
        "album": facts and facts.album,
        "artist": song.artist,
        "genre": song.genre,
        "size": facts and facts.size_bytes,
        "contentType": TYPES.get(kind, UNKNOWN) if facts else None,
        "suffix": kind if kind in TYPES else None,
        "duration": round(facts.duration_s) if facts and facts.duration_s is not None else None,
        "isVideo": False,
        "type": "music",
        "mediaType": "song",
        "musicBrainzId": (facts and facts.recording_mbid) or "",
        "isrc": [facts.isrc] if facts and facts.isrc else [],
        "genres": [{"name": genre} for genre in genres],
        "displayArtist": song.artist or "",
    }
    return {name: value for name, value in found.items() if value is not None}
