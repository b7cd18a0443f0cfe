"""Rules for what a list may hold: which candidates pass on their own, and which still fit after those taken before."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicrec.settings import Rules
from musicrec.simd.lanes import kernel
from musicrec.similarity.list_quality import SCORE_RANGE
from musicrec.similarity.search.exact import Lists

Codes = NDArray[np.int32]
Rows = NDArray[np.integer]

EQUAL_S = 0.1  # in seconds; files of one recording from two encoders differ in length by up to this
UNKNOWN = -1


class Songs(NamedTuple):
    """What the rules look at in each song.

    Parameters
    ----------
    artist, album, recording, content, sound, genre : numpy.ndarray
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
    >>> songs = songs_of({"artist_id": ["Ann", "Ben", "Ann", None]})
    >>> songs.artist.tolist(), songs.take(np.array([1, 2])).artist.tolist()
    ([0, 1, 0, -1], [1, 0])
    """

    artist: Codes
    album: Codes
    recording: Codes
    content: Codes
    sound: Codes
    genre: Codes
    duration_s: NDArray[np.float64]
    genre_probabilities: NDArray[np.float32] | None = None
    tags: NDArray[np.float32] | None = None

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
        return self._replace(**{name: column[rows] for name, column in self._asdict().items() if column is not None})


def songs_of(
    tracks: Mapping[str, Sequence[Any]],
    genre_probabilities: ArrayLike | None = None,
    tags: ArrayLike | None = None,
) -> Songs:
    """Return what the rules look at, from the columns of the table ``tracks``.

    Albums of the same name by different artists are different albums.

    Parameters
    ----------
    tracks : mapping of str to sequence
        Any of the columns ``artist_id``, ``album``, ``recording``, ``content_hash``, ``genre`` and ``duration_s``, and
        as ``sound`` the column ``recording`` of the table ``recordings``; at least one, with None where the value is
        unknown. All values of a missing column are unknown.
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

    albums = [album and (artist, album) for artist, album in zip(column("artist_id"), column("album"), strict=True)]
    return Songs(
        artist=_codes(column("artist_id")),
        album=_codes(albums),
        recording=_codes(column("recording")),
        content=_codes(column("content_hash")),
        sound=_codes(column("sound")),
        genre=_codes(column("genre")),
        duration_s=np.array([np.nan if s is None else s for s in column("duration_s")], np.float64),
        genre_probabilities=None if genre_probabilities is None else np.asarray(genre_probabilities, np.float32),
        tags=None if tags is None else np.asarray(tags, np.float32),
    )


def _codes(names: Sequence[object]) -> Codes:
    numbers: dict[object, int] = {}
    return np.array(
        [UNKNOWN if name is None or name == "" else numbers.setdefault(name, len(numbers)) for name in names], np.int32
    )


class Limits(NamedTuple):
    """How many songs of one artist, album, recording, … a list may hold."""

    codes: Codes  # [n_limits, n_songs]; there is no limit for songs with code -1
    most: NDArray[np.int64]  # [n_limits]
    not_own: NDArray[np.bool_]  # [n_limits], whether songs with the same code as the list's own song are left out


def limits_of(songs: Songs, rules: Rules) -> Limits:
    """Return the limits that the rules ask for."""
    many = len(songs.artist)
    asked = []
    if rules.no_same_artist or rules.max_per_artist:
        asked.append((songs.artist, rules.max_per_artist or many, rules.no_same_artist))
    if rules.max_per_album:
        asked.append((songs.album, rules.max_per_album, False))
    if rules.no_duplicates:
        asked += [(codes, 1, True) for codes in (songs.recording, songs.content, songs.sound)]
    return Limits(
        np.array([codes for codes, _, _ in asked], np.int32).reshape(len(asked), many),
        np.array([most for _, most, _ in asked], np.int64),
        np.array([not_own for _, _, not_own in asked], np.bool_),
    )


def longest(limits: Limits) -> NDArray[np.int64]:
    """Return how long the list of each song can get at most, by each limit alone: int [n_songs].

    A list of that length needs no deeper pool.
    """
    n_songs = limits.codes.shape[1]
    fits = np.full(n_songs, n_songs - 1)
    for codes, most, not_own in zip(*limits, strict=True):
        is_known = codes >= 0
        songs = np.bincount(codes[is_known], minlength=1)
        room = np.minimum(songs, most)
        own = np.where(is_known, room[codes], 1)
        left = np.where(is_known, 0 if not_own else np.minimum(songs - 1, most)[codes], 0)
        fits = np.minimum(fits, room.sum() + (~is_known).sum() - own + left)
    return fits


# --- what passes on its own ----------------------------------------------------------------------------------------


def passes(songs: Songs, rules: Rules, rows: Rows, near: Lists) -> NDArray[np.bool_]:
    """Return which candidates are similar enough, and are not copies by their score and length: bool [rows, k].

    Parameters
    ----------
    songs : Songs
        All songs.
    rules : Rules
        The rules.
    rows : numpy.ndarray
        Row numbers of the songs whose candidates these are.
    near : Lists
        The candidates, with their similarity.
    """
    fit = near.ids >= 0
    if rules.min_score is not None:
        fit &= near.scores >= np.float32(rules.min_score)
    if rules.duplicate_score is not None:
        length = songs.duration_s
        as_long = np.abs(length[rows][:, None] - length[near.ids]) <= EQUAL_S
        equal = SCORE_RANGE[rules.metric][1]
        fit &= ~(as_long & (near.scores >= np.float32(min(rules.duplicate_score, equal))))
    return fit


# --- genre boost --------------------------------------------------------------------------------------------------


def agreement(songs: Songs, rows: Rows, ids: Codes) -> NDArray[np.float64]:
    """Return how well the genres of songs agree with those of their candidates, [rows, k].

    With genre probabilities p and q it is their inner product ⟨p, q⟩. Without them it is 1 for songs of the same genre,
    and 0 for other songs and for songs of unknown genre.
    """
    if songs.genre_probabilities is None:
        own = songs.genre[rows][:, None]
        return ((own == songs.genre[ids]) & (own >= 0)).astype(np.float64)
    p = songs.genre_probabilities.astype(np.float64)
    total = np.zeros(ids.shape)
    for genre in range(p.shape[1]):  # in the same order for every block
        total += p[rows, genre][:, None] * p[ids, genre]
    return total


def most_agreement(songs: Songs, rows: Rows) -> NDArray[np.float64]:
    """Return the largest value that :func:`agreement` with any song can have, [rows]."""
    if songs.genre_probabilities is None:
        return (songs.genre[rows] >= 0).astype(np.float64)
    p = songs.genre_probabilities.astype(np.float64)
    by_genre = p[rows] @ p.max(axis=0)
    by_song = p[rows].max(axis=1) * p.sum(axis=1).max()
    return np.minimum(by_genre, by_song) * (1 + 1e-9)


# --- taking in order ----------------------------------------------------------------------------------------------


def take(candidates: Lists, limits: Limits, rows: NDArray[np.integer], n: int) -> Lists:
    """Return the first `n` candidates of each song that the limits allow.

    Parameters
    ----------
    candidates : Lists
        [rows, k], in order; -1 is skipped.
    limits : Limits
        Limits, with the codes of all songs.
    rows : numpy.ndarray
        Row numbers of the songs whose candidates these are, [rows].
    n : int
        Number of candidates.
    """
    found = Lists(np.full((len(rows), n), -1, np.int32), np.full((len(rows), n), -np.inf, np.float32))
    _take_in_order(candidates, limits, np.asarray(rows, np.int64), found)
    return found


@kernel
def _take_in_order(candidates: Lists, limits: Limits, rows: NDArray[np.int64], found: Lists) -> None:
    for i in range(len(rows)):
        taken = 0
        for k in range(candidates.ids.shape[1]):
            if taken == found.ids.shape[1]:
                break
            song = candidates.ids[i, k]
            if song >= 0 and _fits(song, found.ids[i, :taken], limits, rows[i]):
                found.ids[i, taken], found.scores[i, taken] = song, candidates.scores[i, k]
                taken += 1


@kernel
def _fits(song: int, taken: Codes, limits: Limits, own: int) -> bool:
    for limit in range(len(limits.most)):
        code = limits.codes[limit, song]
        if code < 0:
            continue
        if limits.not_own[limit] and code == limits.codes[limit, own]:
            return False
        if len(taken) >= limits.most[limit]:
            times = 0
            for other in taken:
                times += limits.codes[limit, other] == code
            if times >= limits.most[limit]:
                return False
    return True
