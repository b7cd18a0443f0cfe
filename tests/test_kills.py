"""The benchmark that kills processes of the chain would see a lost song, a doubled one, half a table."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import ray

from benchmarks.chain import kills, kills_bucket
from benchmarks.chain import kills_reader as reader
from benchmarks.chain import kills_tables as tables
from benchmarks.chain import kills_targets as aims
from benchmarks.chain.kills_pointers import file_system, folder_of, is_publishing, version_of
from musicrec.cluster.tasks import run_bounded
from musicrec.errors import MusicrecError

ROOT = Path(__file__).parent.parent


@pytest.fixture
def out(chain, tmp_path):
    """A copy of a whole OUT."""
    shutil.copytree(chain.out, tmp_path / "out", symlinks=True)
    return tmp_path / "out"


@pytest.fixture
def out_in_bucket(chain, s3):
    """The same OUT in a bucket, where a link is an object that says where it leads."""
    where = f"s3://{s3.bucket()}/out"
    fs, root = file_system(where)
    for path in chain.out.rglob("*"):
        name = path.relative_to(chain.out).as_posix()
        if path.is_symlink():
            fs.pipe_file(f"{root}/{name}", str(path.resolve().relative_to(chain.out.resolve())).encode())
        elif path.is_file() and name[0] != ".":
            fs.put_file(str(path), f"{root}/{name}")
    return where


def edit(out, name, change):
    """Write another content into the first part of a table."""
    fs, folder = file_system(folder_of(str(out), name))
    part = min(fs.glob(f"{folder}/*.parquet"))
    with fs.open(part) as file:
        table = pq.read_table(file)
    with fs.open(part, "wb") as file:
        pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), file)


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


def test_a_whole_out_in_a_bucket_passes(chain, out_in_bucket, synthetic):
    assert tables.accounts(out_in_bucket, synthetic) == ([], [])
    assert list(tables.differences(out_in_bucket, str(chain.out))) == []
    assert list(tables.leftovers(out_in_bucket)) == []
    for name, read in reader.WAYS.values():
        keys = tables.KEYS[name]
        assert tables.digest(read(out_in_bucket), keys) == tables.digest(chain.read(name), keys)
    assert version_of(out_in_bucket, "similar") == chain.versions("similar").published
    assert version_of(out_in_bucket, "none") == ""
    assert not is_publishing(out_in_bucket)


def test_a_lost_song_a_doubled_one_and_half_a_table_are_found_in_a_bucket(chain, out_in_bucket, synthetic):
    edit(out_in_bucket, "similar", without_first_song)
    edit(out_in_bucket, "features", with_first_row_twice)
    found = tables.accounts(out_in_bucket, synthetic)
    assert [line.split(":")[0] for line in found.lost] == ["similar"]
    assert [line.split(":")[0] for line in found.doubled] == ["features"]
    different = [line.split()[0] for line in tables.differences(out_in_bucket, str(chain.out))]
    assert different == ["features", "similar"]
    for way in ("pyarrow", "pandas", "features"):
        with pytest.raises(reader.BrokenError):
            reader.WAYS[way][1](out_in_bucket)


def test_what_killed_runs_leave_in_a_bucket_is_found(out_in_bucket):
    fs, root = file_system(out_in_bucket)
    fs.pipe_file(f"{root}/.lock/0123.json", b"{}")
    fs.pipe_file(f"{root}/_work/embed/shard.parquet", b"")
    fs.pipe_file(f"{root}/_versions/similar/00007-ffffffff/parts/part-00000.parquet", b"")
    assert is_publishing(out_in_bucket)
    fs.rm_file(min(fs.find(f"{root}/_versions/similar/{version_of(out_in_bucket, 'similar')}/_sidecar")))
    found = "\n".join(tables.leftovers(out_in_bucket))
    for told in ("claim .lock/0123.json", "work _work/embed", "no version of similar: 00007", "version 00001"):
        assert told in found


@pytest.mark.thorough
def test_a_killed_run_reaches_its_bucket_through_faults_that_are_counted_and_its_checks_reach_it_past_them(tmp_path):
    with kills_bucket.bucket_behind_faults(tmp_path, share=0.3, seed=0) as bucket:
        program = (
            "from musicrec.files.paths import *; import sys\n"
            "for i in range(40): path = to_path(sys.argv[1]) / str(i); write_atomic(path, bytes(9)); read_bytes(path)"
        )
        subprocess.run(
            [sys.executable, "-c", program, bucket.out], env={**os.environ, **bucket.environment}, cwd=ROOT, check=True
        )
        counted = dict(zip(kills_bucket.HEAD, bucket.row(), strict=True))
        fs, root = file_system(bucket.out)
        assert len(fs.find(root)) == 40
        assert bucket.row() == list(counted.values())
    assert counted["requests"] > counted["uploads"] >= 40
    assert counted["broken"] == bucket.proxy.faults.total() >= 10
    assert counted["cut upload"] >= 3
    assert "AWS_ENDPOINT_URL" not in os.environ


@pytest.mark.thorough
def test_a_table_that_no_undisturbed_run_has_published_is_a_fault_as_is_an_older_one_after_a_newer(tmp_path):
    runs = kills.Runs(tmp_path / "new", 0, 1)
    runs.contents = {"similar": ["a", "b", "c"], "features": ["x", "y"]}

    def faults(**contents):
        return len(runs.reader_faults({"faults": {}, "contents": contents, "swapped": {}}))

    assert faults(pandas=["a", "c"], musicrec=["b"], features=["x", "y"]) == 0
    assert faults(pandas=["a", "d"]) == faults(musicrec=["b", "a"]) == faults(features=["a"]) == 1


class Looks:
    """An event that ends a watch after some looks."""

    def __init__(self, n):
        self.left = n

    def is_set(self):
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("is_swapped", [True, False])
def test_a_file_that_is_gone_is_a_fault_unless_a_version_was_published_meanwhile(tmp_path, monkeypatch, is_swapped):
    link, rows = tmp_path / "out" / "similar", iter([pa.table({"track_id": ["a"], "rank": [1]}), None])
    link.parent.mkdir()
    link.symlink_to("_versions/similar/00001-a/parts")

    def read(out):
        if (table := next(rows)) is not None:
            return table
        if is_swapped:
            link.unlink()
            link.symlink_to("_versions/similar/00002-b/parts")
        raise FileNotFoundError("part-00000.parquet")

    monkeypatch.setattr(reader, "WAYS", {"pandas": ("similar", read)})
    monkeypatch.setattr(reader, "SECONDS_BETWEEN_LOOKS", 0)
    reader.watch(str(tmp_path / "out"), Looks(2), tmp_path / "seen.json")
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert (seen["swapped"], len(seen["faults"])) == (({"pandas": 1}, 0) if is_swapped else ({}, 1))


def test_to_musicrecs_reader_no_file_is_ever_gone():
    gone = FileNotFoundError("part-00000.parquet")
    assert reader.is_swap(gone, "pyarrow", "00001-a", "00002-b")
    assert not reader.is_swap(gone, "musicrec", "00001-a", "00002-b")
    assert not reader.is_swap(OSError("cut short"), "pyarrow", "00001-a", "00002-b")


@pytest.mark.thorough
@pytest.mark.parametrize(("swapped", "n_faults"), [(2, 0), (3, 1)])
def test_more_looks_that_met_a_swap_than_versions_were_published_are_a_fault(tmp_path, swapped, n_faults):
    runs = kills.Runs(tmp_path / "new", 0, 1)
    link = Path(runs.out) / "similar"
    link.parent.mkdir()
    link.symlink_to("_versions/similar/00002-b/parts")
    assert len(runs.reader_faults({"faults": {}, "contents": {}, "swapped": {"pandas": swapped}})) == n_faults


def test_every_kind_of_process_is_killed_in_every_stage():
    rng, stage_s = np.random.default_rng(0), dict.fromkeys(aims.PLACES, 10.0)
    wanted = [aims.targets("run", number, stage_s, rng) for number in range(3)]
    assert {(target.place, target.kind) for run in wanted for target in run} == {
        *((place, kind) for place in aims.PLACES if place != "publish" for kind in aims.KINDS),
        ("publish", "driver"),
    }
    assert all([target.place for target in run[::2]] == list(aims.PLACES) for run in wanted)
    assert all(first.place == second.place for run in wanted for first, second in zip(run[::2], run[1::2], strict=True))
    of_refresh = [target.place for target in aims.targets("refresh", 0, stage_s, rng)]
    assert of_refresh == [place for place in aims.PLACES if place != "train" for _ in range(2)]
    moments = [target.delay_s for run in wanted for target in run if target.kind == "raylet"]
    assert len(set(moments)) == len(moments)
    assert 0 <= min(moments) < max(moments) <= 10


class Steps:
    """A command that goes on by a stage whenever it is looked at, and has a worker at work in some of them."""

    def __init__(self, stages, busy_in):
        self.stages, self.busy_in, self.stage = list(stages), busy_in, "catalog"

    def wait(self, seconds):
        self.stage = self.stages.pop(0) if self.stages else self.stage
        return None if self.stages else 0

    def processes(self):
        return {"driver": [1]} | ({aims.WORK: [2]} if self.stage in self.busy_in else {})


@pytest.mark.parametrize(
    ("place", "kind"), [("extract", "busy worker"), ("embed", "busy worker"), ("similar", "driver")]
)
def test_a_process_is_killed_in_its_place_or_not_at_all(monkeypatch, tmp_path, place, kind):
    command, killed = Steps(["catalog", "extract", "extract", "train", "embed", "similar", "end"], {"extract"}), []
    monkeypatch.setattr(aims, "SECONDS_BETWEEN_LOOKS", 0)
    monkeypatch.setattr(aims, "_kill", lambda pid, kind: killed.append((command.stage, kind)) or "killed")
    found = aims.strike(command, aims.Target(place, kind, 0.0), str(tmp_path))
    assert (found, killed) == ((None, []) if place == "embed" else ("killed", [(place, kind)]))


def test_the_place_with_the_fewest_kills_is_told():
    found = [aims.Kill("run", place, "driver", is_restart=False) for place in aims.PLACES for _ in range(8)]
    assert aims.fewest(found) == ("refresh", 0)
    found += [aims.Kill("refresh", "extract", "at _extract", is_restart=True)] * 9
    assert aims.fewest(found)[1] == 8
    assert aims.fewest(found[:15] + found[16:]) == ("train", 7)
    rows = list(aims.by_place(found))
    assert rows[0] == ("at _extract", 9, 0, 0, 0, 0, 9, 9, 9)
    assert rows[1] == ("driver", 8, 8, 8, 8, 8, 0, 0, 40)
    assert rows[2:] == [("all", 17, 8, 8, 8, 8, 9, 9, 49)]


@pytest.mark.parametrize(
    ("lost", "reader_faults", "verdict"),
    [([], [], "held"), (["tracks: a.mp3"], [], "BROKEN"), ([], ["reader pandas: half a table"], "BROKEN")],
)
def test_the_report_tells_kills_by_place_and_what_was_broken(capsys, lost, reader_faults, verdict):
    killed = [aims.Kill("run", "extract", "at _extract_shard", is_restart=False)]
    killed += [aims.Kill("run", "train", "driver", is_restart=True)]
    run = kills.Run(0, "run new", 10.0, killed, ["embed"], [-9, 0], found=tables.Accounts(lost, []))
    seen = {"looks": dict.fromkeys(reader.WAYS, 9), "contents": {}, "swapped": {}, "faults": {}}
    assert kills.report([run], seen, reader_faults) == (verdict == "BROKEN")
    printed = capsys.readouterr().out
    assert re.search(r"^at _extract_shard +1 +0 +0 +0 +0 +0 +0 +1$", printed, re.MULTILINE)
    assert re.search(r"^driver +0 +1 +0 +0 +0 +0 +1 +1$", printed, re.MULTILINE)
    assert re.search(rf"^2 kills, 1 restarts: {len(lost)} songs lost, .*: {verdict}$", printed, re.MULTILINE)
    assert "≥ 8 kills in each place: NOT reached; 0 in embed" in printed


def test_the_report_tells_how_many_requests_were_broken_and_uploads_cut(capsys):
    proxy = kills_bucket.Proxy("http://127.0.0.1:1", 0.05)
    proxy.requests.update({("GET", "/kills/out/a"): 70, ("PUT", "/kills/out/a"): 9, ("PUT", "/kills/out/b"): 21})
    proxy.faults.update({"cut upload": 3, "internal": 2})
    seen = {"looks": dict.fromkeys(reader.WAYS, 9), "contents": {}, "swapped": {}, "faults": {}}
    kills.report([kills.Run(0, "run new", 10.0)], seen, [], kills_bucket.Bucket("s3://kills/out", {}, proxy))
    head, row = (re.split(" {2,}", line.strip()) for line in capsys.readouterr().out.strip().splitlines()[:2])
    counted = dict(zip(head, row, strict=True))
    assert [counted[name] for name in ("requests", "uploads", "broken", "cut upload")] == ["100", "30", "5", "3"]


@pytest.mark.parametrize(("published", "newest", "writes"), [(1, 1, False), (1, 2, True), (0, 1, True), (2, 1, False)])
def test_a_version_is_being_published_while_one_is_newer_than_the_link(tmp_path, published, newest, writes):
    for number in range(1, newest + 1):
        (tmp_path / "_versions" / "similar" / f"{number:05d}-x").mkdir(parents=True)
    if published:
        (tmp_path / "similar").symlink_to(f"_versions/similar/{published:05d}-x/parts")
    assert is_publishing(str(tmp_path)) is writes


def test_a_ray_that_died_under_a_run_is_told_in_a_line(ray_session, monkeypatch):
    def died(*_):
        raise ray.exceptions.LocalRayletDiedError

    monkeypatch.setattr(ray, "get", died)
    with pytest.raises(MusicrecError, match=r"^Ray has died on this machine; run the same command again to go on$"):
        list(run_bounded(ray.put, [1]))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("where", [[], ["--s3"]], ids=["folder", "bucket"])
def test_a_few_kills_cost_no_song_and_no_reader_sees_half_a_table(tmp_path, where):
    options = ["--runs", "1", "--seed", "1", "--out", tmp_path / "k", *where]
    program = "from benchmarks.chain.kills import main; main()"  # with -m, its result would replace the kept one
    command = [sys.executable, "-c", program, *map(str, options)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    held = r"^\d+ kills, .*: 0 songs lost, 0 doubled, 0 other faults, 0 tables not whole in \d{3,} looks: held$"
    assert re.search(held, ended.stdout, re.MULTILINE), ended.stdout
