#!/usr/bin/env bash
# What is left of a WMA that FFmpeg has encoded, when FFmpeg decodes it.
#
# Guess:    The decoder drops what the encoder has added before the music, so that both together give back what went in.
# Happens:  FFmpeg 8.1.2 (PyAV 18.1.0) drops two frames, of which its encoder has added one. The first frame of the music is lost, and
#           all is early by it: by 46 ms at 44.1 kHz, 64 ms at 8 kHz. Without the drop (flags2 +skip_manual), all is late by one frame.
# Versions: PyAV 18.1.0 (FFmpeg 8.1.2), numpy 2.4.6 from PyPI, Python 3.11 or later. Seen in November 2026, Linux on x86-64.
# Source:   skip_samples in libavcodec/wmadec.c of FFmpeg, and the files below: 3 s of noise.
# musicrec: takes what FFmpeg gives, as nothing says whether other encoders add one frame or two; docs/guides/own-folder.md tells it.
#
# Usage: findings/wma-first-frame.sh          PYTHON=/path/to/python3.11-or-later chooses the Python
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import sys
from fractions import Fraction
import av, numpy as np

path = f"{sys.argv[1]}/song.wma"


def encode(noise, rate, codec):
    with av.open(path, "w") as file:
        stream = file.add_stream(codec, rate=rate, layout="mono", options={"b": "64000" if rate > 8000 else "24000"})
        for start in range(0, len(noise), 4096):
            frame = av.AudioFrame.from_ndarray(noise[None, start : start + 4096], "flt", "mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def decode(**options):
    with av.open(path) as file:
        stream = file.streams.audio[0]
        stream.codec_context.options = options
        return np.concatenate([frame.to_ndarray()[0] for frame in file.decode(stream)])


def lateness(decoded, noise):
    product = np.fft.irfft(np.fft.rfft(decoded, 1 << 19) * np.fft.rfft(noise, 1 << 19).conj())
    at = int(product.argmax())
    return at if at < 1 << 18 else at - (1 << 19)


print(f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}")
for codec, rate in (("wmav2", 44_100), ("wmav1", 44_100), ("wmav2", 22_050), ("wmav2", 8_000)):
    noise = np.convolve(np.random.default_rng(0).uniform(-0.3, 0.3, 3 * rate), np.ones(4) / 4, "same").astype(np.float32)
    encode(noise, rate, codec)
    late = [lateness(decode(**options), noise) for options in ({}, {"flags2": "+skip_manual"})]
    print(f"{codec} at {rate} Hz: {late[0]:+d} samples, {1000 * late[0] / rate:+.0f} ms; without the drop {late[1]:+d}")
PYTHON
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
"$folder/venv/bin/python" "$folder/show.py" "$folder" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN' && echo "as told above"
PyAV 18.1.0, FFmpeg 8.1.2
wmav2 at 44100 Hz: -2048 samples, -46 ms; without the drop +2048
wmav1 at 44100 Hz: -2048 samples, -46 ms; without the drop +2048
wmav2 at 22050 Hz: -1024 samples, -46 ms; without the drop +1024
wmav2 at 8000 Hz: -512 samples, -64 ms; without the drop +512
SEEN
