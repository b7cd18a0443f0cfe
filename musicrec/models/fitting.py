"""The training loop, the same on one worker or several: data-parallel TensorFlow under Keras 3.

Keras' own ``fit`` does not work with TensorFlow's multi-worker strategy, so the step is written out: each worker takes
its share of the global batch, the loss is summed over the share and divided by the *global* batch, and gradients and
batch statistics are added up over the workers. One worker and several therefore take the same steps.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import ModelError
from musicrec.models.batches import Batch, Batches
from musicrec.models.inference import apply, compiled
from musicrec.models.inputs import Chosen, Reader, Songs, ahead
from musicrec.models.losses import cross_entropy, losses_and_hits, supervised_contrastive
from musicrec.settings import TrainSettings

if TYPE_CHECKING:
    import keras

Metrics = dict[str, float]
Tensor = Any

WARM_UP = 0.05  # share of the steps of a cosine schedule
LEAST_LOSS = 1e-4  # a loss must fall by so much to count as better


class Tested(NamedTuple):
    """Songs on which a training is monitored, in order of their rows."""

    songs: Songs
    y: NDArray[np.int32]
    weights: NDArray[np.float64]  # how much each counts in the loss
    rows: NDArray[np.intp]


class Snapshot(NamedTuple):
    """The state of a training between two epochs, from which it goes on as if it had never stopped."""

    epoch: int  # epochs done
    arrays: list[NDArray[Any]]  # variables of the network, then of the optimizer
    history: list[Metrics]


def fit(
    build: Callable[[], "keras.Model"],
    learn: Batches,
    test: Tested,
    settings: TrainSettings,
    *,
    reader: Reader,
    embedding_layer: str,
    watched: Tested | None = None,
    rank: int = 0,
    world: int = 1,
    start: Snapshot | None = None,
    on_epoch: Callable[[Metrics, Callable[[], Snapshot]], None] = lambda metrics, snapshot: None,
) -> "keras.Model":
    """Train a network.

    Parameters
    ----------
    build : callable
        Makes the untrained network.
    learn : Batches
        What it learns from; the same on every worker.
    test : Tested
        Songs whose loss and accuracy the learning curve shows.
    settings : TrainSettings
        With nothing left open.
    reader : Reader
        Turns the tested songs into examples.
    embedding_layer : str
        Layer that the contrastive loss looks at.
    watched : Tested, optional
        Songs by which ``patience`` decides; neither learned from nor tested.
    rank, world : int
        This worker and how many there are.
    start : Snapshot, optional
        State from which to go on.
    on_epoch : callable
        Called after every epoch with epoch, loss, accuracy, test_loss, test_accuracy and, where songs are watched,
        watched_loss, and with a function that takes a snapshot.

    Returns
    -------
    keras.Model
        The trained network, the same on every worker.

    Raises
    ------
    ModelError
        The loss is no longer a number, or the songs are fewer than two or than the workers.
    """
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy() if world > 1 else tf.distribute.get_strategy()
    with strategy.scope():
        network = _built(build, settings)
        optimizer = _optimizer(settings, learn.steps)
        optimizer.build(network.trainable_variables)
    variables = [*network.variables, *optimizer.variables]
    step = _step(strategy, network, optimizer, settings, embedding_layer=embedding_layer, world=world)
    evaluate = _evaluation(strategy, network, reader, settings, rank=rank, world=world)
    history = list(start.history) if start else []
    if start:
        for variable, value in zip(variables, start.arrays, strict=True):
            variable.assign(value)
    losses = [row["watched_loss"] for row in history if "watched_loss" in row]
    for epoch in range(len(history), settings.epochs or 0):
        if _is_over(losses, settings.patience):
            break
        loss, accuracy = _mean(step(*_tensors(batch)) for batch in ahead(learn.epoch(epoch, rank, world)))
        if not np.isfinite(loss):
            raise ModelError(
                f"the loss of epoch {epoch + 1} is {loss}; train with a smaller --learning-rate than "
                f"{settings.learning_rate:g}"
            )
        if watched:
            losses.append(evaluate(watched)[0])
        if settings.ema and (epoch + 1 == settings.epochs or _is_over(losses, settings.patience)):
            optimizer.finalize_variable_values(network.trainable_variables)
        test_loss, test_accuracy = evaluate(test)
        history.append(
            {
                "epoch": epoch + 1, "loss": loss, "accuracy": accuracy,
                "test_loss": test_loss, "test_accuracy": test_accuracy,
            }
            | ({"watched_loss": losses[-1]} if watched else {})
        )  # fmt: skip
        on_epoch(
            history[-1],
            lambda: Snapshot(len(history), [np.asarray(v) for v in variables], list(history)),
        )
    return network


def _is_over(losses: Sequence[float], patience: int) -> bool:
    """Return whether a loss has not improved for `patience` epochs."""
    best, since = np.inf, 0
    for loss in losses:
        since = 0 if loss < best - LEAST_LOSS else since + 1
        best = min(best, loss)
    return 0 < patience <= since


def _built(build: Callable[[], "keras.Model"], settings: TrainSettings) -> "keras.Model":
    import keras

    keras.utils.set_random_seed(settings.seed)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if settings.precision == "bfloat16" else "float32")
    try:
        return build()
    finally:
        keras.config.set_dtype_policy(before)


def _optimizer(settings: TrainSettings, steps_an_epoch: int) -> "keras.optimizers.Optimizer":
    import keras

    rate: Any = settings.learning_rate
    if settings.cosine:
        steps = max(1, steps_an_epoch * (settings.epochs or 1))
        warm_up = int(WARM_UP * steps)
        rate = keras.optimizers.schedules.CosineDecay(
            rate / 100 if warm_up else rate,
            steps - warm_up,
            warmup_target=rate if warm_up else None,
            warmup_steps=warm_up,
        )
    ema = {"use_ema": True, "ema_momentum": settings.ema} if settings.ema else {}
    optimizer = keras.optimizers.Adam(rate, weight_decay=settings.weight_decay or None, **ema)
    if settings.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _step(
    strategy: Any,  # noqa: ANN401 - TensorFlow's
    network: "keras.Model",
    optimizer: "keras.optimizers.Optimizer",
    settings: TrainSettings,
    *,
    embedding_layer: str,
    world: int,
) -> Callable[..., tuple[Tensor, Tensor]]:
    """Make a function that takes a step on one worker and returns the loss and hits of the whole step, and its size."""
    import keras
    import tensorflow as tf

    both = keras.Model(network.inputs[0], [network.get_layer(embedding_layer).output, *network.outputs])
    loss_of = cross_entropy(settings.output)

    def gathered(*values: Tensor) -> Sequence[Tensor]:
        if world == 1:
            return values
        context = tf.distribute.get_replica_context()
        return [context.all_gather(value, axis=0) for value in values]

    def replica(
        inputs: Tensor, targets: Tensor, about: tuple[Tensor, ...], weights: Tensor, size: Tensor
    ) -> tuple[Tensor, Tensor]:
        with tf.GradientTape() as tape:
            embeddings, probabilities = both(inputs, training=True)
            classified = loss_of(targets, probabilities, sample_weight=weights)
            loss = classified / size
            loss += tf.add_n(network.losses) / world if network.losses else 0.0
            if settings.contrastive:
                units = tf.math.l2_normalize(tf.cast(embeddings, tf.float32), axis=1)
                everyone, *others = gathered(units, *about)
                pulled = supervised_contrastive(units, about, everyone, tuple(others), weights)
                loss += settings.contrastive * pulled / size
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        hits = tf.equal(tf.argmax(probabilities, axis=1, output_type=tf.int32), about[0])
        return classified, tf.reduce_sum(tf.cast(hits, tf.float32))

    @tf.function(reduce_retracing=True)
    def step(
        inputs: Tensor, targets: Tensor, about: tuple[Tensor, ...], weights: Tensor, size: Tensor
    ) -> tuple[Tensor, Tensor]:
        sums = strategy.run(replica, args=(inputs, targets, about, weights, size))
        loss, hits = (strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None) for value in sums)
        return tf.stack([loss, hits]), size

    return step


def _tensors(batch: Batch) -> tuple[Any, ...]:
    import tensorflow as tf

    about = tuple(map(tf.constant, (batch.labels, batch.artists, batch.songs)))
    inputs, targets, weights = map(tf.constant, (batch.inputs, batch.targets, batch.weights))
    return inputs, targets, about, weights, tf.constant(float(batch.size))


def _mean(steps: Iterator[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """Return loss and accuracy over the steps of an epoch; numbers are fetched at the end, not after each step."""
    done = list(steps)
    if not done:
        raise ModelError("the training songs are too few for a step; add songs, or train with fewer --workers")
    sums, sizes = zip(*done, strict=True)
    loss, hits = np.sum([np.asarray(s) for s in sums], axis=0) / np.sum([float(size) for size in sizes])
    return float(loss), float(hits)


def _evaluation(
    strategy: Any,  # noqa: ANN401 - TensorFlow's
    network: "keras.Model",
    reader: Reader,
    settings: TrainSettings,
    *,
    rank: int,
    world: int,
) -> Callable[[Tested], tuple[float, float]]:
    """Make a function that returns loss and accuracy on some songs, of which each worker tests a share."""
    import tensorflow as tf

    forward = compiled(network)

    @tf.function
    def added_up(sums: Tensor) -> Tensor:
        everyones = strategy.run(lambda: sums)
        return strategy.reduce(tf.distribute.ReduceOp.SUM, everyones, axis=None)

    def evaluate(tested: Tested) -> tuple[float, float]:
        rows = tested.rows[rank::world]
        sums = np.zeros(3, np.float64)
        if len(rows):
            probabilities = apply(forward, reader, Chosen(tested.songs, rows), network.outputs[0].shape[-1])
            judged = losses_and_hits(probabilities, tested.y[rows], settings.output, tested.weights[rows])
            sums[:] = *judged, len(rows)
        if world > 1:
            sums = np.asarray(added_up(tf.constant(sums)))
        return float(sums[0] / sums[2]), float(sums[1] / sums[2])

    return evaluate
