"""One track to one mono clip: decode only the window that is needed, mix down by the mean, resample.

A header is never believed: what counts is what the decoder gives. Memory is bounded by the clip's length, whatever a
file's length, channels or claims are.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from musicrec.errors import DecodeError

Samples = NDArray[np.float32]

CLIP_SLACK_S = 1.0  # clips cut to 30 s are often some frames longer (GTZAN: 30.013 s); all of such a clip is used
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
    try:
        file = sf.SoundFile(path)
    except (sf.LibsndfileError, TypeError) as e:  # TypeError: an extension that promises headerless data
        raise DecodeError("undecodable", f"no audio that libsndfile {sf.__libsndfile_version__} can decode") from e
    with file:
        _check_format(file)
        try:
            clip = _read_clip(file, offset_s, duration_s)
        except sf.LibsndfileError as e:
            raise DecodeError("corrupt", f"the decoder stopped: {e.error_string.strip()}") from e
        rate = file.samplerate
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
    if parts.scheme != "file":
        raise DecodeError("unsupported", f"{parts.scheme}:// is not read by this version; expected a path or file://")
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
        with path.open("rb") as f:
            if not f.read(1):
                raise DecodeError("empty", "the file has no bytes")
    except FileNotFoundError as e:
        raise DecodeError("missing", f"no file {path}") from e
    except OSError as e:
        raise DecodeError("unreadable", f"{path}: {e.strerror}") from e


def _check_format(file: sf.SoundFile) -> None:
    if file.channels > MAX_CHANNELS:
        raise DecodeError("unsupported", f"{file.channels} channels; at most {MAX_CHANNELS} are read")
    if not MIN_RATE_HZ <= file.samplerate <= MAX_RATE_HZ:
        raise DecodeError(
            "unsupported", f"sample rate {file.samplerate} Hz; expected {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz"
        )


def _read_clip(file: sf.SoundFile, offset_s: float, duration_s: float) -> Samples:
    """Clip at the file's own rate: by seeking where the header holds, else by reading through."""
    start, stop = clip_window(file.frames, file.samplerate, offset_s, duration_s)
    if _seek(file, start):
        clip = _concatenate(_mono_blocks(file, stop - start))
        if len(clip) == stop - start:
            return clip
    if not _seek(file, 0):
        raise DecodeError("corrupt", "the decoder stopped and cannot go back to the start")
    return _read_through(file, offset_s, duration_s)


def _seek(file: sf.SoundFile, frame: int) -> bool:
    """Go to a frame; False if the decoder cannot, as when a header promises more than there is."""
    try:
        return bool(file.seek(frame) == frame)
    except sf.LibsndfileError:
        return False


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
