"""Two spaces beside each other, on the same songs: what one reads before a nightly table gets another space."""

from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.errors import ModelError, MusicrecError
from musicrec.evaluate.artist_circles import groups_apart
from musicrec.evaluate.comparison import Paired, paired
from musicrec.evaluate.rankings import relevance
from musicrec.files.parquet import read_parquet
from musicrec.models.linear_probe import probe
from musicrec.models.network import read_card
from musicrec.serve.comparable_songs import EMBEDDINGS, Vectors, read_vectors
from musicrec.settings import OWN_SPACES, weights_of
from musicrec.similarity import top_n
from musicrec.similarity.list_quality import Quality, churn, occurrences, quality
from musicrec.store.store import Store
from musicrec.store.tracks import read_tracks

K = 5  # songs of a list that its precision looks at
MOST_ASKED = 2000  # songs whose whole rankings are judged
MOST_PROBED = 5000  # songs by which the classifier is judged

Array = NDArray[Any]
Float32 = NDArray[np.float32]


class Lists(NamedTuple):
    """What can be said of the lists of one space without knowing a genre."""

    space: str
    with_vector: int  # songs of the catalog that have one
    dimension: int
    hubs: Quality
    most_frequent: int  # lists that the most frequent song is in


class Genres(NamedTuple):
    """How well the songs of a genre find each other; None where nothing can be judged."""

    n_songs: int  # that have a genre, and that no model of the two spaces was trained on
    n_artists: int
    n_genres: int
    n_asked: int  # of them; whose rankings are judged
    n_probed: int  # of them; by which the classifier is judged
    precision: Paired | None
    average_precision: Paired | None
    accuracy: Paired | None


class Comparison(NamedTuple):
    """Two spaces on the songs that have a vector in both."""

    n_songs: int  # of the catalog
    n_both: int  # with a vector in both
    n: int  # length of the lists
    lists: tuple[Lists, Lists]
    overlap: float  # mean share of a list that is in the song's other list too
    genres: Genres
    pretrained: list[str]  # spaces whose vectors were made by a model that was trained elsewhere
    n_trained_on: int | None  # songs that the model of the embeddings was trained on; None if that is not known
    n_unknown_artists: int  # songs without artist, of those with a genre


def compare_spaces(store: Store, first: tuple[str, ...], second: tuple[str, ...], n: int = 50) -> Comparison:
    """Compare two spaces of an OUT.

    Parameters
    ----------
    store : Store
        OUT, with ``tracks`` and the vectors.
    first, second : tuple of str
        As in :class:`musicrec.settings.SimilarSettings`.
    n : int
        Length of the lists.

    Raises
    ------
    ConfigError
        There is no such space.
    MusicrecError
        Fewer than two songs have a vector in both.
    """
    both = read_vectors(store, first), read_vectors(store, second)
    ids = both[0].names["track_id"].combine_chunks()
    ids = ids.filter(pc.is_in(ids, both[1].names["track_id"].combine_chunks()))
    if len(ids) < 2:
        raise MusicrecError(f"models compare: {len(ids)} songs have a vector in both spaces; at least two are needed")
    matrices = [_rows_of(vectors, ids) for vectors in both]
    found = [top_n(matrix, n).ids for matrix in matrices]
    songs = _Songs.read(store, ids, {*weights_of(first), *weights_of(second)})
    return Comparison(
        n_songs=len(store.track_ids()),
        n_both=len(ids),
        n=found[0].shape[1],
        lists=(_lists(first, both[0], found[0]), _lists(second, both[1], found[1])),
        overlap=1 - (churn(found[0], found[1], np.arange(len(ids))) or 0.0),
        genres=_genres(songs, matrices),
        pretrained=sorted({*weights_of(first), *weights_of(second)} - set(OWN_SPACES)),
        n_trained_on=songs.n_trained_on,
        n_unknown_artists=songs.n_unknown_artists,
    )


def _rows_of(vectors: Vectors, ids: Any) -> Float32:  # noqa: ANN401 - pyarrow.Array
    places = pc.index_in(ids, value_set=vectors.names["track_id"].combine_chunks())
    return vectors.matrix[places.to_numpy()]


def _lists(space: tuple[str, ...], vectors: Vectors, ids: NDArray[np.int32]) -> Lists:
    name = " + ".join(space) if space else EMBEDDINGS
    counts = occurrences(ids)
    return Lists(name, len(vectors.matrix), vectors.matrix.shape[1], quality(ids), int(counts.max()))


class _Songs(NamedTuple):
    """The songs that figures of genres are of."""

    rows: NDArray[np.intp]  # of the vectors
    genres: NDArray[np.int32]
    artists: list[str]  # circle of artists of each; without artists, its recording
    n_unknown_artists: int
    n_trained_on: int | None

    @classmethod
    def read(cls, store: Store, ids: Any, spaces: set[str]) -> "_Songs":  # noqa: ANN401 - pyarrow.Array
        tracks = read_tracks(store, ["track_id", "genre", "artist_ids", "recording"])
        songs = tracks.take(pc.index_in(ids, value_set=tracks["track_id"].combine_chunks())).to_pylist()
        learned = _trained_on(store) if EMBEDDINGS in spaces else set()
        rows = [i for i, song in enumerate(songs) if song["genre"] and song["track_id"] not in (learned or ())]
        chosen = [songs[i] for i in rows]
        columns = ([song[name] for song in chosen] for name in ("artist_ids", "recording", "track_id"))
        known = groups_apart(*columns)
        n_unknown = sum(not any(song["artist_ids"] or ()) for song in chosen)
        genres = np.unique([song["genre"] for song in chosen], return_inverse=True)[1].astype(np.int32)
        n_learned = None if learned is None else sum(song["track_id"] in learned for song in songs)
        return cls(np.array(rows, np.intp), genres, known, n_unknown, n_learned)


def _trained_on(store: Store) -> set[str] | None:
    """Return the songs that the model of the embeddings was trained on; None if that is not known."""
    lineage = store.footer(EMBEDDINGS)["lineage"]
    name = f"models/{lineage.get('model')}"
    if not store.exists(name) or read_card(store.path(name)).get("model_id") != lineage.get("model_id"):
        return None
    predictions = read_parquet(store.path(name) / "predictions.parquet")
    return set(predictions.filter(pc.field("split") == "train")["track_id"].to_pylist())


# --- by genre ---------------------------------------------------------------------------------------------------------


def _genres(songs: _Songs, matrices: list[Float32]) -> Genres:
    """Judge both spaces by songs of the same genre and other artists; of many songs, by the same ones for both."""
    n, artists = len(songs.rows), np.array(songs.artists, str)
    asked, probed = _drawn(n, MOST_ASKED), _drawn(n, MOST_PROBED)
    matrices = [matrix[songs.rows] for matrix in matrices]
    found = [relevance(matrix, songs.genres, artists, K, asked) for matrix in matrices]
    hits = [_probed(matrix[probed], songs.genres[probed], artists[probed].tolist()) for matrix in matrices]
    return Genres(
        n_songs=n,
        n_artists=len(set(songs.artists)),
        n_genres=len(set(songs.genres.tolist())),
        n_asked=len(asked),
        n_probed=len(probed),
        precision=paired(found[0][0], found[1][0], artists[asked]),
        average_precision=paired(found[0][1], found[1][1], artists[asked]),
        accuracy=paired(hits[0], hits[1], artists[probed]),
    )


def _drawn(n: int, most: int) -> NDArray[np.intp]:
    return np.sort(np.random.default_rng(0).permutation(n)[:most])


def _probed(X: Float32, genres: NDArray[np.int32], artists: list[str]) -> Array:
    """Return which songs a classifier names right; NaN for all if there are too few to train one."""
    if len(set(genres.tolist())) < 2:
        return np.full(len(X), np.nan)
    try:
        return probe(X, genres, artists)
    except ModelError:
        return np.full(len(X), np.nan)
