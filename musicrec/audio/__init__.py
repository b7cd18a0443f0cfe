"""Decode a track to one mono clip: only the part that is needed, mixed down by the mean, and resampled.

A file may be shorter than its header says: what counts is what the decoder returns. A file that is longer than its
header says ends where the header says. Memory depends on the length of the clip only, whatever the length, the channels
or the header of the file. :func:`stream` decodes a whole song in blocks, in memory that does not grow with its length.

``Samples`` is the type of a clip, a float32 array. ``DEFAULT_LIMITS`` are the limits that :func:`load` uses by default.
A recording that is at most ``CLIP_SLACK_S`` seconds longer than the clip is used whole.
"""

import mmap
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from musicrec.audio import ffmpeg, flac, libsndfile, mpeg, ogg
from musicrec.audio.clip import CLIP_SLACK_S, Samples, clip_window, skip
from musicrec.audio.limits import DEFAULT_LIMITS, Limits
from musicrec.audio.mpeg_frames import after_tags
from musicrec.audio.parts import Part, blocks_of_parts, clip_of_parts
from musicrec.audio.resampling import resample, resample_blocks
from musicrec.audio.uris import is_remote, local_file, local_path
from musicrec.errors import DecodeError
from musicrec.schemas import Reason

__all__ = [
    "CLIP_SLACK_S",
    "DEFAULT_LIMITS",
    "Limits",
    "Samples",
    "clip_window",
    "is_remote",
    "load",
    "local_path",
    "resample",
    "stream",
]


MOST_EMPTY_BYTES = 4096
FOR_FFMPEG = (Reason.UNDECODABLE, Reason.CORRUPT)  # it reads more formats, and a file that is cut off up to its end


def load(
    uri: str,
    *,
    sample_rate: int = 22050,
    offset_s: float = 30.0,
    duration_s: float = 30.0,
    limits: Limits = DEFAULT_LIMITS,
) -> Samples:
    """Decode the clip of a track from which features are computed.

    The clip starts at `offset_s` and is `duration_s` long. If the song is too short for that, the clip is its last
    `duration_s`. A recording that is itself a clip, at most `duration_s` + 1 s long, is used whole.

    Parameters
    ----------
    uri : str
        Path, or ``file://``, ``http(s)://`` or ``s3://`` URI, of a file in any format that libsndfile (wav, flac, ogg,
        opus, mp3, …) or FFmpeg (m4a, aac, alac, wma, webm, the sound of a video, …) decodes.
    sample_rate : int
        Sample rate of the result, in Hz.
    offset_s, duration_s : float
        Start and length of the clip, in seconds.
    limits : Limits
        Songs beyond these limits are refused.

    Returns
    -------
    numpy.ndarray
        float32 [n_samples], mono, the mean of the channels, nominally in [-1, 1].

    Raises
    ------
    DecodeError
        The song cannot be decoded. The reason is ``missing``, ``unreadable``, ``empty``, ``undecodable``,
        ``unsupported``, ``too_large``, ``corrupt`` or ``not_finite``.

    Examples
    --------
    >>> from musicrec.audio import load
    >>> y = load("songs/synthetic-bells/synthetic-bells-1.flac", sample_rate=16_000)
    >>> y.shape, y.dtype
    ((16000,), dtype('float32'))
    """
    with local_file(uri, limits) as path:
        clip, rate = _decode(path, offset_s, duration_s, limits)
        if not len(clip):
            raise _no_samples(path)
    _check_finite(clip)
    return resample(clip, rate, sample_rate)


def stream(uri: str, *, sample_rate: int = 22050, limits: Limits = DEFAULT_LIMITS) -> Iterator[Samples]:
    """Decode a whole song, block by block. The samples are those of :func:`load` with a clip that is the whole song.

    Parameters
    ----------
    uri : str
        As for :func:`load`.
    sample_rate : int
        Sample rate of the result, in Hz.
    limits : Limits
        Songs beyond these limits are refused.

    Yields
    ------
    numpy.ndarray
        float32 [n_samples], mono; the length of a block differs from one to the next.

    Raises
    ------
    DecodeError
        As for :func:`load`; ``corrupt``, ``not_finite`` and ``too_large`` may come after some blocks.

    Examples
    --------
    >>> from musicrec.audio import stream
    >>> sum(len(block) for block in stream("songs/synthetic-bells/synthetic-bells-1.flac", sample_rate=16_000))
    16000
    """
    with local_file(uri, limits) as path, _reading(path, limits) as (blocks, rate):
        yield from resample_blocks(_checked(blocks, rate, limits, path), rate, sample_rate)


class _Look(NamedTuple):
    """What the bytes of a file tell."""

    parts: Iterable[Part] | None  # of a song that decoders would take for less than it is
    is_length_true: bool  # whether a tag states it, and no part has to be found


@contextmanager
def _look(path: Path, limits: Limits, *, believes_tags: bool = True) -> Iterator[_Look]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = after_tags(content, 0, len(content))
        if believes_tags and mpeg.has_true_tag(content, start):
            yield _Look(None, is_length_true=True)
        elif content[start : start + 4] == b"OggS":
            yield _Look(ogg.parts(content, start, limits), is_length_true=False)
        else:
            yield _Look(flac.parts(content, start) or mpeg.parts(content, start), is_length_true=False)


@contextmanager
def _reading(path: Path, limits: Limits) -> Iterator[tuple[Iterator[Samples], int]]:
    """Read a file from its start as :func:`load` would read it."""
    with _look(path, limits) as (parts, is_length_true):
        if parts:
            blocks, rate = blocks_of_parts(parts, limits)
            by_ffmpeg = partial(ffmpeg.reading, path, limits)
            yield (_or_else(blocks, by_ffmpeg) if ogg.is_one_link(path) else blocks), rate
            return
    with _by_one_decoder(path, limits, is_length_true=is_length_true) as blocks_and_rate:
        yield blocks_and_rate


def _by_one_decoder(
    path: Path, limits: Limits, *, is_length_true: bool
) -> AbstractContextManager[tuple[Iterator[Samples], int]]:
    try:
        with libsndfile.reading(path, limits) as (blocks, _):
            is_empty = next(blocks, None) is None
    except DecodeError as e:
        if e.reason not in FOR_FFMPEG:
            raise
        return ffmpeg.reading(path, limits)
    if is_empty:  # as the header says, after a crash of the recorder
        with suppress(DecodeError), ffmpeg.reading(path, limits):
            return ffmpeg.reading(path, limits)
    return _by_libsndfile(path, limits, is_length_true=is_length_true)


@contextmanager
def _by_libsndfile(path: Path, limits: Limits, *, is_length_true: bool) -> Iterator[tuple[Iterator[Samples], int]]:
    """Read a file by libsndfile; from where that stops at damage, by its parts, or by FFmpeg."""
    despite_damage = partial(_despite_damage, path, limits, is_length_true=is_length_true)
    with libsndfile.reading(path, limits, is_length_true=is_length_true) as (blocks, rate):
        yield _or_else(blocks, despite_damage), rate


def _or_else(
    blocks: Iterator[Samples], read_otherwise: Callable[[], AbstractContextManager[tuple[Iterator[Samples], int]]]
) -> Iterator[Samples]:
    """Yield the blocks of a song; from where its decoder stops at damage, those of another way to read it."""
    n = 0
    try:
        for block in blocks:
            n += len(block)
            yield block
    except DecodeError as e:
        if e.reason not in FOR_FFMPEG:
            raise
        with read_otherwise() as (others, _):
            yield from skip(others, n)


@contextmanager
def _despite_damage(path: Path, limits: Limits, *, is_length_true: bool) -> Iterator[tuple[Iterator[Samples], int]]:
    """Read from its start a file at whose damage libsndfile stops; FFmpeg knows whether that is the end."""
    if is_length_true:
        with _look(path, limits, believes_tags=False) as (parts, _):
            if parts:
                yield blocks_of_parts(parts, limits)
                return
    with ffmpeg.reading(path, limits) as blocks_and_rate:
        yield blocks_and_rate


def _checked(blocks: Iterable[Samples], rate: int, limits: Limits, path: Path) -> Iterator[Samples]:
    """Yield the blocks of a song, or raise what is wrong with it."""
    n = 0
    for block in blocks:
        n += len(block)
        limits.check_decoded(n, rate)
        _check_finite(block)
        yield block
    if not n:
        raise _no_samples(path)


def _check_finite(samples: Samples) -> None:
    if not np.isfinite(samples).all():
        raise DecodeError(Reason.NOT_FINITE, "the samples hold NaN or infinite values")


def _no_samples(path: Path) -> DecodeError:
    n_bytes = path.stat().st_size
    if n_bytes > MOST_EMPTY_BYTES:  # more than a header and tags: something was lost
        return DecodeError(Reason.UNDECODABLE, f"no sample can be decoded from its {n_bytes} bytes")
    return DecodeError(Reason.EMPTY, "the file decodes to no samples")


def _decode(path: Path, offset_s: float, duration_s: float, limits: Limits) -> tuple[Samples, int]:
    """Decode the clip at the file's own rate: by libsndfile, which is faster, or FFmpeg, which reads more formats."""
    with _look(path, limits) as (parts, is_length_true):
        if parts:
            return _clip_of_parts(path, parts, offset_s, duration_s, limits)
    try:
        clip, rate = libsndfile.decode(path, offset_s, duration_s, limits, is_length_true=is_length_true)
    except DecodeError as e:
        if e.reason not in FOR_FFMPEG:
            raise
        if is_length_true:
            with _look(path, limits, believes_tags=False) as (parts, _):
                if parts:
                    return clip_of_parts(parts, offset_s, duration_s, limits)
        return ffmpeg.decode(path, offset_s, duration_s, limits)
    if not len(clip):  # after a crash of the recorder the header says 0 samples, but they are there
        with suppress(DecodeError):
            return ffmpeg.decode(path, offset_s, duration_s, limits)
    return clip, rate


def _clip_of_parts(
    path: Path, parts: Iterable[Part], offset_s: float, duration_s: float, limits: Limits
) -> tuple[Samples, int]:
    """Decode the clip of a song that consists of parts; if that is an Ogg file of one link, else by FFmpeg."""
    try:
        return clip_of_parts(parts, offset_s, duration_s, limits)
    except DecodeError as e:
        if e.reason not in FOR_FFMPEG or not ogg.is_one_link(path):
            raise
        return ffmpeg.decode(path, offset_s, duration_s, limits)
