"""Figures of the report: they take arrays and data frames, and return matplotlib figures.

They do not use pyplot, so no state remains between two pages. Every figure has a transparent background and dark ink;
on a dark page the style sheet inverts it. Colours come with marker shapes, so that readers need not tell colours apart.
"""

import base64
import io
import warnings
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn.metrics import ConfusionMatrixDisplay

from musicrec.report.numbers import NO_GENRE

WIDTH_IN = 9.0
MAX_GENRES = 20  # more bars, cells or colours than this are not legible
OTHER = "other genres"
OTHER_CLUSTERS, NO_CLUSTER = "other clusters", "no cluster"
GREY = (OTHER, NO_GENRE, OTHER_CLUSTERS, NO_CLUSTER)  # groups that are grey in a map
INK, MUTED, RULE, ACCENT, SECOND = "#24292f", "#6a737d", "#d8dee4", "#2f6690", "#c8553d"
# After Paul Tol's "muted" scheme, which is safe for colour-blind readers; sky blue and sand are darkened for white.
PALETTE = ("#332288", "#cc6677", "#44aa99", "#999933", "#3f9fd8", "#882255", "#117733", "#ddaa33", "#aa4499", "#5c5c5c")
MARKERS = "osD^v"
ROUND_STEPS = [1, 2, 5, 10]
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same page on every machine
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a genre may contain dollar signs
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "savefig.transparent": True,
    "savefig.dpi": 150,
    "svg.hashsalt": "musicrec",
}
styled = mpl.rc_context(STYLE)


@styled
def data_uri(figure: Figure) -> str:
    """Return the figure as an SVG image in a ``data:`` URI; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the page's tables show such a name in full
        unsigned = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=unsigned)
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def label(name: str, length: int = 24) -> str:
    """Return `name` for use in a figure: printable, and at most `length` characters long."""
    printable = "".join(c if c.isprintable() else " " for c in name)
    return printable if len(printable) <= length else printable[: length - 1] + "…"


def fold_rare(genres: pd.Series, most: int = MAX_GENRES) -> pd.Series:
    """Replace all but the `most` commonest genres by ``other genres``."""
    counts = genres.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    return genres if len(counts) <= most else genres.where(genres.isin(counts.index[:most]), OTHER)


@styled
def genre_bars(genres: pd.Series) -> Figure:
    """Draw the number of songs in each of the largest genres, the largest at the top.

    Parameters
    ----------
    genres : pandas.Series
        One entry per song.
    """
    counts = genres.value_counts().sort_index().sort_values(ascending=False, kind="stable")[:MAX_GENRES][::-1]
    figure = Figure(figsize=(WIDTH_IN, 0.6 + 0.25 * len(counts)))
    ax = figure.add_subplot()
    bars = ax.barh([label(g) for g in counts.index], counts, color=ACCENT, height=0.72)
    ax.bar_label(bars, fmt="{:,.0f}", padding=4)
    ax.spines[["bottom", "left"]].set_visible(False)
    ax.tick_params(left=False, bottom=False, labelbottom=False)
    ax.margins(x=0.06, y=0.01)
    return figure


@styled
def confusion_matrix(truth: pd.Series, predicted: pd.Series) -> Figure:
    """Draw the songs of each genre (rows) by predicted genre (columns).

    Parameters
    ----------
    truth, predicted : pandas.Series
        One entry per song.
    """
    common = set(fold_rare(pd.concat([truth, predicted])))
    folded = [names.where(names.isin(common), OTHER) for names in (truth, predicted)]
    names = sorted({*folded[0], *folded[1]}, key=lambda g: (g == OTHER, g))
    figure = Figure(figsize=(WIDTH_IN, 1.6 + 0.36 * len(names)))
    ax = figure.add_subplot()
    display = ConfusionMatrixDisplay.from_predictions(
        *folded, labels=names, display_labels=[label(g, 20) for g in names],
        cmap="Blues", colorbar=False, xticks_rotation=45, ax=ax,
    )  # fmt: skip
    for text in display.text_.flat:
        text.set_text("" if text.get_text() == "0" else text.get_text())
    ax.set(xlabel="predicted genre", ylabel="true genre")
    for tick in ax.get_xticklabels():
        tick.set(horizontalalignment="right", rotation_mode="anchor")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return figure


@styled
def learning_curves(history: pd.DataFrame) -> Figure:
    """Plot loss and accuracy of each epoch, on the training songs and on the test songs.

    Parameters
    ----------
    history : pandas.DataFrame
        Columns of ``musicrec.schemas.HISTORY``, one row per epoch. For several networks, their mean is drawn in a band
        of one standard deviation.
    """
    figure = Figure(figsize=(WIDTH_IN, 2.9))
    for ax, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        _curve(ax, history, quantity, color=ACCENT, label="train")
        _curve(ax, history, f"test_{quantity}", color=SECOND, linestyle=(0, (4, 1.5)), label="test")
        ax.set(title=quantity, xlabel="epoch")
        ax.set_xlim(0, None)
        ax.set_ylim(0, 1.02 if quantity == "accuracy" else None)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=ROUND_STEPS))
        ax.grid(axis="y")
        ax.legend(loc="best")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    return figure


def _curve(ax: Axes, history: pd.DataFrame, quantity: str, **style: Any) -> None:  # noqa: ANN401 - matplotlib's
    by_epoch = history.groupby("epoch")[quantity]
    mean, spread = by_epoch.mean(), by_epoch.std(ddof=0)
    ax.plot(mean.index, mean, **style)
    if by_epoch.size().max() > 1:
        ax.fill_between(mean.index, mean - spread, mean + spread, color=style["color"], alpha=0.15, linewidth=0)


@styled
def song_map(points: npt.NDArray[np.float32], genres: pd.Series, shares: tuple[float, float] | None = None) -> Figure:
    """Draw the songs on a plane, one colour and marker per genre.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
    genres : pandas.Series
        Genre of each point.
    shares : tuple of float, optional
        Share of the variance that lies along each axis, if the axes are principal components.
    """
    figure = Figure(figsize=(WIDTH_IN, 5.8))
    ax = figure.add_subplot()
    shown = fold_rare(genres).to_numpy()
    names = sorted(set(shown) - set(GREY))
    styles = [(name, PALETTE[i % 10], MARKERS[(i + i // 10) % 5]) for i, name in enumerate(names)]
    styles += [(name, "#b0b7bf", ".") for name in GREY if name in shown]
    size = float(np.clip(6000 / len(points), 10, 30))  # points²
    handles = []
    for name, colour, marker in styles:
        x, y = points[shown == name].T
        ax.scatter(x, y, s=size, c=colour, marker=marker, alpha=0.85, linewidths=0, rasterized=len(points) > 500)
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle="", markersize=5))
    names = [label(name).replace("_", " ", 1).lstrip() for name, *_ in styles]  # matplotlib hides "_names"
    ax.legend(handles, names, loc="center left", bbox_to_anchor=(1.0, 0.5), labelspacing=0.7)
    ax.set(xticks=[], yticks=[])
    if shares:
        ax.set_xlabel(f"first principal component, {shares[0]:.0%} of the variance".replace("%", " %"))
        ax.set_ylabel(f"second, {shares[1]:.0%}".replace("%", " %"))
    ax.spines[:].set_visible(True)
    ax.spines[:].set_color(RULE)
    return figure


@styled
def feature_histograms(features: pd.DataFrame, columns: int = 6) -> Figure:
    """Draw a small histogram of each feature between its 1st and its 99th percentile.

    Parameters
    ----------
    features : pandas.DataFrame, shape (n_songs, n_features)
    columns : int
        Number of histograms side by side.
    """
    rows = -(-features.shape[1] // columns)
    figure = Figure(figsize=(WIDTH_IN, 0.3 + 1.05 * rows))
    figure.set_layout_engine("none")
    ax = figure.add_axes((0.01, 0, 0.98, 1))  # one for all: an Axes for each histogram takes ten times as long to draw
    ax.set(xlim=(0, columns - 0.1), ylim=(rows + 0.05, -0.02))
    ax.set_axis_off()
    cells = [(i % columns, i // columns) for i in range(features.shape[1])]
    for name, (left, top) in zip(features.columns, cells, strict=True):
        _small_histogram(ax, features[name].to_numpy(np.float64), label(name, 25), left, top)
    return figure


def _small_histogram(ax: Axes, values: npt.NDArray[np.float64], title: str, left: float, top: float) -> None:
    """Draw a histogram with its title and its range into the square of side 1 whose upper left corner is given."""
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, [1, 99]) if len(finite) else (0.0, 1.0)
    if not np.spacing(max(abs(low), abs(high))) * 100 < high - low:  # constant, except for rounding
        low, high = low - 0.5, high + 0.5
    counts, _ = np.histogram(finite, bins=24, range=(low, high))
    right, bottom = left + 0.9, top + 0.82
    heights = 0.62 * counts / max(counts.max(), 1)
    ax.stairs(bottom - heights, np.linspace(left, right, 25), baseline=bottom, fill=True, color=ACCENT)
    ax.plot([left, right], [bottom, bottom], color=MUTED, linewidth=0.6)
    ax.text(left, top + 0.17, title, fontsize=7, ha="left", va="bottom")
    ax.text(left, bottom + 0.03, _short(low), fontsize=6, color=MUTED, ha="left", va="top")
    ax.text(right, bottom + 0.03, _short(high), fontsize=6, color=MUTED, ha="right", va="top")


def _short(value: float) -> str:
    """Format a number with three digits, and without an exponent if that is short."""
    plain = f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"
    return plain.replace("e-0", "e-").replace("-", "−")


@styled
def feature_correlations(features: pd.DataFrame) -> Figure:
    """Draw the Pearson correlation of every pair of features as a heat map.

    Parameters
    ----------
    features : pandas.DataFrame, shape (n_songs, n_features)
    """
    finite = features.astype(np.float64).replace([np.inf, -np.inf], np.nan)
    n = features.shape[1]
    names = [label(name, 28) for name in features.columns]
    size = float(np.clip(300 / n, 4.5, 9))
    letters = max(len(name) for name in names)
    room = 0.1 + 0.65 * size / 72 * letters  # inches that the names need: a letter is about 0.6 times as wide as high
    side = WIDTH_IN * 0.92 - room
    figure = Figure(figsize=(WIDTH_IN, side + room))
    figure.set_layout_engine("none")
    ax = figure.add_axes((room / WIDTH_IN, room / (side + room), side / WIDTH_IN, side / (side + room)))
    image = ax.imshow(finite.corr(), cmap="RdBu_r", vmin=-1, vmax=1)
    ax.set_axis_off()
    for i, name in enumerate(names):  # as texts: ticks take several times as long
        ax.annotate(name, (-0.5, i), (-2, 0), textcoords="offset points", fontsize=size, ha="right", va="center")
        ax.annotate(
            name, (i, n - 0.5), (0, -2), textcoords="offset points", fontsize=size, rotation=90, ha="center", va="top"
        )
    beside = figure.add_axes(((room + side) / WIDTH_IN + 0.012, 0.5, 0.013, 0.35))
    bar = figure.colorbar(image, cax=beside, ticks=[-1, -0.5, 0, 0.5, 1])
    bar.outline.set_visible(False)
    return figure


@styled
def occurrence_histogram(counts: npt.NDArray[np.int64], expected: float) -> Figure:
    """Draw a histogram of the number of lists that a song is in.

    Parameters
    ----------
    counts : ndarray of int, shape (n_songs,)
        Number of lists that each song is in.
    expected : float
        Mean number of lists that a song is in.
    """
    figure = Figure(figsize=(WIDTH_IN, 2.9))
    ax = figure.add_subplot()
    step = max(1, -(-(int(counts.max()) + 1) // 60))
    edges = np.arange(0, counts.max() + 1 + step, step) - 0.5
    ax.hist(counts, bins=edges.tolist(), color=ACCENT, rwidth=0.92)
    ax.axvline(expected, color=SECOND, linewidth=1.2, linestyle=(0, (4, 1.5)))
    ax.annotate(f"mean {expected:.3g}", (expected, 1), (4, -2), xycoords=ax.get_xaxis_transform(),
                textcoords="offset points", color=SECOND, va="top")  # fmt: skip
    ax.set(xlabel="number of lists that a song is in", ylabel="songs")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=ROUND_STEPS))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True, steps=ROUND_STEPS))
    ax.grid(axis="y")
    return figure
