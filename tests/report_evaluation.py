"""Tables of an evaluation for the tests of the report, from synthetic predictions drawn by a seeded generator."""

import numpy as np
import pandas as pd
import pyarrow as pa

from musicrec import schemas
from musicrec.evaluate.controls import SHUFFLED
from musicrec.evaluate.scores import scores
from musicrec.settings import CatalogSettings
from musicrec.store.store import Store

GENRES = ["$blues$", "<i>jazz</i>", "_pop"]
MODELS = {"crnn": 1.5, "cnn": 0.7, "<b>svm</b>": 1.0, f"crnn{SHUFFLED}": 0.2}
N = 90
IDS = [f"song-{i:03d}" for i in range(N)]
ARTISTS = pd.Series([f"artist {i % 20}" for i in range(N)], IDS)


def synthetic(models=MODELS, splits=("random", "artist"), seeds=2, genres=GENRES) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    truth = rng.integers(len(genres), size=N)
    tables = []
    for model, skill in models.items():
        for split in splits:
            for seed in range(seeds):
                logits = rng.normal(size=(N, len(genres)))
                logits[np.arange(N), truth] += skill + (split == "random")
                p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
                rows = {"track_id": IDS, "genre": np.array(genres)[truth], "predicted": np.array(genres)[p.argmax(1)]}
                where = {"model": model, "split": split, "seed": seed, "fold": np.arange(N) % 3}
                tables.append(pd.DataFrame({**where, **rows, "probabilities": list(p.astype(np.float32))}))
    return pd.concat(tables, ignore_index=True)


def synthetic_curves(models=("cnn", "crnn"), runs=3, epochs=4) -> pd.DataFrame:
    rows = [
        {"model": m, "split": "artist", "seed": 0, "fold": f, "epoch": e, "loss": 1 / e + f, "accuracy": 0.1 * e,
         "test_loss": 1.0, "test_accuracy": 0.3}
        for m in models for f in range(runs) for e in range(1, epochs + 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def write(folder, predictions, table=None, curves=None) -> Store:
    store = Store(folder)
    store.create()
    settings = CatalogSettings(source="/synthetic")
    store.settings.record(settings)

    def put(name: str, rows: pd.DataFrame, schema: pa.Schema, **lineage: object) -> None:
        version = store.new_version(name, settings, "f" * 16, **lineage)
        version.write_part(pa.Table.from_pandas(rows, schema, preserve_index=False))
        store.publish(version)

    tracks = pd.DataFrame({"track_id": IDS, "artist_id": ARTISTS.to_numpy(), "genre": "any"})
    tracks = tracks.reindex(columns=schemas.TRACKS.names)
    tracks[["artist_ids", "genres"]] = None  # a list cannot be NaN
    put("tracks", tracks, schemas.TRACKS)
    classes = sorted(set(predictions["genre"]))
    put("evaluation", predictions, schemas.EVALUATION, classes=classes, folds=3)
    put("scores", scores(predictions, ARTISTS) if table is None else table, schemas.SCORES)
    if curves is not None:
        put("curves", curves, schemas.CURVES)
    return store
