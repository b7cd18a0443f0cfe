#!/usr/bin/env bash
# What is heard of two Ogg Vorbis files that were joined to one.
#
# Guess:    Joined Ogg files are a valid Ogg file, a chain (RFC 3533, section 4; the Vorbis I specification, A.2), so a decoder plays
#           one link after the other.
# Happens:  libsndfile 1.2.2 plays the first link alone, and says 2^63 - 1 samples if the second has as many channels. FFmpeg 8.1.2
#           plays on if both links were made by the same settings. If the second is of another quality, it decodes that by the
#           codebooks of the first: noise, louder than the music, without an error. If the second is mono, it stops with an error.
# Versions: PyAV 18.1.0 (FFmpeg 8.1.2), soundfile 0.14.0 (libsndfile 1.2.2), numpy 2.4.6 from PyPI, Python 3.11 or later. Seen in
#           November 2026, Linux on x86-64.
# Source:   the file below: 2 s of a tone, and 4 s of another.
# musicrec: finds the links by their pages and decodes each by itself (musicrec/audio/ogg.py).
#
# Usage: findings/chained-ogg.sh          PYTHON=/path/to/python3.11-or-later chooses the Python
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import sys
import av, numpy as np, soundfile as sf

RATE, folder = 44_100, sys.argv[1]


def vorbis(name, seconds, hertz, quality, n_channels):
    """Write a tone in some noise; return the file, and what libsndfile gives of it alone."""
    t = np.arange(seconds * RATE)[:, None] / RATE
    samples = 0.3 * np.sin(2 * np.pi * hertz * t) + 0.02 * np.random.default_rng(hertz).normal(size=(len(t), n_channels))
    path = f"{folder}/{name}"
    with sf.SoundFile(path, "w", RATE, n_channels, "VORBIS", format="OGG", compression_level=1 - quality) as file:
        file.write(samples)
    return open(path, "rb").read(), sf.read(path, always_2d=True)[0].mean(axis=1)


def by_libsndfile(path):
    with sf.SoundFile(path) as file:
        blocks = []
        while len(block := file.read(4096, always_2d=True)):
            blocks.append(block)
        return sum(map(len, blocks)), file.frames == 2**63 - 1


def by_ffmpeg(path):
    with av.open(path) as file:
        return np.concatenate([frame.to_ndarray().mean(axis=0) for frame in file.decode(audio=0)])


def likeness(played, link):
    """The largest correlation of a second of the link with what is played about where it should be."""
    part = link[RATE : 2 * RATE]
    return max(np.corrcoef(played[3 * RATE + d : 4 * RATE + d], part)[0, 1] for d in range(-1000, 1000, 2))


print(f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}, libsndfile {sf.__libsndfile_version__}")
first, _ = vorbis("first.ogg", 2, 220, 0.4, 2)
for name, quality, n_channels in (("settings alike", 0.4, 2), ("another quality", 0.9, 2), ("mono", 0.4, 1)):
    second, link = vorbis("second.ogg", 4, 330, quality, n_channels)
    path = f"{folder}/chain.ogg"
    open(path, "wb").write(first + second)
    n, is_largest = by_libsndfile(path)
    print(f"{name}: libsndfile plays {n / RATE:g} of 6 s and says {'2^63 - 1' if is_largest else 'another number of'} samples")
    try:
        played = by_ffmpeg(path)
    except av.FFmpegError as e:
        print(f"  FFmpeg: {e.strerror}")
        continue
    level = 20 * np.log10(played[3 * RATE : 5 * RATE].std() / link[RATE : 3 * RATE].std())
    print(f"  FFmpeg: {len(played) / RATE:.0f} s; the second link correlates to {abs(likeness(played, link)):.1f}, {level:+.0f} dB")
PYTHON
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 soundfile==0.14.0 numpy==2.4.6
"$folder/venv/bin/python" "$folder/show.py" "$folder" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN' && echo "as told above"
PyAV 18.1.0, FFmpeg 8.1.2, libsndfile 1.2.2
settings alike: libsndfile plays 2 of 6 s and says 2^63 - 1 samples
  FFmpeg: 6 s; the second link correlates to 1.0, +0 dB
another quality: libsndfile plays 2 of 6 s and says 2^63 - 1 samples
  FFmpeg: 6 s; the second link correlates to 0.0, +4 dB
mono: libsndfile plays 2 of 6 s and says another number of samples
  FFmpeg: Not yet implemented in FFmpeg, patches welcome
SEEN
