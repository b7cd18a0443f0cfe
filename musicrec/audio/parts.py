"""The clip of a song that consists of parts: each has a sample rate and channels of its own, and is decoded by itself.

A change midway does not end a song: what follows is resampled to the rate of the first part and mixed to mono.
"""

import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import soxr

from musicrec.audio.clip import Samples, clip_window, settling_length
from musicrec.audio.limits import Limits
from musicrec.errors import DecodeError
from musicrec.schemas import Reason

MARGIN_S = 0.05  # what the filter of the resampler sees before and after a sample, with room to spare


class Part(NamedTuple):
    """A part of a song.

    Attributes
    ----------
    length : int
        Frames of it.
    rate : int
        Its sample rate, in Hz.
    n_channels : int
        Its channels.
    read : callable
        Given `start` and `stop`, decodes these frames: float32 [stop - start], mono.
    """

    length: int
    rate: int
    n_channels: int
    read: Callable[[int, int], Samples]


def clip_of_parts(parts: Iterable[Part], offset_s: float, duration_s: float, limits: Limits) -> tuple[Samples, int]:
    """Return the clip of a song that consists of parts, and its rate, that of the first part.

    Parameters
    ----------
    parts : iterable of Part
        The song. No more are asked for than it takes to know which of it is the clip.
    offset_s, duration_s : float
        Start and length of the clip, in seconds; see :func:`musicrec.audio.load`.
    limits : Limits
        Sample rates and channels that are read.

    Returns
    -------
    clip : numpy.ndarray
        float32 [n_samples], mono.
    rate : int
        In Hz.

    Raises
    ------
    DecodeError
        A part is beyond the limits, with reason ``unsupported``; or gives less than it says, with reason ``corrupt``.
    """
    known: list[tuple[int, int, Part]] = []  # first frame and the one after the last, at the rate of the first part
    rate, seconds, is_settled = 0, Fraction(0), False
    for part in parts:
        limits.check_format(part.rate, part.n_channels)
        rate = rate or part.rate
        first = round(seconds * rate)
        seconds += Fraction(part.length, part.rate)
        known.append((first, round(seconds * rate), part))
        is_settled = known[-1][1] >= settling_length(rate, offset_s, duration_s)
        if is_settled:
            break
    if not known:
        return np.zeros(0, np.float32), rate
    start, stop = clip_window(math.inf if is_settled else known[-1][1], rate, offset_s, duration_s)
    pieces = [_piece(part, max(start - a, 0), min(stop, b) - a, rate) for a, b, part in known if a < stop and b > start]
    return np.concatenate([np.zeros(0, np.float32), *pieces]), rate


def _piece(part: Part, start: int, stop: int, rate: int) -> Samples:
    """Return samples `start` … `stop` - 1 of a part, counted at `rate`."""
    if part.rate == rate:
        return _exactly(part, start, stop)
    step = part.rate // math.gcd(part.rate, rate)  # frames of the part that are whole samples of the result
    margin = round(MARGIN_S * part.rate)
    first = max(start * part.rate // rate - margin, 0) // step * step
    last = min(-(-stop * part.rate // rate) + margin, part.length)
    resampled = soxr.resample(_exactly(part, first, last), part.rate, rate, quality="HQ")
    begin = start - first * rate // part.rate
    piece = resampled[begin : begin + stop - start]
    return np.pad(piece, (0, stop - start - len(piece)))  # one sample at most, by rounding


def _exactly(part: Part, start: int, stop: int) -> Samples:
    samples = part.read(start, stop)
    if len(samples) < stop - start:
        raise DecodeError(Reason.CORRUPT, f"{len(samples)} of {stop - start} samples could be decoded")
    return samples
