"""The inputs of pretrained networks: windows of a spectrogram as their own front end computes it, or of samples.

``FRONT_ENDS`` has them by name:

- ``musicnn``: 16 kHz, frames of 512 samples every 256, 96 mel bands of power p, log10(1 + 10 000 p) (J. Pons and
  X. Serra, "musicnn", 2019);
- ``vggish`` and ``yamnet``: 16 kHz, frames of 25 ms every 10 ms, 64 mel bands of magnitude m from 125 to 7 500 Hz, the
  logarithm of m + 0.01 and of m + 0.001 (S. Hershey et al., ICASSP 2017);
- ``clap``: 48 kHz, frames of 1 024 samples every 480, 64 mel bands of power from 50 to 14 000 Hz, in dB (Y. Wu et al.,
  ICASSP 2023);
- ``wave``: the samples, at any rate.

A clip comes in blocks of any length, so that a long one need not fit in memory.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Short = Literal["pad", "repeat", "refuse"]

WINDOWS_AT_ONCE = 4  # so that memory does not grow with the clip: a network may need 50 MB for each
FRAMES_AT_ONCE = 512  # a whole number of lanes, so that each frame is computed as in one go


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
        Samples that a frame is computed from.
    padding : int
        Samples that are put before the first one and after the last: zeros or, where `by_window`, a reflection.
    n_bands : int
        Numbers in a frame; 0 where a frame is a sample.
    by_window : bool
        Whether each window is computed from its own samples. Else windows are cut from the spectrogram of the clip.
    """

    name: str
    sample_rate: int | None
    hop_length: int
    frame_length: int
    padding: int
    n_bands: int
    by_window: bool

    def transform(self, y: Array) -> Array:
        """Return the frames of some samples, float32 [n_frames, n_bands], or the samples themselves."""
        if not self.n_bands:
            return y
        return self._frames(np.pad(y, self.padding, mode="reflect" if self.by_window else "constant"))

    def _frames(self, padded: Array) -> Array:
        from musicrec.features import log_mel

        frames: Array = getattr(log_mel, self.name)(padded, _n_whole(len(padded), self.frame_length, self.hop_length))
        return frames

    def frames(self, blocks: Iterable[Array]) -> Iterator[Array]:
        """Yield the frames of a clip that comes in blocks, some at a time; not for a front end that is `by_window`."""
        silence = np.zeros(self.padding, np.float32)
        length = self.frame_length + (FRAMES_AT_ONCE - 1) * self.hop_length
        for padded in _stretches(chain([silence], blocks, [silence]), length, FRAMES_AT_ONCE * self.hop_length):
            if len(padded) >= self.frame_length:
                yield self._frames(padded)

    def n_frames(self, n_samples: int) -> int:
        """Return how many frames a clip of some samples has."""
        return _n_whole(n_samples + 2 * self.padding, self.frame_length, self.hop_length)

    def n_samples(self, n_frames: int) -> int:
        """Return how many samples a clip of some frames needs at least."""
        return self.frame_length + (n_frames - 1) * self.hop_length - 2 * self.padding

    def window_shape(self, window_s: float, sample_rate: int) -> tuple[int, ...]:
        """Return the shape of a window: [n_frames, n_bands], or [n_samples]."""
        n_samples = round(window_s * sample_rate)
        n_frames = self.n_frames(n_samples) if self.by_window else round(n_samples / self.hop_length)
        return (n_frames, self.n_bands) if self.n_bands else (n_frames,)


def windows(
    blocks: Iterable[Array],
    front_end: FrontEnd,
    sample_rate: int,
    *,
    window_s: float,
    hop_s: float,
    short: Short = "repeat",
) -> Iterator[Array]:
    """Yield the whole windows of a clip, as a network reads them, some at a time.

    Parameters
    ----------
    blocks : iterable of numpy.ndarray
        The clip, in as many pieces as it comes: float32 [n_samples], mono, finite, at least one sample in all.
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
    >>> [part.shape for part in windows([clip], FRONT_ENDS["musicnn"], 16_000, window_s=2.992, hop_s=2.992)]
    [(3, 187, 96)]
    """
    n_samples = round(window_s * sample_rate)
    length, *_ = front_end.window_shape(window_s, sample_rate)
    if front_end.by_window:
        for part in _cut(_at_least(n_samples, blocks, short), n_samples, round(hop_s * sample_rate)):
            yield np.stack([front_end.transform(window) for window in part])
    else:
        frames = front_end.frames(_at_least(front_end.n_samples(length), blocks, short))
        yield from _cut(frames, length, round(hop_s * sample_rate / front_end.hop_length))


def _at_least(n: int, blocks: Iterable[Array], short: Short) -> Iterator[Array]:
    """Yield the blocks of a clip; one that has fewer than `n` samples is made longer, or left out."""
    blocks, start, found = iter(blocks), list[Array](), 0
    while found < n and (block := next(blocks, None)) is not None:
        start.append(block)
        found += len(block)
    if found >= n:
        yield from chain(start, blocks)
    elif short != "refuse":
        y = np.concatenate(start)
        yield np.resize(y, n) if short == "repeat" else np.pad(y, (0, n - found))


def _cut(blocks: Iterable[Array], length: int, hop: int) -> Iterator[Array]:
    """Yield the windows of frames that come in blocks, some at a time: [at most WINDOWS_AT_ONCE, length, …]."""
    hop = max(1, hop)
    for stretch in _stretches(blocks, length + (WINDOWS_AT_ONCE - 1) * hop, WINDOWS_AT_ONCE * hop):
        starts = range(0, len(stretch) - length + 1, hop)
        if starts:
            yield np.stack([stretch[i : i + length] for i in starts])


def _stretches(blocks: Iterable[Array], length: int, step: int) -> Iterator[Array]:
    """Yield the stretches of `length` items that start at item 0, `step`, …; the last one is shorter."""
    held, n = list[Array](), 0  # the last `n` items of `held` are not used up; below 0 so many are to come and go
    for block in blocks:
        held.append(block)
        n += len(block)
        if n >= length:
            items = np.concatenate(held)[-n:]
            n_stretches = _n_whole(n, length, step)
            yield from (items[i * step : i * step + length] for i in range(n_stretches))
            held, n = [items[n_stretches * step :]], n - n_stretches * step
    if n > 0:
        yield np.concatenate(held)[-n:]


def _n_whole(n: int, length: int, step: int) -> int:
    """Return how many stretches of `length` items, each `step` after the one before, are whole among `n` items."""
    return 1 + (n - length) // step if n >= length else 0


FRONT_ENDS: dict[str, FrontEnd] = {
    front_end.name: front_end
    for front_end in (
        FrontEnd("musicnn", 16_000, 256, 512, 256, 96, False),
        FrontEnd("vggish", 16_000, 160, 400, 0, 64, False),
        FrontEnd("yamnet", 16_000, 160, 400, 0, 64, False),
        FrontEnd("clap", 48_000, 480, 1024, 512, 64, True),
        FrontEnd("wave", None, 1, 1, 0, 0, True),
    )
}
