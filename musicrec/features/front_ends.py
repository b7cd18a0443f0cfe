"""What networks that others have trained read: windows of a spectrogram as their own front end computes it, or samples.

``FRONT_ENDS`` has them by name:

- ``musicnn``: 16 kHz, frames of 512 samples every 256, 96 mel bands of power p, log10(1 + 10 000 p) (J. Pons and
  X. Serra, "musicnn", 2019);
- ``vggish`` and ``yamnet``: 16 kHz, frames of 25 ms every 10 ms, 64 mel bands of magnitude m from 125 to 7 500 Hz, the
  logarithm of m + 0.01 and of m + 0.001 (S. Hershey et al., ICASSP 2017);
- ``clap``: 48 kHz, frames of 1 024 samples every 480, 64 mel bands of power from 50 to 14 000 Hz, in dB (Y. Wu et al.,
  ICASSP 2023);
- ``wave``: the samples, at any rate.
"""

import math
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import DTypeLike, NDArray

from musicrec.features import filter_banks, fourier, kernels
from musicrec.simd.lanes import LANES
from musicrec.simd.memory import empty

Array = NDArray[np.float32]
Short = Literal["pad", "repeat", "refuse"]

PER_DECADE = np.float32(1 / math.log(10))  # log10 of NumPy takes three times as long as its natural logarithm
WINDOWS_AT_ONCE = 16  # so that memory does not grow with the clip
FLOOR = np.float32(1e-10)  # power below it counts as this much


class FrontEnd(NamedTuple):
    """How the input of a network is computed.

    Parameters
    ----------
    sample_rate : int or None
        Sample rate that it is defined for, in Hz; None for any.
    hop_length : int
        Samples between frames; 1 where a frame is a sample.
    frame_length : int
        Samples that the first frame needs; 0 where frames are centred, so that the first one needs none.
    n_bands : int
        Numbers in a frame; 0 where a frame is a sample.
    by_window : bool
        Whether each window is computed from its own samples. Else windows are cut from the spectrogram of the clip.
    transform : callable
        Takes the samples, float32 [n_samples], and returns the frames, float32 [n_frames, n_bands] or [n_frames].
    """

    sample_rate: int | None
    hop_length: int
    frame_length: int
    n_bands: int
    by_window: bool
    transform: Callable[[Array], Array]

    def n_frames(self, n_samples: int) -> int:
        """Return how many frames a clip of some samples has."""
        if not self.n_bands:
            return n_samples
        return 1 + (n_samples - self.frame_length) // self.hop_length if n_samples >= self.frame_length else 0

    def n_samples(self, n_frames: int) -> int:
        """Return how many samples a clip of some frames needs at least."""
        return self.frame_length + (n_frames - 1) * self.hop_length if self.n_bands else n_frames

    def window_shape(self, window_s: float, sample_rate: int) -> tuple[int, ...]:
        """Return the shape of a window: [n_frames, n_bands], or [n_samples]."""
        n_samples = round(window_s * sample_rate)
        n_frames = self.n_frames(n_samples) if self.by_window else round(n_samples / self.hop_length)
        return (n_frames, self.n_bands) if self.n_bands else (n_frames,)


def windows(
    y: Array, front_end: FrontEnd, sample_rate: int, *, window_s: float, hop_s: float, short: Short = "repeat"
) -> Iterator[Array]:
    """Yield the whole windows of a clip, as a network reads them, some at a time.

    Parameters
    ----------
    y : numpy.ndarray
        float32 [n_samples], mono, finite, at least one sample.
    front_end : FrontEnd
        How frames are computed.
    sample_rate : int
        Sample rate of the clip, in Hz.
    window_s, hop_s : float
        Length of a window, and seconds from the start of one to that of the next; to the nearest frame.
    short : {"pad", "repeat", "refuse"}
        What a clip shorter than a window gets: zeros at its end, itself again and again, or no window.

    Yields
    ------
    numpy.ndarray
        float32 [at most ``WINDOWS_AT_ONCE``, n_frames, n_bands], or [at most ``WINDOWS_AT_ONCE``, n_samples].

    Examples
    --------
    >>> import numpy as np
    >>> from musicrec.features.front_ends import FRONT_ENDS, windows
    >>> clip = np.sin(np.arange(10 * 16_000) / 8).astype(np.float32)
    >>> [part.shape for part in windows(clip, FRONT_ENDS["musicnn"], 16_000, window_s=2.992, hop_s=2.992)]
    [(3, 187, 96)]
    """
    y = np.ascontiguousarray(y, np.float32)
    length, *_ = front_end.window_shape(window_s, sample_rate)
    least = round(window_s * sample_rate) if front_end.by_window else front_end.n_samples(length)
    if len(y) < least:
        if short == "refuse":
            return
        y = np.resize(y, least) if short == "repeat" else np.pad(y, (0, least - len(y)))
    if front_end.by_window:
        for part in _parts(_cut(y, least, round(hop_s * sample_rate))):
            yield np.stack([front_end.transform(window) for window in part])
    else:
        hop = round(hop_s * sample_rate / front_end.hop_length)
        yield from _parts(_cut(front_end.transform(y), length, hop).swapaxes(1, 2))


def _cut(frames: Array, length: int, hop: int) -> Array:
    """Return a view of the windows of some frames, with the axis of time last."""
    return sliding_window_view(frames, length, axis=0)[:: max(1, hop)]


def _parts(views: Array) -> Iterator[Array]:
    """Yield the windows, some at a time."""
    for i in range(0, len(views), WINDOWS_AT_ONCE):
        yield np.ascontiguousarray(views[i : i + WINDOWS_AT_ONCE])


def _magnitude(y: Array, n_frames: int, hop_length: int, window: NDArray[np.float64], dtype: DTypeLike) -> Array:
    """Return the absolute value of the transform of the frames that begin at sample 0, hop_length, …, in lanes."""
    n_fft, n_blocks = len(window), -(-n_frames // LANES)
    padded = empty(max(len(y), (n_blocks * LANES - 1) * hop_length + n_fft))
    padded[: len(y)], padded[len(y) :] = y, 0
    spectrum = empty(n_blocks, n_fft // 2 + 1, LANES)
    kernels.magnitude(padded, hop_length, fourier.plan(window, dtype), spectrum)
    return spectrum


def _bands(
    spectrum: Array, n_frames: int, bank: tuple[NDArray[np.int64], NDArray[np.int64], Array], *, squared: bool
) -> Array:
    """Return weighted sums over the bins of each filter, [n_frames, n_bands]."""
    bands = empty(len(bank[0]), len(spectrum) * LANES)
    kernels.filter_bank(spectrum, squared, *bank, bands)
    return np.ascontiguousarray(bands.T[:n_frames])


def _musicnn(y: Array) -> Array:
    """Transform in float32, as its floor is high. Beside a pure tone, the others would show the rounding."""
    n_frames = FRONT_ENDS["musicnn"].n_frames(len(y))
    spectrum = _magnitude(np.pad(y, 256), n_frames, 256, fourier.hann(512), np.float32)
    power = _bands(spectrum, n_frames, filter_banks.mel(16_000, 512, 96), squared=True)
    power *= 10_000
    power += 1
    return np.multiply(np.log(power, out=power), PER_DECADE, out=power)


def _of_audioset(y: Array, offset: float) -> Array:
    n_frames = FRONT_ENDS["vggish"].n_frames(len(y))
    window = np.pad(fourier.hann(400), (0, 112))
    spectrum = _magnitude(y, n_frames, 160, window, np.float64)
    level = _bands(spectrum, n_frames, filter_banks.htk_mel(16_000, 512, 64, 125.0, 7_500.0), squared=False)
    level += np.float32(offset)
    return np.log(level, out=level)


def _clap(y: Array) -> Array:
    n_frames = FRONT_ENDS["clap"].n_frames(len(y))
    spectrum = _magnitude(np.pad(y, 512, mode="reflect"), n_frames, 480, fourier.hann(1024), np.float64)
    power = _bands(spectrum, n_frames, filter_banks.mel(48_000, 1024, 64, 50.0, 14_000.0), squared=True)
    level = np.log(np.maximum(power, FLOOR, out=power), out=power)
    return np.multiply(level, 10 * PER_DECADE, out=level)


FRONT_ENDS: dict[str, FrontEnd] = {
    "musicnn": FrontEnd(16_000, 256, 0, 96, False, _musicnn),
    "vggish": FrontEnd(16_000, 160, 400, 64, False, lambda y: _of_audioset(y, 0.01)),
    "yamnet": FrontEnd(16_000, 160, 400, 64, False, lambda y: _of_audioset(y, 0.001)),
    "clap": FrontEnd(48_000, 480, 0, 64, True, _clap),
    "wave": FrontEnd(None, 1, 0, 0, True, lambda y: y),
}
