#!/usr/bin/env bash
# Which genre a reader of tags takes number 139, and all numbers above, for.
#
# Guess:    The list of numbered genres is the same in every reader; from 126 on it is Winamp's, which ends with 191.
# Happens:  tinytag 2.3.2 lacks three names, "Crossover" (139), "Global" (164) and "IDM" (165). Every number from 139 on has the name
#           of a later one, so that Salsa (143) is read as Thrash Metal, and the last three have none. FFmpeg and mutagen agree on the list.
# Versions: tinytag 2.3.2, mutagen 1.48.1, PyAV 18.1.0 (FFmpeg 8.1.2) from PyPI, Python 3.11 or later. Seen in November 2026, Linux
#           on x86-64.
# Source:   `_ID3V1_GENRES` in tinytag/tinytag.py; `mutagen._constants.GENRES`.
# musicrec: has its own list, which a test compares with FFmpeg's.
#
# Usage: findings/genre-numbers.sh          PYTHON=/path/to/python3.11-or-later chooses the Python
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import sys
from importlib.metadata import version
import av, numpy as np
from mutagen.id3 import ID3
from tinytag import TinyTag

path = f"{sys.argv[1]}/x.mp3"
frame = av.AudioFrame.from_ndarray(np.zeros((1, 44_100), np.float32), "fltp", "mono")
frame.sample_rate, frame.pts = 44_100, 0
with av.open(path, "w", options={"id3v2_version": "0"}) as file:
    stream = file.add_stream("libmp3lame", 44_100, layout="mono")
    resampler = av.AudioResampler(stream.format, "mono", 44_100, stream.frame_size)
    for part in [*resampler.resample(frame), *resampler.resample(None)]:
        file.mux(stream.encode(part))
    file.mux(stream.encode(None))
music = open(path, "rb").read()
print(f"tinytag {version('tinytag')}, mutagen {version('mutagen')}, FFmpeg {av.ffmpeg_version_info}")
for number in (17, 138, 139, 143, 164, 191):
    open(path, "wb").write(music + b"TAG" + bytes(124) + bytes([number]))
    with av.open(path) as file:
        theirs = file.metadata["genre"]
    print(f"{number}: tinytag {TinyTag.get(path).genre}, mutagen {ID3(path)['TCON'].genres[0]}, FFmpeg {theirs}")
PYTHON
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 mutagen==1.48.1 numpy==2.4.6 tinytag==2.3.2
"$folder/venv/bin/python" "$folder/show.py" "$folder" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN' && echo "as told above"
tinytag 2.3.2, mutagen 1.48.1, FFmpeg 8.1.2
17: tinytag Rock, mutagen Rock, FFmpeg Rock
138: tinytag Black Metal, mutagen Black Metal, FFmpeg Black Metal
139: tinytag Contemporary Christian, mutagen Crossover, FFmpeg Crossover
143: tinytag Thrash Metal, mutagen Salsa, FFmpeg Salsa
164: tinytag Industro-Goth, mutagen Global, FFmpeg Global
191: tinytag None, mutagen Psybient, FFmpeg Psybient
SEEN
