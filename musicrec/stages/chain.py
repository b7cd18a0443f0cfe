"""The chain of all stages, from a folder of songs to a published table and a report: a first run, and every night."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow.compute as pc

from musicrec.cluster.deadline import check_deadline, deadline
from musicrec.cluster.resources import is_embedded
from musicrec.cluster.watchdog import SECONDS_PER_FILE
from musicrec.errors import ConfigError
from musicrec.files.paths import AnyPath, read_bytes, real_path, to_path
from musicrec.monitor.log import log_event
from musicrec.schemas import OK
from musicrec.serve.tag_scores import models_of, published_tags, with_models
from musicrec.settings import (
    OWN_SPACES,
    TAGS,
    CatalogSettings,
    DuplicatesSettings,
    EmbedSettings,
    ExtractSettings,
    PretrainedSettings,
    SimilarSettings,
    TrainSettings,
    resolve,
    weights_of,
)
from musicrec.stages.default_model import default_model, tell_default_model
from musicrec.stages.default_space import default_space, tell_default
from musicrec.stages.run_report import (
    FAILURES_NAMED,
    RunReport,
    describe_changes,
    describe_failures,
    failures,
    reported,
)
from musicrec.store.outcomes import Counts
from musicrec.store.spaces import require_spaces, table_of
from musicrec.store.store import Store

if TYPE_CHECKING:
    from musicrec.models.pretrained.card import Card
    from musicrec.report.times_section import Figures


class ChainSettings(NamedTuple):
    """The settings of every stage of the chain."""

    catalog: CatalogSettings
    extract: ExtractSettings
    train: TrainSettings
    embed: EmbedSettings
    duplicates: DuplicatesSettings
    similar: SimilarSettings

    def with_what_the_model_reads(self) -> "ChainSettings":
        """Return these settings, with extract making the table that the model to train reads."""
        from musicrec.stages.model_inputs import OPTIONS, table_of

        needed = {table_of(self.train): True} if table_of(self.train) in OPTIONS else {}
        return self._replace(extract=self.extract.model_copy(update=needed))

    def of_a_night(self) -> "ChainSettings":
        """Return these settings for :func:`refresh`: train gets the model of embed."""
        train = self.train.model_copy(update={"model": self.embed.model})
        return self._replace(train=train).with_what_the_model_reads()


def chain_settings(store: Store, *layers: Mapping[str, Mapping[str, Any]]) -> ChainSettings:
    """Return the settings of every stage of the chain.

    Parameters
    ----------
    store : Store
        OUT; a setting that no layer gives is as in its last run, or the default. The default model and the default
        space of a new OUT depend on whether TensorFlow and which pretrained models are on this machine.
    *layers : mapping of str to mapping
        Values by name of the stage and of the setting; the earlier layer wins.

    Raises
    ------
    ConfigError
        A stage or a setting is unknown, or a value is out of range.
    """
    stages = ChainSettings.__annotations__
    if unknown := [name for layer in layers for name in layer if name not in stages]:
        raise ConfigError(f"settings of {unknown[0]!r}: no such stage; expected one of {', '.join(stages)}")
    defaults: dict[str, Mapping[str, Any]] = {
        TrainSettings.stage: default_model(),
        EmbedSettings.stage: default_model(),
        SimilarSettings.stage: {"space": default_space(store)},
    }
    catalog, *others = (
        resolve(cls, *(layer.get(name, {}) for layer in (*layers, {name: store.settings.recorded(name)}, defaults)))
        for name, cls in stages.items()
    )
    source = real_path(to_path(catalog.source))  # the same path from every working folder and link
    return ChainSettings(catalog.model_copy(update={"source": source}), *others)


def run(
    store: Store,
    settings: ChainSettings,
    *,
    address: str | None = None,
    show: Callable[[object], None] = print,
    **how: Any,  # noqa: ANN401
) -> AnyPath:
    """Run every stage that is not up to date.

    Parameters
    ----------
    store : Store
        OUT, locked by the caller.
    settings : ChainSettings
        Settings of each stage.
    address : str, optional
        Ray cluster; embedded by default.
    show : callable
        Called with the counts of each stage as it ends.
    **how
        As for :func:`stages`.

    Returns
    -------
    pathlib.Path or upath.UPath
        The report page.
    """
    tell_default_model(store, settings.train)
    tell_default(store, settings.similar)
    store.set_parts_apart()
    with reported(store, "run", on_cluster=not is_embedded(address)) as done:
        failed_before = failures(store)
        for name, stage in stages(store, settings, address=address, **how).items():
            show(done.stage(name, stage))
        _tell_failures(failures(store) - failed_before)
        return done.stage("report", lambda: report(store, done.so_far))


def refresh(
    store: Store,
    settings: ChainSettings,
    *,
    deadline_s: float | None = None,
    address: str | None = None,
    show: Callable[[str], None] = print,
    **how: Any,  # noqa: ANN401
) -> AnyPath:
    """Bring the published tables up to date with the source; train a model only if none is published.

    Parameters
    ----------
    store : Store
        OUT, locked by the caller.
    settings : ChainSettings
        Settings of each stage; the model is that of embed.
    deadline_s : float, optional
        Seconds after which the run stops: before the next stage, or inside a stage between complete pieces of work.
    address : str, optional
        Ray cluster; embedded by default.
    show : callable
        Called with a line about each stage as it ends.
    **how
        As for :func:`stages`.

    Returns
    -------
    pathlib.Path or upath.UPath
        The JSON report of the run. It is written even if the run fails.

    Raises
    ------
    DeadlinePassed
        The deadline has passed. Finished work is kept, and the next run continues from there.
    """
    tell_default(store, settings.similar)
    store.set_parts_apart()
    keep_model = store.exists(f"models/{settings.embed.model}")
    chain = stages(store, settings, address=address, keep_model=keep_model, **how)
    with reported(store, "refresh", on_cluster=not is_embedded(address)) as done, deadline(deadline_s):
        failed_before = failures(store)
        for name, stage in chain.items():
            check_deadline()
            show(f"{done.stage(name, stage)}; {_seconds(done.report, name)}")
            if name == "catalog":
                show(describe_changes(done.report.songs))
                log_event("songs", "", **done.report.songs)
        _tell_failures(failures(store) - failed_before, show)
        check_deadline()
        page = done.stage("report", lambda: report(store, done.so_far))
        show(f"report: {page}; {_seconds(done.report, 'report')}")
    return done.path


def _tell_failures(new: set[tuple[str, str]], show: Callable[[str], None] | None = None) -> None:
    """Tell which songs have failed now, and not before: by `show`, else in the log."""
    if line := describe_failures(new):
        if show:
            show(line)
        log_event("failed", "" if show else line, songs=dict(sorted(new)[:FAILURES_NAMED]), total=len(new))


def _seconds(done: RunReport, stage: str) -> str:
    return f"{done.stages[stage]['seconds']:.1f} s"


def stages(
    store: Store,
    settings: ChainSettings,
    *,
    address: str | None = None,
    workers: int = 1,
    retry_failed: bool = False,
    max_failed_fraction: float = 0.5,
    seconds_per_file: float = SECONDS_PER_FILE,
    limit: int | None = None,
    force: bool = False,
    max_removed_fraction: float = 1.0,
    keep_model: bool = False,
) -> dict[str, Callable[[], object]]:
    """Return the stages of the chain by name, in order, as functions to call.

    Vectors of files and of pretrained models are among them if the model reads them, similar compares songs by them, or
    rules look at their tags.

    Parameters
    ----------
    store : Store
        OUT, locked by the caller.
    settings : ChainSettings
        Settings of each stage.
    address, workers, retry_failed, max_failed_fraction, seconds_per_file, limit, force, max_removed_fraction
        As for the stages. With a limit, the stages after extract work on the songs that have been decoded.
    keep_model : bool
        Train nothing; the published model stays.

    Duplicates are looked for only if the lists are to leave them out: it takes some milliseconds a song. The map and
    what is recommended to listeners are kept up to date if they are there.
    """
    from musicrec.stages import without_genres
    from musicrec.stages.catalog.stage import catalog
    from musicrec.stages.similar.stage import similar
    from musicrec.stages.train.stage import keep

    how: dict[str, Any] = {
        "address": address,
        "retry_failed": retry_failed,
        "max_failed_fraction": max_failed_fraction,
        "seconds_per_file": seconds_per_file,
    }
    settings = settings._replace(similar=_with_models(store, settings.similar))
    chain: dict[str, Callable[[], object]] = {
        "catalog": lambda: catalog(store, settings.catalog, force=force, max_removed_fraction=max_removed_fraction),
        "extract": lambda: _extract(store, settings, keep_model=keep_model, limit=limit, force=force, **how),
        **_stages_of_spaces(store, settings, spaces_of_models(store, settings, keep_model=keep_model), **how),
        "train": lambda: (
            keep(store, settings.train)
            if keep_model
            else without_genres.train_if_possible(store, settings.train, address=address, workers=workers)
        ),
        "embed": lambda: _embed(store, settings.embed, address=address),
        **_stages_of_spaces(store, settings, _spaces_of_lists(settings.similar), **how),
        "duplicates": lambda: _duplicates(store, settings, address=address),
        "similar": lambda: similar(store, without_genres.comparable(store, settings.similar), address=address),
    }
    if not settings.similar.no_duplicates:
        del chain["duplicates"]
    if store.exists("map"):
        chain["map"] = lambda: _map(store)
    if store.exists("histories") and store.exists("recommendations"):
        chain["recommendations"] = lambda: _recommendations(store, address=address)
    return chain


def _extract(store: Store, settings: ChainSettings, *, keep_model: bool, **how: Any) -> Counts:  # noqa: ANN401
    """Decode the songs, once it is said what will not work with them."""
    from musicrec.stages import without_genres
    from musicrec.stages.extract.stage import extract

    without_genres.foretell(store, settings.train, settings.similar, keep_model=keep_model)
    return extract(store, settings.extract, **how)


def _embed(store: Store, settings: EmbedSettings, *, address: str | None) -> Counts:
    """Embed the songs, unless there is no model because none could learn their genres."""
    from musicrec.stages import without_genres
    from musicrec.stages.embed import embed

    if without_genres.has_no_model(store, settings):
        return without_genres.skip_embedding(store, settings)
    return embed(store, settings, address=address)


def _duplicates(store: Store, settings: ChainSettings, *, address: str | None) -> Counts:
    """Find the files that hold one recording."""
    from musicrec.stages.duplicates.stage import duplicates

    return duplicates(store, settings.duplicates, address=address)


def _map(store: Store) -> Counts:
    """Bring the map up to date with the lists."""
    from musicrec.stages.map.stage import refresh_map

    return refresh_map(store)


def _recommendations(store: Store, *, address: str | None) -> object:
    """Bring what is recommended to listeners up to date with the lists."""
    from musicrec.stages.recommendations.stage import refresh_recommendations

    return refresh_recommendations(store, address=address)


def spaces_of_models(store: Store, settings: ChainSettings, *, keep_model: bool) -> tuple[str, ...]:
    """Return the spaces that the chain's models read: the one that is trained, and a published one that embeds."""
    from musicrec.models import read_card, with_defaults

    names = () if keep_model else with_defaults(settings.train).space
    embeds = f"models/{settings.embed.model}"
    if (keep_model or settings.embed.model != settings.train.model) and store.exists(embeds):
        names += tuple(read_card(store.path(embeds))["input"].get("spaces", {}))
    return tuple(dict.fromkeys(names))


def _spaces_of_lists(settings: SimilarSettings) -> tuple[str, ...]:
    """Return the spaces in which songs are compared, and those of the tags that rules look at."""
    return tuple(dict.fromkeys([*weights_of(settings.space), *(f"{TAGS}{model}" for model in models_of(settings))]))


def _stages_of_spaces(
    store: Store,
    settings: ChainSettings,
    names: tuple[str, ...],
    **how: Any,  # noqa: ANN401
) -> dict[str, Callable[[], Counts]]:
    """Return the stages that bring spaces up to date.

    What is not there yet is made if a model of this machine has its name. A model is run on the songs that extract has
    decoded.
    """
    from musicrec.models.pretrained.library import installed
    from musicrec.stages.pretrained.stage import is_of_model, run_pretrained, run_pretrained_again
    from musicrec.stages.vectors.stage import is_of_file, refresh_vectors

    found: dict[str, Callable[[], Counts]] = {}
    for name in names:
        model = name.removeprefix(TAGS)  # the same run makes its vectors and its tags
        if is_of_file(store, name):
            found[table_of(name)] = partial(refresh_vectors, store, name)
        elif is_of_model(store, name):
            found[table_of(model)] = partial(_on_decoded, run_pretrained_again, store, model, **how)
        elif name not in OWN_SPACES and name in _names(installed()):
            clip = {"offset_s": settings.extract.offset_s, "duration_s": settings.extract.duration_s}
            asked = PretrainedSettings(model=model, **clip)
            found[table_of(model)] = partial(_on_decoded, run_pretrained, store, asked, **how)
        else:
            require_spaces(store, (name,))
    return found


def _on_decoded(stage: Callable[..., Counts], store: Store, *arguments: Any, **how: Any) -> Counts:  # noqa: ANN401
    """Run a stage on the songs that extract has decoded by now."""
    is_decoded = (pc.field("stage") == ExtractSettings.stage) & (pc.field("status") == OK)
    decoded = store.read("outcomes", ["track_id"], is_decoded)["track_id"].to_pylist()
    return stage(store, *arguments, only=set(decoded), **how)


def _with_models(store: Store, settings: SimilarSettings) -> SimilarSettings:
    """Return the settings with the model of each tag, which may be one of this machine whose tags are not there yet."""
    from musicrec.models.pretrained.library import installed

    if not settings.require_tag and not settings.exclude_tag:
        return settings
    here = {card.name: card.tags for card in installed() if card.tags}
    compared = {name: here[name] for name in (n.removeprefix(TAGS) for n in weights_of(settings.space)) if name in here}
    return with_models(store, settings, {**compared, **published_tags(store)}, here)


def _names(models: Sequence["Card"]) -> set[str]:
    """Return the names of the spaces that pretrained models make."""
    return {card.name for card in models} | {f"{TAGS}{card.name}" for card in models if card.tags}


def report(store: Store, so_far: "tuple[str, Figures] | None" = None) -> AnyPath:
    """Return the path of the report; write it first if it is missing or does not match the published tables.

    Parameters
    ----------
    store : Store
    so_far : tuple, optional
        As for :func:`musicrec.report.write_report`.
    """
    path = store.out / "report.html"
    if not path.exists() or store.state() not in read_bytes(path).decode():
        from musicrec.report import write_report

        write_report(store, so_far)
    return path
