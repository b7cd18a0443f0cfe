"""Songs in every format that an encoder here can write: a clip is a stretch of the song, whole, cut or joined."""

from functools import cache
from itertools import islice

import av
import numpy as np
import pytest
import soundfile as sf
from av.container import InputContainer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from made_files import WAYS, written
from made_music import music
from musicrec import audio
from musicrec.errors import DecodeError

pytestmark = [pytest.mark.thorough, pytest.mark.filterwarnings("ignore:.*encountered in add")]  # of bytes as floats

LATE = {  # samples by which the music is late in what a file gives, and nothing in the file states it
    **{"mp3 without a tag": 1105, "avi mp3": 1105, "lame low": 1105, "mp2": 481},
    **{"aac": 1024, "flv": 1024, "ts": 1024, "ac3": 256, "eac3": 256, "mpg": 256, "amr": 36},
    **{"wma": -2048, "wma 1": -2048},
}
ENDS_WHERE_IT_SAYS = ("au", "au g721")  # FFmpeg reads on
WHOLE = 10_000.0  # s
FRAME = 1152  # samples of an MP3's frame, at most
ADDED_S = 0.2  # what encoders add at both ends of each part, and a frame that was cut
ANY_TAGS = {"metadata_errors": "replace"} if hasattr(InputContainer, "metadata_errors") else {}  # PyAV 18 needs it
LONG_FRAMES = {"flac variable": 0.4}  # s; FFmpeg decodes one that was cut, whose checksum is wrong
QUICK = settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
LONG = settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
DEEP = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
LENGTHS = (5.0, 31.37, 68.2, 200.0)


@pytest.fixture(params=WAYS)
def name(request) -> str:
    if not WAYS[request.param].is_here():
        pytest.skip(f"no encoder here writes {request.param}")
    return request.param


@cache
def song(name: str, seconds: float, seed: int = 0) -> bytes:
    way = WAYS[name]
    return written(music(seconds, way.rate, way.n_channels, seed), way)


def load(path, rate: int, offset_s: float = 0.0, duration_s: float = WHOLE):
    return audio.load(str(path), sample_rate=rate, offset_s=offset_s, duration_s=duration_s)


def check_a_clip(path, rate: int, whole, offset_s: float, duration_s: float) -> None:
    """A clip by seek is that stretch of the song."""
    start, stop = audio.clip_window(len(whole), rate, offset_s, duration_s)
    clip = load(path, rate, offset_s, duration_s)
    assert len(clip) == stop - start
    check_equal(path, clip, whole[start:stop])


def check_equal(path, clip, whole) -> None:
    """Equal to 3e-3; one sample off gives 0.05. AC-3 puts random noise where it has no bits, as AAC may."""
    if path.suffix not in (".mp4", ".mpg", ".ac3", ".eac3"):
        np.testing.assert_allclose(clip, whole, atol=3e-3)
    elif len(whole) > 1000:
        assert np.corrcoef(clip, whole)[0, 1] > 0.98


def check_clips(path, name: str, seconds: float, data) -> None:
    path.write_bytes(song(name, seconds))
    rate = WAYS[name].rate
    whole = np.concatenate(list(audio.stream(str(path), sample_rate=rate)))  # from the first frame to the last
    for offset_s, duration_s in ((0.0, 1.0), (seconds / 2, 1.0), (seconds, 1.0)):
        check_a_clip(path, rate, whole, offset_s, duration_s)
    check_a_clip(path, rate, whole, data.draw(st.floats(0, 1.2 * seconds)), data.draw(st.floats(0.2, seconds)))


@QUICK
@given(data=st.data())
def test_a_clip_by_seek_is_a_stretch_of_the_song(tmp_path, name, data):
    check_clips(tmp_path / f"song{WAYS[name].ending}", name, 5.0, data)


@pytest.mark.slow
@LONG
@given(data=st.data(), seconds=st.sampled_from(LENGTHS))
def test_a_clip_by_seek_is_a_stretch_of_a_song_of_any_length(tmp_path, name, data, seconds):
    check_clips(tmp_path / f"song{WAYS[name].ending}", name, seconds, data)


def test_the_whole_song_is_there_and_starts_when_it_should(tmp_path, name):
    way = WAYS[name]
    path = tmp_path / f"song{way.ending}"
    path.write_bytes(song(name, 5.0))
    sound, whole = music(5, way.rate, way.n_channels).mean(axis=1), load(path, way.rate)
    assert len(whole) >= len(sound) + min(LATE.get(name, 0), 0)
    late = round(LATE.get(name, 0))
    stretch = slice(2 * way.rate, 4 * way.rate)
    match = np.correlate(whole[2 * way.rate - 3000 : 4 * way.rate + 3000], sound[stretch])
    assert abs(int(match.argmax()) - 3000 - late) <= 1


# --- cut and joined -----------------------------------------------------------------------------------------------


def sequential_s(path) -> float:
    """The length of what FFmpeg gives, packet by packet from the first on, whatever it has to leave out."""
    seconds = 0.0
    try:
        with av.open(path, **ANY_TAGS) as file:
            for packet in islice(file.demux(audio=0), 1_000_000):
                try:
                    seconds += sum(frame.samples / frame.sample_rate for frame in packet.decode())
                except av.FFmpegError:
                    continue
    except (av.FFmpegError, IndexError):
        pass
    return seconds


def check_no_less(path, name: str, content: bytes) -> None:
    path.write_bytes(content)
    rate = WAYS[name].rate
    try:
        whole = load(path, rate)
        clip = load(path, rate, 3.0, 1.0)
    except DecodeError:
        return
    assert name in ENDS_WHERE_IT_SAYS or len(whole) / rate >= sequential_s(path) - max(
        ADDED_S, LONG_FRAMES.get(name, 0)
    )
    start, stop = audio.clip_window(len(whole), rate, 3.0, 1.0)
    assert len(clip) == stop - start
    if path.suffix == ".flac" and len(whole) < sf.info(path).frames:
        return  # frames are missing, and the others have the numbers by which the clip was sought
    if path.suffix == ".mp3":  # one frame at the seam lacks bits: it sounds as what was decoded before it
        assert (np.abs(clip - whole[start:stop]) > 3e-3).sum() <= 2 * FRAME
        return
    check_equal(path, clip, whole[start:stop])


def check_cuts(path, name: str, data) -> None:
    first, second = song(name, 5.0), song(name, 5.0, 1)
    to = data.draw(st.integers(len(first) // 8, len(first)))
    since = data.draw(st.one_of(st.just(0), st.integers(0, len(second))))
    check_no_less(path, name, first[:to] + second[since:])


@QUICK
@given(data=st.data())
def test_cut_and_joined_anywhere_gives_no_less_than_reading_through_without_a_reason(tmp_path, name, data):
    check_cuts(tmp_path / f"song{WAYS[name].ending}", name, data)


@pytest.mark.slow
@DEEP
@given(data=st.data())
def test_cut_and_joined_anywhere_often(tmp_path, name, data):
    check_cuts(tmp_path / f"song{WAYS[name].ending}", name, data)
