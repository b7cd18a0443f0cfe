"""What the rules look at in each song: artist, album, recording, content, genre and length."""

import numpy as np
import pyarrow.compute as pc

from musicrec.serve.comparable_songs import EMBEDDINGS, Vectors
from musicrec.similarity.filters import Songs, songs_of
from musicrec.store.store import Store

COLUMNS = ["artist_id", "album", "recording", "content_hash", "genre", "duration_s"]


def facts_of(store: Store, vectors: Vectors) -> Songs:
    """Read what the rules need to know about the songs; genre probabilities only if they are compared by embeddings."""
    track_ids = vectors.names["track_id"]
    tracks = store.read("tracks", ["track_id", *COLUMNS])
    tracks = tracks.take(pc.index_in(track_ids, value_set=tracks["track_id"].combine_chunks()))
    probabilities = None
    is_embedded = EMBEDDINGS in vectors.origin.lineage["made_of"]
    if is_embedded and "probabilities" in store.dataset(EMBEDDINGS).schema.names:
        embeddings = store.read(EMBEDDINGS, ["track_id", "probabilities"])
        embeddings = embeddings.take(pc.index_in(track_ids, value_set=embeddings["track_id"].combine_chunks()))
        if embeddings["probabilities"].null_count == 0:
            probabilities = np.stack(embeddings["probabilities"].to_numpy())
    return songs_of({name: tracks[name].to_pylist() for name in COLUMNS}, probabilities)
