"""Decode wav, flac, ogg, opus, mp3 and related formats by libsndfile, which is faster than FFmpeg."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile as sf

from musicrec.audio.clip import BLOCK_FRAMES, PREROLL_S, Samples, clip_window, mix_down, read_through
from musicrec.audio.limits import Limits
from musicrec.errors import DecodeError
from musicrec.schemas import Reason


def decode(path: Path, offset_s: float, duration_s: float, limits: Limits) -> tuple[Samples, int]:
    """Return the clip of a file at the file's own rate.

    Parameters
    ----------
    path : pathlib.Path
        Readable file that is not empty.
    offset_s, duration_s : float
        Start and length of the clip, in seconds; see :func:`musicrec.audio.load`.
    limits : Limits
        Beyond these, a file is refused.

    Returns
    -------
    clip : numpy.ndarray
        float32 [n], mono; empty if the file is.
    rate : int
        Sample rate, in Hz.

    Raises
    ------
    DecodeError
        With reason ``undecodable`` (not one sample can be decoded), ``corrupt`` (some can), ``unsupported`` or
        ``too_large``.
    """
    with _open(path, limits) as file:
        rate = file.samplerate
        clip = _read_by_seeking(file, offset_s, duration_s)
    if clip is None:
        with reading(path, limits) as (blocks, _):
            clip = read_through(blocks, rate, offset_s, duration_s, limits)
    return clip, rate


@contextmanager
def reading(path: Path, limits: Limits) -> Iterator[tuple[Iterator[Samples], int]]:
    """Read a file from its start, in a ``with`` statement.

    Yields
    ------
    blocks : iterator of numpy.ndarray
        The song, mono float32 [n], a block at a time.
    rate : int
        Its sample rate, in Hz.

    Raises
    ------
    DecodeError
        As :func:`decode`; also the blocks raise it.
    """
    with _open(path, limits) as file:
        yield _mono_blocks(file), file.samplerate


class _Stream(sf.SoundFile):
    """A sound file that reads on from where it is.

    ``SoundFile.read`` seeks after every block, which garbles mp3 and loses the last block of a FLAC that ends early.
    """

    def seekable(self) -> bool:
        return False


@contextmanager
def _open(path: Path, limits: Limits) -> Iterator[sf.SoundFile]:
    try:
        file = _Stream(os.fsencode(path))
    except (sf.LibsndfileError, TypeError) as e:  # TypeError: an extension that promises headerless data
        raise DecodeError(Reason.UNDECODABLE, "no audio that libsndfile can decode") from e
    with file:
        limits.check_format(file.samplerate, file.channels)
        yield file


def _read_by_seeking(file: sf.SoundFile, offset_s: float, duration_s: float) -> Samples | None:
    """Return the clip at the file's own rate; None if the file ends before its header says, so the clip may move."""
    start, stop = clip_window(max(file.frames, 0), file.samplerate, offset_s, duration_s)
    preroll = min(start, round(PREROLL_S * file.samplerate))
    clip = np.empty(stop - start + preroll, np.float32)
    try:
        file.seek(start - preroll)
        n = _read_mono(file, clip)
    except sf.LibsndfileError:
        return None
    is_all = not start  # read from its first frame to its end, as in an mp3 whose length is a guess from its bytes
    return clip[preroll:n] if n == len(clip) or is_all else None


def _mono_blocks(file: sf.SoundFile) -> Iterator[Samples]:
    reason = Reason.UNDECODABLE
    while True:
        block = np.empty(BLOCK_FRAMES, np.float32)
        try:
            n = _read_mono(file, block)
        except sf.LibsndfileError as e:
            raise DecodeError(reason, f"libsndfile stopped: {e.error_string.strip()}") from e
        if not n:
            return
        yield block[:n]
        reason = Reason.CORRUPT


def _read_mono(file: sf.SoundFile, out: Samples) -> int:
    """Read on into `out`, mixed down; return how many frames there were."""
    is_16_bit = file.subtype == "PCM_16"  # much faster to read as integers, and as exact
    buffer = np.empty((BLOCK_FRAMES, file.channels), np.int16 if is_16_bit else np.float32)
    n = 0
    while n < len(out):
        frames = file.read(min(len(out) - n, BLOCK_FRAMES), out=buffer)
        if not len(frames):
            break
        mix_down(frames, out[n : n + len(frames)])
        n += len(frames)
    if is_16_bit:
        out[:n] *= np.float32(2**-15)
    return n
