"""Lengths of songs whose headers only guess, beside the samples that FFmpeg decodes."""

import io
import subprocess
import sys

import av
import numpy as np
import pytest

from made_files import WAYS, written
from made_music import music as made_music
from musicrec.stages.catalog.file_tags.chunks import read_aiff, read_caf, read_riff, read_w64
from musicrec.stages.catalog.file_tags.lengths import length_s
from musicrec.stages.catalog.file_tags.read import read_tags
from tagged_files import id3, music, text_frame

pytestmark = pytest.mark.thorough

RATE = 44_100
SHRINK = """
import os, sys
from pathlib import Path
from musicrec.audio import mpeg_frames
from musicrec.stages.catalog.file_tags.read import read_tags

path, first_frame = Path(sys.argv[1]), mpeg_frames.first_frame

def then_shrink(content, at):
    found = first_frame(content, at)
    os.truncate(path, 10_000)
    return found

mpeg_frames.first_frame = then_shrink
read_tags(path)
"""


def song(form, path, codec, seconds=20.0, rate=RATE, **options):
    """Silence, then ever louder noise, so that the bit rate of the first frames says nothing about the others."""
    rng = np.random.default_rng(0)
    samples = (np.linspace(0, 0.5, round(seconds * rate)) * rng.normal(size=round(seconds * rate))).astype(np.float32)
    samples[: len(samples) // 4] = 0
    with av.open(path, "w", format=form, container_options=options.pop("container", {})) as file:
        stream = file.add_stream(codec, rate, options=options, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], "fltp", "mono")
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(stream.format, "mono", rate, stream.frame_size or None)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    return path


def decoded_s(path):
    with av.open(path) as file:
        return sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0))


FORMS = {
    "adts": ("adts", "aac", {}),
    "mp3 of variable bit rate without a header": (
        "mp3",
        "libmp3lame",
        {
            "container": {"write_xing": "0"},
            "compression_level": "9",
            "global_quality": str(4 * 118),
            "flags": "+qscale",
        },
    ),
    "mp3 of constant bit rate without a header": ("mp3", "libmp3lame", {"container": {"write_xing": "0"}, "b": "128k"}),
    "mp3 with a header": ("mp3", "libmp3lame", {"b": "128k"}),
    "wv": ("wv", "wavpack", {}),
    "tta": ("tta", "tta", {}),
    "caf": ("caf", "pcm_s16be", {}),
    "alac in caf": ("caf", "alac", {}),
    "au": ("au", "pcm_s16be", {}),
    "mka": ("matroska", "flac", {}),
    "flac in ogg": ("oga", "flac", {}),
    "aiff": ("aiff", "pcm_s16be", {}),
    "aiff of ADPCM": ("aiff", "adpcm_ima_qt", {}),
    "wav of ADPCM": ("wav", "adpcm_ima_wav", {}),
    "wav of G.722": ("wav", "g722", {}),
    "w64": ("w64", "pcm_s16le", {}),
    "mp3 in wav": ("wav", "libmp3lame", {"global_quality": str(4 * 118), "flags": "+qscale"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_lengths_are_those_that_ffmpeg_decodes(tmp_path, form):
    container, codec, options = FORMS[form]
    path = song(container, tmp_path / f"x.{container}", codec, **options)
    if form.startswith("mp3 of variable"):
        assert b"Xing" not in path.read_bytes()
    found, expected = read_tags(path).duration_s, decoded_s(path)
    assert found == pytest.approx(expected, abs=0.06)  # an encoder's delay, at most


def test_a_wav_from_a_pipe_is_as_long_as_its_file(tmp_path):
    data = song("wav", tmp_path / "x.wav", "pcm_s16le", 3.0).read_bytes()
    at = data.index(b"data")
    for size in (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f"):
        (tmp_path / "x.wav").write_bytes(data[: at + 4] + size + data[at + 8 :])
        assert read_tags(tmp_path / "x.wav").duration_s == pytest.approx(3.0, abs=0.01)


@pytest.mark.parametrize("form", ["wav", "w64", "aiff"])
def test_a_head_without_a_size_is_as_long_as_its_file(tmp_path, form):
    path = song(form, tmp_path / "x", "pcm_s16be" if form == "aiff" else "pcm_s16le", 3.0)
    content, place = path.read_bytes(), {"wav": b"data", "w64": b"data\xf3\xac", "aiff": b"COMM"}[form]
    at = content.index(place) + {"wav": 4, "w64": 16, "aiff": 10}[form]
    path.write_bytes(content[:at] + bytes(4) + content[at + 4 :])
    assert read_tags(path).duration_s == pytest.approx(3.0, abs=0.01)


@pytest.mark.parametrize("way", ["mpc", "lame free", "sph", "au g721", "aiff ima", "wav ima", "wav gsm", "mp3 low"])
def test_lengths_are_those_of_the_music_in_files_of_other_makers(tmp_path, way):
    if not WAYS[way].is_here():
        pytest.skip(f"no encoder here writes {way}")
    path = tmp_path / "x"
    path.write_bytes(written(made_music(6.0, WAYS[way].rate, WAYS[way].n_channels), WAYS[way]))
    assert read_tags(path).duration_s == pytest.approx(6.0, abs=0.06)


def test_a_tag_that_counts_other_frames_is_not_believed(tmp_path):
    one = song("mp3", tmp_path / "x.mp3", "libmp3lame", 5.0, b="128k").read_bytes()
    (tmp_path / "x.mp3").write_bytes(one + one)
    assert read_tags(tmp_path / "x.mp3").duration_s == pytest.approx(10.0, abs=0.06)
    (tmp_path / "x.mp3").write_bytes(one[: len(one) // 2])
    assert read_tags(tmp_path / "x.mp3").duration_s == pytest.approx(2.5, abs=0.1)


@pytest.mark.parametrize("tag", ["0", "1"])
def test_a_file_that_becomes_shorter_while_it_is_read_ends_no_process(tmp_path, tag):
    path = song("mp3", tmp_path / "x.mp3", "libmp3lame", 20.0, b="128k", container={"write_xing": tag})
    subprocess.run([sys.executable, "-c", SHRINK, str(path)], check=True)


@pytest.mark.parametrize(
    "head",
    [b"RIFF\0\0\0\0WAVE", b"FORM\0\0\0\0AIFF", b"caff\0\1\0\0", b"riff".ljust(24, b"\0") + b"wave".ljust(16, b"\0")],
    ids=["wav", "aiff", "caf", "w64"],
)
def test_a_download_that_is_zeros_yet_is_not_read_to_its_end_chunk_by_chunk(tmp_path, head):
    path = tmp_path / "x"
    path.write_bytes(head.ljust(1 << 20, b"\0"))
    n_reads = 0

    class Counted(io.FileIO):
        def read(self, *args):
            nonlocal n_reads
            n_reads += 1
            return super().read(*args)

    with Counted(path) as file:
        assert length_s(file, 0) is None
        read_riff(file), read_aiff(file), read_caf(file), read_w64(file)
    assert n_reads < 60_000  # each 8 bytes would be 131 072


def test_joined_aac_of_two_rates_is_as_long_as_both(tmp_path):
    parts = [song("adts", tmp_path / "x.aac", "aac", 4.0, rate).read_bytes() for rate in (44_100, 22_050)]
    (tmp_path / "x.aac").write_bytes(b"".join(parts))
    assert read_tags(tmp_path / "x.aac").duration_s == pytest.approx(8.0, abs=0.2)


@pytest.mark.parametrize("stated", [1 << 35, 1 << 12])
def test_a_number_of_samples_that_no_flac_of_its_size_has_is_not_believed(tmp_path, stated):
    path = song("flac", tmp_path / "x.flac", "flac", 7.3)
    data, expected = path.read_bytes(), decoded_s(path)
    head = int.from_bytes(data[18:26]) >> 36 << 36 | stated
    path.write_bytes(data[:18] + head.to_bytes(8) + data[26:])
    assert read_tags(path).duration_s == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("form", "codec", "rate"), [("ogg", "libopus", 48_000), ("oga", "flac", RATE)])
def test_a_recording_that_joins_a_stream_on_the_air_is_no_longer_than_its_music(tmp_path, form, codec, rate):
    path = song(form, tmp_path / "x.ogg", codec, 20.0, rate=rate)
    content, at, expected = bytearray(path.read_bytes()), 0, decoded_s(path)
    while at < len(content):
        position = int.from_bytes(content[at + 6 : at + 14], "little")
        if position:
            content[at + 6 : at + 14] = (position + 3600 * rate).to_bytes(8, "little")
        at += 27 + content[at + 26] + sum(content[at + 27 : at + 27 + content[at + 26]])
    path.write_bytes(content)
    assert read_tags(path).duration_s == pytest.approx(expected, abs=6.0)  # the first page, at most


def test_tags_are_no_music(tmp_path):
    path = song("adts", tmp_path / "x.aac", "aac", 5.0)
    expected = decoded_s(path)
    path.write_bytes(id3(text_frame("TPE1", "Ada")) + path.read_bytes() + b"TAG" + bytes(125))
    assert read_tags(path).duration_s == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("form", ["adts", "wv", "tta", "caf", "mp3"])
def test_damaged_headers_give_no_length_or_a_credible_one(tmp_path, form):
    data = music(form, tmp_path / "x").read_bytes()
    for place in range(80):
        (tmp_path / "y").write_bytes(data[:place] + b"\xff" + data[place + 1 :])
        length = read_tags(tmp_path / "y").duration_s
        assert length is None or 0 < length < 7 * 24 * 3600
        (tmp_path / "y").write_bytes(data[:place])
        read_tags(tmp_path / "y")


def test_flac_from_a_pipe_is_as_long_as_its_frames(tmp_path):
    path = song("flac", tmp_path / "x.flac", "flac", 7.3)
    data, expected = path.read_bytes(), decoded_s(path)
    assert read_tags(path).duration_s == pytest.approx(expected, abs=1e-9)
    path.write_bytes(data[:21] + bytes([data[21] & 0xF0]) + bytes(4) + data[26:])  # no number of samples
    assert read_tags(path).duration_s == pytest.approx(expected, abs=1e-9)


def test_the_links_of_a_chain_are_added_up(tmp_path):
    one, two = (song("ogg", tmp_path / f"{s}.opus", "libopus", s, rate=48_000) for s in (2.0, 5.0))
    expected = decoded_s(one) + decoded_s(two)
    data = two.read_bytes()
    (tmp_path / "chain.opus").write_bytes(one.read_bytes() + data)
    assert read_tags(two).duration_s == pytest.approx(decoded_s(two), abs=0.03)
    assert read_tags(tmp_path / "chain.opus").duration_s == pytest.approx(expected, abs=0.06)
