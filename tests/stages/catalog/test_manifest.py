"""Cells of a manifest are what they are in whatever type they are kept; what cannot be told for certain is refused."""

import datetime
import uuid
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from musicrec.errors import CatalogError
from musicrec.stages.catalog.manifest import read_manifest

UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")
DAY = datetime.datetime(2020, 1, 31)


def cells(tmp_path, column: pa.Array) -> list[str | None]:
    """Return the ids that a manifest has in a column."""
    table = pa.table({"path": [f"{i}.wav" for i in range(len(column))], "track_id": column})
    pq.write_table(table, tmp_path / "songs.parquet")
    return [row["track_id"] for row in read_manifest(tmp_path / "songs.parquet")[0]]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([2**64 - 1, None], pa.uint64()), [str(2**64 - 1), None]),
        (pa.array([-(2**63), None, 0], pa.int64()), [str(-(2**63)), None, "0"]),
        (pa.array([1e15, None, 2.0**53 - 1]), ["1000000000000000", None, str(2**53 - 1)]),
        (pa.array([7.0, float("nan")], pa.float32()), ["7", None]),
        (pa.array([7.0, None], pa.float16()), ["7", None]),
        (pa.array([Decimal("12345678901234567890"), None], pa.decimal128(20, 0)), ["12345678901234567890", None]),
        (pa.array([Decimal("7.0000"), None], pa.decimal128(38, 4)), ["7", None]),
        (pa.array([Decimal("7.50"), Decimal("8.00")], pa.decimal128(10, 2)), ["7.50", "8.00"]),
        (pa.array([" x", None, ""]).dictionary_encode(), ["x", None, None]),
        (pa.array([2**53 + 1, None]).dictionary_encode(), [str(2**53 + 1), None]),
        (pa.array([7.0, None]).dictionary_encode(), ["7", None]),
        (pa.array(["x ", None], pa.large_string()), ["x", None]),
        (pa.array(["x ", None], pa.string_view()), ["x", None]),
        (pa.array([UUID.bytes, None], pa.uuid()), [str(UUID), None]),
        (pa.array([DAY.date(), None]), ["2020-01-31", None]),
        (pa.array([DAY, None], pa.timestamp("s")), ["2020-01-31 00:00:00.000", None]),
        (pa.array([True, None]), ["true", None]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_cells_of_every_type_are_what_they_are(tmp_path, column, expected):
    assert cells(tmp_path, column) == expected


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (pa.array([2.0**24, None], pa.float32()), r"floats of 32 bits beyond 2\^24"),
        (pa.array([2048.0, None], pa.float16()), r"floats of 16 bits beyond 2\^11"),
        (pa.array([-(2.0**53), None]), r"floats of 64 bits beyond 2\^53"),
        (pa.array([float("inf")]), r"floats of 64 bits"),
        (pa.array([2.0**53]).dictionary_encode(), r"floats of 64 bits"),
        (pa.array([b"x"]), "holds binary; expected text or numbers"),
        (pa.array([UUID.bytes], pa.binary(16)), r"holds fixed_size_binary\[16\]; expected text or numbers"),
        (pa.array([{"a": 1}]), "holds struct"),
    ],
)
def test_what_may_be_another_id_is_refused(tmp_path, column, told):
    with pytest.raises(CatalogError, match=told):
        cells(tmp_path, column)


@pytest.mark.parametrize("header", ["path\u00a0", "\uff30\uff41\uff54\uff48", "\u200bpath", " PATH\t"])
def test_a_header_is_known_however_it_is_set(tmp_path, header):
    (tmp_path / "songs.csv").write_text(f"{header},title\na.wav,A\n", encoding="utf-8")
    assert read_manifest(tmp_path / "songs.csv") == ([{"path": "a.wav", "title": "A"}], ["path", "title"])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("path,title\na.wav,\u00c9\n".encode("utf-16"), "save it as CSV in UTF-8"),
        ("path,title\na.wav,\u00c9\n".encode("latin-1"), "save it as CSV in UTF-8"),
        (b"path;title\na.wav;A\n", "its columns are 'path;title'; .* commas between the cells"),
        (b"path,track id,Track_ID\na.wav,1,2\n", r"2 columns 'track_id' \(\['track id', 'Track_ID'\]\)"),
    ],
)
def test_a_manifest_that_is_written_in_another_way_is_told_how(tmp_path, content, told):
    (tmp_path / "songs.csv").write_bytes(content)
    with pytest.raises(CatalogError, match=told):
        read_manifest(tmp_path / "songs.csv")
