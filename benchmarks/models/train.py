"""Training and embedding by a network: what reading and preparing the data costs beside the network itself.

training    songs per second of an epoch of `musicrec train` (songs in an unpacked table on disk, random excerpts, this
            project's step; a test of one song is included) beside Keras' own `fit` on ready arrays in memory: the same
            network, optimizer, loss and batches, in turns; medians of the epochs after the first. What Keras lacks is
            left out on our side too: SpecAugment and the contrastive loss. Keras compiles by XLA unless told
            otherwise: `fit` is measured both ways, and the bar is for the faster.
embedding   seconds of what `musicrec embed` does (Parquet, excerpts, forward pass, table) beside the forward pass
            alone on ready arrays, part by part in turns; everything compiled before.
peak        operations per second of training, and where there is a GPU their share of its peak.

The songs are real clips; for embedding they are read again and again until there are enough of them.
"""

import math
import os
import sys
import tempfile
import time
from contextlib import redirect_stderr
from io import StringIO
from itertools import accumulate, cycle
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.shared.common import audio_files, catalogued, evenly, parser, print_machine, print_table, verdict, wall
from musicrec.models import NETWORKS, Network, TrainingSet, with_defaults
from musicrec.models.inputs import Reader, ahead, chunks, reader
from musicrec.models.network import import_keras
from musicrec.settings import ExtractSettings, TrainSettings
from musicrec.stages.embed import _batches, _embedded
from musicrec.stages.extract.stage import extract
from musicrec.stages.model_inputs import load_training_set, read_songs, table_of, unpack
from musicrec.stages.train.stage import card_of
from musicrec.store.store import Store

if TYPE_CHECKING:
    import keras

BAR_TRAINING, BAR_EMBEDDING = 0.9, 1.1
PASSES = 3  # a step costs as much as three: forward once, backward twice
SPECTROGRAMS = ("cnn", "crnn", "resnet")


class Subject(NamedTuple):
    """A network, some songs and how it reads them."""

    settings: TrainSettings
    songs: TrainingSet
    card: dict[str, Any]
    read: Reader

    def build(self) -> "keras.Model":
        """Return the network, untrained."""
        return NETWORKS[self.settings.model].build(self.read.shape, len(self.songs.classes), self.settings)


def subject(store: Store, name: str, **settings: Any) -> Subject:  # noqa: ANN401 - settings
    """Return a network and the songs of OUT, without what Keras' `fit` cannot do."""
    full = with_defaults(TrainSettings(model=name, spec_augment=False, contrastive=0.0, **settings))
    unpack(store, table_of(full))
    songs = load_training_set(store, full)
    card = card_of(store, full, songs.classes, "benchmark")
    return Subject(full, songs, card, reader(card))


# --- training -----------------------------------------------------------------------------------------------------


class Plain:
    """Keras' own training of a network on ready arrays."""

    def __init__(self, of: Subject, rows: list[int], *, xla: bool) -> None:
        from musicrec.models.fitting import _optimizer

        rng = np.random.default_rng(0)
        self._x = np.stack([of.read.example(of.songs.X[i], rng) for i in rows])
        self._y = np.eye(len(of.songs.classes), dtype=np.float32)[of.songs.y[rows]]
        self._batch_size = of.settings.batch_size or 1
        self._network = of.build()
        loss = "binary_crossentropy" if of.settings.output == "sigmoid" else "categorical_crossentropy"
        optimizer = _optimizer(of.settings, math.ceil(len(rows) / self._batch_size))
        self._network.compile(optimizer, loss, metrics=["categorical_accuracy"], jit_compile=xla)

    def epoch(self) -> None:
        """Train for an epoch."""
        self._network.fit(self._x, self._y, batch_size=self._batch_size, verbose=0)


def training(of: Subject, rows: list[int]) -> list[float]:
    """Return the median seconds of an epoch of ours, of Keras and of Keras with XLA, in turns; the first is warm-up."""
    from musicrec.models.batches import Batches
    from musicrec.models.fitting import Tested, fit

    seconds: list[list[float]] = [[], [], []]
    twins: list[Plain] = []
    started = 0.0

    def build() -> "keras.Model":  # all three under the same precision
        twins.extend(Plain(of, rows, xla=xla) for xla in (False, True))
        return of.build()

    def in_turns(*_: object) -> None:
        nonlocal started
        seconds[0].append(time.perf_counter() - started)
        for twin, measured in zip(twins, seconds[1:], strict=True):
            measured.append(wall(twin.epoch)[1])
        started = time.perf_counter()

    songs, settings = of.songs, of.settings
    alike = np.ones(len(songs.y))
    how = {"weights": alike, "reader": of.read, "n_classes": len(songs.classes), "settings": settings}
    learn = Batches(songs.X, songs.y, songs.groups, np.array(rows), **how)
    watched = Tested(songs.X, songs.y, alike, np.array(rows[:1]))
    layer = NETWORKS[settings.model].EMBEDDING_LAYER
    fit(build, learn, watched, settings, reader=of.read, embedding_layer=layer, on_epoch=in_turns)
    return [median(measured[1:]) for measured in seconds]


def print_training(of: Subject, rows: list[int], peak_tflops: float | None) -> None:
    """Print the songs per second of the three, and our share of the peak."""
    ours, plain, xla = (len(rows) / seconds for seconds in training(of, rows))
    ratio = ours / max(plain, xla)
    cells = [f"{rate:.1f}" for rate in (ours, plain, xla)]
    bar = f"≥ {BAR_TRAINING} × {verdict(ratio >= BAR_TRAINING)}"
    head = ["training, songs/s", "musicrec train", "Keras fit", "Keras fit, XLA", "of the faster", "bar"]
    print_table(head, [[of.settings.model, *cells, f"{ratio:.2f} ×", bar]])
    per_s = ours * PASSES * operations(of.build()) / 1e12
    print(f"{of.settings.model}: {per_s:.3f} TFLOP/s in training, {share(per_s, peak_tflops)}\n", flush=True)


def share(tflops: float, peak_tflops: float | None) -> str:
    """Return the share of the GPU's peak, in words."""
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        return "on the CPU: no GPU here, so no share of its peak"
    return f"{tflops / peak_tflops:.1%} of the peak" if peak_tflops else "give --peak-tflops for the share of the peak"


def operations(network: "keras.Model") -> float:
    """Count the floating-point operations of a forward pass of one example: convolutions and matrix products."""
    total = 0.0
    for layer in network.layers:
        kernels = sum(math.prod(w.shape) for w in layer.trainable_variables if "kernel" in w.name)
        shape = layer.input.shape if type(layer).__name__ == "GRU" else layer.output.shape
        total += 2.0 * kernels * math.prod(shape[1:-1])
    return total


# --- embedding ----------------------------------------------------------------------------------------------------


def embedding(store: Store, of: Subject, clips: int) -> tuple[int, float, float]:
    """Return how many clips were embedded, and the seconds of the embed stage's way and of the forward pass alone."""
    from musicrec.models.inference import at_once, compiled

    trained = Network(of.build(), of.card)
    layer = trained.network.get_layer(NETWORKS[of.settings.model].EMBEDDING_LAYER)
    forward = compiled(import_keras().Model(trained.network.inputs, layer.output))
    done, path_s, forward_s = 0, 0.0, 0.0
    for part, warm_up in parts(store, table_of(of.settings), clips):
        songs = read_songs(pq.read_table(part), of.card["input"])
        ready = [examples for examples, _ in chunks(of.read, songs, at_once(of.read))]
        _, of_path = wall(lambda part=part: embedded(trained, part))
        _, of_forward = wall(lambda ready=ready: [forward(examples) for examples in ready])
        if not warm_up:
            done, path_s, forward_s = done + len(songs), path_s + of_path, forward_s + of_forward
    return done, path_s, forward_s


def parts(store: Store, table: str, clips: int) -> list[tuple[Path, bool]]:
    """Return the largest part of a table for warming up, then parts in turn until they hold so many clips."""
    files = [Path(part) for part in store.dataset(table).files]
    rows = [pq.read_metadata(file).num_rows for file in files]
    n = 1 + next(i for i, total in enumerate(accumulate(cycle(rows))) if total >= clips)
    turns = cycle(files)
    return [(max(zip(rows, files, strict=True))[1], True), *((next(turns), False) for _ in range(n))]


def embedded(trained: Network, part: Path) -> pa.Table:
    """Return the embeddings of the songs of a part, as a task of the embed stage makes them."""
    return pa.concat_tables([_embedded(trained, rows) for rows in ahead(_batches(trained, part))])


def print_embedding(store: Store, of: Subject, clips: int) -> None:
    """Print both times and their ratio."""
    done, path_s, forward_s = embedding(store, of, clips)
    bar = f"≤ {BAR_EMBEDDING} × {verdict(path_s <= BAR_EMBEDDING * forward_s)}"
    row = [of.settings.model, done, f"{path_s:.1f}", f"{forward_s:.1f}", f"{path_s / forward_s:.2f} ×", bar]
    print_table(["embedding", "clips", "musicrec embed s", "forward pass s", "of it", "bar"], [row])


def made(out: Path, clips: list[Path]) -> Store:
    """Make an OUT with the spectrograms of the clips."""
    store = Store(catalogued(out, clips, len(clips)))
    with redirect_stderr(StringIO()):
        extract(store, ExtractSettings(mel96=True))
    return store


def main() -> None:
    """Print a table of training and one of embedding for each network."""
    p = parser(__doc__, "python -m benchmarks.models.train --networks resnet --songs 128 --epochs 3 --clips 500")
    p.add_argument("--networks", nargs="+", choices=SPECTROGRAMS, default=SPECTROGRAMS, help="which (default all)")
    p.add_argument("--songs", type=int, help="songs to train on (default all there are)")
    p.add_argument("--epochs", type=int, default=6, help="with the first, which is not counted (default 6)")
    p.add_argument("--clips", type=int, default=10_000, help="clips to embed (default 10000)")
    p.add_argument(
        "--precision", choices=("float32", "bfloat16"), default="float32", help="of hidden layers, all sides"
    )
    p.add_argument("--peak-tflops", type=float, help="of the GPU at this precision, by its data sheet")
    options = p.parse_args()
    if options.epochs < 2:
        sys.exit("--epochs 2 at least: the first is not counted")
    import_keras()
    os.environ.pop("RAY_ADDRESS", None)
    clips = [file for folder in ("gtzan", "gtzan_crops") for file in audio_files(options.data / folder)]
    print_machine("keras", "tensorflow", "ray", "pyarrow")
    with tempfile.TemporaryDirectory() as folder:
        store = made(Path(folder) / "out", clips)
        how = {"epochs": options.epochs, "precision": options.precision}
        for of in (subject(store, name, **how) for name in options.networks):
            print_training(of, evenly(range(len(of.songs.y)), options.songs), options.peak_tflops)
            print_embedding(store, of, options.clips)


if __name__ == "__main__":
    main()
