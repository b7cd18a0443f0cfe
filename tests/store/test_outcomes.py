"""Every track has exactly one outcome a stage, the counts add up, and too many failures fail the run."""

from itertools import permutations

import pytest

from musicrec.errors import MusicrecError
from musicrec.schemas import OUTCOMES
from musicrec.store.lineage import digest
from musicrec.store.outcomes import Counts, Outcome, check_failures, count, outcomes_table

STATUSES = {"a": "ok", "b": "skipped", "c": "failed", "d": "ok", "é": "failed"}


def outcomes(*tracks):
    return outcomes_table(Outcome(t, "extract", STATUSES.get(t, "ok")) for t in tracks)


def test_counts_add_up():
    counts = count("extract", list(STATUSES), outcomes(*STATUSES), fresh=2)
    assert counts == Counts("extract", ok=2, skipped=1, failed=2, fresh=2)
    assert counts.total == len(STATUSES)
    assert str(counts) == "extract: 2 ok + 1 skipped + 2 failed = 5 (2 decoded now)"
    assert str(Counts("embed", ok=1, skipped=0, failed=0, fresh=0)).endswith("= 1 (none embedded now)")
    assert str(Counts("vectors/small", ok=3, skipped=0, failed=0, fresh=3)).endswith("= 3 (3 added now)")


def test_an_empty_catalog_adds_up_to_nothing():
    assert count("extract", [], outcomes(), fresh=0).total == 0


@pytest.mark.parametrize(
    ("catalog", "found", "example"),
    [
        ("abc", "ab", "c"),
        ("abc", "", "a"),
        ("abc", "abca", "a"),
        ("abc", "abcd", "d"),
        ("abc", "abd", "c"),
        ("", "a", "a"),
        ("aab", "ab", "a"),
    ],
    ids=["missing", "all missing", "doubled", "strange", "swapped", "strange to nothing", "doubled in the catalog"],
)
def test_a_missing_doubled_or_strange_track_fails_the_stage(catalog, found, example):
    with pytest.raises(MusicrecError, match="do not add up") as e:
        count("extract", list(catalog), outcomes(*found), fresh=0)
    assert f"{example!r}" in str(e.value)


def test_a_status_that_is_none_of_the_three_fails_the_stage():
    rows = outcomes_table([Outcome("a", "extract", "ok"), Outcome("b", "extract", "done")])
    with pytest.raises(MusicrecError):
        count("extract", ["a", "b"], rows, fresh=0)


class Watched(list):
    """Ids that count how often somebody goes through all of them."""

    passes = 0

    def __iter__(self):
        self.passes += 1
        return super().__iter__()


def test_counting_goes_through_the_catalog_a_fixed_number_of_times():
    ids = Watched(f"song-{i:03d}" for i in range(100))
    count("extract", ids, outcomes(*list(ids)), fresh=0)
    assert ids.passes < 10


@pytest.mark.parametrize(
    ("ok", "failed", "allowed", "complaint"),
    [
        (0, 0, 0.5, None),
        (1, 0, 0.0, None),
        (99, 1, 0.0, "1 of 100 tracks failed"),
        (50, 50, 0.5, None),
        (49, 51, 0.5, "51 of 100 tracks failed, more than --max-failed-fraction 0.5"),
        (1, 99, 1.0, None),
        (0, 100, 1.0, "none of 100 tracks came through"),
        (71, 29, 0.29, None),  # though 0.29 * 100 is 28.999999999999996
    ],
)
def test_a_run_fails_only_above_the_allowed_share_or_if_nothing_came_through(ok, failed, allowed, complaint):
    counts = Counts("extract", ok, 0, failed, fresh=0)
    if complaint is None:
        check_failures(counts, allowed)
    else:
        with pytest.raises(MusicrecError, match=complaint) as e:
            check_failures(counts, allowed)
        assert "OUT/outcomes" in str(e.value)


def test_skipped_tracks_are_not_failures_but_do_not_count_as_done():
    check_failures(Counts("extract", ok=1, skipped=99, failed=0, fresh=0), 0.0)
    with pytest.raises(MusicrecError, match="none of 99"):
        check_failures(Counts("extract", ok=0, skipped=99, failed=0, fresh=0), 1.0)


def test_outcomes_are_rows_of_one_schema_in_order_of_track():
    rows = [
        Outcome("é", "extract", "failed", "not_audio", "no header", "f" * 16, 0.25),
        Outcome("a", "extract", "ok", seconds=1.0),
    ]
    for order in permutations(rows):
        table = outcomes_table(order)
        assert table.schema == OUTCOMES
        assert [Outcome(**row) for row in table.to_pylist()] == [rows[1], rows[0]]
    assert outcomes_table([]).schema == OUTCOMES


def test_a_digest_tells_columns_rows_order_and_nulls_apart():
    columns = [
        (["a", "b"],),
        (["b", "a"],),
        (["ab"],),
        (["a", None],),
        (["a", "None"],),
        (["a", ""],),
        (["a"], ["b"]),
        (["a", "b"], ["c", "d"]),
        (["a", "b", "c", "d"],),
        (["é", "\udcff"],),
    ]
    digests = [digest(*given) for given in columns]
    assert len(set(digests)) == len(columns)
    assert digests == [digest(*given) for given in columns]
    assert {len(name) for name in digests} == {16}


def test_columns_of_different_length_have_no_digest():
    with pytest.raises(ValueError, match="shorter"):
        digest(["a", "b"], ["c"])
