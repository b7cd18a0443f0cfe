"""File to features and mel-spectrogram: ours beside librosa called feature by feature, as everybody does.

CPU time of one thread, medians, the two interleaved on the same files; and how far the values are apart: of a mean,
in standard deviations over time; of a variance or the tempo, relative.

usage: OMP_NUM_THREADS=1 python benchmarks/extract.py FOLDER [N_FILES]      (folder of audio, searched below)
"""

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import librosa
import numpy as np

from musicrec import audio, features
from musicrec.sources import AUDIO_EXTENSIONS

RATE = 22050
CLIP_S = 30.0
TOLERANCE = 1e-4
TOLERANCE_OF = {"rolloff_var": 2e-4}
WARM_UP_FILES = 2


def with_librosa(path: Path) -> tuple[dict[str, float], Any]:
    """The gtzan57 set and the mel-spectrogram by librosa's public functions with their defaults."""
    seconds = librosa.get_duration(path=path)
    window = {} if seconds <= CLIP_S + 1 else {"offset": min(30.0, seconds - CLIP_S), "duration": CLIP_S}
    y, _ = librosa.load(path, sr=RATE, mono=True, **window)
    harmonic, percussive = librosa.effects.hpss(y)
    series = {
        "chroma_stft": librosa.feature.chroma_stft(y=y, sr=RATE),
        "rms": librosa.feature.rms(y=y),
        "spectral_centroid": librosa.feature.spectral_centroid(y=y, sr=RATE),
        "spectral_bandwidth": librosa.feature.spectral_bandwidth(y=y, sr=RATE),
        "rolloff": librosa.feature.spectral_rolloff(y=y, sr=RATE),
        "zero_crossing_rate": librosa.feature.zero_crossing_rate(y),
        "harmony": harmonic,
        "perceptr": percussive,
        **{f"mfcc{i + 1}": row for i, row in enumerate(librosa.feature.mfcc(y=y, sr=RATE, n_mfcc=20))},
    }
    values = {"tempo": float(librosa.feature.tempo(y=y, sr=RATE)[0])}
    for name, x in series.items():
        values |= {f"{name}_mean": float(np.mean(x)), f"{name}_var": float(np.var(x))}
    return values, librosa.power_to_db(librosa.feature.melspectrogram(y=y, sr=RATE), ref=np.max)


def with_musicrec(path: Path) -> tuple[dict[str, float], Any]:
    """The same, as the extract stage computes it."""
    analysis = features.analyse(audio.load(str(path)), RATE)
    return features.evaluate(analysis, "gtzan57"), analysis.mel(128)


def deviation(name: str, mine: float, theirs: dict[str, float]) -> float:
    """How far a value is from librosa's, as a multiple of its tolerance."""
    scale = np.sqrt(theirs[name.replace("_mean", "_var")]) if name.endswith("_mean") else abs(theirs[name])
    return abs(mine - theirs[name]) / max(scale, 1e-12) / TOLERANCE_OF.get(name, TOLERANCE)


def timed(call: Callable[[], tuple[dict[str, float], Any]]) -> tuple[dict[str, float], Any, float]:
    """Result of a call, and its CPU seconds."""
    started = time.thread_time()
    values, mel = call()
    return values, mel, time.thread_time() - started


def main() -> None:
    """Print both medians, their ratio, and on how many files every value lies within its tolerance."""
    warnings.filterwarnings("ignore")
    folder, n_files = Path(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else None
    files = sorted(p for p in folder.rglob("*") if p.suffix in AUDIO_EXTENSIONS)[:n_files]
    seconds: dict[str, list[float]] = {"librosa": [], "musicrec": []}
    within, worst, other_tempo, worst_mel = 0, ("", 0.0), 0, 0.0
    for i, path in enumerate(files[:WARM_UP_FILES] + files):
        theirs, their_mel, slow = timed(lambda p=path: with_librosa(p))
        mine, mel, fast = timed(lambda p=path: with_musicrec(p))
        if i < WARM_UP_FILES:
            continue
        seconds["librosa"].append(slow)
        seconds["musicrec"].append(fast)
        far = {name: deviation(name, value, theirs) for name, value in mine.items() if name != "tempo"}
        name = max(far, key=lambda n: far[n])
        worst = max(worst, (f"{name} of {path.name}", far[name]), key=lambda w: w[1])
        within += far[name] <= 1
        other_tempo += mine["tempo"] != theirs["tempo"]
        worst_mel = max(worst_mel, float(np.abs(mel - their_mel).max()))
    slow, fast = median(seconds["librosa"]), median(seconds["musicrec"])
    print(f"{len(files)} files of {folder.name}: librosa {librosa.__version__} {slow * 1e3:.0f} ms, "
          f"musicrec {fast * 1e3:.1f} ms, {slow / fast:.1f} × as fast")  # fmt: skip
    print(f"every value within tolerance on {within} of {len(files)}; worst {worst[1]:.2f} × tolerance ({worst[0]}); "
          f"another tempo on {other_tempo}; mel at most {worst_mel:.1e} dB apart")  # fmt: skip


if __name__ == "__main__":
    main()
