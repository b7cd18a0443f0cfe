"""Tags and length of Matroska and WebM. See RFC 9559 and matroska.org/technical/tagging.html."""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from musicrec.stages.catalog.file_tags.fields import Tags, Values

SEGMENT, SEEK_HEAD, SEEK, SEEK_ID, SEEK_POSITION = 0x18538067, 0x114D9B74, 0x4DBB, 0x53AB, 0x53AC
INFO, TIMESTAMP_SCALE, DURATION, TITLE = 0x1549A966, 0x2AD7B1, 0x4489, 0x7BA9
CLUSTER, TAGS, TAG, TARGETS, LEVEL = 0x1F43B675, 0x1254C367, 0x7373, 0x63C0, 0x68CA
TRACK_UID, CHAPTER_UID, ATTACHMENT_UID = 0x63C5, 0x63C4, 0x63C6
SIMPLE_TAG, TAG_NAME, TAG_STRING = 0x67C8, 0x45A3, 0x4487
ALBUM_LEVEL = 50  # what a tag without a level is about
OF_ALBUM = {"ARTIST": "ALBUM_ARTIST", "TITLE": "ALBUM"}  # names of tags of the album, as other formats have them
MOST_BYTES = 1 << 24  # of the tags, with pictures
MOST_ELEMENTS = 100_000  # that are stepped over in search of the tags


class _Tag(NamedTuple):
    level: int
    names: Values


def read_matroska(file: BinaryIO) -> Tags:
    """Return the fields of a Matroska file, and its length if it says so."""
    title: Values = []
    tags: list[_Tag] = []
    duration_s = None
    for kind, start, end in _parts(file):
        if end - start > MOST_BYTES:
            continue
        file.seek(start)
        data = file.read(end - start)
        if kind == INFO:
            info = dict(_elements(data))
            title = [("TITLE", _text(info[TITLE]))] if info.get(TITLE) else []
            duration_s = _duration_s(info)
        elif kind == TAGS:
            tags += [tag for name, content in _elements(data) if name == TAG and (tag := _read_tag(content))]
    return Tags([_merged(tags), title], duration_s)


def _merged(tags: list[_Tag]) -> Values:
    """Return the values of all tags, those of the song first.

    If there are tags of both song and album, artist and title of the album are named as such.
    """
    of_song = [value for tag in tags if tag.level < ALBUM_LEVEL for value in tag.names]
    of_album = [value for tag in tags if tag.level >= ALBUM_LEVEL for value in tag.names]
    apart = {name.upper() for name, _ in of_song} & OF_ALBUM.keys()
    return of_song + [(OF_ALBUM[n.upper()] if n.upper() in apart else n, text) for n, text in of_album]


def _read_tag(content: bytes) -> _Tag | None:
    level, names = ALBUM_LEVEL, []
    for kind, part in _elements(content):
        if kind == TARGETS:
            targets = list(_elements(part))
            if any(name in (CHAPTER_UID, ATTACHMENT_UID) and any(uid) for name, uid in targets):
                return None
            if any(name == TRACK_UID and any(uid) for name, uid in targets):
                level = 30
            level = next((int.from_bytes(value, "big") for name, value in targets if name == LEVEL), level)
        elif kind == SIMPLE_TAG:
            simple = dict(_elements(part))
            names.append((_text(simple.get(TAG_NAME, b"")), _text(simple.get(TAG_STRING, b""))))
    return _Tag(level, names)


def _duration_s(info: dict[int, bytes]) -> float | None:
    ticks, scale = info.get(DURATION, b""), int.from_bytes(info.get(TIMESTAMP_SCALE, b""), "big") or 1_000_000
    if len(ticks) not in (4, 8):
        return None
    return float(struct.unpack(">f" if len(ticks) == 4 else ">d", ticks)[0]) * scale / 1e9


def _text(data: bytes) -> str:
    return data.split(b"\0")[0].decode("utf-8", "replace")


# --- elements -----------------------------------------------------------------------------------------------------


def _parts(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """Yield kind, start and end of the segment's parts; the music is jumped over where the file says what follows."""
    size = file.seek(0, 2)
    place, jumps, seen, in_segment = 0, list[int](), set[int](), False
    for _ in range(MOST_ELEMENTS):
        file.seek(place)
        kind, start, n_bytes = _head(file.read(12), place)
        if kind is None or start > size:
            return
        end = size if n_bytes is None else min(size, start + n_bytes)
        if kind == SEGMENT:
            in_segment, place, segment = True, start, start
            continue
        if in_segment and kind in (INFO, TAGS, SEEK_HEAD) and start not in seen:
            seen.add(start)
            yield kind, start, end
            if kind == SEEK_HEAD and end - start <= MOST_BYTES:
                file.seek(start)
                jumps = [segment + offset for offset in _tag_places(file.read(end - start))]
        jumped = kind == CLUSTER and bool(jumps)
        place = jumps.pop() if jumped else start if n_bytes is None else end


def _tag_places(seek_head: bytes) -> list[int]:
    entries = [dict(_elements(entry)) for kind, entry in _elements(seek_head) if kind == SEEK]
    wanted = [e for e in entries if int.from_bytes(e.get(SEEK_ID, b""), "big") in (TAGS, SEEK_HEAD)]
    return [int.from_bytes(entry.get(SEEK_POSITION, b""), "big") for entry in wanted]


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place < len(data):
        kind, start, n_bytes = _head(data[place : place + 12], place)
        if kind is None:
            return
        place = len(data) if n_bytes is None else start + n_bytes
        yield kind, data[start:place]


def _head(head: bytes, place: int) -> tuple[int | None, int, int | None]:
    """Return kind of an element, where its content starts, and how long that is; None if it does not say."""
    n_kind = 9 - head[0].bit_length() if head and head[0] else 9
    n_size = 9 - head[n_kind].bit_length() if n_kind <= 4 and len(head) > n_kind and head[n_kind] else 9
    if n_size > 8 or len(head) < n_kind + n_size:
        return None, place, None
    most = (1 << 7 * n_size) - 1
    size = int.from_bytes(head[n_kind : n_kind + n_size], "big") & most
    return int.from_bytes(head[:n_kind], "big"), place + n_kind + n_size, None if size == most else size
