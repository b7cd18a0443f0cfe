"""Decoding: the right stretch of the song, with librosa's samples, or a DecodeError that says why not."""

import os
import pickle
import struct
from pathlib import Path
from urllib.parse import quote

import librosa
import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from musicrec import audio
from musicrec.errors import DecodeError

LOW_BITRATE = {"bitrate_mode": "CONSTANT", "compression_level": 0.9}  # 24 kbit/s at 22.05 kHz mono
FMA_BITRATE = {"bitrate_mode": "CONSTANT", "compression_level": 0.15}  # 256 kbit/s at 44.1 kHz stereo


def write(path: Path, samples, rate: int, **options) -> str:
    """Write in blocks: libsndfile's Vorbis encoder overflows its stack on a long one."""
    n_channels = samples.shape[1] if samples.ndim == 2 else 1
    with sf.SoundFile(path, "w", rate, n_channels, **options) as file:
        for start in range(0, len(samples), rate):
            file.write(samples[start : start + rate])
    return str(path)


def music(seconds: float, rate: int, n_channels: int = 1):
    """Chords that change every half second in noise, other ones in each channel."""
    rng = np.random.default_rng(n_channels)
    t = np.arange(round(seconds * rate))[:, None] / rate
    notes = rng.choice([220, 277.2, 329.6, 440, 554.4, 659.3], (2 * int(seconds) + 2, n_channels))
    tone = np.sin(2 * np.pi * notes[(2 * t[:, 0]).astype(int)] * t)
    return (0.2 * tone + 0.05 * rng.normal(size=tone.shape)).astype(np.float32)


def counting(path: Path, n: int, rate: int) -> bytes:
    """Write a song whose samples are their own index (see :func:`indices`) and return its bytes."""
    index = np.arange(n)
    if path.suffix == ".flac":
        sf.write(path, (index << 8).astype(np.int32), rate, subtype="PCM_24")
    else:
        sf.write(path, index.astype(np.float32), rate, subtype="FLOAT")
    return path.read_bytes()


def indices(path: Path, rate: int, **window):
    """Which samples of the song that :func:`counting` wrote the clip holds."""
    clip = audio.load(str(path), sample_rate=rate, **window).astype(float)
    return clip * 2**23 if path.suffix == ".flac" else clip


def in_one_read(path):
    """The whole file, mixed down, by one call of libsndfile: no seeking."""
    samples, rate = sf.read(path, dtype="float32", always_2d=True)
    return samples.mean(axis=1), rate


def clip_of(samples, rate: int):
    n = len(samples)
    if n <= 31 * rate:
        return samples
    return samples[30 * rate : 60 * rate] if n >= 60 * rate else samples[-30 * rate :]


def reason(uri, **options) -> str:
    with pytest.raises(DecodeError) as e:
        audio.load(str(uri), **options)
    assert len(e.value.detail.splitlines()) == 1
    return e.value.reason


# --- librosa's samples ------------------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "rate", "n_channels", "seconds", "start_s", "length_s", "sample_rate"),
    [
        ("long.wav", 44_100, 2, 62, 30, 30, 22_050),
        ("long.flac", 22_050, 1, 75, 30, 30, 22_050),
        ("long.ogg", 44_100, 2, 62, 30, 30, 22_050),
        ("long.mp3", 44_100, 2, 62, 30, 30, 22_050),
        ("a-minute.wav", 22_050, 1, 60, 30, 30, 22_050),
        ("middling.wav", 48_000, 8, 40, 10, 30, 22_050),
        ("middling.flac", 44_100, 2, 31.1, 1.1, 30, 16_000),
        ("middling.ogg", 22_050, 1, 45, 15, 30, 22_050),
        ("middling.mp3", 44_100, 2, 45, 15, 30, 22_050),
        ("clip.wav", 22_050, 1, 31, 0, None, 22_050),
        ("clip.flac", 22_050, 1, 30.013, 0, None, 8_000),
        ("clip.ogg", 44_100, 2, 5, 0, None, 22_050),
        ("clip.mp3", 44_100, 1, 30.013, 0, None, 22_050),
        ("clip.mp3", 22_050, 1, 30.013, 0, None, 22_050),
        ("short.wav", 44_100, 2, 0.05, 0, None, 48_000),
    ],
)
def test_the_clip_is_librosas(*, tmp_path, name, rate, n_channels, seconds, start_s, length_s, sample_rate):
    uri = write(tmp_path / name, music(seconds, rate, n_channels), rate)
    clip = audio.load(uri, sample_rate=sample_rate)
    offset = start_s + 0.5 / rate if start_s else 0  # librosa cuts the fraction of a sample off
    expected, _ = librosa.load(uri, sr=sample_rate, mono=True, offset=offset, duration=length_s)
    assert clip.dtype == np.float32
    assert clip.shape == expected.shape
    np.testing.assert_allclose(clip, expected, atol=1e-6)


@pytest.mark.thorough
def test_the_clip_of_real_songs_is_librosas(data):
    for path in sorted((data / "songs").iterdir()):
        whole, rate = in_one_read(path)
        np.testing.assert_allclose(audio.load(str(path), sample_rate=rate), clip_of(whole, rate), atol=1e-6)
        clip = audio.load(str(path), sample_rate=16_000)
        expected = librosa.resample(clip_of(whole, rate), orig_sr=rate, target_sr=16_000)
        np.testing.assert_allclose(clip, expected, atol=1e-6, err_msg=path.name)


@pytest.mark.parametrize("n_channels", [1, 2, 3, 8])
def test_channels_are_mixed_by_their_mean(tmp_path, n_channels):
    samples = np.random.default_rng(0).uniform(-1, 1, (70_000, n_channels)).astype(np.float32)
    uri = write(tmp_path / "song.wav", samples, 8_000, subtype="FLOAT")
    np.testing.assert_allclose(audio.load(uri, sample_rate=8_000), samples.mean(axis=1), atol=1e-6)


@pytest.mark.thorough
@pytest.mark.parametrize(("rate", "options"), [(22_050, LOW_BITRATE), (44_100, {"bitrate_mode": "VARIABLE"})])
def test_a_low_bitrate_mp3_is_decoded_without_glitches(tmp_path, rate, options):
    t = np.arange(45 * rate) / rate
    path = tmp_path / "song.mp3"
    write(path, 0.3 * np.sin(2 * np.pi * 440 * t) + 0.2 * np.sin(2 * np.pi * 1330 * t), rate, **options)
    expected = clip_of(in_one_read(path)[0], rate)
    np.testing.assert_allclose(audio.load(str(path), sample_rate=rate), expected, atol=1e-6)


# --- the window -------------------------------------------------------------------------------------------------


@pytest.mark.thorough
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rate=st.integers(1_000, 9_000),
    n=st.one_of(st.integers(1, 30_000), st.integers(65_000, 200_000)),
    offset=st.integers(0, 80_000),
    duration=st.one_of(st.integers(1, 9_000), st.integers(60_000, 150_000)),
    suffix=st.sampled_from([".wav", ".flac"]),
    lie=st.sampled_from([0, 1, 1_000_000]),
)
def test_the_window_is_the_right_stretch_of_the_song(*, tmp_path, rate, n, offset, duration, suffix, lie):
    path = tmp_path / f"song{suffix}"
    content = bytearray(counting(path, n, rate))
    if lie and suffix == ".wav":  # the header claims more samples than there are
        at = content.index(b"data") + 4
        content[at : at + 4] = struct.pack("<I", 4 * (n + lie))
        path.write_bytes(content)
    clip = indices(path, rate, offset_s=offset / rate, duration_s=duration / rate)
    if n <= duration + rate:  # a second of grace: it is a clip already
        start, stop = 0, n
    elif n >= offset + duration:
        start, stop = offset, offset + duration
    else:
        start, stop = n - duration, n
    np.testing.assert_array_equal(clip, np.arange(start, stop))


@pytest.mark.parametrize("claim", [0xFFFF_FFF0, 0xFFFF_FFFF, 4 * 140_000])
def test_a_wav_that_claims_more_than_it_holds_gives_its_true_last_window(tmp_path, claim):
    content = bytearray(counting(tmp_path / "song.wav", 70_000, 1_000))
    at = content.index(b"data") + 4
    content[4:8] = struct.pack("<I", min(claim + at, 0xFFFF_FFFF))
    content[at : at + 4] = struct.pack("<I", claim)
    (tmp_path / "song.wav").write_bytes(content)
    clip = indices(tmp_path / "song.wav", 1_000, offset_s=60)
    np.testing.assert_array_equal(clip, np.arange(40_000, 70_000))


def test_a_wav_whose_recorder_crashed_before_it_wrote_the_length_is_read_all_the_same(tmp_path):
    content = bytearray(counting(tmp_path / "song.wav", 70_000, 1_000))
    at = content.index(b"data") + 4
    content[4:8] = content[at : at + 4] = bytes(4)
    (tmp_path / "song.wav").write_bytes(content)
    np.testing.assert_array_equal(indices(tmp_path / "song.wav", 1_000, offset_s=30), np.arange(30_000, 60_000))


def test_a_wav_cut_in_the_middle_gives_its_true_last_window(tmp_path):
    content = counting(tmp_path / "song.wav", 70_000, 1_000)
    (tmp_path / "song.wav").write_bytes(content[: 4 * 50_000 + content.index(b"data") + 8])
    clip = indices(tmp_path / "song.wav", 1_000, offset_s=60)
    np.testing.assert_array_equal(clip, np.arange(20_000, 50_000))


def lying_flac(path: Path, claim: int) -> None:
    """A FLAC of 70 000 samples whose header claims `claim` (0: unknown, as a streaming encoder writes)."""
    content = bytearray(counting(path, 70_000, 1_000))
    rate_and_length = int.from_bytes(content[18:26], "big")
    content[18:26] = ((rate_and_length >> 36 << 36) | claim).to_bytes(8, "big")
    path.write_bytes(content)


@pytest.mark.parametrize("claim", [0, 140_000, 2**36 - 1])
def test_a_flac_that_lies_about_its_length_gives_its_clip(tmp_path, claim):
    lying_flac(tmp_path / "song.flac", claim)
    clip = indices(tmp_path / "song.flac", 1_000, offset_s=5)
    np.testing.assert_array_equal(clip, np.arange(5_000, 35_000))


@pytest.mark.parametrize("claim", [0, 70_001, 2**36 - 1])
def test_a_flac_that_lies_about_its_length_gives_its_true_last_window(tmp_path, claim):
    lying_flac(tmp_path / "song.flac", claim)
    clip = indices(tmp_path / "song.flac", 1_000, offset_s=60)
    np.testing.assert_array_equal(clip, np.arange(40_000, 70_000))


@pytest.mark.thorough
def test_a_clip_as_mp3_whose_length_is_a_guess_is_decoded_once(tmp_path, monkeypatch):
    path = Path(write(tmp_path / "whole.mp3", music(30, 44_100, 2), 44_100, **FMA_BITRATE))
    content = path.read_bytes()
    clip = tmp_path / "cut.mp3"
    clip.write_bytes(content[content.index(b"\xff\xfb", content.index(b"Info")) :])  # less the frame that tells it
    expected, rate = in_one_read(clip)
    assert len(expected) < sf.info(clip).frames
    monkeypatch.delattr("musicrec.audio.libsndfile.read_through")
    np.testing.assert_array_equal(audio.load(str(clip), sample_rate=rate), expected)


# --- real odd files ---------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_every_odd_file_gives_samples_or_a_reason(data):
    reasons, details = {}, []
    for path in sorted(p for p in (data / "odd").rglob("*") if p.is_file()):
        try:
            clip = audio.load(str(path))
        except DecodeError as e:
            reasons[path.name] = e.reason
            details.append(e.detail)
        else:
            assert clip.dtype == np.float32, path.name
            assert clip.ndim == 1
            assert 0 < len(clip) <= 31 * 22_050
            assert np.isfinite(clip).all()
    assert all(code.isidentifier() for code in reasons.values())
    assert all(len(detail.splitlines()) == 1 for detail in details)
    assert {"empty.wav", "10161_chorus.wav", "l3-compl-cut.mp3"} <= set(reasons)
    assert not {"format_test.m4a", "wrong_extension.aac", "bach.ogg", "l3-sin1k0db.bit"} & set(reasons)  # by FFmpeg
    assert "02 - increasing number of channels.flac" not in reasons
    assert reasons["test1_empty.wav"] == "empty"
    assert not [name for name in reasons if name.startswith(("chirp", "stereo", "real_8ch", "60 - mono"))]


@pytest.mark.thorough
def test_odd_flac_and_wav_files_decode_as_soundfile_decodes_them(data):
    n_compared = 0
    for path in sorted([*data.glob("odd/*/*.flac"), *data.glob("odd/*/*.wav")]):
        try:
            whole, rate = in_one_read(path)
        except (sf.LibsndfileError, MemoryError, ValueError):
            continue  # libsndfile gives up on it, or its header claims more than memory holds
        if len(whole):
            clip = audio.load(str(path), sample_rate=rate)
            np.testing.assert_allclose(clip, clip_of(whole, rate), atol=1e-6, err_msg=path.name)
            n_compared += 1
    assert n_compared > 40


# --- what is no song --------------------------------------------------------------------------------------------


def wav(path: Path, samples, **options) -> None:
    sf.write(path, np.asarray(samples, np.float32), 8_000, subtype="FLOAT", **options)


NO_SONGS = {
    "missing.wav": (lambda path: None, "missing"),
    "empty.mp3": (Path.touch, "empty"),
    "text.mp3": (lambda path: path.write_text("these are words, no music\n" * 50), "undecodable"),
    "text.wav": (lambda path: path.write_text("RIFF and nothing"), "undecodable"),
    "headerless.raw": (lambda path: path.write_bytes(bytes(1000)), "undecodable"),
    "header-only.wav": (lambda path: wav(path, []), "empty"),
    "header-only.flac": (lambda path: sf.write(path, np.zeros(0), 8_000), "empty"),
    "nan.wav": (lambda path: wav(path, [0, np.nan, 0]), "not_finite"),
    "infinite.wav": (lambda path: wav(path, [0, np.inf, 0]), "not_finite"),
    "folder.wav": (Path.mkdir, "unreadable"),
    "33-channels.wav": (lambda path: wav(path, np.zeros((10, 33))), "unsupported"),
    "10-hertz.wav": (lambda path: sf.write(path, np.zeros(100), 10), "unsupported"),
}


@pytest.mark.parametrize("name", NO_SONGS)
def test_what_is_no_song_has_a_reason(tmp_path, name):
    make, expected = NO_SONGS[name]
    make(tmp_path / name)
    assert reason(tmp_path / name) == expected
    assert reason((tmp_path / name).as_uri()) == expected


@pytest.mark.parametrize("uri", ["ftp://example.org/song.mp3", "file://elsewhere/song.wav", "://song.wav"])
def test_other_places_are_unsupported(uri):
    assert reason(uri) == "unsupported"


@pytest.mark.parametrize("uri", ["s3://bucket/song.wav", "https://example.org/song.mp3"])
def test_what_must_be_fetched_has_no_path_here(uri):
    assert audio.is_remote(uri)
    with pytest.raises(DecodeError, match="unsupported"):
        audio.local_path(uri)


def test_nan_outside_the_clip_does_no_harm(tmp_path):
    samples = np.zeros(62 * 8_000)
    samples[8_000] = np.nan
    wav(tmp_path / "song.wav", samples)
    assert not audio.load(str(tmp_path / "song.wav"), sample_rate=8_000).any()


@pytest.mark.parametrize(
    "name",
    [
        "song.wav",
        "a b#c?d%20e.wav",
        "Séculaire – ÿ.wav",
        pytest.param(os.fsdecode(b"\xff\xfe.wav"), id="undecodable"),
    ],
)
def test_a_path_and_its_file_uri_name_the_same_file(tmp_path, name):
    path = tmp_path / name
    with path.open("wb") as f:
        sf.write(f, np.arange(100, dtype=np.float32), 8_000, format="WAV", subtype="FLOAT")
    uri = "file://" + quote(os.fsencode(path))
    assert audio.local_path(uri) == path
    for spelling in (str(path), uri):
        np.testing.assert_array_equal(audio.load(spelling, sample_rate=8_000), np.arange(100))


def test_a_decode_error_survives_pickling():
    error = pickle.loads(pickle.dumps(DecodeError("corrupt", "the decoder stopped")))
    assert (error.reason, error.detail, str(error)) == (
        "corrupt",
        "the decoder stopped",
        "corrupt: the decoder stopped",
    )


@pytest.mark.parametrize(("sample_rate", "seconds"), [(22_050, 3.7), (16_000, 0.001), (44_101, 1.3), (8_000, 2)])
def test_resampling_keeps_the_duration(tmp_path, sample_rate, seconds):
    samples = music(seconds, 44_100)
    clip = audio.load(write(tmp_path / "song.wav", samples, 44_100), sample_rate=sample_rate)
    assert len(clip) == -(-len(samples) * sample_rate // 44_100)
