"""Spaces as the input of a model: the vectors that a song has in each, side by side.

The card of such a model holds the id and the length of each space. The space ``features`` is the model's feature set.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec import features
from musicrec.errors import ModelError, SchemaError
from musicrec.schemas import Reason
from musicrec.settings import OWN_SPACES, TAGS, TrainSettings
from musicrec.store.spaces import read_space, require_spaces, table_of, tags_as_vectors
from musicrec.store.store import Store

FEATURES = OWN_SPACES[1]

Array = NDArray[np.float32]


def input_of(store: Store, settings: TrainSettings) -> dict[str, Any]:
    """Return the input section of the card of a model that reads spaces.

    Raises
    ------
    ConfigError
        There is no space of that name.
    """
    require_spaces(store, settings.space)
    names = features.feature_names(settings.feature_set) if FEATURES in settings.space else []
    spaces = {name: _describe(store, name, names) for name in settings.space}
    width = sum(space["dimension"] for space in spaces.values())
    return {"reads": "spaces", "shape": [width], "spaces": spaces, "feature_names": names}


def _describe(store: Store, name: str, feature_names: Sequence[str]) -> dict[str, Any]:
    """Return id and dimension of a space."""
    if name != FEATURES:
        space = read_space(store, name)
        return {"id": space.space_id, "dimension": space.dimension}
    made_by = [list(feature_names), store.footer(FEATURES)["settings"]["sample_rate"]]
    space_id = hashlib.blake2b(json.dumps(made_by).encode(), digest_size=8).hexdigest()
    return {"id": space_id, "dimension": len(feature_names)}


def require_same_spaces(store: Store, card: dict[str, Any]) -> None:
    """Check that the spaces that a model reads are those that it was trained on.

    Raises
    ------
    ConfigError
        A space is gone.
    ModelError
        A space has another id; the message says which.
    """
    trained, names = card["input"]["spaces"], card["input"]["feature_names"]
    require_spaces(store, tuple(trained))
    now = {name: _describe(store, name, names) for name in trained}
    differences = [
        f"{name} was {trained[name]['id']}, now {now[name]['id']}" for name in trained if trained[name] != now[name]
    ]
    if differences:
        raise ModelError(
            f"model {card['model']} was trained on other vectors than {store.out} has: {'; '.join(differences)}; "
            f"train it again"
        )


def read_vectors(store: Store, card_input: dict[str, Any], track_ids: Sequence[str]) -> tuple[list[str], Array]:
    """Return the vectors of songs, one space beside the other.

    Parameters
    ----------
    store : Store
        OUT.
    card_input : dict
        The input section of the model's card.
    track_ids : sequence of str
        The songs.

    Returns
    -------
    list of str
        Those of the songs that every space has a vector of, by ascending id.
    numpy.ndarray
        float32 [n, sum of the dimensions].

    Raises
    ------
    SchemaError
        The vectors of a table are not as long as its footer says.
    """
    found = {name: _read(store, name, card_input, sorted(track_ids)) for name in card_input["spaces"]}
    ids = sorted(set.intersection(*(set(rows) for rows, _ in found.values())))
    matrices = []
    for rows, matrix in found.values():
        place = {track_id: i for i, track_id in enumerate(rows)}
        matrices.append(matrix[[place[track_id] for track_id in ids]])
    return ids, np.hstack(matrices)


def _read(store: Store, name: str, card_input: dict[str, Any], track_ids: list[str]) -> tuple[list[str], Array]:
    """Return which of the songs a space has vectors of, and the vectors [n, dimension]."""
    names, dimension = card_input["feature_names"], card_input["spaces"][name]["dimension"]
    if not track_ids:
        return [], np.empty((0, dimension), np.float32)
    track = pc.field("track_id")  # the limits spare reading row groups of other songs: tables are sorted
    wanted = (track >= track_ids[0]) & (track <= track_ids[-1]) & track.isin(track_ids)
    rows = store.read(table_of(name), ["track_id", *names] if name == FEATURES else None, wanted)
    matrix = rows.select(names).to_pandas().to_numpy("float32") if name == FEATURES else _lists(name, rows)
    if matrix.size != len(rows) * dimension:
        raise SchemaError(f"table {store.out / table_of(name)} holds vectors of other lengths than {dimension}")
    return rows["track_id"].to_pylist(), matrix.reshape(len(rows), dimension)


def _lists(name: str, rows: pa.Table) -> Array:
    """Return the numbers of all vectors in a row."""
    vectors = tags_as_vectors(rows) if name.startswith(TAGS) else rows
    numbers: Array = pc.list_flatten(vectors["embedding"]).to_numpy()
    return numbers


def lacking(store: Store, card_input: dict[str, Any]) -> dict[str, tuple[Reason, str]]:
    """Return why songs of the catalog cannot be read: reason and detail by track id."""
    why: dict[str, tuple[Reason, str]] = {}
    for name in card_input["spaces"]:
        have = set(store.read(table_of(name), ["track_id"])["track_id"].to_pylist())
        reason = Reason.NO_FEATURES if name == FEATURES else Reason.NO_VECTOR
        for track_id in store.track_ids():
            if track_id not in have:
                why.setdefault(track_id, (reason, f"it has no vector in the space {name}"))
    return why
