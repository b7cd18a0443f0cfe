#!/usr/bin/env bash
# Where the sound of an mp4 ends: what FFmpeg 8 and 9 do with the end that an edit list states.
#
# Guess:    A decoder plays what the edit list of an mp4 presents (ISO/IEC 14496-12, 8.6.6), to the sample, for every codec.
# Happens:  FFmpeg 8.1.2 (PyAV 18.1.0) honours the start of the edit, but plays the last packet to its end, for all codecs.
#           FFmpeg 9.0.2 (PyAV 19.0.2) cuts the last packet, with two exceptions. Opus keeps its encoder's padding, 648
#           samples here, where the edit ends with the last packet of the file, as it does in every file that FFmpeg wrote.
#           PCM is never cut. So the same file has another length by version and by codec.
# Versions: PyAV 18.1.0 and 19.0.2 from PyPI, numpy 2.4.6, Python 3.12 or later. Seen in November 2026, Linux on x86-64.
# Source:   libavformat/mov.c of FFmpeg, and the files below: 2 s as written, and with an edit list of 1.5 s.
# musicrec: cuts the last packet itself (musicrec/audio/ffmpeg.py), so that both versions give the container's length.
#
# Usage: findings/mp4-end.sh          PYTHON=/path/to/python3.12-or-later chooses the Python
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/write.py" <<'PYTHON'
import struct, sys
from fractions import Fraction
import av, numpy as np

CODECS = {"aac.mp4": "aac", "mp3.mp4": "libmp3lame", "alac.mp4": "alac", "flac.mp4": "flac", "opus.mp4": "libopus", "pcm.mov": "pcm_s16le"}
noise = np.random.default_rng(0).uniform(-0.3, 0.3, (96_000, 1)).astype(np.float32)  # 2 s at 48 kHz
for name, codec in CODECS.items():
    path = f"{sys.argv[1]}/{name}"
    with av.open(path, "w") as file:
        stream = file.add_stream(codec, rate=48_000, layout="mono")
        for start in range(0, len(noise), 4096):
            frame = av.AudioFrame.from_ndarray(noise[start : start + 4096].reshape(1, -1), format="flt", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    content = bytearray(open(path, "rb").read())
    ticks = struct.unpack_from(">I", content, content.index(b"mvhd") + 16)[0]
    struct.pack_into(">I", content, content.index(b"elst") + 12, ticks * 3 // 2)  # present 1.5 s of it
    open(f"{sys.argv[1]}/edited-{name}", "wb").write(content)
PYTHON
cat >"$folder/read.py" <<'PYTHON'
import sys
import av

print(f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}")
for prefix in ("", "edited-"):
    lengths = []
    for name in ("aac.mp4", "mp3.mp4", "alac.mp4", "flac.mp4", "opus.mp4", "pcm.mov"):
        with av.open(f"{sys.argv[1]}/{prefix}{name}") as file:
            lengths.append(f"{prefix}{name} {sum(frame.samples for frame in file.decode(audio=0))}")
    print(*lengths, sep="  ")
PYTHON
for version in 18.1.0 19.0.2; do
  "$python" -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "av==$version" numpy==2.4.6
done
"$folder/18.1.0/bin/python" "$folder/write.py" "$folder"
echo "The edit lists present 96000 samples, and 72000 of the edited files."
for version in 18.1.0 19.0.2; do "$folder/$version/bin/python" "$folder/read.py" "$folder"; done | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN' && echo "as told above"
PyAV 18.1.0, FFmpeg 8.1.2
aac.mp4 96256  mp3.mp4 96815  alac.mp4 96000  flac.mp4 96000  opus.mp4 96648  pcm.mov 96000
edited-aac.mp4 72704  edited-mp3.mp4 72623  edited-alac.mp4 73728  edited-flac.mp4 73728  edited-opus.mp4 72648  edited-pcm.mov 72704
PyAV 19.0.2, FFmpeg 9.0.2
aac.mp4 96000  mp3.mp4 96000  alac.mp4 96000  flac.mp4 96000  opus.mp4 96648  pcm.mov 96000
edited-aac.mp4 72000  edited-mp3.mp4 72000  edited-alac.mp4 72000  edited-flac.mp4 72000  edited-opus.mp4 72000  edited-pcm.mov 72704
SEEN
