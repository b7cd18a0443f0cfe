"""The training loop, the same on one worker or several: data-parallel TensorFlow under Keras 3.

Keras' own ``fit`` does not work with TensorFlow's multi-worker strategy, so the step is written out: each worker takes
its share of the global batch, the loss is summed over the share and divided by the *global* batch, and gradients and
batch statistics are added up over the workers. One worker and several therefore take the same steps.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from musicrec.settings import TrainSettings

if TYPE_CHECKING:
    import keras

Songs = tuple[NDArray[np.float32], NDArray[np.int32]]


def epoch_batches(
    n: int, epoch: int, settings: TrainSettings, rank: int, world: int
) -> Iterator[tuple[NDArray[np.intp], int]]:
    """A worker's share of each global batch, and the size of the whole batch.

    The shuffle depends on seed and epoch alone. Every worker gets equally many shares: a remainder of fewer songs than
    workers waits for another epoch.
    """
    order = np.random.default_rng([settings.seed, epoch]).permutation(n)
    for start in range(0, n, settings.batch_size):
        batch = order[start : start + settings.batch_size]
        if len(batch) >= max(world, 2):  # batch statistics of a single song are void
            yield batch[rank::world], len(batch)


def fit(
    build: Callable[[], "keras.Model"],
    learn: Songs,
    test: Songs,
    settings: TrainSettings,
    *,
    rank: int = 0,
    world: int = 1,
    on_epoch: Callable[[dict[str, float]], None] = lambda metrics: None,
) -> "keras.Model":
    """Train a network from scratch.

    Parameters
    ----------
    build : callable
        Makes the untrained network.
    learn, test : (numpy.ndarray, numpy.ndarray)
        Standardised inputs [n, …] and class indices [n]; the same on every worker.
    settings : TrainSettings
        Epochs, batch size, learning rate, seed.
    rank, world : int
        This worker and how many there are.
    on_epoch : callable
        Called with epoch, loss, accuracy, test_loss and test_accuracy after every epoch.

    Returns
    -------
    keras.Model
        The trained network, the same on every worker.
    """
    import keras
    import tensorflow as tf

    X, y = learn
    strategy = tf.distribute.MultiWorkerMirroredStrategy() if world > 1 else tf.distribute.get_strategy()
    keras.utils.set_random_seed(settings.seed)
    with strategy.scope():
        network = build()
        optimizer = keras.optimizers.Adam(settings.learning_rate)
        optimizer.build(network.trainable_variables)
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(reduction="sum")

    def replica_step(inputs: Any, labels: Any, batch_size: Any) -> None:  # noqa: ANN401 - tensors
        with tf.GradientTape() as tape:
            loss = cross_entropy(labels, network(inputs, training=True)) / batch_size
            loss += tf.add_n(network.losses) / world if network.losses else 0.0
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))

    @tf.function(reduce_retracing=True)
    def step(inputs: Any, labels: Any, batch_size: Any) -> None:  # noqa: ANN401 - tensors
        strategy.run(replica_step, args=(inputs, labels, batch_size))

    @tf.function(reduce_retracing=True)
    def evaluate(inputs: Any, labels: Any) -> tuple[Any, Any]:  # noqa: ANN401 - tensors
        probabilities = network(inputs, training=False)
        hits = keras.metrics.sparse_categorical_accuracy(labels, probabilities)
        return cross_entropy(labels, probabilities) / tf.cast(len(labels), tf.float32), tf.reduce_mean(hits)

    for epoch in range(settings.epochs):
        for share, batch_size in epoch_batches(len(X), epoch, settings, rank, world):
            step(tf.constant(X[share]), tf.constant(y[share]), tf.constant(float(batch_size)))
        loss, accuracy = evaluate(*map(tf.constant, learn))
        test_loss, test_accuracy = evaluate(*map(tf.constant, test))
        on_epoch(
            {
                "epoch": epoch + 1,
                "loss": float(loss),
                "accuracy": float(accuracy),
                "test_loss": float(test_loss),
                "test_accuracy": float(test_accuracy),
            }
        )
    return network
