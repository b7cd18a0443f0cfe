"""The fingerprints of clips, and which pairs of clips match."""

from pathlib import Path

import numpy as np

from benchmarks.similar.distortions import RATE, Samples
from musicrec import audio, features
from musicrec.features.fingerprint import STEP_S, Fingerprint, fingerprints
from musicrec.settings import DuplicatesSettings
from musicrec.similarity.duplicates import prints as all_prints
from musicrec.similarity.duplicates.index import make_index
from musicrec.similarity.duplicates.matches import Matches, match
from musicrec.stages.duplicates.fingerprint_rows import FASTER

SPEEDS = (1.0, *FASTER)
LEAST = all_prints.least_steps(STEP_S)
MOST_ERRORS = DuplicatesSettings().max_bit_errors

Prints = list[Fingerprint]  # of a clip at all speeds


def prints_of(clip: Samples) -> Prints:
    """Return the fingerprints of a clip, by way of a mel-spectrogram as extract keeps it."""
    return fingerprints(features.mel(clip, RATE).astype(np.float16), RATE, SPEEDS)


def clip_of(path: Path) -> Samples:
    """Return the clip of a song as extract takes it."""
    return audio.load(str(path), sample_rate=RATE)


def matches_of(songs: list[Prints], most_errors: float = MOST_ERRORS, one_in: int | None = None) -> Matches:
    """Return all pairs of songs that are alike, where one in so many codes is looked at."""
    prints = all_prints.Prints.of(song[0] for song in songs)
    index, own = make_index(prints, one_in), np.arange(len(songs))
    return Matches.joined(
        match(
            index,
            prints,
            all_prints.Prints.of(song[k] for song in songs),
            own,
            speed,
            least=LEAST,
            most_errors=most_errors,
        )
        for k, speed in enumerate(SPEEDS)
    )
