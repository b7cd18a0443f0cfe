"""The shared intermediate results of one clip: one STFT, and everything that is computed from it.

Every quantity has the value that librosa 0.11 gives for the same samples with its default parameters
(n_fft 2048, hop 512, Hann window, centred frames).
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import librosa
import numpy as np
from librosa.onset import onset_strength
from numpy.typing import NDArray

from musicrec.features.median import running_median

Array = NDArray[np.float32]

N_FFT = 2048
HOP_LENGTH = 512
N_MELS = 128
HPSS_WINDOW = 31  # frames, and frequencies


def mel(y: Array, sample_rate: int, *, n_mels: int = N_MELS, n_fft: int = N_FFT, hop_length: int = HOP_LENGTH) -> Array:
    """Mel-spectrogram in dB below the clip's loudest cell.

    Parameters
    ----------
    y : numpy.ndarray
        float32 [n_samples], mono.
    sample_rate : int
        In Hz.
    n_mels, n_fft, hop_length : int
        Mel bands, samples of a frame, samples between frames.

    Returns
    -------
    numpy.ndarray
        float32 [n_mels, n_frames] in [-80, 0], n_frames = 1 + n_samples // hop_length.
    """
    return Analysis(y, sample_rate, n_fft=n_fft, hop_length=hop_length).mel(n_mels)


class Analysis:
    """One clip's quantities, each computed once, when it is first asked for.

    Parameters
    ----------
    y : numpy.ndarray
        float32 [n_samples], mono, finite.
    sample_rate : int
        In Hz.
    n_fft, hop_length : int
        Samples of a frame, samples between frames. The feature sets are defined at the default values.
    """

    def __init__(self, y: Array, sample_rate: int, *, n_fft: int = N_FFT, hop_length: int = HOP_LENGTH) -> None:
        self.y = y
        self.sample_rate = sample_rate
        self.n_fft = n_fft
        self.hop_length = hop_length

    @cached_property
    def stft(self) -> NDArray[np.complex64]:
        """Complex spectrum [n_fft // 2 + 1, n_frames]."""
        with _short_clips_are_fine():
            return librosa.stft(self.y, n_fft=self.n_fft, hop_length=self.hop_length)

    @cached_property
    def magnitude(self) -> Array:
        """Absolute value of the spectrum."""
        return np.abs(self.stft)

    @cached_property
    def power(self) -> Array:
        """Square of the magnitude."""
        return self.magnitude**2

    # --- loudness and time domain -------------------------------------------------------------------------------

    @cached_property
    def rms(self) -> Array:
        """Root mean square of each frame, [1, n_frames]."""
        return librosa.feature.rms(y=self.y, frame_length=self.n_fft, hop_length=self.hop_length)

    @cached_property
    def zero_crossing_rate(self) -> Array:
        """Share of samples at which the sign changes, [1, n_frames]."""
        return librosa.feature.zero_crossing_rate(self.y, frame_length=self.n_fft, hop_length=self.hop_length)

    # --- shape of the spectrum ----------------------------------------------------------------------------------

    @cached_property
    def spectral_centroid(self) -> Array:
        """Mean frequency, in Hz, [1, n_frames]."""
        return librosa.feature.spectral_centroid(S=self.magnitude, sr=self.sample_rate)

    @cached_property
    def spectral_bandwidth(self) -> Array:
        """Standard deviation of the frequency, in Hz, [1, n_frames]."""
        return librosa.feature.spectral_bandwidth(
            S=self.magnitude, sr=self.sample_rate, centroid=self.spectral_centroid
        )

    @cached_property
    def spectral_rolloff(self) -> Array:
        """Frequency below which 85 % of the magnitude lies, in Hz, [1, n_frames]."""
        return librosa.feature.spectral_rolloff(S=self.magnitude, sr=self.sample_rate)

    @cached_property
    def spectral_contrast(self) -> Array:
        """Peak minus valley of seven octave bands, in dB, [7, n_frames] (Jiang et al., ICME 2002)."""
        return librosa.feature.spectral_contrast(S=self.magnitude, sr=self.sample_rate)

    @cached_property
    def spectral_flatness(self) -> Array:
        """Geometric over arithmetic mean of the power, in [0, 1], [1, n_frames]."""
        return librosa.feature.spectral_flatness(S=self.magnitude)

    @cached_property
    def chroma(self) -> Array:
        """Energy of the twelve pitch classes at the clip's own tuning, largest 1, [12, n_frames]."""
        return librosa.feature.chroma_stft(S=self.power, sr=self.sample_rate)

    # --- mel scale ----------------------------------------------------------------------------------------------

    def mel(self, n_mels: int) -> Array:
        """Mel-spectrogram in dB below its loudest cell, [n_mels, n_frames] in [-80, 0]."""
        power = librosa.feature.melspectrogram(S=self.power, sr=self.sample_rate, n_mels=n_mels)
        return librosa.power_to_db(power, ref=np.max)

    @cached_property
    def mel_decibels(self) -> Array:
        """Power of 128 mel bands, in dB re 1, [128, n_frames]."""
        return librosa.power_to_db(librosa.feature.melspectrogram(S=self.power, sr=self.sample_rate, n_mels=N_MELS))

    @cached_property
    def mel_decibels_20(self) -> Array:
        """Power of 20 mel bands, in dB re 1, [20, n_frames]."""
        return librosa.power_to_db(librosa.feature.melspectrogram(S=self.power, sr=self.sample_rate, n_mels=20))

    @cached_property
    def mfcc(self) -> Array:
        """Twenty mel-frequency cepstral coefficients, [20, n_frames]."""
        return librosa.feature.mfcc(S=self.mel_decibels, sr=self.sample_rate, n_mfcc=20)

    # --- rhythm -------------------------------------------------------------------------------------------------

    @cached_property
    def onset_strength(self) -> Array:
        """Spectral flux of the mel-spectrogram, in dB a frame, [n_frames]."""
        return onset_strength(S=self.mel_decibels, sr=self.sample_rate)

    @cached_property
    def tempo(self) -> Array:
        """Tempo, in beats a minute, [1]."""
        with _short_clips_are_fine():
            return librosa.feature.tempo(onset_envelope=self.onset_strength, sr=self.sample_rate)

    # --- harmonic and percussive parts (Fitzgerald, DAFx 2010) --------------------------------------------------

    @cached_property
    def harmonic(self) -> Array:
        """Harmonic part of the samples, [n_samples]."""
        steady = running_median(np.ascontiguousarray(self.magnitude.T), HPSS_WINDOW).T  # over frames
        broad = running_median(np.ascontiguousarray(self.magnitude), HPSS_WINDOW)  # over frequencies
        mask = _soft_mask(steady, broad)
        return librosa.istft(self.stft * mask, hop_length=self.hop_length, n_fft=self.n_fft, length=len(self.y))

    @cached_property
    def percussive(self) -> Array:
        """Percussive part of the samples, [n_samples]: the soft masks of the two parts add up to one."""
        return self.y - self.harmonic


def _soft_mask(x: Array, other: Array) -> Array:
    """x² / (x² + other²); one half where both are zero."""
    x, other = x**2, other**2
    total = x + other
    return np.divide(x, total, out=np.full_like(total, 0.5), where=total > 0)


@contextmanager
def _short_clips_are_fine() -> Iterator[None]:
    """Silence librosa's remark that a clip is shorter than a frame: it is padded, as wanted."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_fft=")
        yield
