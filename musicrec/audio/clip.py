"""Which part of a song is the clip, and how it is put together from blocks; the same for every decoder."""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicrec.audio.limits import Limits

Samples = NDArray[np.float32]

CLIP_SLACK_S = 1.0  # clips cut to 30 s are often some frames longer (GTZAN: 30.013 s), and are used whole
PREROLL_S = 0.5  # an mp3 or AAC frame needs the frames before it: the first ones after a seek are garbled
BLOCK_FRAMES = 65_536


def clip_window(n: float, rate: int, offset_s: float, duration_s: float) -> tuple[int, int]:
    """Return which frames of a recording are the clip.

    Parameters
    ----------
    n : float
        Length of the recording, in frames; infinity if it is longer than what is read.
    rate : int
        Sample rate, in Hz.
    offset_s, duration_s : float
        Start and length of the clip, in seconds.

    Returns
    -------
    start, stop : int
        First frame of the clip, and the first frame after it.

    Examples
    --------
    >>> clip_window(100 * 22_050, 22_050, offset_s=30.0, duration_s=30.0)
    (661500, 1323000)
    >>> clip_window(50 * 22_050, 22_050, offset_s=30.0, duration_s=30.0)  # too short: the last 30 s
    (441000, 1102500)
    """
    offset, duration = round(offset_s * rate), round(duration_s * rate)
    if n <= duration + round(CLIP_SLACK_S * rate):
        return 0, int(n)
    if n >= offset + duration:
        return offset, offset + duration
    return int(n) - duration, int(n)


def settling_length(rate: int, offset_s: float, duration_s: float) -> int:
    """Return after how many frames the rest of a recording no longer changes which part of it is the clip."""
    duration = round(duration_s * rate)
    return duration + max(round(offset_s * rate), round(CLIP_SLACK_S * rate) + 1)


def mix_down(frames: NDArray[Any], out: Samples) -> None:
    """Write the mean of the channels of `frames` [n_frames, n_channels] to `out` [n_frames].

    There is one pass for each channel: numpy's mean over an axis of length two takes almost as long as decoding an mp3.
    """
    out[:] = frames[:, 0]
    for channel in frames.T[1:]:
        out += channel
    if frames.shape[1] > 1:
        out /= frames.shape[1]


def read_through(blocks: Iterator[Samples], rate: int, offset_s: float, duration_s: float, limits: Limits) -> Samples:
    """Return the clip of a song whose length is only known after reading it.

    Parameters
    ----------
    blocks : iterator of numpy.ndarray
        The song from its start: mono float32 [n], each block an array of its own.
    rate : int
        Its sample rate, in Hz.
    offset_s, duration_s : float
        Start and length of the clip, in seconds.
    limits : Limits
        How much is decoded at most.

    Returns
    -------
    numpy.ndarray
        float32 [n_samples], mono.

    Raises
    ------
    DecodeError
        The song is longer than what may be decoded, with reason ``too_large``; or what the blocks raise.
    """
    settled = settling_length(rate, offset_s, duration_s)
    keep = round(duration_s * rate) + round(CLIP_SLACK_S * rate) + 1  # the clip never starts earlier than this
    kept: deque[Samples] = deque()
    first = n = 0  # `kept` holds frames first … n-1
    for block in blocks:
        kept.append(block[: settled - n])
        n += len(kept[-1])
        while n - first - len(kept[0]) >= keep:
            first += len(kept.popleft())
        if n >= settled:
            break
        limits.check_decoded(n, rate)
    start, stop = clip_window(math.inf if n >= settled else n, rate, offset_s, duration_s)
    return np.concatenate([np.zeros(0, np.float32), *kept])[start - first : stop - first]


def skip(blocks: Iterable[Samples], n: int) -> Iterator[Samples]:
    """Yield what follows the first `n` samples."""
    for block in blocks:
        if n < len(block):
            yield block[n:]
        n = max(n - len(block), 0)
