"""What the tables ``similar`` and ``recommendations`` both keep to: killed runs, full disks, rollbacks and nights."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from musicrec.errors import PublishError
from musicrec.settings import RecommendSettings, SimilarSettings
from musicrec.stages.histories import tally
from musicrec.stages.recommendations.stage import recommend_to_all
from musicrec.stages.similar.stage import similar
from musicrec.store.store import Store
from recommending import N_SONGS, likes_and_heard, needs_implicit, publish_histories, vectors

pytestmark = pytest.mark.usefixtures("ray_session")

KILLED = """
import os, signal, sys
from pathlib import Path
from musicrec.cli import main
from musicrec.monitor.progress import Progress
from musicrec.stages.similar import all_pairs

where, *arguments = sys.argv[1:]
all_pairs.SONGS_PER_SHARD = 8
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if where.isdigit():
    n_done, advance = 0, Progress.advance
    def one_more(self, n):
        global n_done
        n_done += 1
        advance(self, n)
        if n_done == int(where):
            die()
    Progress.advance = one_more
elif where != "nowhere":
    setattr(Path, where, die)
main(arguments)
"""


class Published(NamedTuple):
    """A table, how it is made, and how its inputs change."""

    name: str
    stage: str
    make: Callable[..., object]  # of an OUT, with n
    command: tuple[str, ...]

    def version(self, store):
        return store.versions(self.name).published

    def rows(self, store):
        return store.read(self.name).to_pylist()

    def files(self, store):
        folder = store.path(self.name)
        return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


TABLES = [
    Published(
        "similar",
        "similar",
        lambda store, n, **how: similar(store, SimilarSettings(n=n, max_churn=1.0), **how),
        ("similar", "--max-churn", "1"),
    ),
    Published(
        "recommendations",
        "recommend",
        lambda store, n, **how: recommend_to_all(store, RecommendSettings(n=n), **how),
        ("recommend", "--histories"),
    ),
    Published(
        "recommendations",
        "recommend",
        lambda store, n, **how: recommend_to_all(store, RecommendSettings(n=n, method="hybrid"), **how),
        ("recommend", "--histories", "--method", "hybrid"),
    ),
]
IDS = ("similar", "recommendations", "hybrid recommendations")


@pytest.fixture(params=[*TABLES[:-1], pytest.param(TABLES[-1], marks=needs_implicit)], ids=IDS)
def table(request):
    return request.param


@pytest.fixture
def store(tmp_path, publish_vectors, monkeypatch, table):
    """An OUT with lists and listeners in several parts, and a first version of the table."""
    monkeypatch.setattr(tally, "MOST_ROWS", 60)
    store = publish_vectors(tmp_path / "out", vectors())
    similar(store, SimilarSettings(n=8))
    publish_histories(store, tmp_path, likes_and_heard())
    assert len(list(store.path("histories").glob("parts/*"))) > 8
    table.make(store, 4)
    return store


def undisturbed(store, table, folder, n):
    """The rows that a run makes which nobody disturbs."""
    other = Store(shutil.copytree(store.out, folder, symlinks=True))
    table.make(other, n)
    return table.rows(other)


def child(store, table, where, n):
    command = [table.command[0], store.out, *table.command[1:], "-n", n, "--max-cpus", 1]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    code = [sys.executable, "-c", KILLED, where]
    return subprocess.run([*code, *map(str, command)], check=False, env=environment, capture_output=True)


def change(store, folder, publish_vectors):
    """Other vectors, and other likes."""
    publish_vectors(store.out, vectors(seed=5))
    if (store.out / "histories").exists():
        publish_histories(store, folder, likes_and_heard(seed=6))


@pytest.mark.thorough
def test_two_kills_in_the_middle_leave_the_table_and_the_next_run_makes_that_of_an_undisturbed_one(
    store, table, tmp_path
):
    wanted = undisturbed(store, table, tmp_path / "other", 6)
    before, staged = table.files(store), 0
    for n_done in (2, 6):
        assert child(store, table, str(n_done), 6).returncode == -signal.SIGKILL
        assert table.files(store) == before
        shards = len(list(store.work.staged(table.stage)))
        assert shards > staged  # what was done is kept
        staged = shards
    done = child(store, table, "nowhere", 6)
    assert done.returncode == 0, done.stderr
    assert table.rows(store) == wanted
    assert not store.work.folder(table.stage).exists() or not list(store.work.staged(table.stage))
    assert len(store.versions(table.name).on_disk()) == (3 if table.name == "similar" else 2)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["symlink_to", "replace"])
def test_a_kill_while_it_is_published_leaves_the_old_table_or_the_new_one(store, table, tmp_path, step):
    wanted, before = undisturbed(store, table, tmp_path / "other", 6), table.rows(store)
    assert child(store, table, step, 6).returncode == -signal.SIGKILL
    assert table.rows(store) in (before, wanted)
    table.make(store, 6)
    assert table.rows(store) == wanted
    known = {*store.versions(table.name).on_disk(), "state.json"}
    assert {path.name for path in store.versions(table.name).root.iterdir()} <= known


def test_a_disk_that_is_full_leaves_the_table(store, table, monkeypatch):
    before = table.files(store)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "publish", _no_space)
        with pytest.raises(PublishError, match=r"could not be written .*No space.*the published table is unchanged"):
            table.make(store, 6)
    assert table.files(store) == before
    table.make(store, 6)
    assert table.files(store) != before


def _no_space(*_, **__):
    raise OSError(28, "No space left on device")


def test_a_rollback_is_not_undone_until_something_changes_or_it_is_forced(store, table, tmp_path, publish_vectors):
    first, rows = table.version(store), table.rows(store)
    table.make(store, 6)
    second = table.version(store)
    assert store.rollback(table.name) == first
    for _ in range(2):
        assert f"{second} was withdrawn by a rollback" in str(table.make(store, 6))
        assert (table.version(store), table.rows(store)) == (first, rows)
    table.make(store, 6, force=True)
    assert table.version(store) == second
    store.rollback(table.name)
    change(store, tmp_path, publish_vectors)
    similar(store, SimilarSettings(n=8, max_churn=1.0))
    table.make(store, 6)
    assert table.version(store) not in (first, second)
    assert table.rows(store) != rows


def test_nothing_is_published_while_nothing_changes_and_older_versions_stay(store, table):
    versions = [table.version(store)]
    for n in (4, 5, 6, 7, 3):
        table.make(store, n)
        if table.version(store) not in versions:
            versions.append(table.version(store))
        table.make(store, n)
        assert table.version(store) == versions[-1]
    assert len(versions) == 5
    on_disk = store.versions(table.name).on_disk()
    assert on_disk == versions[1:]  # one published, and three to go back to
    assert store.rollback(table.name) == versions[-2]
    assert N_SONGS >= len({row["track_id"] for row in table.rows(store)}) > 1
