"""The shared intermediate results of one clip: one STFT, and everything that is computed from it.

Every quantity has the value that librosa 0.11 gives for the same samples with its default parameters
(n_fft 2048, hop 512, Hann window, centred frames).
"""

import math
from collections.abc import Iterator
from functools import cached_property

import librosa
import numpy as np
import scipy.fft
from librosa.onset import onset_strength
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.signal import get_window

from musicrec.features import filters, kernels
from musicrec.features.median import running_median
from musicrec.features.stft import Spectrum, istft, stft

Array = NDArray[np.float32]

N_MELS = 128  # bands from which cepstral coefficients, onset strength and tempo are computed
CROSSING_THRESHOLD = 1e-10  # samples closer to zero have no sign
ROLLOFF_SHARE = 0.85
TUNING_RANGE_HZ = (150.0, 4000.0)  # where spectral peaks are taken for pitches
PEAK_THRESHOLD = 0.1  # of the loudest bin of the frame
TEMPO_WINDOW_S = 8.0
FRAMES_AT_ONCE = 128  # what is made from so many frames stays in the second-level cache
TINY = np.finfo(np.float32).tiny
HPSS_WINDOW = 31  # frames, and frequencies


class Analysis:
    """One clip's quantities, each computed once, when it is first asked for.

    Parameters
    ----------
    y : numpy.ndarray
        float32 [n_samples], mono, finite.
    sample_rate : int
        In Hz.
    n_fft, hop_length : int
        Samples of a frame, samples between frames.
    """

    def __init__(self, y: Array, sample_rate: int, n_fft: int, hop_length: int) -> None:
        self.y: Array = np.ascontiguousarray(y, np.float32)
        self.sample_rate = sample_rate
        self.n_fft = n_fft
        self.hop_length = hop_length

    @cached_property
    def _spectrum_and_magnitude(self) -> tuple[Spectrum, Array]:
        return stft(self.y, self.n_fft, self.hop_length)

    @property
    def spectrum(self) -> Spectrum:
        """Complex spectrum, [n_frames, n_fft // 2 + 1]."""
        return self._spectrum_and_magnitude[0]

    @property
    def magnitude(self) -> Array:
        """Absolute value of the spectrum."""
        return self._spectrum_and_magnitude[1]

    @cached_property
    def power(self) -> Array:
        """Square of the magnitude."""
        return self.magnitude**2

    # --- loudness and time domain -------------------------------------------------------------------------------

    @cached_property
    def _energy_and_crossings(self) -> tuple[Array, Array]:
        return kernels.energy_and_crossings(self.y, self.n_fft, self.hop_length, CROSSING_THRESHOLD)

    @property
    def rms(self) -> Array:
        """Root mean square of each frame, [n_frames]."""
        return self._energy_and_crossings[0]

    @property
    def zero_crossing_rate(self) -> Array:
        """Share of samples at which the sign changes, [n_frames]."""
        return self._energy_and_crossings[1]

    # --- shape of the spectrum ----------------------------------------------------------------------------------

    @cached_property
    def _centroid_and_bandwidth(self) -> tuple[Array, Array]:
        return kernels.centroid_and_bandwidth(self.magnitude, np.float32(self.sample_rate / self.n_fft))

    @property
    def spectral_centroid(self) -> Array:
        """Mean frequency, in Hz, [n_frames]."""
        return self._centroid_and_bandwidth[0]

    @property
    def spectral_bandwidth(self) -> Array:
        """Standard deviation of the frequency, in Hz, [n_frames]."""
        return self._centroid_and_bandwidth[1]

    @cached_property
    def spectral_rolloff(self) -> NDArray[np.float64]:
        """Frequency below which 85 % of the magnitude lies, in Hz, [n_frames]."""
        return kernels.rolloff_bin(self.magnitude, np.float32(ROLLOFF_SHARE)) * (self.sample_rate / self.n_fft)

    @cached_property
    def spectral_contrast(self) -> Array:
        """Peak minus valley of seven octave bands, in dB, [7, n_frames] (Jiang et al., ICME 2002)."""
        peaks, valleys = kernels.peaks_and_valleys(self.magnitude, *filters.octave_bands(self.sample_rate, self.n_fft))
        return librosa.power_to_db(peaks) - librosa.power_to_db(valleys)

    @cached_property
    def spectral_flatness(self) -> Array:
        """Geometric over arithmetic mean of the power, in [0, 1], [n_frames]."""
        return kernels.flatness(self.power)

    @cached_property
    def tuning(self) -> float:
        """Deviation from A440, in semitones, that most spectral peaks share."""
        low, high = (math.ceil(hz * self.n_fft / self.sample_rate) for hz in TUNING_RANGE_HZ)
        at, height = kernels.spectral_peaks(self.power, low, high, PEAK_THRESHOLD)
        if not len(at):
            return 0.0
        loud = at[height >= np.median(height)]
        return librosa.pitch_tuning(loud * np.float32(self.sample_rate / self.n_fft))

    @cached_property
    def chroma(self) -> Array:
        """Energy of the twelve pitch classes at the clip's own tuning, largest 1, [12, n_frames]."""
        raw = filters.chroma(self.sample_rate, self.n_fft, self.tuning) @ self.power.T
        return librosa.util.normalize(raw, norm=np.inf, axis=0)

    # --- mel scale ----------------------------------------------------------------------------------------------

    def mel_power(self, n_mels: int) -> Array:
        """Power of mel bands, [n_mels, n_frames]."""
        return kernels.filter_bank(self.power, *filters.mel(self.sample_rate, self.n_fft, n_mels))

    def mel(self, n_mels: int) -> Array:
        """Mel-spectrogram in dB below its loudest cell, [n_mels, n_frames] in [-80, 0]."""
        return librosa.power_to_db(self._mel_power_128 if n_mels == N_MELS else self.mel_power(n_mels), ref=np.max)

    @cached_property
    def _mel_power_128(self) -> Array:
        return self.mel_power(N_MELS)

    @cached_property
    def mel_decibels(self) -> Array:
        """Power of 128 mel bands, in dB re 1, [128, n_frames]."""
        return librosa.power_to_db(self._mel_power_128)

    @cached_property
    def mel_decibels_20(self) -> Array:
        """Power of 20 mel bands, in dB re 1, [20, n_frames]."""
        return librosa.power_to_db(self.mel_power(20))

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
        tempogram = mean_tempogram(self.onset_strength, int(TEMPO_WINDOW_S * self.sample_rate / self.hop_length))
        return librosa.feature.tempo(tg=tempogram[:, None], sr=self.sample_rate, hop_length=self.hop_length)

    # --- harmonic and percussive parts (Fitzgerald, DAFx 2010) --------------------------------------------------

    @cached_property
    def harmonic(self) -> Array:
        """Harmonic part of the samples, [n_samples]."""
        return istft(self._harmonic_spectrum(), len(self.y), self.n_fft, self.hop_length)

    def _harmonic_spectrum(self) -> Iterator[Spectrum]:
        """Spectrum under the soft mask of what is steady over time against what is broad in frequency."""
        steady = running_median(self.magnitude, HPSS_WINDOW)
        for start in range(0, len(steady), FRAMES_AT_ONCE):
            block = slice(start, start + FRAMES_AT_ONCE)
            broad = running_median(kernels.transposed(self.magnitude[block]), HPSS_WINDOW)
            yield kernels.soft_masked(self.spectrum[block], steady[block], kernels.transposed(broad))

    @cached_property
    def percussive(self) -> Array:
        """Percussive part of the samples, [n_samples]: the soft masks of the two parts add up to one."""
        return self.y - self.harmonic


def mean_tempogram(onset_strength: Array, window: int) -> NDArray[np.float64]:
    """Local autocorrelation of the onset strength, largest value 1, averaged over all frames.

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
    padded = np.pad(onset_strength, window // 2, mode="linear_ramp", end_values=0)
    stretches = sliding_window_view(padded, window)[: len(onset_strength)]
    weights = get_window("hann", window).astype(np.float32)
    size = scipy.fft.next_fast_len(2 * window - 1, real=True)
    density = np.zeros(size // 2 + 1)
    for start in range(0, len(stretches), FRAMES_AT_ONCE):
        block = stretches[start : start + FRAMES_AT_ONCE] * weights
        largest = np.einsum("tl,tl->t", block, block)
        spectrum = scipy.fft.rfft(block, n=size, axis=1)
        density += 1 / np.where(largest > TINY, largest, 1) @ (spectrum.real**2 + spectrum.imag**2)
    autocorrelation: NDArray[np.float64] = scipy.fft.irfft(density / len(stretches), n=size)[:window]
    return autocorrelation
