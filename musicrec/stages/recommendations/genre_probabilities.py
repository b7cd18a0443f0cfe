"""The genre probabilities of songs, by which the method ``genre`` ranks."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.errors import ConfigError
from musicrec.store.store import Store


def genre_probabilities(store: Store, track_ids: pa.Array) -> NDArray[np.float64]:
    """Return the genre probabilities of each song, float64 [n_songs, n_genres]; zeros where the model gives none.

    Raises
    ------
    ConfigError
        There are no embeddings, or they have no genre probabilities.
    """
    found = store.read("embeddings", ["track_id", "probabilities"]) if store.exists("embeddings") else None
    given = found.filter(pc.greater(pc.list_value_length(found["probabilities"]), 0)) if found is not None else None
    if given is None or not len(given):
        raise ConfigError(
            f"the method genre needs the genre probabilities of embeddings; run: musicrec embed {store.out}"
        )
    rows = np.array(given["probabilities"].to_pylist(), np.float64)
    place = pc.fill_null(pc.index_in(track_ids, value_set=given["track_id"].combine_chunks()), -1).to_numpy()
    return np.where(place[:, None] >= 0, rows[place], 0)
