"""Vorbis comments in FLAC files, and in Ogg with Vorbis, Opus, Speex or FLAC.

See xiph.org/vorbis/doc/v-comment.html.
"""

from typing import BinaryIO

from musicrec.stages.catalog.file_tags.fields import Values

COMMENT_BLOCK = 4
MOST_BYTES = 1 << 25  # of all comments, with pictures
MOST_TEXT = 1 << 16  # of a comment that holds a name
MOST_PAGES = 2000  # before the music


def read_flac(file: BinaryIO) -> list[Values]:
    """Return the fields of a FLAC file that starts here."""
    file.seek(4, 1)
    values: Values = []
    while len(head := file.read(4)) == 4:
        size, start = int.from_bytes(head[1:], "big"), file.tell()
        if head[0] & 0x7F == COMMENT_BLOCK:
            values += _comments(file.read(size))
        if head[0] & 0x80:
            break
        file.seek(start + size)
    return [values]


def read_ogg(file: BinaryIO) -> list[Values]:
    """Return the fields of the first stream of an Ogg file that has comments."""
    file.seek(0)
    packets: dict[bytes, list[bytearray]] = {}
    for _ in range(MOST_PAGES):
        head = file.read(27)
        if head[:4] != b"OggS" or len(head) < 27:
            break
        of_stream = packets.setdefault(head[14:18], [bytearray()])
        sizes = file.read(head[26])
        if len(of_stream) > 3 or sum(map(len, of_stream)) > MOST_BYTES:
            file.seek(sum(sizes), 1)
            continue
        for size in sizes:
            of_stream[-1] += file.read(size)
            if size < 255:
                if len(of_stream) > 1 and (found := _of_packet(of_stream[0], of_stream[-1])):
                    return [found]
                of_stream.append(bytearray())
    return []


def _of_packet(first: bytearray, packet: bytearray) -> Values:
    """Return the fields of a packet of comments; none of another packet."""
    for codec, mark in ((b"\x01vorbis", b"\x03vorbis"), (b"OpusHead", b"OpusTags"), (b"Speex   ", b"")):
        if first.startswith(codec) and packet.startswith(mark):
            return _comments(bytes(packet[len(mark) :]))
    if first.startswith(b"\x7fFLAC") and packet[:1] and packet[0] & 0x7F == COMMENT_BLOCK:
        return _comments(bytes(packet[4:]))
    return []


def _comments(data: bytes) -> Values:
    def number(place: int) -> int:
        return int.from_bytes(data[place : place + 4], "little")

    place = 4 + number(0)  # after the encoder's name
    n_comments, place, values = number(place), place + 4, Values()
    for _ in range(n_comments):
        size, place = number(place), place + 4
        if place + size > len(data):
            break
        if size <= MOST_TEXT:
            name, _, text = data[place : place + size].decode("utf-8", "replace").partition("=")
            values.append((name, text))
        place += size
    return values
