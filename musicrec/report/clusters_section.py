"""The report's section on a clustering: its measures, its sweep, and a map of the songs by cluster."""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from musicrec.files.parquet import read_parquet
from musicrec.files.paths import AnyPath
from musicrec.report import figures
from musicrec.report.figures import WIDTH_IN, data_uri, styled
from musicrec.report.numbers import SEED

MAX_SHOWN = 2000  # points of more songs would hide each other


def clusters(folder: AnyPath, description: dict[str, Any]) -> dict[str, Any] | None:
    """Return measures and figures of the clustering in a model's folder; None if the model is not a clustering.

    Parameters
    ----------
    folder : pathlib.Path or upath.UPath
        Folder of the model.
    description : dict
        Content of its ``model.json``.
    """
    if "clustering" not in description:
        return None
    table = read_parquet(folder / "clusters.parquet", ["cluster", "point"]).to_pandas()
    songs = table.sample(MAX_SHOWN, random_state=SEED) if len(table) > MAX_SHOWN else table
    swept = read_parquet(folder / "sweep.parquet").to_pandas().dropna(subset=["silhouette"])
    return {
        **description["clustering"],
        "songs": len(table),
        "shown": len(songs),
        "map": data_uri(cluster_map(np.stack(songs["point"]), songs["cluster"])),
        "sweep": data_uri(sweep_lines(swept)) if len(swept) else None,
    }


def cluster_map(points: npt.NDArray[np.float32], found: "pd.Series[int]") -> Figure:
    """Draw the songs in the plane in which they were clustered, one colour and marker per cluster.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
    found : pandas.Series
        Cluster of each point, -1 for no cluster.
    """
    digits = len(str(max(found.max() + 1, 1)))
    names = ("cluster " + (found + 1).astype(str).str.zfill(digits)).where(found >= 0, figures.NO_CLUSTER)
    folded = figures.fold_rare(names, figures.MAX_GENRES - 1).replace(figures.OTHER, figures.OTHER_CLUSTERS)
    return figures.song_map(points, folded)


@styled
def sweep_lines(swept: pd.DataFrame) -> Figure:
    """Plot the silhouette against the number of clusters, one line per algorithm and number of components.

    Parameters
    ----------
    swept : pandas.DataFrame
        Columns of ``musicrec.schemas.SWEEP``, without rows that lack a silhouette.
    """
    figure = Figure(figsize=(WIDTH_IN, 3.4))
    ax = figure.add_subplot()
    styles = itertools.cycle(zip(figures.PALETTE, itertools.cycle(figures.MARKERS), strict=False))
    lines = swept.sort_values(["clusters", "asked"]).groupby(["algorithm", "components"])
    for (name, components), line in lines:
        colour, marker = next(styles)
        label = f"{name}, {components} components"
        ax.plot(line["clusters"], line["silhouette"], color=colour, marker=marker, markersize=4, label=label)
    ax.set(xlabel="clusters", ylabel="silhouette")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=figures.ROUND_STEPS))
    ax.grid(axis="y")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
