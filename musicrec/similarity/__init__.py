"""All-pairs top-N: arrays in, arrays out."""

from musicrec.similarity.exact import METRICS, Lists, top_n
from musicrec.similarity.gate import Quality, check_lists, churn, quality

__all__ = ["METRICS", "Lists", "Quality", "check_lists", "churn", "quality", "top_n"]
