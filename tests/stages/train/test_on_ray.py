"""Ray Train: two workers train what one trains, and a training that loses a worker goes on from its checkpoint."""

import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import ray

from musicrec.errors import ConfigError
from musicrec.models import with_defaults
from musicrec.models.network import Network
from musicrec.settings import TrainSettings
from musicrec.stages.train.on_ray import _snapshot, _written, fit_on_ray
from musicrec.stages.train.stage import train
from musicrec.store.store import Store

EPOCHS, KILLED_AFTER = 6, 3


@pytest.fixture(scope="module")
def extracted(synthetic: Path, ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Store:
    from musicrec.settings import CatalogSettings, ExtractSettings
    from musicrec.stages.catalog.stage import catalog
    from musicrec.stages.extract.stage import extract

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test
    store = Store(tmp_path_factory.mktemp("ray_train") / "out")
    store.create()
    catalog(store, CatalogSettings(source=str(synthetic)))
    extract(store, ExtractSettings(feature_sets=("iiitd41",)))
    return store


def fit_and_keep_weights(store, settings, model_id, folder, **how):
    """What a worker does in the train stage, and its weights beside it."""
    os.environ["TF_NUM_INTRAOP_THREADS"] = "1"  # else sums differ in the last bit from run to run
    from musicrec.models import held_out
    from musicrec.models.training import train_model
    from musicrec.stages.model_inputs import load_training_set
    from musicrec.stages.train.stage import card_of

    songs = load_training_set(store, settings)
    test = held_out(songs, settings.test_fraction, settings.seed)
    if how.get("start") is None and "kill" in model_id and how["rank"] == 1:
        how["on_epoch"] = killed_after(KILLED_AFTER, how["on_epoch"], store.work.folder(settings.stage) / model_id)
    card = card_of(store, settings, songs.classes, model_id)
    epochs = []
    tell = how.pop("on_epoch")
    first = how["start"].epoch + 1 if how["start"] else 1

    def on_epoch(metrics, snapshot):
        epochs.append(metrics["epoch"])
        tell(metrics, snapshot)

    network = train_model(songs, ~test, test, settings, card, on_epoch=on_epoch, **how).network
    name = f"{model_id}-{how['world']}-{how['rank']}"
    np.savez(store.out / f"{name}.npz", *network.get_weights())
    (store.out / f"{name}.epochs").write_text(f"{first} {epochs[-1]}")


def killed_after(epoch, on_epoch, folder):
    """Kill this worker after an epoch, once the driver counts its checkpoint."""

    def call(metrics, snapshot):
        on_epoch(metrics, snapshot)
        if metrics["epoch"] == epoch:
            end = time.monotonic() + 120
            while counted(folder) != epoch:
                assert time.monotonic() < end, f"the checkpoint of epoch {epoch} never counted"
                time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGKILL)

    return call


def counted(folder):
    """Epoch of the checkpoint that a training would go on from, by what Ray has written down."""
    file = folder / "checkpoint_manager_snapshot.json"
    with suppress(FileNotFoundError, json.JSONDecodeError):  # it may be half written
        latest = json.loads(file.read_text())["latest_checkpoint_result"]
        return latest and latest["metrics"]["epoch"]
    return None


def weights(store: Store, name: str) -> list[np.ndarray]:
    with np.load(store.out / f"{name}.npz") as kept:
        return [kept[key] for key in kept.files]


def run(store: Store, name: str, workers: int) -> None:
    settings = with_defaults(TrainSettings(epochs=EPOCHS, dropout=0, batch_size=12))
    fit_on_ray(store, settings, name, fit_and_keep_weights, workers=workers, gpu=False, checkpoint_s=0)


@pytest.mark.slow
def test_two_workers_end_with_the_weights_that_one_ends_with_whatever_is_killed(extracted: Store) -> None:
    run(extracted, "calm", workers=1)
    run(extracted, "calm", workers=2)
    run(extracted, "kill", workers=2)
    one, *others = (weights(extracted, name) for name in ("calm-1-0", "calm-2-0", "calm-2-1", "kill-2-0", "kill-2-1"))
    for a, b in zip(one, others[0], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    for other in others[1:]:  # workers of a group agree to the last bit, whether one was killed or not
        for a, b in zip(others[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    first, last = map(int, (extracted.out / "kill-2-0.epochs").read_text().split())
    assert (first, last) == (KILLED_AFTER + 1, EPOCHS)  # it went on from its checkpoint


@pytest.mark.slow
def test_one_task_trains_what_one_worker_of_ray_train_trains(extracted: Store) -> None:
    run(extracted, "alone", workers=1)
    train(extracted, TrainSettings(epochs=EPOCHS, dropout=0, batch_size=12))
    network = Network.load(extracted.path("models/mlp")).network
    for a, b in zip(weights(extracted, "alone-1-0"), network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_gpu_that_is_asked_for_and_not_there_is_said_at_once(extracted: Store) -> None:
    with pytest.raises(ConfigError, match="the cluster has 0; leave --gpu out"):
        train(extracted, TrainSettings(epochs=2), gpu=True)


class FullDisk:
    epoch = 3
    history = ()

    @property
    def arrays(self):
        raise OSError(28, "No space left on device")


def test_a_full_disk_costs_a_checkpoint_and_not_the_training(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert not _written(tmp_path, FullDisk())
    assert "checkpoint of epoch 3 not written (No space left on device); training goes on" in capsys.readouterr().out


@pytest.mark.thorough
def test_a_checkpoint_comes_back_as_it_was_written(tmp_path: Path) -> None:
    from ray.train import Checkpoint

    from musicrec.models.fitting import Snapshot

    state = Snapshot(2, [np.arange(3.0), np.array(7)], [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}])
    assert _written(tmp_path, state)
    again = _snapshot(Checkpoint.from_directory(tmp_path))
    assert again.epoch == 2
    assert again.history == state.history
    for a, b in zip(again.arrays, state.arrays, strict=True):
        np.testing.assert_array_equal(a, b)
    assert _snapshot(None) is None
