"""Percentile bootstrap over groups: whole artists are resampled, never single songs of an artist."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2000


def artist_groups(artists: pd.Series, track_ids: Iterable[str]) -> pd.Series:
    """Return the artist of each song, by track id; a song whose artist is not known is a group of its own.

    Parameters
    ----------
    artists : pandas.Series
        Artist by track id; null or empty where not known.
    track_ids : iterable of str
        Songs, in any number and order.
    """
    ids = pd.Index(track_ids).unique()
    named = artists.reindex(ids).replace("", None)
    return named.where(named.notna(), "song " + ids.to_series()).astype(str)


def draw_groups(n_groups: int, seed: int = 0) -> NDArray[np.int64]:
    """Draw groups at random: how often each one is drawn, int [RESAMPLES, n_groups]; rows add up to `n_groups`."""
    return np.random.default_rng(seed).multinomial(n_groups, np.full(n_groups, 1 / n_groups), RESAMPLES)


def interval(resampled: ArrayLike) -> tuple[float, float]:
    """Return the 95 % percentile interval of a figure over draws; draws that leave it undefined do not count."""
    values = np.asarray(resampled, np.float64)
    defined = values[~np.isnan(values)]
    low, high = np.quantile(defined, [0.025, 0.975]) if len(defined) else (np.nan, np.nan)
    return float(low), float(high)
