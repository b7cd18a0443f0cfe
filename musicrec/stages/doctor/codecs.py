"""Check the codecs: encode a second of two tones, decode it as a song, and compare length, loudness and purity."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from musicrec.errors import MusicrecError
from musicrec.stages.doctor.check import Absent, Check

if TYPE_CHECKING:
    from musicrec.audio import Samples

# Listed here, as musicrec.audio cannot be imported without libsndfile.
BY_LIBSNDFILE = ("wav", "flac", "mp3", "ogg", "opus")
BY_FFMPEG = ("m4a", "aac", "alac", "wma", "webm", "mka", "wv", "tta", "ac3")
WRITTEN_HZ, READ_HZ = 44_100, 22_050
TONES = {440: 0.5, 1000: 0.25}  # Hz: amplitude; the first is the left channel, the second the right
MOST_S = 0.1  # error in length: some encoders add a frame or two, FFmpeg drops as many from its own wma
MOST_DB = 1.0  # error in the level of a tone
LEAST_CLEAR_DB = 20.0  # level of the tones above all other sound; the encoders reach 29 and more
SILENCE = 1e-6


def formats() -> list[Check]:
    """Return one check per format."""
    return [
        *(Check(form, partial(decodes, form, _libsndfile), needs=("soundfile",)) for form in BY_LIBSNDFILE),
        *(Check(form, partial(decodes, form, _ffmpeg), needs=("soundfile", "av")) for form in BY_FFMPEG),
    ]


def decodes(form: str, library: Callable[[], str]) -> str:
    """Encode and decode the tones in a format; return which library decoded them."""
    from musicrec import audio
    from musicrec.audio.encode import FORMATS, can_encode, encode

    if not can_encode(form):
        raise Absent(f"not tried: {library()} has no encoder for it")
    how = FORMATS[form]
    rate = how.rates[0] if how.rates else WRITTEN_HZ
    with tempfile.TemporaryDirectory(prefix="musicrec-") as folder:
        file = Path(folder) / f"tones{how.suffix}"
        file.write_bytes(encode(tones(rate), rate, form))
        judge(audio.load(str(file), sample_rate=READ_HZ))
    return f"decoded by {library()}"


def tones(rate: int) -> "Samples":
    """Return a second of stereo, float32 [rate, 2], with one tone in each channel."""
    seconds = np.arange(rate) / rate
    sines = [amplitude * np.sin(2 * np.pi * hz * seconds) for hz, amplitude in TONES.items()]
    return np.column_stack(sines).astype(np.float32)


def judge(decoded: "Samples") -> None:
    """Check that the decoded signal is the mean of the two channels.

    Parameters
    ----------
    decoded : numpy.ndarray
        float32 [n], at `READ_HZ`.

    Raises
    ------
    MusicrecError
        The signal is too long or too short, a tone is too loud or too soft, or there is other sound.
    """
    seconds = len(decoded) / READ_HZ
    if abs(seconds - 1) > MOST_S:
        raise MusicrecError(f"a second decodes to {seconds:.2f} s")
    middle = decoded[READ_HZ // 4 : READ_HZ * 3 // 4]
    if np.std(middle) < SILENCE:
        raise MusicrecError("two tones decode to silence")
    cycles = np.outer(np.arange(len(middle)) / READ_HZ, list(TONES))
    waves = np.hstack([np.sin(2 * np.pi * cycles), np.cos(2 * np.pi * cycles)])
    parts = np.linalg.lstsq(waves, middle, rcond=None)[0]
    for (hz, amplitude), found in zip(TONES.items(), np.hypot(*parts.reshape(2, -1)), strict=True):
        off_db = _decibels(found / (amplitude / len(TONES)))
        if abs(off_db) > MOST_DB:
            raise MusicrecError(
                f"a tone of {hz} Hz decodes {abs(off_db):.1f} dB too {'loud' if off_db > 0 else 'soft'}"
            )
    clear_db = _decibels(np.std(middle) / max(np.std(middle - waves @ parts), SILENCE))
    if clear_db < LEAST_CLEAR_DB:
        raise MusicrecError(f"two tones decode with other sound only {clear_db:.0f} dB below them")


def _decibels(ratio: float) -> float:
    return float(20 * np.log10(max(ratio, SILENCE)))


def _libsndfile() -> str:
    import soundfile

    return f"libsndfile {soundfile.__libsndfile_version__} (soundfile {soundfile.__version__})"


def _ffmpeg() -> str:
    import av

    return f"FFmpeg {av.ffmpeg_version_info} (PyAV {av.__version__})"
