"""Which files of one recording are recognised, how often different recordings are taken for one, and what it costs.

The clips are those of GTZAN in --data; every file that is made of one must be found as a copy of it. A clip counts
where it and the file share eight seconds. All time is CPU time on one core.

tables:
  recall  share of files found as copies, by how they were made; and the share of bits in which they differ
  stereo  the left channel alone of the stereo songs in --data, beside the mean of both
  chance  pairs of different recordings: how many are as alike as copies, and the most alike
  crops   of random crops of 2 to 3 s, how many find their own clip first, and among the first ten
  speed   CPU time of a clip's fingerprints, beside that of its mel-spectrogram
  scale   a synthetic catalog of --n-songs: CPU time, memory, and which copies are found
"""

import csv
import resource
from argparse import Namespace
from collections import defaultdict
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from benchmarks.shared.common import audio_files, cpu, evenly, one_thread, parser, print_machine, print_table, verdict
from benchmarks.similar.distortions import RATE, Samples, distortions
from benchmarks.similar.synthetic_prints import SyntheticPrints
from musicrec import audio, features
from musicrec.features.fingerprint import STEP_S, Fingerprint, fingerprints
from musicrec.settings import DuplicatesSettings
from musicrec.similarity.duplicates.alignment import align
from musicrec.similarity.duplicates.chance import chance
from musicrec.similarity.duplicates.index import make_index
from musicrec.similarity.duplicates.matches import Matches, match
from musicrec.similarity.duplicates.prints import Prints, least_steps
from musicrec.stages.duplicates.fingerprint_rows import FASTER

SPEEDS = (1.0, *FASTER)
LEAST = least_steps(STEP_S)
MOST_ERRORS = DuplicatesSettings().max_bit_errors
RECALL, RECALL_OF_SPEED, PAIRS, MS, SCALE_S, SCALE_GB, SCALE_FOR = 0.99, 0.95, 200_000, 2.0, 30, 3, 100_000

Songs = list[list[Fingerprint]]  # each at all speeds


def prints_of(clip: Samples) -> list[Fingerprint]:
    """Return the fingerprints of a clip, by way of a mel-spectrogram as extract keeps it."""
    return fingerprints(features.mel(clip, RATE).astype(np.float16), RATE, SPEEDS)


def clip_of(path: Path) -> Samples:
    """Return the clip of a song as extract takes it."""
    return audio.load(str(path), sample_rate=RATE)


def matches_of(songs: Songs, most_errors: float = MOST_ERRORS) -> Matches:
    """Return all pairs of songs that are alike."""
    prints = Prints.of(song[0] for song in songs)
    index, own = make_index(prints), np.arange(len(songs))
    return Matches.joined(
        match(index, prints, Prints.of(song[k] for song in songs), own, speed, least=LEAST, most_errors=most_errors)
        for k, speed in enumerate(SPEEDS)
    )


# --- recall -----------------------------------------------------------------------------------------------------------


def recall(options: Namespace) -> None:
    """Print how many files of each kind are found as copies of their clip."""
    clips = [clip_of(path) for path in evenly(audio_files(options.data / "gtzan"), options.clips)]
    found = {name: [] for name in distortions()}
    for clip in clips:
        for name, errors in errors_of_files(clip).items():
            found[name].append(errors)
    print_table(
        ("file", "clips", "recall", "median errors", "most errors"),
        [(name, *figures(np.array(errors))) for name, errors in found.items()],
    )
    shares = {name: np.mean(np.array(errors) <= MOST_ERRORS) for name, errors in found.items()}
    of_speed = [share for name, share in shares.items() if name.startswith("speed")]
    others = [share for name, share in shares.items() if not name.startswith(("speed", "tempo"))]
    print(f"codecs, level, rate, fades and cuts ≥ {RECALL}: {verdict(min(others) >= RECALL)} ({min(others):.3f})")
    print(f"speed ≥ {RECALL_OF_SPEED}: {verdict(min(of_speed) >= RECALL_OF_SPEED)} ({min(of_speed):.3f})\n")


def errors_of_files(clip: Samples) -> dict[str, float]:
    """Return the share of bits in which each file differs from its clip, 1 if it is not found at all."""
    made = {name: distort(clip) for name, distort in distortions().items()}
    long = {name: file for name, file in made.items() if len(file) > (LEAST + 10) * STEP_S * RATE}
    songs = [prints_of(clip), *map(prints_of, long.values())]
    found = matches_of(songs, 0.4)
    errors = dict(zip(found.song[found.earlier == 0].tolist(), found.errors[found.earlier == 0].tolist(), strict=True))
    return {name: errors.get(number, 1.0) for number, name in enumerate(long, start=1)}


def figures(errors: NDArray[np.float64]) -> tuple[object, ...]:
    """Return the cells of one kind of file."""
    seen = errors[errors < 1]
    cells = (f"{np.median(seen):.3f}", f"{seen.max():.3f}") if len(seen) else ("", "")
    return len(errors), f"{np.mean(errors <= MOST_ERRORS):.3f}", *cells


def stereo(options: Namespace) -> None:
    """Print how well the left channel alone fits the mean of both."""
    rows = []
    for path in audio_files(options.data / "songs"):
        samples, rate = sf.read(path, dtype="float32", always_2d=True, start=0, frames=60 * 48_000)
        if samples.shape[1] < 2:
            continue
        both, left = (audio.resample(y, rate, RATE)[: 30 * RATE] for y in (samples.mean(axis=1), samples[:, 0].copy()))
        fit = align(prints_of(both)[0], prints_of(left)[0], LEAST)
        rows.append((path.name, f"{fit.errors:.3f}", fit.errors <= MOST_ERRORS))
    print_table(("left channel only", "errors", "found"), rows)


# --- chance -----------------------------------------------------------------------------------------------------------


def chance_of(options: Namespace) -> None:
    """Print how near different recordings come to each other."""
    songs = [prints_of(clip)[0] for clip in different_clips(options.data)]
    long = [song for song in songs if song.audible.sum() >= LEAST]
    errors = np.array([align(a, b, LEAST).errors for a, b in combinations(long, 2)])
    tested = chance(errors, MOST_ERRORS)
    print_table(
        ("recordings", "pairs", "as alike as copies", "most alike", "at most, 95 %"),
        [(len(long), tested.n_pairs, tested.n_alike, f"{tested.lowest:.3f}", f"{tested.bound:.2g}")],
    )
    print(f"0 of {PAIRS} pairs: {verdict(tested.n_alike == 0 and tested.n_pairs >= PAIRS)}\n")


def different_clips(data: Path) -> list[Samples]:
    """Return pieces of 8.5 s of different songs, several of each: no two sound alike but by repetition."""
    pieces, length = [], round(8.5 * RATE)
    for path in audio_files(data / "gtzan") + audio_files(data / "songs"):
        song = audio.load(str(path), sample_rate=RATE, offset_s=0, duration_s=600)
        pieces += [song[start : start + length] for start in range(0, len(song) - length + 1, length)]
    return pieces


# --- crops ------------------------------------------------------------------------------------------------------------


def crops(options: Namespace) -> None:
    """Print how often a short crop fits the clip that it comes from best."""
    with (options.data / "gtzan.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["parent"]]
    paths = {path.stem: path for path in audio_files(options.data / "gtzan")}
    clips = {name: prints_of(audio.load(str(path), sample_rate=RATE, offset_s=0))[0] for name, path in paths.items()}
    ranks = []
    for row in rows:
        parent = Path(row["parent"]).stem
        if parent not in clips:
            continue
        crop = prints_of(audio.load(str(options.data / row["path"]), sample_rate=RATE, offset_s=0))[0]
        errors = {name: align(clip, crop, len(crop.codes) * 9 // 10).errors for name, clip in clips.items()}
        ranks.append(sum(other < errors[parent] for other in errors.values()))
    shares = [f"{np.mean(np.array(ranks) < n):.3f}" for n in (1, 10)]
    print_table(("crops of 2 to 3 s", "clips", "own clip first", "among ten"), [(len(ranks), len(clips), *shares)])


# --- cost -------------------------------------------------------------------------------------------------------------


def speed(options: Namespace) -> None:
    """Print the time of a clip's fingerprints."""
    paths = audio_files(options.data / "gtzan", [".wav", ".flac"])
    clips = [clip[: 30 * RATE] for clip in map(clip_of, paths)]
    mels = [features.mel(clip, RATE).astype(np.float16) for clip in clips]
    fingerprints(mels[0], RATE, SPEEDS)
    times = defaultdict(list)
    for _ in range(options.repeats):
        for clip, mel in zip(clips, mels, strict=True):
            times["mel-spectrogram"].append(cpu(lambda clip=clip: features.mel(clip, RATE))[1])
            times["fingerprint"].append(cpu(lambda mel=mel: fingerprints(mel, RATE, [1.0]))[1])
            times["fingerprints at nine speeds"].append(cpu(lambda mel=mel: fingerprints(mel, RATE, SPEEDS))[1])
    print_table(("CPU ms of a clip of 30 s", "median"), [(n, f"{1000 * np.median(t):.2f}") for n, t in times.items()])
    most = 1000 * np.median(times["fingerprints at nine speeds"])
    print(f"≤ {MS:g} ms: {verdict(most <= MS)}\n")


def scale(options: Namespace) -> None:
    """Print the time and memory of matching a large catalog, and which copies it finds."""
    catalog = SyntheticPrints(pool(options.data), options.n_songs)
    prints = catalog.everything()
    matches_of(two_songs())
    index, seconds = cpu(lambda: make_index(prints))
    found, of_speed = [], np.zeros(len(SPEEDS))
    for block in catalog.blocks():
        for k, speed in enumerate(SPEEDS):
            queries = catalog.at_speed(block, k)
            part, used = cpu(
                lambda q=queries, b=block, s=speed: match(index, prints, q, b, s, least=LEAST, most_errors=MOST_ERRORS)
            )
            found.append(part)
            of_speed[k] += used
    matches, joining = cpu(lambda: Matches.joined(found))
    total, peak = seconds + of_speed.sum() + joining, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print_table(
        ("synthetic songs", "CPU s", "index", "own speed", "other speeds", "peak GiB"),
        [(options.n_songs, *(f"{s:.1f}" for s in (total, seconds, of_speed[0], of_speed[1:].sum())), f"{peak:.2f}")],
    )
    print_found(catalog, matches)
    if options.n_songs >= SCALE_FOR:
        print(f"≤ {SCALE_S} CPU s, ≤ {SCALE_GB} GB: {verdict(total <= SCALE_S and peak * 1.074 <= SCALE_GB)}\n")


def print_found(catalog: SyntheticPrints, matches: Matches) -> None:
    """Print the share of planted copies that is found, by their errors, and how many other pairs are."""
    pairs = set(zip(matches.song.tolist(), matches.earlier.tolist(), strict=True))
    planted = {(max(song, copy.of), min(song, copy.of)): copy for song, copy in catalog.copies.items()}
    by_flips = defaultdict(list)
    for pair, copy in planted.items():
        by_flips[copy.flips].append(pair in pairs)
    rows = [(f"{flips:.2f}", len(found), f"{np.mean(found):.3f}") for flips, found in sorted(by_flips.items())]
    print_table(("errors of the copies", "copies", "recall"), rows)
    print(f"pairs that were not planted: {len(pairs - planted.keys())}")


def two_songs() -> Songs:
    """Return two random songs, with which the loops are compiled."""
    rng = np.random.default_rng(0)
    return [[Fingerprint(rng.integers(0, 2**32, 400, dtype=np.uint32), np.ones(400, np.bool_))] * 9 for _ in range(2)]


@cache
def pool(data: Path) -> NDArray[np.uint32]:
    """Return the codes of all clips, one after the other."""
    return np.concatenate([prints_of(clip_of(path))[0].codes for path in audio_files(data / "gtzan")])


TABLES = {"recall": recall, "stereo": stereo, "chance": chance_of, "crops": crops, "speed": speed, "scale": scale}


def main() -> None:
    """Print the tables that are asked for."""
    p = parser(__doc__, "python -m benchmarks.similar.duplicates --tables recall scale --n-songs 100000")
    p.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES), help="which to print (default: all)")
    p.add_argument("--clips", type=int, help="clips of recall, spread over all (default: all)")
    p.add_argument("--n-songs", type=int, default=100_000, help="songs of scale (default: 100 000)")
    p.add_argument("--repeats", type=int, default=5, help="runs of speed (default: 5)")
    options = p.parse_args()
    one_thread()
    print_machine("numpy", "numba", "av", "soxr")
    for table in options.tables:
        TABLES[table](options)


if __name__ == "__main__":
    main()
