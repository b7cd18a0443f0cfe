"""Train networks on Ray Train: data-parallel workers, checkpoints, and training that continues where it stopped.

Every worker reads the published songs itself and takes its share of each batch. Worker 0 reports checkpoints; the last
one holds the finished model folder. A run has the name of its model id. After a lost worker or a killed driver, it
continues from its last checkpoint. The driver never imports TensorFlow.
"""

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from musicrec.cluster.lazy_ray import ray
from musicrec.errors import ConfigError, MusicrecError
from musicrec.files.parquet import arrow_file_system
from musicrec.files.paths import AnyPath, path_string, read_bytes, write_atomic
from musicrec.files.scratch import scratch_folder
from musicrec.monitor.progress import Progress
from musicrec.settings import TrainSettings
from musicrec.store.store import Store

SECONDS_BETWEEN_LOOKS = 0.5
RESTARTS = 2  # restarts of the worker group after a worker is lost
WORKER_GROUP_START_TIMEOUT_S = "240"  # importing TensorFlow on a busy node takes longer than Ray's 60 s
STATE_FILE, HISTORY_FILE = "state.npz", "history.json"
Work = Callable[..., None]


def fit_on_ray(
    store: Store,
    settings: TrainSettings,
    model_id: str,
    work: Work,
    *,
    workers: int,
    gpu: bool,
    checkpoint_s: float,
) -> AnyPath:
    """Train a network on workers; return the folder of the last checkpoint, which holds the finished model.

    Parameters
    ----------
    store : Store
        OUT; checkpoints go to its work folder.
    settings : TrainSettings
        Settings with the model's defaults filled in.
    model_id : str
        Name of the run.
    work : callable
        What each worker does: called with `store`, `settings`, `model_id`, the folder to write the model to, and
        rank, world, start and on_epoch of :func:`musicrec.models.fitting.fit`.
    workers : int
        Number of workers.
    gpu : bool
        Whether each worker gets a GPU.
    checkpoint_s : float
        Least number of seconds between checkpoints. The finished model is always a checkpoint.

    Raises
    ------
    ConfigError
        There are fewer GPUs than workers.
    MusicrecError
        The workers failed.
    """
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    from musicrec.stages.train.tensorflow_workers import TensorFlowConfig

    gpus = int(ray.cluster_resources().get("GPU", 0))
    if gpu and gpus < workers:
        raise ConfigError(f"--gpu: {workers} workers need a GPU each, the cluster has {gpus}; leave --gpu out")
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", WORKER_GROUP_START_TIMEOUT_S)
    folder = store.work.folder(settings.stage)
    last_epoch = folder / f"{model_id}.json"
    trainer = DataParallelTrainer(
        _on_worker,
        train_loop_config={
            "out": store.out,
            "settings": settings.model_dump(),
            "model_id": model_id,
            "last_epoch": last_epoch,
            "checkpoint_s": checkpoint_s,
            "work": work,
        },
        backend_config=TensorFlowConfig(),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpu),
        run_config=RunConfig(
            name=model_id,  # a run with the same name continues from its last checkpoint
            storage_path=path_string(folder),
            storage_filesystem=arrow_file_system(folder),
            failure_config=FailureConfig(max_failures=RESTARTS),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
        ),
    )
    fitting = _in_background(trainer.fit)
    with Progress(f"train {settings.model}", settings.epochs or 0) as progress:
        while not wait([fitting], timeout=SECONDS_BETWEEN_LOOKS).done:
            _show(last_epoch, progress)
    try:
        result = fitting.result()
    except TrainingFailedError as e:
        last = str(e.__cause__ or e).strip().splitlines()[-1]
        raise MusicrecError(f"train: {last}; run the same command again to continue from the last checkpoint") from e
    if result.checkpoint is None:
        raise MusicrecError("train: the workers ended without a model; see the logs of the Ray session")
    return folder / model_id / result.checkpoint.path.rstrip("/").rpartition("/")[2]


def _in_background(call: Callable[[], Any]) -> "Future[Any]":
    """Run a call in a daemon thread, which lets an interrupted program end; return a future of its result."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as e:
            future.set_exception(e)

    Thread(target=run, daemon=True).start()
    return future


def _show(last_epoch: AnyPath, progress: Progress) -> None:
    """Advance the progress to the last epoch that worker 0 has recorded."""
    if last_epoch.exists():
        epoch = json.loads(read_bytes(last_epoch))
        note = f"test accuracy {epoch['test_accuracy']:.3f}"
        progress.advance(max(0, epoch["epoch"] - progress.done), note)
    else:
        progress.advance(0, "starting TensorFlow")


# --- on a worker --------------------------------------------------------------------------------------------------


def _on_worker(config: dict[str, Any]) -> None:
    """Train and report checkpoints; worker 0 writes the model folder into the last one."""
    from ray.train import Checkpoint, get_checkpoint, get_context, report
    from ray.train.collective import broadcast_from_rank_zero

    context = get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    settings = TrainSettings(**config["settings"])
    last_checkpoint = time.monotonic()
    reported: dict[str, float] = {}

    def on_epoch(metrics: dict[str, float], snapshot: Callable[[], Any]) -> None:
        nonlocal last_checkpoint, reported
        reported = metrics
        if rank == 0:
            write_atomic(config["last_epoch"], json.dumps(metrics).encode())
        due = time.monotonic() - last_checkpoint >= config["checkpoint_s"]
        if world > 1:
            due = broadcast_from_rank_zero(due)
        if not due or metrics["epoch"] == settings.epochs:  # the finished model is the last checkpoint
            return  # nothing else is reported either, as Ray takes one report every two seconds
        last_checkpoint = time.monotonic()
        with scratch_folder() as folder:
            is_written = rank == 0 and _written(folder, snapshot())
            report(metrics, checkpoint=Checkpoint.from_directory(folder) if is_written else None)

    with scratch_folder() as folder:
        config["work"](
            Store(config["out"]), settings, config["model_id"], folder,
            rank=rank, world=world, start=_snapshot(get_checkpoint()), on_epoch=on_epoch,
        )  # fmt: skip
        report(reported, checkpoint=Checkpoint.from_directory(folder) if rank == 0 else None)


def _written(folder: Path, snapshot: Any) -> bool:  # noqa: ANN401 - Snapshot
    """Write a checkpoint; return whether it was written. If the disk is full, training goes on with the one before."""
    try:
        np.savez(folder / STATE_FILE, *snapshot.arrays)
        (folder / HISTORY_FILE).write_text(json.dumps(snapshot.history), encoding="utf-8")
    except OSError as e:
        print(f"train: checkpoint of epoch {snapshot.epoch} not written ({e.strerror}); training goes on", flush=True)
        return False
    return True


def _snapshot(checkpoint: Any) -> Any:  # noqa: ANN401 - of Ray, a Snapshot
    """Read the state in a checkpoint; None if there is no checkpoint, or it holds a finished model."""
    from musicrec.models.fitting import Snapshot

    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        if not (Path(folder) / STATE_FILE).exists():
            return None
        with np.load(Path(folder) / STATE_FILE) as state:
            arrays = [state[name] for name in state.files]
        history = json.loads((Path(folder) / HISTORY_FILE).read_text(encoding="utf-8"))
    return Snapshot(len(history), arrays, history)
