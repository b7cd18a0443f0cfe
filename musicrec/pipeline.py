"""The whole chain, from a folder of songs to a published table and a report."""

from collections.abc import Callable
from typing import Any, NamedTuple

from musicrec.accounting import Counts
from musicrec.files import AnyPath, read_bytes
from musicrec.settings import CatalogSettings, EmbedSettings, ExtractSettings, SimilarSettings, TrainSettings
from musicrec.storage import Store
from musicrec.watchdog import SECONDS_PER_FILE


class ChainSettings(NamedTuple):
    """The settings of every stage of the chain."""

    catalog: CatalogSettings
    extract: ExtractSettings
    train: TrainSettings
    embed: EmbedSettings
    similar: SimilarSettings

    def with_what_the_model_reads(self) -> "ChainSettings":
        """The same, with the table extracted that the model to train needs."""
        from musicrec.songs import OPTIONS, table_of

        needed = {table_of(self.train): True} if table_of(self.train) in OPTIONS else {}
        return self._replace(extract=self.extract.model_copy(update=needed))


def run(store: Store, settings: ChainSettings, *, tell: Callable[[Counts], None] = print, **how: Any) -> AnyPath:  # noqa: ANN401
    """Run every stage that is not up to date.

    Parameters
    ----------
    store : Store
        OUT, locked by the caller.
    settings : ChainSettings
        Of each stage.
    tell : callable
        Called with the counts of each stage as it ends.
    **how
        Of :func:`stages`.

    Returns
    -------
    pathlib.Path or upath.UPath
        The report.
    """
    for stage in stages(store, settings, **how).values():
        tell(stage())
    return report(store)


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
) -> dict[str, Callable[[], Counts]]:
    """The stages of the chain by name, in order, each to be called.

    Parameters
    ----------
    store : Store
        OUT, locked by the caller.
    settings : ChainSettings
        Of each stage.
    address, workers, retry_failed, max_failed_fraction, seconds_per_file, limit, force, max_removed_fraction
        As for the stages; with a limit the stages after extract work on the songs that have been decoded.
    keep_model : bool
        Train nothing; the published model stays.
    """
    from musicrec.catalog import catalog
    from musicrec.embed import embed
    from musicrec.extract import extract
    from musicrec.similar import similar
    from musicrec.train import keep, train

    return {
        "catalog": lambda: catalog(store, settings.catalog, force=force, max_removed_fraction=max_removed_fraction),
        "extract": lambda: extract(
            store,
            settings.extract,
            address=address,
            retry_failed=retry_failed,
            max_failed_fraction=max_failed_fraction,
            seconds_per_file=seconds_per_file,
            limit=limit,
            force=force,
        ),
        "train": lambda: (
            keep(store, settings.train)
            if keep_model
            else train(store, settings.train, address=address, workers=workers)
        ),
        "embed": lambda: embed(store, settings.embed, address=address),
        "similar": lambda: similar(store, settings.similar, address=address),
    }


def report(store: Store) -> AnyPath:
    """Path of the report, written if it does not tell of what is published."""
    path = store.out / "report.html"
    if not path.exists() or store.state() not in read_bytes(path).decode():
        from musicrec.report import write_report

        write_report(store)
    return path
