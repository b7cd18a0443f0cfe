"""The report's section on ``OUT/listener_scores``: how well methods find what listeners came to like."""

from typing import Any

from musicrec.evaluate.listeners.judging import ALL
from musicrec.evaluate.listeners.score_texts import HEADS, SPLITS, WITH_INTERVAL, alike, best_first, by_metric
from musicrec.store.store import Store

Content = dict[str, Any]


def listener_scores(store: Store) -> Content | None:
    """Return what the template prints; None if no method was judged."""
    if not store.exists("listener_scores"):
        return None
    scores = store.read("listener_scores").to_pandas()
    footer = store.footer("listener_scores")
    figures, methods = by_metric(scores), best_first(scores)
    metrics = [metric for metric in HEADS if (metric, ALL, methods[0]) in figures]
    return {
        "split": SPLITS[footer["settings"]["split"]],
        "n": footer["settings"]["n"],
        **footer["lineage"]["listeners"],
        "heads": [HEADS[metric] for metric in metrics],
        "rows": [(method, [_cell(figures[metric, ALL, method], metric) for metric in metrics]) for method in methods],
        "best": methods[0],
        "alike": alike(scores, methods),
    }


def _cell(row: Any, metric: str) -> Content:  # noqa: ANN401 - a row of the table
    return {"value": row.value, **({"low": row.low, "high": row.high} if metric in WITH_INTERVAL else {})}
