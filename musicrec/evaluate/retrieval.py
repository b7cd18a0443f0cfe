"""Measures of lists of similar songs: what they find, and how they spread over the catalog.

Conventions
-----------
Lists are ``ids``, int32 [n_songs, k]: row numbers, best first, -1 after the end of a list. Labels (genre, artist,
recording) are an array [n_songs]; a song without one (None, NaN or empty) matches no other. Figures are float64
[n_songs], one for each list, NaN where a list cannot be judged.

Metrics
-------
Precision at k, average precision of a whole ranking, recall at k; diversity within a list; hubness. Two songs of one
artist are often from one session: without an artist filter, genre figures in part measure how well it is recognised
(Flexer, Schnitzer: "Effects of album and artist filters in audio similarity computed for very large music databases",
Computer Music Journal 34(3), 2010).
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from musicrec.evaluate.classification import Accuracy, accuracy
from musicrec.similarity.list_quality import Quality, quality

Ids = NDArray[np.int32]
Figures = NDArray[np.float64]
Rows = NDArray[np.integer]


def alike(ids: Ids, labels: ArrayLike, rows: Rows | None = None) -> NDArray[np.bool_]:
    """Return which songs of a list have the label of its song, bool of the shape of `ids`: lists of `rows`, or all."""
    codes = _codes(labels)
    own = (codes if rows is None else codes[rows])[:, None]
    return (ids >= 0) & (own >= 0) & (codes[ids] == own)


def precision_at_k(ids: Ids, labels: ArrayLike, k: int, rows: Rows | None = None) -> Figures:
    """Return the share of the first `k` songs of a list that have the label of its song; a missing one is no hit."""
    figures = alike(ids[:, :k], labels, rows).sum(axis=1) / k
    codes = _codes(labels)
    return np.where((codes if rows is None else codes[rows]) >= 0, figures, np.nan)


def average_precision(ids: Ids, labels: ArrayLike, rows: Rows | None = None) -> Figures:
    """Return the mean precision of a list, down to each song in it that has the label of the list's song.

    Parameters
    ----------
    ids : numpy.ndarray
        Rankings of all songs that may be found: songs that are not in them do not count as missed.
    labels : array_like
        [n_songs].
    rows : numpy.ndarray, optional
        The songs that the lists are of, by default all.
    """
    hits = alike(ids, labels, rows)
    found = hits.sum(axis=1)
    precision = np.cumsum(hits, axis=1) / np.arange(1, ids.shape[1] + 1)
    return np.where(found > 0, (precision * hits).sum(axis=1) / np.maximum(1, found), np.nan)


def recall_at_k(ids: Ids, labels: ArrayLike, k: int, wanted: ArrayLike | None = None) -> Figures:
    """Return the share of the songs with a song's label that the first `k` of its list hold; at most `k` count.

    Parameters
    ----------
    ids : numpy.ndarray
        Lists of all songs.
    labels : array_like
        [n_songs], such as the recording that a clip is of.
    k : int
        How many are looked at.
    wanted : array_like, optional
        bool [n_songs], which songs count when they are found, such as whole clips; by default all.
    """
    codes = _codes(labels)
    counts = np.ones(len(codes), bool) if wanted is None else np.asarray(wanted, bool)
    of_label = np.bincount(codes[counts & (codes >= 0)], minlength=codes.max(initial=0) + 1)
    others = np.where(codes >= 0, of_label[codes] - counts, 0)
    found = (alike(ids[:, :k], labels) & counts[ids[:, :k]]).sum(axis=1)
    return np.where(others > 0, found / np.clip(others, 1, k), np.nan)


def diversity(ids: Ids, vectors: ArrayLike) -> Figures:
    """Return the intra-list diversity: the mean of 1 - cosine over all pairs of songs of a list.

    To compare several embeddings, measure all in one space, such as that of the features, not each in its own.
    """
    x = np.asarray(vectors, np.float64)
    norm = np.sqrt((x * x).sum(axis=1, keepdims=True))
    unit = np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)
    there = ids >= 0
    total = np.zeros((len(ids), x.shape[1]))
    for k in range(ids.shape[1]):
        total += np.where(there[:, k : k + 1], unit[ids[:, k]], 0)
    itself = np.where(there, (norm[:, 0] > 0)[ids], False).sum(axis=1)
    n = there.sum(axis=1)
    cosines = (total * total).sum(axis=1) - itself  # the sum over all ordered pairs
    return np.where(n > 1, 1 - cosines / np.maximum(1, n * (n - 1)), np.nan)


def random_rankings(n_songs: int, seed: int = 0) -> Ids:
    """Return all other songs in random order, int32 [n_songs, n_songs - 1]: the baseline."""
    others = np.tile(np.arange(max(0, n_songs - 1), dtype=np.int32), (n_songs, 1))
    others += others >= np.arange(n_songs)[:, None]
    return np.random.default_rng(seed).permuted(others, axis=1)


class Retrieval(NamedTuple):
    """Figures of lists: means over songs, the first two with their interval over artists.

    The first two count only songs that have something to find: with an artist filter, no song of a genre of one artist.
    """

    precision: Accuracy  # share of the first k that have the song's genre
    mean_average_precision: Accuracy  # a hit is a song of the same genre
    same_artist: float  # share of the first k that are by the song's own artist
    diversity: float  # within the first k
    hubs: Quality  # hubness of the first k


def retrieval(ids: Ids, genres: ArrayLike, artists: ArrayLike, vectors: ArrayLike, k: int) -> Retrieval:
    """Judge whole rankings.

    Parameters
    ----------
    ids : numpy.ndarray
        int32 [n_songs, n], of all songs that may be found.
    genres, artists : array_like
        [n_songs].
    vectors : array_like
        [n_songs, d], space in which diversity is measured.
    k : int
        How many songs of a list are looked at; the average precision looks at all.

    Raises
    ------
    ValueError
        No song has a genre, or none has another song of its genre to find.
    """
    codes = _codes(artists)
    groups = np.where(codes >= 0, codes, codes.max(initial=-1) + 1 + np.arange(len(codes)))
    first = ids[:, :k]
    averages = average_precision(ids, genres)
    return Retrieval(
        precision=accuracy(np.where(np.isnan(averages), np.nan, precision_at_k(ids, genres, k)), groups),
        mean_average_precision=accuracy(averages, groups),
        same_artist=_mean(precision_at_k(ids, artists, k)),
        diversity=_mean(diversity(first, vectors)),
        hubs=quality(first),
    )


def _mean(figures: Figures) -> float:
    defined = figures[~np.isnan(figures)]
    return float(defined.mean()) if len(defined) else float("nan")


def _codes(labels: ArrayLike) -> NDArray[np.int64]:
    """Return equal numbers for equal labels, -1 for none."""
    values = np.asarray(labels)
    codes = pd.factorize(values, use_na_sentinel=True)[0]
    return np.where(values == "", -1, codes)
