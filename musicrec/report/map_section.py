"""The report's maps of the songs: t-SNE and principal components of what they are compared by."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from musicrec.report import figures, numbers
from musicrec.report.figures import data_uri
from musicrec.report.numbers import NO_GENRE
from musicrec.report.samples import sampled
from musicrec.settings import OWN_SPACES, Metric
from musicrec.store.spaces import table_of
from musicrec.store.store import Store

Content = dict[str, Any]

MAX_MAPPED = 1000  # a t-SNE of more songs shows no more, and would take most of the time of a small refresh
LEAST_MAPPED = 5
EMBEDDINGS, FEATURES = OWN_SPACES


class Mapped(NamedTuple):
    """Songs that a map shows."""

    track_ids: pd.Series
    vectors: npt.NDArray[np.float32]  # [n, d]
    songs: int  # of the table


def maps(store: Store, genres: "pd.Series[str] | None") -> Content | None:
    """Map the songs by their embeddings, or by the first space of the published table if there are none.

    Returns
    -------
    dict or None
        None if songs are compared by nothing but their features, which have a section of their own.
    """
    space = _space(store)
    if space is None:
        return None
    found = _mapped(store, space)
    content: Content = {"space": space, "songs": found.songs, "mapped": len(found.vectors), "map": None}
    if len(found.vectors) < LEAST_MAPPED:
        return content
    metric: Metric = store.settings.recorded("similar").get("metric", "cosine")
    named = genres_of(found.track_ids, genres).fillna(NO_GENRE)
    plane = numbers.principal_plane(numbers.directions(found.vectors) if metric == "cosine" else found.vectors)
    return {
        **content,
        "dimensions": found.vectors.shape[1],
        "metric": metric,
        "map": data_uri(figures.song_map(numbers.project(found.vectors, metric), named)),
        "principal": data_uri(figures.song_map(plane.points, named, plane.shares)),
    }


def genres_of(ids: pd.Series, genres: "pd.Series[str] | None") -> pd.Series:
    """Return the genre of each song."""
    return pd.Series(NO_GENRE, ids.index) if genres is None else ids.map(genres)


def _space(store: Store) -> str | None:
    if store.exists(EMBEDDINGS):
        return EMBEDDINGS
    compared = store.footer("similar")["lineage"].get("spaces", {}) if store.exists("similar") else {}
    vectors = [name for name in compared if name not in OWN_SPACES and store.exists(table_of(name))]
    return next((name for name in vectors if "embedding" in store.dataset(table_of(name)).schema.names), None)


def _mapped(store: Store, space: str) -> Mapped:
    table, songs = sampled(store, table_of(space), ["track_id", "embedding"], MAX_MAPPED)
    table = table.filter(pc.is_valid(table["embedding"]))
    vectors = pc.list_flatten(table["embedding"]).to_numpy().reshape(len(table), -1 if len(table) else 0)
    is_finite = np.isfinite(vectors).all(axis=1)
    return Mapped(table.filter(pa.array(is_finite))["track_id"].to_pandas(), vectors[is_finite], songs)
