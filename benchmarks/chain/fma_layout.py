"""A simulated catalog in the layout of FMA: real audio under invented names."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from benchmarks.shared.common import audio_files

TRACKS = 106_574  # as many as fma_full and fma_large have
LAST_ID = 155_320  # ids have gaps
CLIP_S, RATE = 30, 44_100  # as clips of fma_large have
COMPRESSION = 0.15  # libsndfile's level at a constant rate: 256 kbit/s, FMA's most frequent
HEAD = """\
,album,artist,artist,set,track,track
,title,id,name,split,genre_top,title
track_id,,,,,,
"""
GENRES = ("Electronic", "Experimental", "Folk", "Hip-Hop", "Instrumental", "International", "Pop", "Rock")
SPLITS = ("training",) * 8 + ("validation", "test")

Samples = NDArray[np.float32]


def write_catalog(folder: Path, data: Path, n_tracks: int, n_clips: int) -> float:
    """Write the catalog, its clips as links to a pool of real ones beside it; return the megabytes of audio it lists.

    Parameters
    ----------
    folder : pathlib.Path
        Receives ``fma_simulated``, which must be new, and ``pool``; clips that lie there already are taken as they are.
    data : pathlib.Path
        Folder of real audio, with ``songs`` and ``gtzan``.
    n_tracks, n_clips : int
        Tracks of the catalog, and different clips among them.
    """
    pool = write_pool(folder / "pool", data, n_clips)
    catalog = folder / "fma_simulated"
    (catalog / "fma_metadata").mkdir(parents=True)
    ids = np.linspace(2, LAST_ID, n_tracks).astype(int) if n_tracks <= TRACKS else range(2, 2 + n_tracks)
    with (catalog / "fma_metadata" / "tracks.csv").open("w", newline="", encoding="utf-8") as f:
        f.write(HEAD)
        rows = csv.writer(f)
        for number, track_id in enumerate(ids):
            clip = catalog / "fma_large" / f"{track_id // 1000:03d}" / f"{track_id:06d}.mp3"
            clip.parent.mkdir(parents=True, exist_ok=True)
            clip.hardlink_to(pool[number % len(pool)])
            artist = number // 7
            about = (f"Simulated album {number // 10}", artist, f"Simulated artist {artist}")
            rows.writerow([track_id, *about, SPLITS[artist % 10], GENRES[artist % 8], f"Simulated track {track_id}"])
    return sum(pool[number % len(pool)].stat().st_size for number in range(n_tracks)) / 1e6


def write_pool(folder: Path, data: Path, n_clips: int) -> list[Path]:
    """Write different clips as FMA has them: mp3 of 30 s, 44.1 kHz, stereo, 256 kbit/s, cut from real recordings."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number:04d}.mp3" for number in range(n_clips)]
    if not files[-1].exists():
        for file, samples in zip(files, clips(data), strict=False):
            sf.write(file, samples, RATE, format="MP3", bitrate_mode="CONSTANT", compression_level=COMPRESSION)
    return [file for file in files if file.exists()]


def clips(data: Path) -> Iterator[Samples]:
    """Yield each recording in pieces of thirty seconds, [samples, 2]; of mono, the right channel is 10 ms late."""
    for path in [*audio_files(data / "songs"), *audio_files(data / "gtzan", (".wav", ".flac"))]:
        for block in sf.blocks(path, CLIP_S * sf.info(path).samplerate, dtype="float32", always_2d=True):
            samples = soxr.resample(block, sf.info(path).samplerate, RATE)
            if len(samples) >= (CLIP_S - 1) * RATE:
                left, right = samples[:, 0], samples[:, -1]
                yield np.stack([left, np.roll(right, RATE // 100) if samples.shape[1] == 1 else right], axis=1)
