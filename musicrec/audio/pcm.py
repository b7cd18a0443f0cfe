"""Samples that are not what they seem: a bit stream in PCM, and quiet ones that a header has put in the wrong place."""

import struct
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import DecodeError
from musicrec.schemas import Reason

FULL_SCALE = 1 << 15
FEWEST_SYNCS = 3
LEAST_DISTANCE = 256  # words; a frame of AC-3 takes 3 072, one of DTS 1 024
PCM, FLOAT, WAVE_EXTENSIBLE = 1, 3, 0xFFFE
MOST_CHUNKS = 1000  # before the one that states the format
SYNC_WORDS = {  # two 16-bit words that follow each other, in either order of bytes
    "S/PDIF (IEC 61937)": ((0xF872, 0x4E1F), (0x72F8, 0x1F4E)),
    "DTS": ((0x7FFE, 0x8001), (0xFE7F, 0x0180), (0x1FFF, 0xE800), (0xFF1F, 0x00E8)),
}


def check_sound(frames: NDArray[Any]) -> None:
    """Check that PCM is sound, not the bit stream of AC-3 or DTS that a receiver would decode.

    Parameters
    ----------
    frames : numpy.ndarray
        int16, or float32 in [-1, 1), [n_frames, n_channels].

    Raises
    ------
    DecodeError
        Sync words stand in it at regular distances; the reason is ``undecodable``.
    """
    n_channels = frames.shape[1]
    for first in range(0, n_channels - n_channels % 2, 2):  # a receiver takes a stream from two of the channels
        _check_words(frames[:, first : first + 2].reshape(-1))


def _check_words(words: NDArray[Any]) -> None:
    scale = 1 if words.dtype == np.int16 else FULL_SCALE
    for name, pairs in SYNC_WORDS.items():
        for first, second in pairs:
            at = np.flatnonzero(words[:-1] == _signed(first) / scale)
            at = at[words[at + 1] == _signed(second) / scale]
            if len(at) >= FEWEST_SYNCS and _are_regular(np.diff(at)):
                raise DecodeError(Reason.UNDECODABLE, f"its samples are no sound but a bit stream: {name}")


def _signed(word: int) -> int:
    return word - (word >> 15 << 16)


def _are_regular(distances: NDArray[np.int64]) -> bool:
    values, counts = np.unique(distances, return_counts=True)
    return bool(values[counts.argmax()] >= LEAST_DISTANCE and 2 * counts.max() >= len(distances))


class WavFormat(NamedTuple):
    """What a WAV or Wave64 file says of its samples."""

    container_bits: int  # that hold a sample
    bits: int  # of them that it uses
    is_float: bool
    is_extensible: bool


def wav_format(path: Path) -> WavFormat | None:
    """Return the format of a WAV, RF64 or Wave64 file; None for other files and for compressed samples."""
    with path.open("rb") as file:
        fmt = _format_chunk(file)
    if len(fmt) < 16:
        return None
    tag, n_channels, _, _, n_bytes, bits = struct.unpack("<HHIIHH", fmt[:16])
    is_extensible = tag == WAVE_EXTENSIBLE and len(fmt) >= 26
    valid, tag = struct.unpack("<2xH4xH", fmt[16:26]) if is_extensible else (bits, tag)
    if not n_channels or tag not in (PCM, FLOAT):
        return None
    used = valid if 0 < valid < bits else bits
    return WavFormat(8 * (n_bytes // n_channels), used, tag == FLOAT, is_extensible)


def _format_chunk(file: BinaryIO) -> bytes:
    head = file.read(40)
    is_w64 = head.startswith(b"riff") and head[24:28] == b"wave"
    if not is_w64 and not (head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE"):
        return b""
    n_name, n_head, whole = (16, 24, 8) if is_w64 else (4, 8, 2)
    at = 40 if is_w64 else 12
    for _ in range(MOST_CHUNKS):
        file.seek(at)
        head = file.read(n_head)
        if head[:4] in (b"fmt ", b"data") or len(head) < n_head:
            break
        at += max(1, (int.from_bytes(head[n_name:], "little") + whole - 1) // whole) * whole + (0 if is_w64 else n_head)
    return file.read(26) if head[:4] == b"fmt " else b""


def is_right_aligned(samples: NDArray[np.int32], container_bits: int, n_unused: int) -> bool | None:
    """Return whether the unused bits of samples are the upper ones, against the format; None if there is no sample.

    Parameters
    ----------
    samples : numpy.ndarray
        int32, shifted to the top of its 32 bits.
    container_bits : int
        Bits that hold a sample.
    n_unused : int
        How many of them are unused.
    """
    lowest = samples[samples != 0] >> 32 - container_bits
    if not len(lowest):
        return None
    is_small = np.abs(lowest.astype(np.int64)).max() <= 1 << container_bits - n_unused - 1
    return bool(is_small and (lowest & (1 << n_unused) - 1).any())
