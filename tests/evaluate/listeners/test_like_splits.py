"""Splits: what is learned from comes before what is tested, or is drawn at random, and nobody is tested unknown."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicrec.errors import ConfigError
from musicrec.evaluate.listeners.like_splits import Likes, leave_last_out, random_split, time_split

PAIRS = st.dictionaries(
    st.tuples(st.integers(0, 6), st.integers(0, 9)), st.one_of(st.just(np.nan), st.integers(0, 20)), min_size=1
)


def likes_of(pairs):
    user, item = np.array(list(pairs), np.int64).T
    return Likes(user, item, np.array(list(pairs.values()), np.float64))


def split_or_none(split, likes):
    try:
        return split(likes)
    except ConfigError:
        return None


@given(PAIRS)
def test_a_time_split_tests_on_what_comes_after_all_that_is_learned_from(pairs):
    likes = likes_of(pairs)
    split = split_or_none(time_split, likes)
    if split is None:
        return
    timed = likes.at[split.learn & ~np.isnan(likes.at)]
    assert not len(timed) or timed.max() < likes.at[split.test].min()
    assert set(likes.user[split.test]) <= set(likes.user[split.learn])
    assert split.learn[np.isnan(likes.at)].all()
    assert split.n_cold_users == len(set(likes.user) - set(likes.user[split.learn]))


def test_a_time_split_tests_on_what_is_liked_at_the_moment_itself_too():
    likes = likes_of({(user, item): 10 * item for user in range(2) for item in range(5)})
    split = time_split(likes, 0.5)  # at 20
    assert split.test.tolist() == [False, False, True, True, True] * 2
    assert split.until.tolist() == [20.0, 20.0]


@given(PAIRS)
def test_leave_last_out_tests_on_one_like_of_everybody_who_has_two(pairs):
    likes = likes_of(pairs)
    split = split_or_none(leave_last_out, likes)
    if split is None:
        return
    assert (split.learn ^ split.test).all()
    for user in set(likes.user):
        mine = likes.user == user
        held = mine & split.test
        assert held.sum() == (mine.sum() > 1 and not np.isnan(likes.at[mine]).all())
        if held.any():
            at, item = (np.nan_to_num(column[mine], nan=-1) for column in (likes.at, likes.item))
            assert (at.max(), item[at == at.max()].max()) == (
                np.nan_to_num(likes.at[held], nan=-1)[0],
                likes.item[held][0],
            )


@given(PAIRS, st.randoms())
def test_a_random_split_depends_on_the_seed_and_not_on_the_order(pairs, random):
    likes = likes_of(pairs)
    split = split_or_none(random_split, likes)
    if split is None:
        return
    order = list(range(len(likes.user)))
    random.shuffle(order)
    again = random_split(likes.take(np.array(order)))
    assert again.test.tolist() == split.test[order].tolist()
    for user in set(likes.user):
        n = (likes.user == user).sum()
        assert split.test[likes.user == user].sum() == min(n - 1, max(1, round(0.2 * n)))


def test_another_seed_holds_out_others():
    likes = likes_of({(user, item): np.nan for user in range(20) for item in range(10)})
    assert random_split(likes, seed=0).test.tolist() != random_split(likes, seed=1).test.tolist()


def test_each_input_that_cannot_be_split_has_its_line():
    untimed = likes_of({(0, 0): np.nan, (0, 1): np.nan})
    for split in (time_split, leave_last_out):
        with pytest.raises(ConfigError, match=r"no like has a time.*take the split 'random'"):
            split(untimed)
    lonely = likes_of({(0, 0): 1, (1, 1): 2})
    for split in (leave_last_out, random_split):
        with pytest.raises(ConfigError, match="no listener has two songs"):
            split(lonely)
    with pytest.raises(ConfigError, match="the time split leaves nobody likes before and after"):
        time_split(lonely)
