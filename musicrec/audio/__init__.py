"""Decode a track to one mono clip: only the part that is needed, mixed down by the mean, and resampled.

A file may be shorter than its header says: what counts is what the decoder returns. A file that is longer than its
header says ends where the header says. Memory depends on the length of the clip only, whatever the length, the channels
or the header of the file.

``Samples`` is the type of a clip, a float32 array. ``DEFAULT_LIMITS`` are the limits that :func:`load` uses by default.
A recording that is at most ``CLIP_SLACK_S`` seconds longer than the clip is used whole.
"""

import math
from contextlib import suppress
from pathlib import Path

import numpy as np
import soxr

from musicrec.audio import ffmpeg, libsndfile, mpeg
from musicrec.audio.clip import CLIP_SLACK_S, Samples, clip_window
from musicrec.audio.limits import DEFAULT_LIMITS, Limits
from musicrec.audio.parts import clip_of_parts
from musicrec.audio.uris import is_remote, local_file, local_path
from musicrec.errors import DecodeError
from musicrec.schemas import Reason

__all__ = [
    "CLIP_SLACK_S",
    "DEFAULT_LIMITS",
    "Limits",
    "Samples",
    "clip_window",
    "is_remote",
    "load",
    "local_path",
    "resample",
]


def load(
    uri: str,
    *,
    sample_rate: int = 22050,
    offset_s: float = 30.0,
    duration_s: float = 30.0,
    limits: Limits = DEFAULT_LIMITS,
) -> Samples:
    """Decode the clip of a track from which features are computed.

    The clip starts at `offset_s` and is `duration_s` long. If the song is too short for that, the clip is its last
    `duration_s`. A recording that is itself a clip, at most `duration_s` + 1 s long, is used whole.

    Parameters
    ----------
    uri : str
        Path, or ``file://``, ``http(s)://`` or ``s3://`` URI, of a file in any format that libsndfile (wav, flac, ogg,
        opus, mp3, …) or FFmpeg (m4a, aac, alac, wma, webm, the sound of a video, …) decodes.
    sample_rate : int
        Sample rate of the result, in Hz.
    offset_s, duration_s : float
        Start and length of the clip, in seconds.
    limits : Limits
        Songs beyond these limits are refused.

    Returns
    -------
    numpy.ndarray
        float32 [n_samples], mono, the mean of the channels, nominally in [-1, 1].

    Raises
    ------
    DecodeError
        The song cannot be decoded. The reason is ``missing``, ``unreadable``, ``empty``, ``undecodable``,
        ``unsupported``, ``too_large``, ``corrupt`` or ``not_finite``.

    Examples
    --------
    >>> from musicrec.audio import load
    >>> y = load("songs/synthetic-bells/synthetic-bells-1.flac", sample_rate=16_000)
    >>> y.shape, y.dtype
    ((16000,), dtype('float32'))
    """
    with local_file(uri, limits) as path:
        clip, rate = _decode(path, offset_s, duration_s, limits)
    if not len(clip):
        raise DecodeError(Reason.EMPTY, "the file decodes to no samples")
    if not np.isfinite(clip).all():
        raise DecodeError(Reason.NOT_FINITE, "the samples hold NaN or infinite values")
    return resample(clip, rate, sample_rate)


def _decode(path: Path, offset_s: float, duration_s: float, limits: Limits) -> tuple[Samples, int]:
    """Decode the clip at the file's own rate: by libsndfile, which is faster, or FFmpeg, which reads more formats."""
    with mpeg.parts(path) as parts:
        if parts:
            return clip_of_parts(parts, offset_s, duration_s, limits)
    try:
        clip, rate = libsndfile.decode(path, offset_s, duration_s, limits)
    except DecodeError as e:
        if e.reason != Reason.UNDECODABLE:
            raise
        return ffmpeg.decode(path, offset_s, duration_s, limits)
    if not len(clip):  # after a crash of the recorder the header says 0 samples, but they are there
        with suppress(DecodeError):
            return ffmpeg.decode(path, offset_s, duration_s, limits)
    return clip, rate


def resample(clip: Samples, rate: int, sample_rate: int) -> Samples:
    """Resample a clip by soxr, at its quality HQ.

    Parameters
    ----------
    clip : numpy.ndarray
        float32 [n_samples], mono.
    rate, sample_rate : int
        Sample rates of the clip and of the result, in Hz.

    Returns
    -------
    numpy.ndarray
        float32 [n_samples · sample_rate / rate, rounded up].

    Examples
    --------
    >>> import numpy as np
    >>> resample(np.zeros(44_100, np.float32), 44_100, 22_050).shape
    (22050,)
    """
    if rate == sample_rate:
        return clip
    length = math.ceil(len(clip) * sample_rate / rate)
    resampled = soxr.resample(clip, rate, sample_rate, quality="HQ")[:length]
    return np.pad(resampled, (0, length - len(resampled)))
