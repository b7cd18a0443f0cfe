"""What is wrong with recommendations is said, and of those that are right nothing."""

import numpy as np
import pytest

from musicrec.similarity import top_n
from musicrec.similarity.listeners.list_faults import fault_of
from musicrec.similarity.listeners.nearest_to_likes import Catalog, Listeners, nearest_to_likes
from musicrec.similarity.songs import CodeSets, as_sets

pytestmark = pytest.mark.thorough  # the kernels are compiled

N_SONGS = 20
HEARD_OR_TWICE = "a song that was heard, or a recording twice in a list"


def made():
    vectors = np.random.default_rng(0).normal(size=(N_SONGS, 4)).astype(np.float32)
    recording = np.arange(N_SONGS, dtype=np.int32) // 2
    catalog = Catalog(recording, as_sets(np.full(N_SONGS, -1, np.int32)))
    likes = CodeSets(np.array([0, 2, 2, 3]), np.array([1, 6, 12], np.int32))
    listeners = Listeners(likes, CodeSets(likes.starts, recording[likes.codes]))
    return nearest_to_likes(top_n(vectors, N_SONGS - 1), listeners, catalog, 9), listeners, catalog


def test_nothing_is_wrong_with_what_the_kernel_gives():
    found, listeners, catalog = made()
    assert (found.ids >= 0).sum(axis=1).tolist() == [8, 0, 9]
    assert fault_of(found, listeners, catalog) is None


@pytest.mark.parametrize(
    ("array", "at", "value", "fault"),
    [
        ("ids", (0, 3), -1, "a gap in a list"),
        ("ids", (1, 4), 3, "a gap in a list"),
        ("scores", (2, 8), np.nan, "a score that is no number"),
        ("scores", (0, 7), -np.inf, "a score that is no number"),
        ("scores", (2, 5), 2.0, "scores that rise"),
        ("ids", (2, 1), 12, HEARD_OR_TWICE),
        ("ids", (2, 1), 13, HEARD_OR_TWICE),
        ("because", (0, 0), 12, "a song because of one that is no like"),
        ("because", (0, 0), 0, "a song because of one that is no like"),
    ],
)
def test_each_fault_is_named(array, at, value, fault):
    found, listeners, catalog = made()
    getattr(found, array)[at] = value
    assert fault_of(found, listeners, catalog) == fault


def test_a_recording_that_comes_twice_is_a_fault():
    found, listeners, catalog = made()
    found.ids[2, 8] = found.ids[2, 0] ^ 1  # the other song of the same recording
    assert fault_of(found, listeners, catalog) == HEARD_OR_TWICE
