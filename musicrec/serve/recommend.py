"""Songs for somebody, by the songs one likes. No Ray, no TensorFlow: what the stages have published is enough.

Songs are compared in one of three spaces, the recommenders of the first reference system: ``embedding``, by the cosine
of the published vectors; ``knn``, by the Euclidean distance of standardised features; ``clustering``, by that in their
principal plane. Tables are read piece by piece: memory holds a few numbers a song, not its vector.
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
from musicrec.settings import ExtractSettings, TrainSettings, resolve
from musicrec.similarity import POOLS, Space, Taste, best, medoid, score
from musicrec.store.lineage import read_footer
from musicrec.store.store import Store

if TYPE_CHECKING:
    import pyarrow.dataset as pads

Array = NDArray[np.float32]

SPACES = ("embedding", "knn", "clustering")
METHODS = ("cosine", "genre")
AT_ONCE: dict[str, Any] = {"batch_size": 8192, "batch_readahead": 4, "fragment_readahead": 1}  # some ten MB of rows
PLANE = 2  # components in which the reference system compares songs


class Recommendation(NamedTuple):
    """One line of a list."""

    rank: int
    song: Song
    score: float  # cosine, with the agreement of genres by method genre; by knn and clustering minus the distance
    because: Song  # the liked song that this one is most similar to


class _Songs(NamedTuple):
    """Where songs stand as vectors."""

    dataset: "pads.Dataset"  # one version, whatever is published meanwhile
    columns: list[str]
    metric: str
    place: Callable[[pa.Table], Array]  # rows of the table → vectors [n, d]

    def rows(self, track_ids: list[str]) -> pa.Table:
        """Rows of some songs, in the order of their ids."""
        of = pc.field("track_id").isin(pa.array(track_ids, pa.string()))
        table = self.dataset.to_table(columns=["track_id", *self.columns], filter=of, **AT_ONCE)
        return table.sort_by("track_id")

    def blocks(self) -> Iterator[pa.Table]:
        """Rows of all songs, piece by piece."""
        for batch in self.dataset.to_batches(columns=["track_id", *self.columns], **AT_ONCE):
            if batch.num_rows:
                yield pa.Table.from_batches([batch])


class Recommender:
    """Recommends songs of one OUT.

    Parameters
    ----------
    out : path-like
        The OUT folder.

    Raises
    ------
    ConfigError, SchemaError
        `out` is not an OUT, or has no table of similar songs yet, which knows the songs by name.
    """

    def __init__(self, out: str | PathLike[str] | AnyPath) -> None:
        self._table = SimilarTable(out)
        self._store = Store(out)
        self._tracks = self._store.read("tracks", [*Song._fields, "recording"]).sort_by("track_id").combine_chunks()
        clips_of = pc.coalesce(self._tracks["recording"], self._tracks["track_id"])
        self._recordings = clips_of.combine_chunks().dictionary_encode().indices.to_numpy()

    def song(self, name: str) -> Song:
        """The song of this name, found as in :meth:`SimilarTable.song`."""
        return self._table.song(name)

    def centre(self, genre: str) -> Song:
        """Centre song of a genre: of its songs, those held out for testing excepted, the medoid of the embeddings.

        Raises
        ------
        ConfigError
            No song with an embedding has this genre.
        """
        embedded = self._songs("embedding")
        track_ids = self._tracks["track_id"].filter(pc.equal(self._tracks["genre"], genre))
        learned = track_ids.filter(pc.invert(pc.is_in(track_ids, self._held_out(embedded.dataset))))
        rows = embedded.rows((learned if len(learned) else track_ids).to_pylist())
        if not rows.num_rows:
            genres = sorted(filter(None, pc.unique(self._tracks["genre"]).to_pylist()))
            raise ConfigError(f"no songs of genre {genre!r} in {self._store.out}; expected one of {', '.join(genres)}")
        return self.song(rows["track_id"][medoid(embedded.place(rows))].as_py())

    def recommend(
        self,
        likes: Sequence[str],
        n: int = 5,
        *,
        by: str = "embedding",
        method: str = "cosine",
        pool: str = "mean",
        weight: float = 1.0,
    ) -> list[Recommendation]:
        """New songs for somebody who likes some, best first: none of the liked ones, and of each recording one clip.

        Parameters
        ----------
        likes : sequence of str
            Ids or names of the liked songs, one at least.
        n : int
            How many; fewer if there are fewer.
        by : {"embedding", "knn", "clustering"}
            Space in which songs are compared.
        method : {"cosine", "genre"}
            Similarity alone, or with `weight` times the agreement of genres, which goes with embeddings only. The
            genre probabilities of songs that the model was trained on are what it has learned to say.
        pool : {"mean", "max"}
            Similarity to all liked songs on average, or to the nearest of them.
        weight : float
            Of the agreement of genres.

        Raises
        ------
        ConfigError, SchemaError
            An option is unknown or does not go with another; a table is missing.
        UnknownTrack
            A liked song is unknown, or failed in an earlier stage: the message says why.
        """
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
        chosen = best(scores, n, self._rows(pa.array(liked)), self._recordings)
        return [
            Recommendation(rank, self._song(int(row)), float(scores[row]), self.song(liked[because[row]]))
            for rank, row in enumerate(chosen, start=1)
        ]

    def _scored(self, blocks: Iterator[tuple[pa.Array, Array, NDArray[np.intp]]]) -> tuple[Array, NDArray[np.intp]]:
        """Scores and liked songs of all songs of the catalog, in order of id; -inf where a song has no vector."""
        track_ids, scores, because = map(list, zip(*blocks, strict=True))
        rows = self._rows(pa.concat_arrays(track_ids))
        known = rows >= 0  # a song may have left the catalog
        all_scores = np.full(len(self._tracks), -np.inf, np.float32)
        all_because = np.zeros(len(self._tracks), np.intp)
        all_scores[rows[known]] = np.concatenate(scores)[known]
        all_because[rows[known]] = np.concatenate(because)[known]
        return all_scores, all_because

    def _rows(self, track_ids: pa.Array) -> NDArray[np.int64]:
        """Where songs stand in the catalog; -1 if they do not."""
        rows = pc.index_in(track_ids, self._tracks["track_id"])
        return np.asarray(pc.fill_null(rows, -1), np.int64)

    def _song(self, row: int) -> Song:
        return Song(*(self._tracks[name][row].as_py() for name in Song._fields))

    # --- spaces -------------------------------------------------------------------------------------------------

    def _songs(self, by: str) -> _Songs:
        if by == "embedding":
            return _Songs(self._store.dataset("embeddings"), ["embedding"], "cosine", partial(_lists, "embedding"))
        from musicrec.features import feature_names

        dataset = self._store.dataset("features")
        names = feature_names(self._feature_set(dataset))
        features = _Songs(dataset, names, "euclidean", partial(_columns, names))
        blocks = (features.place(block) for block in features.blocks())
        space = Space.standardised(blocks) if by == "knn" else Space.principal(blocks, PLANE)
        return features._replace(place=lambda rows: space.place(_columns(names, rows)))

    def _feature_set(self, features: "pads.Dataset") -> str:
        """The set that models were trained on here, else the first that was extracted."""
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
        """Songs that the model of the embeddings was tested on; none if another has taken its place."""
        from musicrec.models import read_card

        lineage = read_footer(embeddings.schema)["lineage"]
        name = f"models/{lineage.get('model')}"
        if not self._store.exists(name) or read_card(self._store.path(name))["model_id"] != lineage.get("model_id"):
            return pa.array([], pa.string())
        predictions = read_parquet(self._store.path(name) / "predictions.parquet", ["track_id", "split"])
        return predictions["track_id"].filter(pc.equal(predictions["split"], "test")).combine_chunks()


def _check(by: str, method: str, pool: str, likes: Sequence[str], n: int) -> None:
    for what, value, known in (("space", by, SPACES), ("method", method, METHODS), ("pool", pool, POOLS)):
        if value not in known:
            raise ConfigError(f"unknown {what} {value!r}; expected one of {', '.join(known)}")
    if method == "genre" and by != "embedding":
        raise ConfigError(f"method genre adds to the cosine of embeddings; it does not go with {by}")
    if not likes or n < 1:
        raise ConfigError(f"{len(likes)} liked songs, n = {n}; expected one song and n of 1 at least")


def _columns(names: list[str], rows: pa.Table) -> Array:
    """Float columns side by side, [n, d]."""
    return np.column_stack([rows[name].to_numpy() for name in names])


def _lists(name: str, rows: pa.Table) -> Array:
    """Lists of equal length as a matrix, [n, d]."""
    values: Any = rows[name].combine_chunks().flatten().to_numpy()
    return values.reshape(len(rows), -1) if len(rows) else np.zeros((0, 0), np.float32)


def _genres(rows: pa.Table) -> Array | None:
    """Genre probabilities [n, n_genres], where they were asked for."""
    return _lists("probabilities", rows) if "probabilities" in rows.column_names else None
