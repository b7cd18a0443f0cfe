"""What the rules look at in each song: artist, album, recording, content, genre, length, its sound and its tags."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from musicrec.serve.comparable_songs import EMBEDDINGS, Vectors
from musicrec.serve.tag_scores import tag_scores
from musicrec.settings import Rules
from musicrec.similarity.songs import Songs, songs_of
from musicrec.store.lineage import digest
from musicrec.store.store import Store
from musicrec.store.tracks import read_tracks

COLUMNS = ["artist_ids", "album_id", "recording", "content_hash", "genre", "duration_s"]
READ_BY = {  # what each rule reads beside the names of the songs, which every list depends on
    "no_same_artist": "artist_ids",
    "max_per_artist": "artist_ids",
    "max_per_album": "album_id",
    "no_duplicates": "recording",
    "duplicate_score": "duration_s",
}


def fingerprint_of_facts(store: Store, rules: Rules) -> list[str]:
    """Return the fingerprint of the columns of ``tracks`` that the rules read; nothing if they read none.

    Tags may be read anew, and better, although no song has changed.
    """
    columns = sorted({column for rule, column in READ_BY.items() if getattr(rules, rule) not in (None, False, 0)})
    if not columns:
        return []
    tracks = read_tracks(store, ["track_id", *columns]).sort_by("track_id")
    return [digest(*(list(map(str, tracks[name].to_pylist())) for name in tracks.column_names))]


def facts_of(store: Store, vectors: Vectors, rules: Rules) -> Songs:
    """Read what the rules need to know about the songs; genre probabilities only if they are compared by embeddings."""
    track_ids = vectors.names["track_id"]
    tracks = read_tracks(store, ["track_id", *COLUMNS])
    tracks = tracks.take(pc.index_in(track_ids, value_set=tracks["track_id"].combine_chunks()))
    probabilities = None
    is_embedded = EMBEDDINGS in vectors.origin.lineage["made_of"]
    if is_embedded and "probabilities" in store.dataset(EMBEDDINGS).schema.names:
        embeddings = store.read(EMBEDDINGS, ["track_id", "probabilities"])
        embeddings = embeddings.take(pc.index_in(track_ids, value_set=embeddings["track_id"].combine_chunks()))
        if embeddings["probabilities"].null_count == 0:
            probabilities = np.stack(embeddings["probabilities"].to_numpy())
    facts = {name: tracks[name].to_pylist() for name in COLUMNS}
    return songs_of(facts | sounds_of(store, track_ids), probabilities, tag_scores(store, rules, track_ids))


def sounds_of(store: Store, track_ids: pa.Array | pa.ChunkedArray) -> dict[str, list[str | None]]:
    """Return as ``sound`` the recording that each song was found to be, if duplicates were looked for."""
    if not store.exists("recordings"):
        return {}
    table = store.read("recordings", ["track_id", "recording"])
    places = pc.index_in(track_ids, value_set=table["track_id"].combine_chunks())
    return {"sound": table["recording"].take(places).to_pylist()}
