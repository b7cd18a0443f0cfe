"""How much each training song counts, so that genres and artists of many songs do not outweigh the others."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicrec.settings import Balance


def song_weights(
    genres: ArrayLike, artists: Sequence[str | None], balance: Balance = "genre+artist"
) -> NDArray[np.float64]:
    """Return the weights of training songs.

    Parameters
    ----------
    genres : array_like
        Genre of each song, [n]: names or numbers.
    artists : sequence of str or None
        Artist of each, [n]. Each song whose artist is None or empty is by an artist of its own.
    balance : str
        ``none``: all songs weigh equally. ``genre``: all genres weigh equally, and so do the songs within a genre.
        ``genre+artist``: all genres weigh equally, and the artists within a genre by the square root of the number of
        their songs in it.

    Returns
    -------
    numpy.ndarray
        float64 [n], above 0, with mean 1.

    Raises
    ------
    ValueError
        There are not as many artists as genres.

    Examples
    --------
    >>> song_weights(["rock", "rock", "rock", "jazz"], ["a", "b", "c", "d"], "genre").round(2).tolist()
    [0.67, 0.67, 0.67, 2.0]
    >>> song_weights(["rock"] * 5, ["a", "a", "a", "a", "b"]).round(2).tolist()
    [0.83, 0.83, 0.83, 0.83, 1.67]
    """
    names, genre = np.unique(np.asarray(genres), return_inverse=True)
    if len(genre) != len(artists):
        raise ValueError(f"{len(genre)} genres, {len(artists)} artists; expected one of each for every song")
    weights = np.ones(len(genre))
    if balance == "none" or not len(weights):
        return weights
    if balance == "genre+artist":
        songs_by = list(zip(genre.tolist(), (artist or i for i, artist in enumerate(artists)), strict=True))
        number = Counter(songs_by)
        weights /= np.sqrt([number[artist] for artist in songs_by])
    weights *= len(genre) / len(names) / np.bincount(genre, weights)[genre]
    return weights
