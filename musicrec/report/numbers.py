"""The figures the page states: tables in, small tables out. Nothing here reads a file or draws."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from sklearn.manifold import TSNE
from sklearn.metrics import precision_recall_fscore_support
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

from musicrec.schemas import FAILED, OK, SKIPPED
from musicrec.settings import Metric

SEED = 0
MAP_STEPS = 500  # of t-SNE: as many again bring the divergence of a thousand songs down by 2 %, and take twice as long
NO_GENRE = "no genre"
EXAMPLES_A_REASON = 3


@dataclass(frozen=True)
class StageCount:
    """How the songs of the catalog fared in one stage."""

    stage: str
    ok: int
    skipped: int
    failed: int
    catalog: int

    @property
    def total(self) -> int:
        """Songs with an outcome."""
        return self.ok + self.skipped + self.failed

    @property
    def missing(self) -> int:
        """Songs of the catalog without an outcome; below zero if there are more outcomes than songs."""
        return self.catalog - self.total


@dataclass(frozen=True)
class Problem:
    """Songs that one stage skipped or failed for one reason."""

    stage: str
    status: str
    reason: str
    count: int
    examples: list[tuple[str, str]]  # track_id, detail


def account(counts: pd.DataFrame, catalog: int, stages: Sequence[str]) -> list[StageCount]:
    """Outcomes of each stage, in the order of `stages`.

    Parameters
    ----------
    counts : pandas.DataFrame
        Columns ``stage``, ``status`` and ``count``, one row a pair.
    catalog : int
        Songs in the catalog.
    stages : sequence of str
        Stages in the order they run; those that are not in `counts` get zeros.
    """
    number = counts.set_index(["stage", "status"])["count"].to_dict()
    files = catalog + int(
        number.get(("catalog", SKIPPED), 0)
    )  # the first stage also answers for files that are no songs
    return [
        StageCount(
            stage=stage,
            catalog=files if stage == "catalog" else catalog,
            **{s: int(number.get((stage, s), 0)) for s in (OK, SKIPPED, FAILED)},
        )
        for stage in stages
    ]


def find_problems(outcomes: pd.DataFrame, stages: Sequence[str]) -> list[Problem]:
    """Skipped and failed songs by stage, status and reason, the commonest reason of a stage first.

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


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share.

    Parameters
    ----------
    successes, n : int
        ``0 <= successes <= n`` and ``n > 0``.
    """
    interval = stats.binomtest(successes, n).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def genre_scores(truth: pd.Series, predicted: pd.Series) -> pd.DataFrame:
    """Precision, recall and F1 of each genre, best F1 first.

    Returns
    -------
    pandas.DataFrame
        Columns ``genre``, ``precision``, ``recall``, ``f1`` (each in [0, 1]) and ``songs``; only genres with songs.
    """
    genres = sorted(truth.unique())
    # Not classification_report, which loses a genre that is called "accuracy".
    scores = precision_recall_fscore_support(truth, predicted, labels=genres, zero_division=0)
    table = pd.DataFrame(dict(zip(("precision", "recall", "f1", "songs"), scores, strict=True))).astype({"songs": int})
    table.insert(0, "genre", genres)
    return table.sort_values(["f1", "genre"], ascending=[False, True], ignore_index=True)


def project(vectors: npt.NDArray[np.float32], metric: Metric) -> npt.NDArray[np.float32]:
    """t-SNE of embedding vectors onto a plane.

    Parameters
    ----------
    vectors : ndarray, shape (n, d), n >= 5
    metric : str
        The one that the recommendation table uses.

    Returns
    -------
    ndarray, shape (n, 2)
    """
    # A plane through the vectors keeps far groups apart, but vectors that are all alike span none.
    init = "pca" if vectors.shape[1] > 1 and np.ptp(vectors, axis=0).any() else "random"
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, metric=metric, init=init, max_iter=MAP_STEPS, random_state=SEED, n_jobs=1)
    with threadpool_limits(1):  # OpenMP threads that wait for a busy core cost more than they gain: seconds, not ms
        points: npt.NDArray[np.float32] = tsne.fit_transform(vectors)
    return points


def count_occurrences(ids: "pd.Index[str]", recommended: Iterable["pd.Series[str]"]) -> npt.NDArray[np.int64]:
    """k-occurrence: in how many lists each song stands.

    Parameters
    ----------
    ids : pandas.Index, shape (n,)
        Track ids.
    recommended : iterable of pandas.Series
        The track ids that stand in lists, piece by piece.

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
    """Share of the first `k` neighbours that have the genre of the song they are recommended for.

    Parameters
    ----------
    pairs : pandas.DataFrame
        Columns ``rank`` (from 1), ``genre`` and ``similar_genre``; pairs that lack a genre do not count.
    k : int
    """
    known = pairs[pairs["rank"] <= k].dropna(subset=["genre", "similar_genre"])
    return float((known["genre"] == known["similar_genre"]).mean())


def chance_share(queries: pd.Series, pool: pd.Series) -> float:
    """Same-genre share that neighbours drawn at random from `pool` would give.

    Parameters
    ----------
    queries, pool : pandas.Series
        Genres of the songs asked for, and of all songs that may be recommended (the queries among them).
    """
    others = pool.value_counts() - 1  # a song is never recommended for itself
    return float(queries.dropna().map(others).mean() / max(1, pool.count() - 1))


def pick_examples(genres: pd.Series, n: int) -> list[str]:
    """Track ids of `n` songs, spread over the genres; always the same ones for the same songs.

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
    turn = songs.groupby(songs).cumcount()  # first one song of every genre, then a second …
    order = pd.DataFrame({"turn": turn, "genre": songs}).sort_values(["turn", "genre"], kind="stable")
    return list(order.index[:n])
