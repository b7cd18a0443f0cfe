"""The checkpoints of the package ``musicnn``: fetched with its wheel from the package index, converted and kept.

No weights are part of musicrec. The package client checks the wheel's hash.
"""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import ModelError
from musicrec.features.front_ends import FRONT_ENDS
from musicrec.files.scratch import scratch_folder
from musicrec.models.network import require_tensorflow
from musicrec.models.pretrained import library, musicnn, musicnn_forward, vgg, vgg_forward
from musicrec.models.pretrained.card import Card
from musicrec.models.pretrained.checks import difference
from musicrec.models.pretrained.graph import Weights
from musicrec.models.pretrained.musicnn_forward import Outputs
from musicrec.models.pretrained.session import Pretrained
from musicrec.models.pretrained.signals import SIGNALS, signal
from musicrec.settings import resolve

VERSION = "0.1.0"
SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
SECONDS_TO_FETCH = 600
RATE, FRAMES, HOP = 16_000, 187, 256
SAME = 1e-4  # converted and described network differ by rounding only


class Checkpoint(NamedTuple):
    """A checkpoint of the wheel."""

    folder: str  # in the wheel
    labels: str  # the names of its tags in the wheel's configuration
    convert: Callable[[Weights], bytes]
    forward: Callable[[Weights, NDArray[np.float32]], Outputs]  # of one window, in NumPy


MUSICNN = musicnn.convert, musicnn_forward.forward
VGG_MSD, VGG_MTT = (
    (partial(vgg.convert, pools=pools), partial(vgg_forward.forward, pools=pools))
    for pools in (vgg.MSD_POOLS, vgg.MTT_POOLS)
)
CHECKPOINTS = {
    "musicnn": Checkpoint("MSD_musicnn", "MSD_LABELS", *MUSICNN),
    "musicnn-mtt": Checkpoint("MTT_musicnn", "MTT_LABELS", *MUSICNN),
    "vgg-msd": Checkpoint("MSD_vgg", "MSD_LABELS", *VGG_MSD),
    "vgg-mtt": Checkpoint("MTT_vgg", "MTT_LABELS", *VGG_MTT),
}


def add_checkpoint(name: str) -> Card:
    """Fetch the wheel, convert a checkpoint, check it and keep it on this machine.

    Parameters
    ----------
    name : str
        One of ``CHECKPOINTS``. MSD is the Million Song Dataset, MTT is MagnaTagATune.

    Raises
    ------
    ModelError
        The package index is out of reach, or the converted network does not compute what the checkpoint means.
    """
    checkpoint = CHECKPOINTS[name]
    with scratch_folder() as folder:
        with zipfile.ZipFile(fetch(folder)) as files:
            files.extractall(folder)
        package = folder / "musicnn"
        weights = read_checkpoint(package / checkpoint.folder)
        card = card_of(name, tags_of(package / "configuration.py", checkpoint.labels))
    content = checkpoint.convert(weights)
    check_converted(Pretrained(content, card), weights)
    return library.add(content, card)


def fetch(folder: Path) -> Path:
    """Fetch the wheel into a folder by pip; return its path.

    Raises
    ------
    ModelError
        pip is missing, cannot reach the index, or finds another file under the name.
    """
    wanted = folder / "requirements.txt"
    wanted.write_text(f"musicnn=={VERSION} --hash=sha256:{SHA256}\n")
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    environment = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_RETRIES": "2"} | dict(os.environ)
    try:
        ended = subprocess.run(
            [*download, "--dest", str(folder), "--requirement", str(wanted)],
            capture_output=True, text=True, check=False, timeout=SECONDS_TO_FETCH, env=environment,
        )  # fmt: skip
    except subprocess.TimeoutExpired as e:
        raise ModelError(f"musicnn=={VERSION}: no answer from the package index in {SECONDS_TO_FETCH} s") from e
    if ended.returncode:
        said = [line for line in ended.stderr.splitlines() if line.startswith("ERROR: ")] or ended.stderr.splitlines()
        raise ModelError(
            f"musicnn=={VERSION} cannot be fetched from the package index ({said[0] if said else 'pip failed'}); "
            f"check the network and pip's settings, then give the same command again"
        )
    return next(folder.glob("musicnn-*.whl"))


def card_of(name: str, tags: tuple[str, ...]) -> Card:
    """Return the card of a converted checkpoint."""
    length_s, folder = FRAMES * HOP / RATE, CHECKPOINTS[name].folder
    says: dict[str, object] = {
        "name": name,
        "licence": "ISC",
        "source": f"musicnn {VERSION}, {folder} (Music Technology Group, Universitat Pompeu Fabra, 2019)",
        "sample_rate": RATE,
        "front_end": "musicnn",
        "window_s": length_s,
        "hop_s": length_s,
        "output": "embedding",
        "tags_output": "tags",
        "tags": tags,
    }
    return resolve(Card, says)


def read_checkpoint(folder: Path) -> Weights:
    """Return the variables of a checkpoint of TensorFlow, without those of its training."""
    require_tensorflow()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silent():
        import tensorflow as tf

        reader = tf.compat.v1.train.NewCheckpointReader(f"{folder}{os.sep}")  # its prefix is the folder alone
    names = reader.get_variable_to_shape_map()
    return {name: reader.get_tensor(name) for name in names if "Adam" not in name}


@contextmanager
def _silent() -> Iterator[None]:
    """Drop what libraries write to standard error: TensorFlow looks for a GPU before its log level counts."""
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def tags_of(configuration: Path, name: str) -> tuple[str, ...]:
    """Return the names of the tags from the source text of the wheel's configuration, which is not run."""
    import ast

    for node in ast.parse(configuration.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]:
            return tuple(ast.literal_eval(node.value))
    raise ModelError(f"musicnn=={VERSION} has no {name}; this is a defect of musicrec, please report it")


def check_converted(model: Pretrained, weights: Weights) -> None:
    """Raise ModelError unless a converted network computes what its description in NumPy does."""
    forward = CHECKPOINTS[model.card.name].forward
    for name in SIGNALS:
        clip = signal(name, RATE, model.card.window_s)
        window = FRONT_ENDS["musicnn"].transform(clip)[:FRAMES]
        for mine, theirs in zip(model.run(window[None]), forward(weights, window), strict=True):
            if not difference(mine[0], np.asarray(theirs)) <= SAME:
                raise ModelError(f"model {model.card.name}: converted, it computes other numbers of clip {name}")
