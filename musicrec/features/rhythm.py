"""Onsets and tempo from a mel-spectrogram, with the values of librosa's ``onset_strength`` and ``feature.tempo``."""

import numpy as np
from librosa.core.convert import tempo_frequencies
from numpy.typing import NDArray
from scipy.fft import irfft

from musicrec.features import fourier, kernels
from musicrec.simd.lanes import LANES

Array = NDArray[np.float32]

TEMPO_WINDOW_S = 8.0
EXPECTED_BPM, SPREAD_OCTAVES, FASTEST_BPM = 120.0, 1.0, 320.0
CORRELATION_GAIN = 1e6  # applied before the logarithm, to which the expectation is added


def onset_strength(decibels: Array, n_fft: int, hop_length: int) -> Array:
    """Return the mean rise of the mel bands from frame to frame, in dB, float32 [n_frames].

    Parameters
    ----------
    decibels : numpy.ndarray
        float32 [n_mels, n_frames].
    n_fft, hop_length : int
        Samples of a frame, and between frames. An onset is placed at the middle of the frame that begins with it.
    """
    n_frames = decibels.shape[1]
    rise = np.maximum(np.diff(decibels, axis=1), 0).mean(axis=0)
    late = 1 + n_fft // (2 * hop_length)
    return np.pad(rise, (late, 0))[:n_frames].astype(np.float32, copy=False)


def tempo(onset_strength: Array, sample_rate: int, hop_length: int) -> float:
    """Return the tempo, in beats per minute: the lag at which the onset strength repeats best, near what is usual.

    Parameters
    ----------
    onset_strength : numpy.ndarray
        [n_frames].
    sample_rate, hop_length : int
        In Hz; samples between frames.
    """
    window = int(TEMPO_WINDOW_S * sample_rate / hop_length)
    bpm = tempo_frequencies(window, hop_length=hop_length, sr=sample_rate)
    expectation = -0.5 * (np.log2(bpm / EXPECTED_BPM) / SPREAD_OCTAVES) ** 2
    expectation[bpm >= FASTEST_BPM] = -np.inf
    correlation = mean_tempogram(onset_strength, window)
    return float(bpm[np.argmax(np.log1p(CORRELATION_GAIN * correlation) + expectation)])


def mean_tempogram(onset_strength: Array, window: int) -> NDArray[np.float64]:
    """Return the local autocorrelation of the onset strength, largest value 1, averaged over all frames.

    Parameters
    ----------
    onset_strength : numpy.ndarray
        [n_frames].
    window : int
        Frames of a Hann-weighted stretch, and number of lags.

    Returns
    -------
    numpy.ndarray
        float64 [window]: the mean over time of ``librosa.feature.tempogram``. Only one inverse transform is needed,
        because an autocorrelation is largest at lag zero, where it is the sum of squares.
    """
    n_frames = len(onset_strength)
    n_fft = 1 << (2 * window - 1).bit_length()  # so long that no lag wraps around
    envelope = np.pad(onset_strength, window // 2, mode="linear_ramp", end_values=0)
    plan = fourier.plan(np.pad(fourier.hann(window), (0, n_fft - window)), np.float32)
    power = kernels.autocorrelation_spectrum(np.pad(envelope, (0, n_fft + LANES)), n_frames, window, plan)
    autocorrelation: NDArray[np.float64] = irfft(power.sum(axis=1, dtype=np.float64))[:window] / n_frames
    return autocorrelation
