#!/usr/bin/env bash
# What libsndfile reads from a Wave64 file of floats.
#
# Guess:    The floats, as from a WAV with the same format chunk: the extensible format names them by a GUID that begins with 3.
# Happens:  libsndfile 1.2.2 does not look at that GUID in Wave64. It takes 32-bit floats for 32-bit integers, without an error, so
#           that music becomes noise. It reads the same chunk in a WAV correctly. FFmpeg 8.1.2, which writes floats so above 48 kHz,
#           reads both.
# Versions: soundfile 0.14.0 (libsndfile 1.2.2), PyAV 18.1.0 (FFmpeg 8.1.2), numpy 2.4.6 from PyPI, Python 3.11 or later. Seen in
#           November 2026, Linux on x86-64.
# Source:   src/w64.c of libsndfile, where the format chunk is read; the files below: half a second of noise, as floats.
# musicrec: leaves such a file to FFmpeg (musicrec/audio/libsndfile.py).
#
# Usage: findings/wave64-floats.sh          PYTHON=/path/to/python3.11-or-later chooses the Python
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import io
import av, numpy as np, soundfile as sf

print(f"libsndfile {sf.__libsndfile_version__}, PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}")
noise = np.random.default_rng(0).uniform(-0.1, 0.1, (48_000, 2)).astype(np.float32)
for muxer in ("wav", "w64"):
    content = io.BytesIO()
    with av.open(content, "w", format=muxer) as file:
        stream = file.add_stream("pcm_f32le", 96_000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(noise.reshape(1, -1), "flt", "stereo")
        frame.sample_rate = 96_000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    content.seek(0)
    with sf.SoundFile(content) as file:
        subtype, read = file.subtype, file.read(dtype="float32")
    content.seek(0)
    with av.open(content) as file:
        other = np.concatenate([frame.to_ndarray() for frame in file.decode(audio=0)], axis=1)
    print(f"{muxer}: libsndfile says {subtype}, gives the samples: {np.array_equal(read, noise)}; "
          f"FFmpeg gives them: {np.array_equal(other.reshape(-1, 2), noise)}")
PYTHON
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 soundfile==0.14.0 numpy==2.4.6
"$folder/venv/bin/python" "$folder/show.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN' && echo "as told above"
libsndfile 1.2.2, PyAV 18.1.0, FFmpeg 8.1.2
wav: libsndfile says FLOAT, gives the samples: True; FFmpeg gives them: True
w64: libsndfile says PCM_32, gives the samples: False; FFmpeg gives them: True
SEEN
