"""The table as one file: what CSV, JSON and SQLite readers find in it, and that it is there whole or not at all."""

import csv
import json
import sqlite3

import numpy as np
import pyarrow as pa
import pytest

from musicrec.cli import main
from musicrec.errors import ConfigError
from musicrec.serve import export as export_module
from musicrec.serve.export import export
from musicrec.serve.lookup import SimilarTable
from musicrec.serve.sidecar import SIDECAR_COLUMNS
from musicrec.serve.table_writer import write_table
from musicrec.settings import SimilarSettings
from musicrec.store.store import Version, made_by

IDS = sorted(
    ['a,b"c.mp3', "line\nbreak", "'; DROP TABLE similar; --", "夜曲.ogg", "naïve 🎵", " spaced ", "back\\slash", "NULL"]
)
TITLES = [None if i % 3 == 0 else f'Title "{i}", 夜' for i in range(len(IDS))]


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    n = len(IDS)
    scores = -np.sort(-rng.random((n, 4), dtype=np.float32), axis=1)
    ids = np.stack([(np.arange(n) + shift) % n for shift in (3, 1, 4, 2)], axis=1).astype(np.int32)
    ids[2, 1:], scores[2, 1:] = -1, -np.inf
    ids[5], scores[5] = -1, -np.inf
    (tmp_path / "version").mkdir()
    version = Version("similar", tmp_path / "version", made_by(SimilarSettings(n=4)))
    songs = pa.table([IDS, TITLES, ["Ada"] * n, [None] * n], names=SIDECAR_COLUMNS).cast(
        pa.schema([(name, pa.string()) for name in SIDECAR_COLUMNS])
    )
    write_table(version, songs, ids, scores)
    return SimilarTable(tmp_path / "version")


def rows(table, n):
    return [(t, s.rank, s.song.track_id, s.score) for t in IDS for s in table.similar(t, n)]


@pytest.mark.parametrize("n", [1, 3, 100])
@pytest.mark.parametrize("songs_at_a_time", [3, 10_000])
def test_every_reader_finds_the_rows_of_the_table(table, tmp_path, monkeypatch, n, songs_at_a_time):
    monkeypatch.setattr(export_module, "SONGS_AT_A_TIME", songs_at_a_time)
    for name in ("t.csv", "t.json", "t.sqlite"):
        export(table, tmp_path / name, n)
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as f:
        head, *lines = csv.reader(f)
    assert head == ["track_id", "rank", "similar_track_id", "score"]
    assert [(t, int(rank), other, float(np.float32(score))) for t, rank, other, score in lines] == rows(table, n)
    text = (tmp_path / "t.json").read_text(encoding="utf-8")
    assert "夜曲" in text  # for people too
    lists = json.loads(text)
    assert list(lists) == IDS
    assert [
        (t, rank, found["similar_track_id"], float(np.float32(found["score"])))
        for t, its in lists.items()
        for rank, found in enumerate(its, start=1)
    ] == rows(table, n)
    database = sqlite3.connect(tmp_path / "t.sqlite")
    assert database.execute("SELECT * FROM similar_songs ORDER BY track_id, rank").fetchall() == rows(table, n)
    assert database.execute("SELECT * FROM songs ORDER BY track_id").fetchall() == list(table.songs())
    (plan,) = database.execute(
        "EXPLAIN QUERY PLAN SELECT * FROM similar_songs WHERE track_id = 'x' ORDER BY rank"
    ).fetchall()
    assert "USING PRIMARY KEY (track_id=?)" in plan[-1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.csv", "t.json", "t.sqlite", "version"]


@pytest.mark.parametrize("name", ["t.csv", "t.json", "t.sqlite"])
def test_an_export_that_breaks_off_leaves_the_file_before(table, tmp_path, monkeypatch, name):
    export(table, tmp_path / name, 2)
    before = (tmp_path / name).read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SimilarTable, "similar_many", full)
    monkeypatch.setattr(SimilarTable, "neighbours", full)
    with pytest.raises(ConfigError) as e:
        export(table, tmp_path / name, 2)
    assert str(e.value) == f"{tmp_path / name} cannot be written (No space left on device)"
    assert (tmp_path / name).read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "version"])


@pytest.mark.parametrize(("name", "said"), [("t.xlsx", "ends in .csv, .json, .sqlite"), ("no/t.csv", "No such file")])
def test_the_command_says_what_it_wrote_or_why_it_did_not(table, tmp_path, capsys, name, said):
    with pytest.raises(SystemExit) as e:
        main(["export", str(tmp_path / "version"), str(tmp_path / name)])
    assert e.value.code == 2
    assert said in capsys.readouterr().err
    with pytest.raises(SystemExit) as e:
        main(["export", str(tmp_path / "version"), str(tmp_path / "t.csv"), "-n", "2"])
    assert e.value.code == 0
    assert "t.csv: the 2 songs most similar to each of 8" in capsys.readouterr().out
    assert len(rows(table, 2)) == 13
