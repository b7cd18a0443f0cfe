"""The inputs of pretrained networks: windows of a spectrogram as their own front end computes it, or of samples.

``FRONT_ENDS`` has them by name:

- ``musicnn``: 16 kHz, frames of 512 samples every 256, 96 mel bands of power p, log10(1 + 10 000 p) (J. Pons and
  X. Serra, "musicnn", 2019);
- ``vggish`` and ``yamnet``: 16 kHz, frames of 25 ms every 10 ms, 64 mel bands of magnitude m from 125 to 7 500 Hz, the
  logarithm of m + 0.01 and of m + 0.001 (S. Hershey et al., ICASSP 2017);
- ``clap``: 48 kHz, frames of 1 024 samples every 480, 64 mel bands of power from 50 to 14 000 Hz, in dB (Y. Wu et al.,
  ICASSP 2023);
- ``wave``: the samples, at any rate.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float32]
Short = Literal["pad", "repeat", "refuse"]

WINDOWS_AT_ONCE = 4  # so that memory does not grow with the clip: a network may need 50 MB for each


class FrontEnd(NamedTuple):
    """How the input of a network is computed.

    Parameters
    ----------
    name : str
        Its function in :mod:`musicrec.features.log_mel`; ``wave`` needs none.
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
    """

    name: str
    sample_rate: int | None
    hop_length: int
    frame_length: int
    n_bands: int
    by_window: bool

    def transform(self, y: Array) -> Array:
        """Return the frames of some samples, float32 [n_frames, n_bands], or the samples themselves."""
        if not self.n_bands:
            return y
        from musicrec.features import log_mel

        frames: Array = getattr(log_mel, self.name)(y, self.n_frames(len(y)))
        return frames

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


FRONT_ENDS: dict[str, FrontEnd] = {
    front_end.name: front_end
    for front_end in (
        FrontEnd("musicnn", 16_000, 256, 0, 96, False),
        FrontEnd("vggish", 16_000, 160, 400, 64, False),
        FrontEnd("yamnet", 16_000, 160, 400, 64, False),
        FrontEnd("clap", 48_000, 480, 0, 64, True),
        FrontEnd("wave", None, 1, 0, 0, True),
    )
}
