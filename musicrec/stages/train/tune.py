"""Search the hyper-parameters of a classical model, outside the chain: one Ray task per candidate and inner fold.

The songs that `musicrec train` tests on, with the same seed and test fraction, are not used.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.cluster.lazy_ray import ray, remote
from musicrec.cluster.tasks import connect, run_tasks
from musicrec.models import TrainingSet, held_out
from musicrec.models.tuning import Candidate, Fold, candidates, inner_folds, score, to_text
from musicrec.models.weights import song_weights
from musicrec.monitor.progress import Progress
from musicrec.schemas import TUNING
from musicrec.settings import TrainSettings, TuneSettings
from musicrec.stages.model_inputs import fingerprints, load_training_set
from musicrec.store.lineage import digest
from musicrec.store.store import Store

Songs = tuple[NDArray[np.float32], NDArray[np.int32]]
WeightedFold = tuple[Fold, NDArray[np.float64]]  # and the weights of its training rows

NAME = "tuning"


def tune(store: Store, settings: TuneSettings, *, address: str | None = None) -> pa.Table:
    """Try every candidate of the model's grid on inner folds of the training songs, and publish ``tuning``.

    Rows of other models stay in the table if they come from the same songs, features and folds.

    Parameters
    ----------
    store : Store
        OUT, with ``tracks`` and what the model reads.
    settings : TuneSettings
        Model, folds and split.
    address : str, optional
        Ray cluster; embedded by default.

    Returns
    -------
    pyarrow.Table
        The rows of the model, as :data:`musicrec.schemas.TUNING` describes them, in the order of its grid.

    Raises
    ------
    ConfigError, ModelError
        OUT does not have the feature set or the space, or there are too few songs to split.
    """
    tried = candidates(settings.model, of_spaces=bool(settings.space))
    names = ("model", "feature_set", "space", "test_fraction", "seed")
    trained = TrainSettings(**settings.model_dump(include=set(names)))
    songs = load_training_set(store, trained)
    searched = _searched(settings, songs, fingerprints(store, trained))
    before = _comparable(store, searched)
    of_model = pc.field("model") == settings.model
    rows = before.filter(of_model)
    if list(dict.fromkeys(rows["candidate"].to_pylist())) != [to_text(candidate) for candidate in tried]:
        connect(address)
        rows = _search(settings, songs, tried)
        version = store.new_version(NAME, settings, settings.fingerprint(searched), searched=searched)
        version.write_part(pa.concat_tables([before.filter(~of_model), rows]))
        store.publish(version)
    return rows


def _searched(settings: TuneSettings, songs: TrainingSet, inputs: list[str]) -> str:
    """Return a fingerprint of what candidates are compared on: songs, what is read of them, and folds."""
    setup = settings.model_dump_json(exclude={"model"} if settings.space else {"model", "space"})
    genres = [songs.classes[i] for i in songs.y]
    return digest([setup, *inputs, digest(songs.track_ids, songs.groups, genres)])


def _comparable(store: Store, searched: str) -> pa.Table:
    """Return the rows of the published table that come from the same songs, features and folds."""
    if store.exists(NAME) and store.footer(NAME)["lineage"]["searched"] == searched:
        return store.read(NAME).cast(TUNING)
    return TUNING.empty_table()


def _search(settings: TuneSettings, songs: TrainingSet, tried: list[Candidate]) -> pa.Table:
    """Score every candidate on every fold, each in its own task."""
    learn = ~held_out(songs, settings.test_fraction, settings.seed)
    folds = inner_folds(songs, learn, settings.folds, settings.seed)
    weights = [song_weights(songs.y[rows], [songs.groups[i] for i in rows], settings.balance) for rows, _ in folds]
    data, shared_folds = ray.put((np.asarray(songs.X), songs.y)), ray.put(list(zip(folds, weights, strict=True)))
    keys = [(i, k) for i in range(len(tried)) for k in range(len(folds))]
    scores: dict[tuple[int, int], tuple[float, float]] = {}
    with Progress(f"tune {settings.model}", len(keys)) as progress:
        for key, result in run_tasks(
            "tune",
            lambda key: _score.remote(settings, tried[key[0]], data, shared_folds, key[1]),
            keys,
            lambda key: tried[key[0]],
        ):
            scores[key] = result
            progress.advance(1)
    accuracy, train_accuracy = np.array([scores[key] for key in keys]).T
    texts = [to_text(tried[i]) for i, _ in keys]
    columns = [[settings.model] * len(keys), texts, [k for _, k in keys], accuracy, train_accuracy]
    return pa.table(columns, schema=TUNING)


@remote(num_cpus=1)
def _score(
    settings: TuneSettings, candidate: Candidate, data: Songs, folds: list[WeightedFold], k: int
) -> tuple[float, float]:
    fold, weights = folds[k]
    return score(settings.model, candidate, data, fold, settings.seed, weights=weights, of_spaces=bool(settings.space))
