"""The gate: the conditions that a new table of similar songs must meet to be published."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.errors import PublishError, SchemaError
from musicrec.settings import SimilarSettings
from musicrec.similarity import Lists, check_lists, churn, quality
from musicrec.similarity.rules import score_range
from musicrec.stages.similar.published_table import published_lists
from musicrec.store.store import Store

SONGS_PER_N_FOR_HUBS = 20  # with fewer than 20·n songs, even the mean song is in over 5 % of the lists


def gate(
    store: Store, settings: SimilarSettings, track_ids: pa.ChunkedArray, lists: Lists, n_passing: int
) -> dict[str, float | None]:
    """Return the figures of the new table; raise PublishError if one is outside its limit.

    Coverage is the share of the songs that the rules for tags let pass, of which there are `n_passing`.
    """
    ids, scores = lists
    n_songs = len(track_ids)
    if ids.shape != (n_songs, max(1, min(settings.n, n_songs - 1))):
        raise PublishError(f"similar: lists of shape {ids.shape} for {n_songs} songs; not every song has a list")
    short_lists = check_lists(ids, scores, score_range(settings))
    figures = quality(ids)
    figures = figures._replace(coverage=figures.coverage * n_songs / n_passing)
    changed = _churn(store, track_ids, ids)
    enough_songs = n_passing >= SONGS_PER_N_FOR_HUBS * settings.n
    limits = [
        ("coverage", figures.coverage, figures.coverage >= settings.min_coverage or n_songs < 2,
         settings.min_coverage),
        ("max_hub_share", figures.max_hub_share, figures.max_hub_share <= settings.max_hub_share or not enough_songs,
         settings.max_hub_share),
        ("churn", changed, changed is None or changed <= settings.max_churn, settings.max_churn),
    ]  # fmt: skip
    for figure, value, passes, limit in limits:
        if not passes:
            raise PublishError(
                f"similar: {figure} is {value:.3f}, its limit {limit:g}; the previous table stays published; "
                f"check the embeddings, or change the limit"
            )
    return {"songs": n_songs, "short_lists": short_lists, **figures._asdict(), "churn": changed}


def _churn(store: Store, track_ids: pa.ChunkedArray, ids: NDArray[np.int32]) -> float | None:
    """Return the churn against the published table; None if there is none or it is damaged."""
    try:
        ids_before, lists_before = published_lists(store)
    except SchemaError:
        return None
    value_set = ids_before.cast(track_ids.type).combine_chunks()
    rows_before = pc.fill_null(pc.index_in(track_ids, value_set=value_set), -1)
    return churn(lists_before, ids, rows_before.to_numpy())
