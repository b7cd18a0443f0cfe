"""Lists of songs whose lengths differ by orders of magnitude, in tasks on Ray.

Each level of songs is in the object store once. A task makes the lists of a shard, and reads the levels that it needs.
"""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.cluster.lazy_ray import ray
from musicrec.similarity.search import by_length, candidates
from musicrec.similarity.search.blocks import new_lists
from musicrec.similarity.search.bounds import Projection
from musicrec.similarity.search.by_length import Coded, Level, Levels
from musicrec.similarity.search.candidates import CandidateLists


class StoredLevel(NamedTuple):
    """A level whose songs are in Ray's object store."""

    shortest: float
    longest: float
    n_songs: int
    coded: Any  # reference of its songs with their codes


class StoredLevels(NamedTuple):
    """Levels whose songs are in Ray's object store."""

    centre: NDArray[np.float64]
    levels: Sequence[StoredLevel]


def put(all_songs: Levels) -> StoredLevels:
    """Put the songs of all levels into the object store."""
    return StoredLevels(
        all_songs.centre, [StoredLevel(*level[:3], ray.put(level.coded())) for level in all_songs.levels]
    )


def lists_of_places(projection: Projection, stored: StoredLevels, first: int, last: int, depth: int) -> CandidateLists:
    """Return the lists of the songs in some places, in order, as the stage's other tasks make them."""
    levels = [Level(*level[:3], cache(partial(_get, level.coded))) for level in stored.levels]
    all_songs = Levels(stored.centre, levels)
    given, numbers = by_length.songs_in(all_songs, first, last, projection.unit)
    new = new_lists(projection, given, numbers, depth)
    by_length.fill(new, given, all_songs, projection.scale)
    candidates.put_in_order(projection.scale, new)
    return new


def _get(stored: Any) -> Coded:  # noqa: ANN401 - a reference
    coded: Coded = ray.get(stored)
    return coded._replace(songs=candidates.closed(coded.songs))  # with arrays that are not shared
