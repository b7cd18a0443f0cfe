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
from librosa.decompose import hpss
from librosa.onset import onset_strength
from numpy.typing import NDArray

Array = NDArray[np.float32]

N_FFT = 2048
HOP_LENGTH = 512
N_MELS = 128


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
    with _short_clips_are_fine():
        power = librosa.feature.melspectrogram(y=y, sr=sample_rate, n_mels=n_mels, n_fft=n_fft, hop_length=hop_length)
    decibels: Array = librosa.power_to_db(power, ref=np.max)
    return decibels


class Analysis:
    """One clip's quantities, each computed once, when it is first asked for.

    Parameters
    ----------
    y : numpy.ndarray
        float32 [n_samples], mono, finite.
    sample_rate : int
        In Hz.
    """

    def __init__(self, y: Array, sample_rate: int) -> None:
        self.y = y
        self.sample_rate = sample_rate

    @cached_property
    def stft(self) -> NDArray[np.complex64]:
        """Complex spectrum [1025, n_frames]."""
        with _short_clips_are_fine():
            spectrum: NDArray[np.complex64] = librosa.stft(self.y, n_fft=N_FFT, hop_length=HOP_LENGTH)
        return spectrum

    @cached_property
    def magnitude(self) -> Array:
        """|STFT|, [1025, n_frames]."""
        return np.abs(self.stft)

    @cached_property
    def power(self) -> Array:
        """|STFT|², [1025, n_frames]."""
        return self.magnitude**2

    # --- loudness and time domain -------------------------------------------------------------------------------

    @cached_property
    def rms(self) -> Array:
        """Root mean square of each frame, [1, n_frames]."""
        return librosa.feature.rms(y=self.y, frame_length=N_FFT, hop_length=HOP_LENGTH)

    @cached_property
    def zero_crossing_rate(self) -> Array:
        """Share of samples at which the sign changes, [1, n_frames]."""
        return librosa.feature.zero_crossing_rate(self.y, frame_length=N_FFT, hop_length=HOP_LENGTH)

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
        spectrum, _ = hpss(self.stft)
        return librosa.istft(spectrum, hop_length=HOP_LENGTH, n_fft=N_FFT, length=len(self.y), dtype=self.y.dtype)

    @cached_property
    def percussive(self) -> Array:
        """Percussive part of the samples, [n_samples]: the soft masks of the two parts add up to one."""
        return self.y - self.harmonic


@contextmanager
def _short_clips_are_fine() -> Iterator[None]:
    """Silence librosa's remark that a clip is shorter than a frame: it is padded, as wanted."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_fft=")
        yield
