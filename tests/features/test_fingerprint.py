"""Fingerprints are what their definition says, follow the recording to other files, and know silence."""

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from musicrec import audio, features
from musicrec.errors import ConfigError
from musicrec.features.fingerprint import LAG, N_BANDS, STEP_S, WINDOW_S, check_mel, fingerprint, fingerprints

RATE = 22_050
WIDTH_MEL = 0.774


def music(seed=0, seconds=12.0, rate=RATE):
    """Notes of random pitch, loudness and length over some noise; the same at every rate."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    y = np.zeros(len(t))
    for start in np.arange(0, seconds, 0.15):
        hz, loud, length = 220 * 2 ** rng.uniform(0, 3.5), rng.uniform(0.1, 1), rng.uniform(0.1, 0.8)
        rest = np.clip(t - start, 0, None)
        envelope = (t >= start) * np.exp(-rest / length) * np.minimum(rest / 0.01, 1)
        y += loud * envelope * sum(np.sin(2 * np.pi * hz * k * t) / k for k in (1, 2, 3) if k * hz < 7000)
    return (0.1 * y / np.abs(y).max()).astype(np.float32)


def mel_of(y, rate=RATE, n_mels=128):
    return features.mel(y, rate, n_mels=n_mels).astype(np.float16)


def to_hz(mel):
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def to_mel(hz):
    return np.where(hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1e-9) / 1000) / np.log(6.4))


def by_definition(mel, rate, speed=1.0, hop=512):
    """Codes in float64, and by how much each comparison is decided, relative to its sides."""
    power = 10 ** (mel.astype(np.float64) / 10)
    spacing = to_mel(np.array(rate / 2)) / (len(mel) + 1)
    edges = to_mel(to_hz(4.0 + WIDTH_MEL * np.arange(N_BANDS + 1)) / speed) / spacing
    cells = np.arange(len(mel)) + 0.5  # a mel band reaches half way to its neighbours
    share = np.minimum(cells + 1, edges[1:, None]) - np.maximum(cells, edges[:-1, None])
    energy = share.clip(0) @ power / share.clip(0).sum(axis=1, keepdims=True)
    step, radius = STEP_S * speed * rate / hop, WINDOW_S * speed * rate / hop / 2
    n_steps = int((mel.shape[1] - 1) / step) + 1
    smooth = []
    for centre in np.arange(n_steps) * step:
        frames = np.arange(np.ceil(centre - radius), np.floor(centre + radius) + 1)
        weight = np.cos(np.pi / 2 * (frames - centre) / radius) ** 2
        inside = frames.clip(0, mel.shape[1] - 1).astype(int)
        smooth.append(energy[:, inside] @ weight / weight.sum())
    smooth = np.array(smooth)
    now, then = smooth[:-LAG], smooth[LAG:]
    difference = np.log(then[:, :-1] * now[:, 1:]) - np.log(then[:, 1:] * now[:, :-1])
    loud = (smooth > 1e-6).any(axis=1)
    return difference, loud[:-LAG] & loud[LAG:]


def bits_of(codes):
    return (codes[:, None] >> np.arange(32, dtype=np.uint32)) & 1 == 1


def errors(a, b):
    n = min(len(a), len(b))
    return np.bitwise_count(a[:n] ^ b[:n]).mean() / 32


@pytest.mark.thorough
@pytest.mark.parametrize(("rate", "n_mels"), [(22_050, 128), (16_000, 96), (44_100, 128), (22_050, 64)])
@pytest.mark.parametrize("speed", [1.0, 1.005, 1.04, 0.97])
def test_codes_are_those_of_the_definition(rate, n_mels, speed):
    mel = mel_of(music(rate=rate), rate, n_mels)
    made = fingerprint(mel, rate, speed=speed)
    difference, audible = by_definition(mel, rate, speed)
    assert len(made.codes) == len(made.audible) == len(difference)
    is_clear = np.abs(difference) > 2e-3  # the window is tabulated
    assert is_clear.mean() > 0.9
    assert (bits_of(made.codes) == (difference > 0))[is_clear].all()
    assert (made.audible == audible).all()


@settings(max_examples=25)
@given(st.integers(0, 2**16), st.integers(1, 60), st.sampled_from([-80.0, -61.0, -30.0]))
def test_any_spectrogram_has_the_codes_of_the_definition(seed, n_frames, loudest):
    rng = np.random.default_rng(seed)
    mel = (loudest - rng.gamma(2, 5, (128, n_frames))).clip(-80, 0).astype(np.float16)
    made = fingerprint(mel, RATE)
    if n_frames <= 2 * LAG:
        assert len(made.codes) == len(made.audible) == 0
        return
    difference, audible = by_definition(mel, RATE)
    is_clear = np.abs(difference) > 2e-3
    assert (bits_of(made.codes) == (difference > 0))[is_clear].all()
    assert (made.audible == audible).all()


@pytest.mark.thorough
def test_several_speeds_at_once_are_those_one_by_one():
    mel, speeds = mel_of(music()), [1.0, 1.01, 1.04]
    for made, speed in zip(fingerprints(mel, RATE, speeds), speeds, strict=True):
        alone = fingerprint(mel, RATE, speed=speed)
        assert (made.codes == alone.codes).all()
        assert (made.audible == alone.audible).all()
    assert fingerprints(mel, RATE, []) == []


@pytest.mark.thorough
@pytest.mark.parametrize("percent", [-4, -2.5, 1, 2.5, 4])
def test_the_fingerprint_at_a_speed_is_that_of_the_clip_played_so(percent):
    y, speed = music(), 1 + percent / 100
    played = soxr.resample(y, RATE * speed, RATE).astype(np.float32)
    as_if, really = fingerprint(mel_of(y), RATE, speed=speed), fingerprint(mel_of(played), RATE)
    assert abs(len(as_if.codes) - len(really.codes)) <= 1
    assert errors(as_if.codes, really.codes) < 0.1
    assert errors(fingerprint(mel_of(y), RATE).codes, really.codes) > 1.5 * errors(as_if.codes, really.codes)


@pytest.mark.thorough
def test_level_and_another_sample_rate_change_few_bits_and_another_recording_half():
    y = music()
    codes = fingerprint(mel_of(y), RATE).codes
    assert errors(codes, fingerprint(mel_of(y / 2), RATE).codes) < 0.001
    other_rate = fingerprint(mel_of(audio.resample(y, RATE, 44_100), 44_100), 44_100).codes
    assert errors(codes, other_rate) < 0.15
    assert 0.45 < errors(codes, fingerprint(mel_of(music(1)), RATE).codes) < 0.55


@pytest.mark.thorough
def test_a_pause_is_silent_and_its_surroundings_are_not():
    y = music()
    y[4 * RATE : 7 * RATE] = 0
    audible = fingerprint(mel_of(y), RATE).audible
    seconds = np.arange(len(audible)) * STEP_S
    assert not audible[(seconds > 4.3) & (seconds < 6.5)].any()
    assert audible[(seconds < 3.5) | (seconds > 7.3)].all()


@pytest.mark.thorough
def test_nan_counts_as_silence():
    mel = mel_of(music())
    mel[:, 100:] = np.nan
    audible = fingerprint(mel, RATE).audible
    assert audible[:30].all()
    assert not audible[60:].any()


@pytest.mark.parametrize(
    ("rate", "n_mels", "expected"),
    [
        (22_050, 63, "at least 64 mel bands at 22050 Hz, not 63; extract with --n-mels 64 or more"),
        (16_000, 8, "at least 58 mel bands"),
        (192_000, 512, "a sample rate of 11025 to 105676 Hz, not 192000"),
    ],
)
def test_a_spectrogram_that_is_too_coarse_is_refused(rate, n_mels, expected):
    with pytest.raises(ConfigError, match=expected):
        check_mel(rate, n_mels)
    with pytest.raises(ConfigError, match=expected):
        fingerprint(np.zeros((n_mels, 100), np.float16), rate)


def test_the_smallest_settings_that_are_named_will_do():
    check_mel(22_050, 64)
    check_mel(16_000, 58)
    check_mel(105_000, 200)
