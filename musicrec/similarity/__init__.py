"""All-pairs top-N: arrays in, arrays out."""

from musicrec.similarity.exact import METRICS, top_n
from musicrec.similarity.gate import Quality, check_lists, churn, quality

__all__ = ["METRICS", "Quality", "check_lists", "churn", "quality", "top_n"]
