"""Places of new songs on a map whose old songs stay where they are."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def place_new(places: Float32, ids: NDArray[np.integer[Any]]) -> Float32:
    """Return the map with each new song at the median of the places of the songs in its list.

    New songs whose list holds a placed song are placed first, all at once; then those whose list holds one of these;
    and so on.

    Parameters
    ----------
    places : numpy.ndarray
        float32 [N, 2]; NaN for a new song.
    ids : numpy.ndarray
        int32 [N, n], rows of the songs in each list. A shorter list ends in rows -1.

    Returns
    -------
    numpy.ndarray
        float32 [N, 2]. Old songs have the same places, bit for bit. NaN is left for new songs that no list joins with
        an old one.
    """
    places = places.copy()
    waiting = np.flatnonzero(np.isnan(places[:, 0]))
    while len(waiting):
        lists = ids[waiting]
        near = np.where((lists >= 0)[..., None], places[lists], np.nan)
        is_near = ~np.isnan(near[..., 0]).all(axis=1)
        if not is_near.any():
            break
        places[waiting[is_near]] = np.nanmedian(near[is_near].astype(np.float64), axis=1)
        waiting = waiting[~is_near]
    return places
