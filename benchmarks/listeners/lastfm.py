"""Collaborative filtering on what 1 892 listeners of Last.fm play, beside what others have published of it.

The data are those of HetRec 2011 (``tables/lastfm_hetrec2011`` of --data): 92 834 pairs of a listener and one of 17 632
artists. Every pair is a like; how often it was played is not used. There is no sound of the artists, so no method by
content.

The protocol is that of RecBole-GNN's published results (``results/social/lastfm.md`` of its repository): nothing is
filtered; of each listener's likes, drawn at random, 80 % are learned from, 10 % choose settings, 10 % are tested; all
artists that a listener has in none of the first two parts are ranked; a list has 10. Its recall and nDCG are defined as
ours. It has one run; here are the mean and the 95 % interval over listeners, of one split.

Settings are chosen by nDCG on the second part, also the weights of the hybrid.
"""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from benchmarks.shared.common import one_thread, parser, print_machine, print_table, verdict
from musicrec.evaluate.listeners.judging import ALL, ITEM_BANDS, HeldOut, judge
from musicrec.evaluate.listeners.ranking_metrics import ndcg_at_k
from musicrec.models.recommenders.collaborative import ALS, BM25, BPR, ItemKNN, Popularity, Random
from musicrec.models.recommenders.fused import Hybrid
from musicrec.models.recommenders.scored import Method

K = 10
PUBLISHED = {  # RecBole-GNN, of the same data and protocol; embeddings of 64 numbers
    "BPR": (0.1761, 0.1674, 0.5573),
    "NeuMF": (0.1696, 0.1604, 0.5456),
    "LightGCN": (0.2064, 0.1972, 0.6322),
    "SEPT (knows friends too)": (0.2127, 0.2057, 0.6465),
}
CANDIDATES: dict[str, tuple[Callable[..., Method], dict[str, tuple[float, ...]]]] = {
    "random": (Random, {}),
    "popularity": (Popularity, {}),
    "item_knn": (ItemKNN, {"k": (20, 50, 100, 200)}),
    "bm25": (BM25, {"k": (20, 50, 100, 200), "b": (0.25, 0.75)}),
    "als": (ALS, {"regularization": (1.0, 10.0), "alpha": (1.0, 5.0)}),
    "bpr": (BPR, {"learning_rate": (0.02, 0.05), "regularization": (0.01, 0.02), "iterations": (100, 200)}),
}
FUSED = ("item_knn", "bm25", "als", "bpr")


class Parts(NamedTuple):
    """Likes of all listeners, in three parts: [n_users, n_items] each."""

    learn: sparse.csr_array
    choose: sparse.csr_array
    test: sparse.csr_array


def read(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return listener and artist of each pair, as numbers from 0."""
    pairs = pd.read_csv(file, sep="\t")
    return tuple(np.unique(pairs[name], return_inverse=True)[1] for name in pairs.columns[:2])


def in_parts(user: np.ndarray, item: np.ndarray, seed: int) -> Parts:
    """Draw a tenth of each listener's likes to choose settings and a tenth to test, rounded down but at least one."""
    order = np.lexsort((np.random.default_rng(seed).random(len(user)), user))
    n = np.bincount(user)
    place = np.arange(len(user)) - np.repeat(np.cumsum(n) - n, n)
    n_out = np.where(n > 2, np.maximum(1, n // 10), 0)[user[order]]
    part = np.select([place < n_out, place < 2 * n_out], [2, 1], 0)
    shape = len(n), item.max() + 1
    return Parts(*(_matrix(user[order][part == i], item[order][part == i], shape) for i in range(3)))


def _matrix(user: np.ndarray, item: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    return sparse.csr_array((np.ones(len(user), np.float32), (user, item)), shape=shape)


def chosen(name: str, parts: Parts) -> tuple[Method, str]:
    """Return a method with the settings that are best on the second part, and these in words."""
    make, grid = CANDIDATES[name]
    users = np.flatnonzero(np.diff(parts.choose.indptr))
    best: tuple[float, Method, str] | None = None
    for values in itertools.product(*grid.values()):
        how = dict(zip(grid, values, strict=True))
        method = make(**how).fit(parts.learn, parts.choose if not grid else None)
        gain = float(np.nanmean(ndcg_at_k(method.recommend(users, K), parts.choose[users], K))) if grid else 0.0
        if best is None or gain > best[0]:
            best = gain, method, " ".join(f"{key}={value:g}" for key, value in how.items())
    assert best
    return best[1], best[2]


class _Masked:
    """A fitted method that leaves out what settings were chosen by, too."""

    def __init__(self, method: Method, parts: Parts) -> None:
        self._method = method
        self._parts = parts

    def recommend(self, users: np.ndarray, n: int) -> np.ndarray:
        """Return the best items that are in neither of the first two parts."""
        most = int(np.diff(self._parts.choose.indptr).max())
        ids = self._method.recommend(users, n + most)
        known = self._parts.choose[users].toarray() > 0
        listed = ids >= 0
        listed &= ~known[np.arange(len(users))[:, None], np.maximum(ids, 0)]
        order = np.argsort(~listed, axis=1, kind="stable")[:, :n]
        rows = np.arange(len(users))[:, None]
        return np.where(listed[rows, order], ids[rows, order], -1).astype(np.int32)


def main() -> None:
    """Print the figures of all methods, beside the published ones."""
    made = parser(__doc__, "python -m benchmarks.listeners.lastfm")
    made.add_argument("--seed", type=int, default=0, help="of the split (default: 0)")
    asked = made.parse_args()
    one_thread()
    print_machine("numpy", "scipy", "implicit")
    parts = in_parts(*read(asked.data / "tables" / "lastfm_hetrec2011" / "user_artists.dat"), asked.seed)
    users = np.flatnonzero(np.diff(parts.test.indptr))
    methods, settings = {}, {}
    for name in CANDIDATES:
        methods[name], settings[name] = chosen(name, parts)
    hybrid = Hybrid({name: methods[name] for name in FUSED})
    choosing = np.flatnonzero(np.diff(parts.choose.indptr))
    methods["hybrid"] = hybrid.fit_weights(choosing, parts.choose[choosing], K)
    settings["hybrid"] = " ".join(f"{w:g} {name}" for name, w in zip(FUSED, hybrid.weights, strict=True) if w)
    lists = {name: _Masked(method, parts).recommend(users, K) for name, method in methods.items()}
    artists = np.arange(parts.learn.shape[1])  # an item is an artist
    scores = judge(lists, HeldOut(parts.learn, users, parts.test[users], artists), K)
    show(scores, settings, len(users))


def show(scores: pd.DataFrame, settings: dict[str, str], n_users: int) -> None:
    """Print the tables, and whether BPR reaches what was published of it."""
    values = scores[scores["against"].isna()].set_index(["metric", "band", "method"]).sort_index()
    methods = list(values.loc["ndcg", ALL].sort_values("value", ascending=False).index)

    def cell(metric: str, method: str, *, interval: bool = True) -> str:
        row = values.loc[metric, ALL, method]
        return f"{row['value']:.4f}" + (f" [{row['low']:.4f}–{row['high']:.4f}]" if interval else "")

    print(f"recall, nDCG, MAP and hit rate at {K} of {n_users:,} listeners; the whole catalog is ranked")
    rows = [
        [m, cell("recall", m), cell("ndcg", m), cell("map", m), cell("hit_rate", m),
         cell("coverage", m, interval=False), cell("novelty", m, interval=False), settings[m]]
        for m in methods
    ]  # fmt: skip
    print_table(("method", "recall", "nDCG", "MAP", "hit rate", "coverage", "novelty", "settings"), rows)
    bands = [[m, *(float(values["value"]["recall", band, m]) for band in ITEM_BANDS)] for m in methods]
    print_table(("recall of", *ITEM_BANDS), bands)
    print_table(("published by RecBole-GNN", "recall", "nDCG", "hit rate"), [[n, *row] for n, row in PUBLISHED.items()])
    pairs = scores[scores["against"].notna() & (scores["metric"] == "ndcg")]
    differing = pairs.assign(pair=pairs["method"] + " - " + pairs["against"])
    print_table(
        ("difference in nDCG", "", "p (Holm)"),
        [(r.pair, f"{r.value:+.4f} [{r.low:+.4f}, {r.high:+.4f}]", f"{r.p_holm:.2g}") for r in differing.itertuples()],
    )
    reached = all(
        values.loc[metric, ALL, "bpr"]["high"] >= published
        for metric, published in zip(("recall", "ndcg", "hit_rate"), PUBLISHED["BPR"], strict=True)
    )
    print(f"BPR reaches what was published of it, or its interval does: {verdict(reached)}")


if __name__ == "__main__":
    main()
