"""Check the large libraries: run a task on Ray and a layer in TensorFlow."""

import time

import numpy as np

from musicrec import __version__
from musicrec.errors import ConfigError, MusicrecError

SECONDS_FOR_A_TASK = 60


def ray() -> str:
    """Start Ray on this machine and run a task that uses musicrec."""
    import ray

    from musicrec.cluster.tasks import connect

    started = time.monotonic()
    try:
        connect("local")
    except ConfigError as e:
        raise MusicrecError(f"Ray {ray.__version__} does not start: {e.__cause__}") from e
    found = ray.get(ray.remote(max_retries=0)(_version).remote(), timeout=SECONDS_FOR_A_TASK)
    if found != __version__:
        raise MusicrecError(f"a task of Ray {ray.__version__} uses musicrec {found} instead of {__version__}")
    n_cpus = int(ray.cluster_resources()["CPU"])
    seconds = time.monotonic() - started
    ray.shutdown()
    return f"{ray.__version__} started on {n_cpus} CPUs and ran a task in {seconds:.1f} s"


def _version() -> str:
    return __version__


def tensorflow() -> str:
    """Apply a layer to whole numbers, for which the result is exact."""
    from musicrec.models.network import import_keras

    keras = import_keras()
    import tensorflow

    layer = keras.layers.Dense(2, activation="relu")
    network = keras.Sequential([keras.Input((3,)), layer])
    inputs, weights, bias = np.array([[1, -2, 3]]), np.array([[1, -4], [2, 5], [3, 6]]), np.array([4, -7])
    layer.set_weights([weights, bias])
    found, expected = np.asarray(network(inputs.astype(np.float32))), np.maximum(inputs @ weights + bias, 0)
    if (found != expected).any():
        raise MusicrecError(f"TensorFlow {tensorflow.__version__} computes {found.tolist()}, not {expected.tolist()}")
    n_gpus = len(tensorflow.config.list_physical_devices("GPU"))
    return f"{tensorflow.__version__} with Keras {keras.__version__}; GPUs: {n_gpus or 'none'}"
