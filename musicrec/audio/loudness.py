"""Loudness of a clip by EBU R128, measured by FFmpeg, and clips of equal loudness."""

import math
from typing import NamedTuple

import numpy as np

from musicrec.audio.clip import Samples

TARGET_LUFS = -23.0  # of R128
CEILING = 10 ** (-1 / 20)  # true peak of −1 dB, of R128
SILENCE_LUFS = -60.0


class Loudness(NamedTuple):
    """What R128 says of a clip.

    Attributes
    ----------
    lufs : float
        Integrated loudness, gated, in LUFS; -70 or less for silence.
    true_peak : float
        Greatest value between the samples too, 1 for full scale.
    """

    lufs: float
    true_peak: float


def loudness(samples: Samples, sample_rate: int) -> Loudness:
    """Measure integrated loudness and true peak.

    Parameters
    ----------
    samples : numpy.ndarray
        float32 [n], mono, at least 0.4 s.
    sample_rate : int
        In Hz.

    Examples
    --------
    >>> import numpy as np
    >>> tone = 0.1 * np.sin(2 * np.pi * 997 * np.arange(96_000) / 48_000)
    >>> round(loudness(tone.astype(np.float32), 48_000).lufs, 1)
    -23.0
    """
    import av
    import av.filter

    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=sample_rate, format="flt", layout="mono")
    meter, sink = graph.add("ebur128", "metadata=1:peak=true:framelog=quiet"), graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, np.float32)[np.newaxis], "flt", "mono")
    frame.sample_rate, frame.pts = sample_rate, 0
    graph.push(frame)
    graph.push(None)
    said = dict[str, str]()
    while True:
        try:
            said = graph.pull().metadata or said  # the last frame, too short to be measured, has none
        except (av.error.EOFError, av.error.BlockingIOError):
            return Loudness(float(said["lavfi.r128.I"]), float(said["lavfi.r128.true_peak"]))


def equally_loud(samples: Samples, sample_rate: int) -> tuple[Samples, float] | None:
    """Return a clip at −23 LUFS, or below it where its true peak would pass −1 dB.

    Parameters
    ----------
    samples : numpy.ndarray
        As for :func:`loudness`.
    sample_rate : int
        In Hz.

    Returns
    -------
    tuple of numpy.ndarray and float, or None
        The clip, float32 [n], and its loudness in LUFS; None for silence.
    """
    measured = loudness(samples, sample_rate)
    if not measured.lufs > SILENCE_LUFS:
        return None
    gain = min(10 ** ((TARGET_LUFS - measured.lufs) / 20), CEILING / measured.true_peak)
    return (samples * gain).astype(np.float32), measured.lufs + 20 * math.log10(gain)
