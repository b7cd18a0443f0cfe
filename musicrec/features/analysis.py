"""The shared intermediate results of one clip: one STFT, and everything that is computed from it.

Every quantity has the value that librosa 0.11 gives for the same samples with its default parameters
(n_fft 2048, hop 512, Hann window, centred frames).
"""

import math
from functools import cached_property

import numpy as np
from librosa.core.convert import hz_to_octs
from numpy.typing import NDArray

from musicrec.features import filter_banks, fourier, hpss, kernels, rhythm
from musicrec.simd.lanes import LANES
from musicrec.simd.memory import empty

Array = NDArray[np.float32]

N_MELS = 128  # bands from which cepstral coefficients, onset strength and tempo are computed
N_MFCC = 20
CROSSING_THRESHOLD = 1e-10  # samples closer to zero have no sign
ROLLOFF_SHARE = 0.85
TUNING_RANGE_HZ = (150.0, 4000.0)  # where spectral peaks are taken for pitches
PEAK_THRESHOLD = 0.1  # a peak is louder than this share of the loudest bin in its frame
TUNINGS = 100  # steps of a semitone
TOP_DB = 80.0  # cells further below the loudest one are raised to this distance from it
POWER_FLOOR = 1e-10


class Analysis:
    """One clip's quantities, each computed once, when it is first asked for.

    Parameters
    ----------
    y : numpy.ndarray
        float32 [n_samples], mono, finite.
    sample_rate : int
        In Hz.
    n_fft, hop_length : int
        Samples of a frame, a power of two; samples between frames. The mel-spectrogram takes any hop; for loudness,
        crossings and the harmonic part, `n_fft` is a multiple of twice the hop.
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
        """The clip padded by zeros, with room for the frames that fill up the last block."""
        first, last = self.n_fft // 2, self.n_fft // 2 + len(self.y)
        padded = empty(max(last, (self.n_blocks * LANES - 1) * self.hop_length + self.n_fft))
        padded[:first], padded[first:last], padded[last:] = 0, self.y, 0
        return padded

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
        bands, counts = filter_banks.octave_bands(self.sample_rate, self.n_fft)
        peaks, valleys = self._rows(len(bands)), self._rows(len(bands))
        kernels.peaks_and_valleys(self._spectrum, bands, counts, peaks, valleys)
        inside = slice(self.n_frames)
        return decibels(peaks[:, inside]) - decibels(valleys[:, inside])

    @cached_property
    def spectral_flatness(self) -> Array:
        """Geometric over arithmetic mean of the power, in [0, 1], [n_frames]."""
        (flatness,) = self._rows(1)
        kernels.flatness(self._spectrum, flatness)
        return flatness[: self.n_frames]

    @cached_property
    def tuning(self) -> float:
        """Deviation from A440, in semitones, that most peaks of the power share."""
        return self._tuning(squared=True)

    @cached_property
    def tuning_of_magnitude(self) -> float:
        """Deviation from A440, in semitones, that most peaks of the magnitude share; it may differ."""
        return self._tuning(squared=False)

    def _tuning(self, *, squared: bool) -> float:
        low, high = (math.ceil(hz * self.n_fft / self.sample_rate) for hz in TUNING_RANGE_HZ)
        at, height = kernels.spectral_peaks(self._spectrum, squared, self.n_frames, low, high, PEAK_THRESHOLD)
        if not len(at):
            return 0.0
        loud = at[height >= np.median(height)] * (self.sample_rate / self.n_fft)
        semitones = filter_banks.SEMITONES * hz_to_octs(loud)
        counts, edges = np.histogram((semitones + 0.5) % 1 - 0.5, np.linspace(-0.5, 0.5, TUNINGS + 1))
        return float(edges[np.argmax(counts)])

    @cached_property
    def chroma(self) -> Array:
        """Energy of the twelve pitch classes at the clip's own tuning, largest 1, [12, n_frames]."""
        raw = self._rows(12)
        kernels.pitch_classes(self._spectrum, filter_banks.chroma(self.sample_rate, self.n_fft, self.tuning), raw)
        raw = raw[:, : self.n_frames]
        largest = raw.max(axis=0)
        raw /= np.where(largest > kernels.TINY, largest, np.float32(1))
        return raw

    # --- mel scale ----------------------------------------------------------------------------------------------

    def mel_power(self, n_mels: int) -> Array:
        """Return the power of mel bands, [n_mels, n_frames]."""
        bands = self._rows(n_mels)
        kernels.filter_bank(self._spectrum, True, *filter_banks.mel(self.sample_rate, self.n_fft, n_mels), bands)
        return bands[:, : self.n_frames]

    def mel(self, n_mels: int) -> Array:
        """Return the mel-spectrogram in dB below its loudest cell, [n_mels, n_frames] in [-80, 0]."""
        mel = self.mel_decibels if n_mels == N_MELS else decibels(self.mel_power(n_mels))
        return mel - mel.max()

    @cached_property
    def mel_decibels(self) -> Array:
        """Power of 128 mel bands, in dB re 1, [128, n_frames]."""
        return decibels(self.mel_power(N_MELS))

    @cached_property
    def mel_decibels_20(self) -> Array:
        """Power of 20 mel bands, in dB re 1, [20, n_frames]."""
        return decibels(self.mel_power(20))

    @cached_property
    def mfcc(self) -> Array:
        """Twenty mel-frequency cepstral coefficients, [20, n_frames]."""
        return filter_banks.cosines(N_MELS, N_MFCC) @ self.mel_decibels

    # --- rhythm -------------------------------------------------------------------------------------------------

    @cached_property
    def onset_strength(self) -> Array:
        """Spectral flux of the mel-spectrogram, in dB a frame, [n_frames]."""
        return rhythm.onset_strength(self.mel_decibels, self.n_fft, self.hop_length)

    @cached_property
    def tempo(self) -> NDArray[np.float64]:
        """Tempo, in beats a minute, [1]."""
        return np.array([rhythm.tempo(self.onset_strength, self.sample_rate, self.hop_length)])

    # --- harmonic and percussive parts --------------------------------------------------------------------------

    @cached_property
    def harmonic(self) -> Array:
        """Harmonic part of the samples, [n_samples]."""
        return hpss.harmonic(self._padded, len(self.y), self._spectrum, self.n_fft, self.hop_length)

    @cached_property
    def percussive(self) -> Array:
        """Percussive part of the samples, [n_samples]: the soft masks of the two parts add up to one."""
        return np.subtract(self.y, self.harmonic, out=empty(len(self.y)))


def decibels(power: Array) -> Array:
    """Return power in dB re 1, at most 80 dB below the largest of all, as librosa's ``power_to_db`` does."""
    level: Array = 10 * np.log10(np.maximum(power, np.float32(POWER_FLOOR)))
    return np.maximum(level, level.max() - np.float32(TOP_DB))
