"""Random augmentation of one example: arrays and a generator in, an array out."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

MASKS = 2  # stripes of frames, and as many of bands
WIDEST = 0.15  # width of the widest stripe, as a share of the frames or bands


def spec_augment(x: Array, rng: np.random.Generator) -> Array:
    """Return a spectrogram [n_frames, n_mels] with stripes of frames and bands at its mean (Park et al., 2019)."""
    masked = x.copy()
    level = x.mean()
    for axis in (0, 1):
        for _ in range(MASKS):
            width = int(rng.integers(int(WIDEST * x.shape[axis]) + 1))
            start = int(rng.integers(x.shape[axis] - width + 1))
            masked[(slice(None),) * axis + (slice(start, start + width),)] = level
    return masked


def mixup(x: Array, other: Array, share: float) -> Array:
    """Return the weighted mean of two examples; the first has the weight `share` (Zhang et al., ICLR 2018)."""
    return np.float32(share) * x + np.float32(1 - share) * other


def cutmix(x: Array, other: Array, share: float, rng: np.random.Generator) -> Array:
    """Replace a stretch of an example's first axis by another's; `share` of it stays (Yun et al., ICCV 2019)."""
    length = round((1 - share) * len(x))
    start = int(rng.integers(len(x) - length + 1))
    mixed = x.copy()
    mixed[start : start + length] = other[start : start + length]
    return mixed
