"""The fingerprint of a recording, from its mel-spectrogram: 32 bits for every 46 ms.

A bit says whether the difference between two neighbouring bands has grown or fallen within 0.19 s (J. Haitsma and T.
Kalker, "A highly robust audio fingerprinting system", ISMIR 2002). Level, equalisation and codecs change few of these
signs, and chance decides them in any other recording. The bands and steps are fixed in Hz and seconds, whatever the
sample rate and the bands of the spectrogram.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicrec.errors import ConfigError
from musicrec.features.sets import HOP_LENGTH, N_FFT
from musicrec.simd.lanes import LANES, bits, kernel, less, load, load_at, spread, store, transpose
from musicrec.simd.memory import empty

Halves = NDArray[np.uint16]  # the bits of float16
Floats = NDArray[np.float32]
Codes = NDArray[np.uint32]
Flags = NDArray[np.bool_]

N_BANDS = 33
LOWEST_MEL, BAND_MEL = 4.0, 0.774  # of Slaney's scale: from 267 Hz to 2.6 kHz, at least 52 Hz wide
MEL_HZ = 200 / 3  # width of a mel below 1 kHz
LINEAR_MELS, MELS_PER_NEPER = 15.0, 27 / math.log(6.4)
STEP_S = 1024 / 22050
WINDOW_S = 17 * 512 / 22050  # of the Hann window that each energy is a mean over, 0.39 s
LAG = 4  # steps between the two energies that a bit compares
FLOOR_DB = -60.0  # a step is silent if no band is louder, relative to the clip's loudest cell

FLOOR = 10 ** (FLOOR_DB / 10)
ROOM = 48  # bands and zeros, in whole lanes
HANN = np.cos(np.linspace(0, math.pi / 2, 4097)).astype(np.float32) ** 2  # from the middle to the end
DECIBELS = np.nan_to_num(np.arange(2**16, dtype=np.uint16).view(np.float16), nan=-80).clip(-80, 0).astype(np.float32)
POWER = 10 ** (DECIBELS / 10)  # by the bits of a float16


class Fingerprint(NamedTuple):
    """The fingerprint of a clip.

    Attributes
    ----------
    codes : numpy.ndarray
        uint32 [n_steps], a code for every ``STEP_S`` seconds.
    audible : numpy.ndarray
        bool [n_steps], False where the clip is below -60 dB and the code means nothing.
    """

    codes: Codes
    audible: Flags


def fingerprint(
    mel: ArrayLike, sample_rate: int, *, hop_length: int = HOP_LENGTH, n_fft: int = N_FFT, speed: float = 1.0
) -> Fingerprint:
    """Return the fingerprint of a clip, as it is or as if it were played faster or slower.

    Parameters
    ----------
    mel : array_like
        [n_mels, n_frames], the mel-spectrogram in dB that :func:`musicrec.features.mel` returns, rounded to float16.
    sample_rate : int
        Sample rate of the clip, in Hz.
    hop_length, n_fft : int
        Samples between frames, and in a frame.
    speed : float
        1.02 for the fingerprint of the clip played 2 % faster, and higher by as much.

    Returns
    -------
    Fingerprint
        ``n_steps`` is 0 for a clip of less than 0.2 s.

    Raises
    ------
    ConfigError
        The spectrogram is too coarse: its bands, frames or frequencies lie farther apart than those of a fingerprint.

    Examples
    --------
    >>> import numpy as np
    >>> from musicrec.features import mel
    >>> from musicrec.features.fingerprint import fingerprint
    >>> noise = np.random.default_rng(0).normal(size=22_050).astype(np.float32)
    >>> codes, audible = fingerprint(mel(noise, 22_050), 22_050)
    >>> codes.shape, codes.dtype, bool(audible.all())
    ((18,), dtype('uint32'), True)
    """
    (made,) = fingerprints(mel, sample_rate, [speed], hop_length=hop_length, n_fft=n_fft)
    return made


def fingerprints(
    mel: ArrayLike, sample_rate: int, speeds: Sequence[float], *, hop_length: int = HOP_LENGTH, n_fft: int = N_FFT
) -> list[Fingerprint]:
    """Return the fingerprints of a clip at several speeds, in less time than one by one.

    Parameters
    ----------
    mel, sample_rate, hop_length, n_fft
        As for :func:`fingerprint`.
    speeds : sequence of float
        Its speeds.

    Returns
    -------
    list of Fingerprint
        One for each speed.

    Raises
    ------
    ConfigError
        As for :func:`fingerprint`.

    Examples
    --------
    >>> import numpy as np
    >>> from musicrec.features import mel
    >>> from musicrec.features.fingerprint import fingerprints
    >>> noise = np.random.default_rng(0).normal(size=22_050).astype(np.float32)
    >>> [len(codes) for codes, _ in fingerprints(mel(noise, 22_050), 22_050, [1, 1.04])]
    [18, 17]
    """
    halves = np.ascontiguousarray(mel, np.float16).view(np.uint16)
    n_mels, n_frames = halves.shape
    check_mel(sample_rate, n_mels, hop_length=hop_length, n_fft=n_fft)
    bands = [_bands(sample_rate, n_mels, float(speed)) for speed in speeds]
    top = max((int(first.max()) + weights.shape[1] for first, weights in bands), default=0)
    power = empty(top, -(-n_frames // LANES) * LANES)
    _to_power(halves, POWER, power)
    steps = [_Steps(speed * sample_rate / hop_length, n_frames) for speed in speeds]
    room = _Room.of(power.shape[1], max((step.n for step in steps), default=0))
    return [_of_bands(power, band, step, room) for band, step in zip(bands, steps, strict=True)]


class _Steps:
    """The steps of a clip whose seconds last `frames_per_s` frames."""

    def __init__(self, frames_per_s: float, n_frames: int) -> None:
        self.n_frames, self.frames = n_frames, STEP_S * frames_per_s  # the latter of a step
        self.radius = WINDOW_S * frames_per_s / 2
        self.n = max(0, int((n_frames - 1) / self.frames) + 1 - LAG) + LAG


class _Room(NamedTuple):
    """Arrays that one speed after another is computed in."""

    tile: Floats
    energy: Floats
    smooth: Floats
    loud: Flags

    @classmethod
    def of(cls, n_frames: int, n_steps: int) -> "_Room":
        tile, loud = np.zeros((ROOM, LANES), np.float32), np.empty(n_steps, np.bool_)
        return cls(tile, empty(n_frames, ROOM), empty(n_steps, ROOM), loud)


def _of_bands(power: Floats, band: tuple[NDArray[np.int64], Floats], steps: _Steps, room: _Room) -> Fingerprint:
    """Return the fingerprint of a clip at a speed, given the first mel band and the weights of each band."""
    _sum_bands(power, *band, room.tile, room.energy)
    smooth, loud = room.smooth[: steps.n], room.loud[: steps.n]
    _smoothen(room.energy[: steps.n_frames], steps.frames, steps.radius, HANN, smooth, loud)
    made = Fingerprint(np.empty(steps.n - LAG, np.uint32), np.empty(steps.n - LAG, np.bool_))
    _compare(smooth, loud, made.codes, made.audible)
    return made


def check_mel(sample_rate: int, n_mels: int, *, hop_length: int = HOP_LENGTH, n_fft: int = N_FFT) -> None:
    """Raise ConfigError if a fingerprint cannot be made from mel-spectrograms with these settings."""
    spacing = _mel_of(sample_rate / 2) / (n_mels + 1)
    if spacing > BAND_MEL:
        least = math.ceil(_mel_of(sample_rate / 2) / BAND_MEL) - 1
        raise ConfigError(
            f"fingerprints need at least {least} mel bands at {sample_rate} Hz, not {n_mels}; "
            f"extract with --n-mels {least} or more"
        )
    if sample_rate / n_fft > BAND_MEL * MEL_HZ or hop_length / sample_rate > STEP_S:
        most = int(BAND_MEL * MEL_HZ * n_fft)
        raise ConfigError(
            f"fingerprints need a sample rate of {math.ceil(hop_length / STEP_S)} to {most} Hz, not {sample_rate}; "
            f"extract with --sample-rate 22050"
        )


def _mel_of(hz: float) -> float:
    """Return a frequency on Slaney's mel scale."""
    mel = hz / MEL_HZ
    return mel if mel < LINEAR_MELS else LINEAR_MELS + MELS_PER_NEPER * math.log(mel / LINEAR_MELS)


def _hz_of(mel: float) -> float:
    """Return the frequency of a point on Slaney's mel scale."""
    return MEL_HZ * (mel if mel < LINEAR_MELS else LINEAR_MELS * math.exp((mel - LINEAR_MELS) / MELS_PER_NEPER))


@lru_cache(maxsize=64)
def _bands(sample_rate: int, n_mels: int, speed: float) -> tuple[NDArray[np.int64], Floats]:
    """Return the first mel band of each band, and the share of it and of those that follow, [N_BANDS, widest].

    A mel band is a cell of the scale, as wide as the distance to the next. The shares of one band sum to 1.
    """
    spacing = _mel_of(sample_rate / 2) / (n_mels + 1)
    edges = np.array([_mel_of(_hz_of(LOWEST_MEL + k * BAND_MEL) / speed) for k in range(N_BANDS + 1)])
    edges = edges / spacing - 0.5  # in mel bands: band i has its centre at (i + 1) spacings, and so its cell from i on
    edges = edges.clip(0, n_mels)
    first = np.floor(edges[:-1]).astype(np.int64)
    widest = int((np.ceil(edges[1:]) - first).max())
    first = np.minimum(first, n_mels - widest)
    cells = first[:, None] + np.arange(widest)
    shares = np.minimum(cells + 1, edges[1:, None]) - np.maximum(cells, edges[:-1, None])
    shares = shares.clip(0).astype(np.float32)
    return first, shares / shares.sum(axis=1, keepdims=True)


# --- loops ------------------------------------------------------------------------------------------------------------


@kernel
def _to_power(halves: Halves, table: Floats, power: Floats) -> None:
    """Write the power of each cell, [n_bands, n_frames] with the last frame repeated to fill the lanes."""
    n_frames = halves.shape[1]
    for band in range(len(power)):
        for frame in range(power.shape[1]):
            power[band, frame] = table[halves[band, min(frame, n_frames - 1)]]


@kernel
def _sum_bands(power: Floats, first: NDArray[np.int64], weights: Floats, tile: Floats, energy: Floats) -> None:
    """Write the energy of each band in each frame, [n_frames, ROOM]."""
    for start in range(0, power.shape[1], LANES):
        for band in range(len(first)):
            total = spread(np.float32(0))
            for k in range(weights.shape[1]):
                total += weights[band, k] * load_at(power, (first[band] + k) * power.shape[1] + start)
            store(tile, band, total)
        for block in range(ROOM // LANES):
            transpose(tile, block * LANES * LANES, LANES, energy, start * ROOM + block * LANES, ROOM)


@kernel
def _smoothen(
    energy: Floats, frames_per_step: float, radius: float, window: Floats, smooth: Floats, loud: Flags
) -> None:
    """Write the mean energy of the bands around each step, [n_steps, ROOM], and whether any is above the floor."""
    last = len(energy) - 1
    for step in range(len(smooth)):
        centre = step * frames_per_step
        total = np.float32(0)
        low = middle = high = spread(np.float32(0))
        for frame in range(math.ceil(centre - radius), math.floor(centre + radius) + 1):
            weight = window[int(abs(frame - centre) * (len(window) - 1) / radius + 0.5)]
            row = min(max(frame, 0), last) * (ROOM // LANES)
            total += weight
            low += weight * load(energy, row)
            middle += weight * load(energy, row + 1)
            high += weight * load(energy, row + 2)
        row = step * (ROOM // LANES)
        store(smooth, row, low)
        store(smooth, row + 1, middle)
        store(smooth, row + 2, high)
        floor = np.float32(FLOOR) * total
        loud[step] = (bits(less(floor, low)) | bits(less(floor, middle)) | bits(less(floor, high))) != 0


@kernel
def _compare(smooth: Floats, loud: Flags, codes: Codes, audible: Flags) -> None:
    """Write the signs of the differences over band and time, in logarithms: quotients are compared as products."""
    for step in range(len(codes)):
        now, then = step * ROOM, (step + LAG) * ROOM
        code = 0
        for half in range(2):
            at = half * LANES
            before = load_at(smooth, then + at + 1) * load_at(smooth, now + at)
            after = load_at(smooth, then + at) * load_at(smooth, now + at + 1)
            code |= bits(less(before, after)) << at
        codes[step] = code
        audible[step] = loud[step] and loud[step + LAG]
