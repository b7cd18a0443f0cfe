"""What lists will hold at least, told before their songs meet any others: it keeps most of these away from the start.

A list of n ends with n songs no worse than the n-th best of any songs that it will meet. The nearer those are, the more
that says: where songs of one cluster stand together, it is asked of them. Where few songs meet many, a small sample of
all says more, but does not say it for sure.
"""

import math
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from musicrec.similarity.search import candidates
from musicrec.similarity.search.bounds import Frame, Vectors
from musicrec.similarity.search.candidates import Side

Rows: TypeAlias = slice | NDArray[np.int64]

AT_ONCE = 1024  # songs at most whose similarities are held; more of a cluster are not compared with each other
SAMPLE = 1024  # songs of all, about: more would cost more than they keep away


def start_from_clusters(frame: Frame, side: Side, starts: NDArray[np.int64]) -> None:
    """Let lists take nothing that is worse than what songs of the same cluster would fill them with.

    Parameters
    ----------
    frame : Frame
        In which the codes are written.
    side : Side
        Its lists are empty, and will meet all songs of their own cluster.
    starts : numpy.ndarray
        Places where clusters start and the last one ends; those outside the side are of clusters it has no songs of.
    """
    for start, stop in pairwise(np.unique(np.clip(starts, 0, len(side.songs)))):
        for first in range(start, stop, AT_ONCE):
            rows = slice(first, min(first + AT_ONCE, stop))
            about, own = _about_centre(frame, side, rows)
            side.limits[rows] = _limits(frame, about @ about.T + own.astype(np.float32), own, side.n + 1)


def guess_from_sample(frame: Frame, new: Side, side: Side) -> NDArray[Any]:
    """Let lists take nothing that is worse than what, going by a sample, they will end with.

    Parameters
    ----------
    frame : Frame
        In which the codes are written.
    new : Side
        Its lists are empty, and will meet all songs of `side`.
    side : Side
        Songs, alike ones in near places.

    Returns
    -------
    numpy.ndarray
        The limits. A list that ends with a song below its limit may lack others, and is to be made without.
    """
    living = np.flatnonzero(side.songs >= 0)
    sample = living[:: max(1, len(living) // SAMPLE)]
    in_list = (new.n + 1) * len(sample) / max(1, len(living))  # songs of the sample, on average; one is the song itself
    nth = math.ceil(in_list + 2 * math.sqrt(in_list)) + 2  # one guess in a hundred is too high, or none
    theirs, offsets = _about_centre(frame, side, sample)
    for first in range(0, len(new.songs), AT_ONCE):
        rows = slice(first, min(first + AT_ONCE, len(new.songs)))
        ours, own = _about_centre(frame, new, rows)
        new.limits[rows] = _limits(frame, ours @ theirs.T + offsets.astype(np.float32), own, nth)
    return new.limits.copy()


def _about_centre(frame: Frame, side: Side, which: Rows) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    return frame.about_centre(Vectors(side.vectors, side.inverse_norms, frame.unit).rows(which))


def _limits(frame: Frame, similarity: NDArray[Any], own: NDArray[np.float64], nth: int) -> NDArray[Any]:
    """Limits by the n-th largest of similarities [rows, songs], which lack each row's `own` part."""
    if similarity.shape[1] < nth:
        return np.full(len(own), candidates.NO_LIMIT)
    similarity.partition(-nth, axis=1)
    limits: NDArray[Any] = candidates.least_sum(frame.rule, similarity[:, -nth] + own + frame.rule.shift)
    return limits
