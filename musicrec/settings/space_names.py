"""Names of spaces of vectors, and their weights where songs are compared in several at once."""

import math
import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator

SPACE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
OWN_SPACES = ("embeddings", "features")  # spaces that musicrec makes itself; the first is the default
TAGS = "tags/"  # how the name of a space begins whose vectors are the tags of a pretrained model


def _free(name: str) -> str:
    if SPACE_NAME.fullmatch(name) and name not in OWN_SPACES:
        return name
    raise ValueError(f"expected letters, digits, '_', '-' and '.', and not {' or '.join(OWN_SPACES)}")


SpaceName = Annotated[str, AfterValidator(_free)]  # of vectors that musicrec does not make itself


def is_space_name(name: str) -> bool:
    """Return whether a space can have this name, which is that of a model behind ``tags/`` for the model's tags."""
    return SPACE_NAME.fullmatch(name.removeprefix(TAGS)) is not None


def _to_read(space: tuple[str, ...]) -> tuple[str, ...]:
    is_valid = all(is_space_name(name) and name != OWN_SPACES[0] for name in space)
    if not is_valid or len(set(space)) < len(space):
        raise ValueError(f"expected each space once, by its name, and not {OWN_SPACES[0]}, which models make")
    return () if space == OWN_SPACES[1:] else tuple(sorted(space))


ReadSpaces = Annotated[tuple[str, ...], AfterValidator(_to_read)]  # by models; empty for the feature set alone
READ_SPACES = (
    "Space that the model reads, if it is one that reads features: features, which is its feature set, or one that "
    "musicrec vectors list shows. Repeat the option for several side by side. The default is features."
)


def weights_of(space: Sequence[str]) -> dict[str, float]:
    """Return the weight of each space by its name, from entries such as features=0.3; without any, of embeddings."""
    pairs = [entry.partition("=") for entry in space or OWN_SPACES[:1]]
    return {name: to_number(weight) if is_given else 1.0 for name, is_given, weight in pairs}


def to_number(text: str) -> float:
    """Return the number in a text; NaN if it holds none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
