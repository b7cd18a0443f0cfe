"""Limits that lists start with, so that they take few candidates which they would drop again.

A list of n ends with n songs no worse than the n-th best of any songs that it is compared with. The more similar those
are, the higher the limit. Where the songs of a cluster stand together, the limit comes from them. Where few songs are
compared with many, a small sample of all songs gives a higher limit, but one that may be wrong.
"""

import math
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from musicrec.similarity.search.bounds import Projection, Vectors
from musicrec.similarity.search.candidates import CandidateLists
from musicrec.similarity.search.codes import UNDERFLOW
from musicrec.similarity.search.score_keys import NO_LIMIT, least_sums

Rows: TypeAlias = slice | NDArray[np.int64]

AT_ONCE = 1024  # most songs whose similarities are held; in a larger cluster, each block of so many is compared
SAMPLE = 1024  # about so many songs of all; more would cost more time than they save


def start_from_clusters(projection: Projection, lists: CandidateLists, starts: NDArray[np.int64]) -> None:
    """Set limits, so that lists take nothing worse than what songs of the same cluster would fill them with.

    Parameters
    ----------
    projection : Projection
        By which the codes were made.
    lists : CandidateLists
        They are empty, and will be compared with all songs of their own cluster.
    starts : numpy.ndarray
        Places where clusters start and the last one ends; those outside belong to clusters without a song here.
    """
    for start, stop in pairwise(np.unique(np.clip(starts, 0, len(lists.songs)))):
        for first in range(start, stop, AT_ONCE):
            rows = slice(first, min(first + AT_ONCE, stop))
            centred, own = _about_centre(projection, lists, rows)
            similar = centred @ centred.T + own.astype(np.float32)
            lists.limits[rows] = _limits(projection, similar, own, lists.inverse_norms[rows], lists.depth + 1)


def guess_from_sample(projection: Projection, new: CandidateLists, lists: CandidateLists) -> NDArray[Any]:
    """Guess limits from a sample, so that lists take nothing worse than what they are likely to end with.

    Parameters
    ----------
    projection : Projection
        By which the codes were made.
    new : CandidateLists
        They are empty, and will be compared with all songs of `lists`.
    lists : CandidateLists
        Songs, similar ones in near places.

    Returns
    -------
    numpy.ndarray
        The limits. A list that ends with a song below its limit may miss others, and must be made without a guess.
    """
    living = np.flatnonzero(lists.songs >= 0)
    sample = living[:: max(1, len(living) // SAMPLE)]
    # The mean number of songs of the sample in a list; one more is the song itself.
    in_list = (new.depth + 1) * len(sample) / max(1, len(living))
    nth = math.ceil(in_list + 2 * math.sqrt(in_list)) + 2  # at most one guess in a hundred is too high
    theirs, offsets = _about_centre(projection, lists, sample)
    for first in range(0, len(new.songs), AT_ONCE):
        rows = slice(first, min(first + AT_ONCE, len(new.songs)))
        ours, own = _about_centre(projection, new, rows)
        similar = ours @ theirs.T + offsets.astype(np.float32)
        new.limits[rows] = _limits(projection, similar, own, new.inverse_norms[rows], nth)
    return new.limits.copy()


def _about_centre(
    projection: Projection, lists: CandidateLists, which: Rows
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    return projection.about_centre(Vectors(lists.vectors, lists.inverse_norms, projection.unit).rows(which))


def _limits(
    projection: Projection,
    similarity: NDArray[Any],
    own: NDArray[np.float64],
    factors: NDArray[np.float64],
    nth: int,
) -> NDArray[Any]:
    """Return limits from the n-th largest of similarities [rows, songs], which lack each row's `own` term."""
    if similarity.shape[1] < nth:
        return np.full(len(own), NO_LIMIT)
    similarity.partition(-nth, axis=1)
    limits = np.empty(len(own))
    nth_best = similarity[:, -nth] + own + projection.scale.shift - UNDERFLOW
    least_sums(projection.scale, nth_best, factors, limits)
    return limits
