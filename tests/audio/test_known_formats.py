"""One list of formats: what the catalog takes for audio is what a decoder gets, under any name."""

import io
import shutil
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile as sf

from musicrec import audio
from musicrec.audio import formats
from musicrec.audio.encode import FORMATS, encode
from musicrec.errors import DecodeError
from musicrec.stages.catalog.layouts import list_source

RATE = 48_000
OTHERS = {  # ending: FFmpeg's muxer and encoder
    **{
        "caf": ("caf", "pcm_s16be"),
        "au": ("au", "pcm_s16be"),
        "w64": ("w64", "pcm_s16le"),
        "voc": ("voc", "pcm_s16le"),
    },
    **{"eac3": ("eac3", "eac3"), "flv": ("flv", "aac"), "ts": ("mpegts", "aac"), "mpg": ("vob", "ac3")},
    **{"latm": ("latm", "aac"), "rm": ("rm", "ac3")},
    **{"mp2": ("mp2", "mp2"), "avi": ("avi", "pcm_s16le"), "aiff": ("aiff", "pcm_s16be"), "spx.oga": ("oga", "flac")},
}


def music():
    t = np.arange(2 * RATE)[:, None] / RATE
    return (0.3 * np.sin(2 * np.pi * np.array([[220, 330]]) * t)).astype(np.float32)


def by_ffmpeg(muxer: str, codec: str) -> bytes:
    content, samples = io.BytesIO(), music()
    with av.open(content, "w", format=muxer) as file:
        stream = file.add_stream(codec, rate=RATE, layout="stereo")
        for start in range(0, len(samples), 4096):
            frame = av.AudioFrame.from_ndarray(samples[start : start + 4096].reshape(1, -1), "flt", "stereo")
            frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return content.getvalue()


def content_of(ending: str) -> bytes:
    return by_ffmpeg(*OTHERS[ending]) if ending in OTHERS else encode(music(), RATE, ending)


@pytest.mark.parametrize("ending", [*OTHERS, *FORMATS])
def test_a_file_is_listed_and_decoded_with_its_ending_and_without(tmp_path, ending):
    content = content_of(ending)
    named = tmp_path / f"named.{ending}"
    named.write_bytes(content)
    (tmp_path / "bare").write_bytes(content)
    (tmp_path / "notes.txt").write_text("Dear Ada, this is no music.")
    listed = {track.track_id for track in list_source(tmp_path, "folder", exclude=tmp_path / "OUT").tracks}
    is_plain_sync = ending == "eac3"  # its two bytes are those of AC-3
    assert listed == {named.name, "bare"}, is_plain_sync
    for name in listed:
        assert abs(len(audio.load(str(tmp_path / name), sample_rate=RATE)) / RATE - 2) < 0.1


@pytest.mark.parametrize(("ending", "codec"), [("mlp", "mlp"), ("thd", "truehd")])
def test_a_lossless_stream_is_listed_and_is_its_samples(tmp_path, ending, codec):
    if not shutil.which("ffmpeg"):
        pytest.skip("the program ffmpeg is not installed; PyAV has no encoder of it")
    sf.write(tmp_path / "song.flac", music(), RATE, subtype="PCM_16")
    encode_it = f"ffmpeg -v error -i song.flac -c:a {codec} -strict -2 -f {codec} bare"
    subprocess.run(encode_it.split(), cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / f"named.{ending}").write_bytes((tmp_path / "bare").read_bytes())
    listed = {track.track_id for track in list_source(tmp_path, "folder", exclude=tmp_path / "OUT").tracks}
    assert listed == {"song.flac", "bare", f"named.{ending}"}
    own = audio.load(str(tmp_path / "song.flac"), sample_rate=RATE)
    np.testing.assert_allclose(audio.load(str(tmp_path / "bare"), sample_rate=RATE)[: len(own)], own, atol=1e-6)


def test_the_decoder_gets_every_format_of_the_list():
    for form in formats.FORMATS:
        assert form.extensions
        assert (form.decoder in ("libsndfile", formats.NEITHER)) == (not form.demuxers)
    for demuxer in formats.DEMUXERS:
        av.ContainerFormat(demuxer, "r")


@pytest.mark.parametrize(
    "head", [b"Extended Module: a song", b"IMPM", b"\0" * 44 + b"SCRM", b"\0" * 1080 + b"M.K." + b"\0" * 2000]
)
def test_a_tracker_module_is_listed_and_fails_with_a_reason_that_says_so(tmp_path, head):
    assert formats.is_audio(head[: formats.HEAD_BYTES])
    (tmp_path / "song").write_bytes(head.ljust(4000, b"\0"))
    with pytest.raises(DecodeError, match=r"undecodable: Tracker modules"):
        audio.load(str(tmp_path / "song"))


@pytest.mark.parametrize("ending", ["wv", "tta", "aac"])
def test_a_tag_before_the_music_does_no_harm(tmp_path, ending):
    path = tmp_path / f"song.{ending}"
    path.write_bytes(b"ID3\4\0\0\0\0\x10\0" + bytes(2048) + content_of(ending))
    assert abs(len(audio.load(str(path), sample_rate=RATE)) / RATE - 2) < 0.1


@pytest.mark.parametrize(
    "content", [b"RIFF\0\0\0\0WEBPVP8 ", b"\0\0\0\x18ftypavif", b"GIF89a", b"<html>", b"G" + bytes(400)]
)
def test_pictures_and_text_are_no_audio(content):
    assert not formats.is_audio(content)
