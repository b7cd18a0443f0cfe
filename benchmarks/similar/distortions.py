"""One recording as other files hold it: other codecs, level, sample rate, cuts and speed."""

import io
from collections.abc import Callable, Iterator

import av
import numpy as np
import soundfile as sf
import soxr
from av.filter import Graph
from numpy.typing import NDArray

from musicrec.audio.encode import encode

Samples = NDArray[np.float32]
Distortion = Callable[[Samples], Samples]

RATE = 22_050  # of all clips, in Hz
OPUS_RATE = 48_000
BLOCK = 4096  # samples in a frame
SPEEDS = (-4, -3.5, -2.5, -2, -1, -0.5, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4)  # in %, on the grid and between its steps
CUTS_S = (0.013, 1, 3.3, 7)


def distortions() -> dict[str, Distortion]:
    """Return how each kind of file is made from a clip, by its name; none lasts longer than the clip."""
    return {
        "mp3 128k": coded("libmp3lame", "mp3", 128_000),
        "mp3 64k": coded("libmp3lame", "mp3", 64_000),
        "ogg": _ogg,
        "opus 64k": coded("libopus", "ogg", 64_000, OPUS_RATE),
        "m4a 96k": coded("aac", "ipod", 96_000),
        "8 kHz": _filters(("aresample", "8000"), ("aresample", str(RATE))),
        "-6 dB": lambda clip: clip / 2,
        "compression": _filters(("acompressor", "threshold=-20dB:ratio=4:makeup=2")),
        "fades": _fades,
        **{f"cut {seconds:g} s": _cut(seconds) for seconds in CUTS_S},
        **{f"speed {percent:+g} %": _speed(1 + percent / 100) for percent in SPEEDS},
        "tempo +2 %": _filters(("atempo", "1.02")),
        "tempo +4 %": _filters(("atempo", "1.04")),
        "another song mixed in, 6 dB below": lambda clip: clip + 0.5 * _another(clip),
        "another song mixed in, as loud": lambda clip: clip + _another(clip),
        "hall, 1.5 s": _hall,
    }


def _filters(*filters: tuple[str, str]) -> Distortion:
    """Return a chain of FFmpeg's filters, each with its arguments."""

    def distort(clip: Samples) -> Samples:
        graph = Graph()
        source = graph.add_abuffer(format="flt", sample_rate=RATE, layout="mono")
        graph.link_nodes(source, *(graph.add(name, arguments) for name, arguments in filters), graph.add("abuffersink"))
        graph.configure()
        blocks = []
        for frame in _frames(clip, RATE):
            graph.push(frame)
            blocks += list(_pulled(graph))
        graph.push(None)
        return np.concatenate([*blocks, *_pulled(graph)]).astype(np.float32)

    return distort


def _frames(clip: Samples, rate: int) -> Iterator[av.AudioFrame]:
    for start in range(0, len(clip), BLOCK):
        block = np.ascontiguousarray(clip[start : start + BLOCK], np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="flt", layout="mono")
        frame.sample_rate, frame.pts = rate, start
        yield frame


def _pulled(graph: Graph) -> Iterator[Samples]:
    to_float = av.AudioResampler("flt", "mono")
    while True:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        yield from (part.to_ndarray()[0] for part in to_float.resample(frame))


def coded(codec: str, container: str, bit_rate: int, rate: int = RATE) -> Distortion:
    """Return what a file of this codec gives back."""

    def distort(clip: Samples) -> Samples:
        content = io.BytesIO()
        given = soxr.resample(clip, RATE, rate)
        with av.open(content, "w", format=container) as file:
            stream = file.add_stream(codec, rate=rate, layout="mono")
            stream.bit_rate = bit_rate
            for frame in _frames(given, rate):
                file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
        content.seek(0)
        with av.open(content) as file:
            to_float = av.AudioResampler("flt", "mono", RATE)
            frames = [part for frame in file.decode(audio=0) for part in to_float.resample(frame)]
            blocks = [part.to_ndarray()[0] for part in [*frames, *to_float.resample(None)]]
        return np.concatenate(blocks)[: len(clip)].astype(np.float32)

    return distort


def _ogg(clip: Samples) -> Samples:
    """Return what an Ogg Vorbis file gives back, which libsndfile writes."""
    return sf.read(io.BytesIO(encode(clip, RATE, "ogg")), dtype="float32")[0]


def _fades(clip: Samples) -> Samples:
    """Fade the first and the last three seconds."""
    ramp = np.minimum(np.arange(len(clip)), np.arange(len(clip))[::-1]) / (3 * RATE)
    return (clip * np.minimum(ramp, 1)).astype(np.float32)


def _another(clip: Samples) -> Samples:
    """Return a synthetic song as loud as the clip: a tone each fifth of a second, by lot."""
    rng, t = np.random.default_rng(0), np.arange(len(clip)) / RATE
    song = np.zeros(len(clip))
    for start in np.arange(0, t[-1], 0.2):
        rest = t[t >= start] - start
        hz = 110 * 2 ** rng.uniform(0, 5)
        song[t >= start] += np.exp(-4 * rest) * np.minimum(rest / 0.01, 1) * np.sin(2 * np.pi * hz * rest)
    return (song * np.sqrt(np.mean(clip**2) / np.mean(song**2))).astype(np.float32)


def _hall(clip: Samples) -> Samples:
    """Play in a hall: noise that dies away by 60 dB in 1.5 s, as loud as the sound itself."""
    t = np.arange(round(1.5 * RATE)) / RATE
    tail = np.random.default_rng(0).normal(size=len(t)) * 10 ** (-3 * t / 1.5)
    tail /= np.sqrt(np.sum(tail**2))
    n = len(clip) + len(tail)
    echo = np.fft.irfft(np.fft.rfft(clip, n) * np.fft.rfft(tail, n), n)[: len(clip)]
    return (clip + echo).astype(np.float32)


def _cut(seconds: float) -> Distortion:
    """Leave out the first seconds."""
    return lambda clip: clip[round(seconds * RATE) :]


def _speed(ratio: float) -> Distortion:
    """Play at another speed, and so at another pitch."""
    return lambda clip: soxr.resample(clip, RATE * ratio, RATE).astype(np.float32)
