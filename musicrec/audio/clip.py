"""Which stretch of a song the clip is, and how it is put together from blocks; the same for every decoder."""

import math
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicrec.audio.limits import Limits
from musicrec.errors import DecodeError
from musicrec.schemas import Reason

Samples = NDArray[np.float32]

CLIP_SLACK_S = 1.0  # clips cut to 30 s are often some frames longer (GTZAN: 30.013 s); all of such a clip is used
PREROLL_S = 0.5  # an mp3 or AAC frame needs those before it: the first samples after a seek are garbled
BLOCK_FRAMES = 65_536


def clip_window(n: float, rate: int, offset_s: float, duration_s: float) -> tuple[int, int]:
    """Return first and last-plus-one frame of the clip in a recording of `n` frames (infinite: longer than we read)."""
    offset, duration = round(offset_s * rate), round(duration_s * rate)
    if n <= duration + round(CLIP_SLACK_S * rate):
        return 0, int(n)
    if n >= offset + duration:
        return offset, offset + duration
    return int(n) - duration, int(n)


def settling_length(rate: int, offset_s: float, duration_s: float) -> int:
    """Return the number of frames after which the rest of a recording no longer decides where the clip lies."""
    duration = round(duration_s * rate)
    return duration + max(round(offset_s * rate), round(CLIP_SLACK_S * rate) + 1)


def mix_down(frames: NDArray[Any], out: Samples) -> None:
    """Write the mean of the channels of `frames` [n_frames, n_channels] to `out` [n_frames].

    This takes one pass for each channel: numpy's mean over an axis of length two takes almost as long as decoding mp3.
    """
    out[:] = frames[:, 0]
    for channel in frames.T[1:]:
        out += channel
    if frames.shape[1] > 1:
        out /= frames.shape[1]


def read_through(blocks: Iterator[Samples], rate: int, offset_s: float, duration_s: float, limits: Limits) -> Samples:
    """Return the clip of a song whose length is only known once it has been read.

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

    Raises
    ------
    DecodeError
        With reason ``too_large``, or what the blocks raise.
    """
    settled, most = settling_length(rate, offset_s, duration_s), round(limits.max_decoded_s * rate)
    keep = round(duration_s * rate) + round(CLIP_SLACK_S * rate) + 1  # the clip never starts further back than this
    kept: deque[Samples] = deque()
    first = n = 0  # frames that `kept` starts after, and that it ends at
    for block in blocks:
        kept.append(block[: settled - n])
        n += len(kept[-1])
        while n - first - len(kept[0]) >= keep:
            first += len(kept.popleft())
        if n >= settled:
            break
        if n > most:
            raise DecodeError(Reason.TOO_LARGE, f"no end after {limits.max_decoded_s:g} s, the most that is decoded")
    start, stop = clip_window(math.inf if n >= settled else n, rate, offset_s, duration_s)
    return np.concatenate([np.zeros(0, np.float32), *kept])[start - first : stop - first]
