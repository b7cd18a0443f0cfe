#!/usr/bin/env bash
# At which sample rate an Opus file is decoded.
#
# Guess:    At 48 kHz. The "input sample rate" of its header is a note on the file it was made from, not used for decoding, and 0
#           means that it is not known (RFC 7845, section 5.1, item 5).
# Happens:  libsndfile 1.2.2 takes the note for the rate to decode at: 0 gives 8 kHz, so half and more of the spectrum is gone;
#           22050 gives 24 kHz. FFmpeg 8.1.2 decodes all at 48 kHz.
# Versions: soundfile 0.14.0 (libsndfile 1.2.2), PyAV 18.1.0 (FFmpeg 8.1.2), numpy 2.4.6 from PyPI, Python 3.11 or later. Seen in
#           November 2026, Linux on x86-64.
# Source:   src/ogg_opus.c of libsndfile, and the files below: one Opus stream of white noise, with another note in its first page.
# musicrec: gives libsndfile a first page that says 48000 (musicrec/audio/ogg.py).
#
# Usage: findings/opus-input-rate.sh          PYTHON=/path/to/python3.11-or-later chooses the Python
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import io, struct
import av, numpy as np, soundfile as sf


def crc(page):  # RFC 3533, section 6
    remainder = 0
    for byte in page:
        remainder ^= byte << 24
        for _ in range(8):
            remainder = (remainder << 1 ^ 0x104C11DB7) if remainder >> 31 else remainder << 1
    return remainder


def with_note(opus, rate):
    second = opus.index(b"OggS", 4)
    page = bytearray(opus[:second])
    struct.pack_into("<I", page, page.index(b"OpusHead") + 12, rate)
    struct.pack_into("<I", page, 22, 0)
    struct.pack_into("<I", page, 22, crc(page))
    return bytes(page) + opus[second:]


print(f"libsndfile {sf.__libsndfile_version__}, PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}")
noise = np.random.default_rng(0).uniform(-0.3, 0.3, (192_000, 2))
content = io.BytesIO()
sf.write(content, noise, 48_000, format="OGG", subtype="OPUS")
for note in (0, 11_025, 22_050, 44_100, 48_000, 96_000):
    opus = with_note(content.getvalue(), note)
    samples, rate = sf.read(io.BytesIO(opus))
    power = np.abs(np.fft.rfft(samples[:, 0])) ** 2
    hertz = np.sum(power * np.fft.rfftfreq(len(samples), 1 / rate)) / power.sum()
    with av.open(io.BytesIO(opus)) as file:
        other = next(file.decode(audio=0)).sample_rate
    print(f"{note}: libsndfile decodes at {rate} Hz, centroid {hertz / 1000:.0f} kHz; FFmpeg at {other} Hz")
PYTHON
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 soundfile==0.14.0 numpy==2.4.6
"$folder/venv/bin/python" "$folder/show.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN' && echo "as told above"
libsndfile 1.2.2, PyAV 18.1.0, FFmpeg 8.1.2
0: libsndfile decodes at 8000 Hz, centroid 2 kHz; FFmpeg at 48000 Hz
11025: libsndfile decodes at 12000 Hz, centroid 3 kHz; FFmpeg at 48000 Hz
22050: libsndfile decodes at 24000 Hz, centroid 6 kHz; FFmpeg at 48000 Hz
44100: libsndfile decodes at 48000 Hz, centroid 10 kHz; FFmpeg at 48000 Hz
48000: libsndfile decodes at 48000 Hz, centroid 10 kHz; FFmpeg at 48000 Hz
96000: libsndfile decodes at 48000 Hz, centroid 10 kHz; FFmpeg at 48000 Hz
SEEN
