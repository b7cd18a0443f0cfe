"""ID3 tags: version 2.2, 2.3 and 2.4 at the start of a file or in a chunk, and version 1 at its end.

See id3.org/id3v2.4.0-structure, id3v2.3.0 and id3v2-00.
"""

import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO, NamedTuple

from musicrec.stages.catalog.file_tags.fields import Values, names_like
from musicrec.stages.catalog.file_tags.text import GENRES

WANTED = names_like("T[A-Z0-9]{3}") | {"TXXX", "UFID"}
OLD_NAMES = {"TP1": "TPE1", "TP2": "TPE2", "TAL": "TALB", "TT2": "TIT2", "TCO": "TCON", "TCP": "TCMP", "TRC": "TSRC",
             "TXX": "TXXX", "UFI": "UFID"}  # fmt: skip
MOST_BYTES = 1 << 20  # of a frame; a longer one holds no name
MOST_UNSYNCED_BYTES = 1 << 26  # of a tag that has to be read whole
V1_BYTES = 128
SHORTEST_ARTIST = 3  # letters of an artist beside a slash
ENCODINGS = ("latin-1", "utf-16", "utf-16-be", "utf-8")


class Frame(NamedTuple):
    """A frame of a tag, as it lies in the file."""

    name: str
    content: bytes


def read_v2(file: BinaryIO) -> Values:
    """Return the fields of the tags that start here; the file is then after them."""
    values: Values = []
    start = file.tell()
    while (head := file.read(10))[:3] == b"ID3" and len(head) == 10:
        size, version, flags = _synchsafe(head[6:]), head[3], head[5]
        end = file.tell() + size
        is_packed = version == 2 and flags & 0x40
        if version in (2, 3, 4) and not is_packed and not (flags & 0x80 and size > MOST_UNSYNCED_BYTES):
            body = BytesIO(_without_unsync(file.read(size))) if flags & 0x80 and version < 4 else file
            stop = len(body.getbuffer()) if isinstance(body, BytesIO) else end
            _skip_extended_header(body, version, flags)
            for frame in _frames(body, stop, version, unsynced=bool(flags & 0x80)):
                values += _fields(frame, version)
        start = file.seek(end + (10 if version == 4 and flags & 0x10 else 0))
    file.seek(start)
    return values


def music_start(file: BinaryIO) -> int:
    """Return where the music starts: after the tags of version 2 at the start of a file."""
    start = file.seek(0)
    while (head := file.read(10))[:3] == b"ID3" and len(head) == 10:
        start = file.seek(start + 10 + _synchsafe(head[6:]) + (10 if head[3] == 4 and head[5] & 0x10 else 0))
    return start


def read_v1(file: BinaryIO) -> Values:
    """Return the fields of the tag in the last 128 bytes; each ends at its first zero."""
    size = file.seek(0, 2)
    if size < V1_BYTES:
        return []
    file.seek(size - V1_BYTES)
    tag = file.read(V1_BYTES)
    if tag[:3] != b"TAG":
        return []
    places = {"TIT2": tag[3:33], "TPE1": tag[33:63], "TALB": tag[63:93]}
    found = [(name, text.split(b"\0")[0].decode("latin-1")) for name, text in places.items()]
    return found + ([("TCON", GENRES[tag[127]])] if tag[127] < len(GENRES) else [])


# --- frames -------------------------------------------------------------------------------------------------------


def _frames(file: BinaryIO, end: int, version: int, *, unsynced: bool) -> Iterator[Frame]:
    n_name, n_head = (3, 6) if version == 2 else (4, 10)
    while file.tell() + n_head <= end:
        head = file.read(n_head)
        name = head[:n_name].decode("latin-1")
        if not (name.isalnum() and name.isascii()):  # padding
            return
        size = _size(file, head, version, end)
        start = file.tell()
        if size > end - start:
            return
        name = OLD_NAMES.get(name, name)
        if name in WANTED and size <= MOST_BYTES:
            flags = head[9] if version > 2 else 0
            content = _plain(file.read(size), version, flags, unsynced=unsynced)
            if content:
                yield Frame(name, content)
        file.seek(start + size)


def _size(file: BinaryIO, head: bytes, version: int, end: int) -> int:
    """Return the size of a frame. Old versions of iTunes wrote that of version 2.4 as a plain number."""
    if version == 2:
        return int.from_bytes(head[3:6], "big")
    plain = int.from_bytes(head[4:8], "big")
    if version == 3 or plain < 0x80:
        return plain
    if any(byte & 0x80 for byte in head[4:8]):
        return plain
    start, size = file.tell(), _synchsafe(head[4:8])
    if _is_frame_or_end(file, start + size, end) or not _is_frame_or_end(file, start + plain, end):
        plain = size
    file.seek(start)
    return plain


def _is_frame_or_end(file: BinaryIO, place: int, end: int) -> bool:
    if place >= end:
        return place == end
    file.seek(place)
    name = file.read(min(4, end - place))
    return not any(name) or (len(name) == 4 and name.isalnum() and name == name.upper())


def _plain(content: bytes, version: int, flags: int, *, unsynced: bool) -> bytes:
    """Return the content of a frame as it was before it was packed; empty if it is encrypted or damaged."""
    compressed, encrypted, grouped, sized = (
        (flags & 0x80, flags & 0x40, flags & 0x20, flags & 0x80)
        if version == 3
        else (flags & 0x08, flags & 0x04, flags & 0x40, flags & 0x01)
    )
    if encrypted:
        return b""
    if version == 4 and (unsynced or flags & 0x02):
        content = _without_unsync(content)
    content = content[(1 if grouped else 0) + (4 if sized else 0) :]
    if not compressed:
        return content
    try:
        return zlib.decompressobj().decompress(content, MOST_BYTES)
    except zlib.error:
        return b""


def _fields(frame: Frame, version: int) -> Values:
    if frame.name == "UFID":
        owner, _, value = frame.content.partition(b"\0")
        return [(f"UFID:{owner.decode('latin-1')}", value.decode("latin-1"))]
    name, texts = frame.name, _texts(frame.content)
    if name == "TXXX":
        name, texts = f"TXXX:{texts[0]}", texts[1:]
    if version < 4 and name.upper() in ("TPE1", "TXXX:ARTISTS"):
        texts = [part for text in texts for part in _without_slashes(text)]
    return [(name, text) for text in texts]


def _without_slashes(text: str) -> list[str]:
    """Return the artists between which version 2.3 puts slashes; those of AC/DC are its own."""
    parts = [part.strip() for part in text.split("/")]
    return parts if min(map(len, parts)) >= SHORTEST_ARTIST else [text]


def _texts(content: bytes) -> list[str]:
    """Return the texts of a frame, which zeros separate."""
    encoding = ENCODINGS[content[0]] if content[0] < len(ENCODINGS) else "latin-1"
    body = content[1:]
    if not encoding.startswith("utf-16"):
        return [part.decode(encoding, "replace") for part in body.rstrip(b"\0").split(b"\0")]
    if encoding == "utf-16":  # a text without a mark of its own has the byte order of the first
        encoding = "utf-16-be" if body.startswith(b"\xfe\xff") else "utf-16-le"
    text = body[: len(body) // 2 * 2].decode(encoding, "replace")
    return [part.lstrip("\ufeff\ufffe") for part in text.rstrip("\0").split("\0")]


def _skip_extended_header(file: BinaryIO, version: int, flags: int) -> None:
    if version == 2 or not flags & 0x40:
        return
    size = file.read(4)
    file.seek(_synchsafe(size) - 4 if version == 4 else int.from_bytes(size, "big"), 1)


def _synchsafe(four: bytes) -> int:
    return sum((byte & 0x7F) << shift for byte, shift in zip(four, (21, 14, 7, 0), strict=True))


def _without_unsync(data: bytes) -> bytes:
    return data.replace(b"\xff\x00", b"\xff")
