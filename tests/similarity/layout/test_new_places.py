"""New songs on an old map: they stand at the median of their neighbours, and nothing else moves."""

import statistics

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from musicrec.similarity.layout.new_places import place_new
from musicrec.similarity.layout.rim import on_rim

NAN = float("nan")


def place_one_by_one(places, lists):
    """The same in plain Python: round after round, each song at the median of the songs placed before the round."""
    placed = {song: place for song, place in enumerate(places) if place[0] == place[0]}
    while True:
        found = {}
        for song, near in enumerate(lists):
            there = [placed[i] for i in near if i in placed]
            if song not in placed and there:
                median = [statistics.median(map(float, axis)) for axis in zip(*there, strict=True)]
                found[song] = tuple(map(np.float32, median))
        if not found:
            return placed
        placed |= found


@st.composite
def maps(draw):
    n = draw(st.integers(1, 12))
    length = draw(st.integers(1, 5))
    number = st.floats(-1e3, 1e3, width=32)
    places = [
        (draw(number), draw(number)) if draw(st.booleans()) else (NAN, NAN) for _ in range(n)
    ]  # fmt: skip
    lists = [draw(st.lists(st.integers(0, n - 1), max_size=length, unique=True)) for _ in range(n)]
    return places, lists, length


@given(maps())
def test_new_songs_stand_at_the_median_of_their_neighbours_and_old_ones_do_not_move(drawn):
    places, lists, length = drawn
    before = np.array(places, np.float32)
    ids = np.array([near + [-1] * (length - len(near)) for near in lists], np.int32).reshape(len(lists), length)
    after = place_new(before, ids)
    is_old = ~np.isnan(before[:, 0])
    assert after.dtype == np.float32
    assert after[is_old].tobytes() == before[is_old].tobytes()
    placed = place_one_by_one([tuple(place) for place in before], lists)
    assert {i for i in range(len(after)) if not np.isnan(after[i, 0])} == placed.keys()
    for song, place in placed.items():
        np.testing.assert_array_equal(after[song], np.array(place, np.float32))


def test_the_order_of_songs_does_not_matter():
    rng = np.random.default_rng(0)
    places = rng.normal(size=(40, 2)).astype(np.float32)
    places[rng.random(40) < 0.6] = np.nan
    ids = rng.integers(-1, 40, (40, 3)).astype(np.int32)
    order = rng.permutation(40)
    back = np.append(np.argsort(order), -1)  # the new row of each song; -1 stays
    np.testing.assert_array_equal(place_new(places[order], back[ids[order]]), place_new(places, ids)[order])


def test_a_song_on_the_rim_stands_outside_the_map_and_where_its_id_says():
    places = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    there = on_rim(places, ["a", "b", "夜"])
    centre = (places.min(axis=0) + places.max(axis=0)) / 2
    furthest = np.linalg.norm(places - centre, axis=1).max()
    assert (np.linalg.norm(there - centre, axis=1) > furthest).all()
    np.testing.assert_array_equal(on_rim(places, ["夜"]), there[2:])
    assert len(np.unique(there, axis=0)) == 3
    assert np.isfinite(on_rim(places[:0], ["a"])).all()
    assert on_rim(places[:1], ["a"]).tobytes() != places[:1].tobytes()
