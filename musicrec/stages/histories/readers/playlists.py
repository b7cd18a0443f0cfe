"""Playlists as the likes of one listener: M3U8, XSPF and JSPF."""

import re
from collections.abc import Iterator
from posixpath import normpath
from typing import Any
from urllib.parse import urljoin
from xml.etree import ElementTree

from musicrec.schemas import ListenReason
from musicrec.stages.histories.listens import Listen, from_ms, listen, without_song

DRIVE = re.compile(r"[A-Za-z]:[\\/]")
RECORDING = re.compile(r"musicbrainz\.org/recording/([0-9A-Fa-f-]{36})")


def read_m3u(content: bytes, user: str, folder: str) -> Iterator[Listen]:
    """Read a playlist of lines, in UTF-8 or else in Windows' Western encoding.

    Parameters
    ----------
    content : bytes
        The file.
    user : str
        The listener.
    folder : str
        Folder of the playlist, from which its relative paths go.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", "replace")
    length_s, artist, title = "", "", ""
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("#EXTINF:"):
            length_s, artist, title = _extinf(line.removeprefix("#EXTINF:"))
        elif not line.startswith("#"):
            yield listen(user, uri=_place(line, folder), length_s=length_s, artist=artist, title=title)
            length_s, artist, title = "", "", ""


def _extinf(text: str) -> tuple[str, str, str]:
    """Return length, artist and title of ``123,Artist - Title``; players write -1 for an unknown length."""
    length, _, name = text.partition(",")
    artist, has_both, title = name.partition(" - ")
    seconds = length.split()[0] if length.split() else ""
    return seconds, artist if has_both else "", title or artist


def _place(text: str, folder: str) -> str:
    """Return a place of a playlist as an absolute path or URI."""
    if "://" in text or text.startswith("/") or DRIVE.match(text):
        return text
    place = f"{folder.rstrip('/')}/{text}".replace("\\", "/")
    return normpath(place) if place.startswith("/") else place


def read_xspf(content: bytes, user: str, base: str) -> Iterator[Listen]:
    """Read an XSPF playlist.

    Parameters
    ----------
    content : bytes
        The file.
    user : str
        The listener.
    base : str
        URI of the playlist, from which its relative locations go.

    Raises
    ------
    ValueError
        The file is no XML.
    """
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as e:
        raise ValueError(str(e)) from e
    for track in root.iterfind(".//{*}trackList/{*}track"):
        row = {
            name: [text for child in track.iterfind(f"{{*}}{name}") if (text := child.text)]
            for name in ("location", "identifier", "creator", "title", "duration")
        }
        yield _listen(row, user, base)


def read_jspf(content: dict[str, Any], user: str, base: str) -> Iterator[Listen]:
    """Read a JSPF playlist, such as those of ListenBrainz.

    Parameters
    ----------
    content : dict
        The parsed file.
    user : str
        The listener.
    base : str
        URI of the playlist, from which its relative locations go.
    """
    playlist = content["playlist"]
    tracks = playlist.get("track") if isinstance(playlist, dict) else None
    for row in tracks if isinstance(tracks, list) else []:
        yield _listen(row, user, base) if isinstance(row, dict) else without_song(ListenReason.DAMAGED, user)


def _listen(row: dict[str, Any], user: str, base: str) -> Listen:
    identifiers, locations = _listed(row.get("identifier")), _listed(row.get("location"))
    mbids = [found[1] for text in identifiers + locations if (found := RECORDING.search(text))]
    return listen(
        user,
        recording_mbid=next(iter(mbids), None),
        uri=next((urljoin(base, text) for text in locations), None),
        length_s=from_ms(next(iter(_listed(row.get("duration"))), None)),
        artist=next(iter(_listed(row.get("creator"))), None),
        title=next(iter(_listed(row.get("title"))), None),
    )


def _listed(value: object) -> list[str]:
    """Return the texts of a value that is one text, or a list of them."""
    values = value if isinstance(value, list) else [value]
    return [str(one).strip() for one in values if isinstance(one, str | int) and str(one).strip()]
