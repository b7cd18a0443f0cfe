"""How much each feature changes when a song is kept in another file: MP3, AAC, Vorbis and Opus at three bit rates each.

The clips are GTZAN's, mono at 22.05 kHz, of which each codec keeps another part. A change is given in standard
deviations of the column over the clips. Columns that are always positive are looked at as logarithms, as songs are
compared. An encoder that empties the highest band moves `spectral_contrast` most, and `mfcc10` to `mfcc20` of songs
that have little there; the values are right all the same: they are librosa's for that file.

--write keeps what `--space features` needs of this, musicrec/features/codec_noise.csv: the root mean square change of
each column over all copies, and the floor of its logarithm. With --set, the lines of other columns stay as they are.
"""

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from benchmarks.shared.common import audio_files, evenly, one_thread, parser, print_machine, print_table
from benchmarks.similar.distortions import RATE, Distortion, Samples, coded
from musicrec import audio, features
from musicrec.features import FEATURE_SETS
from musicrec.features.codec_noise import FILE, as_compared

SETS = tuple(FEATURE_SETS)
SHOWN = 12  # columns of each set
FLOOR_SHARE = 0.1  # of the smallest value seen

Array = NDArray[np.float64]


def copies() -> dict[str, Distortion]:
    """Return the kinds of files: the name of each, and what it gives back of a clip."""
    kilobits = {"mp3": (64, 96, 160), "m4a": (64, 96, 192), "opus": (48, 96, 192)}
    encoders = {"mp3": ("libmp3lame", "mp3", RATE), "m4a": ("aac", "ipod", RATE), "opus": ("libopus", "ogg", 48_000)}
    made = {
        f"{kind} {rate}k": coded(encoder, container, 1000 * rate, sample_rate)
        for kind, (encoder, container, sample_rate) in encoders.items()
        for rate in kilobits[kind]
    }
    return made | {f"ogg q{quality:g}": _vorbis(quality) for quality in (0.3, 0.5, 0.8)}


def _vorbis(quality: float) -> Distortion:
    """Return what an Ogg Vorbis file of this quality, from 0 to 1, gives back."""

    def distort(clip: Samples) -> Samples:
        content = io.BytesIO()
        sf.write(content, clip, RATE, format="OGG", subtype="VORBIS", compression_level=1 - quality)
        content.seek(0)
        return sf.read(content, dtype="float32")[0]

    return distort


def measured(clips: list[Path], sets: Sequence[str]) -> dict[str, Array]:
    """Return the features of the clips, [n_clips, n_columns], as they are and by kind of copy."""
    names = features.feature_names(sets)
    rows: dict[str, list[list[float]]] = {}
    for number, clip in enumerate(clips, start=1):
        print(f"clip {number} of {len(clips)}", end="\r", file=sys.stderr)
        y = audio.load(str(clip), sample_rate=RATE)
        for kind, copy in {"original": lambda y: y, **copies()}.items():
            values = features.evaluate(features.analyse(copy(y), RATE), sets)
            rows.setdefault(kind, []).append([values[name] for name in names])
    return {kind: np.array(of_kind) for kind, of_kind in rows.items()}


def floors(names: list[str], found: dict[str, Array]) -> list[float | None]:
    """Return the floor of the logarithm of each column; None for one that is not always positive."""
    least = np.min([values.min(axis=0) for values in found.values()], axis=0)
    return [float(FLOOR_SHARE * low) if low > 0 else None for low in least]


def changes(found: dict[str, Array], floor: list[float | None]) -> tuple[dict[str, Array], Array]:
    """Return the changes by kind of copy [n_clips, n_columns], and the spread of each column over the originals."""
    compared = {kind: as_compared(values, floor) for kind, values in found.items()}
    original = compared.pop("original")
    spread = original.std(axis=0)
    return {kind: values - original for kind, values in compared.items()}, np.where(spread > 0, spread, 1.0)


def write(file: Path, names: Sequence[str], floor: Sequence[float | None], noise: Array) -> None:
    """Write a line for each column, in the order of the sets; lines of columns that are not among the names stay."""
    lines = {}
    if file.exists():
        with file.open(newline="", encoding="utf-8") as before:
            lines = {row[0]: row for row in list(csv.reader(before))[1:]}
    for name, low, value in zip(names, floor, noise, strict=True):
        lines[name] = [name, "" if low is None else f"{low:.4g}", f"{value:.4g}"]
    with file.open("w", newline="", encoding="utf-8") as after:
        rows = csv.writer(after, lineterminator="\n")
        rows.writerow(("column", "floor", "noise"))
        rows.writerows(lines[name] for name in features.feature_names(SETS) if name in lines)


def main() -> None:
    """Print a table for each set, and write the file if asked to."""
    p = parser(__doc__, "python -m benchmarks.extract.codecs --clips 34")
    p.add_argument("--clips", type=int, help="at most so many clips (default all 100)")
    p.add_argument("--set", action="append", choices=SETS, help="measure this set only; may be repeated (default all)")
    p.add_argument("--write", action="store_true", help="write musicrec/features/codec_noise.csv")
    options = p.parse_args()
    one_thread()
    clips = evenly(audio_files(options.data / "gtzan"), options.clips)
    print_machine("av", "soundfile", "librosa")
    sets = options.set or SETS
    names = features.feature_names(sets)
    found = measured(clips, sets)
    floor = floors(names, found)
    change, spread = changes(found, floor)
    for feature_set in sets:
        columns = [names.index(name) for name in features.feature_names(feature_set)]
        typical = {kind: np.median(np.abs(of_kind), axis=0) / spread for kind, of_kind in change.items()}
        worst = sorted(columns, key=lambda column: -max(of_kind[column] for of_kind in typical.values()))[:SHOWN]
        rows = [(names[c], *(f"{of_kind[c]:.2f}" for of_kind in typical.values())) for c in worst]
        print(
            f"{feature_set}: median change of {len(clips)} clips, in standard deviations; the {SHOWN} largest columns"
        )
        print_table(("column", *typical), rows)
    if options.write:
        noise = np.sqrt(np.mean([np.square(of_kind).mean(axis=0) for of_kind in change.values()], axis=0))
        write(FILE, names, floor, noise)


if __name__ == "__main__":
    main()
