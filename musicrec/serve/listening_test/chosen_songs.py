"""Choose the songs of a listening test: what is recommended to a participant, and what it is compared with."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from musicrec.errors import ConfigError, UnknownTrack
from musicrec.serve.lookup import SimilarTable, Song
from musicrec.serve.recommend import Recommender
from musicrec.store.store import Store

SPARE = 50  # recommended songs asked for beyond those needed: some cannot be played
METHODS = {"method 1": "cosine", "method 2": "genre"}
LATE = 2 / 3  # from here on in the order, clips are repeated


class Plan(NamedTuple):
    """What each participant hears.

    Attributes
    ----------
    design : {"set", "methods"}
        Recommended songs against songs of the catalog, or Method 1 against Method 2.
    n_recommended : int
        Recommended songs, by each method.
    n_set : int
        Songs of the catalog; half are random, and half have the genre of a recommended one.
    n_repeats : int
        Clips that are heard twice.
    """

    design: str = "set"
    n_recommended: int = 5
    n_set: int = 10
    n_repeats: int = 2


class Chosen(NamedTuple):
    """A song that a participant hears, and why."""

    track_id: str
    conditions: tuple[str, ...]


class Chooser:
    """Chooses songs of one OUT.

    Parameters
    ----------
    store : Store
        OUT, with a published table of similar songs.
    plan : Plan
        How many songs, and of which kinds.
    seed : int
        Seed of all that is drawn. What a participant hears does not depend on the others.
    is_playable : callable
        Whether there is a clip of a song; one without is replaced by the next.
    """

    def __init__(self, store: Store, plan: Plan, seed: int, is_playable: Callable[[str], bool]) -> None:
        self._recommender = Recommender(store.out)
        self._songs = list(SimilarTable(store.out).songs())
        self._recording = _recordings(store)
        self._plan, self._seed, self._is_playable = plan, seed, is_playable

    def rng(self, participant: str, purpose: str) -> np.random.Generator:
        """Return random numbers of a participant for one purpose."""
        name = hashlib.blake2b(f"{purpose}\n{participant}".encode(), digest_size=8).digest()
        return np.random.default_rng([self._seed, int.from_bytes(name)])

    def choose(self, participant: str, likes: Sequence[str]) -> list[Chosen]:
        """Return the songs of a participant in the order in which they are heard, without repeats.

        Raises
        ------
        ConfigError
            There are too few songs.
        UnknownTrack
            A liked song is unknown.
        """
        try:
            liked = [self._recommender.song(name).track_id for name in likes]
        except UnknownTrack as e:
            raise UnknownTrack(f"participant {participant!r}: {e}", e.maybe) from e
        choose = self._by_methods if self._plan.design == "methods" else self._by_set
        chosen = choose(participant, liked)
        return [chosen[i] for i in self.rng(participant, "order").permutation(len(chosen))]

    def _by_methods(self, participant: str, liked: list[str]) -> list[Chosen]:
        why: dict[str, tuple[str, ...]] = {}
        for condition, method in METHODS.items():
            for song in self._recommended(participant, liked, "embedding", method):
                why[song.track_id] = (*why.get(song.track_id, ()), condition)
        return [Chosen(track_id, conditions) for track_id, conditions in why.items()]

    def _by_set(self, participant: str, liked: list[str]) -> list[Chosen]:
        recommended = self._recommended(participant, liked, "table", "cosine")
        n_matched = self._plan.n_set // 2
        taken = {self._recording.get(track_id, track_id) for track_id in [*liked, *(s.track_id for s in recommended)]}
        order = self.rng(participant, "set").permutation(len(self._songs))
        others = [self._songs[i] for i in order]
        matched = [
            self._next_of_genre(participant, recommended[i % len(recommended)], others, taken) for i in range(n_matched)
        ]
        n_random = self._plan.n_set - n_matched
        random = list(islice(self._free(others, taken), n_random))
        if len(random) < n_random:
            raise ConfigError(
                f"participant {participant!r}: the table has only {len(random)} of {n_random} random songs left; "
                "ask for fewer by --songs"
            )
        return [
            *(Chosen(song.track_id, ("recommended",)) for song in recommended),
            *(Chosen(song.track_id, ("set", "matched")) for song in matched),
            *(Chosen(song.track_id, ("set", "random")) for song in random),
        ]

    def _recommended(self, participant: str, liked: list[str], by: str, method: str) -> list[Song]:
        n = self._plan.n_recommended
        found = self._recommender.recommend(liked, n + SPARE, by=by, method=method)
        playable = list(islice((line.song for line in found if self._is_playable(line.song.track_id)), n))
        if len(playable) < n:
            raise ConfigError(
                f"participant {participant!r}: only {len(playable)} of {n} recommended songs can be played; "
                "ask for fewer by --recommended, or give other likes"
            )
        return playable

    def _next_of_genre(self, participant: str, like: Song, others: list[Song], taken: set[str]) -> Song:
        """Return the next song of the genre of a recommended one, and take it."""
        if not like.genre:
            raise ConfigError(
                f"participant {participant!r}: the recommended song {like.track_id!r} has no genre to match; "
                "songs need genres, or use --design methods"
            )
        for song in self._free((song for song in others if song.genre == like.genre), taken):
            return song
        raise ConfigError(
            f"participant {participant!r}: no other song of genre {like.genre!r} is left to match; "
            "ask for fewer by --songs, or give other likes"
        )

    def _free(self, songs: Iterable[Song], taken: set[str]) -> Iterator[Song]:
        """Yield songs of recordings that are not taken, and take them."""
        for song in songs:
            recording = self._recording.get(song.track_id, song.track_id)
            if recording not in taken and self._is_playable(song.track_id):
                taken.add(recording)
                yield song


def with_repeats(songs: Sequence[Chosen], n: int, rng: np.random.Generator) -> list[tuple[Chosen, int | None]]:
    """Return songs with some of the first third again in the last third; and for each what it repeats, as a position.

    Parameters
    ----------
    songs : sequence of Chosen
        In the order in which they are heard.
    n : int
        Number of repeats; fewer if the first third has fewer songs.
    rng : numpy.random.Generator
        Draws which, and where.
    """
    first = range(max(1, len(songs) // 3))
    again = rng.choice(len(first), min(n, len(first)), replace=False)
    order: list[tuple[Chosen, int | None]] = [(song, None) for song in songs]
    for position in again:
        earliest = max(int(position) + 1, int(len(songs) * LATE))
        order.insert(int(rng.integers(earliest, len(order) + 1)), (songs[position], int(position)))
    return order


def _recordings(store: Store) -> dict[str, str]:
    """Return the recording of each song that is a clip or a copy of one."""
    tracks = store.read("tracks", ["track_id", "recording"]).to_pydict()
    found = {track: of for track, of in zip(tracks["track_id"], tracks["recording"], strict=True) if of}
    if store.exists("recordings"):
        copies = store.read("recordings", ["track_id", "recording"]).to_pydict()
        for track, of in zip(copies["track_id"], copies["recording"], strict=True):
            found[track] = found.get(of, of)
    return found
