"""The mapped form of a table of similar songs: files that are mapped into memory and searched in microseconds.

In the folder of a version, beside that of its Parquet parts, lies a folder ``_sidecar``:

``songs.arrow``
    The songs in order of id: ``SIDECAR_COLUMNS``, one batch of an Arrow IPC file; its metadata says what made it. The
    last columns hold the same texts as records, see :mod:`musicrec.serve.song_records`; older sidecars have none.
``neighbours.npy``, ``scores.npy``
    The lists: int32 and float32 [N, n], best first. A shorter list ends in rows -1.
``index.npy``
    int32 [5 + L]: how many lists are shorter than n, the lengths of four arrays, then the arrays: ``starts`` and
    ``rows`` of a :class:`HashIndex` of the ids, and of one of the other names of a song, upper and lower case alike.
"""

from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
from numpy.typing import NDArray

from musicrec.errors import SchemaError
from musicrec.files.paths import AnyPath, write_folder
from musicrec.serve.song_names import SONGS_AT_A_TIME, all_names, names_of
from musicrec.serve.song_records import WHOLE, SongRecords, with_records, without_records
from musicrec.serve.song_texts import SongTexts

SIDECAR = "_sidecar"
SIDECAR_COLUMNS = ["track_id", "title", "artist", "genre"]
HASH_BITS = 32

Int32 = NDArray[np.int32]
Float32 = NDArray[np.float32]


def _to_key(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")  # a name that is not Unicode is never found, and does no harm


# --- parts --------------------------------------------------------------------------------------------------------


class HashIndex(NamedTuple):
    """Rows by the hash of a key, its CRC-32: those of bucket b are ``rows[starts[b]:starts[b + 1]]``.

    The bucket of a key is the first bits of its hash. Sometimes it holds the rows of other keys too.
    """

    starts: Int32  # [2^bits + 1]
    rows: Int32  # [M]

    @classmethod
    def of(cls, keys: Iterable[Iterable[str]]) -> "HashIndex":
        """Make an index of the keys of each row."""
        hashes, rows = array("I"), array("i")
        for row, its_keys in enumerate(keys):
            for key in its_keys:
                hashes.append(crc32(_to_key(key)))
                rows.append(row)
        bits = min(HASH_BITS - 2, max(1, len(rows).bit_length()))  # one or two buckets for each key
        buckets = np.array(hashes, np.uint32) >> np.uint32(HASH_BITS - bits)
        starts = np.zeros(2**bits + 1, np.int32)
        np.cumsum(np.bincount(buckets, minlength=2**bits), out=starts[1:])
        return cls(starts, np.array(rows, np.int32)[np.argsort(buckets, kind="stable")])

    @property
    def shift(self) -> int:
        """By how many bits a hash is longer than the number of its bucket."""
        return HASH_BITS + 1 - len(self.starts).bit_length()

    def candidates(self, key: str) -> list[int]:
        """Return the rows in the bucket of a key, in order."""
        bucket = crc32(_to_key(key)) >> self.shift
        candidates: list[int] = self.rows[self.starts[bucket] : self.starts[bucket + 1]].tolist()
        return candidates


# --- writing ------------------------------------------------------------------------------------------------------


def write_sidecar(folder: AnyPath, songs: pa.Table, ids: Any, scores: Any) -> None:  # noqa: ANN401 - arrays
    """Write the mapped form of a table into the folder of its version.

    Parameters
    ----------
    folder : pathlib.Path or upath.UPath
        Folder of the version; nobody reads it yet.
    songs : pyarrow.Table
        ``SIDECAR_COLUMNS``, one row a song, in the order of the ids; its metadata says what made the version.
    ids, scores : numpy.ndarray
        int32 and float32 [N, n], in memory or mapped.
    """
    schema = pa.schema([(name, pa.large_string()) for name in SIDECAR_COLUMNS], songs.schema.metadata)
    songs = songs.cast(schema).combine_chunks()
    by_id = HashIndex.of([t] for batch in songs.to_batches(SONGS_AT_A_TIME) for t in batch["track_id"].to_pylist())
    by_name = HashIndex.of({name.casefold() for name in names} for names in all_names(songs))
    parts = [*by_id, *by_name]
    head = [np.count_nonzero(ids[:, -1:] < 0), *map(len, parts)]
    index = np.concatenate([np.array(head, np.int32), *parts])
    with write_folder(folder / SIDECAR) as sidecar:
        recorded = with_records(songs)
        with pa.ipc.new_file(str(sidecar / "songs.arrow"), recorded.schema) as writer:
            writer.write_table(recorded)
        for name, content in {"neighbours": ids, "scores": scores, "index": index}.items():
            np.save(sidecar / f"{name}.npy", content)


# --- reading ------------------------------------------------------------------------------------------------------


class Sidecar:
    """The sidecar of one version, mapped into memory.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of the version. It may be removed while this is in use.

    Raises
    ------
    SchemaError
        A file is missing or cut short, or one does not fit the others.
    """

    def __init__(self, folder: Path) -> None:
        try:
            file = pa.memory_map(str(folder / SIDECAR / "songs.arrow"))
            songs: pa.Table = pa.ipc.open_file(file).read_all()
            self.neighbours, self.scores, index = (
                np.load(folder / SIDECAR / f"{name}.npy", mmap_mode="r").view(np.ndarray)  # a memmap's slices are slow
                for name in ("neighbours", "scores", "index")
            )
        except (OSError, ValueError, EOFError) as e:  # pyarrow's errors are ValueErrors too
            raise _not_whole(folder, " ".join(str(e).split())) from e
        self.songs = without_records(songs)
        n_short, *lengths = index[:5].tolist()
        parts = np.split(index[5:], np.cumsum(lengths[:-1]))
        self._check(folder, [len(part) for part in parts], lengths)
        self.all_full = n_short == 0  # then no reader needs to find the end of a list
        self._by_id, self._by_name = HashIndex(*parts[:2]), HashIndex(*parts[2:])
        self.texts = SongRecords(songs) if WHOLE in songs.column_names else SongTexts(songs)
        self.columns = self.texts.columns
        self._shift = self._by_id.shift
        self._starts, self._rows = self._by_id.starts.data, self._by_id.rows.data
        self._offsets, self._data = self.columns[0].offsets, self.columns[0].data

    def _check(self, folder: Path, index: list[int], lengths: list[int]) -> None:
        shape = (self.songs.num_rows, self.neighbours.shape[-1])
        fits = {
            "songs.arrow": self.songs.column_names == SIDECAR_COLUMNS and self.songs["track_id"].num_chunks == 1,
            "neighbours.npy": (self.neighbours.shape, self.neighbours.dtype) == (shape, np.int32),
            "scores.npy": (self.scores.shape, self.scores.dtype) == (shape, np.float32),
            "index.npy": index == lengths and len(lengths) == 4 and lengths[1] == len(self.neighbours),
        }
        for name, does in fits.items():
            if not does:
                raise _not_whole(folder, f"{name} does not fit the other files")

    def row(self, track_id: str) -> int | None:
        """Return the row of an id; None if there is no such id."""
        try:
            key = track_id.encode()
        except UnicodeEncodeError:  # a command line may hold what is not Unicode: no id has it
            return None
        starts, offsets = self._starts, self._offsets
        bucket = crc32(key) >> self._shift
        for row in self._rows[starts[bucket] : starts[bucket + 1]]:
            if self._data[offsets[row] : offsets[row + 1]] == key:
                return row
        return None

    def rows(self, track_ids: Sequence[str]) -> Int32:
        """Return the rows of many ids, int32 [len(track_ids)]; -1 for an unknown id."""
        keys = [_to_key(track_id) for track_id in track_ids]
        buckets = np.fromiter(map(crc32, keys), np.uint32, len(keys)) >> np.uint32(self._shift)
        at, end = self._by_id.starts[buckets], self._by_id.starts[buckets + 1]
        wanted = pa.array(keys, pa.large_binary())
        have = self.songs["track_id"].chunk(0).cast(pa.large_binary())
        found = np.full(len(keys), -1, np.int32)
        left = np.flatnonzero(at < end)
        while len(left):
            rows = self._by_id.rows[at[left]]
            is_it = pc.equal(have.take(pa.array(rows)), wanted.take(pa.array(left))).to_numpy(zero_copy_only=False)
            found[left[is_it]] = rows[is_it]
            at[left] += 1
            left = left[~is_it & (at[left] < end[left])]
        return found

    def rows_called(self, name: str) -> list[int]:
        """Return the rows of the songs that have a name, see :func:`names_of`; upper and lower case alike."""
        wanted = name.casefold()
        track_ids, titles, *_ = self.columns
        return [
            row
            for row in dict.fromkeys(self._by_name.candidates(wanted))
            if wanted in map(str.casefold, names_of(track_ids[row] or "", titles[row]))
        ]


def _not_whole(folder: Path, why: str) -> SchemaError:
    return SchemaError(f"{folder / SIDECAR} is not whole ({why}); make the table again: musicrec similar OUT")
