"""Tags of formats that consist of chunks: WAV, RF64, AIFF, W64, CAF, and the texts in the headers of AU and DSF."""

import re
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO, Literal

from musicrec.stages.catalog.file_tags.fields import Values, names_like
from musicrec.stages.catalog.file_tags.id3 import read_v2

MOST_BYTES = 1 << 24  # of a chunk that is read
MOST_CHUNKS = 10_000  # where a file is zeros, each 8 bytes would be one
INFO_NAMES = names_like("I[A-Z]{3}") - {"ISRC"}  # which is the source of a recording here, not its code
AIFF_NAMES = {b"NAME", b"AUTH"}
W64_LIST = bytes.fromhex("6c6973742f91cf11a5d628db04c10000")
W64_SUMMARY = bytes.fromhex("bc945f925a52d21186dc00c04f8edb8a")
Chunk = tuple[bytes, int, int]  # name, where its content starts, and the length of that, as the file says


def read_riff(file: BinaryIO) -> list[Values]:
    """Return the fields of a WAV or RF64 file: those of its ID3 chunk, and of its list of information."""
    texts: Values = []
    id3: Values = []
    for name, start, n_bytes in riff_chunks(file, 12, "little"):
        if name == b"LIST":
            texts += _info(_read(file, start, start + n_bytes))
        elif name in (b"id3 ", b"ID3 "):
            id3 += read_v2(BytesIO(_read(file, start, start + n_bytes)))
    return [id3, texts]


def read_aiff(file: BinaryIO) -> list[Values]:
    """Return the fields of an AIFF file: those of its ID3 chunk, and of its text chunks."""
    texts: Values = []
    id3: Values = []
    for name, start, n_bytes in riff_chunks(file, 12, "big"):
        if name in AIFF_NAMES:
            texts += [(name.decode(), text) for text in _texts(_read(file, start, start + n_bytes))]
        elif name in (b"id3 ", b"ID3 "):
            id3 += read_v2(BytesIO(_read(file, start, start + n_bytes)))
    return [id3, texts]


def read_w64(file: BinaryIO) -> list[Values]:
    """Return the fields of a W64 file: a list of texts as in WAV, or Sony's own summary list."""
    values: Values = []
    for name, start, n_bytes in w64_chunks(file, 40):
        if name == W64_LIST:
            values += _info(_read(file, start, start + n_bytes))
        elif name == W64_SUMMARY:
            values += _summary(_read(file, start, start + n_bytes))
    return [values]


def read_caf(file: BinaryIO) -> list[Values]:
    """Return the fields of a Core Audio file, from the keys and values of its chunk of information."""
    values: Values = []
    for name, start, n_bytes in caf_chunks(file, 8):
        if name == b"info":
            texts = _read(file, start + 4, start + n_bytes).decode("utf-8", "replace").split("\0")
            values += list(zip(texts[::2], texts[1::2], strict=False))
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


def riff_chunks(file: BinaryIO, place: int, order: Literal["little", "big"]) -> Iterator[Chunk]:
    """Yield the chunks of a WAV, RF64 or AIFF file from a place on."""
    size = file.seek(0, 2)
    for _ in range(MOST_CHUNKS):
        if place + 8 > size:
            return
        head = _read(file, place, place + 8)
        n_bytes = int.from_bytes(head[4:], order)
        yield head[:4], place + 8, n_bytes
        place += 8 + n_bytes + n_bytes % 2


def w64_chunks(file: BinaryIO, place: int) -> Iterator[Chunk]:
    """Yield the chunks of a Wave64 file from a place on; one that does not say how long it is, is the last."""
    size, n_bytes = file.seek(0, 2), 24
    for _ in range(MOST_CHUNKS):
        if place + 24 > size or n_bytes < 24:
            return
        head = _read(file, place, place + 24)
        n_bytes = int.from_bytes(head[16:], "little")  # of the head too
        yield head[:16], place + 24, n_bytes - 24
        place += (n_bytes + 7) // 8 * 8


def caf_chunks(file: BinaryIO, place: int) -> Iterator[Chunk]:
    """Yield the chunks of a Core Audio file from a place on; the music may be -1 long: up to the end of the file."""
    size, n_bytes = file.seek(0, 2), 0
    for _ in range(MOST_CHUNKS):
        if place + 12 > size or n_bytes < 0:
            return
        head = _read(file, place, place + 12)
        n_bytes = int.from_bytes(head[4:], "big", signed=True)
        yield head[:4], place + 12, n_bytes
        place += 12 + n_bytes


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(max(0, min(end - start, MOST_BYTES)))
