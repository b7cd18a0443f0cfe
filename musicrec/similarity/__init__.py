"""The most similar songs of every song, and recommendations from liked songs: arrays in, arrays out.

``METRICS`` has the names of the metrics, ``METHODS`` those of the methods against hubs, and ``POOLS`` the ways to
combine the similarities to several liked songs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from musicrec.similarity.feature_spaces import Space
from musicrec.similarity.list_quality import Quality, check_lists, churn, quality
from musicrec.similarity.taste import POOLS, Taste, best, medoid, score

if TYPE_CHECKING:
    from musicrec.similarity.hubness import METHODS, rerank, statistics
    from musicrec.similarity.rules import is_asked, pool_depth, refine, score_range
    from musicrec.similarity.search.blocks import METRICS, Lists
    from musicrec.similarity.search.exact import top_n
    from musicrec.similarity.search.on_disk import top_n_on_disk
    from musicrec.similarity.songs import Songs, songs_of

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
    "top_n_on_disk",
]

COMPILED = {
    **dict.fromkeys(("METRICS", "Lists"), "search.blocks"),
    "top_n": "search.exact",
    "top_n_on_disk": "search.on_disk",
    **dict.fromkeys(("Songs", "songs_of"), "songs"),
    **dict.fromkeys(("METHODS", "rerank", "statistics"), "hubness"),
    **dict.fromkeys(("is_asked", "pool_depth", "refine", "score_range"), "rules"),
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - as asked for
    """Import what needs numba only when it is asked for: a recommendation does not need it, and starts faster."""
    if name in COMPILED:
        return getattr(import_module(f"musicrec.similarity.{COMPILED[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Public names, whether they are loaded or not: the documentation is made from them."""
    return sorted({*globals(), *COMPILED})
