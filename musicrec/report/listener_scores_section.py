"""The report's section on ``OUT/listener_scores``: how well methods find what listeners came to like."""

from typing import Any

import pandas as pd

from musicrec.evaluate.listeners.judging import ALL
from musicrec.evaluate.listeners.score_texts import HEADS, MAIN, SPLITS, WITH_INTERVAL, alike
from musicrec.store.store import Store

Content = dict[str, Any]


def listener_scores(store: Store) -> Content | None:
    """Return what the template prints; None if no method was judged."""
    if not store.exists("listener_scores"):
        return None
    scores = store.read("listener_scores").to_pandas()
    footer = store.footer("listener_scores")
    values = scores[scores["against"].isna() & (scores["band"] == ALL)].set_index(["metric", "method"]).sort_index()
    methods = list(values.loc[MAIN].sort_values("value", ascending=False, kind="stable").index)
    metrics = [metric for metric in HEADS if metric in values.index.get_level_values("metric")]
    return {
        "split": SPLITS[footer["settings"]["split"]],
        "n": footer["settings"]["n"],
        **footer["lineage"]["listeners"],
        "heads": [HEADS[metric] for metric in metrics],
        "rows": [(method, [_cell(values.loc[(metric, method)], metric) for metric in metrics]) for method in methods],
        "best": methods[0],
        "alike": alike(scores, methods),
    }


def _cell(row: pd.Series, metric: str) -> Content:
    interval = {"low": row["low"], "high": row["high"]} if metric in WITH_INTERVAL else {}
    return {"value": row["value"], **interval}
