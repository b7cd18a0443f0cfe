"""Which files of one recording are recognised, how often different recordings are taken for one, and what it costs.

The clips are those of GTZAN in --data; every file that is made of one must be found as a copy of it. A clip counts
where it and the file share eight seconds. All time is CPU time on one core; NumPy's sort stands beside it, so that a
busy machine shows.

tables:
  recall  share of files found as copies, by how they were made; and the share of bits in which they differ
  stereo  the left channel alone of the stereo songs in --data, beside the mean of both
  chance  pairs of different recordings: how many are as alike as copies, and the most alike
  crops   of random crops of 2 to 3 s, how many find their own clip first, and among the first ten, by the fingerprint
          and in spaces of recommendation
  speed   CPU time of a clip's fingerprints, beside that of its mel-spectrogram
  scale   synthetic catalogs of --n-songs: CPU time, memory, and which copies are found
"""

import resource
from argparse import Namespace
from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from benchmarks.shared.common import audio_files, cpu, evenly, one_thread, parser, print_machine, print_table, verdict
from benchmarks.similar.clip_prints import LEAST, MOST_ERRORS, SPEEDS, Prints, clip_of, matches_of, prints_of
from benchmarks.similar.crops import print_crops
from benchmarks.similar.distortions import RATE, Samples, distortions
from benchmarks.similar.synthetic_prints import SyntheticPrints
from benchmarks.similar.unrelated import chance_of
from musicrec import audio, features
from musicrec.features.fingerprint import STEP_S, Fingerprint, fingerprints
from musicrec.similarity.duplicates.alignment import align
from musicrec.similarity.duplicates.index import Index, make_index, one_in_of
from musicrec.similarity.duplicates.matches import Matches, match
from musicrec.similarity.duplicates.prints import Prints as AllPrints

RECALL, RECALL_OF_SPEED, MS = 0.99, 0.95, 2.0
MILLION = 1_000_000
SCALE_S, SCALE_GB = {100_000: 30, MILLION: 60}, {100_000: 3}
LARGEST_ERRORS = 0.4  # of what counts as the same recording at all


# --- recall -----------------------------------------------------------------------------------------------------------


def recall(options: Namespace) -> None:
    """Print how many files of each kind are found as copies of their clip."""
    clips = [clip_of(path) for path in evenly(audio_files(options.data / "gtzan"), options.clips)]
    found = {name: [] for name in distortions()}
    for clip in clips:
        for name, errors in errors_of_files(clip).items():
            found[name].append(errors)
    errors = {name: np.array(pairs) for name, pairs in found.items()}
    print_table(
        ("file", "clips", "recall", "in a million songs", "median errors", "most errors"),
        [(name, *figures(both)) for name, both in errors.items()],
    )
    shares = {name: np.mean(both[:, 0] <= MOST_ERRORS) for name, both in errors.items()}
    of_speed = [share for name, share in shares.items() if name.startswith("speed")]
    others = [share for name, share in shares.items() if not name.startswith(("speed", "tempo", "another", "hall"))]
    print(f"codecs, level, rate, fades and cuts ≥ {RECALL}: {verdict(min(others) >= RECALL)} ({min(others):.3f})")
    print(f"speed ≥ {RECALL_OF_SPEED}: {verdict(min(of_speed) >= RECALL_OF_SPEED)} ({min(of_speed):.3f})\n")


def errors_of_files(clip: Samples) -> dict[str, tuple[float, float]]:
    """Return the share of bits in which each file differs from its clip, 1 if it is not found at all.

    The second is that in a catalog of a million songs, where fewer codes are looked at.
    """
    own, errors = prints_of(clip), {}
    for name, distort in distortions().items():
        file = distort(clip)
        if len(file) > (LEAST + 10) * STEP_S * RATE:
            pair = [own, prints_of(file)]
            found = [matches_of(pair, LARGEST_ERRORS, one_in_of(n)) for n in (2, MILLION)]
            errors[name] = tuple(float(matches.errors.min(initial=1)) for matches in found)
    return errors


def figures(errors: NDArray[np.float64]) -> tuple[object, ...]:
    """Return the cells of one kind of file."""
    seen = errors[:, 0][errors[:, 0] < 1]
    cells = (f"{np.median(seen):.3f}", f"{seen.max():.3f}") if len(seen) else ("", "")
    return len(errors), *(f"{share:.3f}" for share in np.mean(errors <= MOST_ERRORS, axis=0)), *cells


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
    """Print the time and memory of matching large catalogs, and which copies are found."""
    matches_of(two_songs())
    reference = cpu(lambda: np.sort(np.random.default_rng(0).random(10**7)))[1]
    print(f"NumPy sorts ten million numbers in {reference:.2f} CPU s\n")
    for n_songs in options.n_songs:
        print_scale(SyntheticPrints(pool(options.data), n_songs), n_songs)


def print_scale(catalog: SyntheticPrints, n_songs: int) -> None:
    """Print time and memory of one catalog, and which copies are found; and the time of a night."""
    prints = catalog.everything()
    index, seconds = cpu(lambda: make_index(prints))
    matches, times = matched(catalog, prints, index)
    total, peak = seconds + sum(times), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    of_index = index.one_in
    del index
    is_changed = np.arange(n_songs) % 100 == 0
    changed, night = cpu(lambda: make_index(prints, is_changed=is_changed))
    night += sum(matched(catalog, prints, changed)[1])
    figures = (f"{s:.1f}" for s in (total, seconds, times[0], sum(times[1:]), night))
    print_table(
        ("synthetic songs", "one code in", "CPU s", "index", "own speed", "other speeds", "1 % changed", "peak GiB"),
        [(n_songs, of_index, *figures, f"{peak:.2f}")],
    )
    print_found(catalog, matches)
    if n_songs in SCALE_S:
        print(f"≤ {SCALE_S[n_songs]} CPU s: {verdict(total <= SCALE_S[n_songs])}")
    if n_songs in SCALE_GB:
        print(f"≤ {SCALE_GB[n_songs]} GB: {verdict(peak * 1.074 <= SCALE_GB[n_songs])}")
    print()


def matched(catalog: SyntheticPrints, prints: AllPrints, index: Index) -> tuple[Matches, list[float]]:
    """Return all matches of an index, and the CPU seconds of each speed."""
    found, times = [], [0.0] * len(SPEEDS)
    for block in catalog.blocks():
        for k, speed in enumerate(SPEEDS):
            queries = catalog.at_speed(block, k)
            part, used = cpu(
                lambda q=queries, b=block, s=speed: match(index, prints, q, b, s, least=LEAST, most_errors=MOST_ERRORS)
            )
            found.append(part)
            times[k] += used
    return Matches.joined(found), times


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


def two_songs() -> list[Prints]:
    """Return two random songs, with which the loops are compiled."""
    rng = np.random.default_rng(0)
    return [[Fingerprint(rng.integers(0, 2**32, 400, dtype=np.uint32), np.ones(400, np.bool_))] * 9 for _ in range(2)]


@cache
def pool(data: Path) -> NDArray[np.uint32]:
    """Return the codes of all clips, one after the other."""
    return np.concatenate([prints_of(clip_of(path))[0].codes for path in audio_files(data / "gtzan")])


TABLES = {
    "recall": recall,
    "stereo": stereo,
    "chance": lambda options: chance_of(options.data),
    "crops": lambda options: print_crops(options.data),
    "speed": speed,
    "scale": scale,
}


def main() -> None:
    """Print the tables that are asked for."""
    p = parser(__doc__, "python -m benchmarks.similar.duplicates --tables recall scale --n-songs 100000")
    p.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES), help="which to print (default: all)")
    p.add_argument("--clips", type=int, help="clips of recall, spread over all (default: all)")
    p.add_argument(
        "--n-songs",
        type=int,
        nargs="+",
        default=[100_000, MILLION],
        help="songs of scale (default: 100 000 and a million)",
    )
    p.add_argument("--repeats", type=int, default=5, help="runs of speed (default: 5)")
    options = p.parse_args()
    one_thread()
    print_machine("numpy", "numba", "av", "soxr")
    for table in options.tables:
        TABLES[table](options)


if __name__ == "__main__":
    main()
