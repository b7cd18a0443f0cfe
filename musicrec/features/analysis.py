"""The shared intermediate results of one clip: one STFT, and everything that is computed from it.

Every quantity has the value that librosa 0.11 gives for the same samples with its default parameters
(n_fft 2048, hop 512, Hann window, centred frames).
"""

import math
from functools import cached_property

import librosa
import numpy as np
from librosa.onset import onset_strength
from numpy.typing import NDArray
from scipy.fft import irfft

from musicrec.features import filters, fourier, hpss, kernels
from musicrec.features.lanes import LANES, empty

Array = NDArray[np.float32]

N_MELS = 128  # bands from which cepstral coefficients, onset strength and tempo are computed
N_MFCC = 20
CROSSING_THRESHOLD = 1e-10  # samples closer to zero have no sign
ROLLOFF_SHARE = 0.85
TUNING_RANGE_HZ = (150.0, 4000.0)  # where spectral peaks are taken for pitches
PEAK_THRESHOLD = 0.1  # of the loudest bin of the frame
TEMPO_WINDOW_S = 8.0


class Analysis:
    """One clip's quantities, each computed once, when it is first asked for.

    Parameters
    ----------
    y : numpy.ndarray
        float32 [n_samples], mono, finite.
    sample_rate : int
        In Hz.
    n_fft, hop_length : int
        Samples of a frame, a power of two; samples between frames.
    """

    def __init__(self, y: Array, sample_rate: int, n_fft: int, hop_length: int) -> None:
        self.y: Array = np.ascontiguousarray(y, np.float32)
        self.sample_rate = sample_rate
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.n_frames = 1 + len(self.y) // hop_length
        self.n_blocks = -(-self.n_frames // LANES)

    @cached_property
    def _padded(self) -> Array:
        """The clip between zeros, with room for the frames that fill up the last block."""
        after = (self.n_blocks * LANES - 1) * self.hop_length + self.n_fft // 2 - len(self.y)
        return np.pad(self.y, (self.n_fft // 2, after))

    @cached_property
    def _spectrum(self) -> Array:
        """Absolute value of the STFT, in lanes: [n_blocks, n_fft / 2 + 1, LANES].

        The transform runs in float64: beside a pure tone, the rounding error of float32 would be louder than all the
        other bins together.
        """
        spectrum = empty(self.n_blocks, self.n_fft // 2 + 1, LANES)
        kernels.magnitude(self._padded, self.hop_length, fourier.plan(fourier.hann(self.n_fft), np.float64), spectrum)
        return spectrum

    def _rows(self, n: int) -> Array:
        return empty(n, self.n_blocks * LANES)

    @property
    def magnitude(self) -> Array:
        """Absolute value of the STFT, [n_frames, n_fft // 2 + 1]."""
        return self._spectrum.swapaxes(1, 2).reshape(-1, self.n_fft // 2 + 1)[: self.n_frames]

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
    def _centroid_bandwidth_rolloff(self) -> Array:
        """In Hz, [3, n_frames]."""
        shape = self._rows(3)
        kernels.centroid_bandwidth_rolloff(self._spectrum, ROLLOFF_SHARE, *shape)
        return shape[:, : self.n_frames] * (self.sample_rate / self.n_fft)

    @property
    def spectral_centroid(self) -> Array:
        """Mean frequency, in Hz, [n_frames]."""
        return self._centroid_bandwidth_rolloff[0]

    @property
    def spectral_bandwidth(self) -> Array:
        """Standard deviation of the frequency, in Hz, [n_frames]."""
        return self._centroid_bandwidth_rolloff[1]

    @property
    def spectral_rolloff(self) -> Array:
        """Frequency below which 85 % of the magnitude lies, in Hz, [n_frames]."""
        return self._centroid_bandwidth_rolloff[2]

    @cached_property
    def spectral_contrast(self) -> Array:
        """Peak minus valley of seven octave bands, in dB, [7, n_frames] (Jiang et al., ICME 2002)."""
        bands, counts = filters.octave_bands(self.sample_rate, self.n_fft)
        peaks, valleys = self._rows(len(bands)), self._rows(len(bands))
        kernels.peaks_and_valleys(self._spectrum, bands, counts, peaks, valleys)
        inside = slice(self.n_frames)
        return librosa.power_to_db(peaks[:, inside]) - librosa.power_to_db(valleys[:, inside])

    @cached_property
    def spectral_flatness(self) -> Array:
        """Geometric over arithmetic mean of the power, in [0, 1], [n_frames]."""
        (flatness,) = self._rows(1)
        kernels.flatness(self._spectrum, flatness)
        return flatness[: self.n_frames]

    @cached_property
    def tuning(self) -> float:
        """Deviation from A440, in semitones, that most spectral peaks share."""
        low, high = (math.ceil(hz * self.n_fft / self.sample_rate) for hz in TUNING_RANGE_HZ)
        at, height = kernels.spectral_peaks(self._spectrum, self.n_frames, low, high, PEAK_THRESHOLD)
        if not len(at):
            return 0.0
        loud = at[height >= np.median(height)]
        return librosa.pitch_tuning(loud * np.float32(self.sample_rate / self.n_fft))

    @cached_property
    def chroma(self) -> Array:
        """Energy of the twelve pitch classes at the clip's own tuning, largest 1, [12, n_frames]."""
        raw = self._rows(12)
        kernels.pitch_classes(self._spectrum, filters.chroma(self.sample_rate, self.n_fft, self.tuning), raw)
        return librosa.util.normalize(raw[:, : self.n_frames], norm=np.inf, axis=0)

    # --- mel scale ----------------------------------------------------------------------------------------------

    def mel_power(self, n_mels: int) -> Array:
        """Power of mel bands, [n_mels, n_frames]."""
        bands = self._rows(n_mels)
        kernels.filter_bank(self._spectrum, *filters.mel(self.sample_rate, self.n_fft, n_mels), bands)
        return bands[:, : self.n_frames]

    def mel(self, n_mels: int) -> Array:
        """Mel-spectrogram in dB below its loudest cell, [n_mels, n_frames] in [-80, 0]."""
        decibels = self.mel_decibels if n_mels == N_MELS else librosa.power_to_db(self.mel_power(n_mels))
        return decibels - decibels.max()

    @cached_property
    def mel_decibels(self) -> Array:
        """Power of 128 mel bands, in dB re 1, [128, n_frames]."""
        return librosa.power_to_db(self.mel_power(N_MELS))

    @cached_property
    def mel_decibels_20(self) -> Array:
        """Power of 20 mel bands, in dB re 1, [20, n_frames]."""
        return librosa.power_to_db(self.mel_power(20))

    @cached_property
    def mfcc(self) -> Array:
        """Twenty mel-frequency cepstral coefficients, [20, n_frames]."""
        return filters.cosines(N_MELS, N_MFCC) @ self.mel_decibels

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

    # --- harmonic and percussive parts --------------------------------------------------------------------------

    @cached_property
    def harmonic(self) -> Array:
        """Harmonic part of the samples, [n_samples]."""
        return hpss.harmonic(self._padded, len(self.y), self._spectrum, self.n_fft, self.hop_length)

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
    n_frames = len(onset_strength)
    n_fft = 1 << (2 * window - 1).bit_length()  # no lag comes round again
    envelope = np.pad(onset_strength, window // 2, mode="linear_ramp", end_values=0)
    weights = np.pad(fourier.hann(window), (0, n_fft - window))
    plan = fourier.plan(weights, np.float32)
    power = kernels.autocorrelation_spectrum(np.pad(envelope, (0, n_fft + LANES)), n_frames, window, plan)
    autocorrelation: NDArray[np.float64] = irfft(power.sum(axis=1, dtype=np.float64))[:window] / n_frames
    return autocorrelation
