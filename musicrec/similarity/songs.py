"""What the rules look at in each song: names as numbers, and lengths."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Codes = NDArray[np.int32]
Rows = NDArray[np.integer]

UNKNOWN = -1


class CodeSets(NamedTuple):
    """A set of numbers for each song.

    Parameters
    ----------
    starts : numpy.ndarray
        int64 [n_songs + 1]: where the numbers of each song start in `codes`, ascending from 0.
    codes : numpy.ndarray
        int32: the numbers of one song after the other.

    Examples
    --------
    >>> import numpy as np
    >>> CodeSets(np.array([0, 2, 2, 3]), np.array([4, 7, 4], np.int32)).tolist()
    [[4, 7], [], [4]]
    """

    starts: NDArray[np.int64]
    codes: Codes

    def of(self, song: int) -> Codes:
        """Return the numbers of one song."""
        return self.codes[self.starts[song] : self.starts[song + 1]]

    def meet(self, song: int, other: int) -> bool:
        """Return whether two songs share a number."""
        return bool(np.isin(self.of(song), self.of(other)).any())

    def take(self, rows: Rows) -> "CodeSets":
        """Return the sets of some songs, in this order."""
        first, lengths = self.starts[rows], np.diff(self.starts)[rows]
        starts = _starts(lengths)
        places = np.arange(starts[-1]) + np.repeat(first - starts[:-1], lengths)
        return CodeSets(starts, self.codes[places])

    def tolist(self) -> list[list[int]]:
        """Return the sets as lists."""
        return [part.tolist() for part in np.split(self.codes, self.starts[1:-1])] if len(self.starts) > 1 else []


class Songs(NamedTuple):
    """What the rules look at in each song.

    Parameters
    ----------
    artist : CodeSets
        Numbers of the artists of each song; none where they are unknown.
    album, recording, content, sound, genre : numpy.ndarray
        int32 [n_songs]: equal numbers for equal names, -1 where the name is unknown. `recording` is what the manifest
        says, and `sound` is what the fingerprints say.
    duration_s : numpy.ndarray
        float64 [n_songs], in seconds; NaN where it is unknown.
    genre_probabilities : numpy.ndarray, optional
        float32 [n_songs, n_genres], from a model.
    tags : numpy.ndarray, optional
        float32 [n_songs, n_rules], the score of the tag of each rule: those of ``require_tag``, then those of
        ``exclude_tag``; NaN for a song without tags.

    Examples
    --------
    >>> import numpy as np
    >>> from musicrec.similarity import songs_of
    >>> songs = songs_of({"artist_ids": [["Ann"], ["Ben", "Ann"], None]})
    >>> songs.artist.tolist(), songs.take(np.array([1, 2])).artist.tolist()
    ([[0], [0, 1], []], [[0, 1], []])
    """

    artist: CodeSets
    album: Codes
    recording: Codes
    content: Codes
    sound: Codes
    genre: Codes
    duration_s: NDArray[np.float64]
    genre_probabilities: NDArray[np.float32] | None = None
    tags: NDArray[np.float32] | None = None

    @property
    def n_without_artist(self) -> int:
        """Of how many songs no artist is known."""
        return int((np.diff(self.artist.starts) == 0).sum())

    def take(self, rows: Rows) -> Self:
        """Return a selection of the songs.

        Parameters
        ----------
        rows : numpy.ndarray
            Row numbers of the songs.

        Returns
        -------
        Songs
            These songs, in this order.
        """
        columns = {name: column[rows] for name, column in self._asdict().items() if isinstance(column, np.ndarray)}
        return self._replace(artist=self.artist.take(rows), **columns)


def songs_of(
    tracks: Mapping[str, Sequence[Any]],
    genre_probabilities: ArrayLike | None = None,
    tags: ArrayLike | None = None,
) -> Songs:
    """Return what the rules look at, from the columns of the table ``tracks``.

    Without ``artist_ids``, the one artist of ``artist_id`` counts. Without ``album_id``, albums of the same name by
    different artists are different albums.

    Parameters
    ----------
    tracks : mapping of str to sequence
        Any of the columns ``artist_ids``, ``artist_id``, ``album_id``, ``album``, ``recording``, ``content_hash``,
        ``genre`` and ``duration_s``, and as ``sound`` the column ``recording`` of the table ``recordings``; at least
        one, with None where the value is unknown. All values of a missing column are unknown.
    genre_probabilities : array_like, optional
        [n_songs, n_genres], from a model.
    tags : array_like, optional
        [n_songs, n_rules], as in :class:`Songs`.

    Returns
    -------
    Songs
        The songs, in the order of the columns.

    Examples
    --------
    >>> songs_of({"genre": ["folk", "jazz", "folk", None]}).genre.tolist()
    [0, 1, 0, -1]
    """
    n_songs = len(next(iter(tracks.values())))

    def column(name: str) -> Sequence[Any]:
        return tracks.get(name, [None] * n_songs)

    artists = tracks.get("artist_ids") or [[artist] for artist in column("artist_id")]
    by_artist = [album and (artist, album) for artist, album in zip(column("artist_id"), column("album"), strict=True)]
    return Songs(
        artist=_code_sets(artists),
        album=_codes(tracks.get("album_id", by_artist)),
        recording=_codes(column("recording")),
        content=_codes(column("content_hash")),
        sound=_codes(column("sound")),
        genre=_codes(column("genre")),
        duration_s=np.array([np.nan if s is None else s for s in column("duration_s")], np.float64),
        genre_probabilities=None if genre_probabilities is None else np.asarray(genre_probabilities, np.float32),
        tags=None if tags is None else np.asarray(tags, np.float32),
    )


def recording_numbers(songs: Songs) -> Codes:
    """Return the number of the recording of each song.

    Songs are one recording if the source says so, if their files are equal or if their sound is, also by way of others.

    Parameters
    ----------
    songs : Songs
        The songs.

    Returns
    -------
    numpy.ndarray
        int32 [n_songs], from 0.

    Examples
    --------
    >>> songs = songs_of({"recording": ["r", None, None, "r"], "content_hash": [None, None, "h", "h"]})
    >>> recording_numbers(songs).tolist()
    [0, 1, 0, 0]
    """
    from scipy.sparse import coo_array  # takes a tenth of a second to import
    from scipy.sparse.csgraph import connected_components

    n = len(songs.recording)
    links = [np.empty((2, 0), np.int64)]
    for codes in (songs.recording, songs.content, songs.sound):
        known = np.flatnonzero(codes >= 0)
        _, first, which = np.unique(codes[known], return_index=True, return_inverse=True)
        links.append(np.stack([known, known[first][which]]))
    pairs = np.concatenate(links, axis=1)
    graph = coo_array((np.ones(pairs.shape[1], np.int8), (pairs[0], pairs[1])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], np.int32)


def as_sets(codes: Codes) -> CodeSets:
    """Return the numbers of songs as sets of one number, or of none where it is unknown."""
    is_known = codes >= 0
    return CodeSets(_starts(is_known), codes[is_known])


def _codes(names: Sequence[object]) -> Codes:
    numbers: dict[object, int] = {}
    return np.array(
        [UNKNOWN if name is None or name == "" else numbers.setdefault(name, len(numbers)) for name in names], np.int32
    )


def _code_sets(names: Sequence[Collection[str | None] | None]) -> CodeSets:
    numbers: dict[str, int] = {}
    codes: list[int] = []
    lengths = []
    for of_song in names:
        own = {numbers.setdefault(name, len(numbers)) for name in of_song or () if name not in (None, "")}
        codes += sorted(own)
        lengths.append(len(own))
    return CodeSets(_starts(lengths), np.array(codes, np.int32))


def _starts(lengths: ArrayLike) -> NDArray[np.int64]:
    return np.append(0, np.cumsum(lengths, dtype=np.int64)).astype(np.int64)
