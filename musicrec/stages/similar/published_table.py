"""The published table of similar songs: what it was made of, its lists, and what is said of it."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from musicrec.serve.sidecar import Sidecar
from musicrec.serve.sidecar_cache import local_version
from musicrec.serve.tag_scores import describe as describe_tags
from musicrec.serve.tag_scores import tables_of
from musicrec.settings import SimilarSettings
from musicrec.store.store import Store


def read_by_rules(store: Store, settings: SimilarSettings) -> dict[str, str]:
    """Return the tables that the rules look at, with their fingerprints."""
    return recordings(store, settings) | tables_of(store, settings)


def recordings(store: Store, settings: SimilarSettings) -> dict[str, str]:
    """Return the table that says which songs are one recording, with its fingerprint, if the rules use it."""
    if settings.no_duplicates and store.exists("recordings"):
        return {"recordings": store.footer("recordings")["fingerprint"]}
    return {}


def published_lists(store: Store) -> tuple[pa.ChunkedArray, NDArray[np.int32]]:
    """Return track ids and lists, int32 [N, n], of the published table, memory-mapped."""
    sidecar = Sidecar(local_version(store.path("similar")))
    return sidecar.songs["track_id"], sidecar.neighbours


def describe(lineage: dict[str, Any]) -> str:
    """Describe in one line the figures of the gate and how the lists were made."""
    figures, how = lineage.get("gate", {}), lineage.get("compared", {})
    shown = {"coverage": "coverage", "max_hub_share": "largest hub", "churn": "churn"}
    parts = [f"{words} {figures[name]:.3f}" for name, words in shown.items() if figures.get(name) is not None]
    if figures.get("short_lists"):
        parts.append(f"{figures['short_lists']} lists have fewer songs")
    if how.get("exact") is False:
        parts.append(f"approximate, recall {how['recall']:.3f}")
    if "changed" in how:
        parts.append(f"refreshed, {how['changed']:,} new or changed")
    if without := how.get("without_artist"):
        have = "song has" if without == 1 else "songs have"
        parts.append(f"{without:,} {have} no artist, so rules about artists pass")
    if "tags" in lineage:
        parts.append(describe_tags(lineage["tags"]))
    return ", ".join(parts)
