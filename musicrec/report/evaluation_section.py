"""The report's evaluation section: models by split, pairs of models, scores by genre, and controls."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from musicrec.evaluate import controls, genres
from musicrec.evaluate.bootstrap import artist_groups
from musicrec.evaluate.comparison import compare, difference, hits_of, mcnemar
from musicrec.evaluate.controls import SHUFFLED
from musicrec.evaluate.summary import SPLITS, best_and_worst, hardest_split, ranked
from musicrec.report import evaluation_figures as pictures
from musicrec.report import figures
from musicrec.report.figures import data_uri
from musicrec.serve.known_artists import are_known, circles_of, tested_songs, without_artists
from musicrec.store.store import Store

Content = dict[str, Any]
Pairs = dict[tuple[str, str], dict[Any, Any]]  # rows of ``compare``, by first and second model

OVERALL = ("accuracy", "accuracy_std", "precision", "recall", "f1", "auc")
OF_GENRE = ("precision", "recall", "f1", "auc", "precision_at_half", "recall_at_half", "f1_at_half")
NO_ANSWER = "no answer"
SURE = 0.05


def evaluation(store: Store) -> Content | None:
    """Return the content of the section; None if `musicrec evaluate` has not run."""
    if not (store.exists("evaluation") and store.exists("scores")):
        return None
    scores = store.read("scores").to_pandas()
    if not are_known(store, tested_songs(store)):
        scores = scores[scores["split"] != "artist"]  # an older musicrec has taken songs without artists for artists
    split = hardest_split(scores)
    models = ranked(scores, split)
    if not models:
        return None
    columns = ["model", "seed", "track_id", "genre", "predicted"]
    answers = store.read("evaluation", columns, pc.field("split") == split).to_pandas()
    groups = artist_groups(circles_of(store, answers["track_id"].unique()), answers["track_id"])
    heard = [model for model in models if not model.endswith(SHUFFLED)]
    return {
        "split": SPLITS.get(split, split),
        "by_artist": split == "artist",
        "without_artists": without_artists(store),
        "folds": store.footer("evaluation")["lineage"].get("folds"),
        **_table_of_models(scores, models, split),
        "pairs": _pairs(answers[answers["model"].isin(heard)], groups, heard),
        "each": [_of_model(store, scores, groups, model, split) for model in heard or models],
        "curves": list(_curves(store, split)),
        "shuffles": list(_shuffles(answers, groups, models)),
        "source": _source(scores, split),
    }


# --- models by splits -----------------------------------------------------------------------------------------------


def _table_of_models(scores: pd.DataFrame, models: list[str], split: str) -> Content:
    splits = [name for name in SPLITS if name in set(scores["split"])] or [split]
    names = [*models, *(name for name in (controls.SOURCE_ALONE, controls.CONSTANT) if name in set(scores["model"]))]
    overall = scores[scores["genre"].isna()]
    accuracies = overall[(overall["metric"] == "accuracy") & overall["model"].isin(models)]
    accuracies = accuracies.sort_values("model", key=lambda column: column.map(models.index), kind="stable")
    chance = overall[(overall["model"] == controls.CONSTANT) & (overall["split"] == split)]["value"]
    return {
        "splits": [SPLITS.get(name, name) for name in splits],
        "models": [_row(overall, name, splits) for name in names],
        "extremes": [(model, found) for model in models if (found := best_and_worst(scores, model, split))],
        "intervals": data_uri(pictures.accuracy_intervals(accuracies, chance.iloc[0] if len(chance) else None)),
        "songs": int(accuracies["n_songs"].max()),
        "several_seeds": bool((accuracies["n_seeds"] > 1).any()),
    }


def _row(overall: pd.DataFrame, model: str, splits: list[str]) -> Content:
    rows = overall[overall["model"] == model]
    cells = [rows[rows["split"] == split].set_index("metric") for split in splits]
    return {
        "model": model,
        "control": model in (controls.SOURCE_ALONE, controls.CONSTANT),
        "seeds": int(rows["n_seeds"].max()),
        "cells": [_cell(cell) for cell in cells],
    }


def _cell(rows: pd.DataFrame) -> dict[Any, Any] | None:
    if "accuracy" not in rows.index:
        return None
    low, high = rows.loc["accuracy", ["low", "high"]]
    return {"low": low, "high": high, **rows["value"].reindex(list(OVERALL)).to_dict()}


# --- one model against another --------------------------------------------------------------------------------------


def _pairs(answers: pd.DataFrame, groups: pd.Series, models: list[str]) -> Content | None:
    """Compare every model (rows, best first) with the models below it (columns)."""
    if len(models) < 2:
        return None
    found: Pairs = {(pair["first"], pair["second"]): pair for pair in compare(answers, groups).to_dict("records")}
    rows = [
        (better, [_pair(found, better, other) if j >= i else None for j, other in enumerate(models[1:])])
        for i, better in enumerate(models[:-1])
    ]
    return {"columns": models[1:], "rows": rows}


def _pair(found: Pairs, better: str, other: str) -> Content | None:
    if (better, other) in found:
        pair = found[better, other]
        apart, low, high = (pair[name] for name in ("difference", "low", "high"))
    elif (other, better) in found:
        pair = found[other, better]
        apart, low, high = (-pair[name] for name in ("difference", "high", "low"))
    else:
        return None
    return {"apart": apart, "low": low, "high": high, "p": p_text(pair["p_holm"]), "sure": pair["p_holm"] < SURE}


def p_text(p: float) -> str:
    """Return the text of a p-value, such as ``p = 0.012``, or ``p < 0.001`` if it is smaller."""
    text = "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"
    return text.replace(" ", "\u00a0")


# --- each model -------------------------------------------------------------------------------------------------------


def _of_model(store: Store, scores: pd.DataFrame, groups: pd.Series, model: str, split: str) -> Content:
    wanted = (pc.field("split") == split) & (pc.field("model") == model)
    rows = store.read("evaluation", filter=wanted).to_pandas()
    classes = store.footer("evaluation")["lineage"].get("classes") or sorted(set(rows["genre"]))
    runs = genres.arrange(rows, groups, classes)
    of_model = scores[(scores["model"] == model) & (scores["split"] == split)]
    table = _genres(of_model, _mistaken(runs, classes))
    predicted = rows["predicted"].fillna(NO_ANSWER)
    confused = len(set(rows["genre"]) | set(predicted)) > 1
    return {
        "model": model,
        "seeds": rows["seed"].nunique(),
        "genres": table,
        "shown": figures.MAX_GENRES,
        "at_half": "f1_at_half" in set(of_model["metric"]),
        "mean": of_model[of_model["genre"].isna()].set_index("metric")["value"].reindex(list(OF_GENRE)).to_dict(),
        "roc": _roc(runs, classes, table),
        "matrix": data_uri(figures.confusion_matrix(rows["genre"], predicted)) if confused else None,
    }


def _genres(scores: pd.DataFrame, mistaken: dict[str, tuple[str, float] | None]) -> list[dict[Any, Any]]:
    """Return the scores of each genre that has songs, best F1 first."""
    known = scores[scores["genre"].notna() & (scores["n_songs"] > 0)]
    rows = []
    for genre, figures_ in known.groupby("genre"):
        by_metric = figures_.set_index("metric")
        low, high = by_metric.loc["f1", ["low", "high"]]
        songs = int(by_metric["n_songs"].max())
        values = by_metric["value"].reindex(list(OF_GENRE)).to_dict()
        rows.append({**values, "genre": genre, "low": low, "high": high, "songs": songs, "for": mistaken[str(genre)]})
    return sorted(rows, key=lambda row: (-row["f1"], row["genre"]))


def _mistaken(runs: genres.Runs, classes: list[str]) -> dict[str, tuple[str, float] | None]:
    """Return which wrong genre each genre's songs are most often given, and the share of its songs."""
    wrong = genres.confusion(runs)
    songs = runs.truth.sum(axis=0) / (runs.seed.max() + 1)
    np.fill_diagonal(wrong, 0)
    most = wrong.argmax(axis=1)
    return {
        genre: (classes[most[i]], wrong[i, most[i]] / songs[i]) if wrong[i, most[i]] > 0 else None
        for i, genre in enumerate(classes)
    }


def _roc(runs: genres.Runs, classes: list[str], table: list[dict[Any, Any]]) -> str | None:
    areas = {row["genre"]: row["auc"] for row in table if np.isfinite(row["auc"])}
    largest = set(pd.Series({row["genre"]: row["songs"] for row in table}).nlargest(figures.MAX_GENRES).index)
    shown = [genre for genre in sorted(areas, key=lambda genre: -areas[genre]) if genre in largest]
    columns = {genre: classes.index(genre) for genre in shown}
    curves = {g: genres.roc(runs.truth[:, i], runs.probabilities[:, i], runs.network) for g, i in columns.items()}
    return data_uri(pictures.roc_curves(curves, areas)) if curves else None


# --- networks and controls ------------------------------------------------------------------------------------------


def _curves(store: Store, split: str) -> Iterator[Content]:
    """Yield the learning curves of each network, over its folds and seeds."""
    if not store.exists("curves"):
        return
    rows = store.read("curves", filter=pc.field("split") == split).to_pandas()
    for model, history in rows.groupby("model", sort=True):
        epochs = history.groupby(["seed", "fold"])["epoch"].max()
        image = data_uri(figures.learning_curves(history))
        yield {"model": model, "runs": len(epochs), "stopped": epochs.nunique() > 1, "image": image}


def _shuffles(answers: pd.DataFrame, groups: pd.Series, models: list[str]) -> Iterator[Content]:
    """Yield the accuracy that each model loses if the frames are in random order."""
    for model in models:
        if model + SHUFFLED in models:
            whole, shuffled = (hits_of(answers[answers["model"] == name]) for name in (model, model + SHUFFLED))
            songs = whole.columns.intersection(shuffled.columns)
            if len(songs):
                lost = difference(whole[songs], shuffled[songs], groups.reindex(songs))
                p = p_text(mcnemar(whole[songs], shuffled[songs]).p)
                yield {"model": model, "lost": lost.mean, "low": lost.low, "high": lost.high, "p": p}


def _source(scores: pd.DataFrame, split: str) -> Content | None:
    """Return how well the source of a file predicts the genre, and how well the features predict the source."""
    rows = scores[(scores["split"] == split) & scores["genre"].isna()]
    known = {row["model"]: row for row in rows.to_dict("records") if row["metric"] in ("accuracy", "source_accuracy")}
    if controls.SOURCE_ALONE not in known:
        return None
    names = {
        "alone": controls.SOURCE_ALONE,
        "chance": controls.CONSTANT,
        "heard": controls.SOURCE_HEARD,
        "commonest": controls.CONSTANT_SOURCE,
    }
    return {short: known.get(name) for short, name in names.items()}
