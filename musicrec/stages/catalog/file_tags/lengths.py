"""Length of a song where tinytag has none, or guesses: from its header, from its size, or by counting its frames."""

import struct
from typing import BinaryIO

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
WAVPACK_RATES = (6000, 8000, 9600, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200,
                 96_000, 192_000)  # fmt: skip
AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}
UNKNOWN_SIZE = 0xFFFFFFFF
MOST_BYTES = 1 << 29  # of a file whose frames are counted
PROBES = 16  # places at which the frames of an mp3 are looked at
PROBE_BYTES = 8192


def length_s(file: BinaryIO, start: int) -> float | None:
    """Return the length of music that begins at `start`, in seconds; None for formats that others read as well."""
    size = file.seek(0, 2)
    head = _read(file, start, 80)
    if head[:1] == b"\xff" and head[1] & 0xF6 == 0xF0:
        return _adts(_read(file, start, min(size - start, MOST_BYTES)))
    if head[:1] == b"\xff" and len(head) > 3 and head[1] & 0xE0 == 0xE0:
        return _mpeg(file, start, size)
    readers = {b"wvpk": _wavpack, b"TTA1": _tta, b"MAC ": _monkey, b"DSD ": _dsf, b".snd": _au, b"caff": _caf,
               b"RIFF": _wav, b"RF64": _wav, b"OggS": _ogg_flac}  # fmt: skip
    reader = readers.get(head[:4])
    return reader(file, start, size) if reader else None


# --- frames -------------------------------------------------------------------------------------------------------


def _adts(data: bytes) -> float | None:
    place, blocks, rate = 0, 0, 0
    while place + 7 <= len(data) and data[place] == 0xFF and data[place + 1] & 0xF6 == 0xF0:
        n_bytes = (data[place + 3] & 3) << 11 | data[place + 4] << 3 | data[place + 5] >> 5
        index = data[place + 2] >> 2 & 0xF
        if n_bytes < 7 or index >= len(AAC_RATES):
            break
        rate = AAC_RATES[index]
        blocks += 1 + (data[place + 6] & 3)
        place += n_bytes
    return blocks * 1024 / rate if rate else None


def _mpeg(file: BinaryIO, start: int, size: int) -> float | None:
    """Return the length of an mp3 without a header that says it, if its bit rate varies; others are no guess."""
    first = _frame(_read(file, start, 4))
    if first is None or any(mark in _read(file, start, 200) for mark in (b"Xing", b"Info", b"VBRI")):
        return None
    step = (size - start) // (PROBES + 1)
    probes = (_first_frame(_read(file, start + step * i, PROBE_BYTES), first[1]) for i in range(1, PROBES + 1))
    if all(probe is None or probe[0] == first[0] for probe in probes) or size - start > MOST_BYTES:
        return None
    data, place, seconds = _read(file, start, size - start), 0, 0.0
    while place + 4 <= len(data):
        frame = _frame(data[place : place + 4])
        if frame is None:
            place = data.find(b"\xff", place + 1)
            if place < 0:
                break
            continue
        seconds += frame[3] / frame[1]
        place += frame[2]
    return seconds or None


def _first_frame(data: bytes, rate: int) -> tuple[int, int, int, int] | None:
    """Return the first frame that another one of the same rate follows."""
    place = data.find(b"\xff")
    while 0 <= place < len(data) - 4:
        frame = _frame(data[place : place + 4])
        following = frame and _frame(data[place + frame[2] : place + frame[2] + 4])
        if frame and following and frame[1] == following[1] == rate:
            return frame
        place = data.find(b"\xff", place + 1)
    return None


def _frame(head: bytes) -> tuple[int, int, int, int] | None:
    """Return bit rate, sample rate, bytes and samples of the frame of MPEG audio that has this head."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer, rate, kbits = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 2 & 3, head[2] >> 4
    if version == 1 or layer == 0 or rate == 3 or not 0 < kbits < 15:
        return None
    bit_rate, hz = 1000 * MPEG_KBITS[3 if version == 3 else 2, layer][kbits - 1], MPEG_RATES[version][rate]
    samples = 384 if layer == 3 else 576 if layer == 1 and version != 3 else 1152
    slot = 4 if layer == 3 else 1
    n_bytes = (samples // 8 * bit_rate // hz // slot + (head[2] >> 1 & 1)) * slot
    return bit_rate, hz, n_bytes, samples


# --- headers ------------------------------------------------------------------------------------------------------


def _wav(file: BinaryIO, start: int, size: int) -> float | None:
    """Return the length of a wav whose size was not known when its head was written."""
    place, byte_rate = start + 12, 0
    while place + 8 <= size:
        name, n_bytes = struct.unpack("<4sI", _read(file, place, 8))
        if name == b"fmt ":
            byte_rate = int.from_bytes(_read(file, place + 16, 4), "little")
        elif name == b"data":
            is_whole = place + 8 + n_bytes <= size and n_bytes
            return None if is_whole or not byte_rate else (size - place - 8) / byte_rate
        place += 8 + n_bytes + n_bytes % 2
    return None


def _wavpack(file: BinaryIO, start: int, size: int) -> float | None:
    head = _read(file, start, 32)
    samples, flags = int.from_bytes(head[12:16], "little"), int.from_bytes(head[24:28], "little")
    index = flags >> 23 & 0xF
    if len(head) < 32 or samples == UNKNOWN_SIZE or index >= len(WAVPACK_RATES):
        return None
    return (samples + (head[11] << 32)) / WAVPACK_RATES[index]


def _tta(file: BinaryIO, start: int, size: int) -> float | None:
    rate, samples = struct.unpack("<II", _read(file, start + 10, 8))
    return samples / rate if rate else None


def _monkey(file: BinaryIO, start: int, size: int) -> float | None:
    version, n_head = struct.unpack("<4xHxxI", _read(file, start, 12))
    if version < 3980:
        return None
    header = _read(file, start + n_head, 24)
    a_frame, last, frames, _, _, rate = struct.unpack("<4xIIIHHI", header)
    return ((frames - 1) * a_frame + last) / rate if rate and frames else None


def _dsf(file: BinaryIO, start: int, size: int) -> float | None:
    rate, _, samples = struct.unpack("<IIQ", _read(file, start + 56, 16))
    return samples / rate if rate else None


def _au(file: BinaryIO, start: int, size: int) -> float | None:
    place, n_bytes, encoding, rate, channels = struct.unpack(">5I", _read(file, start + 4, 20))
    frame = AU_BYTES.get(encoding, 0) * channels * rate
    music = size - place if n_bytes == UNKNOWN_SIZE else min(n_bytes, size - place)
    return music / frame if frame and music > 0 else None


def _caf(file: BinaryIO, start: int, size: int) -> float | None:
    place, rate, a_packet, a_frame, music, valid = start + 8, 0.0, 0, 0, 0, 0
    while place + 12 <= size:
        name, n_bytes = struct.unpack(">4sq", _read(file, place, 12))
        if name == b"desc":
            rate, a_packet, a_frame = struct.unpack(">d8xII", _read(file, place + 12, 24))
        elif name == b"pakt":
            valid = struct.unpack(">8xq", _read(file, place + 12, 16))[0]
        elif name == b"data":
            music = (size - place - 12 if n_bytes < 0 else n_bytes) - 4
        if n_bytes < 0:
            break
        place += 12 + n_bytes
    if not rate:
        return None
    return (valid or (music // a_packet * a_frame if a_packet else 0)) / rate or None


def _ogg_flac(file: BinaryIO, start: int, size: int) -> float | None:
    first = _read(file, start, 80)
    at = first.find(b"\x7fFLAC")
    tail = _read(file, max(start, size - 65_536), 65_536)
    last = tail.rfind(b"OggS")
    if at < 0 or last < 0 or len(tail) < last + 14:
        return None
    rate = int.from_bytes(first[at + 27 : at + 30], "big") >> 4
    return int.from_bytes(tail[last + 6 : last + 14], "little", signed=True) / rate if rate else None


def _read(file: BinaryIO, start: int, n_bytes: int) -> bytes:
    file.seek(start)
    return file.read(n_bytes)
