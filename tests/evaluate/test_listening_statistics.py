"""Statistics of a listening test, against scipy, statsmodels' results, analysis of variance, and synthetic raters."""

import itertools
from collections import Counter

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from musicrec.evaluate.listening_test.conclusion import conclusion
from musicrec.evaluate.listening_test.conditions import COMPARED, MEASURES, compare_conditions, conditions_of, rates
from musicrec.evaluate.listening_test.mixed_model import mixed_effect
from musicrec.evaluate.listening_test.paired_tests import paired_test, sign_flip
from musicrec.evaluate.listening_test.power import detectable_effect, participants_needed, power_of
from musicrec.evaluate.listening_test.retest import retest
from synthetic_raters import synthetic_answers

# --- paired tests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 8, 30])
def test_paired_tests_are_scipys(n):
    d = np.random.default_rng(n).normal(0.5, 1, n)
    found, theirs = paired_test(d), stats.ttest_1samp(d, 0)
    assert (found.t, found.p_t) == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-9)
    assert (found.low, found.high) == pytest.approx(theirs.confidence_interval(), rel=1e-9)
    assert found.p_wilcoxon == pytest.approx(stats.wilcoxon(d).pvalue, rel=1e-9)
    assert found.d_z == pytest.approx(d.mean() / d.std(ddof=1))


def test_wilcoxons_test_of_shared_ranks_is_scipys():
    d = [20.0, 20.0, 0.0, -20.0, 40.0, 40.0, 0.0, 60.0]
    assert paired_test(d).p_wilcoxon == pytest.approx(stats.wilcoxon([x for x in d if x]).pvalue, rel=1e-9)


def test_few_participants_have_every_sign_tried():
    d = np.array([3, -1, 4, 1, -5, 9, 2])
    sums = [abs(np.dot(signs, d)) for signs in itertools.product((-1, 1), repeat=len(d))]
    assert sign_flip(d) == np.mean([total >= abs(d.sum()) for total in sums])


def test_many_participants_have_signs_drawn_as_scipy_draws_them():
    d = np.random.default_rng(3).normal(0.35, 1, 40)
    theirs = stats.permutation_test(
        (d,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(0)
    ).pvalue
    assert sign_flip(d) == pytest.approx(theirs, abs=0.01)
    assert sign_flip(d, seed=1) == sign_flip(d, seed=1)


def test_differences_that_are_all_equal_have_no_t():
    found = paired_test([20.0, 20.0, 20.0, 20.0])
    assert (found.difference, found.sd, found.p_sign_flip) == (20.0, 0.0, 0.125)
    assert np.isnan([found.t, found.p_t, found.d_z]).all()
    nothing = paired_test([0.0, 0.0, 0.0])
    assert (nothing.difference, nothing.p_sign_flip) == (0.0, 1.0)
    assert np.isnan(nothing.p_wilcoxon)


# --- mixed model ------------------------------------------------------------------------------------------------------

# MixedLM of statsmodels 0.15, REML: rating ~ x, participants, their effects, and songs as variance components
STATSMODELS = {
    0: {"effect": 7.85998, "sd_participant": 8.24806, "sd_slope": 3.64977, "sd_song": 8.26286, "sd_noise": 16.67201},
    1: {"effect": 12.03461, "sd_participant": 11.26286, "sd_slope": 4.98000, "sd_song": 7.66257, "sd_noise": 14.40065},
}


def contrast(answers):
    return np.array([0.5 if "recommended" in conditions else -0.5 for conditions in answers["conditions"]])


@pytest.mark.parametrize("seed", STATSMODELS)
def test_the_mixed_model_is_that_of_statsmodels(seed):
    answers = synthetic_answers(seed, effect=8, n_songs=60, n_participants=10)
    found = mixed_effect(answers.rating, contrast(answers), answers.participant, answers.track_id)
    assert {name: getattr(found, name) for name in STATSMODELS[seed]} == pytest.approx(STATSMODELS[seed], rel=1e-3)


def test_in_a_balanced_design_it_is_the_analysis_of_variance():
    """Each of P people hears the same songs, S of each condition, so sums of squares give all variances by hand."""
    people, songs = 12, 10
    rng = np.random.default_rng(4)
    quality, taste, slope = rng.normal(0, 12, 2 * songs), rng.normal(50, 10, people), rng.normal(0, 12, people)
    x = np.repeat([0.5, -0.5], songs)
    y = taste[:, None] + np.outer(slope + 6, x) + quality + rng.normal(0, 8, (people, 2 * songs))
    who, what = np.indices(y.shape)
    found = mixed_effect(y.ravel(), np.tile(x, people), who.ravel(), what.ravel())

    cells = y.reshape(people, 2, songs)
    of_person = cells.mean(axis=2)  # by condition
    of_song = cells.mean(axis=0)
    residual = cells - of_person[:, :, None] - of_song + cells.mean(axis=(0, 2))[:, None]
    noise = (residual**2).sum() / (2 * (people - 1) * (songs - 1))
    song = of_song.var(axis=1, ddof=1).mean() - noise / people
    own = (of_person[:, 0] - of_person[:, 1]).var(ddof=1) - 2 * noise / songs
    error = np.sqrt(own / people + 2 * song / songs + 2 * noise / (people * songs))
    assert min(song, own) > 0  # else REML would stop at zero, where the two differ
    assert found.effect == pytest.approx(of_person[:, 0].mean() - of_person[:, 1].mean())
    assert (found.sd_noise, found.sd_song, found.sd_slope) == pytest.approx(np.sqrt([noise, song, own]), rel=1e-3)
    assert found.standard_error == pytest.approx(error, rel=1e-3)
    assert found.degrees_of_freedom == songs - 1
    assert found.p == pytest.approx(2 * stats.t.sf(abs(found.effect) / error, songs - 1), rel=1e-2)


def test_too_few_people_or_songs_have_no_mixed_model():
    answers = synthetic_answers(0, n_participants=2)
    assert mixed_effect(answers.rating, contrast(answers), answers.participant, answers.track_id) is None
    answers = synthetic_answers(0, n_participants=4)
    songs = answers.track_id.where(contrast(answers) < 0, "one song")
    assert mixed_effect(answers.rating, contrast(answers), answers.participant, songs) is None
    for y in (np.ones(len(answers)), 50 + 100 * contrast(answers)):
        assert mixed_effect(y, contrast(answers), answers.participant, answers.track_id) is None


@hypothesis.given(
    st.integers(3, 7), st.integers(1, 40), st.lists(st.sampled_from([0, 1, 50, 99, 100]), min_size=5), st.data()
)
@hypothesis.settings(max_examples=60)
def test_whatever_is_answered_the_model_gives_a_p_value_or_none(n_participants, n_songs, ratings, data):
    answers = synthetic_answers(0, n_participants=n_participants)
    kind = data.draw(st.sampled_from(["all", "participant", "condition and participant"]))
    number = {"all": np.arange(len(answers)), "participant": answers.index // 15}.get(
        kind, answers.index // 15 * 2 + (contrast(answers) > 0)
    )
    y = np.array(ratings, float)[np.asarray(number) % len(ratings)]
    found = mixed_effect(y, contrast(answers), answers.participant, np.arange(len(answers)) % n_songs)
    if found is not None:
        assert 0 <= found.p <= 1
        assert found.low <= found.effect <= found.high
        assert np.isfinite(found).all()


# --- rates and conditions ---------------------------------------------------------------------------------------------


def test_rates_are_those_of_a_hand():
    answers = pd.DataFrame({
        "conditions": [("recommended",), ("recommended",), ("set", "random"), ("set", "matched")],
        "like": [True, False, True, True], "known": [True, False, False, False], "rating": [80, 20, 60, 70],
    })  # fmt: skip
    found = {rate.condition: rate for rate in rates(answers)}
    assert list(found) == conditions_of(answers) == ["recommended", "set", "matched", "random"]
    assert (found["recommended"].liked, found["recommended"].known, found["recommended"].rating) == (50, 50, 50)
    assert (found["set"].n, found["set"].liked, found["set"].rating) == (2, 100, 65)
    theirs = stats.binomtest(1, 2).proportion_ci(method="wilson")
    assert (found["recommended"].low, found["recommended"].high) == pytest.approx((100 * theirs.low, 100 * theirs.high))


def test_a_song_of_both_methods_counts_in_both():
    rows = [
        (person, song, conditions, like, False, 50)
        for person, likes in (("a", (True, False, True)), ("b", (True, True, False)), ("c", (True, True, True)))
        for song, conditions, like in zip(
            ("s", "t", "u"), (("method 1", "method 2"), ("method 1",), ("method 2",)), likes, strict=True
        )
    ]
    answers = pd.DataFrame(rows, columns=["participant", "track_id", "conditions", "like", "known", "rating"])
    found = compare_conditions(answers, "liked", "method 2", "method 1").paired
    assert found.difference == pytest.approx(np.mean([50, -50, 0]))


def test_who_answered_in_one_condition_only_is_not_compared():
    answers = synthetic_answers(0, n_participants=5)
    is_left_out = (answers.participant == "p0") & (answers.conditions == ("recommended",))
    assert compare_conditions(answers[~is_left_out], "rating", "recommended", "set").paired.n == 4
    alone = compare_conditions(answers[answers.participant == "p1"], "rating", "recommended", "set")
    assert alone.paired is alone.mixed is alone.needed is None


def test_retest_agreement_is_that_of_a_hand():
    found = retest([1, 1, 1, 0, 0], [1, 1, 0, 0, 1], [50, 60, 70, 20, 30], [55, 60, 30, 25, 80])
    assert (found.n, found.same, found.apart) == (5, 60, 20)
    assert found.kappa == pytest.approx((0.6 - 0.52) / 0.48)
    assert retest([], [], [], []) is None
    assert np.isnan(retest([1, 1], [1, 1], [5, 5], [5, 5]).kappa)


# --- power ------------------------------------------------------------------------------------------------------------


def test_power_is_the_share_of_tests_that_find_the_effect():
    d = np.random.default_rng(0).normal(0.5, 1, (20_000, 25))
    found = (stats.ttest_1samp(d, 0, axis=1).pvalue < 0.05).mean()
    assert power_of(0.5, 25) == pytest.approx(found, abs=3 * np.sqrt(0.25 / len(d)))


def test_participants_needed_are_those_of_the_tables():
    """Those of G*Power 3.1 and of statsmodels' TTestPower, rounded up."""
    assert [participants_needed(d_z) for d_z in (0.3, 0.5, -0.5, 0.8, 0.87)] == [90, 34, 34, 15, 13]
    assert participants_needed(0.0) is participants_needed(float("nan")) is None
    assert power_of(detectable_effect(30), 30) == pytest.approx(0.8, abs=1e-6)


# --- conclusion -------------------------------------------------------------------------------------------------------


def concluded(answers):
    return conclusion(compare_conditions(answers, "liked", *COMPARED["set"][0]))


def test_the_conclusion_says_no_more_than_the_tests_show():
    assert concluded(synthetic_answers(0, effect=30, n_participants=4)).startswith("nothing may be concluded from 4")
    assert "liked recommended songs more often than set songs" in concluded(synthetic_answers(0, effect=30))
    assert "liked recommended songs less often than set songs" in concluded(synthetic_answers(0, effect=-30))
    shown = concluded(synthetic_answers(0))
    assert shown.startswith("no difference between recommended and set songs was shown")
    assert "would miss a true difference of" in shown


def test_songs_that_all_hear_do_not_speak_for_other_songs():
    """Five good songs raise every participant's difference: the paired tests are sure, the mixed model is not."""
    found = compare_conditions(synthetic_answers(8, n_participants=20, are_hubs=True), "liked", *COMPARED["set"][0])
    assert found.paired.p_sign_flip < 0.001
    assert found.mixed.p > 0.05
    assert found.mixed.degrees_of_freedom == 4
    assert "whether that holds for other people and songs is not shown" in conclusion(found)


# --- synthetic raters ------------------------------------------------------------------------------------------------

TESTS = ("p_t", "p_wilcoxon", "p_sign_flip")


def simulated(n, measures=MEASURES, **how):
    """How often each test finds something, and how often each interval holds the effect on the rating."""
    found, held = Counter(), Counter()
    for seed in range(n):
        answers = synthetic_answers(seed, **how)
        for measure in measures:
            compared = compare_conditions(answers, measure, "recommended", "set")
            for test in TESTS:
                found[measure, test] += getattr(compared.paired, test) < 0.05
            found[measure, "mixed"] += compared.mixed.p < 0.05
            for kind in ("paired", "mixed"):
                interval = getattr(compared, kind)
                held[measure, kind] += interval.low <= how.get("effect", 0) <= interval.high
    return found, held


def most_by_chance(n):
    return stats.binom.ppf(0.999, n, 0.05)


@pytest.mark.thorough
def test_synthetic_raters_with_an_effect_are_found_out():
    n = 12
    found, held = simulated(n, ("rating",), effect=15, n_participants=10)
    assert min(found.values()) >= n // 2
    assert min(held.values()) >= n - most_by_chance(n)


@pytest.mark.thorough
def test_synthetic_raters_without_an_effect_are_found_rarely():
    n = 12
    found, _ = simulated(n, ("rating",), n_participants=8)
    assert max(found.values()) <= most_by_chance(n)


@pytest.mark.slow
def test_no_test_finds_in_400_simulations_what_is_not_there():
    found, held = simulated(400)
    assert max(found.values()) <= most_by_chance(400), found
    assert min(held.values()) >= 400 - most_by_chance(400), held


@pytest.mark.slow
def test_intervals_hold_a_planted_effect_in_200_simulations():
    _, held = simulated(200, ("rating",), effect=12)
    assert min(held.values()) >= 200 - most_by_chance(200), held


@pytest.mark.slow
def test_songs_that_are_recommended_to_all_fool_the_paired_tests_but_not_the_model():
    found, _ = simulated(200, ("rating",), are_hubs=True, n_participants=20)
    assert found["rating", "mixed"] <= most_by_chance(200), found
    assert found["rating", "p_t"] > 2 * most_by_chance(200), found
