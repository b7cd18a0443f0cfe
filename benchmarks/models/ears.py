"""MusiCNN's vectors beside musicrec's own features, and what they cost a clip beside TensorFlow.

The clips of gtzan and gtzan_crops, artists apart: accuracy of a logistic regression (C 0.1, standardised columns) on
three folds in which no artist stands on both sides, and precision at 5 and mean average precision of the songs of
other artists by cosine (standardised columns). Every song counts, also one that has nothing to find. Intervals are
95 % over artists. The network may have heard artists of GTZAN when it was trained.

The cost is CPU time of one core for a clip of 30 s, from file to vector, both sides in turns: TensorFlow in float32
behind librosa's front end, and musicrec.
"""

import csv
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.models import musicnn_tensorflow
from benchmarks.shared.common import cpu, one_thread, parser, print_machine, print_table
from musicrec import audio, features
from musicrec.evaluate.classification import accuracy
from musicrec.features.front_ends import FRONT_ENDS, windows
from musicrec.models.pretrained import library, musicnn_wheel
from musicrec.models.pretrained.graph import Weights
from musicrec.models.pretrained.session import Pretrained

RATE, FRAMES = 16_000, 187
EXPECTED = {"gtzan57": (0.345, 0.320, 0.252), "musicnn": (0.617, 0.615, 0.501)}  # accuracy, P@5, MAP
LARGEST_SHARE = 0.36  # of TensorFlow's CPU time

Array = NDArray[Any]


class Clips(NamedTuple):
    """The clips, and what is known of them."""

    paths: list[Path]
    genres: Array
    artists: Array
    seconds: Array


def read_clips(data: Path) -> Clips:
    """Read gtzan.csv; a song of an unknown artist is an artist of its own, with its crops."""
    rows = list(csv.DictReader((data / "gtzan.csv").open(encoding="utf-8")))
    known = [row["artist_group"] != "NA" for row in rows]
    artists = [row["artist_group"] if k else row["parent"] for row, k in zip(rows, known, strict=True)]
    columns = (np.array([row[name] for row in rows]) for name in ("genre", "seconds"))
    genres, seconds = columns
    return Clips([data / row["path"] for row in rows], genres, np.array(artists), seconds.astype(float))


# --- quality ----------------------------------------------------------------------------------------------------------


def predicted(X: Array, clips: Clips) -> Array:
    """Return which songs get their own genre when their artist is held out."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    right = np.zeros(len(X))
    for train, test in GroupKFold(3).split(X, clips.genres, clips.artists):
        right[test] = model.fit(X[train], clips.genres[train]).predict(X[test]) == clips.genres[test]
    return right


def found(X: Array, clips: Clips) -> tuple[Array, Array]:
    """Return precision at 5 and average precision of each song among those of other artists."""
    unit = StandardScaler().fit_transform(X)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    others = clips.artists[:, None] != clips.artists
    order = np.argsort(-np.where(others, unit @ unit.T, -np.inf), axis=1, kind="stable")
    same = (clips.genres[:, None] == clips.genres) & others
    hits = np.take_along_axis(same, order, axis=1).astype(float)
    precision = hits.cumsum(axis=1) / np.arange(1, len(X) + 1)
    return hits[:, :5].mean(axis=1), (precision * hits).sum(axis=1) / np.maximum(1, hits.sum(axis=1))


def print_quality(clips: Clips, spaces: dict[str, Array]) -> None:
    """Print a row of figures for each space."""
    rows = []
    for name, X in spaces.items():
        figures = [accuracy(values[None], clips.artists) for values in (predicted(X, clips), *found(X, clips))]
        texts = [f"{one.mean:.3f} [{one.low:.2f}, {one.high:.2f}]" for one in figures]
        expected = " ".join(f"{value:.3f}" for value in EXPECTED.get(name, ()))
        rows.append((name, X.shape[1], *texts, expected))
    print_table(("vectors", "numbers", "accuracy", "P@5", "MAP", "expected"), rows)


# --- what it costs ----------------------------------------------------------------------------------------------------


def by_tensorflow(weights: Weights) -> Callable[[Path], Array]:
    """Return the way from a file to its vector by librosa's front end and TensorFlow in float32."""
    import librosa

    run = musicnn_tensorflow.network(weights)

    def embed(path: Path) -> Array:
        y = audio.load(str(path), sample_rate=RATE)
        mel = librosa.feature.melspectrogram(y=y, sr=RATE, n_fft=512, hop_length=256, n_mels=96).T
        frames = np.log10(10_000 * mel + 1)
        whole = frames[: len(frames) // FRAMES * FRAMES].reshape(-1, FRAMES, 96)
        return run(whole)[0].mean(axis=0)

    return embed


def print_cost(model: Pretrained, weights: Weights, paths: list[Path]) -> float:
    """Print CPU milliseconds a clip; return the share of TensorFlow's."""
    card = model.card
    lengths = {"window_s": card.window_s, "hop_s": card.hop_s}
    theirs = by_tensorflow(weights)
    samples = {path: audio.load(str(path), sample_rate=RATE) for path in paths}
    ways: dict[str, Callable[[Path], Any]] = {
        "TensorFlow, librosa": theirs,
        "musicrec": lambda path: model.embed(audio.load(str(path), sample_rate=RATE)),
        "  decode and resample": lambda path: audio.load(str(path), sample_rate=RATE),
        "  front end": lambda path: list(windows([samples[path]], FRONT_ENDS["musicnn"], RATE, **lengths)),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for path in [paths[0], *paths]:  # the first one warms up
        for name, way in ways.items():
            times[name].append(1e3 * cpu(lambda way=way, path=path: way(path))[1])
    medians = {name: median(values[1:]) for name, values in times.items()}
    share = medians["musicrec"] / medians["TensorFlow, librosa"]
    print_table(("CPU ms a clip of 30 s", "median"), [(name, round(value, 1)) for name, value in medians.items()])
    cosines = [_cosine(theirs(path), ways["musicrec"](path).vector) for path in paths[:5]]
    print(f"{share:.2f} × TensorFlow's CPU time (bar {LARGEST_SHARE}); smallest cosine to it {min(cosines):.6f}\n")
    return share


def _cosine(a: Array, b: Array) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def main() -> None:
    """Run both parts."""
    arguments = parser(__doc__, "python -m benchmarks.models.ears --clips 20")
    arguments.add_argument("--clips", type=int, default=14, help="clips of 30 s whose time is taken")
    arguments.add_argument("--only", choices=("quality", "cost"), help="leave the other part out")
    given = arguments.parse_args()
    one_thread()
    print_machine("onnxruntime", "tensorflow", "librosa", "scikit-learn")
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(musicnn_wheel.fetch(Path(folder))) as wheel:
            wheel.extractall(folder)
        weights = musicnn_wheel.read_checkpoint(Path(folder) / "musicnn" / musicnn_wheel.CHECKPOINTS["musicnn"].folder)
    model = Pretrained(*library.read_model("musicnn"))
    clips = read_clips(given.data)
    if given.only != "cost":
        outputs = [model.embed(audio.load(str(path), sample_rate=RATE)) for path in clips.paths]
        own = [list(features.extract(audio.load(str(path)), 22_050, "gtzan57").values()) for path in clips.paths]
        tags = np.array([output.tags for output in outputs if output])
        spaces = {
            "gtzan57": np.nan_to_num(own),
            "musicnn": np.array([output.vector for output in outputs if output]),
            "tags": tags,
        }
        print_quality(clips, {name: X.astype(float) for name, X in spaces.items()})
    if given.only != "quality":
        whole = [path for path, s in zip(clips.paths, clips.seconds, strict=True) if s > 29.9][: given.clips]
        sys.exit(print_cost(model, weights, whole) > LARGEST_SHARE)


if __name__ == "__main__":
    main()
