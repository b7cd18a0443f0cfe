"""The report's section on ``OUT/tuning``: the best settings of each model, and validation curves around them."""

import json
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, PercentFormatter

from musicrec.models.tuning import best_params, to_text
from musicrec.report.figures import ACCENT, SECOND, WIDTH_IN, data_uri, styled
from musicrec.store.store import Store

WIDE = 10  # if the largest value is more than this many times the smallest, the axis is logarithmic


def section(store: Store) -> dict[str, Any] | None:
    """Return what the template prints; None if nothing was tuned."""
    if not store.exists("tuning"):
        return None
    table = store.read("tuning")
    rows = table.to_pandas()
    best = {str(model): best_params(table, str(model)) for model in rows["model"].unique()}
    return {
        "folds": rows["fold"].nunique(),
        "models": [_model(model, params, rows[rows["model"] == model]) for model, params in sorted(best.items())],
    }


def _model(model: str, best: dict[str, Any], rows: pd.DataFrame) -> dict[str, Any]:
    scores = rows[rows["candidate"] == to_text(best)]
    curves = validation_points(rows, best)
    return {
        "model": model,
        "best": ", ".join(f"{name} {value}" for name, value in best.items()),
        "tried": rows["candidate"].nunique(),
        "accuracy": scores["accuracy"].mean(),
        "spread": scores["accuracy"].std(ddof=0),
        "train_accuracy": scores["train_accuracy"].mean(),
        "curves": data_uri(validation_curves(curves)) if curves else None,
    }


def validation_points(rows: pd.DataFrame, best: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """Return the scores of the candidates that differ from the best in one number only.

    Parameters
    ----------
    rows : pandas.DataFrame
        Rows of one model, with columns candidate, accuracy and train_accuracy.
    best : dict
        Settings of the best candidate.

    Returns
    -------
    dict of pandas.DataFrame
        For each numeric setting with at least two values, one row per value, ascending: mean and standard deviation
        over folds, with columns ``accuracy`` and ``train_accuracy`` below ``mean`` and ``std``.
    """
    params = rows["candidate"].map(json.loads)
    found = {}
    for name, value in best.items():
        others = {k: v for k, v in best.items() if k != name}
        near = params.map(lambda p, n=name, o=others: n in p and {k: v for k, v in p.items() if k != n} == o)
        values = params[near].map(lambda p, n=name: p[n])
        if isinstance(value, int | float) and values.nunique() > 1:
            scores = rows.loc[near, ["accuracy", "train_accuracy"]].groupby(values)
            found[name] = pd.concat({"mean": scores.mean(), "std": scores.std(ddof=0)}, axis=1)
    return found


@styled
def validation_curves(points: dict[str, pd.DataFrame]) -> Figure:
    """Plot accuracy against each setting, on the training songs and on the songs that the inner folds hold out.

    Parameters
    ----------
    points : dict of pandas.DataFrame
        As returned by :func:`validation_points`.
    """
    figure = Figure(figsize=(WIDTH_IN, 2.9))
    axes = figure.subplots(1, len(points), sharey=True, squeeze=False)[0]
    for ax, (name, scores) in zip(axes, points.items(), strict=True):
        _curve(ax, name, scores)
    axes[0].yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    axes[0].set(ylabel="accuracy")
    axes[0].legend(loc="best")
    return figure


def _curve(ax: Axes, name: str, scores: pd.DataFrame) -> None:
    values = scores.index.to_numpy(np.float64)
    for column, colour, line, label in (
        ("train_accuracy", ACCENT, "-", "train"),
        ("accuracy", SECOND, (0, (4, 1.5)), "inner test"),
    ):
        mean, spread = scores["mean", column], scores["std", column]
        ax.plot(values, mean, color=colour, linestyle=line, marker="o", markersize=3, label=label)
        ax.fill_between(values, mean - spread, mean + spread, color=colour, alpha=0.12, linewidth=0)
    if values.min() > 0 and values.max() > WIDE * values.min():
        ax.set_xscale("log")
        ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xticks(values, [f"{value:g}" for value in values])
    ax.set(xlabel=name)
    ax.grid(axis="y")
