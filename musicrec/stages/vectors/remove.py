"""Remove a space of vectors from OUT, with its tags."""

from musicrec.errors import ConfigError
from musicrec.schemas import OUTCOMES
from musicrec.serve.tag_scores import models_of
from musicrec.settings import TAGS, SimilarSettings, resolve, weights_of
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
        There is no such space; or the published embeddings or similar songs were made of it, or the next would be.
    """
    tables = [table for table in (f"tags/{name}", f"vectors/{name}") if store.versions(table).root.exists()]
    if not tables:
        have = ", ".join(space.name for space in spaces(store) if not space.name.startswith(TAGS)) or "none"
        raise ConfigError(f"{store.out} has no space {name!r} that was added (there: {have}); nothing was removed")
    _check_unused(store, name)
    for table in tables:  # a run that is killed here is given again, and removes the rest
        store.versions(table).remove()
    store.work.clear(table_of(name))
    settings = resolve(SimilarSettings, store.settings.recorded("similar"))
    save_outcomes(store, table_of(name), OUTCOMES.empty_table(), settings, settings.fingerprint("without", name))
    return f"{' and '.join(reversed(tables))} removed from {store.out}"


def _check_unused(store: Store, name: str) -> None:
    """Raise ConfigError if similar songs are compared in this space or listed by its tags, or a model embeds by it."""
    embedded = store.footer("embeddings")["lineage"] if store.exists("embeddings") else {}
    if {f"vectors/{name}", f"tags/{name}"} & embedded.get("made_of", {}).keys():
        raise ConfigError(
            f"{store.out / 'embeddings'} stands on the space {name}, which model {embedded['model']} reads, so nothing "
            f"was removed; first embed by a model of other spaces: musicrec embed {store.out} --model NAME"
        )
    made_of = store.footer("similar")["lineage"].get("made_of", {}) if store.exists("similar") else {}
    settings = resolve(SimilarSettings, store.settings.recorded("similar"))
    uses = {
        "--space embeddings": f"vectors/{name}" in made_of or name in weights_of(settings.space),
        "--require-tag none --exclude-tag none": f"tags/{name}" in made_of or name in models_of(settings),
    }
    options = " ".join(option for option, is_used in uses.items() if is_used)
    if options:
        raise ConfigError(
            f"{store.out / 'similar'} stands on the space {name}, so nothing was removed; first make another table: "
            f"musicrec similar {store.out} {options}"
        )
