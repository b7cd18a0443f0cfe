"""Groups of songs that are one recording, each by its likeness to one representative."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.similarity.duplicates.matches import Matches


class Groups(NamedTuple):
    """The recording of each song.

    Attributes
    ----------
    representative : numpy.ndarray
        int64 [n_songs], number of the song that stands for the recording; a song's own number if it stands for itself.
    errors, speed, offset : numpy.ndarray
        float64 [n_songs], as in :class:`Matches`, beside the representative; 0, 1 and 0 for the representative itself.
    """

    representative: NDArray[np.int64]
    errors: NDArray[np.float64]
    speed: NDArray[np.float64]
    offset: NDArray[np.float64]


def group(matches: Matches, n_songs: int, most_errors: float) -> Groups:
    """Put songs into groups, the first song of each being its representative.

    A song joins the representative before it that it fits best. It joins none by way of another member: a medley fits
    two songs that do not fit each other.

    Parameters
    ----------
    matches : Matches
        In order of song, as :meth:`Matches.joined` returns them.
    n_songs : int
        Number of songs.
    most_errors : float
        Largest share of bits in which a song may differ from its representative.
    """
    groups = Groups(np.arange(n_songs), np.zeros(n_songs), np.ones(n_songs), np.zeros(n_songs))
    is_alike = matches.errors <= most_errors
    for song, other, errors, speed, offset in zip(*(column[is_alike].tolist() for column in matches), strict=True):
        if groups.representative[other] != other:
            continue
        if groups.representative[song] == song or errors < groups.errors[song]:
            groups.representative[song], groups.errors[song] = other, errors
            groups.speed[song], groups.offset[song] = speed, offset
    return groups
