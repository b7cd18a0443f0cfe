"""One track to one mono clip: decode only the window that is needed, mix down by the mean, resample.

A header is never believed: what counts is what the decoder gives. Memory is bounded by the clip's length, whatever a
file's length, channels or claims are.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from musicrec.errors import DecodeError

Samples = NDArray[np.float32]

CLIP_SLACK_S = 1.0  # clips cut to 30 s are often some frames longer (GTZAN: 30.013 s); all of such a clip is used
PREROLL_S = 0.5  # an mp3 frame needs those before it: what follows a seek is garbled at first
BLOCK_FRAMES = 65_536
MAX_CHANNELS = 32
MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000


def load(uri: str, *, sample_rate: int = 22050, offset_s: float = 30.0, duration_s: float = 30.0) -> Samples:
    """Decode the clip of a track that features are computed from.

    The clip is `duration_s` long from `offset_s`; of a song too short for that, the last `duration_s`; of a recording
    that is itself a clip (up to `duration_s` + 1 s), all of it.

    Parameters
    ----------
    uri : str
        Path or ``file://`` URI of any format that libsndfile decodes (wav, flac, ogg, opus, mp3, …).
    sample_rate : int
        Sample rate of the result, in Hz.
    offset_s, duration_s : float
        Start and length of the clip, in seconds.

    Returns
    -------
    numpy.ndarray
        float32 [n_samples], mono, the mean of the channels, nominally in [-1, 1].

    Raises
    ------
    DecodeError
        With reason ``missing``, ``unreadable``, ``empty``, ``undecodable``, ``unsupported``, ``corrupt`` or
        ``not_finite``.
    """
    path = local_path(uri)
    _check_file(path)
    with _open(path) as file:
        rate = file.samplerate
        clip = _read_by_seeking(file, offset_s, duration_s)
    if clip is None:
        with _open(path) as file:
            clip = _read_through(file, offset_s, duration_s)
    if not len(clip):
        raise DecodeError("empty", "the file decodes to no samples")
    if not np.isfinite(clip).all():
        raise DecodeError("not_finite", "the samples hold NaN or infinite values")
    return _resample(clip, rate, sample_rate)


def local_path(uri: str) -> Path:
    """Path of a ``file://`` URI or of a plain path.

    Raises
    ------
    DecodeError
        The URI names another place than this machine's file system.
    """
    if "://" not in uri:
        return Path(uri)
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        place = f"{parts.scheme}://{parts.netloc}"
        raise DecodeError("unsupported", f"{place} is not read by this version; expected a path or file:///path")
    return Path(unquote(parts.path, errors="surrogateescape"))


def clip_window(n: float, rate: int, offset_s: float, duration_s: float) -> tuple[int, int]:
    """First and last-plus-one frame of the clip in a recording of `n` frames (infinite: longer than we read)."""
    offset, duration = round(offset_s * rate), round(duration_s * rate)
    if n <= duration + round(CLIP_SLACK_S * rate):
        return 0, int(n)
    if n >= offset + duration:
        return offset, offset + duration
    return int(n) - duration, int(n)


def _check_file(path: Path) -> None:
    try:
        if path.exists() and not path.is_file():
            raise DecodeError("unreadable", f"{path} is not a regular file")
        with path.open("rb") as f:
            if not f.read(1):
                raise DecodeError("empty", "the file has no bytes")
    except (FileNotFoundError, ValueError) as e:  # ValueError: no file has a name with a zero byte
        raise DecodeError("missing", f"no file {str(path)!r}") from e
    except OSError as e:
        raise DecodeError("unreadable", f"{path}: {e.strerror}") from e


class _Stream(sf.SoundFile):
    """A sound file that reads on from where it is.

    ``SoundFile.read`` seeks after every block, which garbles mp3 and loses the last block of a FLAC that ends early.
    """

    def seekable(self) -> bool:
        return False


@contextmanager
def _open(path: Path) -> Iterator[sf.SoundFile]:
    try:
        file = _Stream(os.fsencode(path))
    except (sf.LibsndfileError, TypeError) as e:  # TypeError: an extension that promises headerless data
        raise DecodeError("undecodable", f"no audio that libsndfile {sf.__libsndfile_version__} can decode") from e
    with file:
        if file.channels > MAX_CHANNELS:
            raise DecodeError("unsupported", f"{file.channels} channels; at most {MAX_CHANNELS} are read")
        if not MIN_RATE_HZ <= file.samplerate <= MAX_RATE_HZ:
            expected = f"expected {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz"
            raise DecodeError("unsupported", f"sample rate {file.samplerate} Hz; {expected}")
        try:
            yield file
        except sf.LibsndfileError as e:
            raise DecodeError("corrupt", f"the decoder stopped: {e.error_string.strip()}") from e


def _read_by_seeking(file: sf.SoundFile, offset_s: float, duration_s: float) -> Samples | None:
    """Clip at the file's own rate; None if the header promised more than there is."""
    start, stop = clip_window(file.frames, file.samplerate, offset_s, duration_s)
    preroll = min(start, round(PREROLL_S * file.samplerate))
    try:
        file.seek(start - preroll)
        clip = _concatenate(_mono_blocks(file, stop - start + preroll))[preroll:]
    except sf.LibsndfileError:
        return None
    return clip if len(clip) == stop - start else None


def _read_through(file: sf.SoundFile, offset_s: float, duration_s: float) -> Samples:
    """Clip of a file whose length is only known once it has been read."""
    rate = file.samplerate
    keep = round((duration_s + CLIP_SLACK_S) * rate)
    limit = max(round((offset_s + duration_s) * rate), keep)
    n, tail = 0, np.zeros(0, np.float32)
    for block in _mono_blocks(file, limit):
        n += len(block)
        tail = np.concatenate([tail, block])[-keep:]
    start, stop = clip_window(math.inf if n == limit else n, rate, offset_s, duration_s)
    first = n - len(tail)
    return tail[start - first : stop - first]


def _mono_blocks(file: sf.SoundFile, frames: int) -> Iterator[Samples]:
    """Up to `frames` frames, in mono blocks, so that no buffer is sized by a header."""
    while frames > 0:
        block = file.read(min(frames, BLOCK_FRAMES), dtype="float32", always_2d=True)
        if not len(block):
            return
        frames -= len(block)
        yield block.mean(axis=1)


def _concatenate(blocks: Iterator[Samples]) -> Samples:
    return np.concatenate([np.zeros(0, np.float32), *blocks])


def _resample(clip: Samples, rate: int, sample_rate: int) -> Samples:
    if rate == sample_rate:
        return clip
    length = math.ceil(len(clip) * sample_rate / rate)
    resampled = soxr.resample(clip, rate, sample_rate, quality="HQ")[:length]
    return np.pad(resampled, (0, length - len(resampled)))
