"""What the stages share of Ray: connecting, and running tasks with a bounded number in flight."""

import logging
import os
import re
import resource
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from filelock import FileLock

from musicrec.cluster.authentication import show_token
from musicrec.cluster.deadline import check_deadline, seconds_left
from musicrec.cluster.lazy_ray import ray
from musicrec.cluster.resources import address_of, most_cpus
from musicrec.errors import ConfigError, DeadlinePassed, MusicrecError
from musicrec.monitor.log import log_event

Item = TypeVar("Item")


class WorkerLost(NamedTuple):
    """Stands for the result of a task whose process died, retries included."""

    cause: str


EMBEDDED: dict[str, Any] = {
    "include_dashboard": False,
    "_system_config": {
        # A driver that has lost its Ray ends after so many seconds; Ray's own minute is for a head on another machine.
        "gcs_rpc_server_reconnect_timeout_s": 15,
        # A driver that waits for the first workers waits for ever when one dies as it starts (ray-project/ray#40131).
        "prestart_worker_first_driver": False,
    },
}
TASKS_PER_CPU = 2  # in flight: one runs, one waits
SECONDS_FOR_AN_ANSWER = 30.0
SECONDS_WITHOUT_CPU = 5.0
SECONDS_TO_CONNECT = 10.0
HOST_AND_PORT = re.compile(r"(?P<host>[^/]+):(?P<port>\d+)")
TOKEN_REMEDY = "put the cluster's into ~/.ray/auth_token, or set RAY_AUTH_TOKEN"
LEAST_MEMORY = 3 * 2**29  # bytes: Ray's own processes and a worker with its libraries
LEAST_TASKS = 32  # in flight even on a cluster that has no workers yet


def connect(address: str | None = None) -> None:
    """Connect to a Ray cluster, or start one inside this process.

    Parameters
    ----------
    address : str, optional
        ``auto`` or ``host:port`` of an existing cluster; without it the environment's ``RAY_ADDRESS``; without that,
        an embedded Ray on this machine.

    Raises
    ------
    ConfigError
        There is no cluster at the address, which must be that of its head, or it asks for another token or has another
        version.
    MusicrecError
        Ray does not start on this machine.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # of tasks that a run which has failed does not wait for
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = address_of(address)
    embedded = address == "local"
    if address not in ("local", "auto"):
        _require_listener(address)
    show_token(embedded=embedded)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **(EMBEDDED if embedded else {}))
    except Exception as e:  # a node that does not come up in time is no more than that
        raise (_not_started(e) if embedded else _not_connected(e, address)) from e


def _require_listener(address: str) -> None:
    """Raise ConfigError if nothing listens at an address; Ray would try for minutes."""
    place = HOST_AND_PORT.fullmatch(address)
    if not place:
        raise ConfigError(f"the address of a Ray cluster is HOST:PORT, that of its head, such as HEAD:6379: {address}")
    try:
        socket.create_connection((place["host"].strip("[]"), int(place["port"])), SECONDS_TO_CONNECT).close()
    except (OSError, OverflowError) as e:
        text = getattr(e, "strerror", None) or e
        raise ConfigError(f"nothing listens at {address} ({text}); start a Ray cluster, or leave --address out") from e


def _not_connected(error: Exception, address: str) -> ConfigError:
    """Return the error for a cluster that cannot be used."""
    text = " ".join(str(error).split())
    if isinstance(error, ray.exceptions.AuthenticationError):
        return ConfigError(f"RAY_AUTH_MODE asks for a token, and there is none; {TOKEN_REMEDY}")
    if versions := re.search(r"Ray: (\S+) Python: (\S+) .*Ray: (\S+) Python: (\S+)", text):
        their_ray, their_python, ray_here, python_here = versions.groups()
        there, here = f"Ray {their_ray} by Python {their_python}", f"Ray {ray_here} by Python {python_here}"
        return ConfigError(f"the cluster at {address} runs {there}, and this is {here}; use the same versions")
    if address == "auto":
        return ConfigError(f"no Ray cluster is found ({text}); start one, or leave --address out")
    remedy = f"if it asks for a token, {TOKEN_REMEDY}"
    return ConfigError(f"no Ray cluster answers at {address}, though something listens there ({text}); {remedy}")


def _not_started(error: Exception) -> MusicrecError:
    """Return the error for a Ray that does not start inside this process."""
    text = " ".join(str(error).split())
    if "AF_UNIX path length" in text:
        folder = tempfile.gettempdir()
        return ConfigError(
            f"the path of the temporary folder, {folder}, is too long for Ray; set TMPDIR to a short one"
        )
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        return ConfigError(
            f"Ray does not start with {limit / 2**30:.1f} GiB of address space a process; lift it: ulimit -v unlimited"
        )
    free = _free_memory()
    if free is not None and free < LEAST_MEMORY:
        return MusicrecError(
            f"Ray does not start with {free / 2**30:.1f} GiB of free memory; it and a worker take "
            f"{LEAST_MEMORY / 2**30:.1f}: end other programs, or take a larger machine"
        )
    return MusicrecError(f"Ray does not start on this machine: {text}")


def _free_memory() -> int | None:
    """Return the bytes of memory that are free on this machine; None where the system does not say."""
    try:
        found = re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def run_bounded(
    submit: Callable[[Item], "ray.ObjectRef[Any]"], items: Iterable[Item], *, at_once: int | None = None
) -> Iterator[tuple[Item, Any | WorkerLost]]:
    """Run one task for each item, a few more at a time than there are CPUs, and yield results as they come.

    Parameters
    ----------
    submit : callable
        Starts the task of one item.
    items : iterable
        May be long: it is read only as tasks finish.
    at_once : int, optional
        Tasks in flight; by default enough to keep the cluster busy. There are never more than
        :func:`musicrec.cluster.resources.most_cpus`.

    Yields
    ------
    item, result
        What the task returned, or :class:`WorkerLost` if its process died, retries included.

    Raises
    ------
    MusicrecError
        A task raised an error.
    DeadlinePassed
        What is not done by the deadline is cancelled.
    """
    rest = iter(items)
    check_deadline()
    running = {submit(item): item for item in islice(rest, _window(at_once))}
    _say_if_there_is_no_cpu(list(running))
    try:
        while running:
            check_deadline()
            done, _ = ray.wait(list(running), num_returns=1, timeout=seconds_left())
            for reference in done:
                yield running.pop(reference), _result(reference)
            running.update({submit(item): item for item in islice(rest, max(0, _window(at_once) - len(running)))})
    except DeadlinePassed:
        for reference in running:
            ray.cancel(reference, force=True)  # a worker that is interrupted may be left with half a module imported
        raise


def _say_if_there_is_no_cpu(running: list["ray.ObjectRef[Any]"]) -> None:
    """Say that tasks wait for a CPU, if a cluster has none after some seconds; its autoscaler may yet add nodes."""
    patience = min(SECONDS_WITHOUT_CPU, seconds_left() or SECONDS_WITHOUT_CPU)
    if running and not ray.wait(running, num_returns=1, timeout=patience)[0] and not ray.cluster_resources().get("CPU"):
        line = "the Ray cluster has no CPU yet; waiting for a node that has one, or for Ctrl-C"
        log_event("waiting", line, level=logging.WARNING)


def run_tasks(
    stage: str,
    submit: Callable[[Item], "ray.ObjectRef[Any]"],
    items: Iterable[Item],
    name: Callable[[Item], object] = str,
) -> Iterator[tuple[Item, Any]]:
    """Run one task for each item, as :func:`run_bounded` does, for a stage that needs every result.

    Parameters
    ----------
    stage : str
        For the error message.
    submit : callable
        Starts the task of one item.
    items : iterable
        The items; each is one task.
    name : callable, optional
        What the error message calls an item.

    Yields
    ------
    item, result
        In the order in which the tasks end.

    Raises
    ------
    MusicrecError
        A task raised an error, or lost its worker, retries included.
    """
    for item, result in run_bounded(submit, items):
        if isinstance(result, WorkerLost):
            raise MusicrecError(f"{stage}: the worker of {name(item)} died again and again ({result.cause})")
        yield item, result


def cpus() -> int:
    """Return how many CPUs of the cluster this run may use now, at least one."""
    return max(1, min(int(ray.cluster_resources().get("CPU", 1)), most_cpus() or sys.maxsize))


def _window(at_once: int | None) -> int:
    """Return how many tasks to keep in flight: enough for an autoscaler to see a need, unless the run may use fewer."""
    return min(at_once or max(LEAST_TASKS, TASKS_PER_CPU * cpus()), most_cpus() or sys.maxsize)


def task_options(memory: int, *, gpu: bool = False) -> dict[str, Any]:
    """Return what a task asks Ray for beside its CPU, as options of the task.

    Parameters
    ----------
    memory : int
        Bytes that the task takes. If no node has so many, it asks for the most that a node has: that may be enough,
        and for more it would wait for ever.
    gpu : bool
        Whether it asks for a GPU too.

    Raises
    ------
    ConfigError
        A GPU is asked for, and no node has one.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if gpu and not any(node.get("GPU") for node in nodes):
        raise ConfigError("--gpu: no node of the Ray cluster has a GPU; leave the option out")
    most = max((node.get("memory", 0) for node in nodes if node.get("CPU")), default=memory)
    return {"memory": int(min(memory, most)), **({"num_gpus": 1} if gpu else {})}


def _result(reference: "ray.ObjectRef[Any]") -> Any | WorkerLost:  # noqa: ANN401 - whatever the task returns
    try:
        return ray.get(reference)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError) as e:
        return WorkerLost(type(e).__name__)
    except ray.exceptions.LocalRayletDiedError as e:
        raise MusicrecError("Ray has died on this machine; run the same command again to go on") from e
    except ray.exceptions.RayTaskError as e:
        if isinstance(e.cause, MusicrecError):
            raise e.cause from None
        raise MusicrecError(f"a task on the cluster failed: {type(e.cause).__name__}: {e.cause}") from e


def on_every_node(function: Callable[..., Any], *arguments: Any) -> list[Any]:  # noqa: ANN401 - whatever it returns
    """Run a short function on each node; return the results, without those of nodes that do not answer."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(function)
    references = [
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(*arguments)
        for node in ray.nodes()
        if node["Alive"]
    ]
    done, _ = ray.wait(references, num_returns=len(references), timeout=SECONDS_FOR_AN_ANSWER)
    results = []
    for reference in done:
        with suppress(ray.exceptions.RayError):
            results.append(ray.get(reference))
    return results


@contextmanager
def compiling() -> Iterator[None]:
    """Let only one process of a node compile loops at a time; the others wait, and find the result on disk."""
    with FileLock(Path(tempfile.gettempdir()) / f"musicrec-compile-{os.getuid()}.lock"):
        yield
