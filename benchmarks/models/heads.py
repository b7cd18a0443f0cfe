"""Genre models on musicrec's features and on MusiCNN's vectors and tags, artists apart.

OUT is one of gtzan and gtzan_crops with artist_id and recording, after ``musicrec extract OUT`` and
``musicrec vectors run OUT musicnn``. Songs, folds and figures are those of ``musicrec evaluate OUT --space …``.

accuracy     on songs of artists that the model has not heard. A song that several seeds test counts once, by its mean.
difference   paired, on the same songs: accuracy on each input minus that on MusiCNN's vectors alone, balanced as all
             models here are by default, and not balanced, as such vectors are mostly judged.

All intervals are 95 % over artists. What a model chooses, it chooses on inner folds of its training songs. The network
may have heard artists of GTZAN when it was trained, on other labels.
"""

import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.shared.common import one_thread, parser, print_machine, print_table
from musicrec.evaluate.bootstrap import artist_groups
from musicrec.evaluate.comparison import compare
from musicrec.evaluate.scores import scores
from musicrec.models import with_defaults
from musicrec.models.dataset import folds
from musicrec.models.inputs import Chosen
from musicrec.models.training import train_model
from musicrec.serve.known_artists import circles_of
from musicrec.settings import TrainSettings
from musicrec.stages.model_inputs import load_training_set
from musicrec.stages.train.stage import card_of
from musicrec.store.store import Store

INPUTS = {
    "gtzan57": (),
    "musicnn": ("musicnn",),
    "tags": ("tags/musicnn",),
    "musicnn + tags": ("musicnn", "tags/musicnn"),
    "musicnn + tags + gtzan57": ("musicnn", "tags/musicnn", "features"),
    "musicnn, not balanced": ("musicnn",),
}
ALONE, PLAIN, ALL = "musicnn", "musicnn, not balanced", "musicnn + tags + gtzan57"
FOLDS, GOAL = 3, 0.74


def answers(store: Store, settings: TrainSettings, seeds: int) -> pd.DataFrame:
    """Return what a model answers for the songs that each fold holds out: columns of EVALUATION."""
    songs = load_training_set(store, settings)
    found = []
    for seed in range(seeds):
        ours = settings.model_copy(update={"seed": seed})
        card = card_of(store, ours, songs.classes, "fold")
        for fold, (learn, test) in enumerate(folds(songs.y, songs.groups, FOLDS, seed)):
            rows = np.flatnonzero(test)
            probabilities = train_model(songs, learn, test, ours, card).predict_proba(Chosen(songs.X, rows))
            about = {"split": "artist", "seed": seed, "fold": fold, "probabilities": list(probabilities)}
            named = {
                name: [songs.classes[k] for k in of]
                for name, of in zip(("genre", "predicted"), (songs.y[rows], probabilities.argmax(axis=1)), strict=True)
            }
            found.append(pd.DataFrame(about | named | {"track_id": [songs.track_ids[k] for k in rows]}))
    return pd.concat(found)


def tables(store: Store, asked: Namespace) -> float:
    """Print both tables; return the accuracy of logistic on everything together."""
    lines, differences, reached = [], [], 0.0
    for model in asked.models or ("logistic", "svm"):
        by_input = []
        for name, space in INPUTS.items():
            balance = "none" if name == PLAIN else "genre+artist"
            settings = with_defaults(TrainSettings(model=model, feature_set="gtzan57", space=space, balance=balance))
            by_input.append(answers(store, settings, asked.seeds).assign(model=name))
            print(f"{model} on {name} is done", file=sys.stderr, flush=True)
        rows = pd.concat(by_input)
        groups = artist_groups(circles_of(store, rows["track_id"].unique()), rows["track_id"])
        overall = scores(rows, groups, sorted(rows["genre"].unique()))
        overall = overall[overall["genre"].isna() & (overall["metric"] == "accuracy")].set_index("model")
        for name in INPUTS:
            value, low, high = overall.loc[name, ["value", "low", "high"]]
            lines.append([model, name, f"{value:.3f}", f"{low:.2f} to {high:.2f}"])
            reached = value if (model, name) == ("logistic", ALL) else reached
        for alone in ALONE, PLAIN:
            pairs = [
                pair for pair in compare(rows, groups).to_dict("records") if alone in (pair["first"], pair["second"])
            ]
            differences += [[model, *of_pair(pair, alone)] for pair in pairs]
    print(f"{len(groups)} songs by {groups.nunique()} artists, {FOLDS} folds × {asked.seeds}")
    print_table(["model", "reads", "accuracy", "95 %"], lines)
    print_table(["model", "reads", "minus", "difference", "95 %", "p (McNemar)"], differences)
    return reached


def of_pair(pair: dict[str, float], alone: str) -> list[str]:
    """Return what is compared with MusiCNN's vectors alone, the difference, and its interval."""
    sign = 1 if pair["second"] == alone else -1
    low, high = sorted((sign * pair["low"], sign * pair["high"]))
    other = pair["first"] if sign == 1 else pair["second"]
    return [
        str(other),
        alone,
        f"{sign * pair['difference'] + 0.0:+.3f}",
        f"{low:+.3f} to {high:+.3f}",
        f"{pair['p']:.3f}",
    ]


def main() -> None:
    """Print what each model reaches on each input."""
    options = parser(__doc__, "python -m benchmarks.models.heads --out OUT --seeds 3")
    options.add_argument("--out", type=Path, required=True, help="an OUT of gtzan and gtzan_crops")
    options.add_argument("--models", action="append", help="model that reads features; may be repeated")
    options.add_argument("--seeds", type=int, default=3, help="cross-validations (default: 3)")
    asked = options.parse_args()
    one_thread()
    print_machine("scikit-learn", "numpy")
    reached = tables(Store(asked.out), asked)
    print(f"logistic on {ALL}: {reached:.3f} (goal {GOAL:.2f})")
    sys.exit(reached < GOAL)


if __name__ == "__main__":
    main()
