"""Listens of Spotify's extended streaming history: a JSON list of streams, music and others."""

import re
from collections.abc import Iterator
from typing import Any

from musicrec.schemas import ListenReason
from musicrec.stages.histories.listens import Listen, from_ms, listen, seconds_since_1970, text_of, without_song

FILE_NAME = re.compile(r"(?:.*/)?(?:Streaming_History_Audio|endsong)[^/]*\.json", re.IGNORECASE)
ARTIST, TITLE = "master_metadata_album_artist_name", "master_metadata_track_name"
OTHERS = ("spotify_episode_uri", "episode_name", "audiobook_uri", "audiobook_chapter_uri")  # podcasts and books


def is_history(content: object) -> bool:
    """Return whether parsed JSON is such a list."""
    return isinstance(content, list) and bool(content) and isinstance(content[0], dict) and "ms_played" in content[0]


def names_users(content: list[Any]) -> bool:
    """Return whether the streams name their user, as those of older exports do."""
    return isinstance(content[0], dict) and text_of(content[0].get("username")) is not None


def read_streams(content: list[Any], user: str = "") -> Iterator[Listen]:
    """Read streams. One in a private session was meant to leave no trace, so it is left out.

    Parameters
    ----------
    content : list of dict
        The parsed file.
    user : str
        The listener; if empty, the ``username`` of each stream.
    """
    for row in content:
        if not isinstance(row, dict):
            yield without_song(ListenReason.DAMAGED, user)
            continue
        name = user or row.get("username")
        if row.get("incognito_mode") is True:
            yield without_song(ListenReason.PRIVATE, name)
        elif not row.get(TITLE) and any(row.get(key) for key in OTHERS):
            yield without_song(ListenReason.NOT_MUSIC, name)
        else:
            yield _listen(row, name)


def _listen(row: dict[str, Any], user: object) -> Listen:
    """Return the listen of a stream, whose ``ts`` is when it ended."""
    found = listen(user, at=row.get("ts"), seconds=from_ms(row.get("ms_played")), skipped=row.get("skipped"),
                   artist=row.get(ARTIST), title=row.get(TITLE))  # fmt: skip
    if found.get("at_s") is not None and found.get("seconds") is not None:
        found["at_s"] = seconds_since_1970(found["at_s"] - int(found["seconds"]))
    return found
