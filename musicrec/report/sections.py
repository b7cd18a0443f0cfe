"""The sections of the report: functions that read the tables of OUT and return what the template prints.

A function returns None if its table does not exist yet.
"""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from musicrec.errors import MusicrecError
from musicrec.evaluate.proportion import wilson
from musicrec.evaluate.summary import extremes
from musicrec.files.parquet import read_parquet
from musicrec.models import read_card
from musicrec.report import figures, numbers
from musicrec.report.clusters_section import clusters
from musicrec.report.figures import data_uri
from musicrec.report.lists_section import changes, hubs_and_orphans
from musicrec.report.map_section import MAX_MAPPED, genres_of
from musicrec.report.numbers import NO_GENRE, SEED
from musicrec.report.samples import sampled
from musicrec.schemas import OK
from musicrec.serve.known_artists import n_without_artist
from musicrec.serve.status import versions_of
from musicrec.store.outcomes import DOINGS
from musicrec.store.store import Store

Content = dict[str, Any]
Genres = pd.Series  # genre by track id; null if it is not known

MAX_FEATURE_ROWS = 20_000
MAX_QUERIES = 20_000
SMALL_TEST = 300  # with fewer songs, the 95 % interval of an accuracy is wider than about ten points
N_EXAMPLES, EXAMPLE_RANKS = 6, 10
COMPARED_RANKS = (5, 10)
GATE = {
    "coverage": "share of the songs that are in at least one list",
    "antihub_share": "share of the songs that are in no list",
    "max_hub_share": "share of all lists that contain the most recommended song",
    "hub_skew": "skewness of the histogram below; well above 1, a few hubs fill the lists",
    "robin_hood": "share of all entries that would have to change for all songs to be in the same number of lists",
    "churn": "share of a list, on average, that changed since the previous table",
}


def read_genres(store: Store) -> Genres | None:
    """Read the genre of every song of the catalog, by track id."""
    if not store.exists("tracks"):
        return None
    tracks = store.read("tracks", columns=["track_id", "genre"]).to_pandas()
    genres: Genres = tracks.set_index("track_id")["genre"].replace("", None)
    return genres


def accounting(store: Store, genres: Genres | None) -> Content | None:
    """Count the outcomes of the catalog's songs in every stage, with the reasons why songs were left out."""
    if genres is None or not store.exists("outcomes"):
        return None
    pairs = (
        store.read("outcomes", columns=["stage", "status"]).group_by(["stage", "status"]).aggregate([([], "count_all")])
    )
    counts = pairs.to_pandas().rename(columns={"count_all": "count"})
    seen, wanted = set(counts["stage"]), store.settings.recorded("similar").get("no_duplicates")
    of_chain = [stage for stage in DOINGS if stage != "duplicates" or stage in seen or wanted]
    stages = [*of_chain, *sorted(seen - set(DOINGS))]
    columns = ["track_id", "stage", "status", "reason", "detail"]
    failed = store.read("outcomes", columns=columns, filter=pc.field("status") != OK).to_pandas()
    return {
        "catalog": len(genres),
        "without_artist": n_without_artist(store),
        "stages": numbers.account(counts, len(genres), stages),
        "problems": numbers.find_problems(failed, stages),
    }


def genre_counts(store: Store, genres: Genres | None) -> Content | None:
    """Count the songs of each genre, and say where the genres come from."""
    if genres is None:
        return None
    lineage = store.footer("tracks")["lineage"]
    return {
        "taken": lineage.get("genres"),
        "kind": lineage.get("kind"),
        "songs": len(genres),
        "genres": genres.nunique(),
        "unlabelled": int(genres.isna().sum()),
        "shown": figures.MAX_GENRES,
        "bars": data_uri(figures.genre_bars(genres.fillna(NO_GENRE))) if len(genres) else None,
    }


def model_name(store: Store) -> str:
    """Return the path of the model that the page shows: the one of the published embeddings, if there are any."""
    embedded = store.footer("embeddings")["lineage"] if store.exists("embeddings") else {}
    return f"models/{embedded.get('model') or store.settings.recorded('train').get('model', 'mlp')}"


def read_model(store: Store) -> Content | None:
    """Read the model's ``model.json``."""
    if not store.exists(model_name(store)):
        return None
    return read_card(store.path(model_name(store)))


def read_predictions(store: Store, name: str) -> pd.DataFrame:
    """Read the predictions of ``models/NAME`` for the songs whose genre is known."""
    file = store.path(name) / "predictions.parquet"
    predictions = read_parquet(file, ["track_id", "split", "genre", "predicted"]).to_pandas()
    return predictions.dropna(subset=["genre", "predicted"])


def model(store: Store, description: Content | None, name: str = "") -> Content | None:
    """Return how well a model predicts the genre of songs that it was not trained on.

    Parameters
    ----------
    store : Store
    description : dict or None
        Content of its ``model.json``.
    name : str
        ``models/NAME``; that of the page's model by default.
    """
    if description is None:
        return None
    folder = store.path(name or model_name(store))
    predictions = read_predictions(store, name or model_name(store))
    history = read_parquet(folder / "history.parquet").to_pandas()
    test = predictions[predictions["split"] == "test"]
    return {
        **description,
        "curves": data_uri(figures.learning_curves(history)) if len(history) else None,
        "small": len(test) < SMALL_TEST,
        "shown": figures.MAX_GENRES,
        "test": _test_scores(test) if len(test) else None,
        "clusters": clusters(folder, description),
    }


def other_models(store: Store) -> list[Content]:
    """Return the same of each other model of OUT, best first, or why it cannot be read."""
    found: list[Content] = []
    for name in store.published():
        if not name.startswith("models/") or name == model_name(store):
            continue
        try:
            about = model(store, read_card(store.path(name)), name)
            found.append({"name": name.removeprefix("models/"), "about": about, "why_not": None})
        except (MusicrecError, OSError, ValueError, KeyError) as e:  # the other sections do not need it
            found.append({"name": name.removeprefix("models/"), "about": None, "why_not": " ".join(str(e).split())})
    return sorted(found, key=_by_accuracy)


def _by_accuracy(other: Content) -> tuple[float, str]:
    test = other["about"] and other["about"]["test"]
    return -test["accuracy"] if test else 0.0, other["name"]


def _test_scores(test: pd.DataFrame) -> Content:
    correct = int((test["genre"] == test["predicted"]).sum())
    low, high = wilson(correct, len(test))
    scores = numbers.genre_scores(test["genre"], test["predicted"])
    confused = len(set(test["genre"]) | set(test["predicted"])) > 1
    return {
        "n": len(test),
        "correct": correct,
        "accuracy": correct / len(test),
        "constant": float(test["genre"].value_counts(normalize=True).max()),
        "low": low,
        "high": high,
        "extremes": extremes(scores.set_index("genre")["f1"]),
        "scores": scores.to_dict("records"),
        "mean": scores[["precision", "recall", "f1"]].mean().to_dict(),
        "matrix": data_uri(figures.confusion_matrix(test["genre"], test["predicted"])) if confused else None,
    }


def features(store: Store, names: list[str] | None, genres: Genres | None) -> Content | None:
    """Show how the features are distributed and correlated, and map the songs by their principal components.

    Parameters
    ----------
    store : Store
    names : list of str or None
        Features of the model's set; all features of the table if there is no model.
    genres : pandas.Series or None
        Genre by track id.
    """
    if not store.exists("features"):
        return None
    held = [name for name in store.dataset("features").schema.names if name != "track_id"]
    shown = [name for name in names or () if name in held] or held
    table, songs = sampled(store, "features", ["track_id", *shown], MAX_FEATURE_ROWS)
    frame = table.to_pandas().set_index("track_id")
    content: Content = {"songs": songs, "sampled": len(frame), "features": frame.shape[1], "histograms": None}
    if len(frame) < 2 or frame.shape[1] < 1:
        return content
    return {
        **content,
        "histograms": data_uri(figures.feature_histograms(frame)),
        "correlations": data_uri(figures.feature_correlations(frame)),
        **_feature_map(frame, genres),
    }


def _feature_map(frame: pd.DataFrame, genres: Genres | None) -> Content:
    mapped = frame.sample(min(MAX_MAPPED, len(frame)), random_state=SEED)
    plane = numbers.principal_plane(numbers.standardised(mapped))
    named = genres_of(mapped.index.to_series(), genres).fillna(NO_GENRE)
    return {"mapped": len(mapped), "principal": data_uri(figures.song_map(plane.points, named, plane.shares))}


def listed_ids(store: Store) -> "pd.Index[str] | None":
    """Return the track ids of the songs that have a list of similar songs."""
    if not store.exists("similar"):
        return None
    first = store.read("similar", columns=["track_id"], filter=pc.field("rank") == 1)
    return pd.Index(first["track_id"].to_pandas())


def recommendations(store: Store, ids: "pd.Index[str] | None", description: Content | None) -> Content | None:
    """Describe the recommendation table, with the figures that its gate checked."""
    if ids is None:
        return None
    footer = store.footer("similar")
    settings, gate = footer["settings"], footer["lineage"].get("gate", {})
    spaces = list(footer["lineage"].get("spaces", {}))  # empty for the model's embeddings
    pieces = store.dataset("similar").to_batches(columns=["similar_track_id"])
    counts = numbers.count_occurrences(ids, (piece.column(0).to_pandas() for piece in pieces))
    return {
        "songs": len(ids),
        "n": settings["n"],
        "metric": settings["metric"],
        "created_at": footer["created_at"],
        "gate": [(name, gate[name], meaning) for name, meaning in GATE.items() if name in gate],
        "short_lists": gate.get("short_lists", 0),
        "versions": versions_of(store, "similar"),
        "spaces": spaces,
        "beside": footer["lineage"].get("beside_features"),
        "other_model": description is not None and not spaces and not _made_by(store, description),
        "lists": hubs_and_orphans(store, ids, counts),
        "changes": changes(store),
        "occurrences": data_uri(figures.occurrence_histogram(counts, float(counts.mean()))) if len(ids) else None,
    }


def _made_by(store: Store, description: Content) -> bool:
    """Return whether the recommendation table was made from this model's embeddings."""
    return bool(store.footer("similar")["lineage"].get("model_id") == description["model_id"])


def unseen_songs(store: Store, description: Content | None) -> set[str]:
    """Return the songs that the model of the recommendation table was not trained on; none if that model is gone."""
    if description is None or not store.exists("similar") or not _made_by(store, description):
        return set()
    predictions = read_predictions(store, model_name(store))
    return set(predictions.loc[predictions["split"] == "test", "track_id"])


def examples(store: Store, ids: "pd.Index[str] | None", genres: Genres | None, unseen: set[str]) -> Content | None:
    """Return example lists of similar songs, and how often neighbours have the same genre.

    Parameters
    ----------
    store : Store
    ids : pandas.Index or None
        Songs that have a list.
    genres : pandas.Series or None
        Genre by track id.
    unseen : set of str
        Songs that the model was not trained on.
    """
    if ids is None or genres is None:
        return None
    named = genres.reindex(ids)
    chosen = numbers.pick_examples(named, N_EXAMPLES)
    rng = np.random.default_rng(SEED)
    queries = ids if len(ids) <= MAX_QUERIES else pd.Index(rng.choice(ids, MAX_QUERIES, replace=False))
    pairs = _lists(store, list(queries), genres)
    few = _lists(store, chosen, genres)
    songs = _songs(store, few)
    ranks = sorted({min(k, int(pairs["rank"].max())) for k in COMPARED_RANKS}) if len(pairs) else []
    groups = {"all songs": pairs, "songs the model was not trained on": pairs[pairs["track_id"].isin(unseen)]}
    return {
        "songs": len(ids),
        "queries": len(queries),
        "ranks": ranks,
        "shares": [
            _shares(name, group, named, ranks) for name, group in groups.items() if group["genre"].notna().any()
        ],
        "lists": [_example(song, few, songs) for song in chosen],
    }


def _shares(label: str, pairs: pd.DataFrame, pool: Genres, ranks: list[int]) -> Content:
    queries = pairs.drop_duplicates("track_id")["genre"]
    return {
        "label": label,
        "queries": int(queries.notna().sum()),
        "shares": [numbers.same_genre_share(pairs, k) for k in ranks],
        "chance": numbers.chance_share(queries, pool),
    }


def _lists(store: Store, ids: list[str], genres: Genres) -> pd.DataFrame:
    """Read the first ranks of the lists of `ids`, with the genres of both songs."""
    wanted = pc.field("track_id").isin(pa.array(ids, pa.string())) & (pc.field("rank") <= EXAMPLE_RANKS)
    pairs = store.read("similar", filter=wanted).to_pandas().sort_values(["track_id", "rank"], ignore_index=True)
    pairs["genre"] = genres_of(pairs["track_id"], genres)
    pairs["similar_genre"] = genres_of(pairs["similar_track_id"], genres)
    return pairs


def _songs(store: Store, pairs: pd.DataFrame) -> dict[str, Content]:
    """Read title, artist and genre of every song in `pairs`, by track id."""
    ids = pd.unique(pd.concat([pairs["track_id"], pairs["similar_track_id"]]))
    columns = ["track_id", "title", "artist", "genre"]
    rows = store.read("tracks", columns, filter=pc.field("track_id").isin(pa.array(ids, pa.string()))).to_pylist()
    return {row["track_id"]: row for row in rows}


def _example(track_id: str, pairs: pd.DataFrame, songs: dict[str, Content]) -> Content:
    unknown: Content = {"title": None, "artist": None, "genre": None}
    rows = pairs[pairs["track_id"] == track_id]
    similar = [
        {"track_id": other, **songs.get(other, unknown), "rank": rank, "score": score}
        for other, rank, score in zip(rows["similar_track_id"], rows["rank"], rows["score"], strict=True)
    ]
    return {"track_id": track_id, **songs.get(track_id, unknown), "similar": similar}
