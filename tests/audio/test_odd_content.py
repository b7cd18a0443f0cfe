"""Files that are not what a decoder takes them for: the samples that their format means, or a reason why not."""

import io
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf
import soxr

from made_music import music
from musicrec import audio
from musicrec.audio.encode import FORMATS, encode
from musicrec.errors import DecodeError

pytestmark = pytest.mark.thorough

RATE = 44_100
LAYOUTS = {1: "mono", 2: "stereo"}


def by_ffmpeg(samples, rate: int, codec: str, container: str, form: str = "flt", **options) -> bytes:
    """Encode samples [n, n_channels] by FFmpeg."""
    content, layout = io.BytesIO(), LAYOUTS[samples.shape[1]]
    with av.open(content, "w", format=container, options=options) as file:
        stream = file.add_stream(codec, rate=rate, layout=layout)
        for start in range(0, len(samples), 4096):
            frame = av.AudioFrame.from_ndarray(samples[start : start + 4096].reshape(1, -1), form, layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return content.getvalue()


def load(path: Path, content: bytes | None = None, offset_s: float = 0, duration_s: float = 100, rate: int = RATE):
    if content is not None:
        path.write_bytes(content)
    return audio.load(str(path), sample_rate=rate, offset_s=offset_s, duration_s=duration_s)


def refusal(path: Path, content: bytes) -> DecodeError:
    with pytest.raises(DecodeError) as failure:
        load(path, content)
    return failure.value


# --- a change midway ----------------------------------------------------------------------------------------------


def flac(samples, rate: int = RATE, subtype: str = "PCM_16") -> bytes:
    content = io.BytesIO()
    sf.write(content, samples, rate, format="FLAC", subtype=subtype)
    return content.getvalue()


def frames_of(content: bytes) -> bytes:
    """A FLAC without its header and metadata."""
    at = 4
    while True:
        is_last, size = content[at] & 0x80, int.from_bytes(content[at + 1 : at + 4])
        at += 4 + size
        if is_last:
            return content[at:]


CHANGES = [(RATE, 1), (48_000, 2), (22_050, 2), (48_000, 1)]


@pytest.mark.parametrize(("rate", "n_channels"), CHANGES)
def test_a_flac_that_changes_midway_is_decoded_on(tmp_path, rate, n_channels):
    first, second = music(8), music(8, rate, n_channels, seed=1)
    path = tmp_path / "song.flac"
    content = flac(first) + frames_of(flac(second, rate))
    at = content.index(b"fLaC") + 8
    unknown = int.from_bytes(content[at + 10 : at + 18]) >> 36 << 36  # the number of samples: 0
    content = content[: at + 10] + unknown.to_bytes(8) + bytes(16) + content[at + 34 :]
    whole = np.concatenate([first.mean(axis=1), soxr.resample(second.mean(axis=1), rate, RATE)])
    clip = load(path, content)
    assert len(clip) == len(whole)
    np.testing.assert_allclose(clip, whole, atol=2e-3)
    np.testing.assert_allclose(load(path, offset_s=9, duration_s=4), whole[9 * RATE : 13 * RATE], atol=2e-3)


@pytest.mark.parametrize("subtypes", [("PCM_16", "PCM_24"), ("PCM_24", "PCM_16"), ("PCM_16", "PCM_16")])
@pytest.mark.parametrize("tag", [b"", b"ID3\4\0\0\0\0\x10\0" + bytes(2048)])
def test_joined_flacs_of_any_bits_behind_tags_are_decoded_on(tmp_path, subtypes, tag):
    samples = [music(6), music(6, seed=1)]
    parts = [tag + flac(own, RATE, subtype) for own, subtype in zip(samples, subtypes, strict=True)]
    whole = np.concatenate(samples).mean(axis=1)
    path = tmp_path / "song.flac"
    np.testing.assert_allclose(load(path, b"".join(parts)), whole, atol=1e-4)
    np.testing.assert_allclose(load(path, offset_s=5, duration_s=4), whole[5 * RATE : 9 * RATE], atol=1e-4)


def test_a_joined_flac_that_has_lost_its_beginning_is_decoded_on(tmp_path):
    samples = [music(6), music(6, seed=1)]
    whole, frames = flac(samples[0]), frames_of(flac(samples[1]))
    second = frames[frames.index(frames[:4], 1000) :]
    path = tmp_path / "song.flac"
    n = 4096  # samples of a frame
    joined = np.concatenate([samples[0], samples[1][n:]]).mean(axis=1)
    np.testing.assert_allclose(load(path, whole + second), joined, atol=1e-4)
    np.testing.assert_allclose(load(path, offset_s=5, duration_s=4), joined[5 * RATE : 9 * RATE], atol=1e-4)


@pytest.mark.parametrize(("rate", "n_channels"), CHANGES)
def test_joined_aac_that_changes_is_decoded_on(tmp_path, rate, n_channels):
    parts = [
        by_ffmpeg(samples, own, "aac", "adts")
        for samples, own in ((music(5), RATE), (music(5, rate, n_channels), rate))
    ]
    alone = [load(tmp_path / "part.aac", part, rate=own) for part, own in zip(parts, (RATE, rate), strict=True)]
    whole = np.concatenate([alone[0], soxr.resample(alone[1], rate, RATE)])
    clip = load(tmp_path / "song.aac", b"".join(parts))
    assert abs(len(clip) - len(whole)) <= 1
    for part in (slice(4096, 4 * RATE), slice(6 * RATE, 9 * RATE)):  # noise is random in AAC
        assert np.corrcoef(clip[part], whole[part])[0, 1] > 0.97


# --- a bit stream in PCM ------------------------------------------------------------------------------------------


def spdif(codec: str = "ac3", seconds: float = 10) -> tuple[np.ndarray, np.ndarray]:
    """Return the music, and int16 [n, 2] that carry it as a bit stream (IEC 61937, as FFmpeg writes it)."""
    samples = music(seconds, 48_000)
    content = by_ffmpeg(samples, 48_000, codec, "spdif")
    return samples.mean(axis=1), np.frombuffer(content[: len(content) // 4 * 4], "<i2").reshape(-1, 2)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".aiff", ".w64"])
def test_spdif_in_pcm_is_decoded_or_refused(tmp_path, suffix):
    sound, words = spdif()
    path = tmp_path / f"song{suffix}"
    sf.write(path, words, 48_000, subtype="PCM_16")
    late = np.concatenate([np.zeros(256), sound])  # as AC-3 is
    for offset_s in (0, 4):
        if suffix not in (".wav", ".w64"):
            with pytest.raises(DecodeError, match=r"undecodable: .*S/PDIF"):
                load(path, offset_s=offset_s, duration_s=4)
            continue
        clip = load(path, offset_s=offset_s, duration_s=4, rate=48_000)
        assert len(clip) == 4 * 48_000
        assert np.corrcoef(clip, late[offset_s * 48_000 :][: len(clip)])[0, 1] > 0.95


@pytest.mark.parametrize("subtype", ["PCM_24", "PCM_32"])
def test_spdif_in_wider_words_and_behind_music_is_refused(tmp_path, subtype):
    _, words = spdif()
    behind = np.concatenate([(music(5, 48_000) * 2**15).astype(np.int16), words])
    path = tmp_path / "song.flac" if subtype == "PCM_24" else tmp_path / "song.aiff"
    sf.write(path, behind.astype(np.int32) << 16, 48_000, subtype=subtype)
    with pytest.raises(DecodeError, match=r"undecodable: .*S/PDIF"):
        load(path, offset_s=7, duration_s=5)


@pytest.mark.parametrize("at", [0, 2])
def test_spdif_in_two_of_four_channels_is_refused(tmp_path, at):
    _, words = spdif()
    wide = np.zeros((len(words), 4), np.int16)
    wide[:, at : at + 2] = words
    path = tmp_path / "song.flac"
    sf.write(path, wide, 48_000, subtype="PCM_16")
    with pytest.raises(DecodeError, match=r"undecodable: .*S/PDIF"):
        load(path)


def test_dts_in_pcm_is_refused_or_decoded(tmp_path):
    words = np.random.default_rng(0).integers(-(2**15), 2**15, (100, 1024), dtype=np.int16)
    words[:, :2] = 0x7FFE, 0x8001 - 2**16
    path = tmp_path / "song.flac"
    sf.write(path, words.reshape(-1, 2), RATE, subtype="PCM_16")
    with pytest.raises(DecodeError, match=r"undecodable: .*DTS"):
        load(path)


def test_music_is_no_bit_stream(tmp_path):
    rng = np.random.default_rng(0)
    words = rng.choice(np.array([-385, 384, 32766, -32767, -1934, 19999], np.int16), (200_000, 2))
    assert len(load_pcm(tmp_path, words)) == len(words)


def load_pcm(tmp_path, words):
    sf.write(tmp_path / "song.wav", words, RATE, subtype="PCM_16")
    return load(tmp_path / "song.wav")


# --- PCM that a header puts in the wrong place --------------------------------------------------------------------


def wav(samples, n_bytes: int, bits: int, *, extensible: bool, right: bool) -> bytes:
    """Write samples of so many bits in larger containers: at their top, as the format says, or at their bottom."""
    values = np.round(samples.astype(float) * 2 ** (bits - 1)).astype(np.int64) << (0 if right else 8 * n_bytes - bits)
    data = values.astype("<i8").reshape(-1, 1).view(np.uint8)[:, :n_bytes].tobytes()
    n_channels, stated = samples.shape[1], 8 * n_bytes if extensible else bits
    head = struct.pack(
        "<HHIIHH",
        0xFFFE if extensible else 1,
        n_channels,
        RATE,
        RATE * n_bytes * n_channels,
        n_bytes * n_channels,
        stated,
    )
    if extensible:
        head += struct.pack("<HHI", 22, bits, 3) + bytes.fromhex("0100000000001000800000aa00389b71")
    chunks = b"fmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


@pytest.mark.parametrize(("n_bytes", "bits"), [(4, 24), (4, 20), (3, 20), (2, 12)])
@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("extensible", [True, False])
def test_samples_are_as_loud_wherever_they_stand_in_their_bytes(tmp_path, n_bytes, bits, right, extensible):
    samples = np.concatenate([np.zeros((3 * RATE, 2), np.float32), music(5)])
    content = wav(samples, n_bytes, bits, extensible=extensible, right=right)
    if (n_bytes, bits, extensible) == (4, 20, False):  # libsndfile and FFmpeg take it for 3 bytes
        assert refusal(tmp_path / "song.wav", content).reason == "unsupported"
        return
    clip = load(tmp_path / "song.wav", content)
    np.testing.assert_allclose(clip, samples.mean(axis=1), atol=2.0 ** (1 - bits))


@pytest.mark.parametrize("kind", [b"RIFF", b"RF64"])
def test_samples_are_as_loud_behind_a_long_chunk(tmp_path, kind):
    samples = music(5)
    content = wav(samples, 4, 24, extensible=True, right=True)
    at = content.rindex(b"data") + 4
    n_bytes = len(content) - at - 4
    long = b"JUNK" + struct.pack("<I", 9000) + bytes(9000)
    if kind == b"RF64":
        long = struct.pack("<4sIQQQI", b"ds64", 28, len(content) + 9036, n_bytes, len(samples), 0) + long
        content = content[:at] + b"\xff" * 4 + content[at + 4 :]
    content = kind + content[4:12] + long + content[12:]
    np.testing.assert_allclose(load(tmp_path / "song.wav", content), samples.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("rate", [RATE, 96_000])
@pytest.mark.parametrize(("codec", "form"), [("pcm_f32le", "flt"), ("pcm_s24le", "s32"), ("pcm_s16le", "s16")])
def test_a_wave64_of_any_samples_is_its_samples(tmp_path, rate, codec, form):
    """Above 48 kHz FFmpeg writes the extensible format, of which libsndfile takes floats for integers."""
    samples = music(5, rate)
    scaled = {"flt": samples, "s16": samples * 2.0**15, "s32": samples.astype(float) * 2.0**31}[form]
    scaled = scaled.astype({"flt": np.float32, "s16": np.int16, "s32": np.int32}[form])
    content = by_ffmpeg(scaled, rate, codec, "w64", form=form)
    np.testing.assert_allclose(load(tmp_path / "song.w64", content, rate=rate), samples.mean(axis=1), atol=1e-4)


@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_voc_of_many_blocks_is_its_samples(tmp_path, n_channels):
    samples = (music(5, n_channels=n_channels) * 2**15).astype(np.int16)
    content = by_ffmpeg(samples, RATE, "pcm_s16le", "voc", form="s16")
    np.testing.assert_allclose(load(tmp_path / "song.voc", content), samples.mean(axis=1) / 2**15, atol=1e-4)


@pytest.mark.parametrize("tag", [b"", b"ID3\4\0\0\0\0\x10\0" + bytes(2048)])
def test_a_flac_cut_out_of_another_is_not_sought_by_its_numbers(tmp_path, tag):
    samples = music(12)
    content = flac(samples)
    head, frames = content[: -len(frames_of(content))], frames_of(content)
    starts = [at for at in range(len(frames)) if frames[at : at + 2] == b"\xff\xf8" and frames[at + 2] == frames[2]]
    path = tmp_path / "song.flac"
    path.write_bytes(head + frames[starts[len(starts) // 3] :])
    with av.open(path) as file:
        decoded = np.concatenate([frame.to_ndarray().reshape(-1, 2) for frame in file.decode(audio=0)])
    whole = decoded.mean(axis=1) / 2**15
    assert 6 * RATE < len(whole) < 10 * RATE
    path.write_bytes(tag + path.read_bytes())
    np.testing.assert_allclose(load(path, offset_s=2, duration_s=3), whole[2 * RATE : 5 * RATE], atol=1e-4)


# --- cut off, damaged, empty --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["wav", "flac", "mp3", "ogg", "opus", "aac", "wma", "webm", "mka", "wv", "tta", "ac3"])
def test_a_file_cut_off_is_heard_up_to_the_cut(tmp_path, form):
    rate = (FORMATS[form].rates or (RATE,))[0]
    whole, share = encode(music(8, rate), rate, form), 0.83
    path = tmp_path / f"song{FORMATS[form].suffix}"
    sound = load(path, whole, rate=rate)
    cut = load(path, whole[: int(share * len(whole))], rate=rate)
    assert 8 * rate * (share - 0.2) < len(cut) < 8 * rate * (share + 0.1)
    n = len(cut) - rate // 10  # a codec with overlap lacks the end of its last frame
    np.testing.assert_allclose(cut[:n], sound[:n], atol=2e-3)


def test_a_flac_damaged_in_the_middle_is_corrupt(tmp_path):
    content = bytearray(flac(music(6)))
    at = len(content) // 2
    content[at : at + 3000] = np.random.default_rng(0).bytes(3000)
    assert refusal(tmp_path / "song.flac", bytes(content)).reason == "corrupt"


def damaged_flac() -> bytes:
    content = flac(music(2))
    n = len(frames_of(content))
    return content[:-n] + np.random.default_rng(0).bytes(n)


def mp4_without_samples() -> bytes:
    content = encode(music(2), RATE, "m4a")
    index = content.index(b"moov") - 4
    return content[: content.index(b"mdat") - 4] + content[index:] + bytes(8) + b"mdat"


@pytest.mark.parametrize(("name", "make"), [("song.flac", damaged_flac), ("song.mp4", mp4_without_samples)])
def test_empty_does_not_hide_damage(tmp_path, name, make):
    assert refusal(tmp_path / name, make()).reason == "undecodable"


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".aiff", ".au"])
def test_a_file_that_truly_holds_no_samples_is_empty(tmp_path, suffix):
    path = tmp_path / f"song{suffix}"
    sf.write(path, np.zeros((0, 2), np.float32), RATE)
    assert refusal(path, path.read_bytes()).reason == "empty"
