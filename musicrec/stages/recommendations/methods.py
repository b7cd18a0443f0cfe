"""The methods by which songs are recommended to many listeners at once, each exact over the whole catalog.

``max`` and ``multi_interest`` read lists of similar songs; ``mean`` and ``genre`` compare vectors. Tastes, interests
and what the genres add are those of :mod:`musicrec.models.recommenders`, which ``musicrec evaluate`` judges.
``hybrid`` fuses ``max`` with what similar listeners like: :mod:`musicrec.stages.recommendations.hybrid_lists` has it.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from musicrec.models.recommenders.by_content import all_interests, tastes, unit_rows, with_genres
from musicrec.settings import RecommendSettings, SimilarSettings
from musicrec.similarity import Lists
from musicrec.similarity.listeners.in_turn import in_turn
from musicrec.similarity.listeners.nearest_to_likes import (
    Caps,
    Catalog,
    Int32,
    Listeners,
    Recommended,
    nearest_to_likes,
    nobody_yet,
)
from musicrec.similarity.listeners.nearest_to_tastes import most_similar_like, nearest_to_tastes
from musicrec.similarity.search.queries import Prepared, prepare_songs
from musicrec.similarity.songs import CodeSets, Songs
from musicrec.similarity.tag_rules import allowed
from musicrec.stages.recommendations.deeper_lists import ListSource, Merge, Rows, with_deeper_lists

BY_LISTS, BY_VECTORS = ("max", "multi_interest"), ("mean", "genre")
NEED_VECTORS = ("multi_interest", "hybrid", *BY_VECTORS)

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class SongVectors:
    """The vectors that the published lists were made of."""

    matrix: NDArray[np.float32]  # [n_songs, d]
    makes_lists: bool  # whether longer lists of them are those of a larger table
    probabilities: NDArray[np.float64] | None = None  # [n_songs, n_genres], for the method genre

    @cached_property
    def unit(self) -> NDArray[np.float64]:
        """Vectors of length 1."""
        return unit_rows(self.matrix)


@dataclass(frozen=True)
class Given:
    """What all methods recommend from."""

    settings: RecommendSettings
    of_lists: SimilarSettings
    facts: Songs | None  # what the rules of the lists look at; None if they follow no rule
    lists: Lists  # the published ones
    vectors: SongVectors | None  # None if they are not published now
    catalog: Catalog
    caps: Caps
    made: list[Prepared] = field(default_factory=list)

    @cached_property
    def scored(self) -> NDArray[np.float64]:
        """Vectors of all songs whose inner product with that of a listener is a song's score."""
        assert self.vectors is not None
        if self.settings.method == "genre" and self.vectors.probabilities is not None:
            return with_genres(self.vectors.unit, self.vectors.probabilities, self.settings.weight)
        return self.vectors.unit

    def prepared(self, typical: NDArray[np.float64]) -> Prepared:
        """Return the songs that may be recommended, ready for vectors of listeners; made once, for those like these."""
        if not self.made:
            among = None if self.facts is None else allowed(self.facts, self.of_lists)
            self.made.append(prepare_songs(self.scored, self.settings.n, typical=typical, among=among))
        return self.made[0]


class Found(NamedTuple):
    """Recommendations, and how they were found."""

    songs: Recommended
    deeper: Flags  # [n_listeners], by longer lists than the published ones
    by_lists_only: Flags  # [n_listeners], by lists that may be too short, as there are no vectors to make longer ones


def recommend(given: Given, listeners: Listeners) -> Found:
    """Recommend to some listeners by the method of the settings; to those without likes, nothing."""
    method = given.settings.method
    if method == "max":
        return _by_lists(given, listeners.likes, listeners.heard, None)
    likes = one_of_each_recording(listeners.likes, given.catalog.recording)  # a song that is there twice counts once
    if method == "multi_interest":
        centres, sizes = all_interests(_unit(given), likes)
        return _by_lists(given, centres, listeners.heard, CodeSets(centres.starts, sizes.astype(np.int32)))
    songs, nobody = _by_vectors(given, listeners._replace(likes=likes)), np.zeros(len(likes.starts) - 1, np.bool_)
    return Found(songs, nobody, nobody)


def rows_that_pass(given: Given) -> Rows:
    """Return the songs that the rules for tags let pass, ascending."""
    rows = None if given.facts is None else allowed(given.facts, given.of_lists)
    return np.arange(len(given.catalog.recording)) if rows is None else rows


def one_of_each_recording(likes: CodeSets, recording: Int32) -> CodeSets:
    """Return the likes with only the first of several files of one recording.

    Examples
    --------
    >>> likes = CodeSets(np.array([0, 3, 4]), np.array([0, 1, 2, 1], np.int32))
    >>> one_of_each_recording(likes, np.array([0, 1, 0], np.int32)).tolist()
    [[0, 1], [1]]
    """
    n_users = len(likes.starts) - 1
    user = np.repeat(np.arange(n_users), np.diff(likes.starts))
    _, first = np.unique(user * (1 + recording.max(initial=0)) + recording[likes.codes], return_index=True)
    kept = np.sort(first)
    starts = np.append(0, np.cumsum(np.bincount(user[kept], minlength=n_users)))
    return CodeSets(starts.astype(np.int64), likes.codes[kept])


def _by_lists(given: Given, read: CodeSets, heard: CodeSets, shares: CodeSets | None) -> Found:
    """Recommend from the lists of some songs of each listener: the best first or, with shares, in turn."""
    every, merge = np.arange(len(read.starts) - 1), _merge(given, read, heard, shares)
    songs = merge(every, given.lists, np.arange(len(given.catalog.recording), dtype=np.int32))
    deeper = np.zeros(len(every), np.bool_)
    if given.vectors and given.vectors.makes_lists:
        source = ListSource(given.vectors.matrix, given.of_lists, given.facts)
        deeper = with_deeper_lists(songs, read, merge, source, given.lists.ids.shape[1])
    return Found(songs, deeper, ~songs.is_exact)


def _merge(given: Given, read: CodeSets, heard: CodeSets, shares: CodeSets | None) -> Merge:
    def merge(some: Rows, lists: Lists, rows: Int32) -> Recommended:
        own = Listeners(read.take(some), heard.take(some))
        if shares is None:
            return nearest_to_likes(lists, own, given.catalog, given.settings.n, caps=given.caps, rows=rows)
        of_some = shares.take(some).codes
        return in_turn(lists, own, of_some, given.catalog, given.settings.n, caps=given.caps, rows=rows)

    return merge


def _by_vectors(given: Given, listeners: Listeners) -> Recommended:
    """Recommend the songs with the largest mean similarity to all likes, with method ``genre`` by genres too."""
    songs, (starts, codes) = given.scored, listeners.likes
    likes = sparse.csr_array((np.ones(len(codes)), codes, starts), shape=(len(starts) - 1, len(songs)))
    has_likes = np.flatnonzero(np.diff(starts))
    of_likes = tastes(likes[has_likes], songs)
    of_those = nearest_to_tastes(
        of_likes, given.prepared(of_likes), listeners.heard.take(has_likes), given.catalog,
        given.settings.n, caps=given.caps,
    )  # fmt: skip
    most_similar_like(of_those, listeners.likes.take(has_likes), _unit(given))
    found = nobody_yet(len(starts) - 1, given.settings.n)
    for every, own in zip(found, of_those, strict=True):
        every[has_likes] = own
    return found


def _unit(given: Given) -> NDArray[np.float64]:
    assert given.vectors is not None
    return given.vectors.unit
