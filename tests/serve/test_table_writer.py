"""The Parquet form of the table: what other tools read, in row groups that one song is found in, and small."""

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from musicrec.schemas import SIMILAR
from musicrec.serve import table_writer
from musicrec.serve.lookup import SimilarTable
from musicrec.serve.sidecar import SIDECAR, SIDECAR_COLUMNS
from musicrec.settings import SimilarSettings
from musicrec.store.store import Version, made_by, read_footer

N_SONGS, N = 1000, 8


def lists(n_songs=N_SONGS, n=N, seed=0):
    """Random neighbours; falling scores of random scale, each list's of its own."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, n_songs, (n_songs, n), dtype=np.int32)
    scores = -np.sort(rng.gamma(2, 0.05, (n_songs, 1)) * rng.random((n_songs, n)), axis=1) + 1
    return ids, scores.astype(np.float32)


def written(folder, ids, scores):
    """A version with songs called like those of FMA."""
    folder.mkdir()
    track_ids = [f"fma/{i:06d}.mp3" for i in range(len(ids))]
    songs = pa.table({name: pa.array([None] * len(ids), pa.string()) for name in SIDECAR_COLUMNS})
    version = Version("similar", folder, made_by(SimilarSettings(n=ids.shape[1]), dataset="made up"))
    table_writer.write_table(version, songs.set_column(0, "track_id", pa.array(track_ids)), ids, scores)
    return track_ids


def expected_rows(track_ids, ids, scores):
    return [
        (track_id, rank, track_ids[i], float(score))
        for track_id, row, row_scores in zip(track_ids, ids, scores, strict=True)
        for rank, (i, score) in enumerate(zip(row, row_scores, strict=True), start=1)
        if i >= 0
    ]


@pytest.fixture(params=["one part", "parts of one group", "groups of one song"])
def form(request, monkeypatch):
    match request.param:
        case "parts of one group":
            monkeypatch.setattr(table_writer, "ROWS_PER_GROUP", 100 * N)
            monkeypatch.setattr(table_writer, "GROUPS_PER_PART", 1)
        case "groups of one song":
            monkeypatch.setattr(table_writer, "ROWS_PER_GROUP", 1)
    return request.param


@pytest.mark.thorough
def test_all_tools_read_the_same_rows_in_order_of_song_and_rank(tmp_path, form):
    ids, scores = lists()
    ids[::3, N // 2 :], scores[::3, N // 2 :] = -1, -np.inf
    ids[7], scores[7] = -1, -np.inf  # a song with nothing like it
    expected = expected_rows(written(tmp_path / "v", ids, scores), ids, scores)
    assert (
        len(list((tmp_path / "v" / "parts").glob("*.parquet")))
        == {"one part": 1, "parts of one group": 10, "groups of one song": 8}[form]
    )
    by_pandas = pd.read_parquet(tmp_path / "v" / "parts")
    by_duckdb = duckdb.sql(f"SELECT * FROM '{tmp_path}/v/parts/*.parquet'").fetchall()
    assert list(by_pandas.columns) == SIMILAR.names
    assert [tuple(row) for row in by_pandas.itertuples(index=False)] == expected
    assert by_duckdb == expected
    assert pq.read_table(tmp_path / "v" / "parts").schema.remove_metadata() == SIMILAR


@pytest.mark.thorough
def test_parquet_and_sidecar_say_the_same_of_every_song(tmp_path, form):
    ids, scores = lists(seed=1)
    track_ids = written(tmp_path / "v", ids, scores)
    rows = pq.read_table(tmp_path / "v" / "parts")
    assert SimilarTable(tmp_path / "v").similar_many(track_ids, N).equals(rows.replace_schema_metadata())


def test_a_song_stands_in_one_row_group_which_its_statistics_name(tmp_path, monkeypatch):
    monkeypatch.setattr(table_writer, "ROWS_PER_GROUP", 64 * N)
    monkeypatch.setattr(table_writer, "GROUPS_PER_PART", 4)
    ids, scores = lists()
    track_ids = written(tmp_path / "v", ids, scores)
    dataset = pads.dataset(tmp_path / "v" / "parts", format="parquet")
    for track_id in (track_ids[0], track_ids[63], track_ids[64], track_ids[-1]):
        is_asked = pads.field("track_id") == track_id
        found = [part.subset(is_asked) for part in dataset.get_fragments()]
        assert sum(part.num_row_groups for part in found) == 1
        assert sum(part.to_table(filter=is_asked).num_rows for part in found) == N
    for part in (tmp_path / "v" / "parts").glob("*.parquet"):
        metadata = pq.read_metadata(part)
        assert metadata.num_row_groups <= 4
        assert all(metadata.row_group(g).num_rows <= 64 * N for g in range(metadata.num_row_groups))
        assert [(c.column_index, c.descending) for c in metadata.row_group(0).sorting_columns] == [
            (0, False),
            (1, False),
        ]


def test_parts_and_sidecar_say_what_made_them(tmp_path):
    written(tmp_path / "v", *lists())
    footers = [read_footer(pq.read_schema(next((tmp_path / "v" / "parts").glob("*.parquet"))))]
    footers.append(read_footer(pa.ipc.open_file(str(tmp_path / "v" / SIDECAR / "songs.arrow")).schema))
    assert footers[0] == footers[1]
    assert footers[0]["lineage"] == {"dataset": "made up"}


@pytest.mark.thorough
def test_fifty_neighbours_drawn_from_a_million_songs_take_at_most_300_bytes(tmp_path, monkeypatch):
    ids, scores = lists(20_000, 50)
    folder = tmp_path / "v"
    track_ids = [f"fma/{i:06d}.mp3" for i in range(0, 1_000_000, 50)]
    folder.mkdir()
    songs = pa.table({name: pa.array([None] * len(ids), pa.string()) for name in SIDECAR_COLUMNS})
    version = Version("similar", folder, made_by(SimilarSettings(n=50)))
    table_writer.write_table(version, songs.set_column(0, "track_id", pa.array(track_ids)), ids, scores)
    assert sum(part.stat().st_size for part in folder.rglob("*.parquet")) / len(ids) <= 300


@pytest.mark.parametrize(("n_songs", "has_dictionary"), [(300, True), (1_000_000, False)])
def test_ids_are_written_by_a_dictionary_where_that_is_smaller(n_songs, has_dictionary):
    rng = np.random.default_rng(0)
    others = [f"Artist/Album/{i:06d}.mp3" for i in rng.integers(0, n_songs, 20_000)]
    columns = [["a"] * 20_000, np.zeros(20_000, np.int16), others, np.zeros(20_000, np.float32)]
    group = pa.table([pa.array(c, f.type) for c, f in zip(columns, SIMILAR, strict=True)], schema=SIMILAR)
    assert ("similar_track_id" in table_writer.encodings(group)["use_dictionary"]) == has_dictionary
