"""A summary of the table of scores in a few lines."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from musicrec.evaluate.controls import CONSTANT, CONSTANT_SOURCE, SOURCE_ALONE, SOURCE_HEARD

SPLITS = {"random": "random split", "artist": "no artist on both sides"}
CONTROLS = (CONSTANT, SOURCE_ALONE, CONSTANT_SOURCE, SOURCE_HEARD)
MOST_NAMED = 3  # genres that tie
IN_WORDS = dict(enumerate(("four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"), start=4))
CELL = f"{'accuracy %  [95 %]':<21}{'F1 %':>6}{'AUC':>7}"


def ranked(scores: pd.DataFrame, split: str) -> list[str]:
    """Return the models that were tested on a split, the most accurate first; controls are not among them."""
    overall = scores[scores["genre"].isna() & (scores["metric"] == "accuracy") & (scores["split"] == split)]
    models = overall[~overall["model"].isin(CONTROLS)]
    return list(models.sort_values(["value", "model"], ascending=[False, True])["model"])


def hardest_split(scores: pd.DataFrame) -> str:
    """Return ``artist`` where models were tested on it, else the first split there is."""
    held = sorted(set(scores["split"]))
    return "artist" if "artist" in held or not held else held[0]


class Extremes(NamedTuple):
    """The genres that a model names best and worst, in words; a tie is named."""

    best: str
    worst: str
    high: float  # F1 of the best
    low: float  # and of the worst

    @property
    def tie(self) -> bool:
        """Whether all genres are named equally well."""
        return self.best == self.worst


def best_and_worst(scores: pd.DataFrame, model: str, split: str) -> Extremes | None:
    """Return the genres that a model names best and worst by F1; None unless two genres were tested."""
    wanted = (scores["model"] == model) & (scores["split"] == split) & (scores["metric"] == "f1")
    f1 = scores[wanted].dropna(subset=["genre", "value"]).set_index("genre")["value"]
    return extremes(f1) if len(f1) > 1 else None


def extremes(figures: "pd.Series[float]") -> Extremes:
    """Return the genres with the highest and the lowest figure.

    Examples
    --------
    >>> extremes(pd.Series({"blues": 1.0, "jazz": 1.0, "rock": 0.5}))[:2]
    ('blues and jazz tie', 'rock')
    >>> extremes(pd.Series({name: 0.5 for name in "abcdef"})).best
    'six genres tie'
    """
    values = figures.astype(float).round(9)  # a rounding error is no difference
    high, low = values.max(), values.min()
    best, worst = (_named(sorted(map(str, values.index[values == end]))) for end in (high, low))
    return Extremes(best, worst, float(high), float(low))


def _named(genres: Sequence[str]) -> str:
    if len(genres) == 1:
        return genres[0]
    if len(genres) <= MOST_NAMED:
        return f"{', '.join(genres[:-1])} and {genres[-1]} tie"
    return f"{IN_WORDS.get(len(genres), len(genres))} genres tie"


def summary(scores: pd.DataFrame) -> str:
    """Return plain text for a terminal: models and controls by splits, then the best and worst genre of each model.

    Parameters
    ----------
    scores : pandas.DataFrame
        Columns of ``musicrec.schemas.SCORES``.
    """
    if scores.empty:
        return "nothing was evaluated"
    main = hardest_split(scores)
    splits = [split for split in SPLITS if split in set(scores["split"])]
    splits += sorted(set(scores["split"]) - set(splits))
    models = ranked(scores, main)
    models += [model for split in splits for model in ranked(scores, split) if model not in models]
    named = [*models, *(name for name in (SOURCE_ALONE, CONSTANT) if name in set(scores["model"]))]
    width = max(map(len, ["model", *named])) + 2
    lines = [
        " " * width + "".join(f"{SPLITS.get(split, split):<{len(CELL) + 3}}" for split in splits),
        f"{'model':<{width}}" + (CELL + "   ") * len(splits),
        *(f"{name:<{width}}" + "   ".join(_cell(scores, name, split) for split in splits) for name in named),
        "",
        *_genre_lines(scores, models, main),
        *_source_lines(scores, main),
    ]
    return "\n".join(line.rstrip() for line in lines).rstrip()


def _cell(scores: pd.DataFrame, model: str, split: str) -> str:
    wanted = scores[(scores["model"] == model) & (scores["split"] == split) & scores["genre"].isna()]
    figures = wanted.set_index("metric")[["value", "low", "high"]]
    if "accuracy" not in figures.index:
        return f"{'–':<{len(CELL)}}"
    value, low, high = 100 * figures.loc["accuracy"]
    f1, auc = (figures["value"].get(metric, float("nan")) for metric in ("f1", "auc"))
    interval = f"[{low:.1f}–{high:.1f}]"
    return f"{value:<6.1f}{interval:<15}{_or_dash(100 * f1, 1):>6}{_or_dash(auc, 3):>7}"


def _or_dash(value: float, digits: int) -> str:
    return "–" if pd.isna(value) else f"{value:.{digits}f}"


def _genre_lines(scores: pd.DataFrame, models: list[str], split: str) -> list[str]:
    found = {model: best_and_worst(scores, model, split) for model in models}
    return [
        f"{model}: {both.best} (F1)" if both.tie else f"{model}: best at {both.best}, worst at {both.worst} (F1)"
        for model, both in found.items()
        if both
    ]


def _source_lines(scores: pd.DataFrame, split: str) -> list[str]:
    rows = scores[(scores["metric"] == "source_accuracy") & (scores["split"] == split)].set_index("model")["value"]
    if SOURCE_HEARD not in rows.index:
        return []
    named_source, commonest = 100 * rows[SOURCE_HEARD], 100 * rows[CONSTANT_SOURCE]
    line = "The features give away the source of the file for {:.1f} % of songs; the commonest source has {:.1f} %."
    return [line.format(named_source, commonest)]
