"""Check that a network is what its card says, and that this machine runs it as others do."""

import socket

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import ModelError
from musicrec.features.front_ends import windows
from musicrec.models.pretrained.card import GoldenVector
from musicrec.models.pretrained.session import Output, Pretrained
from musicrec.models.pretrained.signals import SIGNALS, SignalName, signal

Array = NDArray[np.float32]

MATES_TOLERANCE = 1e-4  # other batches are summed in another order, and no more


def golden_vectors(model: Pretrained) -> tuple[GoldenVector, ...]:
    """Return the vectors that this machine computes of all golden clips.

    Raises
    ------
    ModelError
        A vector or a tag is NaN or infinite, or vectors or tags have different lengths.
    """
    outputs = {name: _output(model, name) for name in SIGNALS}
    lengths = {len(output.vector) for output in outputs.values()}
    if len(lengths) > 1:
        raise ModelError(f"model {model.card.name} gives vectors of {' and '.join(map(str, sorted(lengths)))} numbers")
    return tuple(GoldenVector(signal=name, vector=tuple(map(float, output.vector))) for name, output in outputs.items())


def _output(model: Pretrained, name: SignalName) -> Output:
    """Return what the model says of a golden clip, which is two windows long."""
    card = model.card
    output = model.embed(signal(name, card.sample_rate, card.window_s + card.hop_s))
    assert output is not None  # the clip is longer than a window
    if output.tags is not None and len(output.tags) != len(card.tags):
        found = f"output {card.tags_output} has {len(output.tags)} numbers, the card {len(card.tags)} tags"
        raise ModelError(f"model {card.name}: {found}; correct the card")
    for what, values in ("vector", output.vector), ("tags", output.tags):
        if values is not None and not np.isfinite(values).all():
            raise ModelError(f"model {card.name}: the {what} of golden clip {name} hold NaN or infinity")
    return output


def check_golden(model: Pretrained) -> float:
    """Return by how much this machine computes other vectors of the golden clips than the card holds.

    Returns
    -------
    float
        The largest difference, as a share of the length of a vector.

    Raises
    ------
    ModelError
        It is larger than the card allows.
    """
    card, worst = model.card, 0.0
    for golden in card.golden:
        mine, theirs = _output(model, golden.signal).vector, np.array(golden.vector)
        if len(mine) != len(theirs):
            found = f"{len(theirs)} numbers in the card, {len(mine)} from the file"
            raise ModelError(f"model {card.name}: golden vector {golden.signal} has {found}; correct the card")
        off = difference(mine, theirs)
        if not off <= card.tolerance:
            raise ModelError(
                f"model {card.name}: on {socket.gethostname()}, golden vector {golden.signal} differs by {off:.2g} of "
                f"its length, at most {card.tolerance:g} is allowed; the file, or onnxruntime on this machine, is "
                f"another than that of the card"
            )
        worst = max(worst, off)
    return worst


def difference(mine: NDArray[np.floating], theirs: NDArray[np.floating]) -> float:
    """Return the distance of two vectors, as a share of the length of the second."""
    return float(np.linalg.norm(mine - theirs) / max(float(np.linalg.norm(theirs)), 1e-30))


def check_mates(model: Pretrained) -> None:
    """Raise ModelError if the vector of a window depends on the windows that it is computed with."""
    if not model.takes_batches:
        return
    card = model.card
    batch = np.concatenate([_first_window(model, name) for name in SIGNALS])
    together = model.run(batch)[0]
    for i, name in enumerate(SIGNALS):
        off = difference(together[i], model.run(batch[i : i + 1])[0][0])
        if not off <= MATES_TOLERANCE:
            raise ModelError(
                f"model {card.name}: the vector of clip {name} changes by {off:.2g} of its length when other clips "
                f"are in its batch; export the model for inference, so that it normalises each clip on its own"
            )


def _first_window(model: Pretrained, name: SignalName) -> Array:
    card = model.card
    clip = signal(name, card.sample_rate, card.window_s + card.hop_s)
    parts = windows([clip], card.reads, card.sample_rate, window_s=card.window_s, hop_s=card.hop_s)
    return next(parts)[:1]
