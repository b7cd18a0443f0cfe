"""Encode samples as an audio file: by libsndfile, or by FFmpeg (PyAV) for formats that libsndfile does not write.

This is for songs that musicrec makes itself: those of the demo, those with which `musicrec doctor` tests the decoders,
and the clips of a listening test. With one version of the libraries, equal samples give equal bytes, except in ogg and
opus: libsndfile gives each of their streams a random number.
"""

import io
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import soundfile as sf

from musicrec.audio.clip import Samples


class Format(NamedTuple):
    """How one kind of audio file is written.

    Attributes
    ----------
    suffix : str
        Ending of the file's name.
    container : str
        Name of the file type: libsndfile's format, or FFmpeg's muxer.
    codec : str
        Name of the encoding: libsndfile's subtype, or FFmpeg's encoder.
    rates : tuple of int
        Sample rates that it holds, in Hz, the usual one first; empty for any.
    options : mapping
        Options of libsndfile, or of FFmpeg's muxer.
    """

    suffix: str
    container: str
    codec: str
    rates: tuple[int, ...] = ()
    options: Mapping[str, str | float] = {}


MPEG_RATES = (44_100, 48_000, 32_000, 22_050, 24_000, 16_000)
BY_LIBSNDFILE = {
    "wav": Format(".wav", "WAV", "PCM_16"),
    "flac": Format(".flac", "FLAC", "PCM_16"),
    "mp3": Format(".mp3", "MP3", "MPEG_LAYER_III", MPEG_RATES),
    "ogg": Format(".ogg", "OGG", "VORBIS"),
    "opus": Format(".opus", "OGG", "OPUS", (48_000,)),
}
BY_FFMPEG = {
    "m4a": Format(".m4a", "ipod", "aac", MPEG_RATES),
    "aac": Format(".aac", "adts", "aac", MPEG_RATES, {"write_id3v2": "1"}),
    "alac": Format(".m4a", "ipod", "alac"),
    "wma": Format(".wma", "asf", "wmav2", MPEG_RATES),
    "webm": Format(".webm", "webm", "libopus", (48_000,)),
    "mka": Format(".mka", "matroska", "flac"),
    "wv": Format(".wv", "wv", "wavpack"),
    "tta": Format(".tta", "tta", "tta"),
    "ac3": Format(".ac3", "ac3", "ac3", (44_100, 48_000, 32_000)),
}
FORMATS = BY_LIBSNDFILE | BY_FFMPEG
CONSTANT_MP3 = BY_LIBSNDFILE["mp3"]._replace(options={"bitrate_mode": "CONSTANT", "compression_level": 0.6})

LAYOUTS = {1: "mono", 2: "stereo"}
BITS_PER_CHANNEL = 96_000  # per second, for encoders that need a bit rate
LEAST_BYTES = 2  # an encoder gets samples of at least this size


def encode(samples: Samples, sample_rate: int, form: str, **tags: str) -> bytes:
    """Return the content of an audio file.

    Parameters
    ----------
    samples : numpy.ndarray
        float32 [n] or [n, channels], one or two channels, within ±1.
    sample_rate : int
        In Hz; one of the format's rates, if it names any.
    form : str
        Name of the format, a key of `FORMATS`.
    **tags : str
        ``title``, ``artist``, ``album``; a format without tags drops them. In mp3 they are Latin-1: keep to ASCII.

    Returns
    -------
    bytes
        The file.

    Raises
    ------
    ValueError
        The format holds no such sample rate, or the samples have more than two channels.

    Examples
    --------
    >>> import numpy as np
    >>> from musicrec.audio.encode import encode
    >>> encode(np.zeros(22_050, np.float32), 22_050, "flac", title="Silence")[:4]
    b'fLaC'
    """
    how = FORMATS[form]
    if how.rates and sample_rate not in how.rates:
        raise ValueError(f"{form} at {sample_rate} Hz; expected one of {', '.join(map(str, how.rates))}")
    columns = samples.reshape(len(samples), -1)
    if columns.shape[1] not in LAYOUTS:
        raise ValueError(f"{columns.shape[1]} channels; expected 1 or 2")
    write = _by_libsndfile if form in BY_LIBSNDFILE else _by_ffmpeg
    return write(columns, sample_rate, how, tags)


def encode_constant_mp3(samples: Samples, sample_rate: int) -> bytes:
    """Return an mp3 without tags at a constant bit rate: clips of equal length have equal size.

    Parameters
    ----------
    samples : numpy.ndarray
        float32 [n], mono, within ±1.
    sample_rate : int
        In Hz; one of `MPEG_RATES`.
    """
    return _by_libsndfile(samples.reshape(len(samples), 1), sample_rate, CONSTANT_MP3, {})


def can_encode(form: str) -> bool:
    """Return whether the installed libraries were built with the format's encoder."""
    how = FORMATS[form]
    if form in BY_LIBSNDFILE:
        return how.container in sf.available_formats() and sf.check_format(how.container, how.codec)
    import av

    try:
        av.Codec(how.codec, "w")
        av.ContainerFormat(how.container, "w")
    except ValueError:
        return False
    return True


def _by_libsndfile(samples: Samples, rate: int, how: Format, tags: Mapping[str, str]) -> bytes:
    content = io.BytesIO()
    about = {"format": how.container, **how.options}
    with sf.SoundFile(content, "w", rate, samples.shape[1], how.codec, **about) as file:
        for name, value in tags.items():
            setattr(file, name, value)
        for start in range(0, len(samples), rate):  # libsndfile's Vorbis encoder crashes on minutes at once
            file.write(samples[start : start + rate])
    return content.getvalue()


def _by_ffmpeg(samples: Samples, rate: int, how: Format, tags: Mapping[str, str]) -> bytes:
    import av

    content, layout = io.BytesIO(), LAYOUTS[samples.shape[1]]
    exact = {"fflags": "+bitexact"}  # no date, and no random number for a track
    options = exact | {name: str(value) for name, value in how.options.items()}
    with av.open(content, "w", format=how.container, container_options=options) as file:
        file.metadata.update(tags)
        stream = file.add_stream(how.codec, rate=rate, layout=layout, format=_sample_format(how.codec))
        assert isinstance(stream, av.AudioStream)  # as its codec says
        stream.bit_rate = BITS_PER_CHANNEL * samples.shape[1]
        for start in range(0, len(samples), rate):
            block = np.ascontiguousarray(samples[start : start + rate], np.float32)
            frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="flt", layout=layout)
            frame.sample_rate, frame.pts = rate, start
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return content.getvalue()


def _sample_format(codec: str) -> str:
    """Return the encoder's first sample format of 16 bits or more: FFmpeg's choice is the first, which may have 8."""
    import av

    formats = av.Codec(codec, "w").audio_formats or []
    return next(form.name for form in formats if form.bytes >= LEAST_BYTES)
