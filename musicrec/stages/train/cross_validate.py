"""Evaluate models: train each on every fold of two splits, and keep its predictions for the held-out songs.

In the random split, all clips of a recording are on the same side; in the artist split, all songs of an artist. Where
the artists of too many songs are unknown, there is no artist split: it would be a random one by another name. Each
training run on one fold is a Ray task, which stages its predictions. They stay in the work folder, so that no training
run is repeated. Models that were evaluated before on the same songs and folds stay in the tables.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.cluster.lazy_ray import remote
from musicrec.cluster.tasks import connect
from musicrec.evaluate.controls import SHUFFLED, file_type
from musicrec.evaluate.scores import control_scores, scores
from musicrec.files.parquet import read_parquet
from musicrec.files.paths import AnyPath
from musicrec.models import NETWORKS, TrainingSet, with_defaults
from musicrec.models.dataset import folds
from musicrec.models.inputs import Chosen
from musicrec.monitor.progress import Progress
from musicrec.schemas import CURVES, EVALUATION, SCORES
from musicrec.serve.known_artists import circles_of
from musicrec.settings import EvaluateSettings, TrainSettings
from musicrec.stages.model_inputs import clear_unpacked, fingerprints, load_training_set, table_of
from musicrec.stages.staged_tasks import missing, run_staged
from musicrec.stages.train.stage import card_of, unpack_as_task
from musicrec.store.lineage import digest
from musicrec.store.store import Store

SPLITS = "random", "artist"
TABLES = {"evaluation": EVALUATION, "curves": CURVES}


class Unit(NamedTuple):
    """One training run: a model, and a fold of a split."""

    settings: TrainSettings  # with the model's defaults filled in; its seed also makes the folds
    split: str
    fold: int
    folds: int

    @property
    def name(self) -> str:
        """Name of the model, and of the spaces that it reads."""
        return name_of(self.settings)

    @property
    def label(self) -> dict[str, Any]:
        """Columns that identify the training run."""
        return {"model": self.name, "split": self.split, "seed": self.settings.seed, "fold": self.fold}


def evaluate(
    store: Store, settings: EvaluateSettings, train: TrainSettings, *, address: str | None = None
) -> pd.DataFrame:
    """Evaluate models by cross-validation and publish ``evaluation``, ``curves`` and ``scores``.

    Parameters
    ----------
    store : Store
        OUT, with the tables that the models read.
    settings : EvaluateSettings
        Which models, folds and seeds.
    train : TrainSettings
        How each model is trained. The model is replaced by each of `settings`, and the seed is the first seed.
    address : str, optional
        Ray cluster; embedded by default.

    Returns
    -------
    pandas.DataFrame
        The table ``scores``.

    Raises
    ------
    ConfigError, ModelError
        OUT lacks what a model reads, or there are too few songs.
    """
    train_settings = [with_defaults(train.model_copy(update={"model": model})) for model in settings.models]
    inputs = {(table_of(each), each.space): each for each in train_settings}
    songs = {key: load_training_set(store, each) for key, each in inputs.items()}
    first_songs = next(iter(songs.values()))
    splits = SPLITS if first_songs.grouped_by_artist else SPLITS[:1]  # artists who are not known cannot be kept apart
    units = {_name(store, unit, first_songs): unit for unit in _units(train_settings, settings, splits)}
    if todo := missing(store, settings.stage, units):
        connect(address)
        for table in sorted({table_of(units[name].settings) for name in todo}):
            unpack_as_task(store, table)
    with Progress("evaluate", len(units)) as progress:
        run_staged(
            store,
            settings.stage,
            units,
            lambda name, unit: _train_and_test.remote(store.out, name, unit),
            lambda unit: progress.advance(1, unit.settings.model),
        )
    published = _publish(store, settings, first_songs, units)
    store.settings.record(settings)
    clear_unpacked(store)
    return published


def _units(
    train_settings: Sequence[TrainSettings], settings: EvaluateSettings, splits: Sequence[str] = SPLITS
) -> list[Unit]:
    """Return all training runs, with the models mixed, so that a slow model's runs do not all come last."""
    return [
        Unit(each.model_copy(update={"seed": each.seed + seed}), split, fold, settings.folds)
        for seed in range(settings.seeds)
        for fold in range(settings.folds)
        for split in splits
        for each in train_settings
    ]


def name_of(settings: TrainSettings) -> str:
    """Return what the tables call a model: its name and, if it reads spaces, theirs."""
    return f"{settings.model} on {', '.join(settings.space)}" if settings.space else settings.model


def _name(store: Store, unit: Unit, songs: TrainingSet) -> str:
    """Return the name of a training run: a fingerprint of everything that its result depends on."""
    data = digest(songs.track_ids, songs.groups, songs.recordings, [songs.classes[i] for i in songs.y])
    made = fingerprints(store, unit.settings)
    return unit.settings.fingerprint(*made, data, unit.split, str(unit.fold), str(unit.folds))


# --- a training run -----------------------------------------------------------------------------------------------


@remote(num_cpus=1)
def _train_and_test(out: AnyPath, name: str, unit: Unit) -> None:
    """Stage a model's predictions for the songs of one fold, and its learning curve."""
    from musicrec.models.network import one_thread
    from musicrec.models.training import train_model

    store, settings = Store(out), unit.settings
    if settings.model in NETWORKS:
        one_thread()
    songs = load_training_set(store, settings)
    groups = songs.recordings if unit.split == "random" else songs.groups
    learn, test = list(folds(songs.y, groups, unit.folds, settings.seed))[unit.fold]
    curve: list[dict[str, Any]] = []
    card = card_of(store, settings, songs.classes, name)
    model = train_model(
        songs, learn, test, settings, card, on_epoch=lambda metrics, snapshot: curve.append(metrics | unit.label)
    )
    rows = np.flatnonzero(test)
    held = Chosen(songs.X, rows)
    tables = [_answers(unit.label, songs, rows, model.predict_proba(held))]
    if table_of(settings).startswith("mel"):
        label = unit.label | {"model": settings.model + SHUFFLED}
        tables.append(_answers(label, songs, rows, model.predict_proba(_Shuffled(held, settings.seed))))
    store.work.stage(f"{EvaluateSettings.stage}/curves", name, pa.Table.from_pylist(curve, schema=CURVES))
    store.work.stage(EvaluateSettings.stage, name, pa.concat_tables(tables))


def _answers(
    label: dict[str, Any], songs: TrainingSet, rows: NDArray[np.intp], probabilities: NDArray[np.float32]
) -> pa.Table:
    columns = {name: [value] * len(rows) for name, value in label.items()} | {
        "track_id": [songs.track_ids[i] for i in rows],
        "genre": [songs.classes[songs.y[i]] for i in rows],
        "predicted": [songs.classes[i] for i in probabilities.argmax(axis=1)],
        "probabilities": list(probabilities),
    }
    return pa.table(columns, schema=EVALUATION)


class _Shuffled(Sequence[NDArray[Any]]):
    """Spectrograms with their frames in random order."""

    def __init__(self, songs: Sequence[NDArray[Any]], seed: int) -> None:
        self._songs, self._seed = songs, seed

    def __len__(self) -> int:
        return len(self._songs)

    def __getitem__(self, i: Any) -> Any:  # noqa: ANN401 - as Sequence
        song = self._songs[i]
        return song[np.random.default_rng([self._seed, i]).permutation(len(song))]


# --- publishing ---------------------------------------------------------------------------------------------------


def _publish(store: Store, settings: EvaluateSettings, songs: TrainingSet, units: dict[str, Unit]) -> pd.DataFrame:
    """Publish the three tables, with the models that were evaluated before on the same songs and folds."""
    songs_digest = digest(songs.track_ids, songs.groups, songs.recordings)
    lineage = {"classes": songs.classes, "folds": settings.folds, "songs": songs_digest}
    trained: dict[str, Any] = {
        unit.name: unit.settings.model_dump(mode="json", exclude={"seed"}) for unit in units.values()
    }
    splits = sorted({unit.split for unit in units.values()})
    content = {}
    for table, schema in TABLES.items():
        folder = store.work.folder(settings.stage if table == "evaluation" else f"{settings.stage}/{table}")
        fresh = pa.concat_tables(read_parquet(folder / f"{name}.parquet") for name in units).cast(schema)
        if table == "evaluation":
            names = {str(unit.settings.model): unit.name for unit in units.values()}
            fused = ["+".join(names[model] for model in models.split("+")) for models in settings.fuse]
            fresh = pa.concat_tables([fresh, *(_fused(fresh, models, songs.classes) for models in fused)])
        content[table] = pa.concat_tables([_before(store, table, lineage, fresh, splits), fresh])
    predictions = content["evaluation"].to_pandas()
    content["scores"] = pa.Table.from_pandas(_scores(store, predictions, songs.classes), SCORES, preserve_index=False)
    trained = _trained_before(store, lineage) | trained
    fingerprint = settings.fingerprint(digest(list(units)), songs_digest)
    for table, rows in content.items():
        version = store.new_version(table, settings, fingerprint, **lineage, trained=trained)
        version.write_part(rows)
        store.publish(version)
    return content["scores"].to_pandas()


def _before(
    store: Store, table: str, lineage: dict[str, Any], fresh: pa.Table, splits: Sequence[str] = SPLITS
) -> pa.Table:
    if not _is_comparable(store, table, lineage):
        return fresh.slice(0, 0)
    stays = ~pc.field("model").isin(pc.unique(fresh["model"])) & pc.field("split").isin(splits)
    return store.read(table, filter=stays).cast(fresh.schema)


def _is_comparable(store: Store, table: str, lineage: dict[str, Any]) -> bool:
    """Return whether a published table has the same songs, genres and folds."""
    return store.exists(table) and lineage.items() <= store.footer(table)["lineage"].items()


def _trained_before(store: Store, lineage: dict[str, Any]) -> dict[str, Any]:
    """Return how the models that stay in the tables were trained."""
    comparable = _is_comparable(store, "evaluation", lineage)
    trained: dict[str, Any] = store.footer("evaluation")["lineage"].get("trained", {}) if comparable else {}
    return trained


def _fused(answers: pa.Table, fused: str, classes: list[str]) -> pa.Table:
    """Combine several models: the mean of their probabilities, which are first scaled to sum to 1 for each song."""
    key = ["split", "seed", "fold", "track_id", "genre"]
    rows = answers.filter(pc.field("model").isin(fused.split("+"))).to_pandas()
    rows["probabilities"] = [p / max(p.sum(), np.finfo(np.float32).tiny) for p in rows["probabilities"]]
    means = rows.groupby(key, sort=True)["probabilities"].apply(lambda vectors: np.mean(list(vectors), axis=0))
    frame = means.reset_index().assign(model=fused)
    frame["predicted"] = [classes[int(np.argmax(p))] for p in frame["probabilities"]]
    return pa.Table.from_pandas(frame[EVALUATION.names], EVALUATION, preserve_index=False)


def _scores(store: Store, predictions: pd.DataFrame, classes: list[str]) -> pd.DataFrame:
    uris = store.read("tracks", ["track_id", "uri"]).to_pandas().set_index("track_id")["uri"]
    artists = circles_of(store, predictions["track_id"].unique())
    table = store.read("features").to_pandas().set_index("track_id")
    controls = control_scores(predictions, uris.map(file_type), artists, table)
    return pd.concat([scores(predictions, artists, classes), controls], ignore_index=True)
