"""What musicrec writes itself is what other decoders read: the same samples, tags and bytes each time."""

import io
import time

import av
import numpy as np
import pytest
from tinytag import TinyTag

from musicrec.audio.encode import FORMATS, can_encode, encode

LOSSLESS = {"wav", "flac", "alac", "mka", "wv", "tta"}
TAGS_READ = {"wav", "flac", "mp3", "ogg", "opus", "m4a", "aac", "alac", "wma"}  # by tinytag
RANDOM = {"ogg", "opus"}  # libsndfile gives each stream a number
TAGS = {"title": "A title", "artist": "An artist", "album": "An album"}


def music(seconds, rate, n_channels):
    """Tones that fade in, other ones in each channel; float32 [n, n_channels]."""
    t = np.arange(round(seconds * rate))[:, None] / rate
    hz = np.array([[330.0, 495.0]])[:, :n_channels]
    return (0.4 * np.minimum(t, 1) * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def decoded(content):
    """What FFmpeg reads of a file: its samples [n, n_channels], their rate, and the length that its header tells."""
    to_float = av.AudioResampler(format="flt")
    with av.open(io.BytesIO(content)) as file:
        seconds = (file.duration or 0) / av.time_base
        frames = [part for frame in file.decode(audio=0) for part in to_float.resample(frame)]
    n_channels = frames[0].layout.nb_channels
    samples = np.concatenate([frame.to_ndarray().reshape(-1, n_channels) for frame in frames])
    return samples, frames[0].sample_rate, seconds


@pytest.mark.thorough
@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("form", FORMATS)
def test_other_decoders_read_the_samples_that_were_written(form, n_channels):
    for rate in FORMATS[form].rates or (8_000, 44_100):
        samples = music(2.5, rate, n_channels)
        found, found_rate, seconds = decoded(encode(samples, rate, form))
        assert (found_rate, found.shape[1]) == (rate, n_channels)
        assert len(found) == pytest.approx(len(samples), abs=0.2 * rate)
        assert seconds == pytest.approx(2.5, abs=0.2)
        if form in LOSSLESS:
            np.testing.assert_allclose(found, samples, atol=2**-15)
        else:
            loudness = np.sqrt((found**2).sum(axis=0) / (samples**2).sum(axis=0))
            np.testing.assert_allclose(loudness, 1, atol=0.05, err_msg=f"{rate} Hz")


def test_one_channel_needs_no_second_axis():
    samples = music(0.5, 8_000, 1)
    for form in LOSSLESS:
        assert encode(samples[:, 0], 8_000, form) == encode(samples, 8_000, form)


@pytest.mark.parametrize("form", FORMATS)
def test_tags_are_those_that_tinytag_reads(form, tmp_path):
    rate = (FORMATS[form].rates or (44_100,))[0]
    path = tmp_path / f"song{FORMATS[form].suffix}"
    path.write_bytes(encode(music(0.5, rate, 1), rate, form, **TAGS))
    if form in TAGS_READ:
        tag = TinyTag.get(path)
        assert {name: getattr(tag, name) for name in TAGS} == TAGS
    else:
        assert not TinyTag.is_supported(path)


@pytest.mark.thorough
def test_equal_samples_give_equal_bytes_at_another_time_too():
    def all_forms():
        return {
            form: encode(music(0.5, rate, 2), rate, form, **TAGS)
            for form, how in FORMATS.items()
            for rate in [(how.rates or (44_100,))[0]]
        }

    first = all_forms()
    time.sleep(1.1)  # a container may hold the time of day
    second = all_forms()
    assert {form for form in FORMATS if first[form] != second[form]} == RANDOM


@pytest.mark.thorough
def test_minutes_at_once_do_not_crash_the_vorbis_encoder():
    noise = np.random.default_rng(0).normal(0, 0.1, 180 * 22_050).astype(np.float32)
    assert len(decoded(encode(noise, 22_050, "ogg"))[0]) == len(noise)


@pytest.mark.parametrize(
    ("form", "rate", "n_channels", "said"),
    [
        ("webm", 44_100, 1, "webm at 44100 Hz; expected one of 48000"),
        ("ac3", 22_050, 2, "ac3 at 22050 Hz"),
        ("wav", 8_000, 3, "3 channels; expected 1 or 2"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(form, rate, n_channels, said):
    with pytest.raises(ValueError, match=said):
        encode(np.zeros((100, n_channels), np.float32), rate, form)


def test_formats_that_the_libraries_lack(monkeypatch):
    assert all(can_encode(form) for form in FORMATS)
    monkeypatch.setitem(FORMATS, "ape", FORMATS["wv"]._replace(codec="ape"))  # FFmpeg decodes it only
    monkeypatch.setitem(FORMATS, "mpc", FORMATS["wv"]._replace(container="mpc"))
    assert not can_encode("ape")
    assert not can_encode("mpc")
    monkeypatch.setattr("soundfile.available_formats", lambda: {"WAV": "WAV (Microsoft)"})
    assert [form for form in ("wav", "mp3", "ogg", "opus") if can_encode(form)] == ["wav"]
