"""Find the frames of an MPEG audio stream (mp3, mp2, mp1) by their headers, without decoding (ISO 11172-3, 13818-3).

A stream need not say how long it is. Where it does, in the Xing, Info or VBRI tag that stands in place of its first
frame, the tag counts its own frames only: of two files that were joined, it counts the first. So the length is believed
where the tag's bytes are the file's. Everywhere else it is the number of frames.
"""

from array import array
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from musicrec.audio.content import Content

HEAD = 4
ZEROS_AT_ONCE = 1 << 12  # bytes
MOST_CHUNKS = 1000  # of a WAV before its data
LONGEST_FRAME = 4_608  # bytes; free format knows no other bound than the decoder's buffer
BIT_RATES = {  # kbit/s by version (1, or 2 and 2.5) and layer
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES = (44_100, 48_000, 32_000)
DECODER_DELAY = 529  # samples by which every layer III decoder is late
MONO = 3
TAG_NAMES = (b"Xing", b"Info")
WAV_TAGS = (b"\x50\0", b"\x55\0")  # formats of a WAV that is no PCM: layers I and II, and layer III


class Header(NamedTuple):
    """What the second and third byte of a frame say."""

    version: int  # 1; 2 also stands for 2.5
    layer: int
    rate: int
    samples: int
    bit_rate: int  # bits a second; 0 in free format
    size: int  # bytes; 0 in free format
    padding: int  # bytes


class Tag(NamedTuple):
    """A Xing, Info or VBRI tag; counts that it does not state are 0."""

    frames: int
    bytes: int
    before: int  # samples that decoding puts before the music
    after: int  # samples that decoding puts after it
    is_xing: bool


@dataclass
class Run:
    """Frames of one layer, rate and number of channels that follow each other: frames `first` … `stop` - 1."""

    header: Header
    n_channels: int
    tag: Tag | None
    first: int
    stop: int


@dataclass
class Frames:
    """Where the frames of a stream are, in bytes, and the runs that they make."""

    starts: "array[int]" = field(default_factory=lambda: array("Q"))
    sizes: "array[int]" = field(default_factory=lambda: array("H"))
    runs: list[Run] = field(default_factory=list)

    def begin_run(self, header: Header, n_channels: int, tag: Tag | None) -> None:
        """End the run at hand, and begin another one with the next frame."""
        self.finish()
        self.runs.append(Run(header, n_channels, tag, len(self.starts), len(self.starts)))

    def finish(self) -> "Frames":
        """End the run at hand. One without frames is left out: a tag alone."""
        if self.runs:
            self.runs[-1].stop = len(self.starts)
        self.runs = [run for run in self.runs if run.stop > run.first]
        return self


@cache
def header_of(second: int, third: int) -> Header | None:
    """Return what the second and third byte of a frame mean; None if no frame has them."""
    version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
    bit_rate, rate = third >> 4, third >> 2 & 3
    if second < 0xE0 or version == 1 or layer == 4 or bit_rate == 15 or rate == 3:
        return None
    halvings = {3: 0, 2: 1, 0: 2}[version]
    family = 1 if version == 3 else 2
    hertz = RATES[rate] >> halvings
    samples = 384 if layer == 1 else 576 if layer == 3 and family == 2 else 1152
    slot = 4 if layer == 1 else 1
    padding = slot * (third >> 1 & 1)
    bits = BIT_RATES[family, layer][bit_rate] * 1000
    size = bits * samples // 8 // hertz // slot * slot + padding if bits else 0
    return Header(family, layer, hertz, samples, bits, size, padding)


def first_frame(content: Content, at: int) -> int | None:
    """Return where the first frame starts, behind tags and zeros; None if no MPEG stream begins at `at`."""
    before = -1
    while at != before:
        before = at
        at = after_tags(content, at, len(content))
        at = _after_zeros(content, at) if at else 0
    return at if _is_frame(content, at, len(content)) else None


def _after_zeros(content: Content, at: int) -> int:
    while block := content[at : at + ZEROS_AT_ONCE]:
        n = len(block) - len(block.lstrip(b"\0"))
        at += n
        if n < len(block):
            break
    return at


def data_of_wav(content: Content, at: int) -> int | None:
    """Return where the data of a WAV start that holds MPEG audio instead of samples; None for any other file."""
    is_mpeg = False
    if content[at : at + 4] not in (b"RIFF", b"RF64") or content[at + 8 : at + 12] != b"WAVE":
        return None
    at += 12
    for _ in range(MOST_CHUNKS):
        name, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        at += 8
        if name == b"fmt ":
            is_mpeg = content[at : at + 2] in WAV_TAGS
        elif name == b"data":
            return at if is_mpeg else None
        at += size + size % 2
    return None


def true_tag(content: Content, at: int) -> Tag | None:
    """Return the tag in place of the frame at `at` if it states the length of this very file."""
    header = header_of(content[at + 1], content[at + 2])
    tag = tag_of(content, at, header) if header else None
    if header is None or tag is None or not tag.is_xing or not tag.frames or not tag.bytes:
        return None
    return tag if abs(end_of_audio(content, len(content)) - at - tag.bytes) < max(header.size, 1) else None


def scan(content: Content, at: int) -> Frames:
    """Find all frames from the one at `at` on.

    Tags and other bytes between frames are passed over. A frame that the end of the file cuts is left out.
    """
    frames, end = Frames(), len(content)
    sizes: dict[bytes, int] = {}  # of the headers that the run at hand has had
    tag_at, last, free = 0, b"", 0
    while at + HEAD <= end:
        head = content[at : at + HEAD]
        size = sizes.get(head, 0)
        if not size or content[at + tag_at : at + tag_at + 4] in TAG_NAMES:
            header = _header_at(content, at, last)
            if header is None:
                following = next_frame(content, max(after_tags(content, at, end), at + 1), end)
                if following is None:
                    break
                at, last, free, sizes = following, b"", 0, {}
                continue
            free = free or (0 if header.size else _free_size(content, at, end))
            size, last, tag_at = header.size or free + header.padding, head, _tag_at(header, head)
            if _begins_run(frames, header, head, tag := tag_of(content, at, header)):
                frames.begin_run(header, _n_channels(head), tag)
                sizes = {}
            sizes[head] = size
            if tag:
                at += size
                continue
        if at + size > end:
            break
        frames.starts.append(at)
        frames.sizes.append(size)
        at += size
    return frames.finish()


def _begins_run(frames: Frames, header: Header, head: bytes, tag: Tag | None) -> bool:
    if tag or not frames.runs:
        return True
    run = frames.runs[-1]
    return (header.layer, header.rate, _n_channels(head)) != (run.header.layer, run.header.rate, run.n_channels)


def _n_channels(head: bytes) -> int:
    return 1 if head[3] >> 6 == MONO else 2


def _header_at(content: Content, at: int, last: bytes) -> Header | None:
    """Return the header of the frame that starts here; after a frame with the header `last`, the header is enough."""
    head = content[at : at + HEAD]
    if not (last and _are_alike(last, head)) and not _is_frame(content, at, len(content)):
        return None
    return header_of(head[1], head[2])


def _is_frame(content: Content, at: int, end: int) -> bool:
    """Return whether a frame starts here: a header, and where the frame ends, another like it, a tag or the end."""
    head = content[at : at + HEAD]
    if len(head) < HEAD or head[0] != 0xFF:
        return False
    header = header_of(head[1], head[2])
    if header is None:
        return False
    size = header.size or _free_size(content, at, end)
    following = content[at + size : at + size + HEAD]
    is_last = at + size == end or after_tags(content, at + size, end) != at + size
    return bool(size) and (is_last or _are_alike(head, following))


def _are_alike(head: bytes, other: bytes) -> bool:
    """Return whether two headers name the same version, layer and rate; the number of channels may change."""
    if len(other) < HEAD or other[0] != 0xFF or head[1] & 0xFE != other[1] & 0xFE or head[2] & 0x0C != other[2] & 0x0C:
        return False
    return header_of(other[1], other[2]) is not None and (head[2] < 0x10) == (other[2] < 0x10)


def next_frame(content: Content, at: int, end: int) -> int | None:
    """Return where the next frame starts."""
    while (at := content.find(b"\xff", at, end)) >= 0:
        if content[at + 2 : at + 3] >= b"\x10" and _is_frame(content, at, end):  # free format may be anything
            return at
        at += 1
    return None


def _free_size(content: Content, at: int, end: int) -> int:
    """Return the bytes of a frame in free format, without padding: up to the next header. 0 if there is none."""
    head = content[at : at + HEAD]
    header = header_of(head[1], head[2])
    following = at + HEAD
    while header and (following := content.find(b"\xff", following, min(at + LONGEST_FRAME, end))) >= 0:
        if _are_alike(head, content[following : following + HEAD]):
            return following - at - header.padding
        following += 1
    return 0


# --- tags ---------------------------------------------------------------------------------------------------------


def tag_of(content: Content, at: int, header: Header) -> Tag | None:
    """Return the tag that stands in place of this frame, if one does."""
    if header.layer != 3:
        return None
    begin = at + _tag_at(header, content[at : at + HEAD])
    if content[begin : begin + 4] in TAG_NAMES:
        return _xing(content[begin : at + (header.size or LONGEST_FRAME)])
    if content[at + 36 : at + 40] == b"VBRI":
        n_bytes, n_frames = (int.from_bytes(content[at + i : at + i + 4]) for i in (46, 50))
        return Tag(n_frames, n_bytes, 0, 0, is_xing=False)
    return None


def _tag_at(header: Header, head: bytes) -> int:
    """Return where in a frame the name of its tag would be: behind its header and side information."""
    return HEAD + {(1, 2): 32, (1, 1): 17, (2, 2): 17, (2, 1): 9}[header.version, _n_channels(head)]


def _xing(tag: bytes) -> Tag:
    flags, at, counts = tag[7] if len(tag) > 7 else 0, 8, [0, 0]
    for i in (0, 1):
        if flags >> i & 1:
            counts[i], at = int.from_bytes(tag[at : at + 4]), at + 4
    at += 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    if not tag[at : at + 1].strip(b"\0"):  # no name of an encoder, so none of LAME's fields
        return Tag(counts[0], counts[1], 0, 0, is_xing=True)
    delay, padding = divmod(int.from_bytes(tag[at + 21 : at + 24]), 1 << 12)
    return Tag(counts[0], counts[1], delay + DECODER_DELAY, max(padding - DECODER_DELAY, 0), is_xing=True)


def after_id3(head: bytes) -> int:
    """Return how long the ID3 tag is that starts with these 10 bytes; 0 if none does."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    footer = 10 * (head[5] >> 4 & 1)
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)) + footer


def after_tags(content: Content, at: int, end: int) -> int:
    """Return where the ID3 and APE tags that stand here end, whatever follows them."""
    while True:
        head = content[at : at + 32]
        if size := after_id3(head):
            pass
        elif head[:3] == b"TAG":
            size = 128
        elif head[:8] == b"APETAGEX":
            size = 32 + int.from_bytes(head[12:16], "little") * (head[23] >> 5 & 1)  # the size leaves out the header
        else:
            return min(at, end)
        at += size


def end_of_audio(content: Content, end: int) -> int:
    """Return where the tags at the end of the file begin."""
    if content[max(end - 128, 0) : end][:3] == b"TAG":
        end -= 128
    if content[max(end - 9, 0) : end] == b"LYRICS200" and content[end - 15 : end - 9].isdigit():
        end -= 15 + int(content[end - 15 : end - 9])
    foot = content[max(end - 32, 0) : end]
    if foot[:8] == b"APETAGEX":
        end -= int.from_bytes(foot[12:16], "little") + 32 * (foot[23] >> 7)
    return max(end, 0)
