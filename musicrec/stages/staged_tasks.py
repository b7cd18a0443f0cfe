"""Run tasks on Ray that stage a shard each, leaving out what an interrupted run has staged."""

from collections.abc import Callable, Mapping
from typing import Any

import ray

from musicrec.cluster.tasks import WorkerLost, run_bounded
from musicrec.errors import MusicrecError
from musicrec.files.paths import AnyPath
from musicrec.store.store import Store


def run_staged(
    store: Store,
    stage: str,
    starts: Mapping[str, int],
    submit: Callable[[str, int], "ray.ObjectRef[Any]"],
    progress: Callable[[int], None],
) -> list[AnyPath]:
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
    list of pathlib.Path or upath.UPath
        The staged shards, in the order of `starts`.
    """
    staged = {path.stem: path for path in store.work.staged(stage)}
    for name in starts.keys() & staged.keys():
        progress(starts[name])
    todo = [name for name in starts if name not in staged]
    for name, result in run_bounded(lambda name: submit(name, starts[name]), todo):
        if isinstance(result, WorkerLost):
            raise MusicrecError(f"{stage}: the worker of shard {name} died again and again ({result.cause})")
        progress(starts[name])
    return [store.work.folder(stage) / f"{name}.parquet" for name in starts]
