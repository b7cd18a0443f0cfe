#!/usr/bin/env bash
# Whether the same AC-3 frames give the same samples, wherever decoding begins.
#
# Guess:    A frame of AC-3 needs the one before it, for the overlap. Some frames after the place where decoding began, the samples
#           are those of a decoder that began earlier, as in other codecs.
# Happens:  FFmpeg 8.1.2 (PyAV 18.1.0) never gives the same samples again. Where an encoder has spent no bits, AC-3 puts random
#           numbers (dither, ATSC A/52, 7.3.4), and FFmpeg's depend on all frames that it has decoded before. Here the difference is
#           25 dB below the music; in MP2, 81 dB. So a clip that was sought is not to the sample a stretch of the whole song.
# Versions: PyAV 18.1.0 (FFmpeg 8.1.2), numpy 2.4.6 from PyPI, Python 3.11 or later. Seen in November 2026, Linux on x86-64.
# Source:   libavcodec/ac3dec.c of FFmpeg (dither), and the files below: 4 s of two tones in noise, decoded from the first frame on,
#           and from the 40th.
# musicrec: compares such clips by their correlation in its tests (tests/audio/test_every_format.py); features hardly change.
#
# Usage: findings/ac3-noise.sh          PYTHON=/path/to/python3.11-or-later chooses the Python
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import sys
from fractions import Fraction
import av, numpy as np

RATE, BEGIN, SETTLED = 48_000, 40, 50  # frames
t = np.arange(4 * RATE) / RATE
music = 0.2 * np.sin(2 * np.pi * 330 * t) + 0.2 * np.sin(2 * np.pi * 777 * t) + np.random.default_rng(0).normal(0, 0.02, len(t))


def encode(name, codec):
    path = f"{sys.argv[1]}/{name}"
    with av.open(path, "w") as file:
        stream = file.add_stream(codec, rate=RATE, layout="mono", options={"b": "96000"})
        resampler = av.AudioResampler(stream.format, "mono", RATE, stream.frame_size)
        frame = av.AudioFrame.from_ndarray(music[None].astype(np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    return path


def decode(path, begin):
    """The samples of each frame, by a fresh decoder that begins with frame `begin`."""
    with av.open(path) as file:
        stream, to_float = file.streams.audio[0], av.AudioResampler(format="fltp")
        packets = [packet for packet in file.demux(stream) if packet.size]
        decoder = av.CodecContext.create(stream.codec_context.name, "r")
        return [to_float.resample(f)[0].to_ndarray()[0] for p in packets[begin:] for f in decoder.decode(p)]


print(f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}")
for name, codec in (("song.ac3", "ac3"), ("song.eac3", "eac3"), ("song.mp2", "mp2")):
    path = encode(name, codec)
    whole, part, again = (np.concatenate(decode(path, begin)[SETTLED - begin :]) for begin in (0, BEGIN, BEGIN))
    level = 20 * np.log10(max(np.std(part - whole), 1e-9) / np.std(whole))
    print(f"{codec}: difference {level:.0f} dB; twice from the same frame: {'equal' if (part == again).all() else 'not equal'}")
PYTHON
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
"$folder/venv/bin/python" "$folder/show.py" "$folder" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN' && echo "as told above"
PyAV 18.1.0, FFmpeg 8.1.2
ac3: difference -25 dB; twice from the same frame: equal
eac3: difference -25 dB; twice from the same frame: equal
mp2: difference -81 dB; twice from the same frame: equal
SEEN
