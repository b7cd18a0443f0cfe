"""Audio files with tags, byte by byte as the formats' texts say, for tests of those who read them."""

import struct
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

Pairs = Sequence[tuple[str, str]]


def le(number: int) -> bytes:
    return struct.pack("<I", number)


def be(number: int) -> bytes:
    return struct.pack(">I", number)


def music(form: str, path: Path, codec: str | None = None, seed: int = 0, **metadata: str) -> Path:
    """Half a second of noise, encoded by FFmpeg; with the few tags that FFmpeg writes."""
    codecs = {"mp3": "libmp3lame", "flac": "flac", "opus": "libopus", "wv": "wavpack", "tta": "tta",
              "matroska": "libopus", "webm": "libopus", "mov": "aac", "ipod": "aac", "adts": "aac"}  # fmt: skip
    with av.open(path, "w", format=form) as file:
        file.metadata.update(metadata)
        stream = file.add_stream(codec or codecs.get(form, "pcm_s16le"), 48_000)
        stream.bit_rate = 128_000
        samples = (0.1 * np.random.default_rng(seed).normal(size=(2, 24_000))).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "stereo")
        frame.sample_rate = 48_000
        resampler = av.AudioResampler(stream.format, "stereo", 48_000, stream.frame_size or None)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    return path


# --- ID3 ----------------------------------------------------------------------------------------------------------


def synchsafe(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def text_frame(name: str, *texts: str, version: int = 4, encoding: int = 3) -> bytes:
    """A frame of texts with zeros between them: encoding 0 is Latin-1, 1 and 2 are UTF-16, 3 is UTF-8."""
    codec, zero = (("latin-1", b"\0"), ("utf-16", b"\0\0"), ("utf-16-be", b"\0\0"), ("utf-8", b"\0"))[encoding]
    return frame(name, bytes([encoding]) + zero.join(text.encode(codec) for text in texts), version=version)


def frame(name: str, content: bytes, *, version: int = 4, flags: int = 0) -> bytes:
    if version == 2:
        return name.encode() + len(content).to_bytes(3, "big") + content
    size = synchsafe(len(content)) if version == 4 else be(len(content))
    return name.encode() + size + bytes([0, flags]) + content


def id3(*frames: bytes, version: int = 4, flags: int = 0, padding: int = 20) -> bytes:
    body = b"".join(frames) + bytes(padding)
    if flags & 0x80:
        body = body.replace(b"\xff\x00", b"\xff\x00\x00").replace(b"\xff\xfe", b"\xff\x00\xfe")
    return b"ID3" + bytes([version, 0, flags]) + synchsafe(len(body)) + body


def id3v1(title: bytes = b"", artist: bytes = b"", album: bytes = b"", genre: int = 255) -> bytes:
    return (
        b"TAG" + title.ljust(30, b"\0") + artist.ljust(30, b"\0") + album.ljust(30, b"\0") + bytes(34) + bytes([genre])
    )


def mp3(path: Path, before: bytes = b"", after: bytes = b"", seed: int = 0) -> Path:
    """FFmpeg's mp3 with tags of our own in place of its own."""
    data = music("mp3", path, seed=seed).read_bytes()
    path.write_bytes(before + data[10 + int.from_bytes(data[6:10], "big") :] + after)
    return path


# --- other tags ---------------------------------------------------------------------------------------------------


def ape(pairs: Pairs, version: int = 2000, *, header: bool = True) -> bytes:
    """An APEv2 tag; values of one name are one item, with zeros between them."""
    names = dict.fromkeys(name for name, _ in pairs)
    items = b""
    for name in names:
        value = "\0".join(text for own, text in pairs if own == name).encode()
        items += le(len(value)) + le(0) + name.encode() + b"\0" + value

    def end(flags: int) -> bytes:
        return b"APETAGEX" + le(version) + le(len(items) + 32) + le(len(names)) + le(flags) + bytes(8)

    return (end(0xA0000000) if header else b"") + items + end(0x80000000 if header else 0)


def vorbis_comment(pairs: Pairs) -> bytes:
    comments = [f"{name}={text}".encode() for name, text in pairs]
    return le(4) + b"test" + le(len(comments)) + b"".join(le(len(c)) + c for c in comments)


def flac(path: Path, pairs: Pairs, seed: int = 0) -> Path:
    """FFmpeg's FLAC with a block of comments of our own in place of its own."""
    data = music("flac", path, seed=seed).read_bytes()
    streaminfo, place = data[4 : 4 + 4 + 34], 4
    while True:
        is_last, size = data[place] & 0x80, int.from_bytes(data[place + 1 : place + 4], "big")
        place += 4 + size
        if is_last:
            break
    block = vorbis_comment(pairs)
    own = bytes([0x84]) + len(block).to_bytes(3, "big") + block
    path.write_bytes(b"fLaC" + bytes([0]) + streaminfo[1:] + own + data[place:])
    return path


CRC = []
for _n in range(256):
    _r = _n << 24
    for _ in range(8):
        _r = (_r << 1 ^ 0x04C11DB7) if _r & 0x80000000 else _r << 1
    CRC.append(_r & 0xFFFFFFFF)


def page(serial: bytes, number: int, packets: Sequence[bytes], flags: int = 0) -> bytes:
    """A page of Ogg (RFC 3533) with whole packets, shorter than 64 kB together."""
    sizes = b"".join(b"\xff" * (len(p) // 255) + bytes([len(p) % 255]) for p in packets)
    head = b"OggS\0" + bytes([flags]) + bytes(8) + serial + le(number)
    data = head + bytes(4) + bytes([len(sizes)]) + sizes + b"".join(packets)
    crc = 0
    for byte in data:
        crc = (crc << 8 & 0xFFFFFFFF) ^ CRC[crc >> 24 ^ byte]
    return head + le(crc) + bytes([len(sizes)]) + sizes + b"".join(packets)


def ogg_opus(path: Path, pairs: Pairs, seed: int = 0) -> Path:
    """FFmpeg's Opus with a packet of comments of our own."""
    data = music("opus", path, seed=seed).read_bytes()
    n_first = 27 + data[26] + sum(data[27 : 27 + data[26]])
    second = data[n_first:]
    n_second = 27 + second[26] + sum(second[27 : 27 + second[26]])
    own = page(data[14:18], 1, [b"OpusTags" + vorbis_comment(pairs)])
    path.write_bytes(data[:n_first] + own + second[n_second:])
    return path


def chunk(name: bytes, content: bytes, order: str = "<") -> bytes:
    return name + struct.pack(f"{order}I", len(content)) + content + bytes(len(content) % 2)


def wav(path: Path, *chunks: bytes) -> Path:
    fmt = struct.pack("<HHIIHH", 1, 1, 8000, 16_000, 2, 16)
    body = b"WAVE" + chunk(b"fmt ", fmt) + b"".join(chunks) + chunk(b"data", bytes(8000))
    path.write_bytes(b"RIFF" + le(len(body)) + body)
    return path


def info(**texts: str) -> bytes:
    """A LIST chunk of information."""
    return chunk(b"LIST", b"INFO" + b"".join(chunk(k.encode(), v.encode() + b"\0") for k, v in texts.items()))


def aiff(path: Path, *chunks: bytes) -> Path:
    rate = bytes.fromhex("400bfa00000000000000")  # 8000 as an 80-bit float
    common = chunk(b"COMM", struct.pack(">hIh", 1, 4000, 16) + rate, ">")
    body = b"AIFF" + common + b"".join(chunks) + chunk(b"SSND", bytes(8 + 8000), ">")
    path.write_bytes(b"FORM" + be(len(body)) + body)
    return path


def w64(path: Path, pairs: Pairs) -> Path:
    """Sony's W64 with a summary list."""
    tail = bytes.fromhex("f3acd3118cd100c04f8edb8a")

    def part(name: bytes, content: bytes) -> bytes:
        return name + struct.pack("<Q", len(content) + 24) + content + bytes(-len(content) % 8)

    texts = [(name.encode(), (text + "\0").encode("utf-16-le")) for name, text in pairs]
    summary = le(len(texts)) + b"".join(name + le(len(text)) + text for name, text in texts)
    body = b"wave" + tail + part(b"fmt " + tail, struct.pack("<HHIIHH", 1, 1, 8000, 16_000, 2, 16))
    body += part(bytes.fromhex("bc945f925a52d21186dc00c04f8edb8a"), summary) + part(b"data" + tail, bytes(8000))
    path.write_bytes(bytes.fromhex("726966662e91cf11a5d628db04c10000") + struct.pack("<Q", len(body) + 24) + body)
    return path


# --- MPEG-4 -------------------------------------------------------------------------------------------------------


def atom(name: str | bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return be(len(body) + 8) + (name.encode("latin-1") if isinstance(name, str) else name) + body


def item(name: str, *texts: str) -> bytes:
    """An item of iTunes' list with a data atom for each text; a name with a colon is a free-form one."""
    data = [atom("data", be(1), be(0), text.encode()) for text in texts]
    if ":" not in name:
        return atom(name, *data)
    return atom("----", atom("mean", be(0), b"com.apple.iTunes"), atom("name", be(0), name[5:].encode()), *data)


def m4a(path: Path, *items: bytes, seed: int = 0) -> Path:
    """FFmpeg's m4a with a list of our own at the end of its moov, which stands at the end of the file."""
    data = music("ipod", path, seed=seed).read_bytes()
    at = data.rindex(b"moov") - 4
    size = int.from_bytes(data[at : at + 4], "big")
    moov = data[at + 8 : at + size].replace(b"udta", b"free")
    handler = atom("hdlr", bytes(8), b"mdirappl", bytes(9))
    own = atom("udta", atom("meta", be(0), handler, atom("ilst", *items)))
    path.write_bytes(data[:at] + atom("moov", moov, own))
    return path


# --- Windows Media ------------------------------------------------------------------------------------------------

ASF = {
    "header": "3026b2758e66cf11a6d900aa0062ce6c", "fixed": "3326b2758e66cf11a6d900aa0062ce6c",
    "extended": "40a4d0d207e3d21197f000a0c95ea850", "extension": "b503bf5f2ea9cf118ee300c00c205365",
    "library": "941c23449894d149a1411d134e457054", "properties": "a1dcab8c47a9cf118ee400c00c205365",
}  # fmt: skip


def asf(path: Path, author: str, pairs: Pairs = (), library: Pairs = ()) -> Path:
    """The header of an ASF file: its library of metadata stands before the author, as mutagen writes it."""

    def part(name: str, *content: bytes) -> bytes:
        body = b"".join(content)
        return bytes.fromhex(ASF[name]) + struct.pack("<Q", 24 + len(body)) + body

    def text(value: str) -> bytes:
        return value.encode("utf-16-le") + b"\0\0"

    def newer(name: str, value: str) -> bytes:
        return struct.pack("<4xHHI", len(text(name)), 0, len(text(value))) + text(name) + text(value)

    def older(name: str, value: str) -> bytes:
        is_flag = name == "WM/IsCompilation"
        kind, data = (2, le(int(value))) if is_flag else (0, text(value))
        return struct.pack("<H", len(text(name))) + text(name) + struct.pack("<HH", kind, len(data)) + data

    listed = part("library", struct.pack("<H", len(library)), *(newer(*pair) for pair in library))
    length = bytes(40) + struct.pack("<QQQ", 5 * 10**7, 5 * 10**7, 3000)  # 5 s, of which 3 s are buffered before
    parts = [
        part("properties", length[:64] + bytes(16)),
        part("extension", bytes(18), le(len(listed)), listed),
        part("fixed", struct.pack("<5H", 0, len(text(author)), 0, 0, 0), text(author)),
        part("extended", struct.pack("<H", len(pairs)), *(older(*pair) for pair in pairs)),
    ]
    path.write_bytes(part("header", le(len(parts)), b"\1\2", *parts) + bytes(200))
    return path


# --- Matroska -----------------------------------------------------------------------------------------------------


def element(kind: int, *content: bytes) -> bytes:
    body = b"".join(content)
    return kind.to_bytes((kind.bit_length() + 7) // 8, "big") + (1 << 56 | len(body)).to_bytes(8, "big") + body


def simple_tags(pairs: Pairs, targets: bytes = b"") -> bytes:
    tags = [element(0x67C8, element(0x45A3, name.encode()), element(0x4487, text.encode())) for name, text in pairs]
    return element(0x7373, element(0x63C0, targets), *tags)


def matroska(path: Path, *tags: bytes) -> Path:
    """A file with tags after its music, which has a length of its own and no index."""
    head = element(0x1A45DFA3, element(0x4282, b"matroska"))
    about = element(0x1549A966, element(0x2AD7B1, be(1_000_000)), element(0x4489, struct.pack(">d", 2500.0)))
    cluster = element(0x1F43B675, element(0xE7, b"\0"), element(0xA3, b"\x81\0\0\x80" + bytes(500)))
    path.write_bytes(head + element(0x18538067, about, cluster, element(0x1254C367, *tags)))
    return path


def matroska_of(path: Path, pairs: Pairs, seed: int = 0) -> Path:
    """FFmpeg's Matroska with tags of our own after its music."""
    data = music("matroska", path, seed=seed).read_bytes()
    at = data.index(bytes.fromhex("18538067"))
    tags = element(0x1254C367, simple_tags(pairs))
    path.write_bytes(data[:at] + element(0x18538067, data[at + 12 :], tags))
    return path
