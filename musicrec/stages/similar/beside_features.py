"""The embeddings of a model beside the features: a model that is worse than them is not published silently.

Both are judged by the songs that the model was tested on: how many of the nearest songs by other artists have the same
genre. The songs that it learned from may be among the nearest, as they are in the published lists.
"""

from typing import Any

import numpy as np
import pyarrow.compute as pc

from musicrec.errors import MusicrecError
from musicrec.evaluate.artist_circles import groups_apart
from musicrec.evaluate.comparison import paired
from musicrec.evaluate.rankings import relevance
from musicrec.files.parquet import read_parquet
from musicrec.models import read_card
from musicrec.serve.comparable_songs import FEATURES, Vectors, read_vectors
from musicrec.store.store import Store
from musicrec.store.tracks import read_tracks

K = 5
MOST_ASKED, MOST_OTHERS = 300, 20_000  # songs; of more, some are drawn
KEY = "beside_features"  # in the lineage of the table

Figures = dict[str, Any]


def beside_features(store: Store, vectors: Vectors) -> Figures | None:
    """Return how many of the nearest songs have the same genre, by the embeddings and by the features alone.

    Parameters
    ----------
    store : Store
        OUT, with the model of the embeddings and ``features``.
    vectors : Vectors
        The embeddings.

    Returns
    -------
    dict or None
        ``k``, ``n_songs``, and mean, low and high of ``embeddings``, ``features`` and their ``difference``. None if no
        song was tested that has the genre of another artist's song.
    """
    known = _published(store, vectors)
    if known is not None:
        return known
    tested = _tested(store, vectors)
    if not tested or not store.exists(FEATURES):
        return None
    by_features = read_vectors(store, (FEATURES,))
    tracks = read_tracks(store, ["track_id", "genre", "artist_ids", "recording"]).to_pylist()
    rows = [_row_of(own) for own in (vectors, by_features)]
    songs = [t for t in tracks if t["genre"] and all(t["track_id"] in own for own in rows)]
    songs = _drawn(songs, tested)
    asked = np.array([i for i, song in enumerate(songs) if song["track_id"] in tested], np.intp)[:MOST_ASKED]
    if not len(asked):
        return None
    columns = ([song[name] for song in songs] for name in ("artist_ids", "recording", "track_id"))
    artists = np.array(groups_apart(*columns), str)
    found = [
        relevance(
            own.matrix[[row[song["track_id"]] for song in songs]], [song["genre"] for song in songs], artists, K, asked
        )[0]
        for own, row in zip((vectors, by_features), rows, strict=True)
    ]
    both = paired(found[1], found[0], artists[asked])
    if both is None:
        return None
    values = {"features": both.first, "embeddings": both.second, "difference": both.difference}
    n_songs = int((~np.isnan(found[0])).sum())
    return {"k": K, "n_songs": n_songs, **{name: [round(v, 4) for v in value[:3]] for name, value in values.items()}}


def warning(figures: Figures | None) -> str | None:
    """Return what to say of a model that is worse than the features; None if it is not.

    Examples
    --------
    >>> print(warning({"k": 5, "n_songs": 20, "embeddings": [0.3, 0.2, 0.4], "features": [0.56, 0.5, 0.6],
    ...     "difference": [-0.26, -0.4, -0.1]}))
    the model is worse than the features alone: of the 5 nearest songs by other artists, 30.0 % instead of 56.0 % have \
the same genre, by 20 songs that it did not learn from (difference -40.0 to -10.0 points); to compare by features: \
--space features
    """
    if not figures or figures["difference"][0] >= 0:
        return None
    model, features = figures["embeddings"][0], figures["features"][0]
    _, low, high = figures["difference"]
    songs = "1 song" if figures["n_songs"] == 1 else f"{figures['n_songs']} songs"
    return (
        f"the model is worse than the features alone: of the {figures['k']} nearest songs by other artists, "
        f"{100 * model:.1f} % instead of {100 * features:.1f} % have the same genre, by {songs} that it did not learn "
        f"from (difference {100 * low:.1f} to {100 * high:.1f} points); to compare by features: --space features"
    )


def _published(store: Store, vectors: Vectors) -> Figures | None:
    """Return the figures of the published table if they are of the same model."""
    lineage = store.footer("similar")["lineage"] if store.exists("similar") else {}
    is_same = lineage.get("model_id") == vectors.origin.space_id
    found: Figures | None = lineage.get(KEY) if is_same else None
    return found


def _tested(store: Store, vectors: Vectors) -> set[str]:
    """Return the songs that the model of the embeddings was tested on; none if that model is gone."""
    name = f"models/{vectors.origin.lineage.get('model')}"
    try:
        if not store.exists(name) or read_card(store.path(name)).get("model_id") != vectors.origin.space_id:
            return set()
        predictions = read_parquet(store.path(name) / "predictions.parquet", ["track_id", "split"])
    except (MusicrecError, OSError):
        return set()
    return set(predictions.filter(pc.field("split") == "test")["track_id"].to_pylist())


def _row_of(vectors: Vectors) -> dict[str, int]:
    return {track_id: row for row, track_id in enumerate(vectors.names["track_id"].to_pylist())}


def _drawn(songs: list[Figures], tested: set[str]) -> list[Figures]:
    """Return all tested songs up to a number, and some of the others."""
    order = np.random.default_rng(0).permutation(len(songs))
    asked = [i for i in order if songs[i]["track_id"] in tested][:MOST_ASKED]
    others = [i for i in order if songs[i]["track_id"] not in tested][:MOST_OTHERS]
    return [songs[i] for i in sorted([*asked, *others])]
