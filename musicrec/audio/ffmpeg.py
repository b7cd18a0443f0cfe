"""Decode by FFmpeg (PyAV) what libsndfile does not read: m4a, aac, alac, wma, opus in webm, the sound of a video.

The clip is the one that decoding from the very start gives: the encoder's delay is dropped as FFmpeg drops it. Only
where the container states the position of each packet to the sample (mp4 and related formats) does a seek shorten the
way to the clip. The samples are then the same, except for the random noise by which AAC replaces noise.

An mp4 also states to the sample where its sound ends. FFmpeg 8 plays the last packet to its end all the same, and
FFmpeg 9 does so for Opus and PCM. Here the end is the container's, whichever FFmpeg decodes.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from musicrec.audio.clip import BLOCK_FRAMES, PREROLL_S, Samples, clip_window, mix_down, read_through, settling_length
from musicrec.audio.limits import Limits
from musicrec.errors import DecodeError
from musicrec.schemas import Reason

if TYPE_CHECKING:
    from av import AudioFrame, AudioResampler, AudioStream, FFmpegError, Packet
    from av.container import InputContainer

MOST_AHEAD_S = 10.0  # where a seek lands further before the clip, the song is read from its start, within limits
CONTAINERS = (  # none that names other files, as a playlist does, and none that reads text as music
    *("aac", "ac3", "aiff", "amr", "ape", "asf", "avi", "au", "caf", "dsf", "dts", "eac3", "flac", "flv", "matroska"),
    *("mov", "mp3", "mpc", "mpc8", "mpeg", "mpegts", "ogg", "shn", "tak", "tta", "voc", "w64", "wav", "wv", "xwma"),
)


def decode(path: Path, offset_s: float, duration_s: float, limits: Limits) -> tuple[Samples, int]:
    """Return the clip of a file at the file's own rate, as :func:`musicrec.audio.libsndfile.decode` does.

    Raises
    ------
    DecodeError
        With reason ``undecodable`` (not one sample can be decoded), ``corrupt`` (some can), ``unsupported`` or
        ``too_large``.
    """
    with _open(path) as (container, stream):
        clip = _read_by_seeking(container, stream, offset_s, duration_s, limits)
    if clip is not None:
        return clip
    with reading(path, limits) as (blocks, rate):
        return read_through(blocks, rate, offset_s, duration_s, limits), rate


@contextmanager
def reading(path: Path, limits: Limits) -> Iterator[tuple[Iterator[Samples], int]]:
    """Read a file from its start, as :func:`musicrec.audio.libsndfile.reading` does."""
    with _open(path) as (container, stream):
        frames = _frames(container, stream)
        first = next(frames, None)
        if first is None:
            raise DecodeError(Reason.EMPTY, "the file decodes to no samples")
        limits.check_format(first.sample_rate, first.layout.nb_channels)
        yield _mono_blocks(chain([first], frames)), first.sample_rate


@contextmanager
def _open(path: Path) -> Iterator[tuple["InputContainer", "AudioStream"]]:
    import av
    from av.container import InputContainer

    options = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}
    # PyAV 18 refuses a file whose tags are not UTF-8, unless told not to. PyAV 19 takes any, and has no such option.
    any_tags: dict[str, Any] = {"metadata_errors": "replace"} if hasattr(InputContainer, "metadata_errors") else {}
    try:
        container = av.open(f"file:{path}", container_options=options, **any_tags)
    except av.FFmpegError as e:
        raise _undecodable() from e
    with container:
        stream = container.streams.best("audio")
        if not isinstance(stream, av.AudioStream) or not stream.codec_context:
            raise _undecodable()
        stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1  # a worker has one core
        for other in container.streams:
            if other is not stream:
                other.discard = av.stream.Discard.all
        try:
            yield container, stream
        except av.FFmpegError as e:
            raise DecodeError(Reason.CORRUPT, f"FFmpeg stopped: {_describe(e)}") from e


def _undecodable() -> DecodeError:
    return DecodeError(Reason.UNDECODABLE, "no audio that libsndfile or FFmpeg can decode")


def _read_by_seeking(
    container: "InputContainer", stream: "AudioStream", offset_s: float, duration_s: float, limits: Limits
) -> tuple[Samples, int] | None:
    """Return clip and rate; None where decoding from the start could give another clip."""
    if not _is_mp4(container):
        return None
    first = next(_frames(container, stream), None)
    if first is None or first.pts is None or stream.time_base is None:
        return None
    rate = first.sample_rate
    limits.check_format(rate, first.layout.nb_channels)
    tick = stream.time_base * rate  # in frames
    start, stop = clip_window(math.inf, rate, offset_s, duration_s)
    if stop < settling_length(rate, offset_s, duration_s) or (stream.duration or 0) * tick < stop:
        return None
    container.seek(first.pts + math.floor((start - PREROLL_S * rate) / tick), stream=stream)
    frames = _frames(container, stream)
    landed = next(frames, None)
    if landed is None or landed.pts is None:
        return None
    ahead = start - (landed.pts - first.pts) * tick
    if not 0 <= ahead <= MOST_AHEAD_S * rate or ahead.denominator != 1:
        return None
    clip = _first(int(ahead) + stop - start, _mono_blocks(_unbroken(chain([landed], frames), tick)))[int(ahead) :]
    return (clip, rate) if len(clip) == stop - start else None


def _is_mp4(container: "InputContainer") -> bool:
    return "mov" in container.format.name.split(",")  # FFmpeg's name for mp4, m4a, 3gp and QuickTime


def _frames(container: "InputContainer", stream: "AudioStream") -> Iterator["AudioFrame"]:
    """Yield frames from where the container stands up to the end of the song."""
    decoded = _decoded(container, stream)
    return _up_to_the_end(decoded, stream) if _is_mp4(container) else (frame for _, frame in decoded)


def _decoded(
    container: "InputContainer", stream: "AudioStream"
) -> Iterator[tuple["Packet[AudioStream]", "AudioFrame"]]:
    """Yield frames from where the container stands, each with its packet.

    Packets that cannot be decoded are left out at the start (where a stream was cut into) and at the end (where it
    was cut off); between others they make the file corrupt.
    """
    import av

    damage, has_begun = "", False
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.InvalidDataError as e:
            damage, packet = _describe(e), None
        if packet is None:
            break
        try:
            frames = packet.decode()
        except av.FFmpegError as e:
            damage = _describe(e)
            continue
        for frame in frames:
            if damage and has_begun:
                raise DecodeError(Reason.CORRUPT, f"FFmpeg stopped: {damage}")
            damage, has_begun = "", True
            yield packet, frame
    if damage and not has_begun:
        raise DecodeError(Reason.UNDECODABLE, f"FFmpeg stopped: {damage}")


def _up_to_the_end(
    decoded: Iterator[tuple["Packet[AudioStream]", "AudioFrame"]], stream: "AudioStream"
) -> Iterator["AudioFrame"]:
    """Yield the frames of an mp4; cut the last one where the container says that the sound ends.

    It says so twice: by the length of the track, which an edit list may shorten, and by that of the last packet.
    """
    last = next(decoded, None)
    if last is None:
        return
    for following in decoded:
        yield last[1]
        last = following
    packet, frame = last
    if frame.pts is None or stream.time_base is None:
        yield frame
        return
    starts_and_lengths = (stream.start_time or 0, stream.duration), (packet.pts, packet.duration)
    ends = [start + length for start, length in starts_and_lengths if start is not None and length]
    left = [round((end - frame.pts) * stream.time_base * frame.sample_rate) for end in ends]
    yield _cut(frame, min((n for n in left if n > 0), default=frame.samples))  # 0 or less: the length is wrong


def _cut(frame: "AudioFrame", n: int) -> "AudioFrame":
    """Return the first `n` samples of a frame, or all if it has no more."""
    from av import AudioFifo

    if n >= frame.samples:
        return frame
    pts, frame.pts = frame.pts, None
    queue = AudioFifo()
    queue.write(frame)
    cut = queue.read(n)
    assert cut is not None  # the queue holds so many
    cut.pts = pts
    return cut


def _unbroken(frames: Iterator["AudioFrame"], tick: Fraction) -> Iterator["AudioFrame"]:
    """Yield frames up to the first that does not start exactly where the one before it ended."""
    origin, n = None, 0
    for frame in frames:
        if frame.pts is None:
            return
        origin = frame.pts if origin is None else origin
        if (frame.pts - origin) * tick.numerator != n * tick.denominator:
            return
        n += frame.samples
        yield frame


def _mono_blocks(frames: Iterator["AudioFrame"]) -> Iterator[Samples]:
    """Yield the frames mixed down and joined: a thousand small ones would cost more than their decoding."""
    from av import AudioFifo, AudioResampler

    queue, to_float, kind = AudioFifo(), AudioResampler(format="flt"), ""
    for frame in frames:
        kind = kind or _kind(frame)
        if kind != _kind(frame):  # the queue itself would not notice other channels
            raise DecodeError(Reason.CORRUPT, f"{kind} becomes {_kind(frame)} within the song")
        frame.pts = None  # which samples these are follows from their count
        queue.write(frame)
        if queue.samples >= BLOCK_FRAMES:
            yield from _mono(queue.read(), to_float)
    yield from _mono(queue.read(), to_float)


def _mono(block: "AudioFrame | None", to_float: "AudioResampler") -> Iterator[Samples]:
    for frame in to_float.resample(block) if block else []:
        # Interleaved: of eight or more planes PyAV 18 reads one that is not there.
        samples = frame.to_ndarray().reshape(-1, frame.layout.nb_channels)
        mono = np.empty(len(samples), np.float32)
        mix_down(samples, mono)
        yield mono


def _kind(frame: "AudioFrame") -> str:
    return f"{frame.layout.name} {frame.format.name} at {frame.sample_rate} Hz"


def _first(n: int, blocks: Iterator[Samples]) -> Samples:
    """Return the first `n` samples, or all if there are fewer."""
    taken: list[Samples] = []
    for block in blocks:
        taken.append(block[:n])
        n -= len(taken[-1])
        if not n:
            break
    return np.concatenate([np.zeros(0, np.float32), *taken])


def _describe(error: "FFmpegError") -> str:
    return error.strerror or type(error).__name__
