"""All-pairs top-N, and songs for somebody by the songs one likes: arrays in, arrays out."""

from musicrec.similarity.exact import METRICS, top_n
from musicrec.similarity.gate import Quality, check_lists, churn, quality
from musicrec.similarity.liked import POOLS, Taste, best, medoid, score
from musicrec.similarity.spaces import Space

__all__ = [
    "METRICS",
    "POOLS",
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
