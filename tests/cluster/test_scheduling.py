"""Who gets which work, and what a run asks of a cluster that others use too."""

import heapq
import time

import numpy as np
import pyarrow as pa
import pytest
import ray
from click.testing import CliRunner

from musicrec.cluster.resources import at_most, most_cpus
from musicrec.cluster.tasks import run_bounded, run_tasks, task_options
from musicrec.errors import ConfigError
from musicrec.settings import ExtractSettings
from musicrec.stages import song_tasks
from musicrec.stages.extract import plan
from musicrec.stages.extract.track_rows import Wanted

CPUS = 64


def catalog(lengths_s) -> list[Wanted]:
    return [Wanted(f"{i:05d}", "", "", 0, float(s)) for i, s in enumerate(lengths_s)]


def ended_s(shards: list[list[Wanted]]) -> float:
    """When the last CPU is done, each taking the next shard as it is free."""
    free = [0.0] * CPUS
    for shard in shards:
        heapq.heappush(free, heapq.heappop(free) + sum(track.work_s for track in shard))
    return max(free)


@pytest.mark.parametrize("long_at", ["start", "end", "anywhere", "nowhere"])
def test_no_cpu_is_left_with_the_long_songs_when_the_others_are_done(monkeypatch, long_at):
    monkeypatch.setattr(song_tasks, "cpus", lambda: CPUS)
    rng = np.random.default_rng(0)
    lengths_s = rng.uniform(0.02, 0.1, 20_000)
    where = {"start": range(100), "end": range(19_900, 20_000), "nowhere": []}
    lengths_s[where.get(long_at, rng.choice(20_000, 100, replace=False))] = 10.0
    todo = catalog(lengths_s)
    shards = song_tasks.shards_of(todo, 256)
    assert sorted(track for shard in shards for track in shard) == todo
    assert max(map(len, shards)) <= 256
    best_s = max([sum(lengths_s) / CPUS, *lengths_s])
    assert ended_s(shards) <= 1.15 * best_s


def test_shards_are_runs_of_neighbours_so_that_parts_are_too(monkeypatch):
    monkeypatch.setattr(song_tasks, "cpus", lambda: 2)
    shards = song_tasks.shards_of(catalog(np.random.default_rng(1).uniform(0, 1, 1000)), 256)
    assert [track.track_id for shard in sorted(shards) for track in shard] == [f"{i:05d}" for i in range(1000)]


def test_only_what_has_to_be_fetched_is_the_longer_the_larger():
    def work_s(uri, duration_s, size_bytes):
        return plan._work_s(ExtractSettings(), uri, duration_s, size_bytes)

    assert work_s("/a.mp3", 3600, 10**9) == work_s("/a.mp3", 30, 10**6) == work_s("/a.mp3", None, None)
    assert work_s("/a.mp3", 3, 10**5) < work_s("/a.mp3", 30, 10**6)
    assert work_s("s3://a/a.mp3", 3600, 10**9) > 100 * work_s("s3://a/a.mp3", 30, 10**6)


@ray.remote(num_cpus=0)
class Clock:
    def __init__(self):
        self.now, self.most = 0, 0

    def add(self, n):
        self.now += n
        self.most = max(self.most, self.now)
        return self.most


@ray.remote(num_cpus=0.1)
def work(clock, item):
    ray.get(clock.add.remote(1))
    time.sleep(0.05)
    ray.get(clock.add.remote(-1))
    return item


@pytest.mark.parametrize("most", [1, 3])
def test_a_run_has_no_more_tasks_at_a_time_than_it_may(ray_session, most):
    clock = Clock.remote()
    with at_most(most):
        done = dict(run_bounded(lambda item: work.remote(clock, item), range(12)))
        assert dict(run_tasks("test", lambda item: work.remote(clock, item), "abc")) == {"a": "a", "b": "b", "c": "c"}
    assert done == {i: i for i in range(12)}
    assert 1 <= ray.get(clock.add.remote(0)) <= most


def test_max_cpus_holds_for_the_command_and_not_after_it(tmp_path, monkeypatch):
    from musicrec.cli import cli

    seen = []
    monkeypatch.setattr("musicrec.stages.similar.stage.similar", lambda *_, **__: seen.append(most_cpus()))
    monkeypatch.setattr("musicrec.store.store.Store.require", lambda _: None)
    for arguments, environment in (["--max-cpus", "3"], {}), ([], {"MUSICREC_MAX_CPUS": "5"}), ([], {}):
        result = CliRunner().invoke(cli, ["similar", str(tmp_path), *arguments], env=environment)
        assert result.exit_code == 0, result.output
    assert seen == [3, 5, None]
    assert most_cpus() is None


def test_a_task_asks_for_its_memory_but_for_no_more_than_a_node_has(ray_session):
    most = max(node["Resources"]["memory"] for node in ray.nodes())
    assert task_options(1000) == {"memory": 1000}
    assert task_options(10**15) == {"memory": int(most)}
    assert ray.get(work.options(**task_options(10**15)).remote(Clock.remote(), 7), timeout=60) == 7


def test_a_gpu_that_no_node_has_is_said_at_once(ray_session):
    with pytest.raises(ConfigError, match="no node of the Ray cluster has a GPU"):
        task_options(1000, gpu=True)


def test_wanted_tracks_know_their_size(tmp_path, publish_vectors):
    store = publish_vectors(tmp_path / "out", [[1.0], [2.0]])
    tracks = store.read("tracks")
    sizes = pa.array([5_000_000, None], pa.int64())
    version = store.new_version("tracks", ExtractSettings(), "sized")
    version.write_part(tracks.set_column(tracks.schema.get_field_index("size_bytes"), "size_bytes", sizes))
    store.publish(version)
    assert [track.size_bytes for track in plan.wanted_tracks(store, ExtractSettings())] == [5_000_000, 0]
