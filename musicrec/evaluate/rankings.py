"""What whole rankings of a large catalog find: a block of songs at a time, so that memory does not grow with it.

A song's ranking holds all songs by other artists, by descending cosine.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicrec.evaluate.retrieval import Figures, average_precision, precision_at_k
from musicrec.similarity.ranking import ranked

CELLS = 4_000_000  # scores in memory at once


def relevance(
    vectors: NDArray[np.float32],
    genres: ArrayLike,
    artists: ArrayLike,
    k: int,
    rows: NDArray[np.integer] | None = None,
) -> tuple[Figures, Figures]:
    """Return the precision at `k` and the average precision of songs among the songs by other artists.

    Parameters
    ----------
    vectors : numpy.ndarray
        float32 [n_songs, d], finite.
    genres, artists : array_like
        Numbers or names, [n_songs], each song with an artist.
    k : int
        How many songs the precision looks at.
    rows : numpy.ndarray, optional
        Row numbers of the songs whose rankings are judged; all by default.

    Returns
    -------
    precision, average : numpy.ndarray
        float64 [rows] each: a hit is a song of the same genre. NaN where no song by another artist has the genre.

    Examples
    --------
    >>> import numpy as np
    >>> vectors = np.array([[1, 0], [1, 0.1], [1, 0.4], [0, 1]], np.float32)
    >>> relevance(vectors, ["rock", "rock", "jazz", "rock"], ["Ann", "Ben", "Cid", "Ben"], 1)[0].tolist()
    [1.0, 1.0, nan, 0.0]
    """
    unit = _unit(vectors)
    artist = np.unique(np.asarray(artists), return_inverse=True)[1]
    asked = np.arange(len(unit)) if rows is None else np.asarray(rows)
    ids = np.arange(len(unit), dtype=np.int32)
    found = [(np.empty(0), np.empty(0))]
    at_once = max(1, CELLS // max(1, len(unit)))
    for start in range(0, len(asked), at_once):
        block = asked[start : start + at_once]
        others = np.where(artist[block][:, None] == artist, np.int32(-1), ids)
        lists = ranked(others, unit[block] @ unit.T).ids
        averages = average_precision(lists, genres, block)
        found.append((np.where(np.isnan(averages), np.nan, precision_at_k(lists, genres, k, block)), averages))
    precision, average = (np.concatenate(figures) for figures in zip(*found, strict=True))
    return precision, average


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    one = np.float32(1)
    scaled = vectors / np.where(largest > 0, largest, one)  # no square overflows or underflows
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (scaled / np.where(length > 0, length, one)).astype(np.float32, copy=False)
    return unit
