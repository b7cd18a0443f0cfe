"""Why a song of the catalog is not in the table of similar songs: the first stage that did not finish it."""

from collections.abc import Collection

import pyarrow.compute as pc

from musicrec.files.paths import is_unicode
from musicrec.schemas import FAILED, SKIPPED, Reason
from musicrec.store.store import Store

# These reasons do not explain why a song has no list: a model need not have been trained on a song to embed it.
NOT_THE_CAUSE = (Reason.NO_GENRE, Reason.NO_FEATURES, Reason.NEWER_THAN_MODEL)


def first_problem(store: Store, track_id: str) -> str | None:
    """Return stage, status, reason and detail in one line; None if no stage that the table needs had a problem."""
    if not is_unicode(track_id):
        return None  # no table holds it
    made_of = store.footer("similar")["lineage"].get("made_of", {})
    rows = store.read("outcomes", filter=pc.field("track_id") == track_id).to_pylist()
    outcomes = {row["stage"]: row for row in rows if row["status"] in (FAILED, SKIPPED)}
    for stage in _stages_of(made_of):
        outcome = outcomes.get(stage)
        if outcome and (stage == "similar" or outcome["reason"] not in NOT_THE_CAUSE):
            detail = f" ({outcome['detail']})" if outcome["detail"] else ""
            return f"{stage} {outcome['status']}, {outcome['reason']}{detail}"
    return None


def _stages_of(made_of: Collection[str]) -> list[str]:
    """Return the stages that a table made of some tables needs, in order, and similar itself."""
    of_files = [table for table in made_of if table.startswith("vectors/")]
    needs_embeddings = not made_of or "embeddings" in made_of
    of_audio = ["extract", "train", "embed"] if needs_embeddings else ["extract"] * ("features" in made_of)
    return ["catalog", *of_audio, *of_files, "similar"]
