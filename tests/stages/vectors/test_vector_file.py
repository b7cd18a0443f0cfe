"""Files of vectors: which rows are used, which cost their song, and which files are refused in one line."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from musicrec.errors import SchemaError
from musicrec.stages.vectors import vector_file
from musicrec.stages.vectors.vector_file import match, reading

SONGS = ["a", "b", "c", "d", "e", "f"]
TRACKS = pa.table(
    {
        "track_id": SONGS,
        "uri": ["/music/a.wav", "file:///music/b%20b.wav", "s3://bucket/c.wav", "d.wav", "e.wav", "/music/a.wav"],
        "recording": ["mbid-1", "mbid-1", None, "mbid-2", None, None],
    }
)
LISTS = pa.list_(pa.float32())


@pytest.fixture
def file(tmp_path):
    return tmp_path / "vectors.parquet"


def write(file, keys, vectors, kind=LISTS, key="track_id"):
    column = vectors if isinstance(vectors, pa.Array) else pa.array(vectors, kind)
    pq.write_table(pa.table({key: pa.array(keys, pa.string()), "embedding": column}), file)


def read(file):
    with reading(file) as content:
        return match(file, content, TRACKS)


def vectors_of(found):
    return {SONGS[song]: row.tolist() for song, row in zip(found.songs, found.matrix, strict=True)}


def reasons_of(found):
    return {SONGS[song]: str(problem.reason) for song, problem in found.problems.items()}


# --- what is used -------------------------------------------------------------------------------------------------

HALVES = pa.array(np.array([0.5, 1.5, -2.0, 3.0], np.float16))
OFFSETS = pa.array([0, 2, 4], pa.int32())


@pytest.mark.parametrize(
    "column",
    [
        pa.ListArray.from_arrays(OFFSETS, HALVES),
        pa.FixedSizeListArray.from_arrays(HALVES, 2),
        pa.array([[0.5, 1.5], [-2.0, 3.0]], pa.list_(pa.float32())),
        pa.array([[0.5, 1.5], [-2.0, 3.0]], pa.list_(pa.float32(), 2)),
        pa.array([[0.5, 1.5], [-2.0, 3.0]], pa.list_(pa.float64())),
        pa.array([[0.5, 1.5], [-2.0, 3.0]], pa.large_list(pa.float64())),
        pa.array([[0.5, 1.5], [-2.0, 3.0]], pa.list_(pa.float64(), 2)),
    ],
    ids=lambda column: str(column.type),
)
def test_lists_of_any_float_type_are_read(file, column):
    write(file, ["c", "a"], column)
    found = read(file)
    assert vectors_of(found) == {"a": [-2.0, 3.0], "c": [0.5, 1.5]}
    assert found.matrix.dtype == np.float32
    assert (found.problems, found.n_strange) == ({}, 0)


@pytest.mark.parametrize(
    ("key", "names", "songs"),
    [
        ("uri", ["file:///music/a.wav", "/music/b b.wav", "s3://bucket/c.wav", "d.wav"], ["a", "b", "c", "d", "f"]),
        ("recording_mbid", ["mbid-1", "mbid-2"], ["a", "b", "d"]),
    ],
)
def test_a_row_is_of_every_song_that_its_uri_or_recording_names(file, key, names, songs):
    write(file, names, [[float(i + 1)] for i in range(len(names))], key=key)
    found = vectors_of(read(file))
    assert list(found) == songs
    assert found["a"] == [1.0]
    assert found[songs[1]] == ([2.0] if key == "uri" else [1.0])


def test_rows_of_no_song_are_counted(file):
    write(file, ["a", "stranger", None, "", "b"], [[1.0, 2.0]] * 5)
    found = read(file)
    assert (list(vectors_of(found)), found.n_strange) == (["a", "b"], 3)


def reference(keys, vectors):
    """What each song has, by plain loops: its vector, or the reason why it has none."""
    lengths = [len(v) for k, v in zip(keys, vectors, strict=True) if v and k in SONGS]
    most = max(set(lengths), key=lengths.count)
    told = {}
    for song in SONGS:
        own = [v for k, v in zip(keys, vectors, strict=True) if k == song]
        given = [v for v in own if v]
        if any(repr(v) != repr(given[0]) for v in given):
            told[song] = "conflicting_rows"
        elif own and not given:
            told[song] = "no_vector"
        elif given and len(given[0]) != most:
            told[song] = "wrong_length"
        elif given and not all(map(math.isfinite, given[0])):
            told[song] = "not_finite"
        elif given and not any(given[0]):
            told[song] = "zero_vector"
        elif given:
            told[song] = given[0]
    return told


@pytest.mark.parametrize("seed", range(60))
def test_a_row_that_cannot_be_used_costs_its_song_only(file, monkeypatch, seed):
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(vector_file, "BATCH_ROWS", int(rng.integers(1, 5)))
    kinds = [[1.0, 0.0, 3.0], [4.0, 5.0, 6.0], [0.0] * 3, [1.0, math.nan, 1.0], [1.0, math.inf, 1.0], [1.0], [], None]
    chance = [0.35, 0.35, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05]
    keys = [*SONGS, *rng.choice([*SONGS, "x"], 3)]
    vectors = [kinds[k] for k in rng.choice(len(kinds), len(keys), p=chance)]
    counts = {3: 0, 1: 0}
    for key, vector in zip(keys, vectors, strict=True):
        if vector and key in SONGS:
            counts[len(vector)] += 1
    expected = reference(keys, vectors) if counts[3] > counts[1] else None
    write(file, keys, vectors)
    if expected is None or not any(isinstance(told, list) for told in expected.values()):
        with pytest.raises(SchemaError):
            read(file)
    else:
        found = read(file)
        assert vectors_of(found) | reasons_of(found) == expected


def test_a_number_that_float32_cannot_hold_is_not_finite_and_one_that_it_holds_as_0_is_0(file):
    write(file, ["a", "b", "c"], [[1e300, 1.0], [1e-300, 0.0], [1.0, 1.0]], pa.list_(pa.float64()))
    found = read(file)
    assert (list(vectors_of(found)), reasons_of(found)) == (["c"], {"a": "not_finite", "b": "zero_vector"})


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32(), 2), pa.list_(pa.float32()), pa.large_list(pa.float16())], ids=str
)
def test_a_missing_number_is_not_finite_and_a_missing_list_is_no_vector(file, kind):
    one = np.float16(1)
    write(file, ["a", "b", "c"], [[one, None], None, [one, one]], kind)
    found = read(file)
    assert (list(vectors_of(found)), reasons_of(found)) == (["c"], {"a": "not_finite", "b": "no_vector"})


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "vectors", "kind", "told"),
    [
        ([], [], LISTS, "holds no rows"),
        (["x", "y"], [[1.0], [2.0]], LISTS, "no row is of a song of the catalog, for example track_id 'x'"),
        (["a", "b"], [[1.0], [1.0, 2.0]], LISTS, r"vectors of several lengths \(1, 2\)"),
        (["a", "b"], [None, []], LISTS, "holds no vector of a song of the catalog"),
        (["a", "b"], [[0.0], [math.nan]], LISTS, r"no vector that can be used \(not_finite, zero_vector\)"),
        (
            ["a"],
            [[[1.0]]],
            pa.list_(pa.list_(pa.float32())),
            r"embedding holds list<list<float>>; expected a list of f",
        ),
        (["a"], [[1]], pa.list_(pa.int64()), "embedding holds list<int64>"),
        (["a"], [1.0], pa.float32(), "embedding holds float;"),
        (["a"], ["[1.0]"], pa.string(), "embedding holds string"),
    ],
)
def test_a_file_that_cannot_be_used_at_all_is_refused_in_one_line(file, keys, vectors, kind, told):
    write(file, keys, vectors, kind)
    with pytest.raises(SchemaError, match=told) as e:
        read(file)
    assert str(e.value).startswith(str(file))
    assert "\n" not in str(e.value)


def test_a_file_without_its_columns_is_refused(file):
    pq.write_table(pa.table({"id": ["a"], "embedding": pa.array([[1.0]], LISTS)}), file)
    with pytest.raises(SchemaError, match="no column track_id, uri, recording_mbid"):
        read(file)
    pq.write_table(pa.table({"track_id": ["a"], "vector": pa.array([[1.0]], LISTS)}), file)
    with pytest.raises(SchemaError, match="no column embedding"):
        read(file)


def test_what_is_no_parquet_file_is_refused(file, tmp_path):
    for content in (b"", b"track_id,embedding\n", b"PAR1" + bytes(50) + b"PAR1"):
        file.write_bytes(content)
        with pytest.raises(SchemaError, match="cannot be read as a Parquet file") as e:
            read(file)
        assert "\n" not in str(e.value)
    with pytest.raises(SchemaError, match="cannot be read as a Parquet file"):
        read(tmp_path)
    with pytest.raises(SchemaError, match="there is no file"):
        read(tmp_path / "gone.parquet")


def test_a_damaged_page_is_refused(file):
    rng = np.random.default_rng(0)
    write(file, SONGS * 500, rng.normal(size=(3000, 8)).tolist())
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 600] = bytes(600)
    file.write_bytes(content)
    with pytest.raises(SchemaError):
        read(file)


def test_a_file_that_is_replaced_while_it_is_read_is_refused(file):
    write(file, ["a"], [[1.0]])
    with pytest.raises(SchemaError, match="was replaced while it was read"), reading(file):
        write(file, ["a", "b"], [[1.0], [2.0]])
