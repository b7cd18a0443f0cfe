"""The score of a listening test as text for a terminal."""

from collections.abc import Iterator

from musicrec.evaluate.listening_test.conditions import Comparison, Rate
from musicrec.evaluate.listening_test.retest import Retest
from musicrec.monitor.text_table import Cell, printable, text_table
from musicrec.serve.listening_test.scored_answers import Score


def score_text(score: Score) -> str:
    """Return a score as text: what was left out, rates, tests, agreement, power and the conclusion."""
    return "\n\n".join(_sections(score))


def _sections(score: Score) -> Iterator[str]:
    yield (
        f"Test {score.test}: {score.n_participants} of {score.n_invited} participants, {score.n_answers} answers used "
        f"of {score.n_files} files."
    )
    if score.left_out:
        rows = [(left.reason, left.n, printable(left.file), printable(left.detail)) for left in score.left_out]
        yield _titled("Left out", text_table(("reason", "n", "file", "why"), rows))
    lines = [(songs, rate) for songs, found in score.rates.items() for rate in found]
    yield _titled("Answers, in percent", text_table(RATE_HEAD, [_rate(*line) for line in lines]))
    compared = [(songs, found) for songs, several in score.comparisons.items() for found in several]
    yield _titled(
        "Differences within participants, in points",
        text_table(PAIRED_HEAD, [_paired(*line) for line in compared]),
    )
    yield _titled(
        "Mixed model with crossed effects of participants and songs, in points",
        text_table(MIXED_HEAD, [_mixed(*line) for line in compared]),
    )
    yield _retest(score.retest)
    yield _power(score)
    yield f"Conclusion: {score.conclusion}"


RATE_HEAD = ("answers to", "condition", "answers", "liked", "95 % interval", "known", "rating")


def _rate(songs: str, rate: Rate) -> tuple[Cell, ...]:
    interval = f"{rate.low:.1f} to {rate.high:.1f}"
    return songs, rate.condition, rate.n, f"{rate.liked:.1f}", interval, f"{rate.known:.1f}", f"{rate.rating:.1f}"


PAIRED_HEAD = (
    "answers to", "measure", "difference", "participants", "points", "95 % interval", "t", "p of t-test",
    "p of Wilcoxon", "p of sign flips",
)  # fmt: skip
MIXED_HEAD = (
    "answers to",
    "measure",
    "difference",
    "effect",
    "95 % interval",
    "p",
    "sd of people",
    "sd of songs",
)


def _p(p: float) -> str:
    return "< .001" if p < 0.001 else f"{p:.3f}"


def _named(songs: str, found: Comparison) -> tuple[str, str, str]:
    return songs, found.measure, f"{found.first} − {found.second}"


def _paired(songs: str, found: Comparison) -> tuple[Cell, ...]:
    if found.paired is None:
        return *_named(songs, found), "too few", "", "", "", "", "", ""
    test = found.paired
    interval = f"{test.low:+.1f} to {test.high:+.1f}"
    tests = (f"{test.t:.3f}", *map(_p, (test.p_t, test.p_wilcoxon, test.p_sign_flip)))
    return *_named(songs, found), test.n, f"{test.difference:+.1f}", interval, *tests


def _mixed(songs: str, found: Comparison) -> tuple[Cell, ...]:
    if found.mixed is None:
        return *_named(songs, found), "too few", "", "", "", ""
    model = found.mixed
    interval = f"{model.low:+.1f} to {model.high:+.1f}"
    spread = (f"{model.sd_participant:.1f}", f"{model.sd_song:.1f}")
    return *_named(songs, found), f"{model.effect:+.1f}", interval, _p(model.p), *spread


def _retest(found: Retest | None) -> str:
    if found is None:
        return "Retest: no song was answered twice."
    return (
        f"Retest: {found.same:.0f} % of {found.n} songs heard twice got the same answer "
        f"(95 % interval {found.low:.0f} to {found.high:.0f}, kappa {found.kappa:.2f}); "
        f"ratings lay {found.apart:.1f} points apart."
    )


def _power(score: Score) -> str:
    (found, *_), *_ = score.comparisons.values()
    if found.paired is None:
        return "Next test: too few participants to say how many it needs."
    if found.needed is None:
        return "Next test: the difference is too small, or does not vary, so no number of participants follows from it."
    return (
        f"Next test: a difference in likes as large as this one (d_z {found.paired.d_z:.2f}) needs {found.needed} "
        "participants to be found in 80 % of tests. The difference of a small test is often too large by chance."
    )


def _titled(title: str, table: str) -> str:
    return f"{title}\n{table}"
