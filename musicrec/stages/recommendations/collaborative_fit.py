"""What the method ``hybrid`` learns from all listeners: factors, and the weights by which lists are fused.

The weights are those that ``musicrec evaluate --histories`` fits: on listeners of whom likes are held out, by the same
functions. The factors are then learned from all likes.
"""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.cluster.lazy_ray import remote
from musicrec.cluster.tasks import run_tasks, task_options
from musicrec.errors import ConfigError
from musicrec.evaluate.listeners.like_splits import Split
from musicrec.files.parquet import open_parquet
from musicrec.files.paths import AnyPath, children
from musicrec.models.recommenders.by_content import Max
from musicrec.models.recommenders.collaborative import ALS, Factors
from musicrec.settings import ListenerEvaluationSettings, RecommendSettings, resolve
from musicrec.stages.listener_evaluation.held_out_likes import drawn, fused_for, matrices, matrix, split_likes
from musicrec.stages.listener_evaluation.listening_data import ListeningData, read_listening
from musicrec.store.pointer import parts_of
from musicrec.store.store import Store

FUSED = ("als", "max")  # of weights that find equally much, those that trust content more are taken
CONTENT_ALONE = np.array([0.0, 1.0])
SPLITS = ("time", "last", "random")  # the first that leaves listeners to fit weights on
NOBODY = "too few listeners have likes that can be held out to fit weights on"
MEMORY = 1200 * 2**20  # bytes of a worker with its libraries and songs
ROW_BYTES = 400  # of a row of histories, as text, numbers and matrices

Rows = NDArray[np.int64]


class Fusion(NamedTuple):
    """What is fused for listeners.

    Attributes
    ----------
    users : pyarrow.Array
        Ids of the listeners, ascending.
    factors : Factors or None
        Of these listeners, and of each recording of the published table, by ascending number; None if content counts
        alone.
    weights : numpy.ndarray
        float64 [2], of the lists of factors and of those by content.
    """

    users: pa.Array
    factors: Factors | None
    weights: NDArray[np.float64]

    def numbers(self, users: pa.Array) -> Rows:
        """Return the rows of some listeners; -1 for one who is not known."""
        found = pc.fill_null(pc.index_in(users, value_set=self.users), -1)
        return np.asarray(found.to_numpy(zero_copy_only=False), np.int64)


def fit_on_ray(store: Store, settings: RecommendSettings) -> tuple[Fusion, dict[str, Any]]:
    """Return what is fused, learned by one worker, and its card; see :func:`fit`."""
    n_rows = sum(_n_rows(part) for part in children(parts_of(store.path("histories")), "*.parquet"))
    task = _fit.options(**task_options(MEMORY + ROW_BYTES * n_rows))
    ((_, found),) = run_tasks(settings.stage, lambda out: task.remote(out, settings), [store.out])
    fusion, card = found
    return fusion, card


def _n_rows(part: AnyPath) -> int:
    with open_parquet(part) as file:
        return int(file.metadata.num_rows)


@remote(num_cpus=1)
def _fit(out: AnyPath, settings: RecommendSettings) -> tuple[Fusion, dict[str, Any]]:
    return fit(Store(out), settings)


def fit(store: Store, settings: RecommendSettings) -> tuple[Fusion, dict[str, Any]]:
    """Fit weights on listeners of whom likes are held out, then learn factors from all likes.

    Parameters
    ----------
    store : Store
        OUT, with ``histories``, ``similar`` and the vectors of the latter.
    settings : RecommendSettings
        Length of the lists, and the seed.

    Returns
    -------
    fusion : Fusion
        Content alone where there are too few listeners to fit weights on.
    card : dict
        What was learned, from what, and how; ``content_alone`` says why no weights were fitted.

    Raises
    ------
    NoLibraryError
        The library implicit is missing.
    """
    try:
        data = read_listening(store)
    except ConfigError:  # nobody likes a song that can be compared
        return Fusion(pa.array([], pa.string()), None, CONTENT_ALONE), _card(CONTENT_ALONE, content_alone=NOBODY)
    for name in SPLITS:
        asked = {"split": name, "methods": FUSED, "n": settings.n, "seed": settings.seed}
        how = resolve(ListenerEvaluationSettings, asked)
        if (split := _split(data, how)) and len(validation := drawn(data, split, how)[0]):
            learned, heard = matrices(data, split)
            methods = {"als": ALS(seed=settings.seed), "max": Max(data.items.vectors)}
            own = {name: method.fit(learned, heard) for name, method in methods.items()}
            weights = fused_for(validation, own, data, split, settings.n).weights
            return _learned(data, settings, weights, {"split": name, "n_validation_users": len(validation)})
    return Fusion(data.users, None, CONTENT_ALONE), _card(CONTENT_ALONE, content_alone=NOBODY)


def _split(data: ListeningData, how: ListenerEvaluationSettings) -> Split | None:
    try:
        return split_likes(data.likes, how)
    except ConfigError:  # no times, or nobody has likes on both sides
        return None


def _learned(
    data: ListeningData, settings: RecommendSettings, weights: NDArray[np.float64], fitted: dict[str, Any]
) -> tuple[Fusion, dict[str, Any]]:
    """Learn factors from all likes, unless they have no weight."""
    likes, als = matrix(data, data.likes), ALS(seed=settings.seed)
    known = {"n_users": len(np.unique(data.likes.user)), "n_songs": likes.shape[1], "n_likes": likes.nnz}
    factors = als.fit(likes).factors if weights[0] else None
    return Fusion(data.users, factors, weights), _card(weights, **fitted, **known, collaborative=als.card)


def _card(weights: NDArray[np.float64], **about: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"weights": dict(zip(FUSED, weights.tolist(), strict=True)), **about}
