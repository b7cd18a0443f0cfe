"""Decode by FFmpeg (PyAV) what libsndfile does not read: m4a, aac, alac, wma, opus in webm, the sound of a video.

The clip is the one that decoding from the very start gives: the encoder's delay is dropped as FFmpeg drops it. Only
where the container states the position of each packet to the sample (mp4 and related formats) does a seek shorten the
way to the clip. The samples are then the same, except for the random noise that AAC and AC-3 put in.

An mp4 also states to the sample where its sound ends. FFmpeg 8 plays the last packet to its end all the same, and
FFmpeg 9 does so for Opus and PCM. Here the end is the container's, whichever FFmpeg decodes.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from musicrec.audio import formats, musepack
from musicrec.audio.clip import BLOCK_FRAMES, PREROLL_S, Samples, clip_window, mix_down, read_through, settling_length
from musicrec.audio.limits import Limits
from musicrec.audio.mpeg_frames import after_id3
from musicrec.audio.pcm import check_sound
from musicrec.audio.resampling import resample_blocks
from musicrec.errors import DecodeError
from musicrec.schemas import Reason

if TYPE_CHECKING:
    from av import AudioFrame, AudioResampler, AudioStream, FFmpegError, Packet
    from av.container import InputContainer

PCM_FORMATS = ("s16", "s16p", "s32", "s32p")
MOST_AHEAD_S = 10.0  # where a seek lands further before the clip, the song is read from its start, within limits


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
def reading(source: Path | BinaryIO, limits: Limits) -> Iterator[tuple[Iterator[Samples], int]]:
    """Read a file from its start, as :func:`musicrec.audio.libsndfile.reading` does."""
    with _open(source) as (container, stream):
        frames = _frames(container, stream)
        first = next(frames, None)
        if first is None:
            raise _no_samples(container, stream)
        limits.check_format(first.sample_rate, first.layout.nb_channels)
        blocks = _mono_blocks(chain([first], frames))
        if container.format.name in musepack.DEMUXERS:
            head = _head(source)
            blocks = musepack.music_of(blocks, _head(source, after_id3(head)))
        yield blocks, first.sample_rate


def shape(content: BinaryIO, limits: Limits) -> tuple[int, int]:
    """Return the length of a file in frames, by decoding it, and its sample rate in Hz."""
    content.seek(0)
    with reading(content, limits) as (blocks, rate):
        return sum(len(block) for block in blocks), rate


def decode_span(content: BinaryIO, limits: Limits, start: int, stop: int) -> Samples:
    """Return frames `start` … `stop` - 1 of a file, mono, or those of them that can be decoded; it is read through."""
    content.seek(0)
    with reading(content, limits) as (blocks, _):
        return _first(stop, blocks)[start:]


@contextmanager
def _open(source: Path | BinaryIO) -> Iterator[tuple["InputContainer", "AudioStream"]]:
    import av
    from av.container import InputContainer

    options = {"format_whitelist": ",".join(formats.DEMUXERS), "protocol_whitelist": "file"}
    # PyAV 18 refuses a file whose tags are not UTF-8, unless told not to. PyAV 19 takes any, and has no such option.
    any_tags: dict[str, Any] = {"metadata_errors": "replace"} if hasattr(InputContainer, "metadata_errors") else {}
    name = f"file:{source}" if isinstance(source, Path) else source
    head = _head(source)
    try:
        try:
            container = av.open(name, container_options=options, **any_tags)
        except av.FFmpegError:
            if not after_id3(head):
                raise
            options["skip_initial_bytes"] = str(after_id3(head))  # FFmpeg 7 and later fail before APE and Musepack
            container = av.open(name, container_options=options, **any_tags)
    except av.FFmpegError as e:
        raise _undecodable(head) from e
    with container:
        stream = container.streams.best("audio")
        if not isinstance(stream, av.AudioStream) or not stream.codec_context:
            raise _undecodable(head)
        stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1  # a worker has one core
        if stream.codec_context.name == "flac":  # else it plays a damaged frame as noise
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
        for other in container.streams:
            if other is not stream:
                other.discard = av.stream.Discard.all
        try:
            yield container, stream
        except av.FFmpegError as e:
            raise DecodeError(Reason.CORRUPT, f"FFmpeg stopped: {_describe(e)}") from e


def _no_samples(container: "InputContainer", stream: "AudioStream") -> DecodeError:
    if stream.duration or stream.frames or container.duration:
        return DecodeError(Reason.UNDECODABLE, "it says that it holds samples, but none of them can be decoded")
    return DecodeError(Reason.EMPTY, "the file decodes to no samples")


def _undecodable(head: bytes) -> DecodeError:
    form = formats.of(head)
    if form and form.decoder == formats.NEITHER:
        return DecodeError(Reason.UNDECODABLE, f"{form.name}: neither libsndfile nor FFmpeg plays them")
    return DecodeError(Reason.UNDECODABLE, "no audio that libsndfile or FFmpeg can decode")


def _head(source: Path | BinaryIO, at: int = 0) -> bytes:
    if not isinstance(source, Path):
        return b""
    with source.open("rb") as file:
        file.seek(at)
        return file.read(formats.HEAD_BYTES)


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
    if _is_mp4(container):
        return _up_to_the_end(decoded, stream)
    frames = (frame for _, frame in decoded)
    return _without_holes(frames) if container.format.name == "flac" else frames


def _without_holes(frames: Iterator["AudioFrame"]) -> Iterator["AudioFrame"]:
    """Yield the frames of a FLAC; FFmpeg passes over damaged ones in silence, but their numbers are missed."""
    following: int | None = None
    for frame in frames:
        if frame.pts is not None and following not in (None, frame.pts):
            raise DecodeError(Reason.CORRUPT, "FFmpeg cannot decode a stretch in the middle")
        start = following if frame.pts is None else frame.pts
        following = start + frame.samples if start is not None else None
        yield frame


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
            if damage and has_begun and packet.size:  # the last frames come without a packet
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
    """Yield the song mixed down, at the rate of its first frame; where rate or channels change, it goes on."""
    rate = 0
    for (own_rate, _), stretch in groupby(frames, key=_kind):
        rate = rate or own_rate
        yield from resample_blocks(_joined(stretch), own_rate, rate)


def _joined(frames: Iterator["AudioFrame"]) -> Iterator[Samples]:
    """Yield frames of one kind mixed down and joined: a thousand small ones would cost more than their decoding."""
    from av import AudioFifo, AudioResampler

    queue, to_float = AudioFifo(), AudioResampler(format="flt")
    for frame in frames:
        frame.pts = None  # which samples these are follows from their count
        queue.write(frame)
        if queue.samples >= BLOCK_FRAMES:
            yield from _mono(queue.read(), to_float)
    yield from _mono(queue.read(), to_float)


def _mono(block: "AudioFrame | None", to_float: "AudioResampler") -> Iterator[Samples]:
    for frame in to_float.resample(block) if block else []:
        # Interleaved: of eight or more planes PyAV 18 reads one that is not there.
        samples = frame.to_ndarray().reshape(-1, frame.layout.nb_channels)
        if block and block.format.name in PCM_FORMATS:
            check_sound(samples)
        mono = np.empty(len(samples), np.float32)
        mix_down(samples, mono)
        yield mono


def _kind(frame: "AudioFrame") -> tuple[int, str]:
    return frame.sample_rate, f"{frame.layout.name} {frame.format.name}"


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
