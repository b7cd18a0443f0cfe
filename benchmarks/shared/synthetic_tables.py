"""Synthetic tables of similar songs for lookup.py, and the size of such a table in other forms."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from musicrec.serve import table_writer
from musicrec.serve.sidecar import SIDECAR_COLUMNS
from musicrec.settings import SimilarSettings
from musicrec.store.store import Version, made_by

SAMPLE = 20_000  # songs on which the sizes of other forms are measured
SHAPES = {
    "000123": "{:06d}",
    "fma/000123.mp3": "fma/{:06d}.mp3",
    "Artist 17/Album 3/07 Song 123.mp3": "Artist {1}/Album {2}/{3:02d} Song {0}.mp3",
    "0f8c…, a random UUID": "{4:08x}-{5:04x}-4{6:03x}-{7:04x}-{8:012x}",
}

Lists = tuple[NDArray[np.int32], NDArray[np.float32]]


def lists(n_songs: int, n: int, of: int) -> Lists:
    """Draw neighbours of `n_songs` songs among `of`, and falling cosines; their start and slope differ by list."""
    rng = np.random.default_rng(0)
    ids, scores = np.empty((n_songs, n), np.int32), np.empty((n_songs, n), np.float32)
    for start in range(0, n_songs, SAMPLE):
        rows = slice(start, min(start + SAMPLE, n_songs))
        shape = ids[rows].shape
        ids[rows] = rng.integers(0, of, shape)
        fall = np.sort(rng.standard_normal(shape), axis=1)[:, ::-1]
        spread, first = rng.uniform(0.005, 0.05, (shape[0], 1)), 1 - rng.gamma(2, 0.03, (shape[0], 1))
        scores[rows] = first - spread * (fall[:, :1] - fall)
    return ids, scores


def songs_called(shape: str, n_songs: int) -> pa.Table:
    """Make songs with ids of some shape, and titles, some of which are shared."""
    rng = np.random.default_rng(1)
    parts = [rng.integers(0, most, n_songs) for most in (30_000, 8, 20, 2**32, 2**16, 2**12, 2**16, 2**48)]
    track_ids = sorted(shape.format(i, *(part[i] for part in parts)) for i in range(n_songs))
    titles = [f"Synthetic {i % (n_songs // 3 + 1)}" for i in range(n_songs)]
    return pa.table(
        [
            track_ids,
            titles,
            [f"Artist {i % 30_000}" for i in range(n_songs)],
            [f"genre {i % 16}" for i in range(n_songs)],
        ],
        names=SIDECAR_COLUMNS,
    )


def write(folder: Path, songs: pa.Table, found: Lists) -> Path:
    """Write the version of a table as `musicrec similar` does."""
    folder.mkdir()
    table_writer.write_table(Version("similar", folder, made_by(SimilarSettings(n=found[0].shape[1]))), songs, *found)
    return folder


def bytes_a_song(folder: Path, n_songs: int, pattern: str = "*.parquet") -> float:
    """Return the size of some files in bytes for each song."""
    return sum(file.stat().st_size for file in folder.glob(pattern)) / n_songs


def sizes_by_id(folder: Path, n_songs: int, n: int) -> Iterator[tuple[str, str, str, str]]:
    """Yield the bytes per song for ids of several shapes: as published, with Parquet's dictionaries, and as lists."""
    found = lists(SAMPLE, n, n_songs)
    for name, shape in SHAPES.items():
        track_ids = songs_called(shape, n_songs)["track_id"]
        at = folder / "sizes"
        at.mkdir()
        rows = table_writer.to_rows(track_ids.cast(pa.large_string()).combine_chunks(), *found, slice(0, SAMPLE))
        groups = [rows.slice(i, table_writer.ROWS_PER_GROUP) for i in range(0, len(rows), table_writer.ROWS_PER_GROUP)]
        table_writer.write_part(at / "long.parquet", {}, table_writer.encodings(groups[0]), groups)
        pq.write_table(rows, at / "plain.parquet", compression="zstd", row_group_size=table_writer.ROWS_PER_GROUP)
        ends = pa.array(np.arange(0, len(rows) + 1, n, dtype=np.int32))
        as_lists = {
            "track_id": track_ids.slice(0, SAMPLE),
            "similar": pa.ListArray.from_arrays(ends, rows["similar_track_id"].combine_chunks()),
            "score": pa.ListArray.from_arrays(ends, rows["score"].combine_chunks()),
        }
        similar, score = "similar.list.element", "score.list.element"
        pq.write_table(
            pa.table(as_lists),
            at / "lists.parquet",
            row_group_size=table_writer.ROWS_PER_GROUP // n,
            compression="zstd",
            compression_level={"track_id": 3, similar: 1, score: 9},
            use_dictionary=["track_id"],
            column_encoding={similar: "DELTA_LENGTH_BYTE_ARRAY", score: "BYTE_STREAM_SPLIT"},
            data_page_size=table_writer.WRITING["data_page_size"],
        )
        yield name, *(f"{bytes_a_song(at, SAMPLE, f'{form}.parquet'):.0f}" for form in ("long", "plain", "lists"))
        shutil.rmtree(at)
