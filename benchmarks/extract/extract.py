"""File to features and mel-spectrogram: musicrec beside librosa, called feature by feature as usual.

There is one line for each group of files. Times are CPU time on one core, medians over files, the two interleaved in
alternating order. Exactness is against librosa's values: a mean may be off by a share of its standard deviation over
time, a variance by a share of itself.
"""

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import librosa
import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from benchmarks.shared.common import audio_files, cpu, evenly, one_thread, parser, print_machine, print_table, verdict
from musicrec import audio, features

RATE = 22050
CLIP_S, OFFSET_S = 30.0, 30.0
TOLERANCE = 1e-4
TOLERANCE_OF = {"rolloff_var": 2e-4}
WARM_UP_FILES = 2
BARS = {"wav originals": 60, "mp3 songs": 27, "mp3 made here": 27}  # least ratio

Values = dict[str, float]


class Comparison(NamedTuple):
    """The result of one file."""

    librosa_s: float
    musicrec_s: float
    worst_column: str
    worst: float  # multiple of the tolerance
    same_tempo: bool
    mel_db: float  # largest difference; infinite for another number of frames


def with_librosa(path: Path) -> tuple[Values, Any]:
    """Compute the gtzan57 set and the mel-spectrogram by librosa's public functions with their defaults."""
    seconds = librosa.get_duration(path=path)
    window = {} if seconds <= CLIP_S + 1 else {"offset": min(OFFSET_S, seconds - CLIP_S), "duration": CLIP_S}
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


def with_musicrec(path: Path) -> tuple[Values, Any]:
    """Compute the same as the extract stage does."""
    analysis = features.analyse(audio.load(str(path), sample_rate=RATE, offset_s=OFFSET_S, duration_s=CLIP_S), RATE)
    return features.evaluate(analysis, "gtzan57"), analysis.mel(128)


def compare(path: Path, turn: int) -> Comparison:
    """Run both on one file; which comes first changes with `turn`."""
    calls: list[Callable[[Path], tuple[Values, Any]]] = [with_librosa, with_musicrec]
    ran = {call: cpu(lambda c=call: c(path)) for call in calls[:: -1 if turn % 2 else 1]}
    (theirs, their_mel), librosa_s = ran[with_librosa]
    (mine, mel), musicrec_s = ran[with_musicrec]
    worst, multiple = farthest(mine, theirs)
    same_tempo = mine.get("tempo") == theirs["tempo"]
    return Comparison(librosa_s, musicrec_s, worst, multiple, same_tempo, largest_difference(mel, their_mel))


def farthest(mine: Values, theirs: Values) -> tuple[str, float]:
    """Return the column that is farthest from librosa's, and how far, as a multiple of its tolerance.

    A column that only one of the two has, or that is no number, is infinitely far.
    """
    columns = sorted({*mine, *theirs} - {"tempo"})
    far = {name: deviation(name, mine.get(name, np.nan), theirs) for name in columns}
    worst = max(far, key=lambda name: far[name])
    return worst, far[worst]


def deviation(name: str, mine: float, theirs: Values) -> float:
    """Return how far a value is from librosa's, as a multiple of its tolerance."""
    expected = theirs.get(name, np.nan)
    scale = np.sqrt(theirs.get(name.replace("_mean", "_var"), np.nan)) if name.endswith("_mean") else abs(expected)
    far = float(abs(mine - expected) / max(scale, 1e-12) / TOLERANCE_OF.get(name, TOLERANCE))
    return np.inf if np.isnan(far) else far


def largest_difference(mel: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return the largest difference in dB; infinite for another shape, or where a value is no number."""
    largest = np.abs(mel - expected).max() if mel.shape == expected.shape else np.inf
    return np.inf if np.isnan(largest) else float(largest)


@contextmanager
def mp3_made_here(originals: list[Path]) -> Iterator[list[Path]]:
    """Make an mp3 for each original, 44.1 kHz stereo: it and the next two in a row, the right channel 10 ms late."""
    with tempfile.TemporaryDirectory() as folder:
        pieces = [soxr.resample(*sf.read(path, dtype="float32"), 44100) for path in originals]
        files = []
        for i, original in enumerate(originals):
            left = np.concatenate([pieces[(i + k) % len(pieces)] for k in range(3)])
            files.append(Path(folder) / f"{original.stem}.mp3")
            sf.write(files[-1], np.stack([left, np.roll(left, 441)], axis=1), 44100)
        yield files


def report(name: str, files: list[Path], repeats: int) -> tuple[list[object], str]:
    """Return the row of one group, and a remark on its bar and its worst file."""
    for path in files[:WARM_UP_FILES]:
        compare(path, 0)
    runs = [(path, compare(path, turn)) for turn in range(repeats) for path in files]
    slow, fast = median(run.librosa_s for _, run in runs), median(run.musicrec_s for _, run in runs)
    within = sum(run.worst <= 1 for _, run in runs) / len(runs)
    same_tempo = sum(run.same_tempo for _, run in runs) / len(runs)
    path, worst = max(runs, key=lambda item: item[1].worst)
    mel_db = max(run.mel_db for _, run in runs)
    row = [name, len(files), f"{slow * 1e3:.0f}", f"{fast * 1e3:.1f}", f"{slow / fast:.1f}"]
    row += [f"{within:.1%}", f"{same_tempo:.1%}", f"{worst.worst_column} {worst.worst:.1g}", f"{mel_db:.1e}"]
    remark = f"{name}: every value within tolerance {verdict(within == 1)}, worst value in {path.name}"
    if name in BARS:
        remark += f"; bar ≥ {BARS[name]} × {verdict(slow / fast >= BARS[name])}"
    return row, remark


def main() -> None:
    """Print one table with a row for each group of files."""
    p = parser(__doc__, "python -m benchmarks.extract.extract --groups wav mp3")
    choices = ("wav", "flac", "mp3", "made", "clips")
    p.add_argument(
        "--groups",
        nargs="+",
        choices=choices,
        default=choices,
        help="wav, flac: originals of gtzan; mp3: songs; made: mp3 encoded here; clips: all real ones (exactness)",
    )
    p.add_argument("--crops", type=int, default=40, help="of gtzan_crops among the clips (default 40)")
    p.add_argument("--files", type=int, help="at most so many files a group, for a trial run")
    p.add_argument("--repeats", type=int, default=3, help="times each file runs, but the clips once (default 3)")
    options = p.parse_args()
    one_thread()
    warnings.filterwarnings("ignore")
    originals = audio_files(options.data / "gtzan", (".wav", ".flac"))
    print_machine("librosa", "numba", "numpy", "scipy", "soundfile", "soxr")
    rows, remarks = [], []
    with mp3_made_here(evenly(originals, options.files) if "made" in options.groups else []) as made:
        groups = {"made": ("mp3 made here", made)}
        for kind in ("wav", "flac"):
            groups[kind] = (f"{kind} originals", [path for path in originals if path.suffix == f".{kind}"])
        if "mp3" in options.groups:
            groups["mp3"] = ("mp3 songs", audio_files(options.data / "songs", (".mp3",)))
        if "clips" in options.groups:
            crops = evenly(audio_files(options.data / "gtzan_crops"), options.crops)
            real = audio_files(options.data / "gtzan") + crops + audio_files(options.data / "songs")
            groups["clips"] = ("all real clips", real)
        for group in options.groups:
            name, files = groups[group]
            row, remark = report(name, evenly(files, options.files), 1 if group == "clips" else options.repeats)
            rows.append(row)
            remarks.append(remark)
    head = ["group", "n", "librosa ms", "musicrec ms", "ratio", "within tolerance", "same tempo"]
    print_table([*head, "worst column, × tolerance", "mel max dB"], rows)
    print("\n".join(remarks))
    print("mp3 made here: encoded by soundfile for this run from the originals, 44.1 kHz stereo, 90 s each")


if __name__ == "__main__":
    main()
