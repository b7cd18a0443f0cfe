"""Playlists as files that players read: M3U8, XSPF and JSPF."""

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote_to_bytes
from xml.etree import ElementTree

from musicrec.errors import ConfigError

RECORDING = "https://musicbrainz.org/recording/"
XSPF = "http://xspf.org/ns/0/"
LINE_BREAKS = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")
HALF_CHARACTERS = re.compile("[\ud800-\udfff]")
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Entry(NamedTuple):
    """A song of a playlist, as in the table ``tracks``."""

    uri: str  # a path on this machine, or a URI
    title: str | None = None
    artist: str | None = None
    album: str | None = None
    duration_s: float | None = None
    recording_mbid: str | None = None


def playlist_file(path: Path, name: str, songs: Sequence[Entry], *, is_placed: bool = True) -> bytes:
    """Return the content of a playlist file, in the format of its ending.

    Songs on this machine are written as seen from the folder of the playlist, so both can be moved together.

    Parameters
    ----------
    path : pathlib.Path
        Where the file will be: ``.m3u8``, ``.xspf`` or ``.jspf``.
    name : str
        Name of the playlist.
    songs : sequence of Entry
        The songs.
    is_placed : bool
        Whether it is known where the file will be. If not, songs on this machine have their whole paths.

    Raises
    ------
    ConfigError
        The file has another ending, or M3U8 cannot hold the path of a song.

    Examples
    --------
    >>> from pathlib import Path
    >>> songs = [Entry("/music/#1 hit.mp3", "Hit", "Ann", duration_s=61.6)]
    >>> print(playlist_file(Path("/music/mine.m3u8"), "Mine", songs).decode(), end="")
    #EXTM3U
    #PLAYLIST:Mine
    #EXTINF:62,Ann - Hit
    ./#1 hit.mp3
    """
    if path.suffix not in FORMATS:
        raise ConfigError(f"playlist {path}: unknown ending {path.suffix!r}; expected {', '.join(FORMATS)}")
    name = HALF_CHARACTERS.sub("\ufffd", name)  # of a file's name that is not Unicode
    return FORMATS[path.suffix](name, songs, path.parent.resolve() if is_placed else None)


def _m3u8(name: str, songs: Sequence[Entry], folder: Path | None) -> bytes:
    """Return lines in UTF-8 without a mark; paths stand as they are, as players take percent signs literally."""
    lines = [b"#EXTM3U", f"#PLAYLIST:{_on_one_line(name)}".encode()]
    for song in songs:
        path = _relative(song.uri, folder)
        place = song.uri.encode() if path is None else path
        if b"\n" in place or b"\r" in place:
            raise ConfigError(f"{song.uri!r}: M3U8 cannot hold a line break in a path; choose .xspf or .jspf")
        length_s = -1 if song.duration_s is None else round(song.duration_s)
        lines += [f"#EXTINF:{length_s},{_on_one_line(_called(song))}".encode()]
        is_taken_otherwise = place.startswith(b"#") or place[:1].isspace()  # as a comment, or without its first space
        lines += [b"./" + place if is_taken_otherwise else place]
    return b"\n".join([*lines, b""])


def _called(song: Entry) -> str:
    title = song.title or song.uri.rpartition("/")[2]
    return f"{song.artist} - {title}" if song.artist else title


def _on_one_line(text: str) -> str:
    return LINE_BREAKS.sub(" ", text)


def _xspf(name: str, songs: Sequence[Entry], folder: Path | None) -> bytes:
    root = ElementTree.Element("playlist", version="1", xmlns=XSPF)
    _add(root, "title", name)
    tracks = ElementTree.SubElement(root, "trackList")
    for song in songs:
        track = ElementTree.SubElement(tracks, "track")
        for tag, text in _track(song, folder).items():
            _add(track, tag, str(text[0] if isinstance(text, list) else text))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True) + b"\n"


def _add(parent: ElementTree.Element, tag: str, text: str) -> None:
    ElementTree.SubElement(parent, tag).text = NOT_XML.sub("\ufffd", text)


def _jspf(name: str, songs: Sequence[Entry], folder: Path | None) -> bytes:
    playlist = {"title": name, "track": [_track(song, folder) for song in songs]}
    return (json.dumps({"playlist": playlist}, ensure_ascii=False, indent=2) + "\n").encode()


Format = Callable[[str, Sequence[Entry], Path | None], bytes]
FORMATS: dict[str, Format] = {".m3u8": _m3u8, ".xspf": _xspf, ".jspf": _jspf}


def _track(song: Entry, folder: Path | None) -> dict[str, Any]:
    """Return what XSPF and JSPF say of a song, in the order of the standard."""
    about = {
        "location": [_location(song.uri, folder)],
        "identifier": song.recording_mbid and [RECORDING + song.recording_mbid],
        "title": song.title,
        "creator": song.artist,
        "album": song.album,
        "duration": None if song.duration_s is None else round(1000 * song.duration_s),
    }
    return {tag: value for tag, value in about.items() if value is not None and value != ""}


def _location(uri: str, folder: Path | None) -> str:
    """Return a song's place as a URI, or a part of one that goes from the folder of the playlist."""
    path = _relative(uri, folder)
    if path is not None:
        return quote(path) if folder else f"file://{quote(path)}"
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{quote(rest)}" if scheme in ("s3", "s3a") else uri


def _relative(uri: str, folder: Path | None) -> bytes | None:
    """Return the path of a song on this machine, from a folder or the root; None if it is elsewhere."""
    if "://" in uri and not uri.startswith("file://"):
        return None
    path = unquote_to_bytes(uri.removeprefix("file://")) if uri.startswith("file://") else os.fsencode(uri)
    return os.path.relpath(path, os.fsencode(folder)) if folder else os.path.abspath(path)  # noqa: PTH100 - bytes
