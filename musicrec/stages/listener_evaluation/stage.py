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
from musicrec.evaluate.listeners.score_texts import listener_summary
from musicrec.models.recommenders.by_content import MMR, Genre, Max, Mean, MultiInterest
from musicrec.models.recommenders.collaborative import ALS, BM25, BPR, ItemKNN, Popularity, Random
from musicrec.models.recommenders.scored import Ids, Method
from musicrec.schemas import LISTENER_SCORES
from musicrec.settings import ListenerEvaluationSettings, ListenerMethod
from musicrec.stages.listener_evaluation.held_out_likes import drawn, fused_for, held_out, matrices, split_likes
from musicrec.stages.listener_evaluation.listening_data import ListeningData, read_listening
from musicrec.stages.recommendations.genre_probabilities import genre_probabilities
from musicrec.store.store import Store

TABLE = "listener_scores"
HYBRID = "hybrid"
FUSED = ("popularity", "mean", "max")  # what hybrid fuses, beside the best collaborative method that is judged
NOBODY_TO_FIT = "only one listener has held-out likes, and its weights are fitted on others"
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
        A table, times, a second like, or a library is missing, or hybrid alone is asked for where one listener has
        held-out likes; among others it is left out then.
    """
    data = read_listening(store)
    split = split_likes(data.likes, settings)
    learned, heard = matrices(data, split)
    validation, judged = drawn(data, split, settings)
    asked, left_out = _that_can_be_judged(settings, validation)
    methods = fitted(store, data, asked, learned, heard)
    lineage: dict[str, Any] = {"left_out": left_out} if left_out else {}
    if HYBRID in asked.methods:
        own = {name: methods[name] for name in _fused_methods(asked)}
        methods[HYBRID] = hybrid = fused_for(validation, own, data, split, settings.n)
        lineage["hybrid"] = dict(zip(hybrid.methods, hybrid.weights.tolist(), strict=True))
    lists: dict[str, Ids] = {name: methods[name].recommend(judged, settings.n) for name in asked.methods}
    scores = _scored(lists, data, learned, (judged, held_out(data, split, judged)), settings)
    lineage |= {
        "n_users": len(judged),
        "n_validation_users": len(validation),
        "n_cold_users": split.n_cold_users,
        "n_songs": len(data.items.track_ids),
        "n_left_out": data.n_left_out,
    }
    _publish(store, settings, scores, lineage)
    return ListenerScores(scores, lineage | {"settings": settings.model_dump(mode="json")})


def _that_can_be_judged(
    settings: ListenerEvaluationSettings, validation: Rows
) -> tuple[ListenerEvaluationSettings, dict[str, str]]:
    """Return the settings without hybrid if nobody is there to fit its weights on, and why it is left out.

    Raises
    ------
    ConfigError
        No other method is asked for.
    """
    if HYBRID not in settings.methods or len(validation):
        return settings, {}
    others = tuple(name for name in settings.methods if name != HYBRID)
    if not others:
        raise ConfigError(f"{HYBRID} cannot be judged: {NOBODY_TO_FIT}; judge others, as by --methods max")
    return settings.model_copy(update={"methods": others}), {HYBRID: NOBODY_TO_FIT}


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
