"""Run tasks on Ray that stage a shard each, leaving out what an interrupted run has staged."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import ray

from musicrec.cluster.tasks import run_tasks
from musicrec.files.paths import AnyPath
from musicrec.store.store import Store

Shard = TypeVar("Shard")


def missing(store: Store, stage: str, names: Iterable[str]) -> list[str]:
    """Names of the shards that are not staged yet, in the order given."""
    staged = {path.stem for path in store.work.staged(stage)}
    return [name for name in names if name not in staged]


def run_staged(
    store: Store,
    stage: str,
    shards: Mapping[str, Shard],
    submit: Callable[[str, Shard], "ray.ObjectRef[Any]"],
    done: Callable[[Shard], None],
) -> list[AnyPath]:
    """Run one task a shard, leaving out shards that an interrupted run has staged.

    Parameters
    ----------
    store : Store
        Where the tasks stage their shards.
    stage : str
        Stage they belong to.
    shards : mapping
        What each shard is made of, by its name. A name says what the shard is made from, so that an old one is not
        mistaken for it.
    submit : callable
        Starts the task that stages a shard, given its name and what it is made of.
    done : callable
        Called with each shard once it is there.

    Returns
    -------
    list of pathlib.Path or upath.UPath
        The staged shards, in the order of `shards`.

    Raises
    ------
    MusicrecError
        A task raised an error, or lost its worker, retries included.
    """
    todo = missing(store, stage, shards)
    for name in shards.keys() - set(todo):
        done(shards[name])
    for name, _ in run_tasks(stage, lambda name: submit(name, shards[name]), todo, lambda name: f"shard {name}"):
        done(shards[name])
    return [store.work.folder(stage) / f"{name}.parquet" for name in shards]
