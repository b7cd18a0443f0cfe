"""What lists of similar songs find, and how they spread over the catalog: by features and by embeddings.

P@5 and MAP are of the same genre, with a 95 % bootstrap interval over artists; `artist` is the share of the first five
that are by the song's own artist. Hubness is that of the first five: skewness of N_5, antihubs (songs in no list),
Robin Hood index, the share of all lists that the largest hub is in. `diversity` is the mean of 1 - cosine over the pairs
of a list, for every line in the space of standardised features. Low hubness alone means nothing: look at the line of
random rankings.

GTZAN       the public table of 57 features, standardised, cosine, songs whose artist the artist folds know. `reference`
            is of the whole table of 1 000 songs, of which 948 have an artist; the public copy that is read here holds
            910, of which 862 do. So a figure can come back within its interval, no closer.
OUT         an OUT of songs and crops, such as of gtzan and gtzan_crops, with features (and mel, mel96 for the networks
            that read them). Each embedding is of songs that its model has not seen: artists are split into folds, so
            that a crop is where its song is; a model is trained on all folds but one and embeds that one. Embeddings of
            two trainings cannot be compared, so a song is looked for within its fold only, by every line of the table;
            fewer folds leave more songs to choose from, and fewer to train on. Statistics of features and PCA are those
            of the training songs too. N_5 is counted within a fold, over all folds together.
            crop → song: whether a crop has its song among the first ten; song → crop: the other way round.
            The last table is the price of leaving that out: the same networks asked of songs they were trained on.

A network of spectrograms takes some minutes a fold; --epochs crnn=5 says how long it learns.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from common import one_thread, parser, print_machine, print_table, wall
from numpy.typing import NDArray
from seed_tables import read_gtzan
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from musicrec import features
from musicrec.evaluate import Retrieval, random_rankings, recall_at_k, retrieval
from musicrec.models import NETWORKS, TrainingSet, with_defaults
from musicrec.models.dataset import folds
from musicrec.models.inputs import Chosen
from musicrec.models.network import one_thread as one_tensorflow_thread
from musicrec.models.training import train_model
from musicrec.settings import Hubness, Metric, Rules, TrainSettings
from musicrec.similarity import METHODS, Songs, hubs, refine, songs_of
from musicrec.similarity.filters import limits_of, take
from musicrec.similarity.ranking import Lists
from musicrec.songs import WORK, load_training_set, table_of, unpack
from musicrec.storage import Store
from musicrec.train import card_of

K, RECALL_K = 5, 10
COMPONENTS = 10  # of PCA
REFERENCE = {  # P@5, MAP, skewness, antihubs, Robin Hood
    "cosine": (0.444, 0.284, 1.59, 0.109, 0.342),
    "mutual_proximity": (0.440, 0.280, 0.85, 0.056, 0.279),
}
HEAD = ["P@5", "95 %", "MAP", "95 %", "artist", "skew", "antihubs", "Robin Hood", "largest", "diversity"]

Array = NDArray[Any]
Ids = NDArray[np.int32]


class Judged(NamedTuple):
    """Songs to be found, and the space in which lists are called diverse."""

    genres: Array
    artists: Array
    space: Array

    @property
    def codes(self) -> Songs:
        """As the rules read them."""
        return songs_of({"artist_id": self.artists.tolist()})

    def take(self, rows: Array) -> "Judged":
        """Those of some rows."""
        return Judged(*(column[rows] for column in self))


class Embedding(NamedTuple):
    """Vectors of songs, by fold: those of two folds are not compared."""

    name: str
    metric: Metric
    vectors: dict[int, Array]
    seconds: float = 0.0


def ranking(vectors: Array, songs: Songs, metric: Metric, *, filtered: bool, hubness: Hubness = "none") -> Ids:
    """All other songs, from the most similar on; without those by the song's own artist if they are filtered."""
    rules = Rules(n=max(1, len(vectors) - 1), metric=metric, no_same_artist=filtered, hubness=hubness)
    return refine(vectors, songs, rules).ids


def shown(judged: Retrieval) -> list[str]:
    """Cells of a line."""
    cells = []
    for figure in (judged.precision, judged.mean_average_precision):
        cells += [f"{figure.mean:.3f}", f"{figure.low:.3f}–{figure.high:.3f}"]
    of = judged.hubs
    cells += [f"{judged.same_artist:.1%}", f"{of.hub_skew:.2f}", f"{of.antihub_share:.1%}", f"{of.robin_hood:.3f}"]
    return [*cells, f"{of.max_hub_share:.1%}", f"{judged.diversity:.3f}"]


# --- GTZAN's feature table ----------------------------------------------------------------------------------------


def table_gtzan(data: Path) -> None:
    """Print the reference beside ours, and what else there is to say of the same lists."""
    file, splits = data / "tables" / "gtzan_kaggle_features_30s_910rows.csv", data / "tables" / "gtzan_splits"
    if not file.is_file():
        sys.exit(f"no table {file}; expected the public features of GTZAN: give --data or set MUSICREC_DATA")
    table = read_gtzan(file, splits / "artist_3fold")
    known = table.artists != np.array(table.names, object)
    X = StandardScaler().fit_transform(table.X[known])
    judged = Judged(table.y[known], table.artists[known], X)
    lines, ours = [], {}
    for filtered in (True, False):
        shuffled = take(random_lists(len(X)), limits_of(judged.codes, Rules(no_same_artist=filtered)), np.arange(len(X)), len(X) - 1)
        rankings = {"random": shuffled.ids, "cosine": ranking(X, judged.codes, "cosine", filtered=filtered)}
        rankings |= {m: ranking(X, judged.codes, "cosine", filtered=filtered, hubness=m) for m in METHODS}
        for name, ids in rankings.items():
            figures = retrieval(ids, *judged, K)
            lines.append([name, "on" if filtered else "off", *shown(figures)])
            ours[name, filtered] = figures
    print(f"GTZAN, 57 features, standardised: {len(X)} songs by {len(set(judged.artists))} artists; reference of 948")
    print_table(["", "P@5", "ours", "MAP", "ours", "skew", "ours", "antihubs", "ours", "Robin Hood", "ours"], [
        [name, *beside(reference, ours[name, True])] for name, reference in REFERENCE.items()
    ])
    print_table(["lists", "artist filter", *HEAD], lines)


def beside(reference: tuple[float, ...], ours: Retrieval) -> list[str]:
    """Cells of the reference and of ours, in turns."""
    of = ours.hubs
    figures = (ours.precision.mean, ours.mean_average_precision.mean, of.hub_skew, of.antihub_share, of.robin_hood)
    shown_as = ("{:.3f}", "{:.3f}", "{:.2f}", "{:.1%}", "{:.3f}")
    return [form.format(value) for form, *both in zip(shown_as, reference, figures, strict=True) for value in both]


def random_lists(n: int) -> Lists:
    """Rankings that know nothing."""
    ids = random_rankings(n)
    return Lists(ids, np.zeros(ids.shape, np.float32))


# --- an OUT of songs and crops ------------------------------------------------------------------------------------


def tables_out(store: Store, models: list[str], n_folds: int, budgets: dict[str, int], seed: int) -> None:
    """Print what each embedding finds within the folds, and what the networks find of their own training songs."""
    settings = {m: with_defaults(TrainSettings(model=m, seed=seed, epochs=budgets.get(m))) for m in models}
    base = load_training_set(store, with_defaults(TrainSettings()))
    parts = list(folds(base.y, base.groups, n_folds, seed))
    print(f"{store.out}: {len(base.track_ids)} songs and crops by {len(set(base.groups))} artists, {n_folds} folds")
    found = [*of_features(store, base.track_ids, parts)]
    seen = []
    for name, one in settings.items():
        unseen, trained = of_network(store, one, base.track_ids, parts)
        print(f"  {name}: {one.epochs} epochs a fold, {unseen.seconds:.0f} s in all", file=sys.stderr, flush=True)
        found.append(unseen)
        seen.append(trained)
    print_found("songs unseen in training, within their fold", store, base, [test for _, test in parts], found)
    print_found("songs that the model was trained on (no result)", store, base, [learn for learn, _ in parts], seen)


def of_features(store: Store, track_ids: list[str], parts: list[tuple[Array, Array]]) -> Iterator[Embedding]:
    """Features as they are, and by PCA, by what is learned of the training songs."""
    table = store.read("features").to_pandas().set_index("track_id").loc[track_ids]
    spaces: list[tuple[str, str, Metric, Callable[[], Any]]] = [
        ("iiitd41", "iiitd41", "cosine", StandardScaler),
        ("iiitd41", "iiitd41", "euclidean", StandardScaler),
        ("gtzan57", "gtzan57", "cosine", StandardScaler),
        (f"iiitd41, PCA {COMPONENTS}", "iiitd41", "cosine", lambda: make_pipeline(StandardScaler(), PCA(COMPONENTS))),
        ("iiitd41, PCA 2", "iiitd41", "euclidean", lambda: make_pipeline(StandardScaler(), PCA(2))),
    ]
    for name, feature_set, metric, build in spaces:
        columns = features.feature_names(feature_set)
        if set(columns) <= set(table):
            X = table[columns].to_numpy(np.float64)
            vectors = {i: build().fit(X[learn]).transform(X[test]) for i, (learn, test) in enumerate(parts)}
            yield Embedding(name, metric, vectors)


def of_network(
    store: Store, settings: TrainSettings, track_ids: list[str], parts: list[tuple[Array, Array]]
) -> tuple[Embedding, Embedding]:
    """Embeddings of the songs of each fold by the network trained on the others; and of its training songs."""
    table = table_of(settings)
    if table != "features":
        unpack(store, table)
    songs = load_training_set(store, settings)
    if songs.track_ids != track_ids:
        sys.exit(f"{store.out}: {table} holds other songs than features; run musicrec extract {store.out}")
    unseen, trained, seconds = {}, {}, 0.0
    for i, (learn, test) in enumerate(parts):
        few = np.isin(np.arange(len(test)), np.flatnonzero(test)[:2])  # of the learning curve, which nobody looks at
        card = card_of(store, settings, songs.classes, f"fold-{i}")
        model, took = wall(lambda: train_model(songs, learn, few, settings, card))  # noqa: B023
        unseen[i], trained[i] = (model.embed(chosen(songs, rows)) for rows in (test, learn))
        seconds += took
    return Embedding(settings.model, "cosine", unseen, seconds), Embedding(settings.model, "cosine", trained, seconds)


def chosen(songs: TrainingSet, rows: NDArray[np.bool_]) -> Any:
    """What a model reads of some songs."""
    return songs.X[rows] if isinstance(songs.X, np.ndarray) else Chosen(songs.X, np.flatnonzero(rows))


def print_found(title: str, store: Store, base: TrainingSet, parts: list[Array], found: list[Embedding]) -> None:
    """Print a line for each embedding, with and without the artist filter."""
    table = store.read("features").to_pandas().set_index("track_id").loc[base.track_ids]
    space = StandardScaler().fit_transform(table[features.feature_names("iiitd41")].to_numpy(np.float64))
    judged = Judged(np.array(base.y), np.array(base.groups, object), space)
    recordings = np.array(base.recordings, object)
    whole = recordings == np.array(base.track_ids, object)
    lines, of_clips = [], []
    for name, kind, rank in rankings_of(found, judged, parts):
        together = []
        for i, part in enumerate(parts):
            rows = np.flatnonzero(part)
            ids = rank(i, judged.take(rows).codes)
            together.append((ids, rows))
        if kind == "off":
            of_clips.append([name, *recalls(together, recordings, whole)])
        lines.append([name, kind, *shown(pooled(together, judged))])
    print(title)
    print_table(["vectors", "artist filter", *HEAD], lines)
    print_table(["vectors", f"crop → song, recall@{RECALL_K}", f"song → crop, recall@{RECALL_K}"], of_clips)
