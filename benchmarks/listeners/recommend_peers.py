"""Peers of the kernel that recommends from published lists; each gets these lists as its table of similar songs.

Each is a function from likes to a function without arguments, which is what is timed.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from musicrec.similarity import Lists

Prepare = Callable[[np.ndarray], Callable[[], np.ndarray]]


def with_table(lists: Lists, n_songs: int) -> Any:  # noqa: ANN401 - implicit may be missing
    """Return implicit's recommender, on one thread, that adds up scores of these lists."""
    from implicit.nearest_neighbours import ItemItemRecommender, NearestNeighboursScorer

    model = ItemItemRecommender(K=lists.ids.shape[1], num_threads=1)
    starts = np.arange(n_songs + 1, dtype=np.int32) * np.int32(lists.ids.shape[1])
    table = lists.scores.ravel().astype(np.float64), lists.ids.ravel().copy(), starts
    model.similarity = sparse.csr_matrix(table, shape=(n_songs, n_songs))
    model.scorer = NearestNeighboursScorer(model.similarity)
    return model


def of_implicit(lists: Lists, n_songs: int, n: int) -> Prepare:
    """Prepare implicit's recommender, which takes likes as a sparse matrix."""
    model = with_table(lists, n_songs)

    def prepare(likes: np.ndarray) -> Callable[[], np.ndarray]:
        starts = np.arange(len(likes) + 1, dtype=np.int32) * np.int32(likes.shape[1])
        users = sparse.csr_matrix((np.ones(likes.size), likes.ravel(), starts), shape=(len(likes), n_songs))
        return lambda: model.recommend(np.arange(len(likes)), users, N=n)[0]

    return prepare


def of_rectools(lists: Lists, n_songs: int, n: int) -> Prepare:
    """Prepare RecTools' model of the same recommender, which takes a data set and returns a data frame."""
    import pandas as pd
    from rectools.dataset import Dataset, IdMap, Interactions
    from rectools.models import ImplicitItemKNNWrapperModel

    def data_of(likes: np.ndarray) -> Any:  # noqa: ANN401 - RecTools may be missing
        users, songs = IdMap.from_values(np.arange(len(likes))), IdMap.from_values(np.arange(n_songs))
        rows = {"user_id": np.repeat(np.arange(len(likes)), likes.shape[1]), "item_id": likes.ravel()}
        liked = pd.DataFrame({**rows, "weight": 1.0, "datetime": pd.Timestamp("2026-01-01")})
        return Dataset(users, songs, Interactions.from_raw(liked, users, songs))

    model = ImplicitItemKNNWrapperModel(with_table(lists, n_songs))
    model.fit(data_of(np.arange(n_songs)[:, None]))
    model.model = with_table(lists, n_songs)  # in place of what it has fitted

    def prepare(likes: np.ndarray) -> Callable[[], np.ndarray]:
        data = data_of(likes)

        def recommend() -> np.ndarray:
            found = model.recommend(np.arange(len(likes)), data, k=n, filter_viewed=True)
            ids = np.full((len(likes), n), -1, np.int32)
            ids[found["user_id"], found["rank"] - 1] = found["item_id"]
            return ids

        return recommend

    return prepare
