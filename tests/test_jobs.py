"""The jobs run under `ray job submit`, Ray Serve serves, and the cluster file is one that Ray accepts."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pandas as pd
import pytest
import yaml

from musicrec.stages.catalog.synthetic import write_catalog
from player_catalog import ALL, make_out, publish_lists
from serving import ask, serving

ROOT = Path(__file__).parent.parent
# On the cluster, `python` is the one that runs the tests.
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
HOW_TESTS_RUN = ("RAY_AUTH", "RAY_RUNTIME_ENV_HOOK")  # variables
RAY = str(Path(sys.executable).with_name("ray"))


def validate(config: dict) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(config))


def test_cluster_file_is_valid_for_ray() -> None:
    validate(yaml.safe_load((ROOT / "cluster.yaml").read_text()))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"max_wrkers": 2}, "'max_wrkers' was unexpected"),
        ({"max_workers": "eight"}, "'eight' is not of type 'integer'"),
        ({"head_node_type": "nope"}, "`head_node_type` must be one of"),
    ],
)
def test_the_validation_bites(fault: dict, said: str) -> None:
    with pytest.raises(Exception, match=said):
        validate(yaml.safe_load((ROOT / "cluster.yaml").read_text()) | fault)


@pytest.mark.thorough
def test_every_stage_has_a_job_that_answers_help() -> None:
    jobs = sorted((ROOT / "jobs").glob("*.py"))
    assert {job.stem for job in jobs} >= {
        "catalog",
        "extract",
        "tune",
        "train",
        "evaluate",
        "embed",
        "similar",
        "recommend",
        "report",
        "run",
        "refresh",
    }
    for job in jobs:
        usage = subprocess.run([sys.executable, job, "--help"], capture_output=True, text=True, cwd=ROOT, check=True)
        assert "Examples:" in usage.stdout


class Head(NamedTuple):
    """A one-node cluster that asks for a token, as `docs/operate/cluster.md` starts one."""

    address: str
    dashboard: str
    environment: dict[str, str]  # of an account that has the token


@pytest.fixture
def head(tmp_path: Path) -> Iterator[Head]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(HOW_TESTS_RUN)}
    environment |= {"PATH": PATH, "HOME": str(tmp_path / "home")}
    (tmp_path / "home").mkdir()
    subprocess.run([RAY, "get-auth-token", "--generate"], env=environment, check=True, capture_output=True)
    ports = []
    for _ in range(3):
        with socket.socket() as s:
            s.bind(("", 0))
            ports.append(s.getsockname()[1])
    gcs, board, client = ports
    options = [f"--port={gcs}", f"--dashboard-port={board}", f"--ray-client-server-port={client}", "--num-cpus=2"]
    process = subprocess.Popen(
        [RAY, "start", "--head", "--block", "--disable-usage-stats", *options],
        env=environment | {"RAY_AUTH_MODE": "token"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    yield Head(f"127.0.0.1:{gcs}", f"http://127.0.0.1:{board}", environment)
    process.terminate()
    process.wait(60)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_command_shows_the_token_of_its_account_and_says_so_if_there_is_none(head, tmp_path):
    source, out = tmp_path / "synthetic-catalog", tmp_path / "out"
    write_catalog(source, songs_per_style=1, seconds=2)

    def musicrec(*words: str, home: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "musicrec", *words]
        environment = head.environment | {"HOME": str(home)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    musicrec("catalog", str(out), "--source", str(source), home=tmp_path)
    for _ in range(10):  # until the cluster answers
        ended = musicrec("extract", str(out), "--address", head.address, home=tmp_path / "home")
        if ended.returncode != 2:
            break
    assert ended.returncode == 0, ended.stderr
    stranger = musicrec("extract", str(out), "--retry-failed", "--address", head.address, home=tmp_path)
    assert stranger.returncode == 2
    assert "if it asks for a token, put the cluster's into ~/.ray/auth_token" in stranger.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_extract_runs_as_a_submitted_job(head: Head, tmp_path: Path) -> None:
    source, out = tmp_path / "synthetic-catalog", tmp_path / "out"
    write_catalog(source, songs_per_style=1, seconds=2)
    submitted = tmp_path / "project"  # what a checkout holds, and nothing that is installed
    for part in ("musicrec", "jobs"):
        shutil.copytree(ROOT / part, submitted / part)

    def submit(*job: str) -> subprocess.CompletedProcess[str]:
        command = [RAY, "job", "submit", "--address", head.dashboard, "--working-dir", ".", "--", "python", *job]
        environment = head.environment | {"RAY_AUTH_MODE": "token"}
        return subprocess.run(command, cwd=submitted, env=environment, capture_output=True, text=True, check=False)

    for attempt in range(60):  # until the dashboard answers
        catalog = submit("jobs/catalog.py", str(out), "--source", str(source))
        if catalog.returncode == 0 or "Failed to connect" not in catalog.stdout + catalog.stderr or attempt == 59:
            break
    assert catalog.returncode == 0, catalog.stdout + catalog.stderr
    extract = submit("jobs/extract.py", str(out))
    assert extract.returncode == 0, extract.stdout + extract.stderr
    outcomes = pd.read_parquet(out / "outcomes").query("stage == 'extract'")
    assert len(outcomes) == len(pd.read_parquet(out / "tracks"))
    wrong = submit("jobs/extract.py", str(tmp_path / "no-such-out"))
    assert wrong.returncode != 0
    assert "is not a musicrec OUT" in wrong.stdout + wrong.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_nightly_job_is_submitted_from_the_checkout_and_ray_knows_its_exit_code(head, tmp_path, monkeypatch):
    from ray.job_submission import JobSubmissionClient

    source, out = tmp_path / "synthetic-catalog", tmp_path / "out"
    write_catalog(source, songs_per_style=1, seconds=2)
    options = ["--address", head.dashboard, "--working-dir", ".", "--runtime-env", "deploy/runtime_env.yaml"]
    job = ["python", "jobs/refresh.py", str(out), "--source", str(source), "--deadline", "0s"]
    command = [RAY, "job", "submit", *options, "--submission-id", "tonight", "--", *job]
    environment = head.environment | {"RAY_AUTH_MODE": "token"}
    for _ in range(60):  # until the dashboard answers
        ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if "Failed to connect" not in ended.stdout + ended.stderr:
            break
    assert ended.returncode == 1
    assert "the deadline has passed" in ended.stdout + ended.stderr
    monkeypatch.setenv("RAY_AUTH_TOKEN", (tmp_path / "home" / ".ray" / "auth_token").read_text())
    assert JobSubmissionClient(head.dashboard).get_job_info("tonight").driver_exit_code == 4
    (report,) = (out / "_runs").iterdir()
    assert json.loads(report.read_text())["exit_code"] == 4
    again = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "already exists" in again.stdout + again.stderr
    assert len(list((out / "_runs").iterdir())) == 1


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ray_serve_answers_what_the_service_answers_and_follows_the_table(head, tmp_path):
    pytest.importorskip("ray.serve", reason="needs ray[serve]; make test-ray-serve fetches it", exc_type=ImportError)
    store, port = make_out(tmp_path), free_port()

    def serve(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("serve")), *words[:1], "--address", head.address, *words[1:]]
        environment = head.environment | {"RAY_AUTH_MODE": "token"} | variables
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    for _ in range(60):  # until the cluster answers
        started = serve("start", f"--http-port={port}")
        if started.returncode == 0:
            break
    assert started.returncode == 0, started.stderr
    run = ("run", "--non-blocking", "deploy.ray_serve:app", f"out={store.out}")
    untold = serve(*run)
    assert untold.returncode != 0
    assert "set MUSICREC_TOKEN" in untold.stderr
    told = serve(*run, MUSICREC_TOKEN="secret")
    assert told.returncode == 0, told.stderr
    known = {"Authorization": "Bearer secret"}
    paths = [f"/songs/{quote(song)}{of}" for song in (*ALL, "nobody") for of in ("", "/similar", "/similar?n=1")]
    paths += [
        "/songs?q=vibe",
        "/songs?n=x",
        "/recommend?like=plain",
        "/users/eve/recommendations",
        "/openapi.json",
        "/x",
    ]

    def answers(port: int) -> list[tuple[int, bytes, str | None]]:
        found = [ask(port, path, **known) for path in paths]
        found.append(ask(port, "/navidrome/similar", "POST", {"song": {"name": "Zeta"}, "count": 2}, **known))
        return [(status, content, headers["etag"]) for status, content, headers in found]

    assert ask(port, paths[0])[0] == 401
    with serving(store.out, "secret") as ours:
        assert answers(port) == answers(ours)
    publish_lists(store, store.read("tracks").to_pylist(), n=1)
    for _ in range(100):  # it follows within a second
        if ask(port, paths[1], **known)[2]["etag"] == f'"{store.path("similar").name}"':
            break
        time.sleep(0.1)
    with serving(store.out, "secret") as ours:
        assert answers(port) == answers(ours)
    assert serve("shutdown", "--yes").returncode == 0
