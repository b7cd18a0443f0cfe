"""Frames of AAC, MPEG audio and FLAC, counted or looked at to know how long a song is."""

from typing import BinaryIO

from musicrec.audio import mpeg, mpeg_frames
from musicrec.audio.content import Content, ReadContent

AAC_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
MOST_BYTES = 1 << 26  # of a file whose frames are counted; what follows is taken to be like it
PROBES = 8  # places at which the frames of an mp3 are looked at
PROBE_BYTES = 4096  # two frames and more


def adts_seconds(file: BinaryIO, start: int, size: int) -> float | None:
    """Return the length of AAC in frames of its own (ADTS), by counting them."""
    data = _read(file, start, min(size - start, MOST_BYTES))
    place, seconds = 0, 0.0
    while place + 7 <= len(data) and data[place] == 0xFF and data[place + 1] & 0xF6 == 0xF0:
        n_bytes = (data[place + 3] & 3) << 11 | data[place + 4] << 3 | data[place + 5] >> 5
        index = data[place + 2] >> 2 & 0xF
        if n_bytes < 7 or index >= len(AAC_RATES):
            break
        seconds += (1 + (data[place + 6] & 3)) * 1024 / AAC_RATES[index]
        place += n_bytes
    return seconds * max(1, (size - start) / MOST_BYTES) or None


def mpeg_seconds(file: BinaryIO, start: int) -> float | None:
    """Return the length of mp3: from its tag if that is true, from its size, or by finding all frames as decoding does.

    The size tells it if the bit rate is the same wherever one looks.
    """
    content = ReadContent(file)
    at = mpeg_frames.first_frame(content, start)
    if at is None:
        return None
    header = mpeg_frames.header_of(content[at + 1], content[at + 2])
    if header is None:  # the file has changed since
        return None
    if tag := mpeg_frames.true_tag(content, at):
        return max(0, tag.frames * header.samples - tag.before - tag.after) / header.rate
    has_tag = mpeg_frames.tag_of(content, at, header) is not None
    if header.bit_rate and not has_tag and _is_constant(content, at):
        return (mpeg_frames.end_of_audio(content, len(content)) - at) * 8 / header.bit_rate
    return sum(part.length / part.rate for part in mpeg.parts(content, start) or ()) or None


def _is_constant(content: Content, at: int) -> bool:
    """Return whether frames in more than half of the places looked at, and all found there, are as the one at `at`."""
    step = (len(content) - at) // (PROBES + 1)
    places = [at + step * i for i in range(1, PROBES + 1)]
    found = [mpeg_frames.next_frame(content, place, min(place + PROBE_BYTES, len(content))) for place in places]
    kinds = [(content[i + 1], content[i + 2] >> 2) for i in [at, *found] if i is not None]
    return len(kinds) > PROBES // 2 + 1 and len({*kinds}) == 1


def end_of_flac_frame(head: bytes, block: int) -> int:
    """Return the sample after a frame with this head; 0 if it is none. `block` is the length of equally long blocks."""
    if len(head) < 17 or head[1] & 0xFE != 0xF8 or not head[2] >> 4 or head[3] & 1:
        return 0
    n_number = max(1, 8 - (head[4] ^ 0xFF).bit_length())
    number = head[4] & (0x7F >> n_number if n_number > 1 else 0x7F)
    for byte in head[5 : 4 + n_number]:
        number = number << 6 | byte & 0x3F
    code, place = head[2] >> 4, 4 + n_number
    n_more = {6: 1, 7: 2}.get(code, 0)
    own = int.from_bytes(head[place : place + n_more], "big") + 1
    own = own if n_more else 192 if code == 1 else 576 << code - 2 if code < 6 else 256 << code - 8
    place += n_more + {12: 1, 13: 2, 14: 2}.get(head[2] & 0xF, 0)
    if place >= len(head) or _crc8(head[:place]) != head[place]:
        return 0
    return own + (number if head[1] & 1 else number * block)


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x107) if crc & 0x80 else crc << 1
    return crc & 0xFF


def _read(file: BinaryIO, start: int, n_bytes: int) -> bytes:
    file.seek(start)
    return file.read(n_bytes)
