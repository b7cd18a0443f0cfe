"""Run Ray tasks that each stage a shard, without the shards that an interrupted run has staged."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from musicrec.cluster.lazy_ray import ray
from musicrec.cluster.tasks import run_tasks
from musicrec.files.paths import AnyPath
from musicrec.store.store import Store

Shard = TypeVar("Shard")


def missing(store: Store, stage: str, names: Iterable[str]) -> list[str]:
    """Return the names of the shards that are not staged yet, in the order given."""
    staged = {path.stem for path in store.work.staged(stage)}
    return [name for name in names if name not in staged]


def run_staged(
    store: Store,
    stage: str,
    shards: Mapping[str, Shard],
    submit: Callable[[str, Shard], "ray.ObjectRef[Any]"],
    done: Callable[[Shard], None],
) -> list[AnyPath]:
    """Run one task per shard, except for shards that an interrupted run has staged.

    Parameters
    ----------
    store : Store
        Where the tasks stage their shards.
    stage : str
        Stage that the shards belong to.
    shards : mapping
        The input of each shard, by its name. The name depends on the input, so that an old shard is not mistaken for a
        new one.
    submit : callable
        Starts the task that stages a shard, given its name and its input.
    done : callable
        Called with the input of each shard when it is staged.

    Returns
    -------
    list of pathlib.Path or upath.UPath
        The staged shards, in the order of `shards`.

    Raises
    ------
    MusicrecError
        A task raised an error, or lost its worker on every retry.
    """
    todo = missing(store, stage, shards)
    for name in shards.keys() - set(todo):
        done(shards[name])
    for name, _ in run_tasks(stage, lambda name: submit(name, shards[name]), todo, lambda name: f"shard {name}"):
        done(shards[name])
    return [store.work.folder(stage) / f"{name}.parquet" for name in shards]
