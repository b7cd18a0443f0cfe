"""Methods of recommendation on GTZAN's sound, for simulated listeners who like some genres.

The songs are the recordings of `gtzan` and `gtzan_crops`: a file of the first where there is one, else the longest
crop, of two to three seconds. Their vectors are the standardised features of gtzan57; the genre probabilities of
Method 2 are those of a logistic regression that has not heard the artist. Method 1 of the reference system is the mean
cosine: `mean`.

A simulated listener has one to three tastes, each a genre; nine in ten of the likes are of them, by shares drawn at
random, and in each genre some songs are liked by more listeners than others. The same goes for what is held out. So
simulated listeners who share a genre like the same songs, and methods by likes look far better than with people.

precision         share of a list that is of a genre of the listener's tastes
taste coverage    share of the tastes that a list has a song of
same artist       share of a list that is by an artist whom the listener likes already
recall, nDCG      of held-out likes; diversity is the mean of 1 - cosine within a list, by the same features

Weights of the hybrid fit other simulated listeners. Intervals are 95 % of a bootstrap over simulated listeners, for
these songs; they do not say what other songs would give.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from benchmarks.shared.common import one_thread, parser, print_machine, print_table
from musicrec import audio, features
from musicrec.evaluate.listeners import list_variety
from musicrec.evaluate.listeners.ranking_metrics import ndcg_at_k, recall_at_k
from musicrec.evaluate.listeners.user_intervals import Mean as Figure
from musicrec.evaluate.listeners.user_intervals import means, paired_tests
from musicrec.evaluate.retrieval import diversity
from musicrec.models.recommenders.by_content import MMR, Genre, Max, Mean, MultiInterest
from musicrec.models.recommenders.collaborative import ItemKNN, Popularity, Random
from musicrec.models.recommenders.fused import Hybrid
from musicrec.models.recommenders.scored import Method

N_LIKES, N_HELD_OUT, MOST_TASTES = 8, 8, 3
OTHER_SHARE = 0.1  # of the likes, which are of no taste
FUSED = ("item_knn", "mean", "max", "genre")
CIRCULAR = (
    "Relevance is genre here: simulated listeners like by genre, and Method 2 (genre) ranks by genre, so its win is\n"
    "circular. Only held-out histories of people, or listeners, can show whether it is better."
)


class Simulated(NamedTuple):
    """Simulated listeners, [n_users, n_songs] each but for the tastes."""

    tastes: np.ndarray  # bool [n_users, n_genres]
    likes: sparse.csr_array
    held_out: sparse.csr_array


def recordings(data: Path) -> pd.DataFrame:
    """Return path, genre and artist of each recording, by its longest file of the best kind."""
    files = pd.read_csv(data / "gtzan.csv", dtype=str, keep_default_na=False)
    files["artist"] = files["artist_group"].where(files["artist_group"] != "NA", files["parent"])
    files["whole"] = files["path"].str.startswith("gtzan/")
    files["seconds"] = files["seconds"].astype(float)
    ordered = files.sort_values(["whole", "seconds", "path"], ascending=[False, False, True])
    return ordered.drop_duplicates("parent").sort_values("parent").reset_index(drop=True)


def features_of(data: Path, songs: pd.DataFrame) -> np.ndarray:
    """Return the standardised features of each song, float64 [n_songs, 57]."""
    rows = []
    for path in songs["path"]:
        sound = audio.load(str(data / path), sample_rate=22050, duration_s=30)
        rows.append(list(features.extract(sound, 22050, "gtzan57").values()))
    x = np.array(rows, np.float64)
    return (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-12)


def probabilities_of(x: np.ndarray, songs: pd.DataFrame) -> tuple[np.ndarray, float]:
    """Return genre probabilities by models that have not heard the artist, and their accuracy."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    genre = songs["genre"].to_numpy()
    artist = songs["artist"].to_numpy()
    names = np.unique(genre)
    p = np.zeros((len(x), len(names)))
    for learn, test in StratifiedGroupKFold(3, shuffle=True, random_state=0).split(x, genre, artist):
        model = LogisticRegression(C=0.1, max_iter=2000).fit(x[learn], genre[learn])
        p[np.ix_(test, np.searchsorted(names, model.classes_))] = model.predict_proba(x[test])
    return p, float((names[p.argmax(axis=1)] == genre).mean())


def simulate(genre: np.ndarray, n_users: int, seed: int) -> Simulated:
    """Make simulated listeners with tastes; `genre` is the number of the genre of each song."""
    rng = np.random.default_rng(seed)
    n_genres = genre.max() + 1
    popular = 1 / (1 + rng.permutation(len(genre)) % 20)  # of the songs of a genre, some have more listeners
    tastes = np.zeros((n_users, n_genres), bool)
    drawn = np.empty((n_users, N_LIKES + N_HELD_OUT), int)
    for user in range(n_users):
        mine = rng.choice(n_genres, rng.integers(1, MOST_TASTES + 1), replace=False)
        tastes[user, mine] = True
        share = np.zeros(n_genres)
        share[mine] = (1 - OTHER_SHARE) * rng.dirichlet(np.full(len(mine), 3.0))
        share += OTHER_SHARE / n_genres
        weight = popular * share[genre] / np.bincount(genre, popular, n_genres)[genre]
        drawn[user] = rng.choice(len(genre), drawn.shape[1], replace=False, p=weight / weight.sum())
    return Simulated(tastes, *(_matrix(part, len(genre)) for part in (drawn[:, :N_LIKES], drawn[:, N_LIKES:])))


def _matrix(drawn: np.ndarray, n_songs: int) -> sparse.csr_array:
    user = np.repeat(np.arange(len(drawn)), drawn.shape[1])
    return sparse.csr_array((np.ones(drawn.size, np.float32), (user, drawn.ravel())), shape=(len(drawn), n_songs))


def methods_of(x: np.ndarray, p: np.ndarray, simulated: Simulated, n_fitted: int, k: int) -> dict[str, Method]:
    """Return all methods; the weights of the hybrid fit the first `n_fitted` listeners."""
    made: dict[str, Method] = {
        "random": Random(),
        "popularity": Popularity(),
        "item_knn": ItemKNN(),
        "mean (Method 1)": Mean(x),
        "genre (Method 2)": Genre(x, p),
        "max": Max(x),
        "multi_interest": MultiInterest(x),
        "mmr": MMR(x),
    }
    for method in made.values():
        method.fit(simulated.likes)
    hybrid = Hybrid({name: made[next(key for key in made if key.startswith(name))] for name in FUSED})
    users = np.arange(n_fitted)
    return made | {"hybrid": hybrid.fit_weights(users, simulated.held_out[users], k)}


def figures_of(
    ids: np.ndarray, users: np.ndarray, simulated: Simulated, songs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return each figure of each listener."""
    k, genre, artist = ids.shape[1], songs["genre"], songs["artist"]
    tastes, held_out = simulated.tastes[users], simulated.held_out[users]
    is_there = ids >= 0
    in_taste = tastes[np.arange(len(users))[:, None], genre[ids]] & is_there
    covered = np.zeros(tastes.shape, bool)
    row, place = np.nonzero(in_taste)
    covered[row, genre[ids[row, place]]] = True
    liked_artist = np.zeros((len(users), artist.max() + 1), bool)
    likes = simulated.likes[users].tocoo()
    liked_artist[likes.row, artist[likes.col]] = True
    return {
        "precision": in_taste.sum(axis=1) / k,
        "taste coverage": covered.sum(axis=1) / tastes.sum(axis=1),
        "nDCG": ndcg_at_k(ids, held_out, k),
        "recall": recall_at_k(ids, held_out, k),
        "diversity": diversity(ids, songs["x"]),
        "artists": list_variety.artists_per_list(ids, artist),
        "same artist": (liked_artist[np.arange(len(users))[:, None], artist[ids]] & is_there).sum(axis=1) / k,
    }


def main() -> None:
    """Print what each method gives simulated listeners."""
    made = parser(__doc__, "python -m benchmarks.listeners.simulated_tastes --listeners 1000")
    made.add_argument("--listeners", type=int, default=500, help="simulated listeners who are judged (default: 500)")
    made.add_argument("-n", type=int, default=10, help="length of the lists (default: 10)")
    made.add_argument("--seed", type=int, default=0, help="of the simulated listeners (default: 0)")
    asked = made.parse_args()
    one_thread()
    print_machine("numpy", "scipy", "scikit-learn")
    table = recordings(asked.data)
    x = features_of(asked.data, table)
    p, accuracy = probabilities_of(x, table)
    artist = np.unique(table["artist"], return_inverse=True)[1]
    songs = {"genre": np.unique(table["genre"], return_inverse=True)[1], "artist": artist, "x": x}
    n_fitted = max(2, asked.listeners // 4)
    simulated = simulate(songs["genre"], n_fitted + asked.listeners, asked.seed)
    users = np.arange(n_fitted, n_fitted + asked.listeners)
    methods = methods_of(x, p, simulated, n_fitted, asked.n)
    print(f"{len(table)} recordings, {int(table['whole'].sum())} of them whole; {asked.listeners} simulated listeners; "
          f"lists of {asked.n}")  # fmt: skip
    print(f"genre models that have not heard the artist name {100 * accuracy:.1f} % of genres right\n")
    found = {name: figures_of(m.recommend(users, asked.n), users, simulated, songs) for name, m in methods.items()}
    show(found)
    weights = ", ".join(f"{w:g} {name}" for name, w in zip(FUSED, methods["hybrid"].weights, strict=True) if w)
    print(f"hybrid is {weights}; the weights fit {n_fitted} other simulated listeners\n\n{CIRCULAR}")


def show(found: dict[str, dict[str, np.ndarray]]) -> None:
    """Print figures with intervals, the best precision first, and differences to Method 1."""
    order = sorted(found, key=lambda name: -found[name]["precision"].mean())
    names = list(next(iter(found.values())))
    rows = [[name, *map(_cell, means(np.column_stack(list(found[name].values()))))] for name in order]
    print_table(("simulated listeners", *names), rows)
    tests = []
    for metric in ("precision", "taste coverage", "nDCG"):
        for pair in paired_tests({name: found[name][metric] for name in order}):
            if "mean (Method 1)" in (pair.first, pair.second):
                tests.append((metric, f"{pair.first} - {pair.second}", _cell(pair.difference), f"{pair.p_holm:.2g}"))
    print_table(("of", "difference", "", "p (Holm)"), tests)


def _cell(figure: Figure) -> str:
    return f"{figure.mean:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


if __name__ == "__main__":
    main()
