"""One track to one mono clip: decode only the window that is needed, mix down by the mean, resample.

What a header promises too much is found out: what counts is what the decoder gives. A file that claims to be shorter
than it is ends where its header says. Memory is bounded by the clip's length, whatever a file's length, channels or
claims are.
"""

import math
from contextlib import suppress
from pathlib import Path

import numpy as np
import soxr

from musicrec.audio import ffmpeg, libsndfile
from musicrec.audio.clip import CLIP_SLACK_S, Samples, clip_window
from musicrec.audio.limits import DEFAULT_LIMITS, Limits
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
    """Decode the clip of a track that features are computed from.

    The clip is `duration_s` long from `offset_s`; of a song too short for that, the last `duration_s`; of a recording
    that is itself a clip (up to `duration_s` + 1 s), all of it.

    Parameters
    ----------
    uri : str
        Path, ``file://``, ``http(s)://`` or ``s3://`` URI of any format that libsndfile (wav, flac, ogg, opus, mp3, …)
        or FFmpeg (m4a, aac, alac, wma, webm, the sound of a video, …) decodes.
    sample_rate : int
        Sample rate of the result, in Hz.
    offset_s, duration_s : float
        Start and length of the clip, in seconds.
    limits : Limits
        What is refused.

    Returns
    -------
    numpy.ndarray
        float32 [n_samples], mono, the mean of the channels, nominally in [-1, 1].

    Raises
    ------
    DecodeError
        With reason ``missing``, ``unreadable``, ``empty``, ``undecodable``, ``unsupported``, ``too_large``,
        ``corrupt`` or ``not_finite``.
    """
    with local_file(uri, limits) as path:
        clip, rate = _decode(path, offset_s, duration_s, limits)
    if not len(clip):
        raise DecodeError(Reason.EMPTY, "the file decodes to no samples")
    if not np.isfinite(clip).all():
        raise DecodeError(Reason.NOT_FINITE, "the samples hold NaN or infinite values")
    return resample(clip, rate, sample_rate)


def _decode(path: Path, offset_s: float, duration_s: float, limits: Limits) -> tuple[Samples, int]:
    """Clip at the file's own rate: by libsndfile, which is faster, or by FFmpeg, which reads more."""
    try:
        clip, rate = libsndfile.decode(path, offset_s, duration_s, limits)
    except DecodeError as e:
        if e.reason != Reason.UNDECODABLE:
            raise
        return ffmpeg.decode(path, offset_s, duration_s, limits)
    if not len(clip):  # a recorder that crashed leaves a header that says so, and its samples
        with suppress(DecodeError):
            return ffmpeg.decode(path, offset_s, duration_s, limits)
    return clip, rate


def resample(clip: Samples, rate: int, sample_rate: int) -> Samples:
    """Resample by soxr, at its quality HQ.

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
    """
    if rate == sample_rate:
        return clip
    length = math.ceil(len(clip) * sample_rate / rate)
    resampled = soxr.resample(clip, rate, sample_rate, quality="HQ")[:length]
    return np.pad(resampled, (0, length - len(resampled)))
