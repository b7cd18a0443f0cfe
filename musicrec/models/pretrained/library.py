"""The models of this machine: a folder for each, with the ONNX file and its card.

They lie in ``~/.cache/musicrec/models``, or where the variable MUSICREC_CACHE says.
"""

import hashlib
import tempfile
from pathlib import Path

from musicrec.errors import ConfigError, ModelError
from musicrec.files.node_cache import make_cache, user_cache
from musicrec.files.paths import fsync
from musicrec.models.pretrained.card import Card, read_card, to_toml
from musicrec.models.pretrained.checks import check_golden, check_mates, golden_vectors
from musicrec.models.pretrained.session import Pretrained
from musicrec.settings import SPACE_NAME

FILE, CARD = "model.onnx", "card.toml"


def models_folder() -> Path:
    """Return the folder of this machine's models; it need not exist."""
    return user_cache() / "models"


def installed() -> list[Card]:
    """Return the cards of all models of this machine, by name."""
    return [read_card(path) for path in sorted(models_folder().glob(f"*/{CARD}"))]


def is_installed(name: str) -> bool:
    """Return whether a model is on this machine."""
    return (models_folder() / name / CARD).exists()


def read_model(name: str) -> tuple[bytes, Card]:
    """Return the ONNX file and the card of a model of this machine.

    Raises
    ------
    ConfigError
        There is no such model.
    ModelError
        Its file is not the one that was added.
    """
    folder = _folder(name)
    content, card = (folder / FILE).read_bytes(), read_card(folder / CARD)
    _check_weights(content, card)
    return content, card


def add(content: bytes, card: Card) -> Card:
    """Check a model and keep it on this machine, in the place of one with the same name.

    Parameters
    ----------
    content : bytes
        The ONNX file.
    card : Card
        What it reads and gives. If it has no golden vectors, they are computed.

    Returns
    -------
    Card
        The card with the hash of the file, and with golden vectors.

    Raises
    ------
    ModelError
        The file cannot be used, or it is not what the card says.
    """
    _check_file(content, card.name)
    _check_weights(content, card)
    model = Pretrained(content, card)
    made = golden_vectors(model)
    check_golden(model)
    check_mates(model)
    known = card.model_copy(update={"weights": _weights(content), "golden": card.golden or made})
    _write(models_folder() / card.name, {FILE: content, CARD: to_toml(known).encode()})
    return known


def remove(name: str) -> Path:
    """Remove a model from this machine, and return the folder that it was in.

    Raises
    ------
    ConfigError
        There is no such model.
    """
    folder = _folder(name)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as temporary:
        folder.rename(Path(temporary) / name)
    return folder


def _folder(name: str) -> Path:
    """Return the folder of a model; raise ConfigError if there is no such model."""
    if not SPACE_NAME.fullmatch(name) or not is_installed(name):
        known = ", ".join(card.name for card in installed()) or "none"
        raise ConfigError(
            f"there is no model {name} in {models_folder()} (there: {known}); add it: musicrec models add FILE.onnx "
            f"--card CARD.toml, or musicnn"
        )
    return models_folder() / name


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Make a folder with some files, which appears complete or not at all."""
    make_cache(folder.parent)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as temporary:
        made = Path(temporary) / "new"
        made.mkdir()
        for name, content in files.items():
            (made / name).write_bytes(content)
            fsync(made / name)
        if folder.exists():
            folder.rename(Path(temporary) / "old")
        made.rename(folder)


def _weights(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _check_weights(content: bytes, card: Card) -> None:
    if card.weights not in ("", _weights(content)):
        raise ModelError(
            f"model {card.name}: the file has SHA-256 {_weights(content)[:16]}…, the card says {card.weights[:16]}…; "
            f"add the file that the card is of"
        )


def _check_file(content: bytes, name: str) -> None:
    """Raise ModelError unless the file is ONNX and holds all its numbers itself."""
    import onnx

    try:
        graph = onnx.load_model_from_string(content).graph
    except Exception as e:
        raise ModelError(f"model {name}: the file is not ONNX; expected the export of one network") from e
    if not graph.node:
        raise ModelError(f"model {name}: the file is not ONNX, or its graph is empty; export it anew")
    apart = [t.external_data[0].value for t in graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    if apart:
        raise ModelError(f"model {name}: its weights are in another file, {apart[0]}; export it as one file")
