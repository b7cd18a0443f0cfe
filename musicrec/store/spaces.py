"""Spaces: tables of vectors of the songs, each with an id; only vectors with the same id can be compared.

Vectors that were made elsewhere are in the table ``vectors/NAME``. Its footer holds, under ``lineage`` and ``space``,
the id of the space and what made its vectors. The space ``embeddings`` is the table of that name, and its id is that of
the model. The tags that a pretrained model gives, in the table ``tags/NAME``, are a space too: its name is that of the
table, and a song's vector is its scores.
"""

import hashlib
import json
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from musicrec.errors import ConfigError
from musicrec.files.parquet import read_parquet, write_parquet
from musicrec.schemas import VECTORS
from musicrec.settings import OWN_SPACES, TAGS, StageSettings
from musicrec.store.lineage import digest
from musicrec.store.store import Store
from musicrec.store.table_parts import ROWS_FILE

MOST_NUMBERS = 2**24  # numbers in a part: 64 MB
LEFT_OUT_FILE = "_left_out"  # Parquet, beside the folder of the parts


class SpaceCard(NamedTuple):
    """What made the vectors of a space; an empty text is unknown."""

    model: str = ""
    weights: str = ""  # their hash
    front_end: str = ""
    windowing: str = ""
    pooling: str = ""
    licence: str = ""
    source: str = ""

    def space_id(self, dimension: int, content: str) -> str:
        """Return the id of the space: 16 hex digits.

        Parameters
        ----------
        dimension : int
            Length of the vectors.
        content : str
            Hash of the file with the vectors. It is used if the model or its weights are unknown: each content is then
            a space of its own.
        """
        known = [self.model, self.weights, self.front_end, self.windowing, self.pooling]
        made_by = known if self.model and self.weights else [content]
        return hashlib.blake2b(json.dumps([*made_by, dimension]).encode(), digest_size=8).hexdigest()


class PublishedSpace(NamedTuple):
    """A space whose vectors are in a table ``vectors/NAME`` or ``tags/NAME``."""

    name: str
    space_id: str
    dimension: int
    card: SpaceCard

    @property
    def lineage(self) -> dict[str, Any]:
        """What a footer holds about it."""
        return {"id": self.space_id, "dimension": self.dimension, **self.card._asdict()}

    def of_tags(self, tags: list[str]) -> "PublishedSpace":
        """Return the space of the tags that the model of this one gives."""
        space_id = hashlib.blake2b(json.dumps([self.space_id, tags]).encode(), digest_size=8).hexdigest()
        return self._replace(space_id=space_id, dimension=len(tags))


def table_of(space: str) -> str:
    """Return the name of the table that holds the vectors of a space."""
    return space if space in OWN_SPACES or space.startswith(TAGS) else f"vectors/{space}"


def spaces(store: Store) -> list[PublishedSpace]:
    """Return the spaces of all published tables ``tags/NAME`` and ``vectors/NAME``, by name of the table."""
    tables = (name for name in store.published() if name.startswith((TAGS, "vectors/")))
    return [read_space(store, table.removeprefix("vectors/")) for table in tables]


def read_space(store: Store, name: str) -> PublishedSpace:
    """Return the space of a published table ``vectors/NAME`` or ``tags/NAME``."""
    table = table_of(name)
    content = dict(store.footer(table)["lineage"]["space"])
    space_id, dimension = content.pop("id"), content.pop("dimension")
    space = PublishedSpace(name, space_id, dimension, SpaceCard(**content))
    return space.of_tags(tag_names(store.dataset(table).schema)) if name.startswith(TAGS) else space


def tag_names(schema: pa.Schema) -> list[str]:
    """Return the tags of a table ``tags/NAME``, in the order of its columns."""
    return [name for name in schema.names if name != "track_id"]


def tags_as_vectors(rows: pa.Table) -> pa.Table:
    """Return rows of a table ``tags/NAME`` as :data:`musicrec.schemas.VECTORS`."""
    tags = tag_names(rows.schema)
    scores = np.column_stack([rows[tag].to_numpy() for tag in tags]).astype(np.float32)
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * np.int32(len(tags))
    vectors = pa.ListArray.from_arrays(pa.array(offsets), pa.array(scores.ravel()))
    return pa.table([rows["track_id"].combine_chunks(), vectors], schema=VECTORS)


def require_spaces(store: Store, names: tuple[str, ...]) -> None:
    """Check that a table of each space is published, but for the spaces that the chain makes.

    Raises
    ------
    ConfigError
        There is no space of that name.
    """
    have = [*OWN_SPACES, *(space.name for space in spaces(store))]
    for name in names:
        if name not in have:
            of_file = f"musicrec vectors add {store.out} {name} FILE.parquet, or musicrec models add MODEL"
            of_model = f"musicrec vectors run {store.out} {name.removeprefix(TAGS)}, if the model has tags"
            raise ConfigError(
                f"{store.out} has no space {name!r}; expected one of {', '.join(have)}; "
                f"to add one: {of_model if name.startswith(TAGS) else of_file}"
            )


def publish_space(
    store: Store,
    settings: StageSettings,
    space: PublishedSpace,
    track_ids: pa.Array,
    matrix: NDArray[np.float32],
    *,
    left_out: pa.Table,
    songs: pa.Table | None = None,
    keeps_rows: bool = False,
    **lineage: Any,  # noqa: ANN401
) -> None:
    """Publish vectors as the table ``vectors/NAME``. Its fingerprint depends on the vectors, the songs and the space.

    Parameters
    ----------
    store : Store
        OUT, locked by the caller.
    settings : StageSettings
        Settings of the stage that made the vectors.
    space : PublishedSpace
        The space; its `dimension` is that of `matrix`.
    track_ids : pyarrow.Array
        The songs, by ascending id.
    matrix : numpy.ndarray
        float32 [n_songs, dimension], finite, no row all 0.
    left_out : pyarrow.Table
        ``OUTCOMES`` of the songs that should have a vector and have none; :func:`songs_left_out` reads them.
    songs : pyarrow.Table, optional
        ``track_id`` and ``fingerprint`` of each song, for a stage that keeps vectors from run to run.
    keeps_rows : bool
        Whether some vectors are those that are published.
    **lineage
        What else the footer tells of their origin.
    """
    content = hashlib.blake2b(np.ascontiguousarray(matrix).data, digest_size=8).hexdigest()
    fingerprint = settings.fingerprint(space.space_id, content, digest(track_ids.to_pylist()))
    with store.new_version(table_of(space.name), settings, fingerprint, space=space.lineage, **lineage) as version:
        if keeps_rows:
            version.keep_rows_of(store.footer(table_of(space.name)))
        step = max(1, MOST_NUMBERS // max(1, space.dimension))
        for start in range(0, max(1, len(matrix)), step):
            rows = matrix[start : start + step]
            offsets = np.arange(len(rows) + 1, dtype=np.int32) * np.int32(space.dimension)
            vectors = pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.ravel()))
            version.write_part(pa.table([track_ids[start : start + step], vectors], schema=VECTORS))
        write_parquet(version.folder / LEFT_OUT_FILE, left_out)
        if songs is not None:
            write_parquet(version.folder / ROWS_FILE, songs)
        store.publish(version)


def songs_left_out(store: Store, name: str) -> pa.Table:
    """Return the ``OUTCOMES`` that were published beside the vectors of a space."""
    return read_parquet(store.path(table_of(name)) / LEFT_OUT_FILE)
