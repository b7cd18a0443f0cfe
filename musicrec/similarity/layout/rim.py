"""Places around a map, for songs that are near no other."""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

GAP = 1.05  # radius of the rim, as a multiple of that of the map
ALONE = 1.0  # radius of the rim around nothing


def on_rim(places: Float32, track_ids: Sequence[str]) -> Float32:
    """Return places on a circle around others. The direction depends on the id alone, so no song moves another.

    Parameters
    ----------
    places : numpy.ndarray
        float32 [N, 2], what the circle goes around.
    track_ids : sequence of str
        [M], ids of the songs to place.

    Returns
    -------
    numpy.ndarray
        float32 [M, 2].
    """
    low, high = (places.min(axis=0), places.max(axis=0)) if len(places) else (np.zeros(2), np.zeros(2))
    centre = (low + high) / 2
    radius = GAP * float(np.linalg.norm(places - centre, axis=1).max(initial=0.0)) or ALONE
    hashes = np.array([crc32(track_id.encode("utf-8", "surrogatepass")) for track_id in track_ids], np.float64)
    angles = 2 * np.pi * hashes / 2**32
    return (centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(np.float32)
