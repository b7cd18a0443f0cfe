"""Listens of Last.fm: pages of ``user.getRecentTracks`` as JSON."""

from collections.abc import Iterator
from typing import Any

from musicrec.errors import SchemaError
from musicrec.schemas import ListenReason
from musicrec.stages.histories.listens import Listen, listen, without_song

NAME = "recenttracks"


def is_recent_tracks(content: object) -> bool:
    """Return whether parsed JSON is a page, or a list of pages."""
    pages = content if isinstance(content, list) else [content]
    return bool(pages) and all(isinstance(page, dict) and (NAME in page or "error" in page) for page in pages)


def read_recent_tracks(content: Any, user: str = "") -> Iterator[Listen]:  # noqa: ANN401 - as JSON
    """Read a page, or a list of pages.

    Parameters
    ----------
    content : dict, or list of dict
        The parsed file.
    user : str
        The listener; if empty, the user that each page names.

    Raises
    ------
    SchemaError
        A page holds an error of the server instead of listens.
    """
    for page in content if isinstance(content, list) else [content]:
        if NAME not in page:
            raise SchemaError(f"a page holds the error {page.get('message', page['error'])!r}; fetch it again")
        found = page[NAME] if isinstance(page[NAME], dict) else {}
        name = user or _inner(found, "@attr").get("user")
        tracks = found.get("track") or []
        for row in [tracks] if isinstance(tracks, dict) else tracks:  # of one listen, the server makes no list
            yield _listen(row, name) if isinstance(row, dict) else without_song(ListenReason.DAMAGED, name)


def _listen(row: dict[str, Any], user: object) -> Listen:
    """Return the listen of a row; the song that plays now has not been listened to, whatever date it has."""
    if str(_inner(row, "@attr").get("nowplaying")).lower() == "true":
        return without_song(ListenReason.PLAYING_NOW, user)
    artist = _inner(row, "artist")
    return listen(
        user,
        at=_inner(row, "date").get("uts"),
        mapped_mbid=row.get("mbid"),
        artist=artist.get("#text") or artist.get("name"),
        title=row.get("name"),
    )


def _inner(row: dict[str, Any], name: str) -> dict[str, Any]:
    value = row.get(name)
    return value if isinstance(value, dict) else {}
