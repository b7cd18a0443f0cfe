"""Intervals over listeners cover what they should, and tests of methods find what is there and nothing else."""

import numpy as np
import pytest
from scipy import stats

from musicrec.evaluate.listeners import user_intervals
from musicrec.evaluate.listeners.user_intervals import means, paired_tests


def test_means_leave_out_whom_nobody_could_judge():
    figures = np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan]])
    first, second = means(figures)
    assert (first.mean, first.n) == (2.0, 2)
    assert 1 <= first.low <= 2 <= first.high <= 3
    assert np.isnan(second.mean)
    assert second.n == 0


def test_intervals_cover_the_true_mean_about_as_often_as_they_say(monkeypatch):
    monkeypatch.setattr(user_intervals, "RESAMPLES", 300)
    rng = np.random.default_rng(0)
    found = means(rng.exponential(size=(80, 300)))
    covered = np.mean([mean.low <= 1 <= mean.high for mean in found])
    assert 0.88 <= covered <= 0.98


def test_draws_do_not_depend_on_how_many_are_in_memory(monkeypatch):
    figures = np.random.default_rng(1).normal(size=(30, 2))
    whole = means(figures)
    monkeypatch.setattr(user_intervals, "CELLS", 700)
    assert means(figures) == whole


def test_the_paired_test_is_scipys_and_is_corrected_by_holm():
    rng = np.random.default_rng(2)
    base = rng.normal(size=200)
    figures = {"a": base + 0.3 * rng.normal(size=200), "b": base, "c": base + 0.2 + 0.3 * rng.normal(size=200)}
    figures["c"][:5] = np.nan
    found = {(row.first, row.second): row for row in paired_tests(figures)}
    assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    for (a, b), row in found.items():
        judged = ~np.isnan(figures[a] - figures[b])
        p = stats.ttest_rel(figures[a][judged], figures[b][judged]).pvalue
        assert row.p == pytest.approx(p, rel=1e-9)
        assert row.difference.n == judged.sum()
        assert row.p <= row.p_holm <= min(1, 3 * row.p)
    ordered = sorted(row.p for row in found.values())
    assert min(row.p_holm for row in found.values()) == pytest.approx(3 * ordered[0])


def test_equal_methods_do_not_differ():
    (row,) = paired_tests({"a": np.ones(9), "b": np.ones(9)})
    assert (row.difference.mean, row.p, row.p_holm) == (0.0, 1.0, 1.0)
    assert paired_tests({"a": np.ones(9)}) == []
