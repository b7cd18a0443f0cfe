"""Tags of Windows Media (ASF): the five fixed texts, and the attributes of three lists.

See Microsoft's Advanced Systems Format Specification, sections 3.10, 3.11 and 4.7. A name with several values stands
several times; the first of them may be in another object than the others.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from musicrec.stages.catalog.file_tags.fields import Tags, Values

HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")  # of the file
PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
EXTENSION = bytes.fromhex("b503bf5f2ea9cf118ee300c00c205365")
FIXED = bytes.fromhex("3326b2758e66cf11a6d900aa0062ce6c")
LISTS = (  # in the order in which their values count
    bytes.fromhex("40a4d0d207e3d21197f000a0c95ea850"),  # extended content description
    bytes.fromhex("eacbf8c5af5b77488467aa8c44fa4cca"),  # metadata
    bytes.fromhex("941c23449894d149a1411d134e457054"),  # metadata library
)
MOST_BYTES = 1 << 24  # of a header, with pictures
MOST_TEXT = 1 << 16  # bytes of a value that holds a name
TEXT, NUMBERS = 0, (2, 3, 4, 5)  # kinds of values
TICKS_A_SECOND = 10_000_000
Object = tuple[bytes, bytes]  # its identifier and its content


def read_asf(file: BinaryIO) -> Tags:
    """Return the fields of an ASF file, and its length in seconds if it says so."""
    file.seek(0)
    head = file.read(30)
    objects = list(_objects(file.read(min(int.from_bytes(head[16:24], "little"), MOST_BYTES))))
    inner = [found for name, content in objects if name == EXTENSION for found in _objects(content[22:])]
    values = [value for name, content in objects if name == FIXED for value in _fixed(content)]
    for i, kind in enumerate(LISTS):
        for name, content in [*objects, *inner]:
            values += _attributes(content, is_new=i > 0) if name == kind else []
    lengths = [_seconds(content) for name, content in objects if name == PROPERTIES]
    return Tags([values], next(filter(None, lengths), None))


def _objects(data: bytes) -> Iterator[Object]:
    place = 0
    while place + 24 <= len(data):
        size = int.from_bytes(data[place + 16 : place + 24], "little")
        if size < 24:
            return
        yield data[place : place + 16], data[place + 24 : place + size]
        place += size


def _fixed(content: bytes) -> Values:
    sizes = [int.from_bytes(content[i : i + 2], "little") for i in range(0, 10, 2)]
    title, artist = content[10 : 10 + sizes[0]], content[10 + sizes[0] : 10 + sizes[0] + sizes[1]]
    return [("TITLE", _text(title)), ("AUTHOR", _text(artist))]


def _attributes(content: bytes, *, is_new: bool) -> Values:
    """Return the values of a list: of the newer kinds, each has a language and a stream, its name comes last."""
    values, place = Values(), 2
    n_head = 12 if is_new else 2
    for _ in range(int.from_bytes(content[:2], "little")):
        head = content[place : place + n_head]
        if len(head) < n_head:
            break
        if is_new:
            n_name, kind, size = struct.unpack("<4xHHI", head)
            name_at = place + n_head
            value_at = name_at + n_name
        else:
            name_at, n_name = place + n_head, int.from_bytes(head, "little")
            value_at = name_at + n_name + 4
            kind, size = struct.unpack("<HH", content[value_at - 4 : value_at].ljust(4, b"\0"))
        name, value = content[name_at : name_at + n_name], content[value_at : value_at + size]
        place = value_at + size
        if kind == TEXT and size <= MOST_TEXT:
            values.append((_text(name), _text(value)))
        elif kind in NUMBERS and size <= 8:
            values.append((_text(name), str(int.from_bytes(value, "little"))))
    return values


def _seconds(content: bytes) -> float | None:
    """Return the length of play without what is buffered before."""
    ticks, preroll_ms = (int.from_bytes(content[i : i + 8], "little") for i in (40, 56))
    seconds = ticks / TICKS_A_SECOND - preroll_ms / 1000
    return seconds if seconds > 0 else None


def _text(data: bytes) -> str:
    return data[: len(data) // 2 * 2].decode("utf-16-le", "replace").rstrip("\0")
