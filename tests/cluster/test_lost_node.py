"""A node that is lost costs a job time and nothing else: its tables are those of a job that was left alone.

Three raylets on this machine are a cluster: a head without CPUs, where jobs are submitted and their drivers run, and
two workers with a CPU each. A worker that is in the middle of a task of a stage is killed with all its processes, and
a new one joins, as an autoscaler would bring it. The job is not submitted again.
"""

import json
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from ray._private.node import Node
from ray.cluster_utils import Cluster
from ray.job_submission import JobSubmissionClient

import psutil  # isort: skip - Ray brings it along, and has to be imported first
from benchmarks.chain.kills_tables import KEYS, content, read
from musicrec.stages.catalog.synthetic import write_catalog
from musicrec.store.store import Store

ROOT = Path(__file__).parents[2]
LIMIT_S = 600  # of one job: longer is a hang
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),  # no upload: two raylets of one machine unpack it over each other
    "TF_NUM_INTRAOP_THREADS": "1",  # several threads add up in the order in which they end
    "TF_NUM_INTEROP_THREADS": "1",
}
HEALTH = {  # a killed node refuses to be asked, and is given up in four seconds; one that is slow is waited for
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 20_000,
    "health_check_failure_threshold": 4,
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


class Stage(NamedTuple):
    """A job on an OUT, how its work is known on a node, and when there is something to lose."""

    job: str
    options: str
    task: str  # in the title of a process that is at it
    once: str = "*"  # there is such a file below OUT


EPOCHS = 5
TRAIN = f"--workers 2 --epochs {EPOCHS} --checkpoint-s 0"
A_CHECKPOINT_COUNTS = "_work/train/*/checkpoint_manager_snapshot.json"
STAGES = {
    "extract": Stage("extract", "--mel96", "_extract_shard"),
    "train mlp": Stage("train", f"--model mlp {TRAIN}", "RayTrainWorker", A_CHECKPOINT_COUNTS),
    "train cnn": Stage("train", f"--model cnn {TRAIN}", "RayTrainWorker", A_CHECKPOINT_COUNTS),
    "embed": Stage("embed", "--model cnn", "_embed_part"),
    "similar": Stage("similar", "-n 5", "_stage_lists"),
}


class Jobs:
    """The three raylets, and jobs on them."""

    def __init__(self) -> None:
        head = {"num_cpus": 0, "include_dashboard": True, "dashboard_agent_listen_port": 0, "_system_config": HEALTH}
        self.raylets = Cluster(True, head_node_args=head)
        for _ in range(2):
            self.raylets.add_node(num_cpus=1)
        self._client = JobSubmissionClient(f"http://{self.raylets.webui_url}")

    def submit(self, job: str, *options: object) -> str:
        command = shlex.join(map(str, [sys.executable, ROOT / "jobs" / f"{job}.py", *options]))
        for _ in range(5):  # until the head's agent answers: Ray waits ten seconds for it
            with suppress(RuntimeError):
                return self._client.submit_job(entrypoint=command, runtime_env={"env_vars": ENVIRONMENT})
        return pytest.fail("no job can be submitted")

    def is_over(self, job: str) -> bool:
        return self._client.get_job_status(job).is_terminal()

    def exit_code(self, job: str) -> int | None:
        """Wait for the end; None if it does not come."""
        end = time.monotonic() + LIMIT_S
        while not self.is_over(job) and time.monotonic() < end:
            time.sleep(0.2)
        print(self._client.get_job_logs(job))
        return self._client.get_job_info(job).driver_exit_code


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    jobs = Jobs()
    yield jobs
    jobs.raylets.shutdown()


@pytest.fixture(scope="module")
def undisturbed(jobs: Jobs, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """OUT after so many stages in which nothing was killed."""
    folder = tmp_path_factory.mktemp("cluster_kills")
    write_catalog(folder / "songs", songs_per_style=2, seconds=3)

    @cache
    def after(n_stages: int) -> Path:
        out = folder / f"out-{n_stages}"
        if n_stages == 0:
            job = jobs.submit("catalog", out, "--source", folder / "songs")
        else:
            stage = list(STAGES.values())[n_stages - 1]
            shutil.copytree(after(n_stages - 1), out, symlinks=True)
            job = jobs.submit(stage.job, out, *stage.options.split())
        assert jobs.exit_code(job) == 0
        return out

    return after


@pytest.fixture(scope="module")
def tables() -> Callable[[Path], dict]:
    """What is published in an OUT, by name: rows in order of their keys, without the time they took."""

    def tables(out: Path) -> dict:
        names = [name for name in Store(out).published() if not name.startswith("models/")]
        of_models = [str(file.relative_to(out)) for file in out.glob("models/*/*.parquet")]
        return {name: content(read(str(out), name), KEYS.get(name, ["track_id"])) for name in names} | {
            name: read(str(out), name) for name in of_models
        }

    return tables


# --- the kill -----------------------------------------------------------------------------------------------------


def processes(node: Node) -> list[psutil.Process]:
    """The raylet of a node, and what it has started."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    return [raylet, *raylet.children(recursive=True)]


def is_at(process: psutil.Process, task: str) -> bool:
    return " ".join(process.cmdline()).startswith(f"ray::{task}")


def is_held_at(process: psutil.Process, task: str) -> bool:
    """Stop a process that is in the middle of a task, lest the task end before the kill."""
    if not is_at(process, task):
        return False
    process.suspend()
    while process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
        time.sleep(0.001)
    if is_at(process, task):
        return True
    process.resume()
    return False


def caught(jobs: Jobs, job: str, out: Path, stage: Stage) -> tuple[Node, psutil.Process]:
    """A node, and a process of it that is held in the middle of a task of the stage."""
    while not jobs.is_over(job):
        for node in jobs.raylets.worker_nodes if any(out.glob(stage.once)) else ():
            for process in processes(node):
                with suppress(psutil.NoSuchProcess):
                    if is_held_at(process, stage.task):
                        return node, process
        time.sleep(0.01)
    return pytest.fail(f"{stage.job} was over before a node could be killed: exit code {jobs.exit_code(job)}")


def replace(jobs: Jobs, node: Node) -> None:
    """Let a node break down, all its processes at once, the raylet first; then let a new one join."""
    for process in processes(node):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    jobs.raylets.remove_node(node, allow_graceful=False)
    jobs.raylets.add_node(num_cpus=1)


# --- what must hold -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STAGES)
def test_a_job_that_loses_a_node_ends_well_with_the_tables_of_one_left_alone(jobs, undisturbed, tables, tmp_path, name):
    stage, number = STAGES[name], list(STAGES).index(name)
    out = tmp_path / "out"
    shutil.copytree(undisturbed(number), out, symlinks=True)

    job = jobs.submit(stage.job, out, *stage.options.split())
    node, process = caught(jobs, job, out, stage)
    assert is_at(process, stage.task)
    if stage.job == "train":  # its workers are there after the last epoch too
        (last_epoch,) = out.glob("_work/train/*.json")
        assert json.loads(last_epoch.read_text())["epoch"] < EPOCHS
    replace(jobs, node)
    assert jobs.exit_code(job) == 0
    expected, found = tables(undisturbed(number + 1)), tables(out)
    assert found.keys() == expected.keys()
    assert [table for table in found if found[table] != expected[table]] == []
