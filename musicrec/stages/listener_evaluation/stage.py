"""Judge methods of recommendation by likes that were held out, and publish the figures as ``listener_scores``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from musicrec.errors import ConfigError
from musicrec.evaluate.listeners.judging import HeldOut, judge
from musicrec.evaluate.listeners.like_splits import Likes, Split, leave_last_out, random_split, time_split
from musicrec.evaluate.listeners.score_texts import listener_summary
from musicrec.models.recommenders.by_content import MMR, Genre, Max, Mean, MultiInterest
from musicrec.models.recommenders.collaborative import ALS, BM25, BPR, ItemKNN, Popularity, Random
from musicrec.models.recommenders.fused import Hybrid
from musicrec.models.recommenders.scored import Ids, Method
from musicrec.schemas import LISTENER_SCORES
from musicrec.settings import ListenerEvaluationSettings, ListenerMethod
from musicrec.stages.listener_evaluation.listening_data import ListeningData, read_listening
from musicrec.stages.recommendations.genre_probabilities import genre_probabilities
from musicrec.store.store import Store

TABLE = "listener_scores"
HYBRID = "hybrid"
VALIDATION_SHARE = 0.2  # of the listeners with held-out likes; the weights of hybrid are fitted on them
FUSED = ("popularity", "mean", "max")  # what hybrid fuses, beside the best collaborative method that is judged
COLLABORATIVE = ("als", "bm25", "item_knn")  # the first of these

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class ListenerScores:
    """The figures, and whom they are of."""

    scores: pd.DataFrame  # of LISTENER_SCORES
    lineage: dict[str, Any]

    def __str__(self) -> str:
        return listener_summary(self.scores, self.lineage)


def evaluate_listeners(store: Store, settings: ListenerEvaluationSettings) -> ListenerScores:
    """Judge methods by likes that were held out, and publish the table ``listener_scores``.

    Each method learns from the other likes of all listeners, and ranks all songs that a listener has not heard.

    Parameters
    ----------
    store : Store
        OUT, locked by the caller, with ``histories`` and ``similar``.
    settings : ListenerEvaluationSettings
        The split and the methods.

    Raises
    ------
    ConfigError
        A table, times, a second like, or a library is missing.
    """
    data = read_listening(store)
    split = split_likes(data.likes, settings)
    learned, heard = matrices(data, split)
    validation, judged = _drawn(np.unique(data.likes.user[split.test]), settings)
    methods = fitted(store, data, settings, learned, heard)
    lineage: dict[str, Any] = {}
    if HYBRID in settings.methods:
        hybrid = Hybrid({name: methods[name] for name in _fused_methods(settings)})
        hybrid.fit_weights(validation, _held_out(data, split, validation), settings.n)
        methods[HYBRID] = hybrid
        lineage["hybrid"] = dict(zip(hybrid.methods, hybrid.weights.tolist(), strict=True))
    lists: dict[str, Ids] = {name: methods[name].recommend(judged, settings.n) for name in settings.methods}
    scores = _scored(lists, data, learned, (judged, _held_out(data, split, judged)), settings)
    lineage |= {
        "n_users": len(judged),
        "n_validation_users": len(validation),
        "n_cold_users": split.n_cold_users,
        "n_songs": len(data.items.track_ids),
        "n_left_out": data.n_left_out,
    }
    _publish(store, settings, scores, lineage)
    return ListenerScores(scores, lineage | {"settings": settings.model_dump(mode="json")})


def split_likes(likes: Likes, settings: ListenerEvaluationSettings) -> Split:
    """Split likes into those that are learned from and those that are held out."""
    if settings.split == "time":
        return time_split(likes, settings.learn_share)
    if settings.split == "last":
        return leave_last_out(likes)
    return random_split(likes, settings.learn_share, settings.seed)


def matrices(data: ListeningData, split: Split) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Return what is learned from, and what is known to have been heard beside it, [n_users, n_items]."""
    learned = _matrix(data, data.likes.take(split.learn))
    until = np.full(data.n_users, np.inf)
    until[: len(split.until)] = split.until  # listeners after these like nothing
    is_known = ~(data.heard.at >= until[data.heard.user])
    heard = _matrix(data, data.heard.take(is_known))
    liked = _matrix(data, data.likes)
    return learned, (
        heard - heard.multiply(liked)
    ).tocsr()  # a file of what is liked later is no reason to leave it out


def _matrix(data: ListeningData, likes: Likes) -> sparse.csr_array:
    shape = data.n_users, len(data.items.track_ids)
    matrix = sparse.csr_array((np.ones(len(likes.user), np.float32), (likes.user, likes.item)), shape=shape)
    matrix.data[:] = 1
    return matrix


def _held_out(data: ListeningData, split: Split, users: Rows) -> sparse.csr_array:
    return _matrix(data, data.likes.take(split.test))[users]


def _drawn(users: Rows, settings: ListenerEvaluationSettings) -> tuple[Rows, Rows]:
    """Draw listeners to fit weights on, and others to judge; both ascending."""
    order = np.random.default_rng(settings.seed).permutation(users)
    n_validation = max(1, round(VALIDATION_SHARE * len(order)))
    if len(order) < 2 and HYBRID in settings.methods:
        raise ConfigError("one listener has held-out likes; hybrid needs two, as its weights are fitted on others")
    if len(order) < 2:
        return order[:0], order
    judged = order[n_validation:][: settings.max_users]
    return np.sort(order[:n_validation][: settings.max_users]), np.sort(judged)


def _fused_methods(settings: ListenerEvaluationSettings) -> tuple[str, ...]:
    best = next((name for name in COLLABORATIVE if name in settings.methods), COLLABORATIVE[-1])
    return best, *FUSED


def fitted(
    store: Store,
    data: ListeningData,
    settings: ListenerEvaluationSettings,
    learned: sparse.csr_array,
    heard: sparse.csr_array,
) -> dict[str, Method]:
    """Return each method that is judged, or that hybrid fuses, fitted to what is learned from."""
    vectors, seed = data.items.vectors, settings.seed
    made_by: dict[ListenerMethod, Callable[[], Method]] = {
        "random": lambda: Random(seed),
        "popularity": Popularity,
        "item_knn": ItemKNN,
        "bm25": BM25,
        "als": lambda: ALS(seed=seed),
        "bpr": lambda: BPR(seed=seed),
        "mean": lambda: Mean(vectors),
        "max": lambda: Max(vectors),
        "multi_interest": lambda: MultiInterest(vectors),
        "mmr": lambda: MMR(vectors),
        "genre": lambda: Genre(vectors, genre_probabilities(store, data.items.track_ids)),
    }
    wanted = {*settings.methods, *(_fused_methods(settings) if HYBRID in settings.methods else ())}
    return {name: make().fit(learned, heard) for name, make in made_by.items() if name in wanted}


def _scored(
    lists: dict[str, Ids],
    data: ListeningData,
    learned: sparse.csr_array,
    of_users: tuple[Rows, sparse.csr_array],
    settings: ListenerEvaluationSettings,
) -> pd.DataFrame:
    is_learning = np.diff(learned.indptr) > 0
    users = (np.cumsum(is_learning) - 1)[of_users[0]]
    held_out = HeldOut(learned[is_learning], users, of_users[1], data.items.artists, data.items.vectors)
    scores = judge(lists, held_out, settings.n, settings.seed)
    scores.insert(0, "split", settings.split)
    return scores[LISTENER_SCORES.names]


def _publish(store: Store, settings: ListenerEvaluationSettings, scores: pd.DataFrame, lineage: dict[str, Any]) -> None:
    made_of = {table: store.footer(table)["fingerprint"] for table in ("histories", "similar")}
    version = store.new_version(
        TABLE, settings, settings.fingerprint(*made_of.values()), made_of=made_of, listeners=lineage
    )
    version.write_part(pa.Table.from_pandas(scores, LISTENER_SCORES, preserve_index=False))
    store.publish(version)
