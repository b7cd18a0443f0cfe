"""The numbers in the report: functions from tables to small tables. Nothing here reads a file or draws."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.manifold import TSNE
from sklearn.metrics import precision_recall_fscore_support
from threadpoolctl import threadpool_limits  # comes with scikit-learn

from musicrec.schemas import FAILED, OK, SKIPPED
from musicrec.settings import Metric

SEED = 0
MAP_STEPS = 500  # t-SNE steps; for a thousand songs, twice as many lower the divergence by 2 % and take twice as long
NO_GENRE = "no genre"
EXAMPLES_A_REASON = 3


@dataclass(frozen=True)
class StageCount:
    """Outcomes of the catalog's songs in one stage."""

    stage: str
    ok: int
    skipped: int
    failed: int
    catalog: int

    @property
    def total(self) -> int:
        """Number of songs with an outcome."""
        return self.ok + self.skipped + self.failed

    @property
    def missing(self) -> int:
        """Number of songs of the catalog without an outcome; negative if there are more outcomes than songs."""
        return self.catalog - self.total


@dataclass(frozen=True)
class Problem:
    """Songs that were skipped or failed in one stage for one reason."""

    stage: str
    status: str
    reason: str
    count: int
    examples: list[tuple[str, str]]  # track_id, detail


def account(counts: pd.DataFrame, catalog: int, stages: Sequence[str]) -> list[StageCount]:
    """Count the outcomes of each stage, in the order of `stages`.

    Parameters
    ----------
    counts : pandas.DataFrame
        Columns ``stage``, ``status`` and ``count``, one row per stage and status.
    catalog : int
        Number of songs in the catalog.
    stages : sequence of str
        Stages in the order they run; stages that are not in `counts` get zeros.
    """
    number = counts.set_index(["stage", "status"])["count"].to_dict()
    # The stage catalog also has outcomes for files that are not songs.
    files = catalog + int(number.get(("catalog", SKIPPED), 0))
    return [
        StageCount(
            stage=stage,
            catalog=files if stage == "catalog" else catalog,
            **{s: int(number.get((stage, s), 0)) for s in (OK, SKIPPED, FAILED)},
        )
        for stage in stages
    ]


def find_problems(outcomes: pd.DataFrame, stages: Sequence[str]) -> list[Problem]:
    """Group skipped and failed songs by stage, status and reason, the commonest reason of a stage first.

    Parameters
    ----------
    outcomes : pandas.DataFrame
        Rows of the ``outcomes`` table that are not ok.
    stages : sequence of str
        Stages in the order they run.
    """
    rows = outcomes.fillna({"reason": "no reason recorded", "detail": ""}).sort_values("track_id")
    problems = []
    for key, group in rows.groupby(["stage", "status", "reason"]):
        stage, status, reason = map(str, key)
        few = group.head(EXAMPLES_A_REASON)
        problems.append(Problem(stage, status, reason, len(group), list(zip(few.track_id, few.detail, strict=True))))
    return sorted(problems, key=lambda p: (stages.index(p.stage), -p.count, p.reason))


def genre_scores(truth: pd.Series, predicted: pd.Series) -> pd.DataFrame:
    """Compute precision, recall and F1 of each genre, best F1 first.

    Returns
    -------
    pandas.DataFrame
        Columns ``genre``, ``precision``, ``recall``, ``f1`` (each in [0, 1]) and ``songs``; only genres with songs.
    """
    genres = sorted(truth.unique())
    # classification_report would lose a genre with the name "accuracy".
    scores = precision_recall_fscore_support(truth, predicted, labels=genres, zero_division=0)
    table = pd.DataFrame(dict(zip(("precision", "recall", "f1", "songs"), scores, strict=True))).astype({"songs": int})
    table.insert(0, "genre", genres)
    return table.sort_values(["f1", "genre"], ascending=[False, True], ignore_index=True)


def project(vectors: npt.NDArray[np.float32], metric: Metric) -> npt.NDArray[np.float32]:
    """Project embedding vectors onto a plane with t-SNE.

    Parameters
    ----------
    vectors : ndarray, shape (n, d), n >= 5
    metric : str
        Metric of the recommendation table.

    Returns
    -------
    ndarray, shape (n, 2)
    """
    # Starting from the principal components keeps far groups apart, but needs vectors that are not all equal.
    init = "pca" if vectors.shape[1] > 1 and np.ptp(vectors, axis=0).any() else "random"
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, metric=metric, init=init, max_iter=MAP_STEPS, random_state=SEED, n_jobs=1)
    with threadpool_limits(1):  # on busy cores, OpenMP threads that wait for each other cost seconds and gain little
        points: npt.NDArray[np.float32] = tsne.fit_transform(vectors)
    return points


class Plane(NamedTuple):
    """Songs in the plane of their first two principal components."""

    points: npt.NDArray[np.float32]  # [n, 2]
    shares: tuple[float, float]  # of the variance that each component holds


def principal_plane(vectors: npt.NDArray[np.floating]) -> Plane:
    """Project vectors onto their first two principal components.

    Parameters
    ----------
    vectors : ndarray, shape (n, d), n >= 2
        Finite.

    Examples
    --------
    >>> import numpy as np
    >>> plane = principal_plane(np.array([[-3.0, 1.0, 0.0], [3.0, 1.0, 0.0], [0.0, 1.0, 0.0]]))
    >>> np.abs(plane.points[:, 0]).tolist(), plane.shares
    ([3.0, 3.0, 0.0], (1.0, 0.0))
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    sizes = np.pad(sizes, (0, 2))
    points = np.pad(left, ((0, 0), (0, 2)))[:, :2] * sizes[:2]
    signs = np.sign(points[np.abs(points).argmax(axis=0), [0, 1]])  # else the sign would differ by machine
    shares = sizes[:2] ** 2 / max((sizes**2).sum(), np.finfo(np.float64).tiny)
    return Plane((points * signs).astype(np.float32) + 0.0, (float(shares[0]), float(shares[1])))


def directions(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return vectors [n, d] at length 1, so that near ones are those of a large cosine; one of zeros stays."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return vectors / np.where(lengths == 0, 1, lengths)


def standardised(features: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return features [n, d] with mean 0 and deviation 1; what is not finite becomes the mean, a constant stays 0."""
    values = features.to_numpy(np.float64)
    values = np.where(np.isfinite(values), values, np.nan)
    is_known = np.isfinite(values).any(axis=0)
    values = values[:, is_known]
    deviations = np.nanstd(values, axis=0)
    scaled = (values - np.nanmean(values, axis=0)) / np.where(deviations == 0, 1, deviations)
    return np.nan_to_num(scaled)


def count_occurrences(ids: "pd.Index[str]", recommended: Iterable["pd.Series[str]"]) -> npt.NDArray[np.int64]:
    """Count in how many lists each song is (k-occurrence).

    Parameters
    ----------
    ids : pandas.Index, shape (n,)
        Track ids.
    recommended : iterable of pandas.Series
        Track ids in the lists, piece by piece.

    Returns
    -------
    ndarray of int64, shape (n,)
    """
    counts = np.zeros(len(ids), np.int64)
    for piece in recommended:
        places = ids.get_indexer(pd.Index(piece))
        np.add.at(counts, places[places >= 0], 1)
    return counts


def same_genre_share(pairs: pd.DataFrame, k: int) -> float:
    """Return the share of the first `k` neighbours that have the genre of the song they are recommended for.

    Parameters
    ----------
    pairs : pandas.DataFrame
        Columns ``rank`` (from 1), ``genre`` and ``similar_genre``; pairs without both genres do not count.
    k : int
    """
    known = pairs[pairs["rank"] <= k].dropna(subset=["genre", "similar_genre"])
    return float((known["genre"] == known["similar_genre"]).mean())


def chance_share(queries: pd.Series, pool: pd.Series) -> float:
    """Return the same-genre share of neighbours that are drawn at random from `pool`.

    Parameters
    ----------
    queries, pool : pandas.Series
        Genres of the query songs, and of all songs that may be recommended (including the queries).
    """
    others = pool.value_counts() - 1  # a song is never recommended for itself
    return float(queries.dropna().map(others).mean() / max(1, pool.count() - 1))


def pick_examples(genres: pd.Series, n: int) -> list[str]:
    """Choose `n` songs spread over the genres and return their track ids; the same songs give the same choice.

    Parameters
    ----------
    genres : pandas.Series
        Genre by track id.
    n : int
    """
    songs = genres.fillna(NO_GENRE).sort_index()
    names = np.array(sorted(songs.unique()))
    if len(names) > n:
        names = names[np.linspace(0, len(names) - 1, n).round().astype(int)]
    songs = songs[songs.isin(names)]
    turn = songs.groupby(songs).cumcount()  # first one song of each genre, then a second one, …
    order = pd.DataFrame({"turn": turn, "genre": songs}).sort_values(["turn", "genre"], kind="stable")
    return list(order.index[:n])
