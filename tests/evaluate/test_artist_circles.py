"""Circles of artists are the parts of the graph that songs of several artists make of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from musicrec.evaluate.artist_circles import circles

ARTISTS = st.lists(st.lists(st.sampled_from("abcdefghijkl"), max_size=3), max_size=15)


@given(artists=ARTISTS)
def test_circles_are_the_connected_parts_of_scipy(artists):
    names = sorted({name for own in artists for name in own})
    pairs = [(names.index(own[0]), names.index(name)) for own in artists for name in own]
    rows, columns = np.array(pairs, int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(len(names), len(names)))
    part = connected_components(graph)[1] if names else []
    found = circles(artists)
    for own, circle in zip(artists, found, strict=True):
        assert circle == (min(n for i, n in enumerate(names) if part[i] == part[names.index(own[0])]) if own else None)


def test_an_artist_alone_is_his_own_circle():
    assert circles([["b"], ["a"], ["b"], None, [""]]) == ["b", "a", "b", None, None]


def test_long_chains_are_one_circle():
    chain = [[f"{i:05d}", f"{i + 1:05d}"] for i in range(20_000)]
    assert set(circles(chain)) == {"00000"}
