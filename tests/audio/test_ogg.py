"""Ogg files that are a chain, and Opus whose header names some rate: each link is heard, each at the rate it has."""

import io
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from made_music import music
from musicrec import audio
from musicrec.audio.encode import encode

pytestmark = pytest.mark.thorough

RATE = 48_000


def vorbis(samples, rate: int = RATE, quality: float = 0.4) -> bytes:
    file = io.BytesIO()
    with sf.SoundFile(file, "w", rate, samples.shape[1], "VORBIS", format="OGG", compression_level=1 - quality) as ogg:
        for start in range(0, len(samples), rate):
            ogg.write(samples[start : start + rate])
    return file.getvalue()


def ogg_flac(samples, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as container:
        stream = container.add_stream("flac", rate=rate, layout="stereo")
        for start in range(0, len(samples), 4096):
            block = (samples[start : start + 4096] * 2**15).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), "s16", "stereo")
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


LINKS = {
    "jingle": vorbis(music(3, RATE, seed=1)),
    "song": vorbis(music(20, RATE, seed=2)),
    "other rate": vorbis(music(6, 44_100, seed=3), 44_100),
    "other quality": vorbis(music(6, RATE, seed=4), quality=0.9),
    "mono": vorbis(music(6, 22_050, 1, seed=5), 22_050),
    "opus": encode(music(8, RATE, seed=6), RATE, "opus"),
    "mono opus": encode(music(5, RATE, 1, seed=7), RATE, "opus"),
    "flac": ogg_flac(music(5, RATE, seed=8)),
}


def alone(link: bytes):
    """What a decoder gives of one link alone, and its rate: libsndfile, or FFmpeg for what that does not read."""
    try:
        samples, rate = sf.read(io.BytesIO(link), dtype="float32", always_2d=True)
    except sf.LibsndfileError:
        with av.open(io.BytesIO(link)) as file:
            frames = [av.AudioResampler(format="fltp").resample(frame) for frame in file.decode(audio=0)]
        return np.concatenate([frame.to_ndarray() for each in frames for frame in each], axis=1).mean(axis=0), RATE
    return samples.mean(axis=1), rate


def one_after_another(names):
    """Each link by itself, at the rate of the first."""
    parts = [alone(LINKS[name]) for name in names]
    rate = parts[0][1]
    return np.concatenate([part if own == rate else soxr.resample(part, own, rate) for part, own in parts]), rate


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.sampled_from(sorted(LINKS)), min_size=2, max_size=4), offset_s=st.floats(0, 30))
def test_each_link_of_a_chain_is_heard(tmp_path, names, offset_s):
    path = tmp_path / "chain.ogg"
    path.write_bytes(b"".join(LINKS[name] for name in names))
    whole, rate = one_after_another(names)
    start, stop = audio.clip_window(len(whole), rate, offset_s, 5)
    clip = audio.load(str(path), sample_rate=rate, offset_s=offset_s, duration_s=5)
    assert abs(len(clip) - (stop - start)) <= len(names)
    n = min(len(clip), stop - start)
    np.testing.assert_allclose(clip[:n], whole[start : start + n], atol=0.01)  # one sample off gives 0.05


@pytest.mark.parametrize("names", [("jingle", "other rate"), ("flac", "jingle")])
def test_a_tag_before_a_chain_does_not_hide_it(tmp_path, names):
    path = tmp_path / "chain.ogg"
    path.write_bytes(b"ID3\4\0\0\0\0\x10\0" + bytes(2048) + b"".join(LINKS[name] for name in names))
    whole, rate = one_after_another(names)
    clip = audio.load(str(path), sample_rate=rate, offset_s=0, duration_s=100)
    assert abs(len(clip) - len(whole)) <= 1
    np.testing.assert_allclose(clip[: 8 * rate], whole[: 8 * rate], atol=0.01)


def test_a_chain_of_equal_serial_numbers_is_a_chain(tmp_path):
    path = tmp_path / "twice.ogg"
    path.write_bytes(2 * LINKS["song"])
    assert sf.info(path).duration == 20, "libsndfile sees both links: the test shows nothing"
    assert len(audio.load(str(path), sample_rate=RATE, offset_s=0, duration_s=100)) == 40 * RATE


def test_a_chain_comes_in_blocks_too(tmp_path):
    path = tmp_path / "chain.ogg"
    path.write_bytes(LINKS["jingle"] + LINKS["other rate"] + LINKS["song"])
    whole = audio.load(str(path), sample_rate=RATE, offset_s=0, duration_s=100)
    np.testing.assert_allclose(np.concatenate(list(audio.stream(str(path), sample_rate=RATE))), whole, atol=1e-6)


def test_a_chain_that_is_cut_off_is_heard_up_to_the_cut(tmp_path):
    path = tmp_path / "cut.ogg"
    path.write_bytes(LINKS["jingle"] + LINKS["song"][: len(LINKS["song"]) // 2])
    n_cut = len(alone(LINKS["song"][: len(LINKS["song"]) // 2])[0])
    assert len(audio.load(str(path), sample_rate=RATE, offset_s=0, duration_s=100)) == 3 * RATE + n_cut
    assert n_cut > 8 * RATE


@pytest.mark.parametrize("name", ["song", "opus", "flac"])
@pytest.mark.parametrize("share", [0.3, 0.501, 0.8])
def test_a_link_that_is_cut_within_a_page_does_not_hide_the_next(tmp_path, name, share):
    path = tmp_path / "cut.ogg"
    cut = LINKS[name][: int(share * len(LINKS[name]))]
    path.write_bytes(cut + LINKS["song"])
    n_cut = len(alone(cut)[0])
    whole = audio.load(str(path), sample_rate=RATE, offset_s=0, duration_s=100)
    assert len(whole) == n_cut + 20 * RATE
    np.testing.assert_allclose(whole[n_cut:], alone(LINKS["song"])[0], atol=1e-3)


@pytest.mark.parametrize("n_bytes", [1, 4, 5, 6, 26, 27, 40])
def test_a_link_that_is_cut_within_the_head_of_a_page_does_not_hide_the_next(tmp_path, n_bytes):
    content, path = LINKS["song"], tmp_path / "cut.ogg"
    cut = content[: content.index(b"OggS", len(content) // 2) + n_bytes]
    path.write_bytes(cut + LINKS["jingle"])
    whole = audio.load(str(path), sample_rate=RATE, offset_s=0, duration_s=100)
    assert len(whole) == len(alone(cut)[0]) + 3 * RATE
    np.testing.assert_allclose(whole[-3 * RATE :], alone(LINKS["jingle"])[0], atol=1e-3)


def test_an_ogg_file_of_one_link_is_left_to_libsndfile(tmp_path, monkeypatch):
    monkeypatch.setattr("musicrec.audio.clip_of_parts", lambda *_: pytest.fail("it was taken apart"))
    for name in ("song", "opus"):
        path = tmp_path / "song.ogg"
        path.write_bytes(LINKS[name])
        whole = alone(LINKS[name])[0]
        clip = audio.load(str(path), sample_rate=RATE, offset_s=2, duration_s=3)
        np.testing.assert_allclose(clip, whole[2 * RATE : 5 * RATE], atol=1e-3)


@pytest.mark.parametrize("rate", [0, 8000, 11_025, 22_050, 44_100, 96_000])
def test_opus_is_decoded_at_48_khz_whatever_its_header_says(tmp_path, rate):
    path = with_rate(LINKS["opus"], rate, tmp_path / "song.opus")
    with av.open(io.BytesIO(LINKS["opus"])) as file:
        whole = np.concatenate([frame.to_ndarray() for frame in file.decode(audio=0)], axis=1).mean(axis=0)
    clip = audio.load(str(path), sample_rate=RATE, offset_s=2, duration_s=4)
    assert len(clip) == 4 * RATE
    np.testing.assert_allclose(clip, whole[2 * RATE : 6 * RATE], atol=2e-3)  # FFmpeg's decoder is not libopus


def with_rate(opus: bytes, rate: int, path: Path) -> Path:
    """Write Opus whose header says that its input had another rate."""
    ends = [at for at in range(len(opus)) if opus[at : at + 4] == b"OggS"]
    first, second = next(pairwise(ends))
    page = bytearray(opus[first:second])
    at = page.index(b"OpusHead") + 12
    page[at : at + 4] = rate.to_bytes(4, "little")
    page[22:26] = bytes(4)
    page[22:26] = crc(page).to_bytes(4, "little")
    path.write_bytes(bytes(page) + opus[second:])
    return path


def crc(page: bytes) -> int:
    """RFC 3533, section 6: generator 0x04c11db7, by long division of the bits."""
    remainder = int.from_bytes(page) << 32
    for bit in range(remainder.bit_length() - 1, 31, -1):
        if remainder >> bit & 1:
            remainder ^= 0x104C11DB7 << bit - 32
    return remainder


def ahead_of_its_time(opus: bytes, n: int = 278) -> bytes:
    """Opus of which one page counts `n` samples more than there are until then, as FFmpeg writes it after a cut."""
    starts = [at for at in range(len(opus)) if opus[at : at + 4] == b"OggS"]
    pages = [bytearray(opus[start:stop]) for start, stop in pairwise([*starts, len(opus)])]
    for page in pages[4:5]:
        page[6:14] = (int.from_bytes(page[6:14], "little") + n).to_bytes(8, "little")
        page[22:26] = bytes(4)
        page[22:26] = crc(page).to_bytes(4, "little")
    return b"".join(pages)


@pytest.mark.parametrize("rate", [RATE, 24_000])
def test_opus_that_counts_more_samples_than_it_holds_is_heard(tmp_path, rate):
    """As a clip and as a stream, it is what FFmpeg decodes; libsndfile takes it for malformed."""
    path = with_rate(ahead_of_its_time(LINKS["opus"]), rate, tmp_path / "song.opus")
    with pytest.raises(sf.LibsndfileError, match="malformed"):
        sf.read(path)
    with av.open(io.BytesIO(LINKS["opus"])) as file:
        whole = np.concatenate([frame.to_ndarray() for frame in file.decode(audio=0)], axis=1).mean(axis=0)
    clip = audio.load(str(path), sample_rate=RATE, offset_s=0, duration_s=100)
    streamed = np.concatenate(list(audio.stream(str(path), sample_rate=RATE)))
    for heard in (clip, streamed):
        assert len(heard) == 8 * RATE
        np.testing.assert_allclose(heard, whole, atol=2e-3)
