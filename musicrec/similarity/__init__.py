"""All-pairs top-N, and songs for somebody by the songs one likes: arrays in, arrays out."""

from typing import TYPE_CHECKING, Any

from musicrec.similarity.gate import Quality, check_lists, churn, quality
from musicrec.similarity.liked import POOLS, Taste, best, medoid, score
from musicrec.similarity.spaces import Space

if TYPE_CHECKING:
    from musicrec.similarity.exact import METRICS, Lists, top_n

__all__ = [
    "METRICS",
    "POOLS",
    "Lists",
    "Quality",
    "Space",
    "Taste",
    "best",
    "check_lists",
    "churn",
    "medoid",
    "quality",
    "score",
    "top_n",
]

COMPILED = {"METRICS", "Lists", "top_n"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - as asked for
    """Import what needs numba when it is asked for: a recommendation needs none of it, and starts at once."""
    if name in COMPILED:
        from musicrec.similarity import exact

        return getattr(exact, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
