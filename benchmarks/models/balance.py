"""What genre models gain where genres, and artists within a genre, are weighted in training: ``train --balance``.

OUT is one of gtzan and gtzan_crops with artist_id and recording, and what the models read. Songs, folds and seeds are
the same for every balance, and no artist stands on both sides of a fold. A song that several seeds test counts once, by
its mean. Intervals are 95 % of a bootstrap over artists; differences are paired: the same songs and artists drawn.

tested      accuracy and macro-F1 on the songs that a fold holds out; the difference of each balance to ``none``. `all`
            is the mean of the models.
inner       accuracy and macro-F1 on inner folds of the training songs, by which the default is chosen: the songs above
            have no part in it. `chosen` is how often a balance was the best of a training part, and `nested` the
            accuracy on the tested songs, first seed, where each training part chooses its own. Not of networks.

Artist folds shift the shares of the genres: here a genre may have half of its songs by one artist, and a model that
has learned these shares expects the wrong ones of the tested songs, whose genres are about equally frequent. Where the
genres of a catalog are very unequal, and the tested songs have the same shares, a balanced model names fewer songs
right and more genres.

A network of spectrograms takes minutes for each fold: --epochs resnet=5 sets how long it learns. Answers are kept in
--keep, so that a stopped run can go on.
"""

import itertools
import sys
import warnings
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.models.retrieval import of_model
from benchmarks.shared.common import one_thread, parser, print_machine, print_table
from musicrec.evaluate import genres
from musicrec.evaluate.bootstrap import draw_groups, interval
from musicrec.evaluate.comparison import compare, difference, hits_of
from musicrec.evaluate.scores import scores
from musicrec.files.paths import replacing
from musicrec.models import CLASSICAL_MODELS, CLUSTERINGS, NETWORKS, TrainingSet, with_defaults
from musicrec.models.dataset import folds
from musicrec.models.inputs import Chosen
from musicrec.models.network import one_thread as one_tensorflow_thread
from musicrec.models.training import train_model
from musicrec.models.tuning import inner_folds
from musicrec.settings import Balance, TrainSettings
from musicrec.stages.model_inputs import clear_unpacked, load_training_set, table_of, unpack
from musicrec.stages.train.stage import card_of
from musicrec.store.lineage import digest
from musicrec.store.store import Store

BALANCES: tuple[Balance, ...] = get_args(Balance)
MODELS = *CLASSICAL_MODELS, *CLUSTERINGS, "mlp"

Rows = NDArray[np.bool_]


def answers(
    store: Store, songs: TrainingSet, settings: TrainSettings, part: tuple[Rows, Rows], keep: Path | None
) -> pd.DataFrame:
    """Return what a model answers for the songs that a part holds out: columns of EVALUATION but split and fold."""
    learn, test = part
    rows = np.flatnonzero(test)
    made_of = [str(store.footer(table_of(settings))["fingerprint"]), digest(songs.track_ids, songs.groups)]
    name = settings.fingerprint(*made_of, np.packbits(learn).tobytes().hex(), np.packbits(test).tobytes().hex())
    file = keep / f"{settings.model}-{name}.npy" if keep else None
    if file and file.exists():
        probabilities = np.load(file)
    else:
        few = np.isin(np.arange(len(test)), rows[:2])  # for the learning curve, which nobody looks at
        model = train_model(songs, learn, few, settings, card_of(store, settings, songs.classes, "fold"))
        probabilities = model.predict_proba(Chosen(songs.X, rows))
        if file:
            with replacing(file) as temporary, temporary.open("wb") as content:
                np.save(content, probabilities)
    return pd.DataFrame(
        {
            "model": settings.balance,
            "split": "artist",
            "seed": settings.seed,
            "track_id": [songs.track_ids[i] for i in rows],
            "genre": [songs.classes[songs.y[i]] for i in rows],
            "predicted": [songs.classes[i] for i in probabilities.argmax(axis=1)],
            "probabilities": list(probabilities),
        }
    )


def tested(store: Store, songs: TrainingSet, settings: TrainSettings, asked: Namespace) -> pd.DataFrame:
    """Return the answers of a model by every balance, on all folds of all seeds."""
    found = []
    for seed, balance in itertools.product(range(asked.seeds), BALANCES):
        ours = settings.model_copy(update={"seed": seed, "balance": balance})
        for fold, part in enumerate(folds(songs.y, songs.groups, asked.folds, seed)):
            found.append(answers(store, songs, ours, part, asked.keep).assign(fold=fold))
    return pd.concat(found)


def inner(store: Store, songs: TrainingSet, settings: TrainSettings, asked: Namespace) -> pd.DataFrame:
    """Return the answers by every balance on inner folds of the training part of each fold: ``outer``, of seed 0."""
    found = []
    for outer, (learn, _) in enumerate(folds(songs.y, songs.groups, asked.folds, settings.seed)):
        for fold, rows in enumerate(inner_folds(songs, learn, asked.folds, settings.seed)):
            part = tuple(np.isin(np.arange(len(learn)), side) for side in rows)
            for balance in BALANCES:
                ours = settings.model_copy(update={"balance": balance})
                found.append(answers(store, songs, ours, part, asked.keep).assign(fold=fold, outer=outer))
    return pd.concat(found)


# --- figures ------------------------------------------------------------------------------------------------------


def f1_difference(one: pd.DataFrame, other: pd.DataFrame, artists: pd.Series, classes: list[str]) -> list[float]:
    """Return macro-F1 of one balance minus that of another, and its interval, by the same draws of artists."""
    n_artists = artists.nunique()
    weights = np.vstack([np.ones(n_artists), draw_groups(n_artists)]).T
    of_both = []
    for rows in (one, other):
        runs = genres.arrange(rows, artists, classes)
        of_both.append(genres.mean(genres.rates(runs.truth, runs.named, runs.seed, runs.group, weights)[2], 1))
    apart = of_both[0] - of_both[1]
    return [float(apart[0]), *interval(apart[1:])]


def of_tested(model: str, rows: pd.DataFrame, artists: pd.Series, classes: list[str]) -> Iterator[list[str]]:
    """Yield a line for each balance: accuracy, macro-F1, and the differences to none."""
    overall = scores(rows, artists, classes)
    overall = overall[overall["genre"].isna()].set_index(["model", "metric"])["value"]
    by = dict(list(rows.groupby("model")))
    for balance in BALANCES:
        cells = [model, balance, f"{overall[balance, 'accuracy']:.3f}", f"{overall[balance, 'f1']:.3f}"]
        if balance == "none":
            yield [*cells, "", "", "", ""]
            continue
        pair = compare(pd.concat([by[balance], by["none"]]), artists).iloc[0]
        sign = 1 if pair["first"] == balance else -1
        accuracy = [sign * pair["difference"], *sorted((sign * pair["low"], sign * pair["high"]))]
        yield [*cells, *shown(accuracy), *shown(f1_difference(by[balance], by["none"], artists, classes))]


def of_mean(of_models: list[pd.DataFrame], artists: pd.Series) -> Iterator[list[str]]:
    """Yield a line for each balance: the mean accuracy of the models, and the difference to none."""
    hits = {
        balance: pd.DataFrame([hits_of(rows[rows["model"] == balance]).mean() for rows in of_models])
        for balance in BALANCES
    }
    for balance, ours in hits.items():
        apart = difference(ours, hits["none"], artists.loc[ours.columns])
        beside = ["", ""] if balance == "none" else shown(list(apart[:3]))
        yield ["all", balance, f"{ours.to_numpy().mean():.3f}", "", *beside, "", ""]


def of_inner(
    model: str, on_inner: pd.DataFrame, on_tested: pd.DataFrame, artists: pd.Series, classes: list[str]
) -> list[str]:
    """Return a line: accuracy and macro-F1 on inner folds, which balance was chosen, and what that gives."""
    hits = on_inner.assign(hit=on_inner["genre"] == on_inner["predicted"])
    by_part = hits.groupby(["outer", "model"])["hit"].mean().unstack()[list(BALANCES)]
    f1 = on_inner.groupby(["outer", "model"])[["genre", "predicted", "track_id", "probabilities", "seed", "fold"]]
    macro = f1.apply(lambda rows: macro_f1(rows, artists, classes)).unstack()[list(BALANCES)].mean()
    chosen = by_part.idxmax(axis=1)
    first = on_tested[on_tested["seed"] == on_tested["seed"].min()]
    right = first["genre"] == first["predicted"]
    nested = right[first["model"].to_numpy() == chosen.loc[first["fold"]].to_numpy()].mean()
    cells = [f"{by_part[balance].mean():.3f} / {macro[balance]:.3f}" for balance in BALANCES]
    often = [str((chosen == balance).sum()) for balance in BALANCES]
    return [model, *cells, *often, f"{right[first['model'] == 'none'].mean():.3f}", f"{nested:.3f}"]


def macro_f1(rows: pd.DataFrame, artists: pd.Series, classes: list[str]) -> float:
    """Return the mean over genres of F1."""
    runs = genres.arrange(rows, artists, classes)
    once = np.ones((int(runs.group.max()) + 1, 1))
    return float(genres.mean(genres.rates(runs.truth, runs.named, runs.seed, runs.group, once)[2], 1)[0])


def shown(figure: list[float]) -> list[str]:
    """Return a difference and its interval as two cells."""
    return [f"{figure[0]:+.3f}", f"{figure[1]:+.3f} to {figure[2]:+.3f}"]


def main() -> None:
    """Print both tables of each feature set."""
    options = parser(__doc__, "python -m benchmarks.models.balance --out OUT --models svm --models mlp --keep kept")
    options.add_argument("--out", type=Path, required=True, help="an OUT of gtzan and gtzan_crops")
    options.add_argument(
        "--models", action="append", choices=[*CLASSICAL_MODELS, *CLUSTERINGS, *NETWORKS], help="model; may be repeated"
    )
    options.add_argument("--feature-set", action="append", help="may be repeated (default: iiitd41)")
    options.add_argument("--epochs", action="append", type=of_model, default=[], help="MODEL=N, unless the model's own")
    options.add_argument("--window-s", action="append", type=of_model, default=[], help="MODEL=S, length of excerpts")
    options.add_argument("--seeds", type=int, default=5, help="of folds and weights (default: 5)")
    options.add_argument("--folds", type=int, default=3, help="parts of the artists (default: 3)")
    options.add_argument("--keep", type=Path, help="folder for the answers of each fold")
    asked = options.parse_args()
    one_thread()
    one_tensorflow_thread()
    warnings.filterwarnings("ignore", module="sklearn")
    if asked.keep:
        asked.keep.mkdir(parents=True, exist_ok=True)
    print_machine("scikit-learn", "numpy", "keras")
    for feature_set in asked.feature_set or ["iiitd41"]:
        tables(Store(asked.out), feature_set, asked)


def tables(store: Store, feature_set: str, asked: Namespace) -> None:
    """Print what is tested, and what inner folds choose."""
    lines, chosen, of_all = [], [], []
    for model in asked.models or MODELS:
        own = {"epochs": dict(asked.epochs).get(model), "window_s": dict(asked.window_s).get(model)}
        given = {"model": model, "feature_set": feature_set, "seed": 0} | own
        settings = with_defaults(TrainSettings.model_validate(given))
        if table_of(settings) != "features":
            unpack(store, table_of(settings))
        songs = load_training_set(store, settings)
        artists = pd.Series(songs.groups, songs.track_ids)
        rows = tested(store, songs, settings, asked)
        lines += of_tested(model, rows, artists, songs.classes)
        of_all.append(rows)
        if model not in NETWORKS:
            chosen.append(of_inner(model, inner(store, songs, settings, asked), rows, artists, songs.classes))
        print(f"{model} is done", file=sys.stderr, flush=True)
    lines += of_mean(of_all, artists)
    clear_unpacked(store)
    print(f"{feature_set}: {len(artists)} songs by {artists.nunique()} artists, {asked.folds} folds × {asked.seeds}")
    print("tested")
    head = ["model", "balance", "accuracy", "macro-F1", "Δ accuracy", "95 %", "Δ macro-F1", "95 %"]
    print_table(head, lines)
    if chosen:
        print("inner folds: accuracy / macro-F1")
        print_table(["model", *BALANCES, *(f"{b} chosen" for b in BALANCES), "tested: none", "nested"], chosen)


if __name__ == "__main__":
    main()
