"""Lists of all songs before they are published, and what is kept of them for the next refresh.

The kept lists are in the folder of the published version.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from musicrec.files.paths import AnyPath, local_copy, read_bytes, write_folder
from musicrec.similarity.search.blocks import Lists
from musicrec.similarity.search.bounds import Projection
from musicrec.similarity.search.candidates import CandidateLists, room
from musicrec.similarity.search.refresh import Kept
from musicrec.similarity.search.screens import available

FOLDER = "_kept"
ABOUT = "about.json"
PROJECTION_ARRAYS = ("centre", "axes")


class Compared(NamedTuple):
    """Lists of all songs, and how they were made."""

    lists: Lists
    how: Mapping[str, Any] = MappingProxyType({})  # for the footer
    kept: Kept | None = None  # for the next refresh; None for approximate lists
    made_by: Mapping[str, Any] = MappingProxyType({})  # a refresh needs lists with the same values


def save(kept: Kept, folder: AnyPath, made_by: Mapping[str, Any]) -> None:
    """Write kept lists into a new folder.

    Parameters
    ----------
    kept : Kept
        Lists that are sorted.
    folder : pathlib.Path or upath.UPath
        Folder to create.
    made_by : mapping
        How the lists were made; :func:`load` compares it.
    """
    arrays = {name: array for name, array in kept.lists._asdict().items() if isinstance(array, np.ndarray)}
    arrays["keys"] = arrays["keys"][:, : kept.lists.depth]  # without the room for candidates
    arrays |= {name: getattr(kept.projection, name) for name in PROJECTION_ARRAYS}
    projection = {name: value for name, value in kept.projection._asdict().items() if name not in PROJECTION_ARRAYS}
    about = {"made_by": dict(made_by), "n": kept.n_published, "with_spares": kept.lists.depth, "frame": projection}
    with write_folder(folder) as local:
        for name, array in arrays.items():
            np.save(local / f"{name}.npy", array)
        (local / ABOUT).write_text(json.dumps(about), encoding="utf-8")


def load(folder: AnyPath, made_by: Mapping[str, Any]) -> Kept | None:
    """Read kept lists; None if they are missing, incomplete, made in another way, or unsuited to this processor."""
    try:
        about = json.loads(read_bytes(folder / ABOUT))
        if about["made_by"] != made_by:
            return None
        if about["frame"]["screen"] not in available():
            return None
        names = [name for name in (*CandidateLists._fields, *PROJECTION_ARRAYS) if name != "depth"]
        with local_copy(folder) as local:
            arrays = {name: np.load(local / f"{name}.npy") for name in names}
        projection = Projection(**about["frame"], **{name: arrays.pop(name) for name in PROJECTION_ARRAYS})
        n = about["with_spares"]
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    keys = room(len(arrays["songs"]), n)
    keys[:, :n] = arrays["keys"]
    return Kept(projection, CandidateLists(**arrays | {"keys": keys}, depth=n), about["n"])
