"""The Ray that a command starts for itself."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time

import pytest
import ray

from benchmarks.chain.kills_command import Command
from musicrec.cluster import tasks
from musicrec.cluster.authentication import show_token
from musicrec.cluster.tasks import connect
from musicrec.errors import ConfigError, MusicrecError
from musicrec.settings import CatalogSettings
from musicrec.stages.catalog.stage import catalog
from musicrec.store.store import Store

SECONDS = 120


@pytest.fixture
def without_token(monkeypatch, tmp_path):
    """A home folder in which Ray finds no token, and nothing said about tokens."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.engine
def test_a_worker_that_is_killed_as_it_starts_stops_no_command(without_token, synthetic, tmp_path):
    store = Store(tmp_path / "out")
    store.create()
    catalog(store, CatalogSettings(source=str(synthetic)))
    command = Command(["extract", str(store.out), "--limit", "2"], tmp_path / "log")
    try:
        while not (workers := command.processes().get("idle worker")):
            assert command.wait(0) is None, command.complaint
            time.sleep(0.005)  # it has registered within a second of its start
        os.kill(workers[0], signal.SIGKILL)
        assert command.wait(SECONDS) == 0, command.complaint
    finally:
        command.clean_up(0)
    assert store.read("features").num_rows == 2
    assert not (without_token / ".ray").exists(), "the account's next cluster would ask for this token"


@pytest.mark.parametrize("mode", [None, "token", "TOKEN"])
def test_an_embedded_ray_gets_a_token_of_its_own_in_the_environment_alone(without_token, monkeypatch, mode):
    if mode:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    show_token(embedded=True)
    tokens = {os.environ.pop("RAY_AUTH_TOKEN")}
    assert os.environ["RAY_AUTH_MODE"].lower() == "token"
    show_token(embedded=True)
    assert len(tokens | {os.environ["RAY_AUTH_TOKEN"]}) == 2
    assert min(map(len, tokens)) == 64
    assert not without_token.exists()


def test_a_token_is_shown_to_a_cluster_only_if_there_is_one(without_token):
    show_token(embedded=False)
    assert "RAY_AUTH_MODE" not in os.environ
    (without_token / ".ray").mkdir(parents=True)
    (without_token / ".ray" / "auth_token").write_text("secret")
    show_token(embedded=False)
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_who_turns_tokens_off_gets_none(without_token, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    show_token(embedded=True)
    assert "RAY_AUTH_TOKEN" not in os.environ


MISMATCH = """Version mismatch: The cluster was started with:
    Ray: 2.54.0
    Python: 3.11.9
This process on node 10.0.0.7 was started with:
    Ray: 2.60.0
    Python: 3.13.1
"""


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            ConnectionError("Failed to connect to Ray cluster at 10.0.0.7:6379"),
            "no Ray cluster answers at head:6379, though something listens there (Failed to connect to Ray cluster at "
            "10.0.0.7:6379); if it asks for a token, put the cluster's into ~/.ray/auth_token, or set RAY_AUTH_TOKEN",
        ),
        (
            ray.exceptions.AuthenticationError("Token authentication is enabled but no authentication token was found"),
            "RAY_AUTH_MODE asks for a token, and there is none; put the cluster's into ~/.ray/auth_token, or set "
            "RAY_AUTH_TOKEN",
        ),
        (
            RuntimeError(MISMATCH),
            "the cluster at head:6379 runs Ray 2.54.0 by Python 3.11.9, and this is Ray 2.60.0 by Python 3.13.1; use "
            "the same versions",
        ),
    ],
)
def test_a_cluster_that_cannot_be_used_is_one_line_and_wrong_usage(without_token, monkeypatch, error, line):
    def init(**options):
        raise error

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(socket, "create_connection", lambda place, timeout: socket.socket())
    with pytest.raises(ConfigError) as e:
        connect("head:6379")
    assert str(e.value) == line


@pytest.mark.parametrize("address", ["http://127.0.0.1:8265", "ray://head:10001", "head", "head:"])
def test_an_address_that_is_not_that_of_the_head_is_told_at_once(without_token, monkeypatch, address):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **options: pytest.fail("Ray was asked"))
    with pytest.raises(ConfigError, match=f"HOST:PORT, that of its head, such as HEAD:6379: {address}$"):
        connect(address)


def test_a_cluster_that_is_looked_for_and_not_found_is_one_line(without_token, monkeypatch):
    def init(**options):
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(
        ConfigError, match=r"^no Ray cluster is found \(Could not .*\); start one, or leave --address out$"
    ):
        connect("auto")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_a_port_at_which_nothing_listens_is_told_at_once(without_token, monkeypatch, host):
    with socket.socket() as s:  # bound, but not listening: nobody else takes it
        s.bind(("127.0.0.1", 0))
        address = f"{host}:{s.getsockname()[1]}"
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "init", lambda **options: pytest.fail("Ray was asked"))
        with pytest.raises(ConfigError, match=r"^nothing listens at .* start a Ray cluster, or leave --address out$"):
            connect(address)


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (OSError("validate_socket_filename failed: AF_UNIX path length cannot exceed 107 bytes: /x"), "is too long", 2),
        (RuntimeError("Failed to start\nGCS"), "Ray does not start on this machine: Failed to start GCS", 1),
    ],
)
def test_a_ray_that_does_not_start_is_one_line(without_token, monkeypatch, error, line, code):
    def init(**options):
        raise error

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(MusicrecError, match=line) as e:
        connect()
    assert e.value.exit_code == code
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("limit", "free", "line", "code"),
    [
        (6 * 2**30, 2**34, r"6\.0 GiB of address space a process; lift it: ulimit -v unlimited$", 2),
        (resource.RLIM_INFINITY, 2**29, r"0\.5 GiB of free memory; it and a worker take 1\.5: end other programs", 1),
        (resource.RLIM_INFINITY, 2**34, "on this machine: the node timed out$", 1),
        (resource.RLIM_INFINITY, None, "on this machine: the node timed out$", 1),
    ],
)
def test_too_little_memory_is_named_as_what_keeps_ray_from_starting(
    without_token, monkeypatch, limit, free, line, code
):
    def init(**options):
        raise Exception("the node\ntimed out")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    monkeypatch.setattr(tasks, "_free_memory", lambda: free)
    with pytest.raises(MusicrecError, match=line) as e:
        connect()
    assert e.value.exit_code == code


WAITING = """
import ray
from musicrec.cluster.deadline import deadline
from musicrec.cluster.tasks import run_bounded
ray.init("local", num_cpus=0, include_dashboard=False, log_to_driver=False)
with deadline(8):
    list(run_bounded(ray.remote(num_cpus=1)(lambda item: item).remote, [1]))
"""


@pytest.mark.engine
def test_a_cluster_without_a_cpu_says_so_and_waits():
    ended = subprocess.run([sys.executable, "-c", WAITING], capture_output=True, text=True, check=False)
    assert "the Ray cluster has no CPU yet; waiting for a node that has one" in ended.stderr
    assert "DeadlinePassed" in ended.stderr
