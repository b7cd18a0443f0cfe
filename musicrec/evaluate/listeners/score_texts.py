"""The figures of methods as text for a terminal."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from musicrec.evaluate.listeners.judging import ALL, COLD_ARTISTS, HISTORY_BANDS, ITEM_BANDS
from musicrec.monitor.text_table import text_table

MAIN = "ndcg"  # methods are ordered by it
WITH_INTERVAL = ("ndcg", "recall")
HEADS = {
    "ndcg": "nDCG",
    "recall": "recall",
    "map": "MAP",
    "hit_rate": "hit rate",
    "coverage": "coverage",
    "novelty": "novelty",
    "diversity": "diversity",
    "artists_per_list": "artists",
    "cold_share": "cold",
}
SPLITS = {
    "time": "likes after one moment were held out",
    "last": "the last like of each listener was held out",
    "random": "likes drawn at random were held out; what came later helps to find what came before",
}
SURE = 0.05


def listener_summary(scores: pd.DataFrame, about: Mapping[str, Any]) -> str:
    """Return what methods find: a line for each, the best first; recall by bands; and which are not told apart.

    Parameters
    ----------
    scores : pandas.DataFrame
        Columns of ``musicrec.schemas.LISTENER_SCORES``, of one split.
    about : mapping
        ``n_users``, ``n_songs``, ``n_cold_users``, ``settings``, and perhaps ``n_left_out``, ``hybrid``, the
        weights of its methods, and ``left_out``, why some methods are not judged.
    """
    figures = by_metric(scores)
    methods = best_first(scores)
    metrics = [metric for metric in HEADS if (metric, ALL, methods[0]) in figures]
    head = ["method", *(HEADS[metric] + ("  [95 %]" if metric in WITH_INTERVAL else "") for metric in metrics)]
    rows = [[method, *(_cell(figures[metric, ALL, method], metric) for metric in metrics)] for method in methods]
    named = (*ITEM_BANDS, COLD_ARTISTS, *HISTORY_BANDS)
    bands = [band for band in named if ("recall", band, methods[0]) in figures]
    bands = [band for band in bands if figures["recall", band, methods[0]].n_users]
    of_bands = [[method, *(_number(figures["recall", band, method].value) for band in bands)] for method in methods]
    parts = [_heading(about), text_table(head, rows), "", text_table(["recall of", *bands], of_bands)]
    return "\n".join([*parts, "", *_remarks(scores, methods, about)])


def _heading(about: Mapping[str, Any]) -> str:
    settings = about["settings"]
    cold = f"; {n:,} without an earlier like are not judged" if (n := about["n_cold_users"]) else ""
    cold += f"; {n:,} songs of listeners have no vector" if (n := about.get("n_left_out")) else ""
    return (
        f"lists of {settings['n']} out of {about['n_songs']:,} songs for {about['n_users']:,} listeners{cold}; "
        f"{SPLITS[settings['split']]}"
    )


def _remarks(scores: pd.DataFrame, methods: list[str], about: Mapping[str, Any]) -> list[str]:
    named = ", ".join(alike(scores, methods))
    lines = [f"nDCG does not tell {methods[0]} from {named} (paired t-tests, Holm)."] if named else []
    if weights := about.get("hybrid"):
        shares = ", ".join(f"{weight:g} {name}" for name, weight in weights.items() if weight)
        lines.append(f"hybrid is {shares}; the weights fit {about['n_validation_users']:,} other listeners.")
    lines += [f"{method} is not judged: {why}." for method, why in about.get("left_out", {}).items()]
    return lines


def alike(scores: pd.DataFrame, methods: list[str]) -> list[str]:
    """Return the methods that the paired tests of nDCG do not tell from the first."""
    pairs = scores[(scores["metric"] == MAIN) & scores["against"].notna() & ~(scores["p_holm"] < SURE)]
    first = methods[0]
    found = {*pairs["against"][pairs["method"] == first], *pairs["method"][pairs["against"] == first]}
    return [method for method in methods if method in found]


def by_metric(scores: pd.DataFrame) -> dict[tuple[str, str, str], Any]:
    """Return the rows of figures, not of differences, by metric, band and method."""
    return {
        (str(row.metric), str(row.band), str(row.method)): row for row in scores[scores["against"].isna()].itertuples()
    }


def best_first(scores: pd.DataFrame) -> list[str]:
    """Return the methods by descending nDCG."""
    overall = scores[scores["against"].isna() & (scores["metric"] == MAIN) & (scores["band"] == ALL)]
    return list(overall.sort_values(["value", "method"], ascending=[False, True])["method"])


def _cell(row: Any, metric: str) -> str:  # noqa: ANN401 - a row of the table
    number = _number(row.value)
    return f"{number} [{row.low:.3f}–{row.high:.3f}]" if metric in WITH_INTERVAL else number


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.3f}"
