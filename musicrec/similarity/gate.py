"""What a table of similar songs must satisfy before anyone sees it, and the figures that describe it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import PublishError

Ids = NDArray[np.int32]
Scores = NDArray[np.float32]

LARGEST = float(np.finfo(np.float32).max)
SCORE_RANGE: dict[str, tuple[float, float]] = {
    "cosine": (-1.0, 1.0),
    "euclidean": (-np.inf, 0.0),
    "inner": (-LARGEST, LARGEST),
}


class Quality(NamedTuple):
    """How a table spreads its recommendations over the catalog."""

    coverage: float  # share of songs that stand in somebody's list
    antihub_share: float  # share of songs that stand in nobody's
    max_hub_share: float  # share of all lists the most frequent song stands in
    hub_skew: float  # skewness of the number of lists a song stands in (Radovanović et al., JMLR 2010)


def check_lists(ids: Ids, scores: Scores, metric: str) -> None:
    """Raise PublishError unless every list is a ranking of other songs, each once, by falling score in range.

    Parameters
    ----------
    ids : numpy.ndarray
        int32 [N, n], row numbers.
    scores : numpy.ndarray
        float32 [N, n].
    metric : str
        Metric of the scores.
    """
    low, high = SCORE_RANGE[metric]
    ordered = np.sort(ids, axis=1)
    faults = {
        "names a song that does not exist": ((ids < 0) | (ids >= len(ids))).any(axis=1),
        "recommends the song itself": (ids == np.arange(len(ids))[:, None]).any(axis=1),
        "repeats a song": (ordered[:, 1:] == ordered[:, :-1]).any(axis=1),
        "has a score out of range": ~((scores >= low) & (scores <= high)).all(axis=1),
        "is not in order of score": (scores[:, 1:] > scores[:, :-1]).any(axis=1),
    }
    for fault, rows in faults.items():
        if rows.any():
            raise PublishError(f"similar: the list of row {int(rows.argmax())} {fault} ({int(rows.sum())} such lists)")


def quality(ids: Ids) -> Quality:
    """Coverage and hubness of the lists `ids`, int32 [N, n]."""
    occurrence = np.bincount(ids.ravel(), minlength=len(ids)).astype(np.float64)
    spread = occurrence.std()
    skew = float((((occurrence - occurrence.mean()) / spread) ** 3).mean()) if spread > 0 else 0.0
    covered = float((occurrence > 0).mean())
    return Quality(covered, 1.0 - covered, float(occurrence.max() / len(ids)), skew)


def churn(before: dict[str, set[str]], now: dict[str, set[str]]) -> float | None:
    """Mean share of a song's list that was not in its list before, over the songs of both; None without any."""
    common = before.keys() & now.keys()
    if not common:
        return None
    return float(np.mean([len(now[t] - before[t]) / max(1, len(now[t])) for t in common]))
