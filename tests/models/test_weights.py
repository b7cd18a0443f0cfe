"""Weights of training songs: what weighs equally, beside a plain double loop."""

from math import isclose, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicrec.models.weights import song_weights
from musicrec.settings import Balance

BALANCES = st.sampled_from(Balance.__args__)
SONGS = st.lists(
    st.tuples(st.sampled_from(["rock", "jazz", "ska", "pop"]), st.sampled_from(["a", "b", "c", "", None])), max_size=40
)


def columns(songs):
    return [genre for genre, _ in songs], [artist for _, artist in songs]


def double_loop(songs, balance):
    """The definition, word by word."""

    def alike(one, other):
        return one == other or (songs[one] == songs[other] and songs[one][1] not in (None, ""))

    n, genres, weights = len(songs), {genre for genre, _ in songs}, []
    for i, (genre, _) in enumerate(songs):
        own = [j for j in range(n) if songs[j][0] == genre]
        if balance == "none":
            weights.append(1.0)
        elif balance == "genre":
            weights.append(n / len(genres) / len(own))
        else:
            share = {j: 1 / sqrt(sum(alike(j, k) for k in own)) for j in own}
            weights.append(n / len(genres) * share[i] / sum(share.values()))
    return weights


@given(SONGS, BALANCES)
def test_weights_are_those_of_a_double_loop(songs, balance):
    weights = song_weights(*columns(songs), balance)
    assert weights.dtype == np.float64
    np.testing.assert_allclose(weights, double_loop(songs, balance), rtol=1e-12)


@given(SONGS.filter(len), BALANCES)
def test_weights_are_above_0_and_1_on_average(songs, balance):
    weights = song_weights(*columns(songs), balance)
    assert weights.min() > 0
    assert weights.mean() == pytest.approx(1)


@pytest.mark.thorough
@given(SONGS, st.sampled_from(["genre", "genre+artist"]))
def test_genres_weigh_equally(songs, balance):
    genres, artists = columns(songs)
    weights = song_weights(genres, artists, balance)
    sums = [weights[[genre == one for genre in genres]].sum() for one in set(genres)]
    assert all(isclose(total, sums[0]) for total in sums)


@given(SONGS)
def test_artists_weigh_by_the_square_root_of_their_songs(songs):
    genres, artists = columns(songs)
    weights = song_weights(genres, artists)
    ratios: dict[str, list[float]] = {}
    for genre, artist in set(songs):
        own = [i for i, song in enumerate(songs) if song == (genre, artist)]
        if artist:
            ratios.setdefault(genre, []).append(weights[own].sum() / sqrt(len(own)))
        else:
            ratios.setdefault(genre, []).extend(weights[own])  # each is an artist of one song
    for of_genre in ratios.values():
        np.testing.assert_allclose(of_genre, of_genre[0])


@pytest.mark.thorough
@given(SONGS, BALANCES, st.randoms(use_true_random=False))
def test_neither_order_nor_names_matter(songs, balance, chance):
    order = list(range(len(songs)))
    chance.shuffle(order)
    weights = song_weights(*columns(songs), balance)
    np.testing.assert_allclose(song_weights(*columns([songs[i] for i in order]), balance), weights[order])
    numbers = {"rock": 7, "jazz": 0, "ska": 3, "pop": 1}
    renamed = [(numbers[genre], artist and f"x{artist}") for genre, artist in songs]
    np.testing.assert_allclose(song_weights(*columns(renamed), balance), weights)


@given(SONGS)
def test_without_artists_only_genres_count(songs):
    genres, _ = columns(songs)
    everybody = [None] * len(genres)
    np.testing.assert_allclose(song_weights(genres, everybody), song_weights(genres, everybody, "genre"))


def test_one_artist_in_two_genres_counts_in_each_by_itself():
    weights = song_weights(["rock", "rock", "jazz", "jazz", "jazz", "jazz"], ["a", "b", "a", "a", "a", "b"])
    assert weights[0] == weights[1]
    assert weights[2:5].sum() / weights[5] == pytest.approx(sqrt(3))


def test_as_many_artists_as_genres_are_needed():
    with pytest.raises(ValueError, match="2 genres, 1 artists"):
        song_weights(["rock", "jazz"], ["a"])
