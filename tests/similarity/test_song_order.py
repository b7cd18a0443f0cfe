"""Songs of a playlist: the best that may stand in it, artists apart, and the smoothest way from song to song."""

import heapq
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from musicrec.similarity.song_order import path, pick, spread, steps_between
from musicrec.similarity.songs import songs_of

ARTISTS = st.lists(st.lists(st.sampled_from("abcde"), max_size=2), min_size=1, max_size=12)


def songs(artists, **facts):
    return songs_of({"artist_ids": artists, **facts})


@given(ARTISTS, st.integers(0, 3), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_the_best_songs_are_picked_unless_an_artist_has_enough(artists, most, n, seed):
    scores = np.random.default_rng(seed).choice([0.1, 0.2, 0.3, -np.inf], len(artists))
    picked = pick(scores, n, songs(artists), max_per_artist=most)
    wanted, counts = [], dict.fromkeys("abcde", 0)
    for row in sorted(range(len(artists)), key=lambda row: (-scores[row], row)):
        own = set(artists[row])
        if len(wanted) < n and scores[row] > -np.inf and not (most and any(counts[name] >= most for name in own)):
            wanted.append(row)
            for name in own:
                counts[name] += 1
    assert picked == wanted


@pytest.mark.parametrize("kind", ["recording", "content_hash", "sound"])
def test_one_file_of_each_recording_is_picked_and_none_of_those_left_out(kind):
    of_songs = songs([[]] * 6, **{kind: ["x", "y", "x", None, "z", None]})
    scores = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    assert pick(scores, 6, of_songs) == [0, 1, 3, 4, 5]
    assert pick(scores, 6, of_songs, left_out=[2, 5]) == [1, 3, 4]


@given(ARTISTS)
def test_no_artist_comes_twice_in_a_row_unless_only_songs_by_them_are_left(artists):
    rows = list(range(len(artists)))
    placed = spread(rows, songs(artists).artist)
    assert sorted(placed) == rows
    for at in range(1, len(placed)):
        if set(artists[placed[at]]) & set(artists[placed[at - 1]]):
            assert all(set(artists[row]) & set(artists[placed[at - 1]]) for row in placed[at:])


def test_an_order_without_conflicts_stays():
    assert spread([3, 1, 0, 2], songs([["a"], ["b"], ["c"], ["a"]]).artist) == [3, 1, 0, 2]


@st.composite
def graphs(draw):
    n = draw(st.integers(2, 9))
    ends = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1))
    links = draw(st.lists(ends.filter(lambda pair: pair[0] != pair[1]), min_size=1, max_size=25))
    scores = draw(st.lists(st.integers(-4, 4), min_size=len(links), max_size=len(links)))
    artists = draw(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=2), min_size=n, max_size=n))
    return n, links, [score / 4 for score in scores], artists


def cheapest(n, links, scores, artists, *, short):
    """The cost of the best path from song 0 to the last, by a search of our own; None if there is none."""
    ways = {song: [] for song in range(n)}
    for (a, b), score in zip(links, scores, strict=True):
        if not set(artists[a]) & set(artists[b]):
            ways[a].append((b, max(1 - score, 1e-6)))
            ways[b].append((a, max(1 - score, 1e-6)))
    queue, done = [((0, 0.0), 0)], set()
    while queue:
        (length, cost), song = heapq.heappop(queue)
        if song == n - 1:
            return length, cost
        if song not in done:
            done.add(song)
            for other, step in ways[song]:
                heapq.heappush(queue, ((length + short, cost + step), other))
    return None


DETOUR = (3, [(0, 1), (1, 2), (0, 2)], [0.75, 0.75, 0.25], [[], [], []])  # two small steps, or a large one


@given(graphs(), st.booleans())
@example(DETOUR, True)
@example(DETOUR, False)
def test_a_path_is_as_smooth_or_as_short_as_any(graph, short):
    n, links, scores, artists = graph
    sides = np.array([a for a, _ in links]), np.array([b for _, b in links])
    steps = steps_between(sides, np.array(scores, np.float32), songs(artists).artist)
    found = path(steps, (0, n - 1), short=short)
    best = cheapest(*graph, short=short)
    if best is None:
        assert found == []
        return
    assert (found[0], found[-1]) == (0, n - 1)
    assert len(set(found)) == len(found)
    step = {}
    for (a, b), score in zip(links, scores, strict=True):
        for pair in ((a, b), (b, a)):
            step[pair] = min(step.get(pair, 9.0), max(1 - score, 1e-6))
    assert sum(step[pair] for pair in pairwise(found)) == pytest.approx(best[1], abs=1e-9)
    assert not short or len(found) == best[0] + 1
    assert not any(set(artists[a]) & set(artists[b]) for a, b in pairwise(found))


def test_a_path_from_a_song_to_itself_is_that_song():
    steps = steps_between((np.array([0]), np.array([1])), np.ones(1, np.float32), songs([[], []]).artist)
    assert path(steps, (1, 1), short=False) == [1]
