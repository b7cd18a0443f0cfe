"""What each of several spaces contributes to the cosines of a table: a file beside the lists in the sidecar."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import SchemaError
from musicrec.files.paths import AnyPath, write_folder
from musicrec.serve.sidecar import SIDECAR

SHARES = "shares.npy"  # float16 [N, n, spaces]: for each song of a list, the parts whose sum is the cosine
BLOCK_ROWS = 8192


def write_shares(folder: AnyPath, joined: NDArray[np.float32], widths: list[int], ids: NDArray[np.int32]) -> None:
    """Write the shares of a version into its sidecar.

    Parameters
    ----------
    folder : pathlib.Path or upath.UPath
        Folder of the version; nobody reads it yet.
    joined : numpy.ndarray
        float32 [N, Σd], the joined vectors of the songs.
    widths : list of int
        d of each space.
    ids : numpy.ndarray
        int32 [N, n], the lists.
    """
    from musicrec.similarity.joined_spaces import shares

    with write_folder(folder / SIDECAR) as sidecar:
        all_shares = np.empty((*ids.shape, len(widths)), np.float16)
        for first in range(0, len(ids), BLOCK_ROWS):
            block = slice(first, first + BLOCK_ROWS)
            all_shares[block] = shares(joined, widths, ids[block], first)
        np.save(sidecar / SHARES, all_shares)


def read_shares(folder: Path, shape: tuple[int, int, int]) -> NDArray[np.float16]:
    """Return the shares of a version, mapped; their shape must be that of the lists.

    Raises
    ------
    SchemaError
        The file is missing, cut short, or of another shape.
    """
    path = folder / SIDECAR / SHARES
    try:
        shares = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as e:
        raise SchemaError(f"{path} is not whole ({e}); make the table again: musicrec similar OUT") from e
    if (shares.shape, shares.dtype) != (shape, np.float16):
        raise SchemaError(f"{path} does not fit the other files; make the table again: musicrec similar OUT")
    return np.asarray(shares)
