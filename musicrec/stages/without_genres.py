"""Songs whose genres no model can learn: what is said before they are decoded, and what the chain does instead.

Such songs get no model and no embedding, and are compared in a space that needs no genres.
"""

from dataclasses import dataclass

import pyarrow.compute as pc

from musicrec.errors import ConfigError, NotLearnable
from musicrec.models import CLUSTERINGS
from musicrec.models.dataset import GENRES_REMEDY, too_few_genres
from musicrec.monitor import log
from musicrec.schemas import SKIPPED, Reason
from musicrec.settings import (
    OWN_SPACES,
    EmbedSettings,
    SimilarSettings,
    StageSettings,
    TrainSettings,
    resolve,
    weights_of,
)
from musicrec.stages.finish import finish
from musicrec.stages.train.stage import keep, train
from musicrec.store.outcomes import Counts, Outcome, outcomes_table
from musicrec.store.store import Store
from musicrec.store.tracks import read_tracks

EMBEDDINGS, FEATURES = OWN_SPACES
NEED_GENRES = "train, tune, evaluate and --genre need genres"


@dataclass(frozen=True)
class CountsWithNote(Counts):
    """Counts, and why the stage did nothing."""

    note: str = ""

    def __str__(self) -> str:
        return f"{super().__str__()}; {self.note}"


def foretell(store: Store, train: TrainSettings, similar: SimilarSettings, *, keep_model: bool) -> None:
    """Say before songs are decoded what will not work with their genres, and what is done instead.

    It is said once, and not again while there is no model.

    Raises
    ------
    ConfigError
        No song has a genre, and the lists are to hold songs of the same genre only.
    """
    genres = read_tracks(store, ["genre"])["genre"].to_pylist()
    if similar.genre == "only" and not any(genres):
        raise ConfigError(f"--genre only leaves no song in any list, as no song has a genre; {GENRES_REMEDY}")
    if len(genres) == 1:
        log.log_event("too_few_songs", "there is one song, so its list stays empty")
    problem = None if keep_model or train.model in CLUSTERINGS else too_few_genres(genres)
    if problem and not store.exists(f"models/{train.model}") and not _was_left_out(store):
        compared_in = " + ".join(weights_of(space_without_embeddings(similar.space)))
        line = (
            f"{problem}: no model is trained, and songs are compared by {compared_in}; {NEED_GENRES}: {GENRES_REMEDY}"
        )
        log.log_event("too_few_genres", line, problem=problem)


def space_without_embeddings(space: tuple[str, ...]) -> tuple[str, ...]:
    """Return the space without the embeddings of a model; that of features if nothing is left."""
    others = tuple(entry for entry in space if entry.partition("=")[0] != EMBEDDINGS)
    return resolve(SimilarSettings, {"space": others or (FEATURES,)}).space


def train_if_possible(store: Store, settings: TrainSettings, *, address: str | None = None, workers: int = 1) -> Counts:
    """Train a model; if no model can learn the songs' genres, keep the published one, or have none."""
    try:
        return train(store, settings, address=address, workers=workers)
    except NotLearnable as e:
        why = str(e).partition(";")[0]
    if store.exists(f"models/{settings.model}"):
        counts: Counts = keep(store, settings)
        return CountsWithNote(**vars(counts), note=f"the model of before is kept: {why}")
    return _skip(store, settings, why, f"no model: {why}")


def has_no_model(store: Store, settings: EmbedSettings) -> bool:
    """Return whether there is no model because no model could learn the songs' genres."""
    return not store.exists(f"models/{settings.model}") and _was_left_out(store)


def _was_left_out(store: Store) -> bool:
    """Return whether the last train made no model because none could learn the songs' genres."""
    is_why = (pc.field("stage") == TrainSettings.stage) & (pc.field("reason") == Reason.TOO_FEW_GENRES)
    return store.exists("outcomes") and len(store.read("outcomes", ["track_id"], is_why)) > 0


def skip_embedding(store: Store, settings: EmbedSettings) -> Counts:
    """Leave all songs without an embedding."""
    return _skip(store, settings, "there is no model", "there is no model")


def comparable(store: Store, settings: SimilarSettings) -> SimilarSettings:
    """Return the settings with a space that needs no model, if there are no embeddings."""
    if EMBEDDINGS not in weights_of(settings.space) or store.exists(EMBEDDINGS):
        return settings
    return settings.model_copy(update={"space": space_without_embeddings(settings.space)})


def _skip(store: Store, settings: StageSettings, why: str, note: str) -> Counts:
    outcome = settings.stage, SKIPPED, Reason.TOO_FEW_GENRES, why
    outcomes = outcomes_table(Outcome(track_id, *outcome) for track_id in store.track_ids())
    counts = finish(store, settings, outcomes, settings.fingerprint(), fresh=0, most_failed=None)
    return CountsWithNote(**vars(counts), note=note)
