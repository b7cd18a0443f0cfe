"""Songs for listeners without likes that can be compared: from the centres of their genres, then popular songs."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.similarity import Lists, medoid
from musicrec.similarity.listeners.in_turn import in_turn
from musicrec.similarity.listeners.nearest_to_likes import Int32, Listeners, Recommended
from musicrec.similarity.rules import score_range
from musicrec.similarity.songs import CodeSets
from musicrec.stages.recommendations.history_blocks import Block
from musicrec.stages.recommendations.methods import Given, rows_that_pass
from musicrec.stages.recommendations.song_numbers import SongNumbers

GENRE_CENTRES, POPULARITY = "genre_centres", "popularity"  # methods
MOST_CELLS = 2_000_000  # places of all lists in memory
DEEPER = 4

Int64 = NDArray[np.int64]


class ColdStart(NamedTuple):
    """What is recommended to listeners of whom too little is known.

    Attributes
    ----------
    popular : numpy.ndarray
        int32, rows of the songs that anybody likes, the best file of each recording, most listeners first.
    n_listeners : numpy.ndarray
        float32, of the same length: how many listeners like it.
    centres : numpy.ndarray
        int32 [n_genres], the row of the song at the centre of each genre; -1 where none of its songs has a vector.
    """

    popular: Int32
    n_listeners: NDArray[np.float32]
    centres: Int32


def count_likes(block: Block, songs: SongNumbers) -> Int64:
    """Return how many listeners like each recording, then how many like each song, int64 [n_recordings + n_songs]."""
    n_recordings = 1 + int(songs.recording.max(initial=-1))
    user, song = block.user[block.is_like], block.song[block.is_like]
    pairs = np.unique(user * n_recordings + songs.recording[song])  # a file of each recording
    of_recordings = np.bincount(pairs % max(1, n_recordings), minlength=n_recordings)
    return np.concatenate([of_recordings, np.bincount(song, minlength=len(songs.row))])


def cold_start(n_likes: Int64, songs: SongNumbers, given: Given) -> ColdStart:
    """Rank songs by how many listeners like them, and find the centres of the genres.

    Parameters
    ----------
    n_likes : numpy.ndarray
        The sum of :func:`count_likes` over all listeners.
    songs : SongNumbers
        The songs.
    given : Given
        Vectors, without which genres have no centres; rules for tags, which a popular song must pass.
    """
    n_recordings = 1 + int(songs.recording.max(initial=-1))
    of_song = np.empty(len(given.catalog.recording), np.int64)
    of_song[songs.row[songs.row >= 0]] = n_likes[n_recordings:][songs.row >= 0]
    of_recording = n_likes[given.catalog.recording]
    order = np.lexsort((-of_song, -of_recording))
    order = order[np.isin(order, rows_that_pass(given)) & (of_recording[order] > 0)]
    _, first = np.unique(given.catalog.recording[order], return_index=True)
    popular = order[np.sort(first)]
    centres = np.full(1 + int(songs.genre.max(initial=-1)), -1, np.int32)
    if given.vectors:
        genre = np.full(len(of_song), -1)
        genre[songs.row[songs.row >= 0]] = songs.genre[songs.row >= 0]
        genre[~np.isin(np.arange(len(genre)), rows_that_pass(given))] = -1
        for number in np.unique(genre[genre >= 0]):
            own = np.flatnonzero(genre == number)
            centres[number] = own[medoid(given.vectors.matrix[own])]
    return ColdStart(popular.astype(np.int32), of_recording[popular].astype(np.float32), centres)


def genres_of(block: Block, songs: SongNumbers) -> CodeSets:
    """Return the genre of each like of each listener, also of likes that cannot be compared."""
    genre = songs.genre[block.song] if len(songs.genre) else block.song
    return block.of_users(genre, block.is_like & (genre >= 0))


def recommend_cold(
    cold: ColdStart, given: Given, genres: CodeSets, heard: CodeSets
) -> tuple[Recommended, NDArray[np.bool_]]:
    """Recommend from the lists of the centre songs of genres, each by its share of the likes, then popular songs.

    Parameters
    ----------
    cold : ColdStart
        Centres and popular songs.
    given : Given
        Lists, caps and number of songs.
    genres : CodeSets
        The genre of each like of each listener.
    heard : CodeSets
        Recordings that each listener has heard.

    Returns
    -------
    Recommended
        The songs. ``because`` is -1.
    is_popular : numpy.ndarray
        bool [n_listeners, n], whether a song comes from the popular ones.
    """
    read, shares = _with_popular(cold, genres)
    popular = len(cold.centres)
    width = 1 + max(given.lists.ids.shape[1], MOST_CELLS // (1 + popular))
    while True:
        lists = _lists(cold, given, min(width, 1 + max(given.lists.ids.shape[1], len(cold.popular))))
        found = in_turn(
            lists, Listeners(read, heard), shares, given.catalog, given.settings.n, caps=given.caps,
            rows=np.arange(popular + 1, dtype=np.int32), whole_at=max(len(cold.popular), given.lists.ids.shape[1]),
        )  # fmt: skip
        if found.is_exact.all():
            break
        width *= DEEPER
    is_popular = found.because == popular
    found.because[:] = -1
    return found, is_popular


def _with_popular(cold: ColdStart, genres: CodeSets) -> tuple[CodeSets, Int64]:
    """Return the lists that each listener reads, and the share of each; the popular songs have none, and come last."""
    n_users, n_lists = len(genres.starts) - 1, 1 + len(cold.centres)
    user = np.repeat(np.arange(n_users), np.diff(genres.starts))
    has_centre = cold.centres[genres.codes] >= 0 if len(cold.centres) else np.zeros(len(user), np.bool_)
    own = user[has_centre] * n_lists + genres.codes[has_centre]
    last = np.arange(n_users) * n_lists + n_lists - 1
    pairs, n_likes = np.unique(np.concatenate([own, last]), return_counts=True)
    shares = np.where(pairs % n_lists == n_lists - 1, 0, n_likes)
    starts = np.append(0, np.cumsum(np.bincount(pairs // n_lists, minlength=n_users)))
    return CodeSets(starts.astype(np.int64), (pairs % n_lists).astype(np.int32)), shares


def _lists(cold: ColdStart, given: Given, width: int) -> Lists:
    """Return a list for each genre, which begins with its centre, and the popular songs as the last list."""
    n_genres, depth = len(cold.centres), given.lists.ids.shape[1]
    lists = Lists(np.full((n_genres + 1, width), -1, np.int32), np.full((n_genres + 1, width), -np.inf, np.float32))
    with_centre = np.flatnonzero(cold.centres >= 0)
    centres = cold.centres[with_centre]
    lists.ids[with_centre, 0] = centres
    lists.scores[with_centre, 0] = min(1.0, score_range(given.of_lists)[1])
    lists.ids[with_centre, 1 : depth + 1] = given.lists.ids[centres]
    lists.scores[with_centre, 1 : depth + 1] = given.lists.scores[centres]
    n_popular = min(width, len(cold.popular))
    lists.ids[-1, :n_popular] = cold.popular[:n_popular]
    lists.scores[-1, :n_popular] = cold.n_listeners[:n_popular]
    return lists
