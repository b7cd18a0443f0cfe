"""The scores that pretrained models gave songs for tags, as the rules of similar songs use them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.errors import ConfigError
from musicrec.settings import TAGS, Rules, TagRule, tag_rule
from musicrec.store.spaces import tag_names
from musicrec.store.store import Store

R = TypeVar("R", bound=Rules)
Tags = Mapping[str, Sequence[str]]  # by the name of the model


class Passing(NamedTuple):
    """How many songs the rules for tags let into lists."""

    n_songs: int  # that break no rule
    by_rule: list[dict[str, Any]]  # of each rule: the option, the songs that it lets pass, the songs without tags


def published_tags(store: Store) -> dict[str, list[str]]:
    """Return the tags of each model whose scores are published."""
    names = [name.removeprefix(TAGS) for name in store.published() if name.startswith(TAGS)]
    return {name: tag_names(store.dataset(TAGS + name).schema) for name in names}


def with_models(store: Store, rules: R, *known: Tags) -> R:
    """Return the rules with the model named in each rule for a tag.

    Parameters
    ----------
    store : Store
        OUT, for messages.
    rules : Rules
        The rules.
    *known : mapping of str to sequence of str
        The tags of models; a tag is looked for in the later ones only if no earlier one has it.

    Raises
    ------
    ConfigError
        No model has such a tag, or several have it.
    """
    named = {
        option: tuple(sorted(str(_with_model(store, tag_rule(text), known)) for text in getattr(rules, option)))
        for option in ("require_tag", "exclude_tag")
    }
    return rules.model_copy(update=named)


def _with_model(store: Store, rule: TagRule, known: Sequence[Tags]) -> TagRule:
    for tags in known:
        models = [model for model in tags if rule.tag in tags[model] and rule.model in ("", model)]
        if len(models) > 1:
            choices = " or ".join(f"{model}:{rule.tag}" for model in models)
            raise ConfigError(f"the tag {rule.tag!r} is one of several models; say {choices}")
        if models:
            return rule._replace(model=models[0])
    everything = {model: tags for group in known for model, tags in group.items()}
    name = f"{rule.model}:{rule.tag}" if rule.model else rule.tag
    if not everything:
        raise ConfigError(
            f"{store.out} has no tags, so none is called {name!r}; a model gives them: "
            f"musicrec models add musicnn, then musicrec vectors run {store.out} musicnn"
        )
    there = "; ".join(f"{model}: {', '.join(tags)}" for model, tags in everything.items())
    raise ConfigError(f"{store.out} has no tag {name!r}; there are, by model, {there}")


def models_of(rules: Rules) -> list[str]:
    """Return the models whose tags the rules look at, once each."""
    texts = (*rules.require_tag, *rules.exclude_tag)
    return list(dict.fromkeys(tag_rule(text).model for text in texts))


def tag_scores(store: Store, rules: Rules, track_ids: pa.ChunkedArray) -> NDArray[np.float32] | None:
    """Return float32 [n_songs, n_rules], the score of the tag of each rule, as in :class:`musicrec.similarity.Songs`.

    Parameters
    ----------
    store : Store
        OUT.
    rules : Rules
        Rules in which each tag names its model.
    track_ids : pyarrow.ChunkedArray
        The songs; one without tags gets NaN.

    Returns
    -------
    numpy.ndarray or None
        None if there is no rule for a tag.
    """
    columns = [_scores(store, tag_rule(text), track_ids) for text in (*rules.require_tag, *rules.exclude_tag)]
    return np.stack(columns, axis=1) if columns else None


def _scores(store: Store, rule: TagRule, track_ids: pa.ChunkedArray) -> NDArray[np.float32]:
    table = store.read(TAGS + rule.model, ["track_id", rule.tag])
    places = pc.index_in(track_ids, value_set=table["track_id"].combine_chunks())
    return table[rule.tag].take(places).cast(pa.float32()).fill_null(np.nan).to_numpy()


def passing(store: Store, rules: Rules, track_ids: pa.ChunkedArray) -> Passing:
    """Count the songs that the rules for tags let into lists.

    Raises
    ------
    ConfigError
        No song is left.
    """
    from musicrec.similarity import songs_of
    from musicrec.similarity.tag_rules import broken

    tags = tag_scores(store, rules, track_ids)
    if tags is None:
        return Passing(len(track_ids), [])
    breaks = broken(songs_of({"genre": [None] * len(tags)}, tags=tags), rules)
    counts = zip(options(rules), (~breaks).sum(axis=0).tolist(), np.isnan(tags).sum(axis=0).tolist(), strict=True)
    by_rule = [{"rule": option, "songs": songs, "without_tags": without} for option, songs, without in counts]
    n_songs = int((~breaks.any(axis=1)).sum())
    if not n_songs:
        raise ConfigError(f"similar: no song is left by {describe(by_rule)}; choose another score")
    return Passing(n_songs, by_rule)


def options(rules: Rules) -> list[str]:
    """Return the option of each rule for a tag."""
    return [
        *(f"--require-tag {text}" for text in rules.require_tag),
        *(f"--exclude-tag {text}" for text in rules.exclude_tag),
    ]


def describe(by_rule: list[dict[str, Any]]) -> str:
    """Say for each rule how many songs it lets pass."""
    return ", ".join(_described(**of_rule) for of_rule in by_rule)


def _described(rule: str, songs: int, without_tags: int) -> str:
    verb = "stay" if rule.startswith("--exclude") else "do not"
    without = f"; the {without_tags:,} without tags {verb}" if without_tags else ""
    return f"{rule} ({songs:,} songs pass{without})"


def tables_of(store: Store, rules: Rules) -> dict[str, str]:
    """Return the tables of tags that the rules look at, with their fingerprints."""
    return {TAGS + model: store.footer(TAGS + model)["fingerprint"] for model in models_of(rules)}
