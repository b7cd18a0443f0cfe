"""Why an OUT has no genre model, where its songs have too few genres for one."""

import pyarrow.compute as pc

from musicrec.schemas import Reason
from musicrec.store.store import Store


def why_no_model(store: Store) -> str | None:
    """Return why train has made no model; None if it has, or has not run."""
    if not store.exists("outcomes"):
        return None
    is_why = (pc.field("stage") == "train") & (pc.field("reason") == Reason.TOO_FEW_GENRES)
    details = store.read("outcomes", ["detail"], is_why)["detail"]
    return str(details[0]) if len(details) else None
