"""What lists will hold at least, known before their songs meet any others: it keeps most of these away from the start.

A list of n ends with n songs no worse than the n-th best of any songs that it will meet. The nearer those are, the more
that says; so it is asked of songs that stand in near places.
"""

from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from musicrec.similarity import lists
from musicrec.similarity.bounds import Frame, Vectors
from musicrec.similarity.lists import Side

Rows: TypeAlias = slice | NDArray[np.int64]

ALIKE = 1024  # songs of a cluster, at most, that are compared with each other
SAMPLE = 16_384  # songs of all, at most, to find near ones among
SIGHTED, NEAR, NEAR_ROWS = 16, 256, 16  # every so many of them are looked at first, then so many to either side


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
        for first in range(start, stop, ALIKE):
            rows = slice(first, min(first + ALIKE, stop))
            about, own = _about_centre(frame, side, rows)
            _set_limits(frame, side, rows, about @ about.T + own.astype(np.float32), own)


def start_from_near(frame: Frame, new: Side, side: Side) -> None:
    """Let lists take nothing that is worse than what near songs of a sample would fill them with.

    Parameters
    ----------
    frame : Frame
        In which the codes are written.
    new : Side
        Its lists are empty, and will meet all songs of `side`.
    side : Side
        Songs, alike ones in near places.
    """
    if len(new.songs) == 0:
        return
    living = np.flatnonzero(side.songs >= 0)
    sample = living[:: max(1, len(living) // SAMPLE)]
    reach = max(NEAR, new.n + 1)
    ours, own = _about_centre(frame, new, slice(None))
    theirs, offsets = _about_centre(frame, side, sample)
    offsets = offsets.astype(np.float32)
    nearest = (ours @ theirs[::SIGHTED].T + offsets[::SIGHTED]).argmax(axis=1) * SIGHTED
    order = np.argsort(nearest, kind="stable")
    for first in range(0, len(order), NEAR_ROWS):
        rows = order[first : first + NEAR_ROWS]
        near = slice(max(0, nearest[rows[0]] - reach), nearest[rows[-1]] + reach)
        _set_limits(frame, new, rows, ours[rows] @ theirs[near].T + offsets[near], own[rows])


def _about_centre(frame: Frame, side: Side, which: Rows) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    return frame.about_centre(Vectors(side.vectors, side.inverse_norms, frame.unit).rows(which))


def _set_limits(frame: Frame, side: Side, rows: Rows, similarity: NDArray[Any], own: NDArray[np.float64]) -> None:
    """By similarities [rows, songs], less each row's `own` part; the song itself may be among the songs."""
    nth = -side.n - 1
    if similarity.shape[1] < -nth:
        return
    similarity.partition(nth, axis=1)
    side.limits[rows] = lists.least_sum(frame.rule, similarity[:, nth] + own + frame.rule.shift)
