"""What FFmpeg decodes where libsndfile cannot: the samples of decoding from the very start, or a reason why not."""

import os
import struct
import subprocess
import sys
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from musicrec import audio
from musicrec.audio import ffmpeg, libsndfile
from musicrec.errors import DecodeError

WINDOW = {"offset_s": 3.0, "duration_s": 3.0}
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}


def music(seconds: float, rate: int, n_channels: int = 2):
    """Chords that change every half second in a little noise, other ones in each channel."""
    rng = np.random.default_rng(n_channels)
    t = np.arange(round(seconds * rate))[:, None] / rate
    notes = rng.choice([220, 277.2, 329.6, 440, 554.4, 659.3], (2 * int(seconds) + 2, n_channels))
    tone = np.sin(2 * np.pi * notes[(2 * t[:, 0]).astype(int)] * t)
    return (0.2 * tone + 0.02 * rng.normal(size=tone.shape)).astype(np.float32)


def encode(
    path: Path, samples, rate: int, codec: str, *, container: str | None = None,
    container_options: dict[str, str] | None = None, metadata: dict[str, str] | None = None, **options,
) -> Path:  # fmt: skip
    """Write samples [n, n_channels] by FFmpeg's encoders."""
    layout = LAYOUTS[samples.shape[1]]
    with av.open(path, "w", format=container, container_options=container_options) as file:
        file.metadata.update(metadata or {})
        stream = file.add_stream(codec, rate=rate, layout=layout, options=options)
        stream.bit_rate = 128_000
        for start in range(0, len(samples), 4096):
            block = samples[start : start + 4096].reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(block, format="flt", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def decode_from_start(path: Path):
    """The whole file, mixed down, converted by FFmpeg itself: no seeking, no code of ours.

    FFmpeg before 9, and later ones for some codecs, go on after the end that an mp4 states: that is cut off here.
    """
    to_float = av.AudioResampler(format="fltp")
    with av.open(path) as file:
        frames = [part for frame in file.decode(audio=0) for part in to_float.resample(frame)]
    rate = frames[0].sample_rate
    return np.concatenate([frame.to_ndarray() for frame in frames], axis=1).mean(axis=0)[: edited(path, rate)], rate


def at_edit(content: bytes) -> int:
    """Where the length of the only entry of an mp4's edit list stands (ISO 14496-12, 8.6.6)."""
    at = content.index(b"elst")
    assert struct.unpack(">II", content[at + 4 : at + 12]) == (0, 1)
    return at + 12


def edit_ticks_a_second(content: bytes) -> int:
    """Time scale of an edit list: that of the movie, 1 000 by some writers and the sample rate by others."""
    return struct.unpack(">I", content[content.index(b"mvhd") + 16 :][:4])[0]


def edited(path: Path, rate: int) -> int | None:
    """Length in samples that the edit list of an mp4 states; None of another container."""
    content = path.read_bytes()
    if content[4:8] != b"ftyp":
        return None
    (length,) = struct.unpack(">I", content[at_edit(content) :][:4])
    return round(length / edit_ticks_a_second(content) * rate)


def clip_of(samples, rate: int):
    """What WINDOW leaves of a song."""
    n = len(samples)
    if n <= 4 * rate:
        return samples
    return samples[3 * rate : 6 * rate] if n >= 6 * rate else samples[-3 * rate :]


def refusal(path: Path, **options) -> DecodeError:
    with pytest.raises(DecodeError) as e:
        audio.load(str(path), **options)
    assert len(e.value.detail.splitlines()) == 1
    return e.value


# --- the samples ------------------------------------------------------------------------------------------------


FORMATS = {  # name: codec, and options of the encoder
    "aac.m4a": ("aac", {"aac_pns": "0"}),
    "aac.aac": ("aac", {}),
    "aac.mkv": ("aac", {}),
    "alac.m4a": ("alac", {}),
    "alac.caf": ("alac", {}),
    "opus.webm": ("libopus", {}),
    "opus.mp4": ("libopus", {}),
    "mp3.mp4": ("libmp3lame", {}),
    "mp3.mkv": ("libmp3lame", {}),
    "wma.wma": ("wmav2", {}),
    "ac3.ac3": ("ac3", {}),
    "flac.mkv": ("flac", {}),
    "wavpack.wv": ("wavpack", {}),
}


@pytest.mark.thorough
@pytest.mark.parametrize("seconds", [2, 5, 8])
@pytest.mark.parametrize("name", FORMATS)
def test_the_clip_is_that_of_decoding_from_the_start(tmp_path, name, seconds):
    codec, options = FORMATS[name]
    rate = 48_000 if codec == "libopus" else 44_100
    path = encode(tmp_path / name, music(seconds, rate), rate, codec, **options)
    with pytest.raises(sf.LibsndfileError):  # else this would test the other decoder
        sf.info(path)
    whole, decoded_rate = decode_from_start(path)
    assert decoded_rate == rate
    np.testing.assert_allclose(audio.load(str(path), sample_rate=rate, **WINDOW), clip_of(whole, rate), atol=1e-6)


MP4S = {
    "aac.m4a": ("aac", 44_100),
    "aac.mov": ("aac", 22_050),
    "aac.3gp": ("aac", 48_000),
    "alac.m4a": ("alac", 44_100),
    "flac.mp4": ("flac", 44_100),
    "opus.mp4": ("libopus", 48_000),
    "mp3.mp4": ("libmp3lame", 44_100),
    "pcm.mov": ("pcm_s16le", 44_100),
}


@pytest.mark.parametrize("seconds", [0.5, 2, 5.123])
@pytest.mark.parametrize("name", MP4S)
def test_an_mp4_ends_where_it_says(tmp_path, name, seconds):
    """Not at the end of its last packet; the end of the sound is what was encoded, not what an encoder put after it."""
    codec, rate = MP4S[name]
    samples = music(seconds, rate)
    path = encode(tmp_path / name, samples, rate, codec)
    clip = audio.load(str(path), sample_rate=rate)
    assert len(clip) == edited(path, rate)
    assert abs(len(clip) - len(samples)) <= rate / 1000  # an edit list counts milliseconds
    tail = slice(len(clip) - rate // 4, len(clip) - rate // 100)
    assert np.corrcoef(clip[tail], samples.mean(axis=1)[tail])[0, 1] > 0.7


@pytest.mark.thorough
@pytest.mark.parametrize("ms", [1999, 1500, 1000, 333])
@pytest.mark.parametrize("name", MP4S)
def test_an_mp4_that_an_edit_list_shortens_ends_there(tmp_path, name, ms):
    codec, rate = MP4S[name]
    path = encode(tmp_path / name, music(2, rate), rate, codec)
    whole = audio.load(str(path), sample_rate=rate)
    content = bytearray(path.read_bytes())
    at = at_edit(content)
    content[at : at + 4] = struct.pack(">I", ms * edit_ticks_a_second(content) // 1000)
    path.write_bytes(content)
    clip = audio.load(str(path), sample_rate=rate)
    np.testing.assert_allclose(clip, whole[: edited(path, rate)], atol=1e-6)
    assert len(clip) == pytest.approx(ms / 1000 * rate, abs=1)


@pytest.mark.parametrize("name", ["aac.m4a", "alac.m4a", "opus.mp4"])
def test_a_track_header_that_is_far_too_short_costs_no_sound(tmp_path, name):
    """Without an edit list nothing shortens the track: its samples count, not the duration in a header."""
    codec, rate = MP4S[name]
    path = encode(tmp_path / name, music(2, rate), rate, codec)
    content = path.read_bytes().replace(b"edts", b"free")
    path.write_bytes(content)
    whole = audio.load(str(path), sample_rate=rate)
    at = content.index(b"mdhd") + 20
    path.write_bytes(content[:at] + struct.pack(">I", rate // 2) + content[at + 4 :])
    np.testing.assert_array_equal(audio.load(str(path), sample_rate=rate), whole)


@pytest.mark.parametrize("flags", ["empty_moov+frag_keyframe", "empty_moov+delay_moov", "faststart"])
@pytest.mark.parametrize("name", ["aac.m4a", "alac.m4a", "opus.mp4"])
def test_a_fragmented_mp4_ends_with_what_was_encoded(tmp_path, name, flags):
    """Its header was written before its length was known: the last packet tells it."""
    codec, rate = MP4S[name]
    samples = music(5, rate)
    path = encode(tmp_path / name, samples, rate, codec, container_options={"movflags": flags})
    clip = audio.load(str(path), sample_rate=rate)
    delay = 1024 if codec == "aac" and flags == "empty_moov+frag_keyframe" else 0  # which nothing in the file tells
    assert len(clip) == len(samples) + delay


@pytest.mark.parametrize("name", ["song.m4a", "song.wma", "song.mka", "song.wv"])
def test_tags_in_any_encoding_do_no_harm(tmp_path, name):
    """PyAV 18 refused them unless told not to; from PyAV 19 on they come with surrogates, which no table can hold."""
    codec = {"m4a": "alac", "wma": "wmav2", "mka": "flac", "wv": "wavpack"}[name.rpartition(".")[2]]
    path = encode(tmp_path / name, music(2, 44_100), 44_100, codec, metadata={"title": "Cafe", "artist": "Cafe"})
    plain = audio.load(str(path), sample_rate=44_100)
    content = path.read_bytes()
    latin_1 = content.replace(b"Cafe", b"Caf\xe9").replace("Cafe".encode("utf-16-le"), b"C\0a\0f\0\0\xd8")
    assert latin_1 != content
    path.write_bytes(latin_1)
    np.testing.assert_array_equal(audio.load(str(path), sample_rate=44_100), plain)


@pytest.mark.parametrize("name", ["aac.m4a", "alac.m4a", "opus.webm", "mp3.mkv"])
def test_the_encoders_delay_is_gone(tmp_path, name):
    """Where the container tells it; wma and bare aac do not, and FFmpeg leaves it in."""
    codec, options = FORMATS[name]
    rate = 48_000 if codec == "libopus" else 44_100
    samples = music(8, rate)
    path = encode(tmp_path / name, samples, rate, codec, **options)
    clip = audio.load(str(path), sample_rate=rate, **WINDOW)
    true = samples.mean(axis=1)
    n, lags = rate, range(-2500, 2501)
    error = [np.abs(true[3 * rate + lag :][:n:7] - clip[:n:7]).mean() for lag in lags]
    assert lags[int(np.argmin(error))] == 0


@pytest.mark.parametrize(
    "codec", ["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "wavpack"]
)
@pytest.mark.parametrize("n_channels", LAYOUTS)
def test_samples_of_any_type_are_mixed_by_their_mean(tmp_path, codec, n_channels):
    samples = np.random.default_rng(0).integers(-128, 128, (70_000, n_channels)).astype(np.float32) / 128
    path = encode(tmp_path / "song.mkv", samples, 8_000, codec)
    clip = audio.load(str(path), sample_rate=8_000)
    np.testing.assert_allclose(clip, samples.mean(axis=1), atol=1e-6)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rate=st.integers(1_000, 9_000),
    n=st.one_of(st.integers(1, 30_000), st.integers(65_000, 200_000)),
    offset=st.integers(0, 80_000),
    duration=st.one_of(st.integers(1, 9_000), st.integers(60_000, 150_000)),
    suffix=st.sampled_from([".mov", ".mkv"]),  # the one is sought in, the other read through
)
def test_the_window_is_the_right_stretch_of_the_song(*, tmp_path, rate, n, offset, duration, suffix):
    index = np.arange(n, dtype=np.float32)[:, None]
    path = encode(tmp_path / f"song{suffix}", index, rate, "pcm_f32le")
    clip = audio.load(str(path), sample_rate=rate, offset_s=offset / rate, duration_s=duration / rate)
    start, stop = audio.clip_window(n, rate, offset / rate, duration / rate)
    np.testing.assert_array_equal(clip, np.arange(start, stop))


def test_noise_that_aac_draws_is_all_that_a_seek_changes(tmp_path):
    path = encode(tmp_path / "song.m4a", music(8, 44_100), 44_100, "aac", aac_pns="1")
    clip = audio.load(str(path), sample_rate=44_100, **WINDOW)
    np.testing.assert_array_equal(clip, audio.load(str(path), sample_rate=44_100, **WINDOW))
    expected = clip_of(*decode_from_start(path))
    assert np.sqrt(np.mean((clip - expected) ** 2)) < 0.05 * expected.std()


def test_only_the_sound_of_a_video_is_decoded(tmp_path):
    samples = music(3, 44_100)
    path = tmp_path / "video.mp4"
    with av.open(path, "w") as file:
        picture = file.add_stream("mpeg4", rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
        sound = file.add_stream("alac", rate=44_100, layout="stereo")
        for i in range(75):
            file.mux(picture.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), i, np.uint8), format="rgb24")))
            frame = av.AudioFrame.from_ndarray(samples[1764 * i : 1764 * (i + 1)].T.copy(), "fltp", "stereo")
            frame.sample_rate, frame.pts, frame.time_base = 44_100, 1764 * i, Fraction(1, 44_100)
            file.mux(sound.encode(frame))
        file.mux(picture.encode(None))
        file.mux(sound.encode(None))
    clip = audio.load(str(path), sample_rate=44_100)
    np.testing.assert_allclose(clip, samples.mean(axis=1), atol=1e-6)


# --- both decoders ----------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_both_decoders_give_the_same_samples_of_real_songs(data):
    """Of wav and flac exactly, of ogg and mp3 up to rounding.

    Not of mp3 without a LAME tag: libsndfile drops the 529 samples by which every decoder lags, FFmpeg does not.
    """
    paths = [*sorted((data / "songs").iterdir()), *sorted(data.glob("gtzan/*/*.0000[0-4].*"))]
    assert len({path.suffix for path in paths}) == 4
    for path in paths:
        ours, rate = libsndfile.decode(path, 30, 30, audio.DEFAULT_LIMITS)
        theirs, their_rate = ffmpeg.decode(path, 30, 30, audio.DEFAULT_LIMITS)
        assert rate == their_rate
        exact = path.suffix in (".wav", ".flac")
        np.testing.assert_allclose(theirs, ours, atol=0 if exact else 1e-5, rtol=0, err_msg=path.name)


def test_both_decoders_nearly_agree_on_opus(tmp_path):
    """FFmpeg has an Opus decoder of its own, which is not bit-exact: the difference lies below -50 dB."""
    path = encode(tmp_path / "song.ogg", music(8, 48_000), 48_000, "libopus", container="ogg")
    ours, rate = libsndfile.decode(path, 3, 3, audio.DEFAULT_LIMITS)
    theirs, _ = ffmpeg.decode(path, 3, 3, audio.DEFAULT_LIMITS)
    assert rate == 48_000
    assert ours.shape == theirs.shape
    assert np.sqrt(np.mean((ours - theirs) ** 2)) < 10 ** (-50 / 20) * ours.std()


@pytest.mark.parametrize("suffix", [".wav", ".mkv"])
def test_limits_hold_for_both_decoders(tmp_path, suffix):
    path = encode(tmp_path / f"song{suffix}", music(2, 8_000), 8_000, "pcm_s16le")
    assert audio.load(str(path), sample_rate=8_000).shape == (16_000,)
    for limit, reason in [
        (audio.Limits(max_channels=1), "unsupported"),
        (audio.Limits(max_rate_hz=7_999), "unsupported"),
        (audio.Limits(min_rate_hz=8_001), "unsupported"),
        (audio.Limits(max_bytes=path.stat().st_size - 1), "too_large"),
    ]:
        assert refusal(path, limits=limit).reason == reason


@pytest.mark.parametrize(("name", "codec"), [("song.flac", "flac"), ("song.mkv", "pcm_s16le")])
def test_no_more_is_read_through_than_the_limit(tmp_path, name, codec):
    path = encode(tmp_path / name, music(50, 8_000, 1), 8_000, codec)
    if codec == "flac":  # a header that promises more than there is: only reading tells where it ends
        content = bytearray(path.read_bytes())
        content[21:26] = (int.from_bytes(content[21:26], "big") | (2**36 - 1)).to_bytes(5, "big")
        path.write_bytes(content)
    clip = audio.load(str(path), sample_rate=8_000, offset_s=1000, limits=audio.Limits(max_decoded_s=51))
    assert clip.shape == (240_000,)
    assert refusal(path, offset_s=1000, limits=audio.Limits(max_decoded_s=30)).reason == "too_large"


MEASURE = """
import resource, sys
import av
from musicrec import audio
audio.load(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for offset_s in (30, 1100, 5000):
    assert len(audio.load(sys.argv[2], offset_s=offset_s)) == 30 * 22050
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "codec"), [("song.flac", "flac"), ("song.m4a", "alac"), ("song.mkv", "flac")])
def test_memory_does_not_grow_with_the_song(tmp_path, name, codec):
    """Twenty minutes, 400 MiB as floats, cost no more than the one minute decoded before."""
    paths = [
        encode(tmp_path / f"{seconds}-{name}", np.zeros((seconds * 44_100, 2), np.float32), 44_100, codec)
        for seconds in (62, 1200)
    ]
    run = [sys.executable, "-c", MEASURE, *map(str, paths)]
    grown = subprocess.run(run, check=True, capture_output=True, text=True, timeout=120).stdout
    assert int(grown) < 20


# --- damage and tricks ------------------------------------------------------------------------------------------


@pytest.fixture
def aac(tmp_path) -> Path:
    """Packets that each tell where they start, so that nothing else need be whole."""
    return encode(tmp_path / "song.aac", music(8, 44_100), 44_100, "aac")


def test_a_cut_file_gives_its_true_last_window(aac):
    aac.write_bytes(aac.read_bytes()[: aac.stat().st_size * 2 // 3])
    with av.open(aac) as file:
        frames = []
        with suppress(av.FFmpegError):  # by the last packet, cut in two
            frames.extend(frame.to_ndarray() for frame in file.decode(audio=0))
    whole = np.concatenate(frames, axis=1).mean(axis=0)
    assert 4.5 * 44_100 < len(whole) < 6 * 44_100
    clip = audio.load(str(aac), sample_rate=44_100, **WINDOW)
    np.testing.assert_allclose(clip, whole[-3 * 44_100 :], atol=1e-6)


@pytest.mark.thorough
def test_damage_in_the_middle_is_corrupt(aac):
    content = bytearray(aac.read_bytes())
    at = len(content) // 2
    content[at : at + 3000] = np.random.default_rng(0).bytes(3000)
    aac.write_bytes(content)
    assert refusal(aac, **WINDOW).reason == "corrupt"


@pytest.mark.thorough
def test_damage_before_the_clip_does_no_harm_where_it_is_sought(tmp_path):
    path = encode(tmp_path / "song.m4a", music(8, 44_100), 44_100, "aac", aac_pns="0")
    sound = clip_of(*decode_from_start(path))
    content = bytearray(path.read_bytes())
    at = content.index(b"mdat") + 10_000
    content[at : at + 3000] = np.random.default_rng(0).bytes(3000)
    path.write_bytes(content)
    np.testing.assert_allclose(audio.load(str(path), sample_rate=44_100, **WINDOW), sound, atol=1e-6)


@pytest.mark.parametrize("n_bytes", [8, 100, 5000])
def test_an_m4a_without_its_index_is_undecodable(tmp_path, n_bytes):
    path = encode(tmp_path / "song.m4a", music(5, 44_100), 44_100, "aac")
    path.write_bytes(path.read_bytes()[:n_bytes])
    assert refusal(path).reason == "undecodable"


def test_a_picture_is_undecodable(tmp_path):
    path = tmp_path / "silent.mp4"
    with av.open(path, "w") as file:
        picture = file.add_stream("mpeg4", rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
        file.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        file.mux(picture.encode(None))
    assert refusal(path).reason == "undecodable"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nsong.aac\n#EXT-X-ENDLIST\n"),
        ("list.aac", "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nsong.aac\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile song.aac\n"),
    ],
)
def test_a_list_of_other_files_is_no_song(tmp_path, aac, name, text):
    assert aac == tmp_path / "song.aac"
    (tmp_path / name).write_text(text)
    assert refusal(tmp_path / name).reason == "undecodable"


@pytest.mark.parametrize("name", ["a b#c?d%20e.m4a", "concat:a|b.m4a", "data:x.m4a", os.fsdecode(b"\xff\xfe.m4a")])
def test_no_name_means_anything_but_the_file(tmp_path, monkeypatch, name):
    samples = music(1, 8_000, 1)
    encode(tmp_path / "song.m4a", samples, 8_000, "alac").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for spelling in (name, str(tmp_path / name), (tmp_path / name).as_uri()):
        np.testing.assert_allclose(audio.load(spelling, sample_rate=8_000), samples[:, 0], atol=1e-6)
