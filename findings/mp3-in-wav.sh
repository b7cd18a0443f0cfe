#!/usr/bin/env bash
# How much libsndfile reads of an MP3 of variable bit rate that lies in a WAV.
#
# Guess:    All of it, since the WAV says how many bytes of music it holds, and reading goes on until they end.
# Happens:  libsndfile 1.2.2 guesses the length from the bit rate of the first frames, and stops there without an error. Where a
#           song begins loud and becomes quiet, more than half of it is missing. FFmpeg 8.1.2 reads all.
# Versions: soundfile 0.14.0 (libsndfile 1.2.2), PyAV 18.1.0 (FFmpeg 8.1.2), numpy 2.4.6 from PyPI, Python 3.11 or later. Seen in
#           November 2026, Linux on x86-64.
# Source:   src/mpeg_decode.c of libsndfile (mpeg_dec_fill_sfinfo); the file below: 40 s of noise that fades, by libmp3lame.
# musicrec: finds all frames itself (musicrec/audio/mpeg.py).
#
# Usage: findings/mp3-in-wav.sh          PYTHON=/path/to/python3.11-or-later chooses the Python
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import io
from fractions import Fraction
import av, numpy as np, soundfile as sf

print(f"libsndfile {sf.__libsndfile_version__}, PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}")
rate, n = 44_100, 40 * 44_100
noise = np.random.default_rng(0).uniform(-0.5, 0.5, n) * np.linspace(1, 0, n) ** 4
content = io.BytesIO()
with av.open(content, "w", format="wav") as file:
    stream = file.add_stream("libmp3lame", rate, layout="mono", options={"flags": "+qscale", "global_quality": "472"})
    for start in range(0, n, 1152):
        frame = av.AudioFrame.from_ndarray(noise[None, start : start + 1152].astype(np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))
content.seek(0)
with sf.SoundFile(content) as file:
    stated, read = file.frames, len(file.read())
content.seek(0)
with av.open(content) as file:
    other = sum(frame.samples for frame in file.decode(audio=0))
print(f"libsndfile says {stated / rate:.1f} s, reads {read / rate:.1f} s; FFmpeg reads {other / rate:.1f} s")
PYTHON
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 soundfile==0.14.0 numpy==2.4.6
"$folder/venv/bin/python" "$folder/show.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN' && echo "as told above"
libsndfile 1.2.2, PyAV 18.1.0, FFmpeg 8.1.2
libsndfile says 10.6 s, reads 10.6 s; FFmpeg reads 40.0 s
SEEN
