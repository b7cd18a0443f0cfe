"""Inputs of pretrained networks have the values of the front ends that the networks were trained with."""

import librosa
import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from musicrec.features.front_ends import FRAMES_AT_ONCE, FRONT_ENDS, WINDOWS_AT_ONCE, windows
from musicrec.simd.lanes import LANES

RATES = {"musicnn": 16_000, "vggish": 16_000, "yamnet": 16_000, "clap": 48_000}


def musicnn_by_librosa(y):
    """As the extractor of the package computes it, without its rounding to float16."""
    mel = librosa.feature.melspectrogram(y=y, sr=16_000, hop_length=256, n_fft=512, n_mels=96).T
    return np.log10(10_000 * mel + 1)


def htk_weights():
    """The mel matrix of VGGish, filter by filter."""

    def mel(hz):
        return 1127.0 * np.log(1.0 + hz / 700.0)

    bins = mel(np.linspace(0, 8_000, 257))
    edges = np.linspace(mel(125.0), mel(7_500.0), 66)
    weights = np.zeros((257, 64))
    for band in range(64):
        low, centre, high = edges[band : band + 3]
        rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
        weights[:, band] = np.maximum(0.0, np.minimum(rising, falling))
    weights[0] = 0.0
    return weights


def vggish_by_numpy(y, offset=0.01):
    """Frames without padding, a periodic window of 400 samples, transforms of 512, magnitudes."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi / 400 * np.arange(400))
    frames = np.stack([y[i : i + 400] * window for i in range(0, len(y) - 399, 160)])
    return np.log(np.abs(np.fft.rfft(frames, 512)) @ htk_weights() + offset)


def clap_by_librosa(y):
    power = np.abs(librosa.stft(y.astype(np.float64), n_fft=1024, hop_length=480, pad_mode="reflect")) ** 2
    weights = librosa.filters.mel(sr=48_000, n_fft=1024, n_mels=64, fmin=50, fmax=14_000, htk=False, norm="slaney")
    return 10 * np.log10(np.maximum(1e-10, weights @ power)).T


REFERENCES = {
    "musicnn": musicnn_by_librosa,
    "vggish": vggish_by_numpy,
    "yamnet": lambda y: vggish_by_numpy(y, 0.001),
    "clap": clap_by_librosa,
}


def time(seconds, rate):
    return np.arange(round(seconds * rate)) / rate


SIGNALS = {
    "tone": lambda rate: 0.5 * np.sin(2 * np.pi * 440 * time(1, rate)),
    "noise": lambda rate: 0.1 * np.random.default_rng(0).normal(size=rate),
    "clicks": lambda rate: (np.arange(rate) % 4_000 == 0) * 0.9,
    "sweep": lambda rate: librosa.chirp(fmin=50, fmax=rate / 2.1, sr=rate, duration=1),
    "quiet": lambda rate: 1e-5 * np.random.default_rng(1).normal(size=rate),
    "silence": np.zeros,
    "short": lambda rate: np.random.default_rng(2).normal(size=1_200),
}


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("name", REFERENCES)
def test_frames_are_those_of_the_reference(name, signal):
    y = SIGNALS[signal](RATES[name]).astype(np.float32)
    mine, theirs = FRONT_ENDS[name].transform(y), REFERENCES[name](y)
    assert mine.dtype == np.float32
    assert mine.shape == theirs.shape == (FRONT_ENDS[name].n_frames(len(y)), FRONT_ENDS[name].n_bands)
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=2e-3 if name == "clap" else 2e-4)


def test_frames_of_real_songs_are_those_of_the_reference(data):
    y, rate = sf.read(data / "gtzan/blues/blues.00000.wav", dtype="float32")
    for name, reference in REFERENCES.items():
        clip = librosa.resample(y[: 10 * rate], orig_sr=rate, target_sr=RATES[name])
        np.testing.assert_allclose(FRONT_ENDS[name].transform(clip), reference(clip), rtol=0, atol=1e-3)


@settings(max_examples=60)
@given(
    name=st.sampled_from(sorted(FRONT_ENDS)),
    n_samples=st.integers(1, 70_000),
    window=st.integers(4, 40),
    hop=st.integers(1, 60),
)
def test_windows_are_the_slices_of_the_frames(name, n_samples, window, hop):
    """Windows of a whole number of frames; a window that the clip does not fill is left out."""
    front_end = FRONT_ENDS[name]
    rate = front_end.sample_rate or 8_000
    unit = front_end.hop_length if front_end.n_bands else 100
    y = np.random.default_rng(n_samples).normal(size=n_samples).astype(np.float32)
    lengths = {"window_s": window * unit / rate, "hop_s": hop * unit / rate}
    parts = list(windows([y], front_end, rate, **lengths, short="refuse"))
    assert all(1 <= len(part) <= WINDOWS_AT_ONCE for part in parts)
    found = np.concatenate(parts) if parts else []
    if front_end.by_window:
        pieces = [y[i : i + window * unit] for i in range(0, n_samples - window * unit + 1, hop * unit)]
        expected = [front_end.transform(piece) for piece in pieces]
    else:
        frames = front_end.transform(y) if front_end.n_frames(n_samples) else np.zeros((0, front_end.n_bands))
        expected = [frames[i : i + window] for i in range(0, len(frames) - window + 1, hop)]
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.shape == front_end.window_shape(lengths["window_s"], rate)
        np.testing.assert_array_equal(mine, theirs)


@settings(max_examples=60)
@given(
    name=st.sampled_from(sorted(FRONT_ENDS)),
    n_samples=st.integers(1, 400_000),
    cuts=st.lists(st.floats(0, 1), max_size=9),
    window=st.integers(4, 40),
    hop=st.integers(1, 60),
    short=st.sampled_from(["pad", "repeat", "refuse"]),
)
def test_a_clip_in_blocks_of_any_length_has_the_same_windows(*, name, n_samples, cuts, window, hop, short):
    front_end = FRONT_ENDS[name]
    rate = front_end.sample_rate or 8_000
    unit = front_end.hop_length if front_end.n_bands else 100
    y = np.random.default_rng(n_samples).normal(size=n_samples).astype(np.float32)
    how = {"window_s": window * unit / rate, "hop_s": hop * unit / rate, "short": short}
    blocks = np.split(y, sorted(int(cut * n_samples) for cut in cuts))
    found, expected = (list(windows(clip, front_end, rate, **how)) for clip in (iter(blocks), [y]))
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert FRAMES_AT_ONCE % LANES == 0


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_a_clip_shorter_than_a_window_is_padded_repeated_or_refused(name):
    front_end = FRONT_ENDS[name]
    rate = front_end.sample_rate or 8_000
    y = np.random.default_rng(0).normal(size=rate // 2).astype(np.float32)
    lengths = {"window_s": 1.2, "hop_s": 1.2}
    assert not list(windows([y], front_end, rate, **lengths, short="refuse"))
    for short, whole in ("pad", np.pad(y, (0, 2 * rate))), ("repeat", np.tile(y, 5)):
        (mine,) = windows([y], front_end, rate, **lengths, short=short)
        theirs = next(windows([whole], front_end, rate, **lengths))
        assert len(mine) == 1
        inner = slice(0, len(mine[0]) - 2)  # the last frames of a centred transform see the end of the clip
        np.testing.assert_allclose(mine[0][inner], theirs[0][inner], atol=1e-5)
