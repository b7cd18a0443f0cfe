"""An OUT of songs that can be heard, for listening tests. All of it is synthetic."""

import numpy as np
import pyarrow as pa
import soundfile as sf

from musicrec.schemas import EMBEDDINGS, TRACKS
from musicrec.serve.sidecar import SIDECAR_COLUMNS
from musicrec.serve.table_writer import write_table
from musicrec.settings import CatalogSettings, EmbedSettings, SimilarSettings
from musicrec.similarity import top_n
from musicrec.store.outcomes import Outcome, outcomes_table
from musicrec.store.store import Store

GENRES = ("synthetic-bells", "synthetic-rain", "synthetic-reeds")
PER_GENRE = 12
RATE = 22_050


def make_out(folder, *, seconds=2.0):
    """Songs of three genres, whose vectors lie near those of their genre; genre probabilities favour another one."""
    rng = np.random.default_rng(0)
    store = Store(folder / "out")
    store.create()
    tracks, embeddings = [], []
    for number, genre in enumerate(genre for genre in GENRES for _ in range(PER_GENRE)):
        track_id = f"{genre}-{number:02d}"
        path = folder / "songs" / f"{track_id}.wav"
        path.parent.mkdir(exist_ok=True)
        tone = np.sin(2 * np.pi * (200 + 20 * number) * np.arange(round(seconds * RATE)) / RATE)
        sf.write(path, 10 ** rng.uniform(-2, -0.1) * (0.7 * tone + rng.uniform(-0.3, 0.3, len(tone))), RATE)
        label = GENRES.index(genre)
        tracks.append(
            {"track_id": track_id, "uri": str(path), "title": f"Title {number}", "artist": f"Artist {number}",
             "genre": genre, "duration_s": seconds}
        )  # fmt: skip
        vector = np.eye(8)[label] + rng.normal(0, 0.3, 8)
        embeddings.append(
            {"track_id": track_id, "model_id": "m", "embedding": vector.astype(np.float32),
             "probabilities": rng.dirichlet(np.ones(len(GENRES)))}
        )  # fmt: skip
    songs, vectors = pa.Table.from_pylist(tracks, TRACKS), pa.Table.from_pylist(embeddings, EMBEDDINGS)
    outcomes = outcomes_table([Outcome(row["track_id"], "catalog", "ok") for row in tracks])
    ids, scores = top_n(np.stack([row["embedding"] for row in embeddings]), 10)
    settings = CatalogSettings(source=str(folder / "songs"))
    store.settings.record(settings)
    for name, how, write in (
        ("tracks", settings, lambda version: version.write_part(songs)),
        ("outcomes", settings, lambda version: version.write_part(outcomes)),
        ("embeddings", EmbedSettings(), lambda version: version.write_part(vectors)),
        (
            "similar",
            SimilarSettings(),
            lambda version: write_table(version, songs.select(SIDECAR_COLUMNS), ids, scores),
        ),
    ):
        version = store.new_version(name, how, "0123456789abcdef")
        write(version)
        store.publish(version)
    return store


def write_likes(file, store, n_participants=2):
    """Likes of some participants: three songs each, of two genres."""
    ids = store.read("tracks", ["track_id"])["track_id"].to_pylist()
    rows = [(f"person {i}", ids[j]) for i in range(n_participants) for j in (i, i + 1, i + 2 * PER_GENRE)]
    file.write_text("participant,track_id\n" + "".join(f"{person},{song}\n" for person, song in rows))
    return file
