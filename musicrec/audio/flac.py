"""Decode a FLAC whose frames are not what its header leads one to expect (RFC 9639, section 9.1).

Sample rate, channels or bits may change midway, two files may have been joined, and the frames of a stretch cut out of
a song are numbered on from there. libsndfile plays the first at the wrong speed, ends where the second begins, and
seeks to a wrong place in the third. Some frames of every FLAC are looked at, which takes 0.5 ms. Where they are not as
expected, all are found by their headers, and those of the clip are decoded, one by one, by FFmpeg.
"""

import mmap
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from musicrec.audio.clip import Samples, mix_down
from musicrec.audio.parts import Part
from musicrec.errors import DecodeError
from musicrec.schemas import Reason

N_LOOKS = 16
LOOK_BYTES = 1 << 16  # a frame rarely has more
N_AHEAD = 4  # headers that are looked at; some are none
LONGEST_HEADER = 16
SHORTEST_HEADER = 6
RATES = (0, 88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)
SIZES = (0, 192, 576, 1152, 2304, 4608, 0, 0, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768)  # samples
CHANNELS = (1, 2, 3, 4, 5, 6, 7, 8, 2, 2, 2)
BITS = (0, 8, 12, 0, 16, 20, 24, 32)
SYNC = re.compile(rb"\xff[\xf8\xf9]")
INFO_AT, INFO_BYTES = 8, 34  # of the file's first block of metadata
STATED_AT = 10  # in it: rate, channels, bits, number of samples


class Kind(NamedTuple):
    """What the frames of a run have in common."""

    rate: int
    n_channels: int
    bits: int  # of a sample


class Header(NamedTuple):
    """What the header of a frame says."""

    number: int  # of the frame, or of its first sample
    n_samples: int
    kind: Kind
    is_variable: bool

    @property
    def following(self) -> int:
        """The number of the next frame."""
        return self.number + (self.n_samples if self.is_variable else 1)


@dataclass
class _Run:
    """Frames of one kind: where each starts and ends, in bytes, and its samples before it."""

    kind: Kind
    bounds: list[tuple[int, int]] = field(default_factory=list)
    firsts: list[int] = field(default_factory=lambda: [0])


def parts(content: mmap.mmap, start: int) -> list[Part] | None:
    """Return the parts of a FLAC; None where libsndfile by itself is right.

    Parameters
    ----------
    content : mmap.mmap
        The file.
    start : int
        Where the FLAC starts in it, behind a tag of another kind.
    """
    if content[start : start + 4] != b"fLaC" or len(content) <= start + INFO_AT + INFO_BYTES:
        return None
    info = content[start + INFO_AT : start + INFO_AT + INFO_BYTES]
    stated = int.from_bytes(info[STATED_AT : STATED_AT + 8])
    kind = Kind(stated >> 44, (stated >> 41 & 7) + 1, (stated >> 36 & 31) + 1)
    first = _first_frame(content, start)
    if _is_plain(content, first, kind, stated & (1 << 36) - 1):
        return None
    return [
        Part(run.firsts[-1], run.kind.rate, run.kind.n_channels, partial(_decode, content, info, run))
        for run in _runs(content, first, kind)
    ]


def _is_plain(content: mmap.mmap, first: int, kind: Kind, n_samples: int) -> bool:
    """Return whether the frames looked at are numbered from 0 to the end, and are of the stated kind."""
    even = [first + i * (len(content) - first) // N_LOOKS for i in range(N_LOOKS)]
    places = sorted([*even, max(first, len(content) - LOOK_BYTES)])
    found = [next(_headers(content, at, at + LOOK_BYTES, kind), None) for at in places]
    headers = [header for _, header in filter(None, found)]
    if not headers:
        return True
    last, size = headers[-1], 1 if headers[0].is_variable else headers[0].n_samples
    return (
        headers[0].number == 0
        and all(header.kind == kind for header in headers)
        and all(a.number <= b.number for a, b in pairwise(headers))
        and (not n_samples or last.number * size < n_samples)
    )


def _runs(content: mmap.mmap, first: int, kind: Kind) -> list[_Run]:
    """Return the runs that the frames make. A frame is known by its number: the next one, or 0 in a joined file.

    Another number is that of a frame if the number after it follows: what was joined had lost its beginning.
    """
    runs: list[_Run] = []
    last: Header | None = None
    found = list(_headers(content, first, len(content), kind))
    for i, (at, header) in enumerate(found):
        if last and header.number not in (0, last.following):
            following = [other.number for _, other in found[i + 1 : i + 1 + N_AHEAD]]
            if header.following not in following or last.following in following:
                continue
        if last:
            runs[-1].bounds[-1] = runs[-1].bounds[-1][0], at
        if last is None or header.kind != last.kind:
            runs.append(_Run(header.kind))
        runs[-1].bounds.append((at, len(content)))
        runs[-1].firsts.append(runs[-1].firsts[-1] + header.n_samples)
        last = header
    return runs


def _decode(content: mmap.mmap, info: bytes, run: _Run, start: int, stop: int) -> Samples:
    """Decode samples `start` … `stop` - 1 of a run; a frame whose checksum is wrong makes the file corrupt."""
    import av

    codec = av.CodecContext.create("flac", "r")
    assert isinstance(codec, av.AudioCodecContext)
    codec.extradata, codec.options = _with_bits(info, run.kind.bits), {"err_detect": "crccheck+explode"}
    to_float = av.AudioResampler(format="flt")
    first, last = bisect_right(run.firsts, start) - 1, bisect_left(run.firsts, stop)
    out = np.empty(run.firsts[last] - run.firsts[first], np.float32)
    at = 0
    for begin, end in run.bounds[first:last]:
        try:
            frames = codec.decode(av.Packet(content[begin:end]))
        except av.FFmpegError as e:
            raise DecodeError(Reason.CORRUPT, f"FFmpeg stopped: {e.strerror}") from e
        for frame in (converted for decoded in frames for converted in to_float.resample(decoded)):
            samples = frame.to_ndarray().reshape(-1, frame.layout.nb_channels)
            mix_down(samples, out[at : at + frame.samples])
            at += frame.samples
    return out[:at][start - run.firsts[first] : stop - run.firsts[first]]


def _with_bits(info: bytes, bits: int) -> bytes:
    """Return the file's first block of metadata with another number of bits; FFmpeg takes no frame that has others."""
    at = slice(STATED_AT, STATED_AT + 8)
    stated = int.from_bytes(info[at]) & ~(31 << 36) | bits - 1 << 36
    return info[: at.start] + stated.to_bytes(8) + info[at.stop :]


def _first_frame(content: mmap.mmap, start: int) -> int:
    """Return where the blocks of metadata end."""
    at = start + 4
    while at + 4 <= len(content):
        head = content[at : at + 4]
        at += 4 + int.from_bytes(head[1:])
        if head[0] & 0x80:
            break
    return min(at, len(content))


def _headers(content: mmap.mmap, at: int, stop: int, stated: Kind) -> Iterator[tuple[int, Header]]:
    """Yield what looks like the header of a frame, and where: its checksum is right."""
    for match in SYNC.finditer(content, at, min(stop, len(content))):
        header = _header(content[match.start() : match.start() + LONGEST_HEADER], stated)
        if header:
            yield match.start(), header


def _header(head: bytes, stated: Kind) -> Header | None:
    """Return what the header of a frame says; None if it is none."""
    if len(head) < SHORTEST_HEADER or head[3] & 1 or 0x80 <= head[4] < 0xC0 or head[4] == 0xFF:
        return None
    size_code, rate_code, channel_code = head[2] >> 4, head[2] & 15, head[3] >> 4
    if size_code == 0 or rate_code == 15 or channel_code > 10:
        return None
    n_more = 7 - (head[4] ^ 0xFF).bit_length() if head[4] >= 0xC0 else 0  # the number is coded as in UTF-8
    number = head[4] & (0x3F >> n_more if n_more else 0x7F)
    for byte in head[5 : 5 + n_more]:
        number = number << 6 | byte & 0x3F
    n_size, n_rate = {6: 1, 7: 2}.get(size_code, 0), {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    at = 5 + n_more
    size, rate = int.from_bytes(head[at : at + n_size]), int.from_bytes(head[at + n_size : at + n_size + n_rate])
    at += n_size + n_rate
    if at >= len(head) or _crc8(head[:at]) != head[at]:
        return None
    rate = rate * {12: 1000, 13: 1, 14: 10}[rate_code] if n_rate else RATES[rate_code] or stated.rate
    kind = Kind(rate, CHANNELS[channel_code], BITS[head[3] >> 1 & 7] or stated.bits)
    return Header(number, size + 1 if n_size else SIZES[size_code], kind, head[1] == 0xF9)


def _crc8(head: bytes) -> int:
    crc = 0
    for byte in head:
        crc = _crc8_step(crc ^ byte)
    return crc


@cache
def _crc8_step(value: int) -> int:
    for _ in range(8):
        value = value << 1 ^ (0x107 if value & 0x80 else 0)
    return value
