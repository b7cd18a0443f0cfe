"""Rules for what a list may hold: which candidates pass on their own, and which still fit after those taken before."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.settings import Rules
from musicrec.simd.lanes import inlined_kernel, kernel
from musicrec.similarity.list_quality import SCORE_RANGE
from musicrec.similarity.search.blocks import Lists
from musicrec.similarity.songs import Codes, CodeSets, Songs, as_sets

Rows = NDArray[np.integer]

EQUAL_S = 0.1  # in seconds; files of one recording from two encoders differ in length by up to this


class Cap(NamedTuple):
    """How many songs that share a name a list may hold."""

    rule: str
    names: CodeSets
    most: int
    own_rule: str = ""  # rule that leaves out songs which share a name with the list's own song; empty if none does


def caps_of(songs: Songs, rules: Rules) -> list[Cap]:
    """Return the caps that the rules ask for."""
    caps = []
    if rules.no_same_artist or rules.max_per_artist:
        own_rule = "no_same_artist" if rules.no_same_artist else ""
        caps.append(Cap("max_per_artist", songs.artist, rules.max_per_artist or len(songs.genre), own_rule))
    if rules.max_per_album:
        caps.append(Cap("max_per_album", as_sets(songs.album), rules.max_per_album))
    if rules.no_duplicates:
        clips = songs.recording, songs.content, songs.sound
        caps += [Cap("no_duplicates", as_sets(codes), 1, "no_duplicates") for codes in clips]
    return caps


class Limits(NamedTuple):
    """The caps as arrays. There is no limit for a song without a name."""

    starts: NDArray[np.int64]  # [n_limits, n_songs + 1]: where the codes of each song start, for each limit
    codes: Codes  # flat; no two limits have a code in common
    most: NDArray[np.int64]  # [n_limits]
    not_own: NDArray[np.bool_]  # [n_limits], whether songs that share a code with the list's own song are left out


def limits_of(songs: Songs, rules: Rules) -> Limits:
    """Return the limits that the rules ask for."""
    caps = caps_of(songs, rules)
    starts, codes, n_before, n_codes = [], [np.empty(0, np.int32)], 0, 0
    for cap in caps:
        starts.append(cap.names.starts + n_before)
        codes.append(cap.names.codes + np.int32(n_codes))
        n_before += len(cap.names.codes)
        n_codes += int(cap.names.codes.max(initial=-1)) + 1
    return Limits(
        np.array(starts, np.int64).reshape(len(caps), len(songs.genre) + 1),
        np.concatenate(codes),
        np.array([cap.most for cap in caps], np.int64),
        np.array([bool(cap.own_rule) for cap in caps], np.bool_),
    )


def longest(limits: Limits) -> NDArray[np.int64]:
    """Return a bound of how long the list of each song can get, by each limit alone: int [n_songs].

    A list of that length needs no deeper pool. A song of several artists counts for its first alone: a list that holds
    at most two songs of each artist holds at most two whose first artist he is.
    """
    n_songs = limits.starts.shape[1] - 1
    fits = np.full(n_songs, n_songs - 1)
    for starts, most, not_own in zip(limits.starts, limits.most, limits.not_own, strict=True):
        is_known = starts[1:] > starts[:-1]
        first = np.where(is_known, np.append(limits.codes, -1)[starts[:-1]], -1)
        n_codes = int(limits.codes.max(initial=0)) + 1
        songs = np.bincount(first[is_known], minlength=n_codes)
        room = np.minimum(songs, most)
        if not_own:
            of_codes = np.append(0, np.cumsum(room[limits.codes]))
            own = of_codes[starts[1:]] - of_codes[starts[:-1]]
        else:
            own = room[first] - np.minimum(songs - 1, most)[first]
        fits = np.minimum(fits, room.sum() + (~is_known).sum() - np.where(is_known, own, 1))
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
    times = np.zeros(int(limits.codes.max(initial=-1)) + 1, np.int64)
    _take_in_order(candidates, limits, np.asarray(rows, np.int64), found, times)
    return found


@kernel
def _take_in_order(
    candidates: Lists, limits: Limits, rows: NDArray[np.int64], found: Lists, times: NDArray[np.int64]
) -> None:
    """Fill `found`; `times`, which says how often a list holds each code, is 0 before and after each list."""
    for i in range(len(rows)):
        _count_own(rows[i], limits, times, 1)
        taken = 0
        for k in range(candidates.ids.shape[1]):
            if taken == found.ids.shape[1]:
                break
            song = candidates.ids[i, k]
            if song >= 0 and _fits(song, limits, times):
                found.ids[i, taken], found.scores[i, taken] = song, candidates.scores[i, k]
                _count(song, limits, times, 1)
                taken += 1
        for k in range(taken):
            _count(found.ids[i, k], limits, times, -1)
        _count_own(rows[i], limits, times, -1)


@inlined_kernel
def _fits(song: int, limits: Limits, times: NDArray[np.int64]) -> bool:
    for limit in range(len(limits.most)):
        for k in range(limits.starts[limit, song], limits.starts[limit, song + 1]):
            if times[limits.codes[k]] >= limits.most[limit]:
                return False
    return True


@inlined_kernel
def _count(song: int, limits: Limits, times: NDArray[np.int64], change: int) -> None:
    for limit in range(len(limits.most)):
        for k in range(limits.starts[limit, song], limits.starts[limit, song + 1]):
            times[limits.codes[k]] += change


@inlined_kernel
def _count_own(own: int, limits: Limits, times: NDArray[np.int64], sign: int) -> None:
    """Count the codes of the list's own song as often as a list may hold them, where they are to be left out."""
    for limit in range(len(limits.most)):
        if limits.not_own[limit]:
            for k in range(limits.starts[limit, own], limits.starts[limit, own + 1]):
                times[limits.codes[k]] += sign * limits.most[limit]
