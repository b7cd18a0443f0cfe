"""The benchmark that kills processes of the chain would see a lost song, a doubled one, half a table."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import ray

from benchmarks.chain import kills
from benchmarks.chain import kills_reader as reader
from benchmarks.chain import kills_tables as tables
from musicrec.cluster.tasks import run_bounded
from musicrec.errors import MusicrecError

ROOT = Path(__file__).parent.parent


@pytest.fixture
def out(chain, tmp_path):
    """A copy of a whole OUT."""
    shutil.copytree(chain.out, tmp_path / "out", symlinks=True)
    return tmp_path / "out"


def edit(out, name, change):
    """Write another content into the first part of a table."""
    part = min((out / name).glob("*.parquet"))
    table = pq.read_table(part)
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), part)


def without_first_song(table):
    return table.filter(pc.field("track_id") != table["track_id"][0].as_py())


def with_first_row_twice(table):
    return table.take([0, *range(table.num_rows)])


def test_a_whole_out_passes(chain, out, synthetic):
    assert tables.accounts(str(out), synthetic) == ([], [])
    assert list(tables.differences(str(out), str(chain.out))) == []
    assert list(tables.leftovers(str(out))) == []
    seen = {
        tables.digest(read(str(out)), tables.KEYS[name]) for name, read in reader.WAYS.values() if name == "similar"
    }
    assert seen == {tables.digest(chain.read("similar"), tables.KEYS["similar"])}


@pytest.mark.parametrize("name", ["tracks", "outcomes", "features", "mel", "embeddings", "similar"])
def test_a_lost_song_a_doubled_one_and_another_value_are_found_in_every_table(chain, out, synthetic, tmp_path, name):
    shutil.copytree(out, tmp_path / "doubled", symlinks=True)
    edit(out, name, without_first_song)
    assert any(line.startswith(name) for line in tables.accounts(str(out), synthetic).lost)
    assert any(line.startswith(name) for line in tables.differences(str(out), str(chain.out)))
    edit(tmp_path / "doubled", name, with_first_row_twice)
    assert any(line.startswith(name) for line in tables.accounts(str(tmp_path / "doubled"), synthetic).doubled)


def test_what_killed_runs_leave_is_found(out):
    (out / ".settings.toml.abc").touch()
    (out / "_work" / "embed").mkdir(parents=True)
    (out / "_versions" / "similar" / "00007-ffffffff").mkdir()
    shutil.rmtree((out / "similar").resolve().parent / "_sidecar")
    found = "\n".join(tables.leftovers(str(out)))
    for told in ("temporary .settings", "work _work/embed", "no version of similar: 00007", "version 00001"):
        assert told in found


@pytest.mark.parametrize("change", [without_first_song, lambda table: table.slice(1)])
def test_the_reader_refuses_half_a_table(out, change):
    edit(out, "similar", change)
    for way in ("pyarrow", "pandas"):
        with pytest.raises(reader.BrokenError):
            reader.WAYS[way][1](str(out))


@pytest.mark.thorough
def test_a_table_that_no_undisturbed_run_has_published_is_a_fault_as_is_an_older_one_after_a_newer(tmp_path):
    runs = kills.Runs(tmp_path / "new", 0, 1)
    runs.contents = {"similar": ["a", "b", "c"], "features": ["x", "y"]}

    def faults(**contents):
        return len(runs.reader_faults({"faults": {}, "contents": contents}))

    assert faults(pandas=["a", "c"], musicrec=["b"], features=["x", "y"]) == 0
    assert faults(pandas=["a", "d"]) == faults(musicrec=["b", "a"]) == faults(features=["a"]) == 1


def test_a_ray_that_died_under_a_run_is_told_in_a_line(ray_session, monkeypatch):
    def died(*_):
        raise ray.exceptions.LocalRayletDiedError

    monkeypatch.setattr(ray, "get", died)
    with pytest.raises(MusicrecError, match=r"^Ray has died on this machine; run the same command again to go on$"):
        list(run_bounded(ray.put, [1]))


@pytest.mark.slow
def test_a_few_kills_cost_no_song_and_no_reader_sees_half_a_table(tmp_path):
    options = ["--runs", "4", "--seed", "1", "--out", tmp_path / "k"]
    command = [sys.executable, "-m", "benchmarks.chain.kills", *map(str, options)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    held = r"^4 kills, .*: 0 songs lost, 0 doubled, 0 other faults, 0 tables not whole in \d{3,} looks: held$"
    assert re.search(held, ended.stdout, re.MULTILINE), ended.stdout
