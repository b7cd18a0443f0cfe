"""A whole song in blocks is the song that is loaded at once, or is refused for the same reason."""

import tracemalloc
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from musicrec import audio
from musicrec.audio import libsndfile
from musicrec.errors import DecodeError

pytestmark = pytest.mark.thorough

WHOLE = {"offset_s": 0.0, "duration_s": 3600.0}


def outcome(decode):
    """The samples, or the reason for which there are none."""
    try:
        return decode()
    except DecodeError as e:
        return e.reason


def in_blocks(path, **how):
    return outcome(lambda: np.concatenate(list(audio.stream(str(path), **how))))


def at_once(path, **how):
    return outcome(lambda: audio.load(str(path), **WHOLE, **how))


def noise(n: int, seed: int = 0):
    return np.random.default_rng(seed).uniform(-1, 1, n).astype(np.float32)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(1, 30_000),
    rate=st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100, 47_951]),
    sample_rate=st.sampled_from([8_000, 16_000, 48_000]),
    block=st.integers(10, 20_000),
)
def test_blocks_of_any_length_put_together_are_the_song(tmp_path, n, rate, sample_rate, block):
    sf.write(tmp_path / "song.wav", noise(n), rate, subtype="FLOAT")
    with mock.patch.object(libsndfile, "BLOCK_FRAMES", block):
        found = in_blocks(tmp_path / "song.wav", sample_rate=sample_rate)
    expected = at_once(tmp_path / "song.wav", sample_rate=sample_rate)
    assert len(found) == len(expected)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def assert_decoded_alike(folder: Path) -> set[str]:
    """Return the reasons for which files are refused."""
    reasons = set()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found, expected = (way(path, sample_rate=16_000) for way in (in_blocks, at_once))
        if isinstance(expected, str):
            reasons.add(str(expected))
            assert found == expected, path
        else:
            np.testing.assert_allclose(found, expected, atol=1e-6, err_msg=str(path))
    return reasons


@pytest.mark.thorough
def test_songs_in_every_format_and_broken_ones_are_decoded_as_at_once(synthetic):
    assert assert_decoded_alike(synthetic) == {"empty", "undecodable"}


@pytest.mark.thorough
@pytest.mark.parametrize("folder", ["odd", "songs"])
def test_real_files_are_decoded_as_at_once(data, folder):
    assert_decoded_alike(data / folder)


def test_a_song_without_end_is_refused_and_nan_too(tmp_path):
    sf.write(tmp_path / "long.wav", noise(200_000), 8_000)
    limits = audio.Limits(max_decoded_s=20)
    assert in_blocks(tmp_path / "long.wav", sample_rate=8_000, limits=limits) == "too_large"
    sf.write(tmp_path / "nan.wav", np.append(noise(100_000), np.nan), 8_000, subtype="FLOAT")
    assert in_blocks(tmp_path / "nan.wav", sample_rate=8_000) == "not_finite"


def test_memory_does_not_grow_with_the_song(tmp_path):
    """Of an hour at 8 kHz, which is 230 MB at 16 kHz."""
    with sf.SoundFile(tmp_path / "song.wav", "w", 8_000, 1) as file:
        for _ in range(60):
            file.write(np.zeros(60 * 8_000, np.int16))
    tracemalloc.start()
    n = sum(len(block) for block in audio.stream(str(tmp_path / "song.wav"), sample_rate=16_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 3600 * 16_000
    assert peak < 5 * 2**20
