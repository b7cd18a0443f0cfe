"""The model that a new OUT trains: the best one that this installation can train."""

from musicrec.models.network import NETWORKS_REMEDY, has_tensorflow
from musicrec.monitor import log
from musicrec.settings import ClassicalName, TrainSettings
from musicrec.store.store import Store

WITHOUT_TENSORFLOW: ClassicalName = "logistic"


def default_model() -> dict[str, str]:
    """Return the model that takes the place of the settings' default; nothing where that can be trained."""
    return {} if has_tensorflow() else {"model": WITHOUT_TENSORFLOW}


def tell_default_model(store: Store, settings: TrainSettings) -> None:
    """Say that the model is not the usual one, if that is so because TensorFlow is not installed."""
    if {"model": settings.model} == default_model() and not store.exists(f"models/{settings.model}"):
        line = f"TensorFlow is not installed, so the model is {settings.model}; {NETWORKS_REMEDY}"
        log.log_event("default_model", line, model=settings.model)
