"""Train any model on some of the songs: what the train stage and cross-validation share."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import ModelError
from musicrec.models import scaling
from musicrec.models.classical import Classical
from musicrec.models.dataset import TrainingSet, folds
from musicrec.models.inputs import VECTORS
from musicrec.models.network import Network, import_keras
from musicrec.models.networks import NETWORKS
from musicrec.models.weights import song_weights
from musicrec.settings import Balance, TrainSettings

if TYPE_CHECKING:
    from musicrec.models.fitting import Metrics, Snapshot

Rows = NDArray[np.bool_]
Model = Network | Classical

WATCHED_FOLDS = 10  # the training songs are split into so many folds; patience watches one of them


def train_model(
    songs: TrainingSet,
    learn: Rows,
    test: Rows,
    settings: TrainSettings,
    card: dict[str, Any],
    *,
    rank: int = 0,
    world: int = 1,
    start: "Snapshot | None" = None,
    on_epoch: "Callable[[Metrics, Callable[[], Snapshot]], None]" = lambda metrics, snapshot: None,
) -> Model:
    """Train a model.

    Parameters
    ----------
    songs : TrainingSet
        All songs.
    learn, test : numpy.ndarray
        bool [n]: which of them are learned from, and which a network's learning curve is tested on.
    settings : TrainSettings
        With nothing left open.
    card : dict
        The model's card, without what is learned.
    rank, world, start, on_epoch
        As for :func:`musicrec.models.fitting.fit`; only for networks.

    Raises
    ------
    ModelError
        There are too few songs, or training diverges.
    """
    if settings.model not in NETWORKS:
        from musicrec.models.classical import fit, n_learned
        from musicrec.models.tuning import choose

        X, of_spaces = np.asarray(songs.X), bool(settings.space)
        params = json.loads(settings.params or "{}")
        chosen = choose(songs, learn, settings) if of_spaces and not params else {}
        weights = weights_of(songs, learn, settings.balance)[learn]
        try:
            pipeline = fit(
                settings.model,
                (X[learn], songs.y[learn]),
                settings.seed,
                params or chosen,
                weights,
                of_spaces=of_spaces,
            )
        except (ValueError, TypeError) as e:
            if not params:
                raise
            raise ModelError(f"model {settings.model} takes no --params {settings.params} ({e})".splitlines()[0]) from e
        return Classical(pipeline, card | {"parameters": n_learned(pipeline)} | ({"chosen": chosen} if chosen else {}))
    return _train_network(songs, learn, test, settings, card, rank=rank, world=world, start=start, on_epoch=on_epoch)


def weights_of(songs: TrainingSet, rows: Rows, balance: Balance) -> NDArray[np.float64]:
    """Return the weights [n] of some of the songs among themselves; 0 for the others."""
    weights = np.zeros(len(rows))
    chosen = np.flatnonzero(rows)
    weights[chosen] = song_weights(songs.y[chosen], [songs.groups[i] for i in chosen], balance)
    return weights


def _train_network(
    songs: TrainingSet,
    learn: Rows,
    test: Rows,
    settings: TrainSettings,
    card: dict[str, Any],
    **how: Any,  # noqa: ANN401
) -> Network:
    import_keras()
    from musicrec.models.batches import Batches
    from musicrec.models.fitting import Tested, fit
    from musicrec.models.inputs import check, reader

    architecture = NETWORKS[settings.model]
    learned, watched = _watched(songs, learn, settings)
    if card["input"]["reads"] in VECTORS:
        X = np.asarray(songs.X)[learned]
        card = card | {
            "input": card["input"] | {"scaling": scaling.fit(X, songs.y[learned], settings.scaling or "standardised")}
        }
    read = reader(card)
    check(songs.X, read)

    def tested(rows: Rows, balance: Balance = "none") -> Tested:
        return Tested(songs.X, songs.y, weights_of(songs, rows, balance), np.flatnonzero(rows))

    network = fit(
        lambda: architecture.build(read.shape, len(songs.classes), settings),
        Batches(
            songs.X,
            songs.y,
            songs.groups,
            np.flatnonzero(learned),
            weights=weights_of(songs, learned, settings.balance),
            reader=read,
            n_classes=len(songs.classes),
            settings=settings,
        ),
        tested(test),
        settings,
        reader=read,
        embedding_layer=architecture.EMBEDDING_LAYER,
        watched=None if watched is None else tested(watched, settings.balance),
        **how,
    )
    return Network(network, card | {"parameters": network.count_params()})


def _watched(songs: TrainingSet, learn: Rows, settings: TrainSettings) -> tuple[Rows, Rows | None]:
    """Return the songs to learn from; with patience, a tenth of them, by other artists, are watched instead."""
    if not settings.patience:
        return learn, None
    rows = np.flatnonzero(learn)
    groups = [songs.groups[i] for i in rows]
    n_folds = max(2, min(WATCHED_FOLDS, len(set(groups)), int(np.bincount(songs.y[rows]).max())))
    _, inner = next(iter(folds(songs.y[rows], groups, n_folds, settings.seed)))
    if not inner.any():
        raise ModelError("--patience needs songs of several artists in a genre; train without it")
    watched = np.zeros(len(learn), bool)
    watched[rows[inner]] = True
    return learn & ~watched, watched
