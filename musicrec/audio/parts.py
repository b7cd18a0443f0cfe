"""The clip of a song that consists of parts: each has a sample rate and channels of its own, and is decoded by itself.

A change midway does not end a song: what follows is resampled to the rate of the first part and mixed to mono.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import chain
from typing import NamedTuple

import numpy as np
import soxr

from musicrec.audio.clip import Samples, clip_window, settling_length
from musicrec.audio.limits import Limits
from musicrec.errors import DecodeError
from musicrec.schemas import Reason

BLOCK_S = 30.0
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
    known: list[tuple[int, int, Part]] = []
    rate, is_settled = 0, False
    for start, stop, part in _timeline(parts, limits):
        known.append((start, stop, part))
        rate = known[0][2].rate
        is_settled = stop >= settling_length(rate, offset_s, duration_s)
        if is_settled:
            break
    first, last = clip_window(math.inf if is_settled else known[-1][1], rate, offset_s, duration_s) if known else (0, 0)
    pieces = [
        _piece(part, max(first - start, 0), min(last, stop) - start, rate)
        for start, stop, part in known
        if start < last and stop > first
    ]
    return np.concatenate([np.zeros(0, np.float32), *pieces]), rate


def blocks_of_parts(parts: Iterable[Part], limits: Limits) -> tuple[Iterator[Samples], int]:
    """Return a song that consists of parts, mono float32, a block at a time, and its rate, that of the first part."""
    timeline = _timeline(parts, limits)
    first = next(timeline)
    return _blocks(chain([first], timeline), first[2].rate), first[2].rate


def _blocks(timeline: Iterable[tuple[int, int, Part]], rate: int) -> Iterator[Samples]:
    for start, stop, part in timeline:
        for at in range(0, stop - start, round(BLOCK_S * rate)):
            yield _piece(part, at, min(at + round(BLOCK_S * rate), stop - start), rate)


def _timeline(parts: Iterable[Part], limits: Limits) -> Iterator[tuple[int, int, Part]]:
    """Yield for each part its first frame and the one after its last, at the rate of the first part."""
    rate, seconds = 0, Fraction(0)
    for part in parts:
        limits.check_format(part.rate, part.n_channels)
        rate = rate or part.rate
        start = round(seconds * rate)
        seconds += Fraction(part.length, part.rate)
        yield start, round(seconds * rate), part


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
