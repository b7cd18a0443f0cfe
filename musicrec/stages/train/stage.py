"""The third stage: train a genre model and publish its folder, on Ray Train or in one task."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from musicrec.cluster.lazy_ray import remote
from musicrec.cluster.tasks import connect, run_tasks
from musicrec.errors import ConfigError, ModelError
from musicrec.files.paths import AnyPath, link_or_copy, write_folder
from musicrec.models import (
    CLUSTERINGS,
    NETWORKS,
    Classical,
    Model,
    TrainingSet,
    held_out,
    model_files,
    read_card,
    with_defaults,
)
from musicrec.models.inputs import VECTORS, Chosen
from musicrec.models.network import require_tensorflow
from musicrec.monitor.progress import Progress
from musicrec.schemas import HISTORY, OK, PREDICTIONS, SKIPPED, Reason
from musicrec.settings import CHECKPOINT_S, TrainSettings
from musicrec.stages.finish import finish
from musicrec.stages.model_inputs import (
    clear_unpacked,
    fingerprints,
    input_of,
    lacking,
    load_training_set,
    table_of,
    unpack,
)
from musicrec.stages.train.on_ray import fit_on_ray
from musicrec.store.lineage import digest
from musicrec.store.outcomes import Counts, Outcome, count, outcomes_table, save_outcomes
from musicrec.store.store import Store


def train(
    store: Store,
    settings: TrainSettings,
    *,
    address: str | None = None,
    workers: int = 1,
    gpu: bool = False,
    checkpoint_s: float = CHECKPOINT_S,
) -> Counts:
    """Train a model on the published songs and publish it as ``models/<name>``.

    Parameters
    ----------
    store : Store
        OUT, with ``tracks`` and what the model reads.
    settings : TrainSettings
        Model and hyper-parameters.
    address : str, optional
        Ray cluster; embedded by default.
    workers : int
        Number of data-parallel workers of a network. Except for the masks of dropout, any number gives the same network
        to float tolerance. A classical model uses one worker.
    gpu : bool
        Whether each worker of a network gets a GPU.
    checkpoint_s : float
        Seconds between checkpoints of a network that trains on Ray Train. After a crash, training continues from the
        last one. What one task trains begins anew.

    Raises
    ------
    ConfigError, ModelError
        OUT lacks what the model reads, or there are too few songs to train on.
    """
    full = with_defaults(settings)
    if workers > (full.batch_size or 0):
        raise ConfigError(f"{workers} workers cannot share a batch of {full.batch_size} songs; raise --batch-size")
    songs = load_training_set(store, full, needs_genres=full.model not in CLUSTERINGS)
    model_id = full.fingerprint(
        *fingerprints(store, full),
        digest(songs.track_ids, songs.groups, *filter(None, [songs.genres])),  # none of clusters without genres
    )
    name = f"models/{full.model}"
    is_current = _published_id(store, name) == model_id
    if not is_current:
        if full.model in NETWORKS:
            require_tensorflow()
        held_out(songs, full.test_fraction, full.seed)  # if the songs cannot be split, fail before Ray starts
        connect(address)
        if takes_long(full) or workers > 1 or gpu:
            unpack_as_task(store, table_of(full))
            folder = fit_on_ray(
                store, full, model_id, fit_and_write, workers=workers, gpu=gpu, checkpoint_s=checkpoint_s
            )
        else:
            folder = _fit_as_task(store, full, model_id)
        version = store.new_version(name, full, model_id)
        for file in model_files(full.model):
            link_or_copy(folder / file, version.folder / file)
        store.publish(version)
        clear_unpacked(store)
    outcomes = _outcomes(store, songs, model_id, lacking(store, input_of(store, full)))
    return finish(store, settings, outcomes, model_id, fresh=0 if is_current else len(songs.track_ids))


def takes_long(settings: TrainSettings) -> bool:
    """Return whether a training takes so long that it needs checkpoints: that of a network of spectrograms or images.

    Ray Train takes ten seconds to start its workers, and a network of features learns in less.
    """
    return settings.model in NETWORKS and table_of(settings) != "features"


def keep(store: Store, settings: TrainSettings) -> Counts:
    """Leave the published model as it is, and write an outcome for every song of the current catalog.

    Parameters
    ----------
    store : Store
        OUT, with the model.
    settings : TrainSettings
        Which model.
    """
    model_id = read_card(store.path(f"models/{settings.model}"))["model_id"]
    before = {
        row["track_id"]: Outcome(**row)
        for row in store.read("outcomes", filter=pc.field("stage") == settings.stage).to_pylist()
    }
    newer = (settings.stage, SKIPPED, Reason.NEWER_THAN_MODEL)
    outcomes = outcomes_table(before.get(track_id, Outcome(track_id, *newer)) for track_id in store.track_ids())
    save_outcomes(store, settings.stage, outcomes, settings, model_id)
    return count(settings.stage, store.track_ids(), outcomes, 0)


def _published_id(store: Store, name: str) -> str | None:
    """Return the id of the published model; None if there is none or it cannot be read."""
    try:
        return str(read_card(store.path(name))["model_id"]) if store.exists(name) else None
    except ModelError:
        return None


def _outcomes(store: Store, songs: TrainingSet, model_id: str, lacks: dict[str, tuple[Reason, str]]) -> pa.Table:
    used = set(songs.track_ids)
    rows = []
    for track_id in store.track_ids():
        if track_id in used:
            rows.append(Outcome(track_id, "train", OK, fingerprint=model_id))
        else:
            why = lacks.get(track_id) or (songs.left_out.get(track_id, Reason.NO_FEATURES),)
            rows.append(Outcome(track_id, "train", SKIPPED, *why))
    return outcomes_table(rows)


def unpack_as_task(store: Store, table: str) -> None:
    """Unpack a table of spectrograms or images in a task on the cluster."""
    if table != "features" and isinstance(store.out, Path):  # if OUT is in a bucket, each node unpacks its own copy
        _run_alone(remote(num_cpus=1)(_unpack), store.out, table)


def _unpack(out: AnyPath, table: str) -> None:
    unpack(Store(out), table)


def _fit_as_task(store: Store, settings: TrainSettings, model_id: str) -> AnyPath:
    """Train in a single task; return the folder that holds the finished model."""
    folder = store.work.folder(settings.stage) / f"{model_id}-{time.time_ns()}"
    with Progress(f"train {settings.model}", 1) as progress:
        _run_alone(remote(num_cpus=1)(_fit_in_task), store.out, settings, model_id, folder)
        progress.advance(1)
    return folder


def _fit_in_task(out: AnyPath, settings: TrainSettings, model_id: str, folder: AnyPath) -> None:
    with write_folder(folder) as local:  # the folder may exist from a worker that died
        fit_and_write(Store(out), settings, model_id, local)


def _run_alone(task: Any, *arguments: Any) -> None:  # noqa: ANN401 - a remote function
    list(run_tasks("train", lambda _: task.remote(*arguments), ["the training"]))


# --- on a worker --------------------------------------------------------------------------------------------------


def fit_and_write(store: Store, settings: TrainSettings, model_id: str, folder: Path, **how: Any) -> None:  # noqa: ANN401
    """Train a model and, on worker 0, write the model folder.

    Parameters
    ----------
    store : Store
        OUT, with the songs.
    settings : TrainSettings
        Settings with the model's defaults filled in.
    model_id : str
        Id for the card.
    folder : pathlib.Path
        Existing folder.
    **how
        As for :func:`musicrec.models.training.train_model`.
    """
    from musicrec.models.training import train_model

    songs = load_training_set(store, settings, needs_genres=settings.model not in CLUSTERINGS)
    test = held_out(songs, settings.test_fraction, settings.seed)
    history: list[dict[str, float]] = list(how["start"].history) if how.get("start") else []
    report_epoch = how.pop("on_epoch", lambda metrics, snapshot: None)

    def on_epoch(metrics: dict[str, float], snapshot: Any) -> None:  # noqa: ANN401 - callable
        history.append(metrics)
        report_epoch(metrics, snapshot)

    card = card_of(store, settings, songs.classes, model_id)
    model = train_model(songs, ~test, test, settings, card, on_epoch=on_epoch, **how)
    if isinstance(model, Classical) and settings.model in CLUSTERINGS:
        from musicrec.models.clustering import write_clusters

        model.card["clustering"] = write_clusters(folder, model.pipeline, songs, ~test, settings)
    if how.get("rank", 0) == 0:
        _write_model(folder, model, songs, test, history)


def card_of(store: Store, settings: TrainSettings, classes: list[str], model_id: str) -> dict[str, Any]:
    """Return the card of a model before its training."""
    return {
        "model": settings.model,
        "model_id": model_id,
        "classes": classes,
        "feature_set": settings.feature_set,
        "input": input_of(store, settings),
        "settings": settings.model_dump(mode="json"),
    }


def _write_model(
    folder: Path, model: Model, songs: TrainingSet, test: NDArray[np.bool_], history: list[dict[str, float]]
) -> None:
    """Write the model folder.

    A model of features or vectors predicts all songs. A network of spectrograms or images predicts the test songs only,
    as the others would take long.
    """
    reads_vectors = model.card["input"]["reads"] in VECTORS
    rows = np.flatnonzero(test | reads_vectors)
    probabilities = model.predict_proba(songs.X if reads_vectors else Chosen(songs.X, rows))
    predicted = probabilities.argmax(axis=1) if songs.classes else songs.y[rows]
    hits, tested = predicted == songs.y[rows], test[rows]
    model.card["metrics"] = {
        "test_accuracy": float(hits[tested].mean()) if songs.classes else None,
        "train_accuracy": (
            None if not songs.classes else float(hits[~tested].mean()) if reads_vectors else history[-1]["accuracy"]
        ),
        "n_test": int(test.sum()),
        "n_train": int((~test).sum()),
        "grouped_by_artist": songs.grouped_by_artist,
    }
    model.save(folder)
    pq.write_table(pa.Table.from_pylist(history, schema=HISTORY), folder / "history.parquet")
    names: list[str | None] = [*songs.classes] or [None]
    columns = {
        "track_id": [songs.track_ids[i] for i in rows],
        "split": ["test" if t else "train" for t in tested],
        "genre": [names[i] for i in songs.y[rows]],
        "predicted": [names[i] for i in predicted],
        "probabilities": list(probabilities),
    }
    pq.write_table(pa.table(columns, schema=PREDICTIONS), folder / "predictions.parquet")
