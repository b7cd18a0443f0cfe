"""Genre models on musicrec's features and on MusiCNN's vectors and tags, artists apart, by ``musicrec evaluate``.

OUT is one of gtzan and gtzan_crops with artist_id and recording, after ``musicrec extract OUT`` and
``musicrec vectors run OUT musicnn``. Its tables evaluation and scores are written anew.

accuracy     on songs of artists that the model has not heard, as ``musicrec evaluate`` prints it. A song that several
             seeds test counts once, by its mean. `balance none` is without weights for genres and artists.
difference   paired, on the same songs: accuracy on each input minus that on MusiCNN's vectors alone.

All intervals are 95 % over artists. What a model chooses, it chooses on inner folds of its training songs. The network
may have heard artists of GTZAN when it was trained, on other labels.
"""

import sys
from argparse import Namespace
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc

from benchmarks.shared.common import one_thread, parser, print_machine, print_table
from musicrec.evaluate import compare
from musicrec.evaluate.bootstrap import artist_groups
from musicrec.settings import Balance, EvaluateSettings, TrainSettings
from musicrec.stages.train.cross_validate import evaluate, name_of
from musicrec.store.store import Store

INPUTS = {
    "gtzan57": (),
    "musicnn": ("musicnn",),
    "tags": ("tags/musicnn",),
    "musicnn + tags": ("musicnn", "tags/musicnn"),
    "musicnn + tags + gtzan57": ("musicnn", "tags/musicnn", "features"),
}
ALONE, ALL = "musicnn", "musicnn + tags + gtzan57"
GOAL = 0.74


def answers(store: Store, asked: Namespace, balance: Balance) -> pd.DataFrame:
    """Return the rows of ``scores`` and of ``evaluation`` for every model on every input, artists apart."""
    judged = EvaluateSettings(models=asked.models or ("logistic", "svm"), seeds=asked.seeds)
    names = {}
    for name, space in INPUTS.items():
        settings = TrainSettings(feature_set="gtzan57", space=space, balance=balance)
        with store.lock():
            evaluate(store, judged, settings)
        names |= {name_of(settings.model_copy(update={"model": model})): (model, name) for model in judged.models}
    rows = store.read("evaluation", filter=pc.field("split") == "artist").to_pandas()
    rows = rows[rows["model"].isin(names)]
    return rows.assign(label=rows["model"], input=[names[label][1] for label in rows["model"]]).assign(
        model=[names[label][0] for label in rows["model"]]
    )


def tables(store: Store, asked: Namespace) -> float:
    """Print both tables; return the accuracy of logistic on everything together."""
    tracks = store.read("tracks", ["track_id", "artist_id", "recording"]).to_pandas().set_index("track_id")
    unweighted = answers(store, asked, "none") if asked.unweighted else None
    before = None if unweighted is None else shown(store)
    rows = answers(store, asked, "genre+artist")
    found = shown(store)
    groups = artist_groups(tracks["artist_id"].fillna(tracks["recording"]), rows["track_id"])
    lines, differences, reached = [], [], 0.0
    for model, of_model in rows.groupby("model", sort=False):
        for name, own in of_model.groupby("input", sort=False):
            label = own["label"].iloc[0]
            value, low, high = found.loc[label]
            reached = value if (model, name) == ("logistic", ALL) else reached
            plain = [] if before is None else [f"{before.loc[label].iloc[0]:.3f}"]
            lines.append([model, name, f"{value:.3f}", f"{low:.2f} to {high:.2f}", *plain])
        pairs = compare(of_model.assign(model=of_model["input"]), groups)
        differences += [
            [model, *of_pair(pair)] for pair in pairs.to_dict("records") if ALONE in (pair["first"], pair["second"])
        ]
    print(f"{rows['track_id'].nunique()} songs by {groups.nunique()} artists, 3 folds × {asked.seeds}")
    print_table(["model", "reads", "accuracy", "95 %", *(["balance none"] if before is not None else [])], lines)
    print_table(["model", "reads", f"minus {ALONE} alone", "95 %", "p (McNemar)"], differences)
    return reached


def shown(store: Store) -> pd.DataFrame:
    """Return accuracy and its interval by name of the model, as ``musicrec evaluate`` shows them."""
    scores = store.read("scores").to_pandas()
    wanted = scores["genre"].isna() & (scores["metric"] == "accuracy") & (scores["split"] == "artist")
    return scores[wanted].set_index("model")[["value", "low", "high"]]


def of_pair(pair: dict[str, float]) -> list[str]:
    """Return what is compared with MusiCNN's vectors alone, the difference, and its interval."""
    sign = 1 if pair["second"] == ALONE else -1
    low, high = sorted((sign * pair["low"], sign * pair["high"]))
    other = pair["first"] if sign == 1 else pair["second"]
    return [str(other), f"{sign * pair['difference']:+.3f}", f"{low:+.3f} to {high:+.3f}", f"{pair['p']:.3f}"]


def main() -> None:
    """Print what each model reaches on each input."""
    options = parser(__doc__, "python -m benchmarks.models.heads --out OUT --seeds 3")
    options.add_argument("--out", type=Path, required=True, help="an OUT of gtzan and gtzan_crops")
    options.add_argument("--models", action="append", help="model that reads features; may be repeated")
    options.add_argument("--seeds", type=int, default=3, help="cross-validations (default: 3)")
    options.add_argument("--unweighted", action="store_true", help="also without weights for genres and artists")
    asked = options.parse_args()
    one_thread()
    print_machine("scikit-learn", "numpy")
    reached = tables(Store(asked.out), asked)
    print(f"logistic on {ALL}: {reached:.3f} (goal {GOAL:.2f})")
    sys.exit(reached < GOAL)


if __name__ == "__main__":
    main()
