"""Tags of formats that consist of chunks: WAV, RF64, AIFF, W64, CAF, and the texts in the headers of AU and DSF."""

import re
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

from musicrec.stages.catalog.file_tags.fields import Values, names_like
from musicrec.stages.catalog.file_tags.id3 import read_v2

MOST_BYTES = 1 << 24  # of a chunk that is read
INFO_NAMES = names_like("I[A-Z]{3}") - {"ISRC"}  # which is the source of a recording here, not its code
AIFF_NAMES = {b"NAME", b"AUTH"}
W64_LIST = bytes.fromhex("6c6973742f91cf11a5d628db04c10000")
W64_SUMMARY = bytes.fromhex("bc945f925a52d21186dc00c04f8edb8a")
Chunk = tuple[bytes, int, int]  # name, and where its content starts and ends


def read_riff(file: BinaryIO) -> list[Values]:
    """Return the fields of a WAV or RF64 file: those of its ID3 chunk, and of its list of information."""
    texts: Values = []
    id3: Values = []
    for name, start, end in _chunks(file, 12, "little"):
        if name == b"LIST":
            texts += _info(_read(file, start, end))
        elif name in (b"id3 ", b"ID3 "):
            id3 += read_v2(BytesIO(_read(file, start, end)))
    return [id3, texts]


def read_aiff(file: BinaryIO) -> list[Values]:
    """Return the fields of an AIFF file: those of its ID3 chunk, and of its text chunks."""
    texts: Values = []
    id3: Values = []
    for name, start, end in _chunks(file, 12, "big"):
        if name in AIFF_NAMES:
            texts += [(name.decode(), text) for text in _texts(_read(file, start, end))]
        elif name in (b"id3 ", b"ID3 "):
            id3 += read_v2(BytesIO(_read(file, start, end)))
    return [id3, texts]


def read_w64(file: BinaryIO) -> list[Values]:
    """Return the fields of a W64 file: a list of texts as in WAV, or Sony's own summary list."""
    values: Values = []
    for name, start, end in _w64_chunks(file):
        if name == W64_LIST:
            values += _info(_read(file, start, end))
        elif name == W64_SUMMARY:
            values += _summary(_read(file, start, end))
    return [values]


def read_caf(file: BinaryIO) -> list[Values]:
    """Return the fields of a Core Audio file, from the keys and values of its chunk of information."""
    size = file.seek(0, 2)
    place, values = 8, Values()
    while place + 12 <= size:
        head = _read(file, place, place + 12)
        n_bytes = int.from_bytes(head[4:], "big", signed=True)
        if n_bytes < 0:  # the music, up to the end
            break
        if head[:4] == b"info":
            texts = _read(file, place + 16, place + 12 + n_bytes).decode("utf-8", "replace").split("\0")
            values += list(zip(texts[::2], texts[1::2], strict=False))
        place += 12 + n_bytes
    return [values]


def read_au(file: BinaryIO) -> list[Values]:
    """Return the fields of an AU file, from lines such as artist=Ada in its annotation."""
    start = int.from_bytes(_read(file, 4, 8), "big")
    lines = re.split(r"[\n\0]+", _read(file, 24, min(start, MOST_BYTES)).decode("utf-8", "replace"))
    return [[(name.strip(), text) for name, equals, text in (line.partition("=") for line in lines) if equals]]


def read_dsf(file: BinaryIO) -> list[Values]:
    """Return the fields of a DSF file, whose header says where its ID3 tag is."""
    place = int.from_bytes(_read(file, 20, 28), "little")
    if not 0 < place < file.seek(0, 2):
        return []
    file.seek(place)
    return [read_v2(file)]


# --- parts --------------------------------------------------------------------------------------------------------


def _info(data: bytes) -> Values:
    """Return the texts of a list of information; each is padded to an even length."""
    values: Values = []
    place = 4
    while data[:4] == b"INFO" and place + 8 <= len(data):
        name = data[place : place + 4].decode("latin-1")
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        if name in INFO_NAMES:
            text = data[place + 8 : place + 8 + size].split(b"\0")[0]
            values.append((name, _decoded(text)))
        place += 8 + size + size % 2
    return values


def _summary(data: bytes) -> Values:
    """Return the texts of a W64 summary list: name, length in 16-bit units, text."""
    values: Values = []
    place = 4
    while place + 8 <= len(data):
        name, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        text = data[place + 8 : place + 8 + size].decode("utf-16-le", "replace").split("\0")[0]
        values.append((name.decode("latin-1"), text))
        place += 8 + size
    return values


def _texts(data: bytes) -> list[str]:
    return [_decoded(part) for part in data.split(b"\0") if part]


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("cp1252", "replace")


def _chunks(file: BinaryIO, place: int, order: str) -> Iterator[Chunk]:
    size = file.seek(0, 2)
    while place + 8 <= size:
        head = _read(file, place, place + 8)
        n_bytes = int.from_bytes(head[4:], order)  # type: ignore[arg-type] # "big" or "little"
        yield head[:4], place + 8, min(size, place + 8 + n_bytes)
        place += 8 + n_bytes + n_bytes % 2


def _w64_chunks(file: BinaryIO) -> Iterator[Chunk]:
    size, place = file.seek(0, 2), 40
    while place + 24 <= size:
        head = _read(file, place, place + 24)
        n_bytes = int.from_bytes(head[16:], "little")
        if n_bytes < 24:
            return
        yield head[:16], place + 24, min(size, place + n_bytes)
        place += (n_bytes + 7) // 8 * 8


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(max(0, min(end - start, MOST_BYTES)))
