"""The songs of a playlist, and their order: arrays in, rows out."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicrec.similarity.songs import CodeSets, Songs

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Rows = NDArray[np.integer]

LEAST_STEP = 1e-6  # of a path to a song that sounds the same
A_SONG = 1e3  # what a song costs on the path of fewest songs: more than all steps of any path


def pick(scores: ArrayLike, n: int, songs: Songs, left_out: Iterable[int] = (), max_per_artist: int = 0) -> list[int]:
    """Return the songs with the highest scores: only one file of each recording, and not too many by an artist.

    Parameters
    ----------
    scores : array_like
        [n_songs]; a song with score -inf is not a candidate.
    n : int
        Number of songs; fewer come back if there are fewer.
    songs : Songs
        Artists and recordings of the songs.
    left_out : iterable of int
        Rows of songs that are left out, and with them all files of their recordings.
    max_per_artist : int
        Most songs by an artist; 0 for any number.

    Returns
    -------
    list of int
        Rows by descending score, then ascending row.

    Examples
    --------
    >>> from musicrec.similarity import songs_of
    >>> songs = songs_of({"artist_ids": [["Ann"], ["Ben"], ["Ann"], ["Ann"]]})
    >>> pick([0.9, 0.5, 0.8, 0.7], 3, songs, left_out=[2], max_per_artist=1)
    [0, 1]
    """
    scores = np.asarray(scores)
    heard = {song for row in left_out for song in _recordings(songs, row)}
    by_artist: Counter[int] = Counter()
    picked: list[int] = []
    for row in np.argsort(-scores, kind="stable").tolist():
        if len(picked) == n or scores[row] == -np.inf:
            break
        artists = songs.artist.of(row).tolist()
        if max_per_artist and any(by_artist[artist] >= max_per_artist for artist in artists):
            continue
        names = _recordings(songs, row)
        if heard.isdisjoint(names):
            picked.append(row)
            heard.update(names)
            by_artist.update(artists)
    return picked


def _recordings(songs: Songs, row: int) -> set[tuple[str, int]]:
    """Return what a song shares with other files of its recording."""
    codes = {"recording": songs.recording[row], "content": songs.content[row], "sound": songs.sound[row]}
    return {("song", row), *((name, int(code)) for name, code in codes.items() if code >= 0)}


def spread(rows: list[int], artist: CodeSets) -> list[int]:
    """Return songs in an order in which no artist comes twice in a row, as near to theirs as that allows.

    Where only songs by the artist of the last one are left, they follow in their order.

    Parameters
    ----------
    rows : list of int
        Rows of the songs.
    artist : CodeSets
        Artists of all songs.

    Examples
    --------
    >>> import numpy as np
    >>> spread([0, 1, 2, 3], CodeSets(np.arange(5), np.array([7, 7, 8, 7], np.int32)))
    [0, 2, 1, 3]
    """
    left, placed = list(rows), list[int]()
    while left:
        free = (at for at, row in enumerate(left) if not placed or not artist.meet(placed[-1], row))
        placed.append(left.pop(next(free, 0)))
    return placed


def steps_between(links: tuple[Rows, Rows], scores: NDArray[np.float32], artist: CodeSets) -> "csr_array":
    """Return the steps that a path may take from song to song.

    Parameters
    ----------
    links : tuple of numpy.ndarray
        int [n_links], rows of the two songs of each link, which can be gone either way.
    scores : numpy.ndarray
        float32 [n_links]: the cosine of the two songs, or another score up to 1.
    artist : CodeSets
        Artists of all songs: no song follows one by the same artist.

    Returns
    -------
    scipy.sparse.csr_array
        float64 [n_songs, n_songs]: 1 minus the score, and more than 0; of two links between two songs, the shorter.
    """
    from scipy.sparse import coo_array

    n_songs = len(artist.starts) - 1
    is_step = ~_share(artist, *links)
    start, end = (np.concatenate([side[is_step] for side in sides]) for sides in (links, links[::-1]))
    steps = np.tile(np.maximum(1.0 - scores[is_step].astype(np.float64), LEAST_STEP), 2)
    order = np.argsort(steps, kind="stable")
    pairs, kept = np.unique((start.astype(np.int64) * n_songs + end)[order], return_index=True)
    return coo_array((steps[order][kept], (pairs // n_songs, pairs % n_songs)), shape=(n_songs, n_songs)).tocsr()


def path(steps: "csr_array", ends: tuple[int, int], *, short: bool) -> list[int]:
    """Return the songs from one song to another.

    Parameters
    ----------
    steps : scipy.sparse.csr_array
        As :func:`steps_between` returns them.
    ends : tuple of int
        Rows of the first and of the last song.
    short : bool
        Whether to take the fewest songs; else the steps, each 1 minus the score, are as small as they can be in all.

    Returns
    -------
    list of int
        Rows, both ends among them. Empty if there is no path.

    Examples
    --------
    >>> import numpy as np
    >>> links, scores = (np.array([0, 0, 1]), np.array([1, 2, 2])), np.array([0.9, 0.1, 0.8])
    >>> steps = steps_between(links, scores, CodeSets(np.zeros(4, np.int64), np.array([], np.int32)))
    >>> [path(steps, (0, 2), short=short) for short in (False, True)]
    [[0, 1, 2], [0, 2]]
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import dijkstra

    if short:
        steps = csr_array((steps.data + A_SONG, steps.indices, steps.indptr), shape=steps.shape)
    first, last = ends
    _, before = dijkstra(steps, indices=first, return_predecessors=True)
    found = [last]
    while found[-1] != first:
        if before[found[-1]] < 0:
            return []
        found.append(int(before[found[-1]]))
    return found[::-1]


def _share(artist: CodeSets, start: Rows, end: Rows) -> NDArray[np.bool_]:
    """Return for each pair of songs whether they have an artist in common."""
    has_one = np.diff(artist.starts) == 1
    alone = has_one[start] & has_one[end]
    shared = np.zeros(len(start), bool)
    shared[alone] = artist.codes[artist.starts[start[alone]]] == artist.codes[artist.starts[end[alone]]]
    shared[~alone] = _meet(artist, start[~alone], end[~alone])
    return shared


def _meet(artist: CodeSets, start: Rows, end: Rows) -> NDArray[np.bool_]:
    """Return the same, whatever number of artists the songs have."""
    pairs = np.arange(len(start))
    n_artists = int(artist.codes.max(initial=-1)) + 1
    own, other = (
        np.repeat(pairs, np.diff(side.starts)) * n_artists + side.codes for side in map(artist.take, (start, end))
    )
    shared = np.zeros(len(start), bool)
    shared[other[np.isin(other, own)] // max(n_artists, 1)] = True
    return shared
