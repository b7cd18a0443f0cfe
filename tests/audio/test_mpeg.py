"""MPEG audio whose length is a guess, or that changes midway: what reading every frame gives, wherever the clip is."""

from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from made_files import WAYS, written
from made_music import music as made_music
from musicrec import audio
from musicrec.audio import libsndfile
from musicrec.errors import DecodeError

pytestmark = pytest.mark.thorough

RATE = 44_100
LAYOUTS = {1: "mono", 2: "stereo"}
VBR = {"flags": "+qscale", "global_quality": str(4 * 118)}


def music(seconds: float, rate: int = RATE, n_channels: int = 2):
    """Chords and noise whose loudness goes down and up: an encoder of variable bit rate needs many bits at first."""
    rng = np.random.default_rng(n_channels)
    t = np.arange(round(seconds * rate))[:, None] / rate
    notes = rng.choice([220, 277.2, 329.6, 440, 554.4, 659.3], (2 * int(seconds) + 2, n_channels))
    tone = 0.2 * np.sin(2 * np.pi * notes[(2 * t[:, 0]).astype(int)] * t) + 0.1 * rng.normal(size=(len(t), n_channels))
    return (tone * np.cos(np.pi * t / seconds) ** 2).astype(np.float32)


def encode(path: Path, samples, rate: int = RATE, *, tag: bool = False, codec: str = "libmp3lame", **options) -> Path:
    """Write samples [n, n_channels] by FFmpeg; with a Xing or Info tag, or without."""
    layout = LAYOUTS[samples.shape[1]]
    container = {"container_options": {"write_xing": str(int(tag))}} if path.suffix == ".mp3" else {}
    with av.open(path, "w", **container) as file:
        stream = file.add_stream(codec, rate=rate, layout=layout, options={"compression_level": "9"} | options)
        for start in range(0, len(samples), 4096):
            block = samples[start : start + 4096].reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(block, format="flt", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def every_frame(path: Path, rate: int = RATE):
    """All frames that FFmpeg finds, from the first on, mixed down: no seeking, no code of ours."""
    blocks = [np.zeros(0, np.float32)]
    for frame in frames_of(path):
        assert frame.sample_rate == rate
        blocks.append(av.AudioResampler(format="fltp").resample(frame)[0].to_ndarray().mean(axis=0))
    return np.concatenate(blocks)


def frames_of(path: Path):
    """The frames that FFmpeg finds and its decoder takes."""
    with av.open(path) as file:
        for packet in file.demux(audio=0):
            with suppress(av.FFmpegError):
                yield from packet.decode()


def one_after_another(*paths: Path):
    """What libsndfile gives of each file, one after the other, at the rate of the first."""
    first, *others = [sf.read(path, dtype="float32", always_2d=True) for path in paths]
    resampled = [soxr.resample(samples.mean(axis=1), rate, first[1]) for samples, rate in others]
    return np.concatenate([first[0].mean(axis=1), *resampled])


def clip(path: Path, offset_s: float, duration_s: float = 10.0, rate: int = RATE):
    return audio.load(str(path), sample_rate=rate, offset_s=offset_s, duration_s=duration_s)


def joined(path: Path, *parts: Path, between: bytes = b"") -> Path:
    path.write_bytes(between.join(part.read_bytes() for part in parts))
    return path


@pytest.fixture(scope="module")
def songs(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("songs")
    stereo = music(20)
    return {
        "vbr": encode(folder / "vbr.mp3", stereo, **VBR),
        "tagged": encode(folder / "tagged.mp3", stereo, tag=True, **VBR),
        "mono": encode(folder / "mono.mp3", music(10, n_channels=1), tag=True, **VBR),
        "48 kHz": encode(folder / "48.mp3", music(10, 48_000), 48_000, tag=True, **VBR),
        "low": encode(folder / "low.mp3", music(20, 24_000, 1), 24_000, b="8000"),
        "layer 2": encode(folder / "song.mp2", stereo, codec="mp2", b="192000"),
    }


@pytest.mark.parametrize("offset_s", [0, 7, 19.5])
@pytest.mark.parametrize("name", ["vbr", "low", "layer 2"])
def test_a_length_that_is_a_guess_is_not_believed(songs, name, offset_s):
    path = songs[name]
    rate = sf.info(path).samplerate
    if name == "vbr":
        assert sf.info(path).frames < 17 * rate, "libsndfile guesses right: the test shows nothing"
    whole = every_frame(path, rate)
    start, stop = audio.clip_window(len(whole), rate, offset_s, 10)
    np.testing.assert_allclose(clip(path, offset_s, rate=rate), whole[start:stop], atol=5e-5)


@pytest.mark.parametrize("codec", ["libmp3lame", "mp2"])
@pytest.mark.parametrize("tag", [b"", b"ID3\4\0\0\0\0\x10\0" + bytes(2048)])
def test_mpeg_audio_in_a_wav_is_every_frame(tmp_path, codec, tag):
    path = encode(tmp_path / "song.wav", music(20), codec=codec, **(VBR if codec == "libmp3lame" else {"b": "192000"}))
    whole = every_frame(path)
    if codec == "libmp3lame":
        assert sf.info(path).frames < 17 * RATE, "libsndfile guesses right: the test shows nothing"
    path.write_bytes(tag + path.read_bytes() + b"LIST" + bytes(100))
    for offset_s in (0, 7, 19.5):
        start, stop = audio.clip_window(len(whole), RATE, offset_s, 10)
        np.testing.assert_allclose(clip(path, offset_s), whole[start:stop], atol=5e-5)


@pytest.mark.parametrize("before", [bytes(70_000), b"ID3\4\0\0\0\0\x10\0" + bytes(2048 + 70_000)])
def test_tags_and_zeros_in_any_order_are_no_music(songs, tmp_path, before):
    path = tmp_path / "song.mp3"
    path.write_bytes(b"ID3\4\0\0\0\0\x10\0" + bytes(2048) + before + songs["vbr"].read_bytes())
    np.testing.assert_allclose(clip(path, 7), every_frame(songs["vbr"])[7 * RATE : 17 * RATE], atol=5e-5)


def test_damage_does_not_end_a_song_whose_tag_has_the_right_size(tmp_path):
    """Two files cut and joined so that the tag of the first counts the bytes of the file, to less than a frame."""
    rate, path = WAYS["mp3 low"].rate, tmp_path / "song.mp3"
    first, second = (written(made_music(5, rate, 1, seed), WAYS["mp3 low"]) for seed in (0, 1))
    path.write_bytes(first[:2520] + second[2485:])
    n = sum(frame.samples for frame in frames_of(path))
    whole = clip(path, 0, 1000, rate)
    assert n > 4.5 * rate
    assert abs(len(whole) - n) <= 10 * 576  # FFmpeg leaves out frames that lack bits of lost ones
    stretch = np.concatenate(list(audio.stream(str(path), sample_rate=rate)))
    for ours in (whole, stretch):
        lag = max(range(-4000, 4001), key=lambda i: float(ours[2 * rate + i :][:rate] @ of_second(2, rate)))
        assert np.corrcoef(ours[3 * rate + lag :][:rate], of_second(3, rate))[0, 1] > 0.9


def of_second(start_s: int, rate: int):
    """A second of the music that the second of the two files holds."""
    return made_music(5, rate, 1, 1)[:, 0][start_s * rate :][:rate]


def test_a_true_tag_saves_the_scan(songs, monkeypatch):
    def scan(*_):
        raise AssertionError("the file was scanned")

    monkeypatch.setattr("musicrec.audio.mpeg.scan", scan)
    whole = one_after_another(songs["tagged"])
    np.testing.assert_allclose(clip(songs["tagged"], 5), whole[5 * RATE : 15 * RATE], atol=1e-6)
    with pytest.raises(AssertionError, match="scanned"):
        clip(songs["vbr"], 15)


@pytest.mark.parametrize("tail", [b"TAG".ljust(128, b"\0"), b"some bytes that are no tag " * 1000])
def test_what_an_encoder_added_is_dropped_whoever_counts_the_frames(songs, tmp_path, tail):
    path = tmp_path / "song.mp3"
    path.write_bytes(songs["tagged"].read_bytes() + tail)
    np.testing.assert_allclose(clip(path, 0, 60), one_after_another(songs["tagged"]), atol=1e-6)


@pytest.mark.parametrize("between", [b"", b"TAG".ljust(128, b"\0"), b"ID3\4\0\0\0\0\x02\0" + b"\xff\xfb\x90\x64" * 64])
@pytest.mark.parametrize("second", ["tagged", "mono", "48 kHz"])
def test_joined_files_sound_one_after_the_other(songs, tmp_path, second, between):
    path = joined(tmp_path / "song.mp3", songs["tagged"], songs[second], between=between)
    whole = one_after_another(songs["tagged"], songs[second])
    for offset_s in (0, 15, 26):
        start, stop = audio.clip_window(len(whole), RATE, offset_s, 10)
        np.testing.assert_allclose(clip(path, offset_s), whole[start:stop], atol=2e-4)


def test_joined_files_without_tags_are_every_frame(songs, tmp_path):
    mono = encode(tmp_path / "mono.mp3", music(10, n_channels=1), b="64000")
    path = joined(tmp_path / "song.mp3", songs["vbr"], mono, songs["vbr"])
    parts = [every_frame(part) for part in (songs["vbr"], mono, songs["vbr"])]
    whole, seams = np.concatenate(parts), np.cumsum([len(part) for part in parts])[:2]
    is_seam = np.min([np.abs(np.arange(len(whole)) - seam - 1152) for seam in seams], axis=0) < 1152  # sounds overlap
    for offset_s in (0, 13, 25, 35):
        start, stop = audio.clip_window(len(whole), RATE, offset_s, 10)
        difference = np.abs(clip(path, offset_s) - whole[start:stop])
        assert difference[~is_seam[start:stop]].max() < 1e-3


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(5_000, 250_000), offset_s=st.floats(0, 40), first=st.sampled_from(["vbr", "tagged"]))
def test_a_file_cut_anywhere_and_joined_gives_no_less_than_its_frames(songs, tmp_path, cut, offset_s, first):
    path = tmp_path / "song.mp3"
    path.write_bytes(songs[first].read_bytes()[:cut] + songs["vbr"].read_bytes())
    n = sum(frame.samples for frame in frames_of(path))
    whole = clip(path, 0, 1000)
    assert abs(len(whole) - n) <= 4 * 1152  # what the tag says was added, and the frame that was cut
    start, stop = audio.clip_window(len(whole), RATE, offset_s, 10)
    np.testing.assert_allclose(clip(path, offset_s), whole[start:stop], atol=5e-5)


@pytest.mark.parametrize("name", ["l3-he_mode.bit", "l3-he_free.bit", "l3-he_32khz.bit", "M2L3_bitrate_22_all.bit"])
def test_the_standards_own_streams_are_decoded_to_their_end(data, name):
    path = data / "odd" / "mp3" / name
    rate = sf.info(path).samplerate
    ours = clip(path, 0, 60, rate)
    whole = in_one_read(path) if "free" in name else every_frame(path, rate)  # FFmpeg knows no free format
    assert len(ours) == len(whole)
    np.testing.assert_allclose(ours, whole, atol=1e-4)


def in_one_read(path: Path):
    """What libsndfile gives until it stops."""
    with libsndfile._Stream(path) as file:
        return file.read(100_000, dtype="float32", always_2d=True).mean(axis=1)


@pytest.mark.parametrize("tag", [True, False])
@pytest.mark.parametrize("copies", [1, 2])
def test_free_format_is_what_the_same_bits_with_a_bit_rate_are(tmp_path, tag, copies):
    named = encode(tmp_path / "named.mp3", music(10, 48_000), 48_000, tag=tag, b="128000")  # 384 bytes a frame
    content = bytearray(copies * named.read_bytes()[_after_id3(named) :])
    named.write_bytes(content)
    for at in range(0, len(content), 384):
        assert content[at] == 0xFF
        content[at + 2] &= 0x0F  # no bit rate
        content[at + 3] |= 0x40  # joint stereo, also in the tag's frame: libsndfile knows frames by it
    free = tmp_path / "free.mp3"
    free.write_bytes(content)
    for offset_s in (0, 6, 8):
        np.testing.assert_allclose(clip(free, offset_s, 5, 48_000), clip(named, offset_s, 5, 48_000), atol=5e-5)
    assert abs(len(clip(free, 0, 100, 48_000)) - copies * 10 * 48_000) <= (0 if tag else 2 * 1152 * copies)


def _after_id3(path: Path) -> int:
    size = path.read_bytes()[6:10]
    return 10 + sum(byte << shift for byte, shift in zip(size, (21, 14, 7, 0), strict=True))


def test_free_format_that_no_decoder_here_reads_fails_with_that_reason(data):
    with pytest.raises(DecodeError, match=r"undecodable: .*free format"):
        clip(data / "odd" / "mp3" / "l2-nonstandard-free_format.bit", 0)
