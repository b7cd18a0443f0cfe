#!/usr/bin/env bash
# How exactly an mp4 that FFmpeg writes states the length of its sound.
#
# Guess:    The edit list of an m4a gives the length of the music to the sample: what was encoded is what is presented.
# Happens:  FFmpeg 8.1.2 (PyAV 18.1.0) writes edit lists in whole milliseconds, rounded down: of 446 444 samples at 44.1 kHz
#           the file presents 446 424. A reader that honours the edit list, such as FFmpeg 9.0.2, drops the last 20 samples.
#           FFmpeg 9.0.2 (PyAV 19.0.2) counts them at the sample rate, and all 446 444 are there.
# Versions: PyAV 18.1.0 and 19.0.2 from PyPI, numpy 2.4.6, Python 3.12 or later. Seen in November 2026, Linux on x86-64.
# Source:   the movie time scale in `mvhd`, in which ISO/IEC 14496-12 (8.6.6) counts the entries of `elst`; printed below.
# musicrec: takes the container at its word; a test of AAC in mp4 must allow a millisecond at the end.
#
# Usage: findings/mp4-millisecond.sh          PYTHON=/path/to/python3.12-or-later chooses the Python
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/write.py" <<'PYTHON'
import struct, sys
from fractions import Fraction
import av, numpy as np

path, n = sys.argv[1], 446_444  # 10.12345… s
noise = np.random.default_rng(0).uniform(-0.3, 0.3, (1, n)).astype(np.float32)
with av.open(path, "w") as file:
    stream = file.add_stream("aac", rate=44_100, layout="mono")
    for start in range(0, n, 4096):
        frame = av.AudioFrame.from_ndarray(noise[:, start : start + 4096].copy(), format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 44_100, start, Fraction(1, 44_100)
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))
content = open(path, "rb").read()
(ticks,) = struct.unpack_from(">I", content, content.index(b"mvhd") + 16)
(length,) = struct.unpack_from(">I", content, content.index(b"elst") + 12)
print(f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info} wrote {n} samples: edit list {length} / {ticks} s")
PYTHON
cat >"$folder/read.py" <<'PYTHON'
import sys
import av

with av.open(sys.argv[1]) as file:
    n = sum(frame.samples for frame in file.decode(audio=0))
print(f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info} reads {n}")
PYTHON
for version in 18.1.0 19.0.2; do
  "$python" -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "av==$version" numpy==2.4.6
done
for version in 18.1.0 19.0.2; do
  "$folder/$version/bin/python" "$folder/write.py" "$folder/$version.m4a"
  "$folder/19.0.2/bin/python" "$folder/read.py" "$folder/$version.m4a"
done | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN' && echo "as told above"
PyAV 18.1.0, FFmpeg 8.1.2 wrote 446444 samples: edit list 10123 / 1000 s
PyAV 19.0.2, FFmpeg 9.0.2 reads 446424
PyAV 19.0.2, FFmpeg 9.0.2 wrote 446444 samples: edit list 446444 / 44100 s
PyAV 19.0.2, FFmpeg 9.0.2 reads 446444
SEEN
