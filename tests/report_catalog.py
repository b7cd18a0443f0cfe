"""A small synthetic OUT for the tests of the report, drawn by a seeded generator."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from musicrec import schemas
from musicrec.files.parquet import write_parquet
from musicrec.settings import (
    CatalogSettings,
    EmbedSettings,
    ExtractSettings,
    SimilarSettings,
    StageSettings,
    TrainSettings,
)
from musicrec.store.store import Store

GENRES = ["blues", "jazz & soul", "$rock$", "_pop"]
FEATURES = ["rms_mean", "tempo_mean", "flux_mean"]
N_SIMILAR = 4
HOSTILE = "<script>alert('song')</script>"


class Catalog:
    """A synthetic OUT: `n` songs, of which the last two could not be decoded."""

    def __init__(
        self, folder: Path, n: int = 26, genres: list[str | None] | None = None, source: str = "/music"
    ) -> None:
        self.store = Store(folder)
        self.store.create()
        self.rng = np.random.default_rng(7)
        self.ids = [f"song-{i:03d}" for i in range(n)]
        names = genres or GENRES
        self.genres = [names[i % len(names)] for i in range(n)]
        self.good = self.ids[:-2]
        self.catalog = CatalogSettings(source=source)
        self.store.settings.record(self.catalog)

    def everything(self) -> "Catalog":
        for make in (self.tracks, self.outcomes, self.features, self.model, self.embeddings, self.similar):
            make()
        return self

    def put(self, name: str, table: pa.Table, settings: StageSettings, **lineage: object) -> None:
        version = self.store.new_version(name, settings, "f" * 16, **lineage)
        version.write_part(table)
        self.store.publish(version)

    def tracks(self) -> None:
        rows = [
            {"track_id": t, "uri": t, "title": f"Title {t}", "artist": f"Artist {t}", "genre": g}
            for t, g in zip(self.ids, self.genres, strict=True)
        ]
        rows[0]["title"] = rows[0]["artist"] = HOSTILE
        self.put("tracks", pa.Table.from_pylist(rows, schemas.TRACKS), self.catalog)

    def outcomes(self, stages: tuple[str, ...] = ("catalog", "extract"), lost: int = 0) -> None:
        rows = [{"track_id": t, "stage": s, "status": "ok"} for s in stages for t in self.ids]
        if "extract" in stages:
            rows[-1] |= {"status": "failed", "reason": "not_audio", "detail": "<b>RIFF</b> expected"}
            rows[-2] |= {"status": "skipped", "reason": "too_short", "detail": "0.02 s"}
        self.put("outcomes", pa.Table.from_pylist(rows[lost:], schemas.OUTCOMES), ExtractSettings())

    def features(self) -> None:
        values = self.rng.normal(size=(len(FEATURES), len(self.good))).astype(np.float32)
        values[-1] = 3.0  # a feature that never changes
        self.put("features", pa.table([self.good, *values], schemas.features_schema(FEATURES)), ExtractSettings())

    def model(self, grouped: bool = False) -> None:
        truth = self.genres[: len(self.good)]
        split = ["test" if i % 3 == 0 else "train" for i in range(len(truth))]
        predicted = [self.genres[0] if i % 4 == 1 else g for i, g in enumerate(truth)]
        probabilities = [[1.0]] * len(truth)
        epochs = [
            {"epoch": e, "loss": 1 / e, "accuracy": 0.5, "test_loss": 1.0, "test_accuracy": 0.4} for e in (1, 2, 3)
        ]
        version = self.store.new_version("models/mlp", TrainSettings(), "e" * 16)
        predictions = pa.table([self.good, split, truth, predicted, probabilities], schemas.PREDICTIONS)
        write_parquet(version.folder / "predictions.parquet", predictions)
        write_parquet(version.folder / "history.parquet", pa.Table.from_pylist(epochs, schemas.HISTORY))
        description = {
            "model": "mlp",
            "model_id": "mlp-1",
            "classes": sorted({g for g in truth if g}),
            "feature_set": "iiitd41",
            "input": {"reads": "features", "feature_names": FEATURES},
            "settings": {},
            "parameters": 46732,
            "metrics": {
                "test_accuracy": 0.5,
                "train_accuracy": 0.9,
                "n_train": split.count("train"),
                "n_test": split.count("test"),
                "grouped_by_artist": grouped,
            },
        }
        (version.folder / "model.json").write_text(json.dumps(description))
        self.store.publish(version)

    def embeddings(self, dimensions: int = 6) -> None:
        vectors = self.rng.normal(size=(len(self.good), dimensions)).tolist()
        table = pa.table([self.good, ["mlp-1"] * len(self.good), vectors, vectors], schemas.EMBEDDINGS)
        self.put("embeddings", table, EmbedSettings(), model="mlp", model_id="mlp-1")

    def similar(self, model_id: str | None = "mlp-1", **lineage: object) -> None:
        n = min(N_SIMILAR, len(self.good) - 1)
        rows = [
            (t, k, self.good[(i + k * k) % len(self.good)], 1 - k / 10)
            for i, t in enumerate(self.good)
            for k in range(1, n + 1)
        ]
        table = pa.table([list(c) for c in zip(*rows, strict=True)] if rows else [[]] * 4, schemas.SIMILAR)
        gate = {"coverage": 0.875, "max_hub_share": 0.25, "hub_skew": 0.5, "antihub_share": 0.125, "churn": None}
        self.put("similar", table, SimilarSettings(n=N_SIMILAR), model_id=model_id, gate=gate, **lineage)
