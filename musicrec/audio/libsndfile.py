"""Decode wav, flac, ogg, opus, mp3 and related formats by libsndfile, which is faster than FFmpeg."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile as sf

from musicrec.audio import pcm
from musicrec.audio.clip import BLOCK_FRAMES, PREROLL_S, Samples, clip_window, mix_down, read_through
from musicrec.audio.limits import Limits
from musicrec.errors import DecodeError
from musicrec.schemas import Reason

SUBTYPE_BITS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32}


def decode(
    path: Path, offset_s: float, duration_s: float, limits: Limits, *, is_length_true: bool = False
) -> tuple[Samples, int]:
    """Return the clip of a file at the file's own rate.

    Parameters
    ----------
    path : pathlib.Path
        Readable file that is not empty.
    offset_s, duration_s : float
        Start and length of the clip, in seconds; see :func:`musicrec.audio.load`.
    limits : Limits
        Beyond these, a file is refused.
    is_length_true : bool
        Whether a file that gives less than libsndfile expects is damaged, and not just cut off.

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
        rate, n_stated = file.samplerate, file.frames
        start, stop = clip_window(max(n_stated, 0), rate, offset_s, duration_s)
        clip = _read_by_seeking(file, start, stop)
    if is_length_true and (clip is None or len(clip) < stop - start):
        raise _ends_early()
    if clip is None:
        with reading(path, limits) as (blocks, _):
            clip = read_through(blocks, rate, offset_s, duration_s, limits)
    if n_stated > 0 and not len(clip):
        raise DecodeError(Reason.UNDECODABLE, "it says that it holds samples, but none of them can be decoded")
    return clip, rate


@contextmanager
def reading(path: Path, limits: Limits, *, is_length_true: bool = False) -> Iterator[tuple[Iterator[Samples], int]]:
    """Read a file from its start, in a ``with`` statement. The parameters are those of :func:`decode`.

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
        yield _mono_blocks(file, file.frames if is_length_true else 0), file.samplerate


def decode_head(content: int, n: int) -> Samples:
    """Return the first `n` frames of a file, mono, or those that can be decoded.

    Parameters
    ----------
    content : int
        Descriptor of the file, which is closed.
    n : int
        How many frames.
    """
    out = np.empty(n, np.float32)
    try:
        with _Stream(content, closefd=True) as file:
            return out[: _read_mono(file, out)]
    except sf.LibsndfileError:
        return out[:0]


def shape(content: BinaryIO) -> tuple[int, int, int]:
    """Return the length of a file in frames, its sample rate in Hz and its number of channels."""
    with _open_span(content) as file:
        return file.frames, file.samplerate, file.channels


def decode_span(content: BinaryIO, start: int, stop: int) -> Samples:
    """Return frames `start` … `stop` - 1 of a file, mono, or those of them that can be decoded."""
    with _open_span(content) as file:
        preroll = min(start, round(PREROLL_S * file.samplerate))
        out = np.empty(stop - start + preroll, np.float32)
        try:
            file.seek(start - preroll)
            return out[preroll : _read_mono(file, out)]
        except sf.LibsndfileError:
            return out[:0]


def _open_span(content: BinaryIO) -> "_Stream":
    content.seek(0)
    try:
        return _Stream(content)
    except sf.LibsndfileError as e:
        raise _undecodable() from e


def _undecodable() -> DecodeError:
    return DecodeError(Reason.UNDECODABLE, "no audio that libsndfile can decode")


class _Stream(sf.SoundFile):
    """A sound file that reads on from where it is.

    ``SoundFile.read`` seeks after every block, which garbles mp3 and loses the last block of a FLAC that ends early.
    """

    gain = 1.0  # that samples in the wrong part of their bytes need

    def seekable(self) -> bool:
        return False


@contextmanager
def _open(path: Path, limits: Limits) -> Iterator[_Stream]:
    try:
        file = _Stream(os.fsencode(path))
    except (sf.LibsndfileError, TypeError) as e:  # TypeError: an extension that promises headerless data
        raise _undecodable() from e
    with file:
        limits.check_format(file.samplerate, file.channels)
        if file.format == "VOC":  # the headers of its blocks become samples
            raise _undecodable()
        if file.format in ("WAV", "WAVEX", "RF64", "W64"):
            file.gain = _gain(file, pcm.wav_format(path))
        yield file


def _gain(file: _Stream, form: pcm.WavFormat | None) -> float:
    """Return what samples must be multiplied by; the file is read from its start to the first that tells."""
    if form is None or file.subtype not in SUBTYPE_BITS:
        return 1.0
    if form.is_float:  # libsndfile takes those of Wave64 for integers, if its format chunk is the extensible one
        raise _undecodable()
    bits, n_used = form.container_bits, form.bits
    if bits <= n_used:
        return 1.0
    if bits != SUBTYPE_BITS[file.subtype]:
        raise DecodeError(Reason.UNSUPPORTED, f"samples of {n_used} bits in {bits // 8} bytes")
    is_wrong = None
    while is_wrong is None and len(samples := file.read(BLOCK_FRAMES, "int32")):
        is_wrong = pcm.is_right_aligned(samples.reshape(-1), bits, bits - n_used)
    file.seek(0)
    return float(1 << bits - n_used) if is_wrong else 1.0


def _read_by_seeking(file: _Stream, start: int, stop: int) -> Samples | None:
    """Return frames `start` … `stop` - 1; None if the file ends before its header says, so the clip may move."""
    preroll = min(start, round(PREROLL_S * file.samplerate))
    clip = np.empty(stop - start + preroll, np.float32)
    try:
        file.seek(start - preroll)
        n = _read_mono(file, clip)
    except sf.LibsndfileError:
        return None
    is_all = not start  # read from its first frame to its end, as in an mp3 whose length is a guess from its bytes
    return clip[preroll:n] if n == len(clip) or is_all else None


def _mono_blocks(file: _Stream, n_true: int) -> Iterator[Samples]:
    reason, n_read = Reason.UNDECODABLE, 0
    while True:
        block = np.empty(BLOCK_FRAMES, np.float32)
        try:
            n = _read_mono(file, block)
        except sf.LibsndfileError as e:
            raise DecodeError(reason, f"libsndfile stopped: {e.error_string.strip()}") from e
        if not n and n_read < n_true:
            raise _ends_early()
        if not n:
            return
        yield block[:n]
        reason, n_read = Reason.CORRUPT, n_read + n


def _ends_early() -> DecodeError:
    return DecodeError(Reason.CORRUPT, "libsndfile stopped before the end that the file states")


def _read_mono(file: _Stream, out: Samples) -> int:
    """Read on into `out`, mixed down; return how many frames there were."""
    is_16_bit = file.subtype == "PCM_16"  # much faster to read as integers, and as exact
    buffer = np.empty((BLOCK_FRAMES, file.channels), np.int16 if is_16_bit else np.float32)
    n = 0
    while n < len(out):
        frames = file.read(min(len(out) - n, BLOCK_FRAMES), out=buffer)
        if not len(frames):
            break
        if (not n or len(out) - n <= BLOCK_FRAMES) and file.subtype.startswith("PCM"):
            pcm.check_sound(frames)
        mix_down(frames, out[n : n + len(frames)])
        n += len(frames)
    if is_16_bit:
        out[:n] *= np.float32(2**-15)
    if file.gain != 1:
        out[:n] *= np.float32(file.gain)
    return n
