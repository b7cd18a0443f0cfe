"""Decode Ogg files that are a chain, or whose Opus header names another sample rate than 48 kHz.

A chain is several files, one after the other: a radio recording, a jingle before a song (RFC 3533, section 4). Decoders
stop after the first, or decode the second as if it were the first; so each link is decoded by itself. For this, the
pages of every Ogg file are walked from header to header, which takes about 0.3 ms a megabyte.

Opus is decoded at 48 kHz whatever its header says of the input (RFC 7845, section 5.1). libsndfile takes the header's
rate for its own, and would leave out what lies above half of it; so it reads a header that says 48 kHz.
"""

import io
import mmap
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from musicrec.audio import ffmpeg, libsndfile
from musicrec.audio.limits import Limits
from musicrec.audio.parts import Part
from musicrec.errors import DecodeError
from musicrec.schemas import Reason

CAPTURE = b"OggS"
HEAD = 27  # bytes of a page's header, before the table of its segments
LEAST_BYTES = HEAD + 1 + 19  # one page with the header of Opus
IS_FIRST = 2  # of a stream
OPUS_RATE = 48_000
RATE_AT = 12  # in the header of Opus
CRC_AT = 22  # in the header of a page
CRC_POLYNOMIAL = 0x104C11DB7


def parts(content: mmap.mmap, start: int, limits: Limits) -> Iterator[Part] | None:
    """Return the parts of an Ogg file; None where libsndfile by itself is right.

    Parameters
    ----------
    content : mmap.mmap
        The file.
    start : int
        Where its first page starts, behind a tag of another kind.
    limits : Limits
        For what is decoded to know its length.
    """
    if len(content) - start < LEAST_BYTES:
        return None
    starts = _links(content, start)
    patches = [_at_48_khz(content, start) for start in starts]
    if len(starts) == 1 and not patches[0]:
        return None
    bounds = zip(starts, [*starts[1:], len(content)], patches, strict=True)
    return (_part(_Link(content, start, stop, patch), limits) for start, stop, patch in bounds)


def is_one_link(path: Path) -> bool:
    """Return whether a file is an Ogg file that is no chain, which FFmpeg decodes as a whole.

    libsndfile takes an Opus file for malformed where a page counts some samples more than there are until then, as in
    files that FFmpeg has cut.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content[:4] == CAPTURE and len(_links(content, 0)) == 1


class _Link(io.RawIOBase):
    """A link of a chain, as a file. Its first bytes may be others than in the chain."""

    def __init__(self, content: mmap.mmap, start: int, stop: int, first_bytes: bytes) -> None:
        super().__init__()
        self.content, self.start, self.stop, self.first_bytes = content, start, stop, first_bytes
        self.at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = offset + (0, self.at, self.stop - self.start)[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        begin = self.start + self.at
        taken = self.content[begin : min(begin + len(buffer), self.stop)]
        patch = self.first_bytes[self.at : self.at + len(taken)]
        buffer[: len(taken)] = patch + taken[len(patch) :]
        self.at += len(taken)
        return len(taken)


def _links(content: mmap.mmap, at: int) -> list[int]:
    """Return where each link of the chain starts: a first page of a stream, behind a page that is none."""
    starts, first, was_first = [], at, False
    while at >= 0 and at + HEAD <= len(content):
        if content[at : at + 4] != CAPTURE:
            at = content.find(CAPTURE, at)
            continue
        end = at + _page_size(content, at)
        is_whole = end == len(content) or content[end : end + 4] == CAPTURE  # else it was cut, and another file follows
        is_first = is_whole and bool(content[at + 5] & IS_FIRST)
        if is_first and not was_first:
            starts.append(at)
        was_first, at = is_first, end if is_whole else at + len(CAPTURE)
    return starts or [first]


def _page_size(content: mmap.mmap, at: int) -> int:
    n_segments = content[at + HEAD - 1]
    return HEAD + n_segments + sum(content[at + HEAD : at + HEAD + n_segments])


def _at_48_khz(content: mmap.mmap, at: int) -> bytes:
    """Return the first page of an Opus link with 48 kHz as the rate of its input; nothing if it is right as it is."""
    page = bytearray(content[at : at + _page_size(content, at)])
    begin = HEAD + page[HEAD - 1]
    rate = page[begin + RATE_AT : begin + RATE_AT + 4]
    if page[begin : begin + 8] != b"OpusHead" or int.from_bytes(rate, "little") == OPUS_RATE:
        return b""
    page[begin + RATE_AT : begin + RATE_AT + 4] = OPUS_RATE.to_bytes(4, "little")
    page[CRC_AT : CRC_AT + 4] = bytes(4)
    page[CRC_AT : CRC_AT + 4] = _crc(page).to_bytes(4, "little")
    return bytes(page)


def _crc(page: bytearray) -> int:
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (CRC_POLYNOMIAL if crc >> 31 else 0)
    return crc


def _part(link: _Link, limits: Limits) -> Part:
    source = cast(BinaryIO, link)
    try:
        length, rate, n_channels = libsndfile.shape(source)
    except DecodeError as e:
        if e.reason != Reason.UNDECODABLE:
            raise
        length, rate = ffmpeg.shape(source, limits)  # Ogg FLAC, Speex
        return Part(length, rate, 1, partial(ffmpeg.decode_span, source, limits))
    return Part(length, rate, n_channels, partial(libsndfile.decode_span, source))
