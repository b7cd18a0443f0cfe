"""Notes in the work folder of how far the golden vectors of each node are from those of the model's card."""

import json

from musicrec.cluster.lazy_ray import ray
from musicrec.files.paths import AnyPath, children, read_bytes, remove, write_atomic
from musicrec.models.pretrained.card import Card

SUFFIX = ".golden"


def forget_golden(folder: AnyPath) -> None:
    """Remove the notes of a run that was stopped."""
    for note in children(folder, f"*{SUFFIX}"):
        remove(note)


def note_golden(folder: AnyPath, difference: float) -> None:
    """Write the note of this node."""
    node = ray.get_runtime_context().get_node_id()
    write_atomic(folder / f"{node}{SUFFIX}", json.dumps(difference).encode())


def describe_golden(folder: AnyPath, card: Card) -> tuple[str, ...]:
    """Say how far apart the nodes' golden vectors were; nothing if no node has run the model."""
    differences = [json.loads(read_bytes(note)) for note in children(folder, f"*{SUFFIX}")]
    if not differences:
        return ()
    nodes = "this node" if len(differences) == 1 else f"{len(differences)} nodes"
    return (
        f"golden vectors of {nodes} differ from the card's by {max(differences):.1g} of their length at most, "
        f"{card.tolerance:g} is allowed",
    )
