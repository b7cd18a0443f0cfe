"""Figure of one clip: its waveform above its mel-spectrogram."""

import librosa
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from musicrec.features import HOP_LENGTH
from musicrec.features.images import LOWEST_DB, envelope
from musicrec.report.figures import ACCENT, WIDTH_IN, styled

COLUMNS = 900  # columns of the waveform: one for every pixel or two
MOST_FRAMES = 450  # columns of the spectrogram: more would be most of the page's bytes
COLOUR_MAP = "magma_r"  # loud is dark, as ink is: a dark page inverts both
OCTAVES_HZ = 250 * 2 ** np.arange(10)


@styled
def clip_figure(y: npt.NDArray[np.float32], sample_rate: int, mel_db: npt.NDArray[np.floating]) -> Figure:
    """Draw the waveform and the mel-spectrogram of a clip on the same time axis.

    Parameters
    ----------
    y : ndarray of float32, shape (n_samples,)
        Mono, at least one sample.
    sample_rate : int
        In Hz.
    mel_db : ndarray, shape (n_mels, n_frames)
        In [-80, 0], as :func:`musicrec.features.mel` returns it, from 0 Hz to half the sample rate.
    """
    duration_s = len(y) / sample_rate
    figure = Figure(figsize=(WIDTH_IN, 4.4))
    wave, spectrogram = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))

    low, high = envelope(y, min(COLUMNS, len(y)))
    edges_s = np.linspace(0, duration_s, len(low) + 1)
    wave.stairs(high, edges_s, baseline=low, fill=True, color=ACCENT)
    wave.set(ylabel="amplitude", ylim=(-1.05, 1.05), yticks=[-1, 0, 1])

    n_mels, n_frames = mel_db.shape
    hop_s = HOP_LENGTH / sample_rate
    top_mel = librosa.hz_to_mel(sample_rate / 2)
    image = spectrogram.imshow(
        _fewer_frames(mel_db.astype(np.float32)), origin="lower", aspect="auto", interpolation="none",
        cmap=COLOUR_MAP, vmin=LOWEST_DB, vmax=0,
        extent=(-hop_s / 2, (n_frames - 0.5) * hop_s, *_outer_mels(n_mels, top_mel)),
    )  # fmt: skip
    ticks_hz = OCTAVES_HZ[sample_rate / 2 > OCTAVES_HZ]
    spectrogram.set_yticks(librosa.hz_to_mel(ticks_hz), [f"{hz:,}" for hz in ticks_hz])
    spectrogram.set(xlabel="time (s)", ylabel="frequency (Hz, mel scale)", xlim=(0, duration_s), ylim=(0, top_mel))
    bar = figure.colorbar(image, ax=spectrogram, label="level (dB)", aspect=24, pad=0.02)
    bar.outline.set_visible(False)
    return figure


def _fewer_frames(mel_db: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return at most `MOST_FRAMES` columns, each the mean of its frames in dB."""
    n_frames = mel_db.shape[1]
    if n_frames <= MOST_FRAMES:
        return mel_db
    starts = np.linspace(0, n_frames, MOST_FRAMES, endpoint=False).astype(int)
    means = np.add.reduceat(mel_db, starts, axis=1) / np.diff(np.append(starts, n_frames))
    return means.astype(np.float32)


def _outer_mels(n_mels: int, top_mel: float) -> tuple[float, float]:
    """Return where the image of the bands begins and ends, in mels; band centres are one step from 0 and the top."""
    step = top_mel / (n_mels + 1)
    return 0.5 * step, top_mel - 0.5 * step
