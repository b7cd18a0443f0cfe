"""Figures of the evaluation section: they take data frames and arrays, and return matplotlib figures."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from musicrec.evaluate.genres import FALSE_POSITIVE_RATES
from musicrec.evaluate.summary import SPLITS
from musicrec.report.figures import ACCENT, MARKERS, MUTED, PALETTE, RULE, SECOND, WIDTH_IN, label, styled

DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)))


@styled
def accuracy_intervals(accuracies: pd.DataFrame, chance: float | None) -> Figure:
    """Plot the accuracy of each model on each split with its interval, the first model at the top.

    Parameters
    ----------
    accuracies : pandas.DataFrame
        Columns ``model``, ``split``, ``value``, ``low`` and ``high``; one row per model and split.
    chance : float or None
        Accuracy of always predicting the commonest genre, on the hardest of the splits.
    """
    models = list(accuracies["model"].unique())
    splits = sorted(accuracies["split"].unique(), reverse=True)
    figure = Figure(figsize=(WIDTH_IN, 1.0 + 0.34 * len(models)))
    ax = figure.add_subplot()
    for i, (split, colour) in enumerate(zip(splits, [MUTED, ACCENT][-len(splits) :], strict=False)):
        rows = accuracies[accuracies["split"] == split]
        y = rows["model"].map(models.index) + 0.13 * (2 * i - 1) * (len(splits) > 1)
        reach = np.abs(rows[["low", "high"]].to_numpy().T - rows["value"].to_numpy())
        ax.errorbar(
            rows["value"],
            y,
            xerr=reach,
            fmt=MARKERS[i],
            color=colour,
            markersize=5,
            elinewidth=1.4,
            label=SPLITS.get(split, split),
        )
    if chance is not None:
        of_split = f" ({SPLITS.get(splits[-1], splits[-1])})" if len(splits) > 1 else ""
        ax.axvline(
            chance, color=SECOND, linewidth=1, linestyle=DASHES[1], label=f"always the commonest genre{of_split}"
        )
    ax.set_yticks(range(len(models)), [label(model, 30) for model in models])
    ax.set_ylim(len(models) - 0.5, -0.5)
    ax.set_xlim(0, 1)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    ax.grid(axis="x")
    ax.tick_params(left=False)
    ax.spines["left"].set_visible(False)
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3)
    return figure


@styled
def roc_curves(curves: dict[str, npt.NDArray[np.float64]], areas: dict[str, float]) -> Figure:
    """Plot the ROC curve of each genre, with the area under it in the legend.

    Parameters
    ----------
    curves : dict of str to ndarray
        True-positive rate at each of ``musicrec.evaluate.genres.FALSE_POSITIVE_RATES``, by genre.
    areas : dict of str to float
        Area under each curve.
    """
    figure = Figure(figsize=(WIDTH_IN, 5.0))
    ax = figure.add_subplot()
    ax.plot([0, 1], [0, 1], color=RULE, linewidth=1)
    for i, (genre, curve) in enumerate(curves.items()):
        name = f"{label(genre, 20)}  {areas[genre]:.3f}"
        style = DASHES[i // len(PALETTE) % len(DASHES)]
        (line,) = ax.plot(FALSE_POSITIVE_RATES, curve, color=PALETTE[i % len(PALETTE)], linestyle=style, linewidth=1.4)
        line.set_label(name.replace("_", " ", 1).lstrip())  # matplotlib hides "_names"
    ax.set(xlabel="false-positive rate: other songs given the genre", ylabel="true-positive rate: its songs found")
    ax.set(xlim=(0, 1), ylim=(0, 1.01), aspect="equal")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    ax.grid()
    ax.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), title="genre, AUC", alignment="left", labelspacing=0.6)
    return figure
