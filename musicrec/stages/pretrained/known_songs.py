"""The songs that a pretrained model is run on: which are wanted, what is known, what is left without the model."""

import pyarrow as pa
import pyarrow.compute as pc

from musicrec.audio import DEFAULT_LIMITS
from musicrec.schemas import OUTCOMES, SKIPPED, Reason
from musicrec.settings import PretrainedSettings
from musicrec.stages.extract.track_rows import Wanted
from musicrec.stages.vectors.stage import VectorsCounts
from musicrec.store.outcomes import Outcome, count, outcomes_table, save_outcomes
from musicrec.store.spaces import read_space, table_of
from musicrec.store.store import Store
from musicrec.store.table_spec import rows_of

MODEL_S = 0.01  # CPU seconds for each second of a clip; used to cut shards only
USUAL_S = 240.0  # length of a song whose length is unknown


def wanted_songs(store: Store, settings: PretrainedSettings, space_id: str) -> list[Wanted]:
    """Return every song of the catalog, by id, with the fingerprint of its content, the settings and the space."""
    names = ["track_id", "uri", "content_hash", "size_bytes", "duration_s"]
    columns = store.read("tracks", names).sort_by("track_id").to_pydict()
    return [
        Wanted(track_id, uri, settings.fingerprint(hash_ or "", space_id), size or 0, _work_s(settings, length))
        for track_id, uri, hash_, size, length in zip(*columns.values(), strict=True)
    ]


def _work_s(settings: PretrainedSettings, duration_s: float | None) -> float:
    """Estimate the CPU seconds of a song from its length, which may be unknown or wrong."""
    most = settings.duration_s or DEFAULT_LIMITS.max_decoded_s
    return MODEL_S * min(most, duration_s or settings.duration_s or USUAL_S)


def published_outcomes(store: Store, table: str) -> pa.Table:
    """Return the outcomes of the last run."""
    if not store.exists("outcomes"):
        return OUTCOMES.empty_table()
    return store.read("outcomes", filter=pc.field("stage") == table).cast(OUTCOMES)


def keep_vectors(store: Store, settings: PretrainedSettings, name: str) -> VectorsCounts:
    """Leave the vectors of a space as they are, since their model is gone; songs that need it have no vector."""
    table, space = table_of(name), read_space(store, name)
    before = published_outcomes(store, table)
    known = dict(zip(rows_of(before), before.to_pylist(), strict=True))
    model_is_gone = f"the model {settings.model} is not on this machine"
    outcomes = outcomes_table(
        Outcome(**known[track.row])
        if track.row in known
        else Outcome(track.track_id, table, SKIPPED, Reason.NO_VECTOR, model_is_gone)  # without what makes it known
        for track in wanted_songs(store, settings, space.space_id)
    )
    counts = count(table, store.track_ids(), outcomes, 0)
    save_outcomes(store, table, outcomes, settings, settings.fingerprint(space.space_id))
    n_waiting = outcomes["detail"].to_pylist().count(model_is_gone)
    waiting = f", and new or changed songs wait for it: {n_waiting:,}" if n_waiting else ""
    remedy = f"to add it again: musicrec models add {settings.model}"
    note = f"{model_is_gone}, so its vectors stay as they were{waiting}; {remedy}"
    return VectorsCounts(**vars(counts), notes=(note,))
