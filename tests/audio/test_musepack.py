"""Musepack starts and ends where Musepack's own decoder says."""

import shutil
import subprocess

import numpy as np
import pytest
import soundfile as sf

from made_files import WAYS, written
from made_music import music
from musicrec import audio
from musicrec.audio import musepack

RATE = 44_100


def header(n_samples: bytes, silence: bytes) -> bytes:
    """Version 8: a packet of another kind, and the stream header with its two numbers."""
    body = bytes(4) + b"\x08" + n_samples + silence + b"\x1b\x1b"
    return b"MPCK" + b"RG\x05xx" + b"SH" + bytes([3 + len(body)]) + body + b"AP"


def test_the_header_says_where_the_music_is():
    assert musepack.music(header(b"\x8d\xba\x54", b"\x00")) == (481, 481 + 220_500)
    assert musepack.music(header(b"\x8d\xba\x54", b"\x8a\x00")) == (481 + 1280, 481 + 220_500)
    assert musepack.music(header(b"\x00", b"\x00")) == (481, None)  # not known
    assert musepack.music(b"MP+\x07" + bytes(24)) == (481, None)


@pytest.mark.parametrize("head", [b"", b"MPCK", b"MPCK\0\0", b"MPCKSH", b"MPCKSH\x80\x80", b"MPCK" + b"XX\0" * 50])
def test_a_damaged_header_says_nothing(head):
    assert musepack.music(head) == (481, None)


def test_only_the_music_is_left():
    blocks = [np.arange(at, at + 300, dtype=np.float32) for at in range(0, 1500, 300)]
    ours = np.concatenate(list(musepack.music_of(blocks, header(b"\x87\x68", b"\x02"))))
    np.testing.assert_array_equal(ours, np.arange(483, 481 + 1000))


@pytest.mark.thorough
@pytest.mark.parametrize("since", [0, 70_000])
@pytest.mark.parametrize("tag", [b"", b"ID3\4\0\0\0\0\x10\0" + bytes(2048)])
def test_the_music_is_what_musepacks_own_decoder_gives(tmp_path, since, tag):
    for program in ("mpcenc", "mpccut", "mpcdec"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    path, own, wav = tmp_path / "song.mpc", tmp_path / "cut.mpc", tmp_path / "song.wav"
    path.write_bytes(written(music(5), WAYS["mpc"]))
    if since:
        subprocess.run(["mpccut", "-s", str(since), path, own], check=True, capture_output=True)
        path = own
    subprocess.run(["mpcdec", path, wav], check=True, capture_output=True)
    theirs = sf.read(wav, dtype="float32")[0].mean(axis=1)
    path.write_bytes(tag + path.read_bytes())
    ours = audio.load(str(path), sample_rate=RATE, offset_s=0, duration_s=100)
    assert len(ours) == len(theirs) == 5 * RATE - since
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
