"""Length of a song from its header, its size, or its frames, as a decoder would find it."""

import struct
from typing import BinaryIO

from musicrec.stages.catalog.file_tags.frames import adts_seconds, end_of_flac_frame, mpeg_seconds

WAVPACK_RATES = (6000, 8000, 9600, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200,
                 96_000, 192_000)  # fmt: skip
AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}
UNKNOWN_SIZE = 0xFFFFFFFF
TAIL_BYTES = 1 << 16  # the longest page of Ogg
PLAIN = frozenset((1, 3, 6, 7))  # formats of wav whose length in bytes says that in seconds


def length_s(file: BinaryIO, start: int) -> float | None:
    """Return the length of music that begins at `start`, in seconds; None for formats that others read as well."""
    size = file.seek(0, 2)
    head = _read(file, start, 80)
    if head[:1] == b"\xff" and head[1] & 0xF6 == 0xF0:
        return adts_seconds(file, start, size)
    if head[:1] == b"\xff" and len(head) > 3 and head[1] & 0xE0 == 0xE0:
        return mpeg_seconds(file, start, size)
    readers = {b"wvpk": _wavpack, b"TTA1": _tta, b"MAC ": _monkey, b"DSD ": _dsf, b".snd": _au, b"caff": _caf,
               b"RIFF": _wav, b"RF64": _wav, b"OggS": _ogg, b"fLaC": _flac}  # fmt: skip
    reader = readers.get(head[:4])
    return reader(file, start, size) if reader else None


# --- headers ------------------------------------------------------------------------------------------------------


def _wav(file: BinaryIO, start: int, size: int) -> float | None:
    """Return the length of a wav; if it comes from a pipe and does not know its size, up to the end of the file."""
    place, kind, rate, frame = start + 12, 0, 0, 0
    while place + 8 <= size:
        name, n_bytes = struct.unpack("<4sI", _read(file, place, 8))
        if name == b"fmt ":
            head = _read(file, place + 8, 40)
            kind, rate, frame = (int.from_bytes(head[i:j], "little") for i, j in ((0, 2), (4, 8), (12, 14)))
            kind = int.from_bytes(head[24:26], "little") if kind == 0xFFFE else kind
        elif name == b"data":
            is_whole = 0 < n_bytes <= size - place - 8
            music = n_bytes if is_whole else size - place - 8
            if kind in PLAIN:
                return music / frame / rate if frame and rate else None
            return None if is_whole else _by_bytes_a_second(file, start, music)
        place += 8 + n_bytes + n_bytes % 2
    return None


def _by_bytes_a_second(file: BinaryIO, start: int, music: int) -> float | None:
    byte_rate = int.from_bytes(_read(file, start + 28, 4), "little")  # of a format chunk that comes first
    return music / byte_rate if byte_rate else None


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


def _ogg(file: BinaryIO, start: int, size: int) -> float | None:
    """Return the length of all links of an Ogg file, by the position on the last page of each."""
    first = _read(file, start, 128)
    tail_at = max(start, size - TAIL_BYTES)
    tail = _read(file, tail_at, TAIL_BYTES)
    last = tail.rfind(b"OggS")
    if last >= 0 and tail[last + 14 : last + 18] == first[14:18] and (clock := _ogg_clock(first)):
        return _ogg_seconds(tail[last : last + 14], *clock)
    return _ogg_links(file, start)


def _ogg_links(file: BinaryIO, start: int) -> float | None:
    """Add up the links of a chain, page by page."""
    clocks: dict[bytes, tuple[int, int]] = {}
    lengths: dict[bytes, float] = {}
    while len(head := _read(file, start, 27 + 255 + 80)) >= 27 and head[:4] == b"OggS":
        serial, n_segments = head[14:18], head[26]
        if head[5] & 2 and (clock := _ogg_clock(head)):
            clocks[serial] = clock
        if serial in clocks and (seconds := _ogg_seconds(head, *clocks[serial])) is not None:
            lengths[serial] = seconds
        start += 27 + n_segments + sum(head[27 : 27 + n_segments])
    return sum(lengths.values()) or None


def _ogg_clock(page: bytes) -> tuple[int, int] | None:
    """Return from a stream's first page how many positions a second has, and the position at which the music starts."""
    packet = page[27 + page[26] :]
    if packet[:7] == b"\x01vorbis":
        rate, skipped = int.from_bytes(packet[12:16], "little"), 0
    elif packet[:8] == b"OpusHead":
        rate, skipped = 48_000, int.from_bytes(packet[10:12], "little")
    elif packet[:5] == b"\x7fFLAC":
        rate, skipped = int.from_bytes(packet[27:30], "big") >> 4, 0
    elif packet[:8] == b"Speex   ":
        rate, skipped = int.from_bytes(packet[36:40], "little"), 0
    else:
        return None
    return (rate, skipped) if rate else None


def _ogg_seconds(page: bytes, rate: int, skipped: int) -> float | None:
    position = int.from_bytes(page[6:14], "little", signed=True)
    return max(0, position - skipped) / rate if position >= 0 else None  # -1: no packet ends on the page


def _flac(file: BinaryIO, start: int, size: int) -> float | None:
    """Return the length of a FLAC file; if it comes from a pipe and its head does not say, by its last frame."""
    info = int.from_bytes(_read(file, start + 18, 8), "big")
    rate, samples = info >> 44, info & (1 << 36) - 1
    if rate and not samples:
        block = int.from_bytes(_read(file, start + 8, 2), "big")
        tail = _read(file, max(start, size - TAIL_BYTES), TAIL_BYTES)
        place = len(tail)
        while not samples and (place := tail.rfind(b"\xff", 0, place)) >= 0:
            samples = end_of_flac_frame(tail[place : place + 17], block)
    return samples / rate if rate and samples else None


def _read(file: BinaryIO, start: int, n_bytes: int) -> bytes:
    file.seek(start)
    return file.read(n_bytes)
