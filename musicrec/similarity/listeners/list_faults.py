"""What must hold of recommendations before they are published."""

import numpy as np
from numpy.typing import NDArray

from musicrec.simd.lanes import kernel
from musicrec.similarity.listeners.nearest_to_likes import Catalog, Listeners, Recommended

FAULTS = (
    "a gap in a list",
    "a score that is no number",
    "scores that rise",
    "a song that was heard, or a recording twice in a list",
    "a song because of one that is no like",
)
NO_FAULT = -1


def fault_of(
    found: Recommended, listeners: Listeners, catalog: Catalog, *, is_ranked: bool = True, has_because: bool = True
) -> str | None:
    """Return in words the first thing that is wrong with recommendations; None if nothing is.

    Parameters
    ----------
    found : Recommended
        The recommendations.
    listeners : Listeners
        The listeners that they are for.
    catalog : Catalog
        All songs.
    is_ranked : bool
        Whether scores may not rise.
    has_because : bool
        Whether every song is recommended because of a like.
    """
    codes = (catalog.recording, listeners.heard.codes)
    left_out_for = np.full(1 + max((int(c.max()) for c in codes if len(c)), default=-1), -1, np.int32)
    liked_by = np.full(len(catalog.recording), -1, np.int32)
    number = _fault(found, listeners, catalog.recording, left_out_for, liked_by, is_ranked, has_because)
    return None if number == NO_FAULT else FAULTS[number]


@kernel
def _fault(
    found: Recommended,
    listeners: Listeners,
    recording: NDArray[np.int32],
    left_out_for: NDArray[np.int32],
    liked_by: NDArray[np.int32],
    is_ranked: bool,
    has_because: bool,
) -> int:
    """Return the number of a fault; `left_out_for` and `liked_by` are room for notes, -1 everywhere."""
    likes, heard = listeners
    for listener in range(len(found.ids)):
        for i in range(heard.starts[listener], heard.starts[listener + 1]):
            left_out_for[heard.codes[i]] = listener
        for i in range(likes.starts[listener], likes.starts[listener + 1]):
            liked_by[likes.codes[i]] = listener
        for place in range(found.ids.shape[1]):
            song, score = found.ids[listener, place], found.scores[listener, place]
            if song < 0:
                continue
            if place and found.ids[listener, place - 1] < 0:
                return 0
            if not np.isfinite(score):
                return 1
            if is_ranked and place and score > found.scores[listener, place - 1]:
                return 2
            if left_out_for[recording[song]] == listener:
                return 3
            left_out_for[recording[song]] = listener
            if has_because and liked_by[found.because[listener, place]] != listener:
                return 4
    return NO_FAULT
