"""The little of Ray that the stages share: connect, and run tasks with a bounded number in flight."""

import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import ray
from filelock import FileLock

from musicrec.deadline import check_deadline, seconds_left
from musicrec.errors import ConfigError, DeadlinePassed, MusicrecError
from musicrec.storage import Store

Item = TypeVar("Item")


class WorkerLost(NamedTuple):
    """Instead of a result: the task's process died, retries included."""

    cause: str


EMBEDDED: dict[str, Any] = {
    "include_dashboard": False,
    # Seconds after which a driver ends that has lost its Ray; Ray's own minute is for a head on another machine.
    "_system_config": {"gcs_rpc_server_reconnect_timeout_s": 15},
}
TASKS_PER_CPU = 2  # in flight: one runs, one waits
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
        There is no cluster at the address.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = _address(address)
    options: dict[str, Any] = EMBEDDED if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, ValueError) as e:
        reason = str(e).splitlines()[0]
        raise ConfigError(f"no Ray cluster at {address} ({reason}); start one, or leave --address out") from e


def _address(address: str | None) -> str:
    return address or os.environ.get("RAY_ADDRESS") or "local"


def is_embedded(address: str | None = None) -> bool:
    """Whether :func:`connect` starts a Ray inside this process."""
    return _address(address) == "local"


def run_bounded(
    submit: Callable[[Item], "ray.ObjectRef[Any]"], items: Iterable[Item], *, at_once: int | None = None
) -> Iterator[tuple[Item, Any | WorkerLost]]:
    """Run one task an item, a few more at a time than there are CPUs, and yield results as they come.

    Parameters
    ----------
    submit : callable
        Starts the task of one item.
    items : iterable
        May be long: it is read only as tasks finish.
    at_once : int, optional
        Tasks in flight, if not as many as keep the cluster busy.

    Yields
    ------
    item, result
        What the task returned, or :class:`WorkerLost` if it took its process with it, retries included.

    Raises
    ------
    MusicrecError
        A task raised an error.
    DeadlinePassed
        What is not done by the deadline is cancelled.
    """
    rest = iter(items)
    check_deadline()
    running = {submit(item): item for item in islice(rest, at_once or _window())}
    try:
        while running:
            check_deadline()
            done, _ = ray.wait(list(running), num_returns=1, timeout=seconds_left())
            for reference in done:
                yield running.pop(reference), _result(reference)
            running.update({submit(item): item for item in islice(rest, max(0, (at_once or _window()) - len(running)))})
    except DeadlinePassed:
        for reference in running:
            ray.cancel(reference)
        raise


def cpus() -> int:
    """CPUs of the cluster as it is now, at least one."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _window() -> int:
    """Tasks to keep in flight; enough of them for an autoscaler to see a need."""
    return max(LEAST_TASKS, TASKS_PER_CPU * cpus())


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


def run_staged(
    store: Store,
    stage: str,
    starts: Mapping[str, int],
    submit: Callable[[str, int], "ray.ObjectRef[Any]"],
    progress: Callable[[int], None],
) -> list[Path]:
    """Run one task a shard, leaving out shards that an interrupted run has staged.

    Parameters
    ----------
    store : Store
        Where the tasks stage their shards.
    stage : str
        Stage they belong to.
    starts : mapping of str to int
        Name of each shard and its first row. A name says what the shard was made from, so that an old one is not
        mistaken for it.
    submit : callable
        Starts the task that stages the shard of a name and first row.
    progress : callable
        Called with the first row of each shard that is there.

    Returns
    -------
    list of pathlib.Path
        The staged shards, in the order of `starts`.
    """
    staged = {path.stem: path for path in store.staged(stage)}
    for name in starts.keys() & staged.keys():
        progress(starts[name])
    todo = [name for name in starts if name not in staged]
    for name, result in run_bounded(lambda name: submit(name, starts[name]), todo):
        if isinstance(result, WorkerLost):
            raise MusicrecError(f"{stage}: the worker of shard {name} died again and again ({result.cause})")
        progress(starts[name])
    return [store.work_folder(stage) / f"{name}.parquet" for name in starts]


@contextmanager
def compiling() -> Iterator[None]:
    """Let one process of a node compile loops at a time.

    numba's cache on disk does not bear two writers: a compiled loop can end up under another's types, and crash.
    """
    with FileLock(Path(tempfile.gettempdir()) / f"musicrec-compile-{os.getuid()}.lock"):
        yield
