"""Compare the songs and publish their lists as a table: the gate, Parquet parts, the sidecar, the swap of versions."""

import logging

import numpy as np

from musicrec.cluster.tasks import connect
from musicrec.errors import PublishError
from musicrec.files.paths import remove
from musicrec.monitor import log
from musicrec.serve.comparable_songs import Vectors
from musicrec.serve.space_shares import write_shares
from musicrec.serve.table_writer import write_table
from musicrec.serve.tag_scores import passing
from musicrec.settings import SimilarSettings
from musicrec.similarity import Lists
from musicrec.similarity.list_quality import NO_SONG
from musicrec.stages.similar.all_pairs import compare
from musicrec.stages.similar.beside_features import KEY, beside_features, warning
from musicrec.stages.similar.gate import gate
from musicrec.stages.similar.kept_lists import FOLDER, Compared, save
from musicrec.stages.similar.published_table import read_by_rules
from musicrec.store.store import Store

VERSIONS_KEPT = 3  # older versions that stay on disk beside the published one
EMPTY_LIST = Lists(np.full((1, 1), NO_SONG, np.int32), np.full((1, 1), -np.inf, np.float32))  # of an only song


def compare_and_publish(
    store: Store, settings: SimilarSettings, fingerprint: str, vectors: Vectors, *, address: str | None, gpu: bool
) -> None:
    """Compare all songs on Ray, and publish their lists as the table with this fingerprint."""
    if len(vectors.names) > 1:
        connect(address)
        compared = compare(store, settings, vectors, gpu=gpu)
    else:
        compared = Compared(EMPTY_LIST)
    publish_lists(store, settings, fingerprint, _judged(store, settings, vectors), compared)


def _judged(store: Store, settings: SimilarSettings, vectors: Vectors) -> Vectors:
    """Return the vectors with what their model is worth beside the features, and say so if it is worse."""
    found = None if settings.space else beside_features(store, vectors)
    if not found:
        return vectors
    if line := warning(found):
        log.log_event("gate", f"musicrec: {line}", level=logging.WARNING, message=line)
    return vectors._replace(origin=vectors.origin._replace(lineage=vectors.origin.lineage | {KEY: found}))


def publish_lists(
    store: Store,
    settings: SimilarSettings,
    fingerprint: str,
    vectors: Vectors,
    compared: Compared,
) -> None:
    """Publish lists as the table ``similar``, if they pass the gate.

    Parameters
    ----------
    store : Store
        OUT.
    settings : SimilarSettings
        Settings that the lists were made with, and the limits of the gate.
    fingerprint : str
        Fingerprint of the table.
    vectors : Vectors
        The songs. If they were compared in several spaces, the share of each space is published beside the lists.
    compared : Compared
        Lists of these songs. Their kept lists stay beside the table as long as it is published.

    Raises
    ------
    PublishError
        The lists did not pass the gate, or the table could not be written; the previous table stays published.
    """
    by_tag = passing(store, settings, vectors.names["track_id"])
    figures = gate(store, settings, vectors.names["track_id"], compared.lists, by_tag.n_songs)
    lineage = {**vectors.origin.lineage, "compared": dict(compared.how), "gate": figures}
    lineage["made_of"] = {**lineage.get("made_of", {}), **read_by_rules(store, settings)}
    if by_tag.by_rule:
        lineage["tags"] = by_tag.by_rule
    try:
        with store.new_version("similar", settings, fingerprint, **lineage) as version:
            write_table(version, vectors.names, *compared.lists)
            if len(vectors.widths) > 1:
                write_shares(version.folder, vectors.matrix, list(vectors.widths.values()), compared.lists.ids)
            if compared.kept:
                save(compared.kept, version.folder / FOLDER, compared.made_by)
            store.publish(version, keep=VERSIONS_KEPT)
        _keep_only_newest(store)
    except OSError as e:
        raise PublishError(
            f"similar: the table could not be written to {store.out} ({e}); the published table is unchanged; "
            f"free space there and run it again"
        ) from e


def _keep_only_newest(store: Store) -> None:
    """Remove the kept lists of older versions: they are as large as the vectors, and no refresh reads them."""
    versions = store.versions("similar")
    for name in versions.on_disk():
        if name != versions.published:
            remove(versions.root / name / FOLDER)
