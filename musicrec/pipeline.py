"""The whole chain, from a folder of songs to a published table and a report."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from musicrec.accounting import Counts
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


def run(
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
    tell: Callable[[Counts], None] = print,
) -> Path:
    """Run every stage that is not up to date.

    Parameters
    ----------
    store : Store
        OUT, locked by the caller.
    settings : ChainSettings
        Of each stage.
    address, workers, retry_failed, max_failed_fraction, seconds_per_file, limit, force
        As for the stages; with a limit the stages after extract work on the songs that have been decoded.
    tell : callable
        Called with the counts of each stage as it ends.

    Returns
    -------
    pathlib.Path
        The report.
    """
    from musicrec.catalog import catalog
    from musicrec.embed import embed
    from musicrec.extract import extract
    from musicrec.similar import similar
    from musicrec.train import train

    stages: list[Callable[[], Counts]] = [
        lambda: catalog(store, settings.catalog, force=force),
        lambda: extract(
            store,
            settings.extract,
            address=address,
            retry_failed=retry_failed,
            max_failed_fraction=max_failed_fraction,
            seconds_per_file=seconds_per_file,
            limit=limit,
            force=force,
        ),
        lambda: train(store, settings.train, address=address, workers=workers),
        lambda: embed(store, settings.embed, address=address),
        lambda: similar(store, settings.similar, address=address),
    ]
    for stage in stages:
        tell(stage())
    report = store.out / "report.html"
    if not report.exists() or store.state() not in report.read_text(encoding="utf-8"):
        from musicrec.report import write_report

        write_report(store)
    return report
