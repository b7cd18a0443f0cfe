"""Publish lists of similar songs as a table: the gate, Parquet parts, the sidecar, the swap of versions."""

import pyarrow as pa
import pyarrow.ipc

from musicrec.errors import PublishError
from musicrec.files.paths import remove
from musicrec.serve.table_writer import write_table
from musicrec.settings import SimilarSettings
from musicrec.stages.similar.gate import gate
from musicrec.stages.similar.kept_lists import FOLDER, Compared, save
from musicrec.store.store import Store

VERSIONS_KEPT = 3  # older versions that stay on disk beside the published one


def publish_lists(
    store: Store, settings: SimilarSettings, fingerprint: str, names: pa.Table, compared: Compared
) -> None:
    """Publish lists as the table ``similar``, if they pass the gate.

    Parameters
    ----------
    store : Store
        OUT, with the ``embeddings`` that the lists were made from.
    settings : SimilarSettings
        Settings that the lists were made with, and the limits of the gate.
    fingerprint : str
        Fingerprint of the table.
    names : pyarrow.Table
        ``SIDECAR_COLUMNS`` of the songs, by ascending track_id.
    compared : Compared
        Lists of the songs in `names`. Their kept lists stay beside the table as long as it is published.

    Raises
    ------
    PublishError
        The lists did not pass the gate, or the table could not be written; the previous table stays published.
    """
    figures = gate(store, settings, names["track_id"], compared.lists)
    lineage = store.footer("embeddings")["lineage"] | {
        "made_of": made_of(store, settings),
        "compared": dict(compared.how),
        "gate": figures,
    }
    try:
        with store.new_version("similar", settings, fingerprint, **lineage) as version:
            write_table(version, names, *compared.lists)
            if compared.kept:
                save(compared.kept, version.folder / FOLDER, compared.made_by)
            store.publish(version, keep=VERSIONS_KEPT)
        _keep_only_newest(store)
    except OSError as e:
        raise PublishError(
            f"similar: the table could not be written to {store.out} ({e}); the published table is unchanged; "
            f"free space there and run it again"
        ) from e


def made_of(store: Store, settings: SimilarSettings) -> dict[str, str]:
    """Return the fingerprint of each table that the lists are made of."""
    tables = ["embeddings"]
    if settings.no_duplicates and store.exists("recordings"):
        tables.append("recordings")
    return {table: store.footer(table)["fingerprint"] for table in tables}


def _keep_only_newest(store: Store) -> None:
    """Remove the kept lists of older versions: they are as large as the vectors, and no refresh reads them."""
    versions = store.versions("similar")
    for name in versions.on_disk():
        if name != versions.published:
            remove(versions.root / name / FOLDER)
