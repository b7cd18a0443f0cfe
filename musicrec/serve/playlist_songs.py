"""Choose the songs of a playlist out of what is published, without Ray or TensorFlow."""

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.errors import ConfigError, UnknownListener, UnknownTrack
from musicrec.files.paths import AnyPath
from musicrec.serve.comparable_songs import Vectors, read_vectors
from musicrec.serve.lookup import SimilarTable, Song
from musicrec.serve.playlist_files import Entry
from musicrec.serve.tag_scores import published_tags
from musicrec.settings import TAGS
from musicrec.similarity.song_order import path, pick, spread, steps_between
from musicrec.similarity.songs import Songs, songs_of
from musicrec.store.store import Store
from musicrec.store.tracks import read_tracks

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Scores = NDArray[np.float32]
Rows = NDArray[np.integer]

LINKS = 20  # songs of each list that a path may go on to; with ten, the songs of a catalog hang together


class Listed(NamedTuple):
    """A song of a playlist.

    Attributes
    ----------
    song : Song
        The song.
    score : float or None
        How well it fits: a cosine, a difference of cosines, or the score of a tag. On a path, the score between it and
        the song before; None for the first one.
    """

    song: Song
    score: float | None


class Playlists:
    """Makes playlists out of the songs of one OUT.

    Songs are compared by the vectors from which the published table of similar songs was made.

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
        No table of similar songs is published.

    Examples
    --------
    >>> from musicrec.serve.playlist_songs import Playlists
    >>> playlists = Playlists("out")
    >>> [line.song.title for line in playlists.like(["synthetic-bells-1"], n=2)]
    ['Synthetic bells 4', 'Synthetic bells 2']
    """

    def __init__(self, out: str | PathLike[str] | AnyPath, table: SimilarTable | None = None) -> None:
        self._store = Store(out)
        self._store.require()
        self._table = table or SimilarTable(out)

    def song(self, name: str) -> Song:
        """Return the song with an id or a name, as :meth:`musicrec.SimilarTable.song` does.

        Parameters
        ----------
        name : str
            Id, title, file name or path.

        Returns
        -------
        Song
            The song.

        Raises
        ------
        UnknownTrack
            No song has this name, or several have it.
        """
        return self._table.song(name)

    def like(
        self, likes: Sequence[str], dislikes: Sequence[str] = (), n: int = 50, *, max_per_artist: int = 0
    ) -> list[Listed]:
        """Return songs that are like some songs and unlike others; no artist comes twice in a row if that can be.

        The score is the mean cosine to the liked songs, minus the mean cosine to the disliked ones. Both are left out,
        and so are other files of their recordings.

        Parameters
        ----------
        likes, dislikes : sequence of str
            Ids or names; at least one liked song.
        n : int
            Number of songs; fewer come back if there are fewer.
        max_per_artist : int
            Most songs by an artist; 0 for any number.

        Returns
        -------
        list of Listed
            The songs in the order of the playlist.

        Raises
        ------
        ConfigError
            `likes` is empty, or a song is both liked and disliked.
        UnknownTrack
            A song is unknown.
        """
        liked, disliked = ([self._row(name) for name in names] for names in (likes, dislikes))
        if not liked:
            raise ConfigError("a playlist needs a liked song; give one with --like")
        if both := sorted(set(liked) & set(disliked)):
            raise ConfigError(f"{self._id(both[0])} is both liked and disliked; choose one")
        taste = self._unit[liked].mean(axis=0)
        if disliked:
            taste = taste - self._unit[disliked].mean(axis=0)
        return self._in_order(self._unit @ taste, n, max_per_artist, [*liked, *disliked])

    def as_given(self, names: Sequence[str]) -> list[Listed]:
        """Return songs in their order, each once and without a score.

        Parameters
        ----------
        names : sequence of str
            Ids or names.

        Returns
        -------
        list of Listed
            The songs.

        Raises
        ------
        UnknownTrack
            A song is unknown.
        """
        return [Listed(song, None) for song in dict.fromkeys(map(self.song, names))]

    def of_genre(self, genre: str, n: int = 50, *, max_per_artist: int = 0) -> list[Listed]:
        """Return the songs of a genre, the most typical first: by the cosine to the mean of all its songs.

        Parameters
        ----------
        genre : str
            The genre, in any case.
        n, max_per_artist : int
            As for :meth:`like`.

        Returns
        -------
        list of Listed
            The songs in the order of the playlist.

        Raises
        ------
        ConfigError
            No song has this genre.
        """
        genres = self._tracks["genre"].to_pylist()
        is_of = np.array([name is not None and name.casefold() == genre.casefold() for name in genres], bool)
        if not is_of.any():
            known = sorted({name for name in genres if name})
            raise ConfigError(
                f"no songs of genre {genre!r}; expected one of {', '.join(known) or 'none: no song has one'}"
            )
        scores = np.where(is_of, self._unit @ _unit(self._unit[is_of].mean(axis=0)), -np.inf)
        return self._in_order(scores, n, max_per_artist)

    def of_tag(self, tag: str, n: int = 50, *, max_per_artist: int = 0) -> list[Listed]:
        """Return the songs to which a pretrained model gives a tag with the highest scores.

        Parameters
        ----------
        tag : str
            The tag, or ``MODEL:TAG`` where several models have it.
        n, max_per_artist : int
            As for :meth:`like`.

        Returns
        -------
        list of Listed
            The songs in the order of the playlist.

        Raises
        ------
        ConfigError
            No model has given such a tag, or several have.
        """
        known = {f"{model}:{name}": model for model, names in published_tags(self._store).items() for name in names}
        found = [full for full in known if tag in (full, full.partition(":")[2])]
        if not known:
            raise ConfigError(
                f"{self._store.out} has no tags; a model gives them: musicrec models add musicnn, "
                f"then musicrec vectors run {self._store.out} musicnn"
            )
        if len(found) != 1:
            choices = ", ".join(found or known)
            raise ConfigError(f"{len(found) or 'no'} tags are called {tag!r}; expected one of {choices}")
        rows = self._store.read(TAGS + known[found[0]], ["track_id", found[0].partition(":")[2]])
        places = pc.index_in(self._ids, value_set=rows["track_id"].combine_chunks())
        return self._in_order(rows.column(1).take(places).fill_null(-np.inf).to_numpy(), n, max_per_artist)

    def of_user(self, user: str, n: int = 50) -> list[Listed]:
        """Return what the published table ``recommendations`` holds for a listener, best first.

        Parameters
        ----------
        user : str
            Id of the listener.
        n : int
            Number of songs; fewer come back if the table has fewer, or songs that `similar` does not have.

        Returns
        -------
        list of Listed
            The songs in the order of the table.

        Raises
        ------
        UnknownListener
            The table has no songs for this listener.
        SchemaError
            There is no table ``recommendations``.
        """
        is_theirs = (pc.field("user_id") == user) & (pc.field("rank") <= n)
        found = self._store.read("recommendations", ["rank", "track_id", "score"], filter=is_theirs).sort_by("rank")
        if not found.num_rows:
            raise UnknownListener(f"nothing is recommended to {user!r} in {self._store.out / 'recommendations'}")
        lines = zip(found["track_id"].to_pylist(), found["score"].to_pylist(), strict=True)
        return [Listed(self._table.song(track_id), score) for track_id, score in lines if track_id in self._table]

    def between(self, first: str, last: str, n: int = 50, *, is_cut: bool = False) -> list[Listed]:
        """Return a path from one song to another, in small steps.

        Of two songs that follow each other, one is in the list of the other. No song follows one by the same artist.

        Parameters
        ----------
        first, last : str
            Ids or names of the ends, which are part of the path.
        n : int
            Most songs. If the smoothest path has more, the one of fewest songs is taken.
        is_cut : bool
            Whether songs in the middle are left out if that one has more, too; both ends stay. Else it is an error.

        Returns
        -------
        list of Listed
            The songs from `first` to `last`.

        Raises
        ------
        ConfigError
            There is no path, or none of `n` songs.
        UnknownTrack
            A song is unknown.
        """
        ends = self._row(first), self._row(last)
        found: list[int] = []
        for short in (False, True):
            found = path(self._steps, ends, short=short)
            if not found:
                raise ConfigError(
                    f"no path leads from {first} to {last}; make longer lists: musicrec similar OUT -n 100"
                )
            if short and is_cut and len(found) > n >= 2:
                found = [*found[: (n + 1) // 2], *found[-(n // 2) :]]
            if len(found) <= n:
                steps = [None, *(self._unit[a] @ self._unit[b] for a, b in pairwise(found))]
                return [self._listed(row, step) for row, step in zip(found, steps, strict=True)]
        raise ConfigError(f"the shortest path from {first} to {last} has {len(found)} songs, more than {n}; give -n")

    def entries(self, songs: Sequence[Song]) -> list[Entry]:
        """Return what a playlist file says of songs.

        Parameters
        ----------
        songs : sequence of Song
            The songs.

        Returns
        -------
        list of Entry
            Their places, names and lengths, in the same order.
        """
        wanted = pa.array([song.track_id for song in songs], pa.string())
        tracks = read_tracks(self._store, ["track_id", *Entry._fields])
        found = pc.index_in(wanted, value_set=tracks["track_id"].combine_chunks())
        if found.null_count:
            gone = wanted.filter(pc.is_null(found))[0]
            raise UnknownTrack(f"{gone} has left the catalog; it stays in the table until the next refresh")
        rows = tracks.take(found)
        return [Entry(**row) for row in rows.select(Entry._fields).to_pylist()]

    # --- songs by their rows in the vectors ---------------------------------------------------------------------

    @cached_property
    def _vectors(self) -> Vectors:
        """The vectors of today of the songs in the table; a new song has its vector before the table has it."""
        found = read_vectors(self._store, tuple(self._store.footer("similar")["settings"].get("space", ())))
        is_listed = self._table.rows(found.names["track_id"].to_pylist()) >= 0
        if is_listed.all():
            return found
        return found._replace(names=found.names.filter(pa.array(is_listed)), matrix=found.matrix[is_listed])

    @cached_property
    def _unit(self) -> Scores:
        return _unit(self._vectors.matrix)

    @property
    def _ids(self) -> pa.ChunkedArray:
        return self._vectors.names["track_id"]

    @cached_property
    def _tracks(self) -> pa.Table:
        columns = ["artist_ids", "recording", "content_hash", "genre"]
        tracks = read_tracks(self._store, ["track_id", *columns])
        return tracks.take(pc.index_in(self._ids, value_set=tracks["track_id"].combine_chunks()))

    @cached_property
    def _facts(self) -> Songs:
        facts = {name: self._tracks[name].to_pylist() for name in self._tracks.column_names}
        if self._store.exists("recordings"):
            found = self._store.read("recordings", ["track_id", "recording"])
            places = pc.index_in(self._ids, value_set=found["track_id"].combine_chunks())
            facts["sound"] = found["recording"].take(places).to_pylist()
        return songs_of(facts)

    @cached_property
    def _steps(self) -> "csr_array":
        """The steps from song to song in the published lists; made once, as that takes longer than many paths."""
        in_table = pa.array([song.track_id for song in self._table.songs()], pa.string())
        place = pc.fill_null(pc.index_in(in_table, value_set=self._ids.combine_chunks()), -1).to_numpy()
        lists, scores = self._table.neighbours_many(self._ids.to_pylist(), LINKS)
        start, rank = np.nonzero(lists >= 0)
        end = place[lists[start, rank]]
        is_here = end >= 0  # a song of the table may have no vector any more
        links = start[is_here], end[is_here]
        return steps_between(links, scores[start, rank][is_here], self._facts.artist)

    def _row(self, name: str) -> int:
        track_id = self.song(name).track_id
        row = pc.index(self._ids, track_id).as_py()
        if row < 0:
            raise UnknownTrack(f"{track_id} has no vector to compare; run the chain again")
        return int(row)

    def _id(self, row: int) -> str:
        return str(self._ids[row].as_py())

    def _in_order(self, scores: Scores, n: int, max_per_artist: int, left_out: Sequence[int] = ()) -> list[Listed]:
        if n < 1:
            raise ConfigError(f"n = {n}; expected at least 1 song")
        rows = pick(scores, n, self._facts, left_out, max_per_artist)
        return [self._listed(row, scores[row]) for row in spread(rows, self._facts.artist)]

    def _listed(self, row: int, score: float | None) -> Listed:
        return Listed(self._table.song(self._id(row)), None if score is None else float(score))


def _unit(vectors: Scores) -> Scores:
    """Return vectors of length 1; a vector of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
