"""Remove a space of vectors from OUT, with its tags."""

from musicrec.errors import ConfigError
from musicrec.models import read_card
from musicrec.schemas import OUTCOMES
from musicrec.serve.tag_scores import models_of
from musicrec.settings import OWN_SPACES, TAGS, EmbedSettings, SimilarSettings, resolve, weights_of
from musicrec.store.outcomes import save_outcomes
from musicrec.store.spaces import spaces, table_of
from musicrec.store.store import Store


def remove_space(store: Store, name: str) -> str:
    """Remove the vectors of a space, and the tags that came with them.

    Parameters
    ----------
    store : Store
        OUT, locked by the caller.
    name : str
        Name of the space.

    Returns
    -------
    str
        What was removed, in one line.

    Raises
    ------
    ConfigError
        There is no such space; or the published table of similar songs stands on it, or the next one would, or the
        model that embeds songs reads it.
    """
    tables = [table for table in (f"{TAGS}{name}", table_of(name)) if store.versions(table).root.exists()]
    if not tables or name in OWN_SPACES:
        have = ", ".join(s.name for s in spaces(store) if not s.name.startswith(TAGS)) or "none"
        raise ConfigError(f"{store.out} has no space {name!r} that was added (there: {have}); nothing was removed")
    _check_unused(store, name)
    for table in tables:  # a run that is killed here is given again, and removes the rest
        store.versions(table).remove()
    store.work.clear(table_of(name))
    settings = resolve(SimilarSettings, store.settings.recorded("similar"))
    save_outcomes(store, table_of(name), OUTCOMES.empty_table(), settings, settings.fingerprint("without", name))
    return f"{' and '.join(reversed(tables))} removed from {store.out}"


def _check_unused(store: Store, name: str) -> None:
    """Raise ConfigError if similar songs are, or will be, compared in this space or listed by its tags."""
    given = [store.settings.recorded("similar")]
    if store.exists("similar"):
        given.append(store.footer("similar")["settings"])
    asked, names = [resolve(SimilarSettings, settings) for settings in given], {name, f"{TAGS}{name}"}
    uses = {
        "--space embeddings": any(names & weights_of(settings.space).keys() for settings in asked),
        "--require-tag none --exclude-tag none": any(name in models_of(settings) for settings in asked),
    }
    options = " ".join(option for option, is_used in uses.items() if is_used)
    if options:
        raise ConfigError(
            f"{store.out / 'similar'} stands on the space {name}, so nothing was removed; first make another table: "
            f"musicrec similar {store.out} {options}"
        )
    model = resolve(EmbedSettings, store.settings.recorded("embed")).model
    if store.exists(f"models/{model}"):
        read = read_card(store.path(f"models/{model}"))["input"].get("spaces", {})
        if names & read.keys():
            raise ConfigError(
                f"the model {model} of {store.out} reads the space {name}, so nothing was removed; first embed "
                f"by another: musicrec train {store.out} --model MODEL, then musicrec embed {store.out} --model MODEL"
            )
