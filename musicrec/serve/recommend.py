"""Recommend songs to a listener from the songs they like, out of what is published; without Ray or TensorFlow.

Songs are compared as in the published table: ``table``, by the cosine in its spaces. Or they are compared as by the
recommenders of the first reference system: ``embedding``, by the cosine of the model's vectors; ``knn``, by the
Euclidean distance of standardised features; ``clustering``, by the Euclidean distance in the plane of their first two
principal components. These tables are read in blocks: memory holds a few numbers for each song, not its vector. Only
vectors of other spaces than ``embeddings`` are all in memory.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.errors import ConfigError, SchemaError, UnknownTrack
from musicrec.files.parquet import read_parquet
from musicrec.files.paths import AnyPath
from musicrec.serve.lookup import SimilarTable, Song
from musicrec.serve.song_facts import sounds_of
from musicrec.settings import ExtractSettings, TrainSettings, resolve
from musicrec.similarity import POOLS, Space, Taste, best, medoid, score
from musicrec.similarity.songs import recording_numbers, songs_of
from musicrec.store.lineage import read_footer
from musicrec.store.store import Store
from musicrec.store.tracks import read_tracks

if TYPE_CHECKING:
    import pyarrow.dataset as pads

Array = NDArray[np.float32]

SPACES = ("table", "embedding", "knn", "clustering")
METHODS = ("cosine", "genre")
AT_ONCE: dict[str, Any] = {"batch_size": 8192, "batch_readahead": 4, "fragment_readahead": 1}  # about ten MB of rows
PLANE = 2  # the reference system compares songs by two principal components


class Recommendation(NamedTuple):
    """A recommended song.

    Attributes
    ----------
    rank : int
        1 for the best song.
    song : Song
        The song.
    score : float
        The cosine; with method ``genre``, the agreement of genres is added. In the spaces ``knn`` and ``clustering``,
        minus the distance.
    because : Song
        The liked song that this one is most similar to.
    """

    rank: int
    song: Song
    score: float
    because: Song


class _Songs(NamedTuple):
    """Songs as vectors of one space."""

    dataset: "pads.Dataset"  # one version, even if another one is published meanwhile
    columns: list[str]
    metric: str
    place: Callable[[pa.Table], Array]  # rows of the table → vectors [n, d]

    def rows(self, track_ids: list[str]) -> pa.Table:
        """Return the rows of some songs, in the order of their ids."""
        is_wanted = pc.field("track_id").isin(pa.array(track_ids, pa.string()))
        table = self.dataset.to_table(columns=["track_id", *self.columns], filter=is_wanted, **AT_ONCE)
        return table.sort_by("track_id")

    def blocks(self) -> Iterator[pa.Table]:
        """Iterate over the rows of all songs, in blocks."""
        for batch in self.dataset.to_batches(columns=["track_id", *self.columns], **AT_ONCE):
            if batch.num_rows:
                yield pa.Table.from_batches([batch])


class Recommender:
    """Recommends songs of one OUT to a listener.

    Parameters
    ----------
    out : str or path-like
        OUT, a folder or an s3:// prefix.
    table : SimilarTable, optional
        A version of its table that is open already.

    Raises
    ------
    ConfigError
        `out` is not an OUT, or cannot be read.
    SchemaError
        No catalog or no table of similar songs is published; the latter is where songs are looked up by name.

    Examples
    --------
    >>> from musicrec import Recommender
    >>> recommender = Recommender("out")
    >>> for line in recommender.recommend(["synthetic-bells-1", "synthetic-drone-2"], n=2):
    ...     print(line.rank, line.song.title, "because of", line.because.title)
    1 Synthetic drone 4 because of Synthetic drone 2
    2 Synthetic drone 3 because of Synthetic drone 2
    """

    def __init__(self, out: str | PathLike[str] | AnyPath, table: SimilarTable | None = None) -> None:
        self._table = table or SimilarTable(out)
        self._store = Store(out)
        columns = [*Song._fields, "recording", "content_hash"]
        self._tracks = read_tracks(self._store, columns).sort_by("track_id").combine_chunks()
        facts = {name: self._tracks[name].to_pylist() for name in ("recording", "content_hash")}
        self._recordings = recording_numbers(songs_of(facts | sounds_of(self._store, self._tracks["track_id"])))

    def song(self, name: str) -> Song:
        """Return id, title, artist and genre of a song.

        Parameters
        ----------
        name : str
            Id or name of the song, as for :meth:`musicrec.SimilarTable.similar`.

        Returns
        -------
        Song
            The song.

        Raises
        ------
        UnknownTrack
            As for :meth:`musicrec.SimilarTable.similar`.
        """
        return self._table.song(name)

    def centre(self, genre: str) -> Song:
        """Return the centre song of a genre: the medoid of the embeddings of its songs.

        The songs that the model was tested on are left out, unless the genre has no others. Without embeddings, it is
        the medoid in the spaces of the published table.

        Parameters
        ----------
        genre : str
            Name of the genre, as in the catalog.

        Returns
        -------
        Song
            The song.

        Raises
        ------
        ConfigError
            No song with a vector has this genre.
        SchemaError
            A table is missing.

        Examples
        --------
        >>> Recommender("out").centre("synthetic-rain").title
        'Synthetic rain 4'
        """
        is_embedded = self._store.exists("embeddings")
        songs = self._songs("embedding" if is_embedded else "table")
        tested = self._held_out(songs.dataset) if is_embedded else pa.array([], pa.string())
        track_ids = self._tracks["track_id"].filter(pc.equal(self._tracks["genre"], genre))
        learned = track_ids.filter(pc.invert(pc.is_in(track_ids, tested)))
        rows = songs.rows((learned if len(learned) else track_ids).to_pylist())
        if not rows.num_rows:
            genres = sorted(filter(None, pc.unique(self._tracks["genre"]).to_pylist()))
            raise ConfigError(f"no songs of genre {genre!r} in {self._store.out}; expected one of {', '.join(genres)}")
        return self.song(rows["track_id"][medoid(songs.place(rows))].as_py())

    def recommend(
        self,
        likes: Sequence[str],
        n: int = 5,
        *,
        by: str = "table",
        method: str = "cosine",
        pool: str = "mean",
        weight: float = 1.0,
    ) -> list[Recommendation]:
        """Return new songs for a listener, best first.

        The liked songs are left out, and so are other files of their recordings: those that the source calls one
        recording, equal files, and those that ``musicrec duplicates`` found. Only one file of each recording is
        recommended.

        Parameters
        ----------
        likes : sequence of str
            Ids or names of the songs that the listener likes, at least one.
        n : int
            Number of songs; fewer come back if there are fewer.
        by : {"table", "embedding", "knn", "clustering"}
            How songs are compared; ``table`` is as in the published table, or by embeddings with method ``genre``.
        method : {"cosine", "genre"}
            ``cosine`` ranks by similarity alone; ``genre`` adds `weight` times the agreement of genres, and needs
            embeddings. For songs that the model was trained on, the genre probabilities repeat what the model
            was taught.
        pool : {"mean", "max"}
            Mean similarity to all liked songs, or similarity to the nearest of them.
        weight : float
            Weight of the agreement of genres.

        Returns
        -------
        list of Recommendation
            Rank, song and score of each, and the liked song that it is most similar to.

        Raises
        ------
        ConfigError
            An option is unknown or does not fit another, or `likes` is empty.
        SchemaError
            A table is missing, or the embeddings have no genre probabilities.
        UnknownTrack
            A liked song is unknown. If it failed in an earlier stage, the message says why.
        """
        by = "embedding" if (by, method) == ("table", "genre") else by
        _check(by, method, pool, likes, n)
        liked = sorted({self.song(name).track_id for name in likes})
        songs = self._with_probabilities(self._songs(by)) if method == "genre" else self._songs(by)
        rows = songs.rows(liked)
        if missing := sorted(set(liked) - set(rows["track_id"].to_pylist())):
            raise UnknownTrack(f"{missing[0]} has no vector to compare by {by}; run the chain again")
        taste = Taste(songs.place(rows), _genres(rows), songs.metric, pool, weight)
        scores, because = self._scored(
            (block["track_id"].combine_chunks(), *score(songs.place(block), taste, _genres(block)))
            for block in songs.blocks()
        )
        liked_rows = self._rows(pa.array(liked))
        chosen = best(scores, n, liked_rows[liked_rows >= 0], self._recordings)  # a like may have left the catalog
        return [
            Recommendation(rank, self._song(int(row)), float(scores[row]), self.song(liked[because[row]]))
            for rank, row in enumerate(chosen, start=1)
        ]

    def _scored(self, blocks: Iterator[tuple[pa.Array, Array, NDArray[np.intp]]]) -> tuple[Array, NDArray[np.intp]]:
        """Return for each song of the catalog its score, -inf without a vector, and the liked song nearest to it."""
        track_ids, scores, because = map(list, zip(*blocks, strict=True))
        rows = self._rows(pa.concat_arrays(track_ids))
        is_known = rows >= 0  # a song may have left the catalog
        all_scores = np.full(len(self._tracks), -np.inf, np.float32)
        all_because = np.zeros(len(self._tracks), np.intp)
        all_scores[rows[is_known]] = np.concatenate(scores)[is_known]
        all_because[rows[is_known]] = np.concatenate(because)[is_known]
        return all_scores, all_because

    def _rows(self, track_ids: pa.Array) -> NDArray[np.int64]:
        """Return the rows of songs in the catalog; -1 for a song that is not in it."""
        rows = pc.index_in(track_ids, self._tracks["track_id"])
        return np.asarray(pc.fill_null(rows, -1), np.int64)

    def _song(self, row: int) -> Song:
        return Song(*(self._tracks[name][row].as_py() for name in Song._fields))

    # --- spaces -------------------------------------------------------------------------------------------------

    def _songs(self, by: str) -> _Songs:
        spaces = self._store.footer("similar")["lineage"].get("spaces", {})  # none of a table of embeddings alone
        if by == "table" and spaces:
            return self._of_spaces({name: space["weight"] for name, space in spaces.items()})
        if by in ("table", "embedding"):
            return _Songs(self._store.dataset("embeddings"), ["embedding"], "cosine", partial(_lists, "embedding"))
        from musicrec.features import feature_names

        dataset = self._store.dataset("features")
        names = feature_names(self._feature_set(dataset))
        features = _Songs(dataset, names, "euclidean", partial(_columns, names))
        blocks = (features.place(block) for block in features.blocks())
        space = Space.standardised(blocks) if by == "knn" else Space.principal(blocks, PLANE)
        return features._replace(place=lambda rows: space.place(_columns(names, rows)))

    def _of_spaces(self, weights: dict[str, float]) -> _Songs:
        import pyarrow.dataset as pads

        from musicrec.serve.comparable_songs import read_vectors

        songs = read_vectors(self._store, tuple(f"{name}={weight}" for name, weight in weights.items()))
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(songs.matrix.ravel()), songs.matrix.shape[1])
        rows = pa.table({"track_id": songs.names["track_id"].combine_chunks(), "embedding": vectors})
        return _Songs(pads.dataset(rows), ["embedding"], "cosine", partial(_lists, "embedding"))

    def _feature_set(self, features: "pads.Dataset") -> str:
        """Return the feature set of the last training in this OUT, or the first extracted set if that is missing."""
        have = resolve(ExtractSettings, read_footer(features.schema)["settings"]).feature_sets
        wanted = resolve(TrainSettings, self._store.settings.recorded("train")).feature_set
        return wanted if wanted in have else have[0]

    def _with_probabilities(self, songs: _Songs) -> _Songs:
        if "probabilities" not in songs.dataset.schema.names:
            raise SchemaError(
                f"table {self._store.out / 'embeddings'} has no genre probabilities, which method genre needs; "
                f"run musicrec embed {self._store.out}"
            )
        return songs._replace(columns=[*songs.columns, "probabilities"])

    def _held_out(self, embeddings: "pads.Dataset") -> pa.Array:
        """Return the songs that the model of the embeddings was tested on; none if the model was replaced since."""
        from musicrec.models import read_card

        lineage = read_footer(embeddings.schema)["lineage"]
        name = f"models/{lineage.get('model')}"
        if not self._store.exists(name) or read_card(self._store.path(name))["model_id"] != lineage.get("model_id"):
            return pa.array([], pa.string())
        predictions = read_parquet(self._store.path(name) / "predictions.parquet", ["track_id", "split"])
        return predictions["track_id"].filter(pc.equal(predictions["split"], "test")).combine_chunks()


def _check(by: str, method: str, pool: str, likes: Sequence[str], n: int) -> None:
    for option, value, choices in (("space", by, SPACES), ("method", method, METHODS), ("pool", pool, POOLS)):
        if value not in choices:
            raise ConfigError(f"unknown {option} {value!r}; expected one of {', '.join(choices)}")
    if method == "genre" and by != "embedding":
        raise ConfigError(f"method genre adds to the cosine of embeddings; it does not go with {by}")
    if not likes or n < 1:
        raise ConfigError(f"{len(likes)} liked songs, n = {n}; expected at least one song, and n of at least 1")


def _columns(names: list[str], rows: pa.Table) -> Array:
    """Return float columns as a matrix, [n, d]."""
    return np.column_stack([rows[name].to_numpy() for name in names])


def _lists(name: str, rows: pa.Table) -> Array:
    """Return a column of lists of equal length as a matrix, [n, d]."""
    values: Any = rows[name].combine_chunks().flatten().to_numpy()
    return values.reshape(len(rows), -1) if len(rows) else np.zeros((0, 0), np.float32)


def _genres(rows: pa.Table) -> Array | None:
    """Return genre probabilities [n, n_genres], or None if they were not read."""
    return _lists("probabilities", rows) if "probabilities" in rows.column_names else None
