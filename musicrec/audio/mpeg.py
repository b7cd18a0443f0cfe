"""Decode an MPEG audio stream (mp3, mp2, mp1) that does not say how long it is, or that changes midway.

A file with a true Xing or Info tag is left to libsndfile, unless that gives less than the tag states. Any other is
scanned for its frames, once; this takes about 3 ms a minute of sound. Each run of frames of one kind is then a part of
the song. Only the frames of the clip are decoded, and some before them.

A WAV may hold MPEG audio too; libsndfile guesses its length, so it is always scanned.

A tag also says what the encoder added before and after the music. That is dropped, in each part that has a tag: two
files joined to one sound like one after the other.
"""

import os
from functools import partial

import numpy as np

from musicrec.audio import libsndfile
from musicrec.audio.clip import PREROLL_S, Samples, mix_down
from musicrec.audio.content import Content
from musicrec.audio.mpeg_frames import Frames, Run, data_of_wav, first_frame, scan, true_tag
from musicrec.audio.parts import Part
from musicrec.errors import DecodeError
from musicrec.schemas import Reason

PREROLL_FRAMES = 40  # a frame holds bits of later ones; in small frames, of the 30th after it
FEWEST_FRAMES = 2  # fewer may be anything
ROOM = 1 << 12  # bytes for each frame of a file that says nothing of its length: libsndfile guesses one from its size


def has_true_tag(content: Content, start: int) -> bool:
    """Return whether the file that starts at `start` is an MPEG stream with a tag that states its length."""
    at = first_frame(content, start)
    return at is not None and true_tag(content, at) is not None


def parts(content: Content, start: int) -> list[Part] | None:
    """Return the parts of a stream; None where the file is none.

    Parameters
    ----------
    content : Content
        The file.
    start : int
        Where it starts, behind its tags.
    """
    at = first_frame(content, data_of_wav(content, start) or start)
    if at is None:
        return None
    frames = scan(content, at)
    if len(frames.starts) < FEWEST_FRAMES:
        return None
    return [_part(run, partial(_decode, content, frames, run)) for run in frames.runs]


def _part(run: Run, read_raw: "partial[Samples]") -> Part:
    """Return the music of a run: without what its tag says was added, if all frames that the tag counts are there."""
    n, before, after = (run.stop - run.first) * run.header.samples, 0, 0
    if run.tag:
        before = min(run.tag.before, n)
        after = run.tag.after if run.stop - run.first == run.tag.frames else 0
    length = max(n - before - after, 0)
    return Part(length, run.header.rate, run.n_channels, lambda start, stop: read_raw(before + start, before + stop))


def _decode(content: Content, frames: Frames, run: Run, start: int, stop: int) -> Samples:
    """Decode samples of a run: by libsndfile, which knows free format, or FFmpeg, which takes any frame before it."""
    is_free, samples = not run.header.size, np.zeros(0, np.float32)
    if is_free or len(frames.runs) == 1:
        samples = _by_libsndfile(content, frames, run, start, stop)
    if len(samples) == stop - start:
        return samples
    if is_free:
        raise DecodeError(Reason.UNDECODABLE, "libsndfile cannot decode its free format")
    return _by_ffmpeg(content, frames, run, start, stop)


def _by_libsndfile(content: Content, frames: Frames, run: Run, start: int, stop: int) -> Samples:
    first, last = _needed(run, start, stop)
    skip = start - (first - run.first) * run.header.samples
    return libsndfile.decode_head(_copy(content, frames, first, last), skip + stop - start)[skip:]


def _by_ffmpeg(content: Content, frames: Frames, run: Run, start: int, stop: int) -> Samples:
    """Decode samples of a run by FFmpeg, frame by frame; one that cannot be decoded is silent, as in libsndfile."""
    import av

    codec = av.CodecContext.create(f"mp{run.header.layer}float", "r")
    assert isinstance(codec, av.AudioCodecContext)
    first, last = _needed(run, start, stop)
    is_any = False
    out = np.zeros((last - first) * run.header.samples, np.float32)
    for i in range(max(first - PREROLL_FRAMES, 0), last):  # the frames of another kind before it may hold bits of it
        at = (i - first) * run.header.samples
        try:
            decoded = codec.decode(av.Packet(content[frames.starts[i] : frames.starts[i] + frames.sizes[i]]))
        except av.FFmpegError:
            continue
        is_any = True
        for frame in decoded if i >= first else []:
            mix_down(frame.to_ndarray().T, out[at : at + frame.samples])
    if not is_any:
        raise DecodeError(Reason.UNDECODABLE, "it looks like MPEG audio, but FFmpeg can decode none of its frames")
    skip = start - (first - run.first) * run.header.samples
    return out[skip : skip + stop - start]


def _needed(run: Run, start: int, stop: int) -> tuple[int, int]:
    """Return the first frame to decode for samples `start` … `stop` - 1 of a run, and the one after the last."""
    preroll = max(PREROLL_FRAMES, -(-round(PREROLL_S * run.header.rate) // run.header.samples))
    first = max(run.first, run.first + start // run.header.samples - preroll)
    return first, min(run.stop, run.first - -stop // run.header.samples)


def _copy(content: Content, frames: Frames, first: int, stop: int) -> int:
    """Return a file in memory that holds frames `first` … `stop` - 1, and looks long enough for them."""
    copy = os.memfd_create("frames")
    os.write(copy, b"".join(content[frames.starts[i] : frames.starts[i] + frames.sizes[i]] for i in range(first, stop)))
    os.ftruncate(copy, os.fstat(copy).st_size + ROOM * (stop - first))
    os.lseek(copy, 0, os.SEEK_SET)
    return copy
