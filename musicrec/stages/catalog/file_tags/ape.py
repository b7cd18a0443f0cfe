"""APEv2 tags, which WavPack, Monkey's Audio, Musepack, TAK and some mp3 have at their end.

See wiki.hydrogenaud.io: APEv2 specification. Zeros separate the values of an item.
"""

from typing import BinaryIO

from musicrec.stages.catalog.file_tags.fields import Values
from musicrec.stages.catalog.file_tags.id3 import V1_BYTES

HEAD_BYTES = 32
MOST_BYTES = 1 << 20  # of an item; a longer one holds no name
MOST_ITEMS = 4096
HAS_HEADER, KIND, TEXT = 1 << 31, 0b110, 0


def read_ape(file: BinaryIO) -> Values:
    """Return the fields of the tag at the end of a file, before an ID3v1 tag if there is one, or at its start."""
    size = file.seek(0, 2)
    for end in (size, size - V1_BYTES):
        if end >= HEAD_BYTES and (footer := _head(file, end - HEAD_BYTES)):
            version, n_bytes, n_items = footer
            return _items(file, max(0, end - n_bytes), end - HEAD_BYTES, version, n_items)
    if header := _head(file, 0):
        version, n_bytes, n_items = header
        return _items(file, HEAD_BYTES, min(size, n_bytes), version, n_items)
    return []


def _head(file: BinaryIO, place: int) -> tuple[int, int, int] | None:
    """Return version, bytes of the items with the footer, and number of items; None if no header or footer is here."""
    file.seek(place)
    head = file.read(HEAD_BYTES)
    if head[:8] != b"APETAGEX" or len(head) < HEAD_BYTES:
        return None
    version, n_bytes, n_items = (int.from_bytes(head[i : i + 4], "little") for i in (8, 12, 16))
    return version, n_bytes, min(n_items, MOST_ITEMS)


def _items(file: BinaryIO, start: int, end: int, version: int, n_items: int) -> Values:
    values: Values = []
    place, encoding = start, "utf-8" if version >= 2000 else "latin-1"
    for _ in range(n_items):
        file.seek(place)
        head = file.read(8 + 256)
        size, flags = int.from_bytes(head[:4], "little"), int.from_bytes(head[4:8], "little")
        key, zero, _ = head[8:].partition(b"\0")
        value_at = place + 8 + len(key) + 1
        place = value_at + size
        if not zero or place > end:
            break
        if version < 2000 or (flags & KIND == TEXT and size <= MOST_BYTES):
            file.seek(value_at)
            texts = file.read(size).decode(encoding, "replace").rstrip("\0").split("\0")
            values += [(key.decode("latin-1"), text) for text in texts]
    return values
