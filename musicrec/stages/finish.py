"""The end of every stage, once its tables are published: settings and outcomes are kept, and the counts must add up."""

from collections.abc import Collection

import pyarrow as pa

from musicrec.settings import StageSettings
from musicrec.store.outcomes import Counts, check_failures, count, save_outcomes
from musicrec.store.store import Store


def finish(
    store: Store,
    settings: StageSettings,
    outcomes: pa.Table,
    fingerprint: str,
    *,
    fresh: int,
    track_ids: Collection[str] | None = None,
    most_failed: float | None = 1.0,
) -> Counts:
    """Record what a stage did. Its unfinished work is removed last: until the outcomes are kept, it counts.

    Parameters
    ----------
    store : Store
        OUT, with what the stage published.
    settings : StageSettings
        Of the stage.
    outcomes : pyarrow.Table
        What became of each track, as :data:`musicrec.schemas.OUTCOMES` describes it.
    fingerprint : str
        Names what the stage published.
    fresh : int
        Tracks that the stage worked on in this run.
    track_ids : collection of str, optional
        The tracks that must each have one outcome; all of the catalog by default.
    most_failed : float or None
        Greatest share of tracks that may fail, from 0 to 1. The stage also fails when no track comes through, unless
        this is None.

    Returns
    -------
    Counts
        How many tracks came through, were skipped and failed.

    Raises
    ------
    MusicrecError
        The outcomes are not one for each track; too many tracks failed.
    """
    counts = count(settings.stage, store.track_ids() if track_ids is None else track_ids, outcomes, fresh)
    store.settings.record(settings)
    save_outcomes(store, settings.stage, outcomes, settings, fingerprint)
    store.work.clear(settings.stage)
    if most_failed is not None:
        check_failures(counts, most_failed)
    return counts
