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
        ``n_users``, ``n_songs``, ``n_cold_users``, ``settings``, and perhaps ``n_left_out`` and ``hybrid``, the
        weights of its methods.
    """
    values = scores[scores["against"].isna()].set_index(["metric", "band", "method"]).sort_index()
    methods = list(values.loc[MAIN, ALL].sort_values("value", ascending=False, kind="stable").index)
    metrics = [metric for metric in HEADS if (metric, ALL) in values.index.droplevel("method")]
    head = ["method", *(HEADS[metric] + ("  [95 %]" if metric in WITH_INTERVAL else "") for metric in metrics)]
    rows = [[method, *(_cell(values.loc[metric, ALL, method], metric) for metric in metrics)] for method in methods]
    bands = [b for b in (*ITEM_BANDS, COLD_ARTISTS, *HISTORY_BANDS) if values["n_users"].get(("recall", b, methods[0]))]
    of_bands = [[method, *(_number(values["value"]["recall", band, method]) for band in bands)] for method in methods]
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
    return lines


def alike(scores: pd.DataFrame, methods: list[str]) -> list[str]:
    """Return the methods that the paired tests of nDCG do not tell from the first."""
    pairs = scores[(scores["metric"] == MAIN) & scores["against"].notna() & ~(scores["p_holm"] < SURE)]
    first = methods[0]
    found = {*pairs["against"][pairs["method"] == first], *pairs["method"][pairs["against"] == first]}
    return [method for method in methods if method in found]


def _cell(row: pd.Series, metric: str) -> str:
    number = _number(row["value"])
    return f"{number} [{row['low']:.3f}–{row['high']:.3f}]" if metric in WITH_INTERVAL else number


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.3f}"
