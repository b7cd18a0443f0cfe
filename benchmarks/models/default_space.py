"""The choice of the space that a new OUT takes: MusiCNN's vectors and tags, and musicrec's own features, with weights.

The clips of gtzan and gtzan_crops, artists apart: precision at 5 and mean average precision of same genre among the
songs of other artists, by the weighted mean of the cosines of the spaces. No genre is used to make a space. Intervals
are 95 % over artists, and those of the differences to MusiCNN alone are paired. The network may have heard artists of
GTZAN when it was trained.

`raw` vectors are as the network gives them, `centred` ones are less their mean over the clips, `standardised` ones also
have a variance of 1. In the last row, each third of the artists is judged by the weights that are best for the other
two thirds, so that no clip is judged by weights that were chosen with it.
"""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from benchmarks.models.ears import RATE, Clips, read_clips
from benchmarks.shared.common import one_thread, parser, print_machine, print_table
from musicrec import audio, features
from musicrec.evaluate.classification import Accuracy
from musicrec.evaluate.comparison import paired
from musicrec.evaluate.rankings import relevance
from musicrec.models.pretrained import library
from musicrec.models.pretrained.session import Pretrained
from musicrec.settings import weights_of
from musicrec.similarity.joined_spaces import join
from musicrec.stages.default_space import SPACE

K = 5
TAG_WEIGHTS, FEATURE_WEIGHTS = (0, 0.25, 0.5, 1, 2), (0, 0.125, 0.25, 0.5, 1)  # beside 1 for the vectors

Array = NDArray[Any]
Figures = tuple[Array, Array]  # precision and average precision of each clip


def standardised(X: Array) -> Array:
    """Return columns of mean 0 and variance 1; a constant column is 0."""
    spread = X.std(axis=0)
    return (X - X.mean(axis=0)) / np.where(spread > 1e-9 * np.abs(X).max(axis=0), spread, np.inf)


def read_spaces(clips: Clips) -> dict[str, Array]:
    """Return the vectors of all clips by the name of their space."""
    model = Pretrained(*library.read_model("musicnn"))
    outputs = [model.embed(audio.load(str(path), sample_rate=RATE)) for path in clips.paths]
    own = [features.extract(audio.load(str(path)), 22_050, ("iiitd41", "gtzan57")) for path in clips.paths]
    vectors, tags = (np.array(part, np.float64) for part in zip(*filter(None, outputs), strict=True))
    return {
        "musicnn": vectors,
        "musicnn, standardised": standardised(vectors),
        "tags, raw": tags,
        "tags/musicnn": tags - tags.mean(axis=0),
        "tags, standardised": standardised(tags),
        "features": standardised(np.nan_to_num(np.array([list(song.values()) for song in own], np.float64))),
    }


def judge(spaces: dict[str, Array], weights: dict[str, float], clips: Clips, rows: Array | None = None) -> Figures:
    """Return the figures of some clips, by default all, among these clips."""
    chosen = np.arange(len(clips.genres)) if rows is None else rows
    used = {name: weight for name, weight in weights.items() if weight}
    joined = join([spaces[name][chosen] for name in used], list(used.values()))
    return relevance(joined, clips.genres[chosen], clips.artists[chosen], K)


def chosen_on_others(spaces: dict[str, Array], clips: Clips) -> tuple[Figures, list[str]]:
    """Return the figures of all clips by weights that were chosen without their artists, and these weights."""
    found, told = np.full((2, len(clips.genres)), np.nan), []
    grid = [
        {"musicnn": 1.0, "tags/musicnn": t, "features": f} for t, f in itertools.product(TAG_WEIGHTS, FEATURE_WEIGHTS)
    ]
    for others, own in GroupKFold(3).split(clips.genres, clips.genres, clips.artists):
        best = max(grid, key=lambda w: sum(map(np.nanmean, judge(spaces, w, clips, others))))
        told.append(" ".join(f"{weight:g}" for weight in best.values()))
        found[:, own] = np.array(judge(spaces, best, clips))[:, own]
    return (found[0], found[1]), told


def main() -> None:
    """Print a row for each space and each sum of spaces."""
    given = parser(__doc__, "python -m benchmarks.models.default_space").parse_args()
    one_thread()
    print_machine("onnxruntime", "scikit-learn")
    clips = read_clips(given.data)
    spaces = read_spaces(clips)
    sums = [
        *({name: 1.0} for name in spaces),
        {"musicnn": 1.0, "features": 0.25},
        {"musicnn": 1.0, "tags, raw": 1.0},
        {"musicnn": 1.0, "tags/musicnn": 1.0},
        {"musicnn": 1.0, "tags, raw": 1.0, "features": 0.25},
        weights_of(SPACE),
    ]
    judged = {" + ".join(f"{w:g} {name}" for name, w in used.items()): judge(spaces, used, clips) for used in sums}
    nested, told = chosen_on_others(spaces, clips)
    judged[f"weights chosen on other artists ({', '.join(told)})"] = nested
    rows = []
    for name, figures in judged.items():
        pairs = [paired(alone, own, clips.artists) for alone, own in zip(judged["1 musicnn"], figures, strict=True)]
        rows.append((name, *(_interval(part) for pair in pairs if pair for part in (pair.second, pair.difference))))
    print_table(("space", "P@5", "to musicnn", "MAP", "to musicnn"), rows)


def _interval(figure: Accuracy) -> str:
    return f"{figure.mean:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


if __name__ == "__main__":
    main()
