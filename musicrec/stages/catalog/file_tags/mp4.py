"""Tags of MPEG-4 and QuickTime files: iTunes' list, QuickTime's own texts, and its keys.

See Apple's QuickTime File Format Specification, "User Data Atoms" and "Metadata Item List Atom".
"""

from collections.abc import Iterator
from typing import BinaryIO

from musicrec.stages.catalog.file_tags.fields import Tags, Values
from musicrec.stages.catalog.file_tags.text import GENRES

MOST_BYTES = 1 << 20  # of an atom that holds a name
UTF8, UTF16, INTEGER, UNTYPED = 1, 2, 21, 0
Atom = tuple[bytes, int, int]  # name, and where its content starts and ends


def read_mp4(file: BinaryIO) -> Tags:
    """Return the fields of an mp4, m4a or mov file, and its length if it says so."""
    size = file.seek(0, 2)
    lists: Values = []
    texts: Values = []
    duration_s = None
    for _, *moov in _named(file, 0, size, b"moov"):
        for name, start, end in _atoms(file, *moov):
            if name == b"udta":
                for kind, first, last in _atoms(file, start, end):
                    if kind == b"meta":
                        lists += _meta(file, first, last)
                    elif kind.startswith(b"\xa9"):
                        texts += [(kind.decode("latin-1"), text) for text in _texts(_read(file, first, last))]
            elif name == b"meta":
                lists += _meta(file, start, end)
            elif name == b"mvhd":
                duration_s = _duration_s(_read(file, start, end))
    return Tags([lists, texts], duration_s)


def _meta(file: BinaryIO, start: int, end: int) -> Values:
    """Return the fields of a metadata atom; in mp4, but not in QuickTime, a version of four bytes comes first."""
    start += 0 if _read(file, start + 4, start + 8) == b"hdlr" else 4
    keys = [key for _, *place in _named(file, start, end, b"keys") for key in _keys(_read(file, *place))]
    values: Values = []
    for _, *place in _named(file, start, end, b"ilst"):
        for name, first, last in _atoms(file, *place):
            number = int.from_bytes(name, "big")
            own = keys[number - 1] if 0 < number <= len(keys) else name.decode("latin-1")
            values += _item(file, own, first, last)
    return values


def _item(file: BinaryIO, name: str, start: int, end: int) -> Values:
    texts = []
    for kind, first, last in _atoms(file, start, end):
        data = _read(file, first, last)
        if kind == b"name" and name == "----":
            name = f"----:{data[4:].decode('utf-8', 'replace')}"
        elif kind == b"data" and (text := _data(name, data)) is not None:
            texts.append((name, text))
    return texts


def _data(name: str, data: bytes) -> str | None:
    kind, value = int.from_bytes(data[:4], "big") & 0xFFFFFF, data[8:]
    if name == "gnre":  # counts from 1
        number = int.from_bytes(value, "big") - 1
        return GENRES[number] if 0 <= number < len(GENRES) else None
    if kind == UTF8:
        return value.decode("utf-8", "replace")
    if kind == UTF16:
        return value.decode("utf-16-be", "replace")
    return str(int.from_bytes(value, "big")) if kind in (INTEGER, UNTYPED) and len(value) <= 8 else None


def _keys(data: bytes) -> Iterator[str]:
    place = 8
    while place + 8 <= len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        yield data[place + 8 : place + size].decode("utf-8", "replace")
        place += max(size, 8)


def _texts(data: bytes) -> list[str]:
    """Return QuickTime's text in the first of its languages: length, language, text. In other files it stands alone."""
    size = int.from_bytes(data[:2], "big")
    text = data[4 : 4 + size] if 4 + size <= len(data) else data
    if text.startswith((b"\xfe\xff", b"\xff\xfe")):
        return [text.decode("utf-16", "replace")]
    try:
        return [text.decode("utf-8")]
    except UnicodeDecodeError:
        return [text.decode("mac-roman")]


def _duration_s(mvhd: bytes) -> float | None:
    at, n = (12, 4) if mvhd[:1] == b"\0" else (20, 8)
    scale, ticks = int.from_bytes(mvhd[at : at + 4], "big"), int.from_bytes(mvhd[at + 4 : at + 4 + n], "big")
    return ticks / scale if scale and ticks < (1 << 8 * n) - 1 else None


# --- atoms --------------------------------------------------------------------------------------------------------


def _named(file: BinaryIO, start: int, end: int, name: bytes) -> Iterator[Atom]:
    return (atom for atom in _atoms(file, start, end) if atom[0] == name)


def _atoms(file: BinaryIO, start: int, end: int) -> Iterator[Atom]:
    while start + 8 <= end:
        head = _read(file, start, start + 16)
        size, n_head = int.from_bytes(head[:4], "big"), 8
        if size == 1:
            size, n_head = int.from_bytes(head[8:16], "big"), 16
        stop = end if size == 0 else start + size
        if len(head) < n_head or stop < start + n_head or stop > end:
            return
        yield head[4:8], start + n_head, stop
        start = stop


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(min(end - start, MOST_BYTES))
