"""The training loop: what stops it, what it goes on from, and in which numbers it counts."""

import numpy as np
import pytest

from musicrec.errors import ModelError
from musicrec.models import TrainingSet, with_defaults
from musicrec.models.training import train_model
from musicrec.settings import TrainSettings

pytestmark = pytest.mark.engine

N, FEATURES, CLASSES = 36, 6, 3
SMALL = {"epochs": 4, "batch_size": 12, "scaling": "standardised"}


def songs(seed=0, per_artist=2) -> TrainingSet:
    draw = np.random.default_rng(seed)
    y = (np.arange(N) % CLASSES).astype(np.int32)
    X = (draw.normal(size=(N, FEATURES)) + 4 * np.eye(CLASSES, FEATURES)[y]).astype(np.float32)
    ids = [f"s{i:02d}" for i in range(N)]
    artists = [f"{y[i]}-{i // (CLASSES * per_artist)}" for i in range(N)]
    return TrainingSet(ids, X, y, list("abc"), artists, ids, {})


def train(of=None, learn=None, **settings):
    """A network, its learning curve, and a snapshot after every epoch."""
    of = of or songs()
    how = {name: settings.pop(name) for name in ("start",) if name in settings}
    test = np.arange(N) >= N - 9
    full = with_defaults(TrainSettings(**(SMALL | settings)))
    card = {"model": "mlp", "classes": of.classes, "input": {"reads": "features", "shape": [FEATURES]}}
    snapshots = []
    model = train_model(
        of, ~test if learn is None else learn, test, full, card,
        on_epoch=lambda metrics, snapshot: snapshots.append(snapshot()), **how,
    )  # fmt: skip
    return model, snapshots[-1].history if snapshots else None, snapshots


def weights(model):
    return model.network.get_weights()


def assert_same_weights(a, b, atol=1e-6):
    for one, other in zip(weights(a), weights(b), strict=True):
        np.testing.assert_allclose(one, other, atol=atol)


def differ(a, b):
    return any(np.abs(one - other).max() > 1e-4 for one, other in zip(weights(a), weights(b), strict=True))


# --- going on -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"dropout": 0.0}, marks=pytest.mark.slow),
        {"dropout": 0.5, "ema": 0.8, "cosine": True, "weight_decay": 0.01, "learning_rate": 0.01},
    ],
    ids=["plain", "dropout, moving average and cosine"],
)
def test_a_training_that_goes_on_ends_where_one_that_never_stopped_ends(settings):
    whole, history, snapshots = train(**settings)
    assert [snapshot.epoch for snapshot in snapshots] == [1, 2, 3, 4]
    again, history_again, rest = train(start=snapshots[1], **settings)
    assert [snapshot.epoch for snapshot in rest] == [3, 4]
    assert_same_weights(whole, again)
    for row, other in zip(history, history_again, strict=True):
        assert other == pytest.approx(row, abs=1e-5)
    assert differ(whole, train(**(settings | {"epochs": 2}))[0])  # else going on would show nothing


def test_a_training_that_was_over_is_not_done_again():
    whole, _, snapshots = train()
    again, _, more = train(start=snapshots[-1])
    assert more == []
    assert_same_weights(whole, again)


# --- stopping -----------------------------------------------------------------------------------------------------


def noise() -> TrainingSet:
    """Songs whose genre nothing tells: the loss on others gets worse, soon."""
    return songs()._replace(X=np.random.default_rng(1).normal(size=(N, FEATURES)).astype(np.float32))


HASTY = {"epochs": 30, "learning_rate": 0.05, "patience": 2}


def test_patience_stops_a_training_that_gets_no_better():
    assert len(train(noise(), **HASTY)[1]) < 30
    assert len(train(noise(), **(HASTY | {"epochs": 8, "patience": 0}))[1]) == 8


def test_patience_goes_on_with_what_it_has_seen():
    whole, history, snapshots = train(noise(), **HASTY)
    again, history_again, _ = train(noise(), start=snapshots[-2], **HASTY)
    assert len(history_again) == len(history)
    assert_same_weights(whole, again)


def test_songs_that_patience_watches_are_neither_learned_from_nor_tested(monkeypatch):
    from musicrec.models import fitting

    seen = {}
    fit = fitting.fit

    def spied(build, learn, test, settings, *, watched, **how):
        seen.update(learn=learn._rows, test=test.rows, watched=watched.rows)
        return fit(build, learn, test, settings, watched=watched, **how)

    monkeypatch.setattr(fitting, "fit", spied)
    of = songs()
    train(of, patience=1, epochs=1)
    assert sorted(np.concatenate(list(seen.values()))) == list(range(N))
    artists = np.array(of.groups)
    assert len(seen["watched"]) > 0
    assert not set(artists[seen["watched"]]) & set(artists[seen["learn"]])


def test_patience_without_songs_to_watch_is_refused():
    one_artist_a_genre = songs(per_artist=N)
    with pytest.raises(ModelError, match="train without it"):
        train(one_artist_a_genre, patience=1)


@pytest.mark.parametrize("how", [{"epochs": 3}, HASTY], ids=["to the end", "by patience"])
def test_the_moving_average_is_what_is_kept(how):
    """The last weights are the average of those after every step; a step an epoch makes it short."""
    momentum = 0.5
    how = how | {"ema": momentum, "dropout": 0.0, "batch_size": N}
    kept, _, snapshots = train(noise(), **how)
    plain, _, every = train(noise(), **(how | {"ema": 0.0}))
    assert len(every) == len(snapshots)
    trained = [i for i, v in enumerate(plain.network.variables) if v.trainable]
    average = [every[0].arrays[i] for i in trained]
    for snapshot in every[1:]:
        average = [momentum * a + (1 - momentum) * snapshot.arrays[i] for a, i in zip(average, trained, strict=True)]
    for i, expected in zip(trained, average, strict=True):
        np.testing.assert_allclose(np.asarray(kept.network.variables[i]), expected, atol=1e-4)
    assert differ(kept, plain)


def test_the_curve_ends_with_the_network_that_is_kept():
    from musicrec.models.losses import losses_and_hits

    of = songs()
    for settings in ({}, {"ema": 0.9}, {"output": "sigmoid"}):
        model, history, _ = train(of, **settings)
        loss, hits = losses_and_hits(model.predict_proba(of.X[-9:]), of.y[-9:], settings.get("output"))
        assert history[-1]["test_loss"] == pytest.approx(loss / 9, rel=1e-4)
        assert history[-1]["test_accuracy"] == pytest.approx(hits / 9)


# --- numbers ------------------------------------------------------------------------------------------------------


def test_bfloat16_trains_hidden_layers_and_answers_in_float32(tmp_path):
    import keras

    from musicrec.models import load

    of = songs()
    model, history, _ = train(of, precision="bfloat16", epochs=10, learning_rate=0.01)
    assert model.network.get_layer("dense").compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32"  # whatever comes after
    probabilities, vectors = model.predict_proba(of.X), model.embed(of.X)
    assert (probabilities.dtype, vectors.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)  # bfloat16 is good to 1 in 256
    assert history[-1]["accuracy"] > 0.8
    model.save(tmp_path)
    np.testing.assert_allclose(load(tmp_path).predict_proba(of.X), probabilities, atol=1e-6)


def test_a_training_that_diverges_says_what_to_do():
    with pytest.raises(ModelError, match="smaller --learning-rate than 1e\\+30") as error:
        train(learning_rate=1e30)
    assert "\n" not in str(error.value)


def test_missing_and_infinite_features_count_as_the_median_of_the_songs_learned_from():
    holed = songs()
    holed.X[0, 0], holed.X[4, 1], holed.X[7, 2], holed.X[-1, 3] = np.nan, np.inf, -np.inf, np.nan
    model, history, _ = train(holed)
    assert np.isfinite([row["loss"] for row in history]).all()
    learned = np.where(np.isfinite(holed.X), holed.X, np.nan)[: N - 9]
    filled = np.where(np.isfinite(holed.X), holed.X, np.nanmedian(learned, axis=0)).astype(np.float32)
    np.testing.assert_allclose(model.predict_proba(holed.X), model.predict_proba(filled), atol=1e-6)
    assert_same_weights(model, train(songs()._replace(X=filled))[0], atol=1e-4)


def test_a_genre_that_is_not_learned_from_keeps_its_column():
    of = songs()
    learn = (of.y != 1) & (np.arange(N) < N - 9)
    model, history, _ = train(of, learn, epochs=10, learning_rate=0.01)
    probabilities = model.predict_proba(of.X)
    assert probabilities.shape == (N, CLASSES)
    assert probabilities[learn, 1].mean() < 0.2
    assert np.isfinite(history[-1]["test_loss"])


def test_too_few_songs_for_a_step_are_said():
    with pytest.raises(ModelError, match="songs"):
        train(learn=np.arange(N) == 0)
