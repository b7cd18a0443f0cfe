"""Length of a song from its header, its size, or its frames, as a decoder would find it."""

import re
import struct
from typing import BinaryIO, NamedTuple

from musicrec.audio import musepack
from musicrec.audio.formats import HEAD_BYTES
from musicrec.stages.catalog.file_tags.chunks import caf_chunks, riff_chunks, w64_chunks
from musicrec.stages.catalog.file_tags.frames import adts_seconds, end_of_flac_frame, mpeg_seconds

WAVPACK_RATES = (6000, 8000, 9600, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200,
                 96_000, 192_000)  # fmt: skip
AU_BITS = {1: 8, 2: 8, 3: 16, 4: 24, 5: 32, 6: 32, 7: 64, 23: 4, 25: 3, 26: 5, 27: 8}
IMA_PACKET = 64  # samples for which AIFF counts one
UNKNOWN_SIZE = 0xFFFFFFFF
TAIL_BYTES = 1 << 16  # the longest page of Ogg
MOST_PAGES = 2000  # of Ogg before the music
LONGEST_OPUS = 5760  # samples of a packet: 120 ms
PLAIN = frozenset((1, 3, 6, 7))  # formats of wav whose length in bytes says that in seconds
IN_BLOCKS = frozenset((2, 0x11, 0x31))  # ADPCM and GSM, whose format says how many samples a block holds
MPEG = frozenset((0x50, 0x55))
WORTH_A_LOOK = 0.05, 1.2  # a FLAC that is smaller or larger than its samples by so much may lie about their number


class _Clock(NamedTuple):
    """What the positions of an Ogg stream mean."""

    rate: int  # so many a second
    start: int  # the one at which the music starts
    longest: int  # so many a packet at most


def length_s(file: BinaryIO, start: int) -> float | None:
    """Return the length of music that begins at `start`, in seconds; None for formats that others read as well."""
    size = file.seek(0, 2)
    head = _read(file, start, 80)
    if head[:1] == b"\xff" and head[1] & 0xF6 == 0xF0:
        return adts_seconds(file, start, size)
    if head[:1] == b"\xff" and len(head) > 3 and head[1] & 0xE0 == 0xE0:
        return mpeg_seconds(file, start)
    readers = {b"wvpk": _wavpack, b"TTA1": _tta, b"MAC ": _monkey, b"DSD ": _dsf, b".snd": _au, b"caff": _caf,
               b"RIFF": _wav, b"RF64": _wav, b"BW64": _wav, b"riff": _w64, b"FORM": _aiff, b"NIST": _sphere,
               b"MPCK": _musepack, b"MP+\x07": _musepack, b"OggS": _ogg, b"fLaC": _flac}  # fmt: skip
    reader = readers.get(head[:4])
    return reader(file, start, size) if reader else mpeg_seconds(file, start)


# --- headers ------------------------------------------------------------------------------------------------------


def _wav(file: BinaryIO, start: int, size: int) -> float | None:
    """Return the length of a wav; if it comes from a pipe and does not know its size, up to the end of the file."""
    fmt, fact = b"", 0
    for name, place, n_bytes in riff_chunks(file, start + 12, "little"):
        if name == b"fmt ":
            fmt = _read(file, place, 40)
        elif name == b"fact":
            fact = int.from_bytes(_read(file, place, 4), "little")
        elif name == b"data":
            if _wav_kind(fmt) in MPEG:
                return mpeg_seconds(file, place)
            is_whole = 0 < n_bytes <= size - place
            return _wav_seconds(fmt, fact if is_whole else 0, n_bytes if is_whole else size - place)
    return None


def _w64(file: BinaryIO, start: int, size: int) -> float | None:
    """Return the length of a Wave64 file: a wav with longer names and sizes, which count their own 24 bytes."""
    fmt, fact = b"", 0
    for name, place, n_bytes in w64_chunks(file, start + 40):
        if name[:4] == b"fmt ":
            fmt = _read(file, place, 40)
        elif name[:4] == b"fact":
            fact = int.from_bytes(_read(file, place, 8), "little")
        elif name[:4] == b"data":
            is_whole = 0 < n_bytes <= size - place
            return _wav_seconds(fmt, fact if is_whole else 0, n_bytes if is_whole else size - place)
    return None


def _wav_kind(fmt: bytes) -> int:
    kind = int.from_bytes(fmt[:2], "little")
    return int.from_bytes(fmt[24:26], "little") if kind == 0xFFFE else kind


def _wav_seconds(fmt: bytes, fact: int, music: int) -> float | None:
    """Return how long so many bytes are; `fact` samples where these fill the last block that holds samples."""
    if len(fmt) < 14:
        return None
    rate, byte_rate, block = struct.unpack("<4xIIH", fmt[:14])
    kind = _wav_kind(fmt)
    if kind in PLAIN:
        return music / block / rate if block and rate else None
    if kind in IN_BLOCKS and block and rate and (n_samples := int.from_bytes(fmt[18:20], "little")):
        n_blocks = -(-music // block)
        return (fact if (n_blocks - 1) * n_samples < fact <= n_blocks * n_samples else n_blocks * n_samples) / rate
    if fact and rate:
        return fact / rate
    return music / byte_rate if byte_rate else None


def _aiff(file: BinaryIO, start: int, size: int) -> float | None:
    """Return the length of an AIFF; if it comes from a pipe, by what follows the head of its music."""
    frames, rate, a_frame, scale = 0, 0.0, 0.0, 1
    for name, place, _ in riff_chunks(file, start + 12, "big"):
        if name == b"COMM":
            channels, frames, bits, exponent, mantissa, kind = struct.unpack(
                ">hIhHQ4s", _read(file, place, 22).ljust(22)
            )
            rate, a_frame = mantissa * 2.0 ** ((exponent & 0x7FFF) - 16_446), channels * (bits + 7 >> 3)
            scale = IMA_PACKET if kind == b"ima4" else 1
        elif name == b"SSND" and not frames and scale == 1 and a_frame:
            frames = int((size - place - 8) / a_frame)
    return frames * scale / rate if rate else None


def _sphere(file: BinaryIO, start: int, size: int) -> float | None:
    head = _read(file, start, 1024)
    found = [re.search(rb"\n%s -i (\d+)" % name, head) for name in (b"sample_count", b"sample_rate")]
    count, rate = (int(match[1]) if match else 0 for match in found)
    return count / rate if count and rate else None


def _musepack(file: BinaryIO, start: int, size: int) -> float | None:
    return musepack.length_s(_read(file, start, HEAD_BYTES))


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
    bits = AU_BITS.get(encoding, 0) * channels * rate
    music = size - place if n_bytes == UNKNOWN_SIZE else min(n_bytes, size - place)
    return music * 8 / bits if bits and music > 0 else None


def _caf(file: BinaryIO, start: int, size: int) -> float | None:
    rate, a_packet, a_frame, music, valid = 0.0, 0, 0, 0, 0
    for name, place, n_bytes in caf_chunks(file, start + 8):
        if name == b"desc":
            rate, a_packet, a_frame = struct.unpack(">d8xII", _read(file, place, 24))
        elif name == b"pakt":
            valid = struct.unpack(">8xq", _read(file, place, 16))[0]
        elif name == b"data":
            music = (size - place if n_bytes < 0 else n_bytes) - 4
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
        return _ogg_seconds(tail[last : last + 14], clock._replace(start=_ogg_start(file, start, clock)))
    return _ogg_links(file, start)


def _ogg_start(file: BinaryIO, place: int, clock: _Clock) -> int:
    """Return the position at which the music starts: not 0 where a recorder joined a stream that was on the air."""
    for _ in range(MOST_PAGES):
        head = _read(file, place, 27 + 255)
        if head[:4] != b"OggS":
            break
        sizes = head[27 : 27 + head[26]]
        position, n_packets = int.from_bytes(head[6:14], "little", signed=True), sum(size < 255 for size in sizes)
        if position > 0:
            return max(clock.start, position - n_packets * clock.longest)
        place += 27 + len(sizes) + sum(sizes)
    return clock.start


def _ogg_links(file: BinaryIO, start: int) -> float | None:
    """Add up the links of a chain, page by page."""
    clocks: dict[bytes, _Clock] = {}
    lengths: dict[bytes, float] = {}
    while len(head := _read(file, start, 27 + 255 + 80)) >= 27 and head[:4] == b"OggS":
        serial, n_segments = head[14:18], head[26]
        if head[5] & 2 and (clock := _ogg_clock(head)):
            clocks[serial] = clock._replace(start=_ogg_start(file, start, clock))
        if serial in clocks and (seconds := _ogg_seconds(head, clocks[serial])) is not None:
            lengths[serial] = seconds
        start += 27 + n_segments + sum(head[27 : 27 + n_segments])
    return sum(lengths.values()) or None


def _ogg_clock(page: bytes) -> _Clock | None:
    """Return from a stream's first page what its positions mean."""
    packet = page[27 + page[26] :]

    def number(begin: int, end: int) -> int:
        return int.from_bytes(packet[begin:end], "little")

    clock = None
    if packet[:7] == b"\x01vorbis":
        clock = _Clock(number(12, 16), 0, 1 << (packet[28] >> 4))
    elif packet[:8] == b"OpusHead":
        clock = _Clock(48_000, number(10, 12), LONGEST_OPUS)
    elif packet[:5] == b"\x7fFLAC":
        clock = _Clock(int.from_bytes(packet[27:30], "big") >> 4, 0, int.from_bytes(packet[19:21], "big"))
    elif packet[:8] == b"Speex   ":
        clock = _Clock(number(36, 40), 0, number(56, 60) * max(1, number(64, 68)))
    return clock if clock and clock.rate else None


def _ogg_seconds(page: bytes, clock: _Clock) -> float | None:
    position = int.from_bytes(page[6:14], "little", signed=True)
    return max(0, position - clock.start) / clock.rate if position >= 0 else None  # -1: no packet ends on the page


def _flac(file: BinaryIO, start: int, size: int) -> float | None:
    """Return the length of a FLAC file; if it comes from a pipe and its head cannot know, by its last frame."""
    info = int.from_bytes(_read(file, start + 18, 8), "big")
    rate, samples = info >> 44, info & (1 << 36) - 1
    bits = samples * ((info >> 41 & 7) + 1) * ((info >> 36 & 31) + 1)
    least, most = (share * bits for share in WORTH_A_LOOK)
    if rate and not least <= (size - start) * 8 <= most:
        stated, samples = samples, 0
        block = int.from_bytes(_read(file, start + 8, 2), "big")
        tail = _read(file, max(start, size - TAIL_BYTES), TAIL_BYTES)
        place = len(tail)
        while not samples and (place := tail.rfind(b"\xff", 0, place)) >= 0:
            samples = end_of_flac_frame(tail[place : place + 17], block)
        samples = samples or stated
    return samples / rate if rate and samples else None


def _read(file: BinaryIO, start: int, n_bytes: int) -> bytes:
    file.seek(start)
    return file.read(n_bytes)
