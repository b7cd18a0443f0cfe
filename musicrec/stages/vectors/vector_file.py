"""A Parquet file of vectors that somebody else made: check it, and match its rows with the songs of the catalog.

A file that cannot be used at all is one error. A row that cannot be used costs its song only.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from musicrec.audio.uris import is_remote, local_path
from musicrec.errors import DecodeError, SchemaError
from musicrec.files.parquet import open_parquet
from musicrec.files.paths import AnyPath
from musicrec.files.s3_errors import explain_s3_errors
from musicrec.schemas import Reason

KEYS = {"track_id": "track_id", "uri": "uri", "recording_mbid": "recording"}  # column of the file → column of tracks
VECTOR = "embedding"
BATCH_ROWS = 4096
HASH_BYTES = 2**20

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]


class Problem(NamedTuple):
    """Why a song has no vector."""

    reason: Reason
    detail: str


CONFLICT = Problem(Reason.CONFLICTING_ROWS, "its rows of the file hold different vectors")
NOT_FINITE = Problem(Reason.NOT_FINITE, "a number is missing, NaN or infinite, or too large for float32")
ZERO = Problem(Reason.ZERO_VECTOR, "all its numbers are 0")


class Found(NamedTuple):
    """What a file holds of the songs of the catalog."""

    songs: Int64  # ascending rows of the catalog that have a vector
    matrix: Float32  # [len(songs), d], finite, no row all 0
    problems: dict[int, Problem]  # by row of the catalog
    n_strange: int  # rows of songs that are not in the catalog


class _Rows(NamedTuple):
    """Rows of the file whose vectors have one length: the song of each, and the vectors."""

    songs: Int64
    matrix: Float32


# --- the file -----------------------------------------------------------------------------------------------------


@contextmanager
def reading(file: AnyPath) -> Iterator[pq.ParquetFile]:
    """Open a file of vectors; whatever is wrong with it while it is read is one error.

    Raises
    ------
    SchemaError
        The file is missing, is not Parquet, is damaged, or is replaced while it is read.
    """
    try:
        with explain_s3_errors(file):
            before = _stamp(file)
            with open_parquet(file) as content:
                yield content
            if _stamp(file) != before:
                raise SchemaError(f"{file} was replaced while it was read; run the same command again")
    except FileNotFoundError as e:
        raise SchemaError(f"there is no file {file}; give the path of a Parquet file of vectors") from e
    except (pa.ArrowException, OSError) as e:
        problem = " ".join(str(e).split()).rpartition(": ")[2]
        raise SchemaError(f"{file} cannot be read as a Parquet file ({problem}); write it again") from e


def _stamp(file: AnyPath) -> tuple[int, float]:
    stat = file.stat()
    return stat.st_size, stat.st_mtime


def content_hash(file: AnyPath) -> str:
    """Return the hash of a file's bytes: 32 hex digits."""
    made = hashlib.blake2b(digest_size=16)
    with file.open("rb") as content:
        while block := content.read(HASH_BYTES):
            made.update(block)
    return made.hexdigest()


def metadata_of(content: pq.ParquetFile) -> dict[str, str]:
    """Return the texts that a file's footer holds beside its columns."""
    metadata = content.schema_arrow.metadata or {}
    return {key.decode("utf-8", "replace"): text.decode("utf-8", "replace") for key, text in metadata.items()}


def _key_of(file: AnyPath, schema: pa.Schema) -> str:
    """Return the column that names the songs; raise SchemaError if a column is missing or of another type."""
    key = next((name for name in KEYS if name in schema.names), None)
    if key is None:
        raise SchemaError(f"{file} has no column {', '.join(KEYS)}; expected one of them, to name the songs")
    if VECTOR not in schema.names:
        raise SchemaError(f"{file} has no column {VECTOR}; expected a list of floats in each row")
    kind = schema.field(VECTOR).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not pa.types.is_floating(kind.value_type):
        found = str(kind).replace("element: ", "").replace("item: ", "")
        raise SchemaError(f"{file}: column {VECTOR} holds {found}; expected a list of float16, float32 or float64")
    return key


# --- its rows -----------------------------------------------------------------------------------------------------


def match(file: AnyPath, content: pq.ParquetFile, tracks: pa.Table) -> Found:
    """Return the vectors that a file holds of the songs of the catalog.

    Rows that hold the same vector of a song count as one.

    Parameters
    ----------
    file : pathlib.Path or upath.UPath
        Name of the file, for messages.
    content : pyarrow.parquet.ParquetFile
        The file.
    tracks : pyarrow.Table
        Columns ``track_id``, ``uri`` and ``recording`` of the catalog.

    Raises
    ------
    SchemaError
        The file has other columns, holds no row, no song of the catalog or no usable vector, or no length of vectors
        is that of most rows.
    """
    key = _key_of(file, content.schema_arrow)
    if not content.metadata.num_rows:
        raise SchemaError(f"{file} holds no rows; expected one for each song")
    songs_of = _songs_by_key(tracks[KEYS[key]].to_pylist(), key)
    by_length: dict[int, list[_Rows]] = defaultdict(list)
    empty: set[int] = set()
    n_strange, example = 0, None
    for batch in content.iter_batches(BATCH_ROWS, columns=[key, VECTOR]):
        names = [_normal(name, key) for name in batch[key].to_pylist()]
        strange = [name for name in names if name not in songs_of]
        n_strange, example = n_strange + len(strange), example or next(iter(strange), None)
        pairs = [(row, song) for row, name in enumerate(names) for song in songs_of.get(name or "", ())]
        rows, songs = np.array(pairs, np.int64).reshape(-1, 2).T
        empty.update(_split(batch[VECTOR].take(pa.array(rows)), songs, by_length))
    if n_strange == content.metadata.num_rows:
        raise SchemaError(
            f"{file}: no row is of a song of the catalog, for example {key} {example!r}; "
            f"expected values of column {KEYS[key]} of the table tracks"
        )
    return _judge(file, by_length, empty)._replace(n_strange=n_strange)


def _songs_by_key(names: list[str | None], key: str) -> dict[str, list[int]]:
    songs: dict[str, list[int]] = defaultdict(list)
    for song, name in enumerate(names):
        if (normal := _normal(name, key)) is not None:
            songs[normal].append(song)
    return dict(songs)


def _normal(name: object, key: str) -> str | None:
    """Return a name as it is compared: a path of this machine may also be given as file://."""
    if not name:
        return None
    text = str(name)
    if key != "uri" or is_remote(text):
        return text
    try:
        return str(local_path(text))
    except DecodeError:
        return text


def _split(vectors: pa.Array, songs: Int64, by_length: dict[int, list[_Rows]]) -> list[int]:
    """Add the vectors of some songs to those of the same length; return the songs whose vector is missing."""
    lengths = pc.fill_null(pc.list_value_length(vectors), 0).to_numpy(zero_copy_only=False)
    for length in np.unique(lengths[lengths > 0]).tolist():
        chosen = np.flatnonzero(lengths == length)
        numbers = vectors.take(pa.array(chosen)).flatten()
        with np.errstate(over="ignore"):  # a number too large for float32 is infinite, and reported as such
            values = numbers.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float32)
        by_length[length].append(_Rows(songs[chosen], values.reshape(-1, length)))
    return list(songs[lengths == 0].tolist())


# --- which rows can be used ---------------------------------------------------------------------------------------


def _judge(file: AnyPath, by_length: dict[int, list[_Rows]], empty: set[int]) -> Found:
    """Choose the length of most vectors, and find the songs whose rows cannot be used."""
    most = _length_of_most(file, by_length)
    rows = _in_order(by_length.pop(most))
    firsts, conflicting = _without_copies(rows)
    songs, matrix = rows.songs[firsts], rows.matrix[firsts]
    others = {int(song): length for length, blocks in by_length.items() for b in blocks for song in b.songs}
    have = {*songs.tolist(), *others}
    conflicting |= others.keys() & set(songs.tolist())
    problems = {song: Problem(Reason.NO_VECTOR, "its row of the file holds no vector") for song in empty - have}
    problems |= {
        song: Problem(Reason.WRONG_LENGTH, f"its vector has {length} numbers, most others have {most}")
        for song, length in others.items()
    }
    problems |= _unusable(songs, matrix)
    problems |= dict.fromkeys(conflicting, CONFLICT)
    usable = ~np.isin(songs, np.fromiter(problems, np.int64, len(problems)))
    if not usable.any():
        reasons = ", ".join(sorted({problem.reason for problem in problems.values()}))
        raise SchemaError(f"{file} holds no vector that can be used ({reasons}); write it again")
    return Found(songs[usable], matrix[usable], problems, 0)


def _length_of_most(file: AnyPath, by_length: dict[int, list[_Rows]]) -> int:
    counts = {length: sum(len(rows.songs) for rows in blocks) for length, blocks in by_length.items()}
    if not counts:
        raise SchemaError(f"{file} holds no vector of a song of the catalog, only empty rows; write it again")
    most = max(counts, key=lambda length: counts[length])
    if 2 * counts[most] <= sum(counts.values()):
        lengths = ", ".join(map(str, sorted(counts)[:5]))
        raise SchemaError(f"{file} holds vectors of several lengths ({lengths}); expected one length in most rows")
    return most


def _in_order(blocks: list[_Rows]) -> _Rows:
    """Join blocks; sort their rows by song."""
    songs, matrix = (np.concatenate(arrays) for arrays in zip(*blocks, strict=True))
    if np.all(songs[:-1] <= songs[1:]):
        return _Rows(songs, matrix)
    order = np.argsort(songs)
    return _Rows(songs[order], matrix[order])


def _without_copies(rows: _Rows) -> tuple[Int64, set[int]]:
    """Return the first row of each song, and the songs that have different rows; equal bits are equal, NaN too."""
    again = np.flatnonzero(rows.songs[1:] == rows.songs[:-1]) + 1
    bits = rows.matrix.view(np.uint32)
    differs = (bits[again] != bits[again - 1]).any(axis=1)
    firsts = np.setdiff1d(np.arange(len(rows.songs)), again, assume_unique=True)
    return firsts, set(rows.songs[again[differs]].tolist())


def _unusable(songs: Int64, matrix: Float32) -> dict[int, Problem]:
    is_finite, is_zero = np.isfinite(matrix).all(axis=1), ~matrix.any(axis=1)
    return dict.fromkeys(songs[~is_finite].tolist(), NOT_FINITE) | dict.fromkeys(songs[is_zero].tolist(), ZERO)
