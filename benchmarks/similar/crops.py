"""How often a short crop finds the clip that it comes from: by the fingerprint, and in spaces of recommendation."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.shared.common import audio_files, print_table
from benchmarks.similar.clip_prints import prints_of
from benchmarks.similar.distortions import RATE
from musicrec import audio, features
from musicrec.errors import ConfigError
from musicrec.models.pretrained import library
from musicrec.models.pretrained.session import Pretrained
from musicrec.similarity.duplicates.alignment import align

MUSICNN_RATE = 16_000

Vectors = NDArray[np.float64]


def print_crops(data: Path) -> None:
    """Print how many crops find their own clip first, and among the first ten."""
    clips = {path.stem: path for path in audio_files(data / "gtzan")}
    with (data / "gtzan.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["path"].startswith("gtzan_crops") and row["parent"] in clips]
    crops, names = [data / row["path"] for row in rows], list(clips)
    parents = np.array([names.index(row["parent"]) for row in rows])
    scores = {"fingerprint": by_fingerprint(crops, list(clips.values()))}
    scores["gtzan57, standardised"] = by_cosine(gtzan57, crops, list(clips.values()), is_standardised=True)
    try:
        embed = musicnn()
    except ConfigError:
        print("without musicnn: musicrec models add musicnn")
    else:
        scores["musicnn"] = by_cosine(embed, crops, list(clips.values()), is_standardised=False)
    cells = []
    for name, score in scores.items():
        own = score[np.arange(len(crops)), parents]
        ranks = (score > own[:, None]).sum(axis=1)
        cells.append((name, len(crops), len(clips), *(f"{np.mean(ranks < n):.3f}" for n in (1, 10))))
    print_table(("crops of 2 to 3 s, by", "crops", "clips", "own clip first", "among ten"), cells)


def by_fingerprint(crops: list[Path], clips: list[Path]) -> Vectors:
    """Return how well each crop fits each clip, [n_crops, n_clips]."""
    long = [prints_of(whole(path, RATE))[0] for path in clips]
    short = [prints_of(whole(path, RATE))[0] for path in crops]
    return np.array([[-align(clip, crop, len(crop.codes) * 9 // 10).errors for clip in long] for crop in short])


def by_cosine(
    vector: Callable[[Path], Vectors], crops: list[Path], clips: list[Path], *, is_standardised: bool
) -> Vectors:
    """Return the cosine of each crop with each clip, [n_crops, n_clips]."""
    both = np.nan_to_num(np.array([vector(path) for path in [*crops, *clips]], np.float64))
    if is_standardised:
        both = (both - both.mean(axis=0)) / np.maximum(both.std(axis=0), 1e-9)
    both /= np.linalg.norm(both, axis=1, keepdims=True)
    return both[: len(crops)] @ both[len(crops) :].T


def gtzan57(path: Path) -> Vectors:
    """Return the features of a file."""
    return np.array(list(features.extract(whole(path, RATE), RATE, "gtzan57").values()))


def musicnn() -> Callable[[Path], Vectors]:
    """Return the way from a file to its vector by MusiCNN.

    Raises
    ------
    ConfigError
        This machine does not have it.
    """
    model = Pretrained(*library.read_model("musicnn"))
    return lambda path: model.embed(whole(path, MUSICNN_RATE)).vector


def whole(path: Path, rate: int) -> NDArray[np.float32]:
    """Return a file from its start, 30 s of it at most."""
    return audio.load(str(path), sample_rate=rate, offset_s=0)
