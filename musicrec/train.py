"""The third stage: train a genre model and publish its folder: a network with Ray Train, a classical model as one task.

Every worker reads the published features itself and takes its share of each batch; worker 0 writes the finished model
folder into the last checkpoint, from where it is published. The driver never imports TensorFlow.
"""

import json
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray
from numpy.typing import NDArray

from musicrec import features
from musicrec.accounting import Counts, Outcome, check_failures, count, digest, outcomes_table
from musicrec.cluster import WorkerLost, connect, run_bounded
from musicrec.columns import HISTORY, OK, PREDICTIONS, SKIPPED
from musicrec.errors import ConfigError, MusicrecError
from musicrec.models import (
    CLASSICAL,
    CLUSTERINGS,
    NETWORKS,
    Classical,
    Model,
    Network,
    TrainingSet,
    held_out,
    model_files,
    read_card,
    training_set,
)
from musicrec.models.dataset import standardisation
from musicrec.progress import Progress
from musicrec.settings import ExtractSettings, TrainSettings, resolve
from musicrec.storage import Store

SECONDS_BETWEEN_LOOKS = 0.5
RESTARTS = 2  # of the worker group, after a worker was lost
WORKER_GROUP_START_TIMEOUT_S = "240"  # importing TensorFlow on a busy node takes longer than Ray's 60 s


def train(store: Store, settings: TrainSettings, *, address: str | None = None, workers: int = 1) -> Counts:
    """Train a model on the published features and publish it as ``models/<name>``.

    Parameters
    ----------
    store : Store
        OUT, with ``tracks`` and ``features``.
    settings : TrainSettings
        Model and hyper-parameters.
    address : str, optional
        Ray cluster; embedded by default.
    workers : int
        Data-parallel workers of a network; apart from the masks of dropout, any number gives the same network to float
        tolerance. A classical model takes one.

    Raises
    ------
    ConfigError, ModelError
        The features lack the model's set; the songs do not suffice to train on.
    """
    if workers > settings.batch_size:
        raise ConfigError(f"{workers} workers cannot share a batch of {settings.batch_size} songs; raise --batch-size")
    songs = load_training_set(store.out, settings)
    model_id = settings.fingerprint(
        store.footer("features")["fingerprint"],
        digest(songs.track_ids, songs.groups, [songs.classes[i] for i in songs.y]),
    )
    name = f"models/{settings.model}"
    is_current = store.exists(name) and read_card(store.path(name))["model_id"] == model_id
    if not is_current:
        held_out(songs, settings.test_fraction, settings.seed)  # songs that cannot be split are said before Ray starts
        connect(address)
        fit_on_ray = _fit_classical if settings.model in CLASSICAL + CLUSTERINGS else _fit_network
        folder = fit_on_ray(store, settings, model_id, workers)
        version = store.new_version(name, settings, model_id)
        for file in model_files(settings.model):
            shutil.copy(folder / file, version.folder / file)
        store.publish(version)
        store.clear_work(settings.stage)
    store.record(settings)
    outcomes = _outcomes(store, songs, model_id)
    store.save_outcomes(settings.stage, outcomes, settings, model_id)
    counts = count(settings.stage, store.track_ids(), outcomes, 0 if is_current else len(songs.track_ids))
    check_failures(counts, 1.0)
    return counts


def load_training_set(out: Path, settings: TrainSettings) -> TrainingSet:
    """Songs, genres and split for `settings` from the published tables of `out`; the same on every machine."""
    store = Store(out)
    names = features.feature_names(settings.feature_set)
    have = resolve(ExtractSettings, store.footer("features")["settings"]).feature_sets
    if settings.feature_set not in have:
        raise ConfigError(
            f"{store.out} has the feature sets {', '.join(have)}; model {settings.model} reads {settings.feature_set}"
        )
    songs = {row["track_id"]: row for row in store.read("tracks", ["track_id", "genre", "artist_id"]).to_pylist()}
    table = store.read("features", ["track_id", *names], pc.field("track_id").isin(list(songs))).sort_by("track_id")
    track_ids = table["track_id"].to_pylist()
    return training_set(
        track_ids,
        table.select(names).to_pandas().to_numpy("float32"),
        [songs[track_id]["genre"] for track_id in track_ids],
        [songs[track_id]["artist_id"] for track_id in track_ids],
    )


def _outcomes(store: Store, songs: TrainingSet, model_id: str) -> pa.Table:
    used = set(songs.track_ids)
    rows = []
    for track_id in store.track_ids():
        if track_id in used:
            rows.append(Outcome(track_id, "train", OK, fingerprint=model_id))
        else:
            rows.append(Outcome(track_id, "train", SKIPPED, songs.left_out.get(track_id, "no_features")))
    return outcomes_table(rows)


# --- one task -----------------------------------------------------------------------------------------------------


def _fit_classical(store: Store, settings: TrainSettings, model_id: str, workers: int) -> Path:
    """Train in one task, which needs no second worker; return the folder that holds the finished model."""
    folder = store.work_folder(settings.stage) / f"{model_id}-{time.time_ns()}"
    task = ray.remote(num_cpus=1)(train_in_task)
    with Progress(f"train {settings.model}", 1) as progress:
        for _, result in run_bounded(lambda to: task.remote(store.out, settings, model_id, to), [folder]):
            if isinstance(result, WorkerLost):
                raise MusicrecError(f"train: the worker died again and again ({result.cause})")
            progress.advance(1)
    return folder


def train_in_task(out: Path, settings: TrainSettings, model_id: str, folder: Path) -> None:
    """Fit a classical model or a clustering and write its folder."""
    from musicrec.models.classical import fit, n_learned

    songs = load_training_set(out, settings)
    test = held_out(songs, settings.test_fraction, settings.seed)
    pipeline = fit(settings.model, (songs.X[~test], songs.y[~test]), settings.seed)
    folder.mkdir(parents=True, exist_ok=True)  # it may be there from a worker that died
    card = _card(settings, songs, model_id) | {"parameters": n_learned(pipeline)}
    if settings.model in CLUSTERINGS:
        from musicrec.models.clustering import write_clusters

        card["clustering"] = write_clusters(folder, pipeline, songs, ~test, settings)
    _write_model(folder, Classical(pipeline, card), songs, test, [])


# --- Ray Train ----------------------------------------------------------------------------------------------------


def _fit_network(store: Store, settings: TrainSettings, model_id: str, workers: int) -> Path:
    """Train on `workers` workers; return the folder of the last checkpoint, which holds the finished model."""
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    from musicrec.tfconfig import TensorFlowConfig

    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", WORKER_GROUP_START_TIMEOUT_S)
    run = f"{model_id}-{time.time_ns()}"  # Ray would resume a run of the same name
    folder = store.work_folder(settings.stage)
    curve = folder / f"{run}.jsonl"
    trainer = DataParallelTrainer(
        train_on_worker,
        train_loop_config={
            "out": str(store.out),
            "settings": settings.model_dump(),
            "model_id": model_id,
            "curve": str(curve),
        },
        backend_config=TensorFlowConfig(),
        scaling_config=ScalingConfig(num_workers=workers),
        run_config=RunConfig(
            name=run,
            storage_path=str(folder),
            failure_config=FailureConfig(max_failures=RESTARTS),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
        ),
    )
    fitting = _in_background(trainer.fit)
    with Progress(f"train {settings.model}", settings.epochs) as progress:
        while not wait([fitting], timeout=SECONDS_BETWEEN_LOOKS).done:
            _show(curve, progress)
    try:
        result = fitting.result()
    except TrainingFailedError as e:
        raise MusicrecError(f"train: {str(e.__cause__ or e).strip().splitlines()[-1]}") from e
    if result.checkpoint is None:
        raise MusicrecError("train: the workers ended without a model; see the logs of the Ray session")
    return Path(result.checkpoint.path)


def _in_background(call: Callable[[], Any]) -> "Future[Any]":
    """Result of a call that runs in a thread which does not keep an interrupted program from ending."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as e:
            future.set_exception(e)

    Thread(target=run, daemon=True).start()
    return future


def _show(curve: Path, progress: Progress) -> None:
    """Bring the progress up to the last epoch that worker 0 has written down."""
    *lines, _being_written = curve.read_text(encoding="utf-8").split("\n") if curve.exists() else [""]
    if lines:
        epoch = json.loads(lines[-1])
        note = f"test accuracy {epoch['test_accuracy']:.3f}"
        progress.advance(max(0, epoch["epoch"] - progress.done), note)
    else:
        progress.advance(0, "starting TensorFlow")


def train_on_worker(config: dict[str, Any]) -> None:
    """What each worker runs: fit, and on worker 0 write the model folder into a checkpoint."""
    import tempfile

    from ray.train import Checkpoint, get_context, report

    from musicrec.models.fitting import fit
    from musicrec.models.network import import_keras, standardise

    import_keras()
    settings = TrainSettings(**config["settings"])
    context = get_context()
    songs = load_training_set(Path(config["out"]), settings)
    test = held_out(songs, settings.test_fraction, settings.seed)
    card = _card(settings, songs, config["model_id"]) | {"standardise": standardisation(songs.X[~test])}
    rank, world = context.get_world_rank(), context.get_world_size()
    history: list[dict[str, float]] = []

    def on_epoch(metrics: dict[str, float]) -> None:
        history.append(metrics)
        if rank == 0:
            with Path(config["curve"]).open("a", encoding="utf-8") as file:
                file.write(json.dumps(metrics) + "\n")

    X = standardise(songs.X, card)
    network = fit(
        lambda: NETWORKS[settings.model].build(X.shape[1], len(songs.classes), settings),
        (X[~test], songs.y[~test]),
        (X[test], songs.y[test]),
        settings,
        rank=rank,
        world=world,
        on_epoch=on_epoch,
    )
    if rank > 0:
        report(history[-1])
        return
    with tempfile.TemporaryDirectory() as folder:
        trained = Network(network, card | {"parameters": network.count_params()})
        _write_model(Path(folder), trained, songs, test, history)
        report(history[-1], checkpoint=Checkpoint.from_directory(folder))


def _card(settings: TrainSettings, songs: TrainingSet, model_id: str) -> dict[str, Any]:
    return {
        "model": settings.model,
        "model_id": model_id,
        "classes": songs.classes,
        "feature_set": settings.feature_set,
        "feature_names": features.feature_names(settings.feature_set),
        "settings": settings.model_dump(mode="json"),
    }


def _write_model(
    folder: Path, model: Model, songs: TrainingSet, test: NDArray[np.bool_], history: list[dict[str, float]]
) -> None:
    probabilities = model.predict_proba(songs.X)
    predicted = probabilities.argmax(axis=1)
    hits = predicted == songs.y
    model.card["metrics"] = {
        "test_accuracy": float(hits[test].mean()),
        "train_accuracy": float(hits[~test].mean()),
        "n_test": int(test.sum()),
        "n_train": int((~test).sum()),
        "grouped_by_artist": songs.grouped_by_artist,
    }
    model.save(folder)
    pq.write_table(pa.Table.from_pylist(history, schema=HISTORY), folder / "history.parquet")
    rows = {
        "track_id": songs.track_ids,
        "split": ["test" if t else "train" for t in test],
        "genre": [songs.classes[i] for i in songs.y],
        "predicted": [songs.classes[i] for i in predicted],
        "probabilities": list(probabilities),
    }
    pq.write_table(pa.table(rows, schema=PREDICTIONS), folder / "predictions.parquet")
