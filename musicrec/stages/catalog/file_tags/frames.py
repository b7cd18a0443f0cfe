"""Frames of AAC, MPEG audio and FLAC, counted or looked at to know how long a song is."""

from typing import BinaryIO, NamedTuple

MPEG_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
MPEG_KBITS = {
    (3, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (3, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
AAC_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
MOST_BYTES = 1 << 26  # of a file whose frames are counted; what follows is taken to be like it
PROBES = 8  # places at which the frames of an mp3 are looked at
PROBE_BYTES = 4096  # two frames and more


class Frame(NamedTuple):
    """A frame of MPEG audio."""

    bit_rate: int
    rate: int
    n_bytes: int
    samples: int


def adts_seconds(file: BinaryIO, start: int, size: int) -> float | None:
    """Return the length of AAC in frames of its own (ADTS), by counting them."""
    data = _read(file, start, min(size - start, MOST_BYTES))
    place, blocks, rate = 0, 0, 0
    while place + 7 <= len(data) and data[place] == 0xFF and data[place + 1] & 0xF6 == 0xF0:
        n_bytes = (data[place + 3] & 3) << 11 | data[place + 4] << 3 | data[place + 5] >> 5
        index = data[place + 2] >> 2 & 0xF
        if n_bytes < 7 or index >= len(AAC_RATES):
            break
        rate = AAC_RATES[index]
        blocks += 1 + (data[place + 6] & 3)
        place += n_bytes
    return blocks * 1024 / rate * max(1, (size - start) / MOST_BYTES) if rate else None


def mpeg_seconds(file: BinaryIO, start: int, size: int) -> float | None:
    """Return the length of mp3: from its header, else from its size or, if its bit rate varies, by counting frames."""
    head = _read(file, start, 400)
    first = _frame(head[:4])
    if first is None:
        return None
    if said := _said_seconds(head, first):
        return said
    step = (size - start) // (PROBES + 1)
    probes = [_first_frame(_read(file, start + step * i, PROBE_BYTES), first.rate) for i in range(1, PROBES + 1)]
    known = [probe.bit_rate for probe in probes if probe]
    if len(known) > PROBES // 2 and {*known} == {first.bit_rate}:
        return (size - start) * 8 / first.bit_rate
    counted = _counted_seconds(_read(file, start, min(size - start, MOST_BYTES)))
    return counted and counted * max(1, (size - start) / MOST_BYTES)


def _said_seconds(head: bytes, first: Frame) -> float | None:
    """Return the length that a header of Xing, LAME or Fraunhofer says, without what the encoder has put around it."""
    if (at := head.find(b"VBRI", 0, 200)) >= 0:
        return int.from_bytes(head[at + 14 : at + 18], "big") * first.samples / first.rate
    at = max(head.find(b"Xing", 0, 200), head.find(b"Info", 0, 200))
    if at < 0 or not head[at + 7] & 1:
        return None
    frames = int.from_bytes(head[at + 8 : at + 12], "big")
    lame = at + 12 + sum(n for flag, n in ((2, 4), (4, 100), (8, 4)) if head[at + 7] & flag)
    around = int.from_bytes(head[lame + 21 : lame + 24], "big") if head[lame : lame + 4].isalnum() else 0
    return max(0, frames * first.samples - (around >> 12) - (around & 0xFFF)) / first.rate


def _counted_seconds(data: bytes) -> float | None:
    place, seconds = 0, 0.0
    while place + 4 <= len(data):
        frame = _frame(data[place : place + 4])
        if frame is None:
            place = data.find(b"\xff", place + 1)
            if place < 0:
                break
            continue
        seconds += frame.samples / frame.rate
        place += frame.n_bytes
    return seconds or None


def _first_frame(data: bytes, rate: int) -> Frame | None:
    """Return the first frame that another one of the same rate follows."""
    place = data.find(b"\xff")
    while 0 <= place < len(data) - 4:
        frame = _frame(data[place : place + 4])
        following = frame and _frame(data[place + frame.n_bytes : place + frame.n_bytes + 4])
        if frame and following and frame.rate == following.rate == rate:
            return frame
        place = data.find(b"\xff", place + 1)
    return None


def _frame(head: bytes) -> Frame | None:
    """Return the frame of MPEG audio that has this head."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer, rate, kbits = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 2 & 3, head[2] >> 4
    if version == 1 or layer == 0 or rate == 3 or not 0 < kbits < 15:
        return None
    bit_rate, hz = 1000 * MPEG_KBITS[3 if version == 3 else 2, layer][kbits - 1], MPEG_RATES[version][rate]
    samples = 384 if layer == 3 else 576 if layer == 1 and version != 3 else 1152
    slot = 4 if layer == 3 else 1
    n_bytes = (samples // 8 * bit_rate // hz // slot + (head[2] >> 1 & 1)) * slot
    return Frame(bit_rate, hz, n_bytes, samples)


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
