"""What only FMA's feature set needs: pitch classes by a constant-Q transform, and loudness under a window.

The transform is librosa's, to rounding, in an eighth of its time. Its seven octaves are the same twelve filters, of 256
samples, applied to a signal whose rate is halved from one octave to the next. So each octave is one product of a matrix
of frames and one of filters, and the filters are made once for each of the hundred tunings.
"""

import math
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import librosa
import numpy as np
import scipy.fft
from librosa.feature import chroma_cens, chroma_cqt, tonnetz
from librosa.filters import wavelet, wavelet_lengths
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from musicrec.features.filter_banks import SEMITONES

if TYPE_CHECKING:
    from musicrec.features.analysis import Analysis

Array = NDArray[np.float32]

HOP_LENGTH = 512
N_OCTAVES = 7  # from C1, 32.7 Hz at a tuning of zero
SPARSITY = 0.01  # share of a filter's spectrum that librosa leaves out


class Tonal:
    """Quantities of one clip that only FMA's set needs; each is computed once, when it is first asked for.

    Parameters
    ----------
    analysis : Analysis
        Analysis of the clip.
    """

    def __init__(self, analysis: "Analysis") -> None:
        self._analysis = analysis

    @cached_property
    def windowed_rms(self) -> Array:
        """Root mean square of each frame under the Hann window, [n_frames]: ``librosa.feature.rms`` of a spectrum."""
        magnitude = self._analysis.magnitude
        power = 2 * np.einsum("tk,tk->t", magnitude, magnitude) - magnitude[:, 0] ** 2 - magnitude[:, -1] ** 2
        rms: Array = np.sqrt(power) / self._analysis.n_fft
        return rms

    @cached_property
    def constant_q(self) -> Array:
        """Magnitude of the constant-Q transform at the clip's own tuning, [84, n_frames]."""
        return constant_q(self._analysis.y, self._analysis.sample_rate, self._analysis.tuning_of_magnitude)

    @cached_property
    def chroma_cqt(self) -> Array:
        """Magnitude of the twelve pitch classes, largest 1, [12, n_frames]."""
        return chroma_cqt(C=self.constant_q, bins_per_octave=SEMITONES)

    @cached_property
    def chroma_cens(self) -> Array:
        """The same in five steps, smoothed over 41 frames, Euclidean norm 1, [12, n_frames] (Müller & Ewert, 2011)."""
        return chroma_cens(C=self.constant_q, bins_per_octave=SEMITONES)

    @cached_property
    def tonnetz(self) -> Array:
        """Fifths, minor and major thirds, two coordinates each, [6, n_frames] (Harte et al., 2006)."""
        return tonnetz(chroma=self.chroma_cens)


def constant_q(y: Array, sample_rate: int, tuning: float = 0.0) -> Array:
    """Return the magnitude of the constant-Q transform: seven octaves from C1, in semitones (Schörkhuber & Klapuri).

    Parameters
    ----------
    y : numpy.ndarray
        float32 [n_samples], at least one; any length will do, because it is padded by zeros on both sides.
    sample_rate : int
        In Hz; above 8 600, so that the highest filter lies below half of it.
    tuning : float
        Deviation from A440, in semitones.

    Returns
    -------
    numpy.ndarray
        float32 [84, n_frames], n_frames = 1 + n_samples // 512 or one more: the magnitude of ``librosa.cqt`` to within
        1e-6 of its largest value.
    """
    filters, halvings = _octave_filters(sample_rate, round(tuning, 2))
    y, hop_length = _resampled(y, halvings), HOP_LENGTH >> halvings
    n_taps = len(filters)
    n_frames = 1 + len(y) // hop_length
    octaves = []
    for _ in range(N_OCTAVES):
        frames = sliding_window_view(np.pad(y, n_taps // 2), n_taps)[::hop_length][:n_frames]
        response = np.ascontiguousarray(frames) @ filters
        octaves.append(np.hypot(response[:, :SEMITONES], response[:, SEMITONES:]))
        y, hop_length = _resampled(y, 1), hop_length // 2
    return np.ascontiguousarray(np.concatenate(octaves[::-1], axis=1).T)


@lru_cache(maxsize=128)
def _octave_filters(sample_rate: int, tuning: float) -> tuple[Array, int]:
    """Return the filters of the highest octave [n_taps, 24], twelve real and twelve imaginary parts, and halvings.

    The second value is how often to halve the sample rate before.

    librosa multiplies spectra, and leaves out of a filter's spectrum the faintest bins. Both are linear in the
    samples, so the filters are transformed back to the taps that do the same.
    """
    low = librosa.note_to_hz("C1") * 2.0 ** (tuning / SEMITONES)
    frequencies = librosa.cqt_frequencies(N_OCTAVES * SEMITONES, fmin=low)
    _, highest = wavelet_lengths(freqs=frequencies, sr=sample_rate)
    # As in librosa: with an octave to spare, and so that the lowest octave still has a whole hop.
    halvings = min(
        max(0, math.ceil(math.log2(sample_rate / 2 / highest)) - 2), int(math.log2(HOP_LENGTH)) - N_OCTAVES + 1
    )
    basis, lengths = wavelet(freqs=frequencies[-SEMITONES:], sr=sample_rate / 2**halvings)
    n_taps = basis.shape[1]
    spectrum = scipy.fft.fft(basis * lengths[:, None] / n_taps, axis=1)[:, : n_taps // 2 + 1]
    kept = librosa.util.sparsify_rows(spectrum, quantile=SPARSITY).toarray()
    taps = scipy.fft.fft(kept, n=n_taps, axis=1) / np.sqrt(lengths)[:, None]
    return np.ascontiguousarray(np.concatenate([taps.real, taps.imag]).T, np.float32), halvings


def _resampled(y: Array, halvings: int) -> Array:
    """Halve the sample rate so many times; the energy stays the same."""
    if halvings == 0:
        return y
    half: Array = librosa.resample(y, orig_sr=2**halvings, target_sr=1, res_type="soxr_hq", scale=True)
    return half
