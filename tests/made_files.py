"""A song in every format that an encoder here can write: libsndfile's, FFmpeg's (PyAV), and programs of Debian."""

import io
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import av
import numpy as np
import soundfile as sf


class Way(NamedTuple):
    """How a file is made."""

    ending: str
    encoder: str  # libsndfile's subtype, FFmpeg's encoder, or a program with its arguments
    container: str = ""  # libsndfile's format or FFmpeg's muxer; nothing for a program
    rate: int = 44_100
    n_channels: int = 2
    options: tuple[tuple[str, str], ...] = ()

    @property
    def program(self) -> str:
        """The program that makes it; nothing if libsndfile or FFmpeg does."""
        return "" if self.container else self.encoder.split()[0]

    def is_here(self) -> bool:
        """Whether the program is installed, or this FFmpeg has the encoder."""
        if self.program:
            return shutil.which(self.program) is not None
        return self.is_by_libsndfile() or self.encoder in av.codecs_available

    def is_by_libsndfile(self) -> bool:
        """Whether libsndfile makes it; its formats are in capitals."""
        return self.container[0].isupper()


NO_NOISE = (("aac_pns", "0"), ("aac_coder", "fast"))  # else AAC puts random noise in the place of noise
QUICK = (("compression_level", "9"),)
NO_TAG = (("write_xing", "0"), *QUICK)
BIT_RATE = (("b", "128000"),)
WAYS = {
    "wav 8 bits": Way(".wav", "PCM_U8", "WAV"),
    "wav 16 bits": Way(".wav", "PCM_16", "WAV"),
    "wav 24 bits": Way(".wav", "PCM_24", "WAVEX"),
    "wav float": Way(".wav", "DOUBLE", "WAV"),
    "wav a-law": Way(".wav", "ALAW", "WAV", 8000, 1),
    "wav ima": Way(".wav", "IMA_ADPCM", "WAV"),
    "wav ms": Way(".wav", "MS_ADPCM", "WAV"),
    "wav gsm": Way(".wav", "GSM610", "WAV", 8000, 1),
    "rf64": Way(".rf64", "PCM_24", "RF64"),
    "w64": Way(".w64", "PCM_16", "W64"),
    "aiff": Way(".aiff", "PCM_24", "AIFF"),
    "aiff ima": Way(".aiff", "IMA_ADPCM", "AIFF", 22_050, 1),
    "au": Way(".au", "ULAW", "AU", 8000, 1),
    "au g721": Way(".au", "G721_32", "AU", 8000, 1),
    "caf": Way(".caf", "PCM_32", "CAF"),
    "caf alac": Way(".caf", "ALAC_16", "CAF"),
    "sph": Way(".sph", "PCM_16", "NIST", 16_000, 1),
    "flac": Way(".flac", "PCM_16", "FLAC"),
    "flac 24 bits": Way(".flac", "PCM_24", "FLAC", 96_000),
    "ogg": Way(".ogg", "VORBIS", "OGG"),
    "ogg mono": Way(".ogg", "VORBIS", "OGG", 22_050, 1),
    "opus": Way(".opus", "OPUS", "OGG", 48_000),
    "mp3": Way(".mp3", "MPEG_LAYER_III", "MP3"),
    "mp3 low": Way(".mp3", "MPEG_LAYER_III", "MP3", 16_000, 1),
    "mp3 without a tag": Way(".mp3", "libmp3lame", "mp3", options=NO_TAG),
    "mp2": Way(".mp2", "mp2", "mp2"),
    "m4a": Way(".m4a", "aac", "ipod", options=NO_NOISE),
    "m4a alac": Way(".m4a", "alac", "ipod"),
    "mov": Way(".mov", "pcm_s16le", "mov"),
    "mp4 opus": Way(".mp4", "libopus", "mp4", 48_000),
    "mp4 mp3": Way(".mp4", "libmp3lame", "mp4", options=QUICK),
    "mp4 ac3": Way(".mp4", "ac3", "mp4", 48_000),
    "aac": Way(".aac", "aac", "adts", options=NO_NOISE),
    "ac3": Way(".ac3", "ac3", "ac3", 48_000),
    "eac3": Way(".eac3", "eac3", "eac3", 48_000),
    "wma": Way(".wma", "wmav2", "asf", options=BIT_RATE),
    "wma 1": Way(".wma", "wmav1", "asf", options=BIT_RATE),
    "mka flac": Way(".mka", "flac", "matroska"),
    "mka vorbis": Way(".mka", "vorbis", "matroska", options=(("strict", "-2"),)),
    "mka mp3": Way(".mka", "libmp3lame", "matroska", options=QUICK),
    "mka aac": Way(".mka", "aac", "matroska", options=NO_NOISE),
    "mka pcm": Way(".mka", "pcm_s16le", "matroska"),
    "webm": Way(".webm", "libopus", "webm", 48_000),
    "oga flac": Way(".oga", "flac", "oga"),
    "flv": Way(".flv", "aac", "flv", options=NO_NOISE),
    "ts": Way(".ts", "aac", "mpegts", options=NO_NOISE),
    "mpg": Way(".mpg", "ac3", "vob", 48_000),
    "avi": Way(".avi", "pcm_s16le", "avi"),
    "avi mp3": Way(".avi", "libmp3lame", "avi", options=QUICK),
    "wv": Way(".wv", "wavpack", "wv"),
    "tta": Way(".tta", "tta", "tta"),
    "voc": Way(".voc", "pcm_s16le", "voc"),
    "amr": Way(".amr", "libopencore_amrnb", "amr", 8000, 1),
    "lame": Way(".mp3", "lame --quiet -V2 IN OUT"),
    "lame abr": Way(".mp3", "lame --quiet --abr 100 IN OUT", rate=32_000),
    "lame low": Way(".mp3", "lame --quiet -b 24 IN OUT", rate=16_000, n_channels=1),
    "lame free": Way(".mp3", "lame --quiet --freeformat -b 480 IN OUT"),
    "oggenc": Way(".ogg", "oggenc --quiet --managed -b 96 -o OUT IN"),
    "opusenc": Way(".opus", "opusenc --quiet --framesize 60 IN OUT", rate=48_000),
    "flac variable": Way(".flac", "flac --silent --best --lax --blocksize=16000 --no-seektable -o OUT IN"),
    "flac ogg": Way(".oga", "flac --silent --ogg -o OUT IN"),
    "wavpack lossy": Way(".wv", "wavpack -q -b320 IN -o OUT"),
    "mpc": Way(".mpc", "mpcenc --silent --overwrite IN OUT"),
}


def written(samples, way: Way) -> bytes:
    """Return samples [n, n_channels] as a file."""
    if way.program:
        return _by_program(samples, way)
    return _by_libsndfile(samples, way) if way.is_by_libsndfile() else _by_ffmpeg(samples, way)


def _by_libsndfile(samples, way: Way) -> bytes:
    content = io.BytesIO()
    with sf.SoundFile(content, "w", way.rate, samples.shape[1], way.encoder, format=way.container) as file:
        for start in range(0, len(samples), way.rate):  # its Vorbis encoder takes no minutes at once
            file.write(samples[start : start + way.rate])
    return content.getvalue()


def _by_ffmpeg(samples, way: Way) -> bytes:
    content, layout = io.BytesIO(), {1: "mono", 2: "stereo"}[samples.shape[1]]
    options = dict(way.options)
    with av.open(content, "w", format=way.container, container_options=options) as file:
        stream = file.add_stream(way.encoder, rate=way.rate, layout=layout, options=options)
        for start in range(0, len(samples), 4096):
            frame = av.AudioFrame.from_ndarray(samples[start : start + 4096].reshape(1, -1), "flt", layout)
            frame.sample_rate, frame.pts, frame.time_base = way.rate, start, Fraction(1, way.rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return content.getvalue()


def _by_program(samples, way: Way) -> bytes:
    with TemporaryDirectory() as folder:
        names = {"IN": f"{folder}/in.wav", "OUT": f"{folder}/out{way.ending}"}
        sf.write(names["IN"], np.asarray(samples), way.rate, subtype="PCM_16")
        subprocess.run([names.get(word, word) for word in way.encoder.split()], check=True, capture_output=True)
        return Path(names["OUT"]).read_bytes()
