"""All-pairs top-N, and songs for somebody by the songs one likes: arrays in, arrays out."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from musicrec.similarity.feature_spaces import Space
from musicrec.similarity.list_quality import Quality, check_lists, churn, quality
from musicrec.similarity.taste import POOLS, Taste, best, medoid, score

if TYPE_CHECKING:
    from musicrec.similarity.filters import Songs, songs_of
    from musicrec.similarity.hubness import METHODS, rerank, statistics
    from musicrec.similarity.rules import is_asked, pool_depth, refine, score_range
    from musicrec.similarity.search.exact import METRICS, Lists, top_n

__all__ = [
    "METHODS",
    "METRICS",
    "POOLS",
    "Lists",
    "Quality",
    "Songs",
    "Space",
    "Taste",
    "best",
    "check_lists",
    "churn",
    "is_asked",
    "medoid",
    "pool_depth",
    "quality",
    "refine",
    "rerank",
    "score",
    "score_range",
    "songs_of",
    "statistics",
    "top_n",
]

COMPILED = {
    **dict.fromkeys(("METRICS", "Lists", "top_n"), "search.exact"),
    **dict.fromkeys(("Songs", "songs_of"), "filters"),
    **dict.fromkeys(("METHODS", "rerank", "statistics"), "hubness"),
    **dict.fromkeys(("is_asked", "pool_depth", "refine", "score_range"), "rules"),
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - as asked for
    """Import what needs numba when it is asked for: a recommendation needs none of it, and starts at once."""
    if name in COMPILED:
        return getattr(import_module(f"musicrec.similarity.{COMPILED[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
