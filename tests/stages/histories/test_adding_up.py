"""Sums of listens for each user and song, against plain loops; what is left out, and what is a like."""

from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicrec.schemas import HISTORIES
from musicrec.settings import HistoriesSettings
from musicrec.stages.histories.adding_up import MATCHED, histories_of, likes, reasons
from musicrec.stages.histories.buckets import Buckets
from musicrec.stages.histories.listens import LISTENS

IDS = pa.array(["a", "b", "c"])
LISTEN = st.fixed_dictionaries({
    "user_id": st.sampled_from(["Ada", "ada", "夜", "z"]),
    "row": st.integers(0, 2),
    "at_s": st.none() | st.integers(10**9, 10**9 + 3),
    "plays": st.integers(1, 3),
    "seconds": st.sampled_from([None, 5.0, 50.0]),
    "is_like": st.booleans(),
}) | st.fixed_dictionaries({  # a listener of songs that are not in the catalog
    "user_id": st.sampled_from(["ada", "夜", "y"]), "row": st.just(-1), "at_s": st.none(), "plays": st.just(0),
    "seconds": st.none(), "is_like": st.just(False),
})  # fmt: skip


def slowly(listens):
    """The same by loops: of listens at the same second, the longest counts; of those as long, a like."""
    users = {one["user_id"] for one in listens}
    listens = [one for one in listens if one["row"] >= 0]
    strangers = users - {one["user_id"] for one in listens}
    songs, n_duplicates = defaultdict(list), 0
    for one in listens:
        songs[one["user_id"].encode(), IDS[one["row"]].as_py()].append(one)
    rows = []
    for (user, track_id), of_song in sorted(songs.items()):
        kept = [one for one in of_song if one["at_s"] is None]
        times = sorted({one["at_s"] for one in of_song} - {None})
        for time in times:
            same = [one for one in of_song if one["at_s"] == time]
            length = [-1 if one["seconds"] is None else one["seconds"] for one in same]
            best = min(range(len(same)), key=lambda i: (-length[i], not same[i]["is_like"], same[i]["plays"]))
            kept.append(same[best])
            n_duplicates += sum(one["plays"] for one in same) - same[best]["plays"]
        known = [one["seconds"] for one in kept if one["seconds"] is not None]
        plays = sum(one["plays"] for one in kept if one["is_like"])
        ends = [times[0] * 1000, times[-1] * 1000] if times else [None, None]
        rows.append((user.decode(), track_id, plays, sum(known) if known else None, *ends))
    rows += [(user, None, 0, None, None, None) for user in strangers]
    rows.sort(key=lambda row: row[0].encode())
    return rows, sum(row[2] for row in rows), n_duplicates


@pytest.mark.thorough
@given(st.lists(LISTEN, min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_sums_are_those_of_plain_loops_in_any_order(listens, rng):
    rng.shuffle(listens)
    table, n_likes, n_duplicates = histories_of(pa.Table.from_pylist(listens, MATCHED), IDS)
    assert table.schema.equals(HISTORIES)
    as_numbers = [*table.columns[:4], *(column.cast(pa.int64()) for column in table.columns[4:])]
    found = list(zip(*(column.to_pylist() for column in as_numbers), strict=True))
    assert (found, n_likes, n_duplicates) == slowly(listens)


@pytest.mark.thorough
@given(st.lists(st.tuples(st.text(max_size=3), st.integers(0, 9)), max_size=60), st.integers(1, 20))
def test_buckets_give_back_all_rows_and_those_of_a_key_together(rows, most):
    schema = pa.schema([("key", pa.string()), ("n", pa.int64())])
    rows = [(key.encode("utf-8", "replace").decode(), n) for key, n in rows]
    with Buckets(schema, "key") as buckets:
        for start in range(0, len(rows), 7):
            buckets.add(pa.table(list(map(list, zip(*rows[start : start + 7], strict=True))), schema=schema))
        groups = [list(zip(*(c.to_pylist() for c in group.columns), strict=True)) for group in buckets.groups(most)]
    assert sorted(row for group in groups for row in group) == sorted(rows)
    keys = [{key for key, _ in group} for group in groups]
    assert sum(map(len, keys)) == len(set().union(*keys))
    assert all(len(group) <= most or len({hash_of(key) for key, _ in group}) == 1 for group in groups)


def hash_of(key):
    import zlib

    return zlib.crc32(key.encode()) % 64


# --- what counts --------------------------------------------------------------------------------------------------


def listens(*rows):
    return pa.Table.from_pylist([{"user_id": "ada", "title": "x", "plays": 1} | row for row in rows], LISTENS)


@pytest.mark.parametrize(
    ("row", "duration_s", "is_like"),
    [
        ({"seconds": 30}, 200, True),
        ({"seconds": 29.9}, 200, False),
        ({"seconds": 20}, 40, True),
        ({"seconds": 19}, 40, False),
        ({"seconds": 20, "length_s": 60}, 40, False),
        ({"seconds": 20, "length_s": 40}, np.nan, True),
        ({"seconds": 20, "length_s": 0}, np.nan, False),
        ({"seconds": 29}, 0, False),
        ({"seconds": 60, "plays": 3}, 200, False),
        ({"seconds": 90, "plays": 3}, 200, True),
        ({}, 200, True),
        ({"skipped": False}, 200, True),
        ({"skipped": True}, 200, False),
        ({"skipped": True, "seconds": 150}, 200, False),
    ],
)
def test_a_like_lasts_thirty_seconds_or_half_of_the_song_and_is_no_skip(row, duration_s, is_like):
    settings = HistoriesSettings(files=("x",))
    assert likes(listens(row), np.array([duration_s], float), settings).tolist() == [is_like]


def test_what_counts_as_a_like_can_be_set():
    rows, durations = listens({"seconds": 50}, {"seconds": 61}, {"seconds": 61, "skipped": True}), np.full(3, 200.0)
    assert likes(rows, durations, HistoriesSettings(files=("x",), min_seconds=60)).tolist() == [False, True, False]
    assert likes(rows, durations, HistoriesSettings(files=("x",), count_skips=True)).tolist() == [True, True, True]
    strict = HistoriesSettings(files=("x",), min_seconds=99, min_share=0.3)
    assert likes(rows, durations, strict).tolist() == [False, True, False]


def test_each_listen_that_is_left_out_has_the_first_of_its_reasons():
    now = 1_600_000_000
    rows = [
        ({"at_s": now + 86_400}, 0, None),
        ({"at_s": now + 86_401}, 0, "future"),
        ({"at_s": now + 86_401}, -1, "future"),
        ({}, -1, "unknown_song"),
        ({"title": None}, -1, "no_name"),
        ({"title": None, "artist": "Ada"}, -1, "no_name"),
        ({"title": None, "uri": "/x"}, -1, "unknown_song"),
        ({"user_id": None, "at_s": now * 2}, 0, "no_user"),
        ({"user_id": None, "reason": "damaged"}, -1, "damaged"),
        ({"reason": "not_music"}, 0, "not_music"),
    ]
    found = reasons(listens(*(row for row, *_ in rows)), np.array([song for _, song, _ in rows]), now)
    assert found.to_pylist() == [reason for *_, reason in rows]
