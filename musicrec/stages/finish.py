"""The end of every stage, after its tables are published: save settings and outcomes, and check that counts add up."""

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
    """Record the result of a stage. Its work folder is cleared last, as it is needed until the outcomes are saved.

    Parameters
    ----------
    store : Store
        OUT, with the tables that the stage published.
    settings : StageSettings
        Settings of the stage.
    outcomes : pyarrow.Table
        The outcome of each track, as :data:`musicrec.schemas.OUTCOMES` describes it.
    fingerprint : str
        Fingerprint of what the stage published.
    fresh : int
        Number of tracks that the stage worked on in this run.
    track_ids : collection of str, optional
        The tracks that must each have one outcome; by default all of the catalog.
    most_failed : float or None
        Largest share of tracks that may fail, from 0 to 1. The stage also fails if no track is ok. With None, neither
        is checked.

    Returns
    -------
    Counts
        How many tracks are ok, skipped and failed.

    Raises
    ------
    MusicrecError
        There is not exactly one outcome for each track, or too many tracks failed.
    """
    counts = count(settings.stage, store.track_ids() if track_ids is None else track_ids, outcomes, fresh)
    store.settings.record(settings)
    save_outcomes(store, settings.stage, outcomes, settings, fingerprint)
    store.work.clear(settings.stage)
    if most_failed is not None:
        check_failures(counts, most_failed)
    return counts
