"""Where the music of a Musepack file starts and ends in what is decoded (stream versions 7 and 8).

The decoder's filter is late by the same number of samples in every file. FFmpeg does not drop them, as Musepack's own
decoder does; nor the silence that version 8 states when a song was cut.
"""

from collections.abc import Iterable, Iterator

from musicrec.audio.clip import Samples, skip

DEMUXERS = ("mpc", "mpc8")
DELAY = 481  # samples
STREAM_HEADER = b"SH"
CRC_AND_VERSION = 5  # bytes
RATES = (44_100, 48_000, 37_800, 32_000)
FRAME = 1152  # samples


def music(head: bytes) -> tuple[int, int | None]:
    """Return the first sample of the music, and the one after its last, if the file says it.

    Parameters
    ----------
    head : bytes
        Start of the file, behind any ID3 tag.

    Examples
    --------
    >>> music(b"MP+" + bytes(25))
    (481, None)
    """
    n, silence, _ = _stream_header(head)
    return DELAY + silence, DELAY + n if n else None


def length_s(head: bytes) -> float | None:
    """Return the length of the music in seconds, if the file says it; see :func:`music`."""
    if head.startswith(b"MP+") and len(head) > 10 and (n_frames := int.from_bytes(head[4:8], "little")):
        return (n_frames * FRAME - DELAY) / RATES[head[10] & 3]
    n, silence, rate = _stream_header(head)
    return max(0, n - silence) / rate if n else None


def _stream_header(head: bytes) -> tuple[int, int, int]:
    """Return from a file of version 8 its samples, how many of them are silence before the music, and its rate."""
    at = 4
    while head.startswith(b"MPCK") and at < len(head):
        key, begin = head[at : at + 2], at
        size, at = _number(head, at + 2)
        if key == STREAM_HEADER:
            n, at = _number(head, at + CRC_AND_VERSION)
            silence, at = _number(head, at)
            return n, silence, RATES[head[at] >> 5 & 3] if at < len(head) else RATES[0]
        at = begin + max(size, 1)
    return 0, 0, RATES[0]


def music_of(blocks: Iterable[Samples], head: bytes) -> Iterator[Samples]:
    """Yield the music of a song whose decoded samples come in blocks; `head` is the start of its file."""
    first, stop = music(head)
    at = first
    for block in skip(blocks, first):
        yield block if stop is None else block[: max(stop - at, 0)]
        at += len(block)


def _number(head: bytes, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, the highest first, and where it ends."""
    number = 0
    for i, byte in enumerate(head[at:], at + 1):
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, i
    return number, len(head)
