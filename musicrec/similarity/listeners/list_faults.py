"""What must hold of recommendations before they are published."""

import numpy as np
from numpy.typing import NDArray

from musicrec.similarity.listeners.nearest_to_likes import Catalog, Listeners, Recommended
from musicrec.similarity.songs import CodeSets


def fault_of(found: Recommended, listeners: Listeners, catalog: Catalog) -> str | None:
    """Return in words what is wrong with recommendations; None if nothing is.

    Parameters
    ----------
    found : Recommended
        The recommendations.
    listeners : Listeners
        The listeners that they are for.
    catalog : Catalog
        All songs.
    """
    is_song = found.ids >= 0
    recording = np.where(is_song, catalog.recording[found.ids], -1 - np.arange(found.ids.shape[1]))
    with np.errstate(invalid="ignore"):  # -inf minus -inf, after the end of a list
        is_rising = (np.diff(found.scores, axis=1) > 0).any()
    faults = {
        "a gap in a list": (np.diff(is_song.astype(np.int8), axis=1) > 0).any(),
        "a score that is no number": not np.isfinite(found.scores[is_song]).all(),
        "scores that rise": is_rising,
        "a recording twice in a list": (np.diff(np.sort(recording, axis=1), axis=1) == 0).any(),
        "a song that was heard": np.isin(_pairs(found, recording), _numbers(listeners.heard)).any(),
        "a song because of one that is no like": not np.isin(
            _pairs(found, found.because), _numbers(listeners.likes)
        ).all(),
    }
    return next((fault for fault, is_there in faults.items() if is_there), None)


def _pairs(found: Recommended, of_songs: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return a number for each listener and recommended song, by what is given of the songs."""
    listener = np.broadcast_to(np.arange(len(found.ids))[:, None], found.ids.shape)
    return np.asarray((listener << 32 | of_songs.astype(np.int64))[found.ids >= 0], np.int64)


def _numbers(sets: CodeSets) -> NDArray[np.int64]:
    """Return a number for each listener and code."""
    listener = np.repeat(np.arange(len(sets.starts) - 1), np.diff(sets.starts))
    return np.asarray(listener << 32 | sets.codes.astype(np.int64), np.int64)
