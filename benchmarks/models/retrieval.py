"""What lists of similar songs find, and how they spread over the catalog: by features and by embeddings.

P@5 and MAP count songs of the same genre, with a 95 % bootstrap interval over artists. They are means over the songs
that have something to find: with an artist filter, a genre of one artist offers nothing. `artist` is the share of the
first five that are by the song's own artist. Hubness is that of the first five: skewness of N_5, antihubs (songs in no
list), Robin Hood index. `diversity` is the mean of 1 - cosine over the pairs of a list, for every line in the space of
standardised features. Low hubness alone means nothing: look at the line of random rankings.

GTZAN       the public table of 57 features, standardised, cosine, songs whose artist the artist folds know. `reference`
            is of the whole table of 1 000 songs, of which 948 have an artist; the public copy that is read here holds
            910, of which 862 do. So a figure can be reproduced within its interval, not more closely.
OUT         an OUT of songs and crops, such as of gtzan and gtzan_crops, with features (and mel, mel96 for the networks
            that read them). Each embedding is of songs that its model has not seen: artists are split into folds, so
            that a crop is where its song is; a model is trained on all folds but one and embeds that one. Embeddings of
            two trainings cannot be compared, so a song is looked for within its fold only, by every line of the table;
            fewer folds leave more songs to choose from, and fewer to train on. Statistics of features and PCA come from
            the training songs alone. N_5 is counted within a fold, over all folds together.
            crop → song: whether a crop has its song among the first ten; song → crop: the other way round.
            The last table shows what happens without folds: the same networks on songs they were trained on.

A network of spectrograms takes some minutes for each fold: --epochs crnn=5 sets how long it learns, and --window-s
crnn=6.13 the length of its excerpts. Most clips here last two or three seconds, and are repeated to fill an excerpt.
The vectors of a fold are kept in --keep, so that a stopped run can go on, and several can train side by side.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.models.seed_tables import read_gtzan
from benchmarks.shared.common import one_thread, parser, print_machine, print_table, wall
from musicrec import features
from musicrec.evaluate.retrieval import Retrieval, random_rankings, recall_at_k, retrieval
from musicrec.files.paths import replacing
from musicrec.models import NETWORKS, TrainingSet, with_defaults
from musicrec.models.dataset import folds
from musicrec.models.inputs import Chosen
from musicrec.models.network import one_thread as one_tensorflow_thread
from musicrec.models.training import train_model
from musicrec.settings import Hubness, Metric, Rules, TrainSettings
from musicrec.similarity import METHODS, Lists, Songs, refine, songs_of
from musicrec.similarity.filters import limits_of, take
from musicrec.stages.model_inputs import clear_unpacked, load_training_set, table_of, unpack
from musicrec.stages.train.stage import card_of
from musicrec.store.lineage import digest
from musicrec.store.store import Store

K, RECALL_K = 5, 10
COMPONENTS = 10  # principal components
REFERENCE = {  # P@5, MAP, skewness, antihubs, Robin Hood
    "cosine": (0.444, 0.284, 1.59, 0.109, 0.342),
    "mutual_proximity": (0.440, 0.280, 0.85, 0.056, 0.279),
}
COMPARED = "P@5", "MAP", "skew", "antihubs", "Robin Hood"
HEAD = ["songs", "P@5", "95 %", "MAP", "95 %", "artist", "skew", "antihubs", "Robin Hood", "diversity"]

Array = NDArray[Any]
Part = tuple[NDArray[np.bool_], NDArray[np.bool_]]  # which songs are learned from, which are asked for
Ids = NDArray[np.int32]


class Judged(NamedTuple):
    """Songs to be found, and the space in which the diversity of lists is measured."""

    genres: Array
    artists: Array
    space: Array

    @property
    def codes(self) -> Songs:
        """The songs as the rules read them."""
        return songs_of({"artist_id": self.artists.tolist()})

    def take(self, rows: Array) -> "Judged":
        """Return some of the songs."""
        return Judged(*(column[rows] for column in self))


class Embedding(NamedTuple):
    """Vectors of some songs, one array a fold: those of two folds are not compared."""

    name: str
    metric: Metric
    vectors: list[Array]


def ranking(
    vectors: Array | None, songs: Songs, metric: Metric = "cosine", *, filtered: bool, hubness: Hubness = "none"
) -> Ids:
    """Rank all other songs by similarity, or in random order; with a filter, none is by the song's own artist."""
    everybody = np.arange(len(songs.genre))
    rules = Rules(n=len(everybody) - 1, metric=metric, no_same_artist=filtered, hubness=hubness)
    if vectors is not None:
        return refine(vectors, songs, rules).ids
    ids = random_rankings(len(everybody))
    return take(Lists(ids, np.zeros(ids.shape, np.float32)), limits_of(songs, rules), everybody, rules.n).ids


def shown(judged: Retrieval) -> list[str]:
    """Return the cells of a line."""
    cells = [str(judged.precision.n)]
    for figure in (judged.precision, judged.mean_average_precision):
        cells += [f"{figure.mean:.3f}", f"{figure.low:.3f}–{figure.high:.3f}"]
    of = judged.hubs
    cells += [f"{judged.same_artist:.1%}", f"{of.hub_skew:.2f}", f"{of.antihub_share:.1%}", f"{of.robin_hood:.3f}"]
    return [*cells, f"{judged.diversity:.3f}"]


# --- GTZAN's feature table ----------------------------------------------------------------------------------------


def table_gtzan(data: Path) -> None:
    """Print the reference's figures beside ours, then all other figures of the same lists."""
    file, splits = data / "tables" / "gtzan_kaggle_features_30s_910rows.csv", data / "tables" / "gtzan_splits"
    if not file.is_file():
        sys.exit(f"no table {file}; expected the public features of GTZAN: give --data or set MUSICREC_DATA")
    table = read_gtzan(file, splits / "artist_3fold")
    known = table.artists != np.array(table.names, object)
    X = StandardScaler().fit_transform(table.X[known])
    judged = Judged(table.y[known], table.artists[known], X)
    lines, ours = [], {}
    for filtered in (True, False):
        rankings = {"random": ranking(None, judged.codes, filtered=filtered)}
        rankings["cosine"] = ranking(X, judged.codes, filtered=filtered)
        rankings |= {m: ranking(X, judged.codes, filtered=filtered, hubness=m) for m in METHODS}
        for name, ids in rankings.items():
            ours[name, filtered] = retrieval(ids, *judged, K)
            lines.append([name, "on" if filtered else "off", *shown(ours[name, filtered])])
    print(
        f"GTZAN, 57 features, standardised: {len(X)} songs by {len(set(judged.artists))} artists; reference: 948 songs"
    )
    compared = [[name, *beside(reference, ours[name, True])] for name, reference in REFERENCE.items()]
    print_table(["artist filter on", *(h for name in COMPARED for h in (name, "ours"))], compared)
    print_table(["lists", "artist filter", *HEAD], lines)


def beside(reference: tuple[float, ...], ours: Retrieval) -> list[str]:
    """Return the cells of the reference and of ours, in turns."""
    of = ours.hubs
    figures = (ours.precision.mean, ours.mean_average_precision.mean, of.hub_skew, of.antihub_share, of.robin_hood)
    shown_as = ("{:.3f}", "{:.3f}", "{:.2f}", "{:.1%}", "{:.3f}")
    return [form.format(value) for form, *both in zip(shown_as, reference, figures, strict=True) for value in both]


# --- an OUT of songs and crops ------------------------------------------------------------------------------------


def tables_out(store: Store, asked: Namespace) -> None:
    """Print what each embedding finds within the folds, and what the networks find among their own training songs."""
    songs = load_training_set(store, with_defaults(TrainSettings()))
    parts = list(folds(songs.y, songs.groups, asked.folds, asked.seed))
    print(
        f"{store.out}: {len(songs.track_ids)} songs and crops by {len(set(songs.groups))} artists, {asked.folds} folds"
    )
    unseen, trained = list(of_features(store, songs.track_ids, parts)), []
    for model in asked.models or []:
        own = {"epochs": dict(asked.epochs).get(model), "window_s": dict(asked.window_s).get(model)}
        settings = with_defaults(TrainSettings.model_validate({"model": model, "seed": asked.seed} | own))
        (of_test, of_learn), seconds = wall(partial(of_network, store, settings, songs.track_ids, parts, asked.keep))
        print(f"{model}: {settings.epochs} epochs a fold, {seconds:.0f} s in all", flush=True)
        unseen.append(of_test)
        trained.append(of_learn)
    clear_unpacked(store)
    print("\nsongs unseen in training, within their fold")
    print_found(store, songs, [test for _, test in parts], unseen)
    if trained:
        print("songs that the model was trained on: no result, but what leaving songs out guards against")
        print_found(store, songs, [learn for learn, _ in parts], trained)


def of_features(store: Store, track_ids: list[str], parts: list[Part]) -> Iterator[Embedding]:
    """Yield features as they are, and by PCA; scaling and PCA are fitted on the training songs."""
    table = store.read("features").to_pandas().set_index("track_id").loc[track_ids]
    spaces: list[tuple[str, str, Metric, int]] = [
        ("iiitd41", "iiitd41", "cosine", 0),
        ("iiitd41", "iiitd41", "euclidean", 0),
        ("gtzan57", "gtzan57", "cosine", 0),
        (f"iiitd41, PCA {COMPONENTS}", "iiitd41", "cosine", COMPONENTS),
        ("iiitd41, PCA 2", "iiitd41", "euclidean", 2),
    ]
    for name, feature_set, metric, components in spaces:
        columns = features.feature_names(feature_set)
        if set(columns) <= set(table):
            X = table[columns].to_numpy(np.float64)
            steps = [StandardScaler(), *([PCA(components)] if components else [])]
            vectors = [make_pipeline(*steps).fit(X[learn]).transform(X[test]) for learn, test in parts]
            yield Embedding(name, metric, vectors)


def of_network(
    store: Store, settings: TrainSettings, track_ids: list[str], parts: list[Part], keep: Path | None
) -> tuple[Embedding, Embedding]:
    """Return embeddings of the songs of each fold by the network trained on the others, and of its training songs."""
    table = table_of(settings)
    if table != "features":
        unpack(store, table)
    songs = load_training_set(store, settings)
    if songs.track_ids != track_ids:
        sys.exit(f"{store.out}: {table} holds other songs than features; run musicrec extract {store.out}")
    unseen, trained = [], []
    for i, (learn, test) in enumerate(parts):
        made_of = digest(
            [str(store.footer(table)["fingerprint"]), *(songs.track_ids[j] for j in np.flatnonzero(learn))]
        )
        file = keep / f"{settings.model}-{i}-{settings.fingerprint(made_of)}.npz" if keep else None
        if file and file.exists():
            kept = np.load(file)
            unseen.append(kept["unseen"])
            trained.append(kept["trained"])
            continue
        few = np.isin(np.arange(len(test)), np.flatnonzero(test)[:2])  # for the learning curve, which nobody looks at
        model = train_model(songs, learn, few, settings, card_of(store, settings, songs.classes, f"fold-{i}"))
        for vectors, rows in ((unseen, test), (trained, learn)):
            vectors.append(model.embed(Chosen(songs.X, np.flatnonzero(rows))))
        if file:
            with replacing(file) as temporary, temporary.open("wb") as content:
                np.savez(content, unseen=unseen[-1], trained=trained[-1])
    return Embedding(settings.model, "cosine", unseen), Embedding(settings.model, "cosine", trained)


def print_found(store: Store, songs: TrainingSet, parts: list[Array], found: list[Embedding]) -> None:
    """Print what embeddings find within parts of the songs, with and without the artist filter."""
    table = store.read("features").to_pandas().set_index("track_id").loc[songs.track_ids]
    space = StandardScaler().fit_transform(table[features.feature_names("iiitd41")].to_numpy(np.float64))
    everybody = Judged(songs.y, np.array(songs.groups, object), space)
    rows = np.concatenate([np.flatnonzero(part) for part in parts])
    clips = [f"{i} {songs.recordings[row]}" for i, part in enumerate(parts) for row in np.flatnonzero(part)]
    is_song = np.array([songs.track_ids[row] == songs.recordings[row] for row in rows])
    lines, of_clips = [], []
    for (name, metric, vectors), filtered, hubness in ways(found):
        ids = side_by_side(
            [
                ranking(
                    vectors[i] if vectors else None,
                    everybody.take(np.flatnonzero(part)).codes,
                    metric,
                    filtered=filtered,
                    hubness=hubness,
                )
                for i, part in enumerate(parts)
            ]
        )
        judged = retrieval(ids, *everybody.take(rows), K)
        lines.append([name, metric, "on" if filtered else "off", hubness, *shown(judged)])
        if not filtered:
            by_crop = recall_at_k(ids, clips, RECALL_K, is_song)[~is_song]
            by_song = recall_at_k(ids, clips, RECALL_K, ~is_song)[is_song]
            of_clips.append([name, metric, *(f"{np.nanmean(recall):.1%}" for recall in (by_crop, by_song))])
    print_table(["vectors", "metric", "artist filter", "hubness", *HEAD], lines)
    print_table(["vectors", "metric", f"crop → song, recall@{RECALL_K}", f"song → crop, recall@{RECALL_K}"], of_clips)


def ways(found: list[Embedding]) -> Iterator[tuple[Embedding, bool, Hubness]]:
    """Yield vectors, artist filter and method against hubs for every line of a table."""
    for one in (Embedding("random", "cosine", []), *found):
        yield one, False, "none"
        yield one, True, "none"
        if one.vectors:
            yield one, True, "mutual_proximity"


def side_by_side(of_parts: list[Ids]) -> Ids:
    """Join the lists of several catalogs into those of one catalog that holds them one after the other."""
    starts = np.cumsum([0, *map(len, of_parts)])
    ids = np.full((starts[-1], max(part.shape[1] for part in of_parts)), -1, np.int32)
    for start, part in zip(starts, of_parts, strict=False):
        ids[start : start + len(part), : part.shape[1]] = np.where(part >= 0, part + start, -1)
    return ids


def of_model(text: str) -> tuple[str, str]:
    """Return ``("crnn", "5")`` for ``crnn=5``."""
    model, _, value = text.partition("=")
    return model, value


def main() -> None:
    """Print all tables."""
    options = parser(
        __doc__, "python -m benchmarks.models.retrieval --out OUT --models mlp --models crnn --epochs crnn=20"
    )
    options.add_argument("--out", type=Path, help="an OUT of gtzan and gtzan_crops; without it, the feature table only")
    options.add_argument("--models", action="append", choices=sorted(NETWORKS), help="network; may be repeated")
    options.add_argument("--epochs", action="append", type=of_model, default=[], help="MODEL=N, unless the model's own")
    options.add_argument("--window-s", action="append", type=of_model, default=[], help="MODEL=S, length of excerpts")
    options.add_argument("--keep", type=Path, help="folder for the vectors of each fold")
    options.add_argument("--folds", type=int, default=3, help="parts of the artists (default: 3)")
    options.add_argument("--seed", type=int, default=0, help="of the folds and the weights (default: 0)")
    asked = options.parse_args()
    one_thread()
    print_machine("scikit-learn", "numpy", "numba", "keras")
    table_gtzan(asked.data)
    if asked.out:
        if asked.keep:
            asked.keep.mkdir(parents=True, exist_ok=True)
        one_tensorflow_thread()
        tables_out(Store(asked.out), asked)


if __name__ == "__main__":
    main()
