"""A run of a pretrained model under kill -9, and with OUT in a bucket: the tables of a run that was left alone."""

import os
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from extracting import new_out
from musicrec.models.pretrained import library
from musicrec.serve.lookup import SimilarTable
from musicrec.settings import PretrainedSettings, SimilarSettings
from musicrec.stages.pretrained.stage import run_pretrained
from musicrec.stages.similar.stage import similar
from onnx_files import SIZE, card, network, node
from processes import named

SETTINGS = PretrainedSettings(model="small")
TAGS = tuple(f"tag {i}" for i in range(SIZE))
WORK = "vectors/small"
LIMIT_S = 600

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small network with tags, on this machine for all tests of the file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSICREC_CACHE", str(tmp_path_factory.mktemp("cache")))
        net = network(
            node("ReduceMean", ["x", "axis"], "mean", keepdims=0),
            node("MatMul", ["mean", "kernel"], "vector"),
            node("Sigmoid", ["vector"], "tags"),
            outputs=("vector", "tags"),
        )
        yield library.add(net.SerializeToString(), card(tags_output="tags", tags=TAGS))


@pytest.fixture(scope="module")
def alone(model, synthetic, tmp_path_factory):
    """An OUT in which nothing was killed."""
    store = new_out(tmp_path_factory.mktemp("alone") / "out", synthetic)
    run_pretrained(store, SETTINGS)
    return store


def published(store):
    outcomes = store.read("outcomes").to_pandas().query("stage == 'vectors/small'").drop(columns="seconds")
    return store.read("vectors/small"), store.read("tags/small"), outcomes.reset_index(drop=True)


def assert_same(store, other):
    """The same bytes of every vector and score, and each song of the catalog once."""
    for mine, theirs in zip(published(store), published(other), strict=True):
        assert mine.equals(theirs)
    assert sorted(published(store)[2]["track_id"]) == store.track_ids()


def staged(store):
    return [path for path in (store.out / "_work" / WORK).rglob("*.parquet") if path.parent.name != "outputs"]


def start(out):
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, "-m", "musicrec", "vectors", "run", str(out), "small", "--max-cpus", "1"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for_shards(store, process, n):
    while len(staged(store)) < n:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.005)


def kill_workers(process, n=2):
    """Kill two workers, one after the other, each in the middle of a shard."""
    for _ in range(n):
        worker = None
        while worker is None:
            assert process.poll() is None, "the run ended before its worker could be killed"
            worker = next(iter(named(process.pid, "ray::_run_shard")), None)
        os.kill(worker, signal.SIGKILL)


def kill_driver(process):
    process.kill()


@pytest.mark.parametrize("kill", [kill_workers, pytest.param(kill_driver, marks=pytest.mark.slow)])
def test_no_song_is_lost_or_doubled_by_a_kill_in_the_middle(alone, synthetic, tmp_path, kill):
    store = new_out(tmp_path / "out", synthetic)
    process = start(store.out)
    wait_for_shards(store, process, 3)
    kill(process)
    process.wait(LIMIT_S)
    assert (process.returncode == 0) == (kill is kill_workers)
    if kill is kill_driver:
        assert not store.exists("vectors/small")
        assert not store.exists("tags/small")
        n_done = sum(pq.read_table(shard).num_rows for shard in staged(store))
        assert n_done >= 3
        counts = run_pretrained(store, SETTINGS)
        assert 0 < counts.fresh <= counts.total - n_done
    assert_same(store, alone)
    assert not (store.out / "_work" / WORK).exists()


DIE = """
import os, signal, sys
from unittest import mock
from musicrec.settings import PretrainedSettings
from musicrec.stages.pretrained import stage
from musicrec.store.store import Store
die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
with mock.patch(sys.argv[2], die), mock.patch.object(stage, "connect"), mock.patch.object(stage, "_run_all"):
    stage.run_pretrained(Store(sys.argv[1]), PretrainedSettings(model="small"))
"""


@pytest.mark.parametrize(
    "moment",
    [
        "musicrec.stages.pretrained.stage.publish_space",  # the tags are published, the vectors are not
        "musicrec.stages.pretrained.stage.save_outcomes",  # both are, the outcomes are not
        "musicrec.store.versions.Versions.publish",  # neither is
    ],
)
def test_a_kill_between_the_tables_is_mended_by_the_next_run(alone, synthetic, tmp_path, monkeypatch, moment):
    store = new_out(tmp_path / "out", synthetic)
    with monkeypatch.context() as patch:  # all songs are staged, nothing is published
        patch.setattr("musicrec.stages.pretrained.stage._publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_pretrained(store, SETTINGS)
    code = subprocess.run([sys.executable, "-c", DIE, store.out, moment], check=False).returncode
    assert code == -signal.SIGKILL
    assert run_pretrained(store, SETTINGS).fresh == 0
    assert_same(store, alone)
    assert run_pretrained(store, SETTINGS).fresh == 0
    assert not (store.out / "_work" / WORK).exists()


def musicrec(*arguments):
    """Give a command in a process of its own, whose workers know the server of the bucket."""
    command = [sys.executable, "-m", "musicrec", *map(str, arguments), "--max-cpus", "1"]
    ended = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)  # two commands that start Ray, on a machine that may be busy
def test_an_out_in_a_bucket_has_the_same_vectors_and_lists(alone, synthetic, s3):
    there = new_out(f"s3://{s3.bucket()}/out", synthetic)
    said = musicrec("vectors", "run", there.out, "small")
    assert "golden vectors of this node differ from the card's by 0 of their length at most, 0.001 is allowed" in said
    assert_same(there, alone)
    rules = ("-n", 3, "--space", "small", "--max-hub-share", 1.0, "--require-tag", "tag 0=0.4")
    musicrec("similar", there.out, *rules)
    settings = SimilarSettings(n=3, space=("small",), max_hub_share=1.0, require_tag=("tag 0=0.4",))
    similar(alone, settings)
    assert there.read("similar").equals(alone.read("similar"))
    here, far = SimilarTable(alone.out), SimilarTable(there.out)
    for song in here.songs():
        assert far.similar(song.track_id) == here.similar(song.track_id)
