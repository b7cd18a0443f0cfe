"""Samples that are not what they seem: a bit stream in PCM, and quiet ones that a header has put in the wrong place."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import DecodeError
from musicrec.schemas import Reason

FULL_SCALE = 1 << 15
FEWEST_SYNCS = 3
LEAST_DISTANCE = 256  # words; a frame of AC-3 takes 3 072, one of DTS 1 024
WAVE_EXTENSIBLE = 0xFFFE
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
    if frames.shape[1] != 2:
        return
    words = frames.reshape(-1)
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


def container(path: Path) -> tuple[int, int] | None:
    """Return how many bits hold a sample of a WAV, and how many of them it uses; None for other files."""
    with path.open("rb") as file:
        head = file.read(4096)
    at = 12
    if head[:4] not in (b"RIFF", b"RF64") or head[8:12] != b"WAVE":
        return None
    while head[at : at + 4] != b"fmt ":
        if at + 8 > len(head):
            return None
        at += 8 + (int.from_bytes(head[at + 4 : at + 8], "little") + 1) // 2 * 2
    if at + 8 + 20 > len(head):
        return None
    tag, n_channels, _, _, n_bytes, bits, _, valid = struct.unpack("<HHIIHHHH", head[at + 8 : at + 28])
    if not n_channels or tag not in (1, WAVE_EXTENSIBLE):
        return None
    bits = valid if tag == WAVE_EXTENSIBLE and 0 < valid < bits else bits
    return 8 * (n_bytes // n_channels), bits


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
