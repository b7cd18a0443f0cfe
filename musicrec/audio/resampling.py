"""Resample a signal by soxr, at its quality HQ: at once, or as it comes in blocks."""

import math
from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from musicrec.audio.clip import Samples


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
    return _fitted(soxr.resample(clip, rate, sample_rate, quality="HQ"), _length(len(clip), rate, sample_rate))


def resample_blocks(blocks: Iterable[Samples], rate: int, sample_rate: int) -> Iterator[Samples]:
    """Resample a song that comes in blocks; together they are what :func:`resample` makes of the song."""
    if rate == sample_rate:
        yield from blocks
        return
    resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
    n = n_made = 0
    for block in blocks:
        made = resampler.resample_chunk(block)
        n, n_made = n + len(block), n_made + len(made)
        yield made
    yield _fitted(resampler.resample_chunk(np.zeros(0, np.float32), last=True), _length(n, rate, sample_rate) - n_made)


def _length(n: int, rate: int, sample_rate: int) -> int:
    """Return the length of `n` samples at another rate."""
    return math.ceil(n * sample_rate / rate)


def _fitted(samples: Samples, length: int) -> Samples:
    """Return samples of a length: cut off, or followed by zeros."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))
