"""Pairs of different recordings: how near they come to being taken for one."""

from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.shared.common import audio_files, print_table, verdict
from benchmarks.similar.clip_prints import LEAST, MOST_ERRORS, SPEEDS, Prints, prints_of
from musicrec import audio
from musicrec.features.fingerprint import STEP_S, Fingerprint
from musicrec.similarity.duplicates.alignment import align
from musicrec.similarity.duplicates.chance import chance

PAIRS = 200_000
WINDOW_S, EVERY_S, CLIP_S = 8.5, 3.0, 30.0
RATE = 22_050
ONE_IN = 8  # of so many pairs one is tried at all speeds


class Piece(NamedTuple):
    """A piece of a song."""

    song: int
    at_speeds: Prints


def chance_of(data: Path) -> None:
    """Print how near pieces of different songs come to each other."""
    songs = [
        prints_of(audio.load(str(path), sample_rate=RATE, offset_s=0, duration_s=600))
        for folder in ("gtzan", "songs")
        for path in audio_files(data / folder)
    ]
    windows, clips = pieces(songs, WINDOW_S, EVERY_S), pieces(songs, CLIP_S, CLIP_S)
    kinds = {
        f"windows of {WINDOW_S:g} s, one every {EVERY_S:g} s": (windows, own_errors(windows)),
        "clips of 30 s at most": (clips, own_errors(clips)),
        f"one in {ONE_IN} of these, one of the two at other speeds": (clips, errors_at_other_speeds(clips)),
    }
    rows, tested = [], {}
    for name, (some, errors) in kinds.items():
        tested[name] = figures = chance(errors, MOST_ERRORS)
        cells = (figures.n_pairs, figures.n_alike, f"{figures.lowest:.3f}", f"{figures.bound:.2g}")
        rows.append((name, len({piece.song for piece in some}), len(some), *cells))
    print_table(("different recordings", "songs", "pieces", "pairs", "as copies", "most alike", "at most, 95 %"), rows)
    n_pairs, n_alike = max(t.n_pairs for t in tested.values()), sum(t.n_alike for t in tested.values())
    print(f"0 of {PAIRS} pairs: {verdict(n_alike == 0 and n_pairs >= PAIRS)}\n")


def pieces(songs: list[Prints], length_s: float, every_s: float) -> list[Piece]:
    """Return pieces of songs that have enough sound; the last of each may be shorter."""
    made = []
    for number, song in enumerate(songs):
        for start in np.arange(0, len(song[0].codes), round(every_s / STEP_S)):
            steps = slice(start, start + round(length_s / STEP_S))
            piece = [Fingerprint(codes[steps], audible[steps]) for codes, audible in song]
            if piece[0].audible.sum() >= LEAST:
                made.append(Piece(number, piece))
    return made


def own_errors(some: list[Piece]) -> NDArray[np.float64]:
    """Return the share of bits in which each two pieces of different songs differ, where they differ least."""
    pairs = ((a, b) for a, b in combinations(some, 2) if a.song != b.song)
    return np.array([align(a.at_speeds[0], b.at_speeds[0], LEAST).errors for a, b in pairs])


def errors_at_other_speeds(some: list[Piece]) -> NDArray[np.float64]:
    """Return the same of some pairs where one of the two is played at another speed: the least of all speeds."""
    pairs = [(a, b) for a, b in combinations(some, 2) if a.song != b.song][::ONE_IN]
    return np.array(
        [
            min(
                align(fast.at_speeds[k], slow.at_speeds[0], LEAST).errors
                for k in range(1, len(SPEEDS))
                for fast, slow in ((a, b), (b, a))
            )
            for a, b in pairs
        ]
    )
