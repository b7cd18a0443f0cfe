"""All-pairs top-N: arrays in, arrays out."""

from musicrec.similarity.exact import METRICS, top_n
from musicrec.similarity.filters import Songs, songs_of
from musicrec.similarity.gate import Quality, check_lists, churn, quality
from musicrec.similarity.hubness import METHODS, Hubness, hubs, rerank, statistics
from musicrec.similarity.lists import is_asked, pool_depth, refine, score_range
from musicrec.similarity.ranking import Lists

__all__ = [
    "METHODS",
    "METRICS",
    "Hubness",
    "Lists",
    "Quality",
    "Songs",
    "check_lists",
    "churn",
    "hubs",
    "is_asked",
    "pool_depth",
    "quality",
    "refine",
    "rerank",
    "score_range",
    "songs_of",
    "statistics",
    "top_n",
]
