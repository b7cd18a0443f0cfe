#!/usr/bin/env bash
# How many artists readers of tags find in a song by two.
#
# Guess:    All widespread tag systems hold several values of a field, so a reader gives all of them, or all joined.
# Happens:  FFmpeg 8.1.2 (PyAV 18.1.0) gives both from FLAC only, joined by a semicolon. From ID3v2.4, APEv2 and mp4 it gives the
#           first alone, as if the other did not exist; of two artist items in an mp4, which mutagen reads as two, the last alone.
# Versions: PyAV 18.1.0 (FFmpeg 8.1.2), mutagen 1.48.1, numpy 2.4.6 from PyPI, Python 3.11 or later. Seen in November 2026, Linux
#           on x86-64.
# Source:   id3.org/id3v2.4.0-structure (4.2: zeros separate several strings); wiki.hydrogenaud.io "APEv2 specification" (zeros
#           separate a list); xiph.org/vorbis/doc/v-comment.html (a field name may be used several times).
# musicrec: reads tags itself and keeps all artists of a song.
#
# Usage: findings/two-artists.sh          PYTHON=/path/to/python3.11-or-later chooses the Python
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import sys
import av, mutagen, numpy as np
from mutagen.apev2 import APEv2
from mutagen.flac import FLAC
from mutagen.id3 import ID3, TPE1
from mutagen.mp4 import MP4

folder, both = sys.argv[1], ["Ada", "Ben"]


def song(name, codec):
    path = f"{folder}/{name}"
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 44_100), np.float32), "fltp", "mono")
    frame.sample_rate, frame.pts = 44_100, 0
    with av.open(path, "w") as file:
        stream = file.add_stream(codec, 44_100, layout="mono")
        resampler = av.AudioResampler(stream.format, "mono", 44_100, stream.frame_size or None)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    return path


def show(name, path):
    with av.open(path) as file:
        found = {**file.streams.audio[0].metadata, **file.metadata}
    print(f"{name}: FFmpeg finds {next(text for key, text in found.items() if key.lower() == 'artist')!r}")


print(f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}, mutagen {mutagen.version_string}")
path = song("x.flac", "flac")
tags = FLAC(path)
tags["artist"] = both
tags.save()
show("FLAC", path)
path = song("x.mp3", "libmp3lame")
tags = ID3()
tags.add(TPE1(encoding=3, text=both))
tags.save(path)
show("ID3v2.4", path)
path = song("x.wv", "wavpack")
tags = APEv2()
tags["Artist"] = both
tags.save(path)
show("APEv2", path)
path = song("x.m4a", "aac")
tags = MP4(path)
tags["\xa9ART"] = both
tags.save()
show("mp4", path)
data = bytearray(open(path, "rb").read())
item = data.index(b"\xa9ART") - 4
size, text = int.from_bytes(data[item : item + 4], "big"), b"\0\0\0\x13data\0\0\0\1\0\0\0\0"
two = b"".join((27).to_bytes(4, "big") + b"\xa9ART" + text + name.encode() for name in both)
spare = size - len(two)  # mutagen wrote one item of 46 bytes; two of 27 bytes need more, which its padding has
free = data.index(b"free", item) - 4
n_free = int.from_bytes(data[free : free + 4], "big")
data[free : free + 8] = (n_free + spare).to_bytes(4, "big") + b"free"
del data[free + 8 : free + 8 - spare]
data[item : item + size] = two
for atom in (b"ilst", b"meta", b"udta"):
    at = data.rindex(atom, 0, item) - 4
    if atom == b"ilst":
        data[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") - spare).to_bytes(4, "big")
open(path, "wb").write(data)
print(f"mp4 with two items: mutagen finds {MP4(path)[chr(169) + 'ART']}")
show("mp4 with two items", path)
PYTHON
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 mutagen==1.48.1 numpy==2.4.6
"$folder/venv/bin/python" "$folder/show.py" "$folder" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN' && echo "as told above"
PyAV 18.1.0, FFmpeg 8.1.2, mutagen 1.48.1
FLAC: FFmpeg finds 'Ada;Ben'
ID3v2.4: FFmpeg finds 'Ada'
APEv2: FFmpeg finds 'Ada'
mp4: FFmpeg finds 'Ada'
mp4 with two items: mutagen finds ['Ada', 'Ben']
mp4 with two items: FFmpeg finds 'Ben'
SEEN
