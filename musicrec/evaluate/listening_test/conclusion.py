"""One plain sentence of what a listening test allows to conclude."""

from musicrec.evaluate.listening_test.conditions import Comparison
from musicrec.evaluate.listening_test.paired_tests import PairedTest
from musicrec.evaluate.listening_test.power import ALPHA, detectable_effect

FEWEST = 6  # participants: with fewer, no sign-flip test reaches 5 %


def conclusion(found: Comparison) -> str:
    """Return what may be concluded from the comparison that was chosen before the test.

    The sign-flip test decides, as it assumes least. The mixed model says whether the result holds for other songs.

    Parameters
    ----------
    found : Comparison
        The first comparison of ``COMPARED``, of the share of liked songs.
    """
    paired = found.paired
    if paired is None or paired.n < FEWEST:
        n = paired.n if paired else 0
        people = "1 participant" if n == 1 else f"{n} participants"
        return f"nothing may be concluded from {people}; with fewer than {FEWEST}, any difference can be chance."
    if paired.p_sign_flip >= ALPHA:
        return _not_shown(found, paired)
    more = "more" if paired.difference > 0 else "less"
    shown = f"these {paired.n} participants liked {found.first} songs {more} often than {found.second} songs"
    return f"{shown}, by {_sized(paired)}; {_beyond(found, paired)}."


def _not_shown(found: Comparison, paired: PairedTest) -> str:
    text = f"no difference between {found.first} and {found.second} songs was shown: {_sized(paired)}"
    if not paired.sd:
        return f"{text}."
    least = detectable_effect(paired.n) * paired.sd
    return f"{text}; {paired.n} participants would miss a true difference of {least:.0f} points in 20 % of tests."


def _sized(paired: PairedTest) -> str:
    interval = f"95 % interval {paired.low:+.1f} to {paired.high:+.1f}"
    return f"{paired.difference:+.1f} points ({interval}, {p_text(paired.p_sign_flip)})"


def _beyond(found: Comparison, paired: PairedTest) -> str:
    model = found.mixed
    if model is None:
        return "whether that holds for other people and songs was not tested"
    if model.p < ALPHA and model.effect * paired.difference > 0:
        return f"the same may be expected of other people and songs like these (mixed model, {p_text(model.p)})"
    return f"whether that holds for other people and songs is not shown (mixed model, {p_text(model.p)})"


def p_text(p: float) -> str:
    """Return a p-value as text.

    Examples
    --------
    >>> p_text(0.0312), p_text(0.00001)
    ('p = 0.031', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
