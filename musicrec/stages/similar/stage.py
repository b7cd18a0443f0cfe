"""The fifth stage: find the most similar songs of every song, and publish the table if it passes its gate.

Beside its Parquet parts, a version has a sidecar for lookups: the same lists as memory-mapped arrays, and the names of
the songs.
"""

from dataclasses import dataclass

import pyarrow as pa

from musicrec.errors import MusicrecError, SchemaError
from musicrec.schemas import OK, SKIPPED, Reason
from musicrec.serve.comparable_songs import Vectors, read_vectors
from musicrec.serve.sidecar_cache import local_version
from musicrec.serve.song_facts import fingerprint_of_facts
from musicrec.serve.space_shares import read_shares
from musicrec.serve.tag_scores import passing, published_tags, with_models
from musicrec.settings import SimilarSettings
from musicrec.stages.finish import finish
from musicrec.stages.similar.published_table import describe, published_lists, read_by_rules
from musicrec.store.lineage import digest
from musicrec.store.outcomes import Counts, Outcome, outcomes_table
from musicrec.store.store import Store
from musicrec.store.versions import Withdrawn


@dataclass(frozen=True)
class SimilarCounts(Counts):
    """Counts, and which version of the table is published now, with its figures."""

    table: str

    def __str__(self) -> str:
        return f"{super().__str__()}; {self.table}"


def similar(
    store: Store, settings: SimilarSettings, *, address: str | None = None, gpu: bool = False, force: bool = False
) -> SimilarCounts:
    """Compute the top-N table of the published embeddings, or of another space, and publish it.

    A table that a rollback has withdrawn is not published again while its inputs and settings stay the same, unless
    `force` is true.

    Parameters
    ----------
    store : Store
        OUT, with ``tracks`` and the vectors of the space.
    settings : SimilarSettings
        Space, length of the lists, metric, rules, and the limits of the gate.
    address : str, optional
        Ray cluster; embedded by default.
    gpu : bool
        Give a GPU to each task that compares all songs.
    force : bool
        Publish the table even if it was withdrawn.

    Raises
    ------
    PublishError
        The new table did not pass its gate; the previous one stays published.
    ConfigError
        There is no such space or tag, or the rules for tags leave no song.
    SchemaError
        The vectors cannot be compared with each other.
    """
    vectors = read_vectors(store, settings.space)
    if len(vectors.names) < min(2, _n_decoded(store)):
        what = "a vector" if settings.space else "an embedding"
        raise MusicrecError(f"similar: {len(vectors.names)} songs have {what}; a table needs at least two")
    if settings.require_tag or settings.exclude_tag:
        settings = with_models(store, settings, published_tags(store))
    passing(store, settings, vectors.names["track_id"])  # refuses rules that leave no song
    names = digest(*(column.to_pylist() for column in vectors.names.columns))
    facts = fingerprint_of_facts(store, settings)
    made_of = vectors.origin.fingerprint, *read_by_rules(store, settings).values(), names, *facts
    fingerprint = settings.fingerprint(*made_of)
    compared, withdrawn = _bring_up_to_date(
        store, settings, fingerprint, vectors, address=address, gpu=gpu, force=force
    )
    outcomes = _outcomes(store, vectors.left_out)
    counts = finish(store, settings, outcomes, fingerprint, fresh=compared)
    return SimilarCounts(**vars(counts), table=_describe(store, withdrawn))


def _n_decoded(store: Store) -> int:
    """Return how many songs of the catalog have features; 2 if OUT has only vectors that were made elsewhere."""
    if not store.exists("features"):
        return 2
    decoded = set(store.read("features", ["track_id"])["track_id"].to_pylist())
    return len(decoded.intersection(store.track_ids()))


def _bring_up_to_date(
    store: Store,
    settings: SimilarSettings,
    fingerprint: str,
    vectors: Vectors,
    *,
    address: str | None,
    gpu: bool,
    force: bool,
) -> tuple[int, Withdrawn | None]:
    """Publish the table with this fingerprint; return how many songs were compared, and the version if withdrawn."""
    versions = store.versions("similar")
    withdrawn = versions.withdrawn_as(fingerprint)
    if _is_published(store, fingerprint):
        versions.confirm()
        return 0, None
    if withdrawn and not force:
        return 0, withdrawn
    if withdrawn and withdrawn.version in versions.on_disk():
        store.rollback("similar", withdrawn.version)  # forward
        return 0, None
    # Slow to import, and a quiet night needs none of it.
    from musicrec.stages.similar.publish import compare_and_publish

    compare_and_publish(store, settings, fingerprint, vectors, address=address, gpu=gpu)
    return len(vectors.names), None


def _is_published(store: Store, fingerprint: str) -> bool:
    """Return whether the table with this fingerprint is published and not damaged."""
    if not store.exists("similar") or store.footer("similar")["fingerprint"] != fingerprint:
        return False
    try:
        lists = published_lists(store)[1]
        spaces = store.footer("similar")["lineage"].get("spaces", {})
        if len(spaces) > 1:
            read_shares(local_version(store.path("similar")), (*lists.shape, len(spaces)))
    except SchemaError:
        return False
    return True


def _outcomes(store: Store, left_out: dict[str, tuple[Reason, str | None]]) -> pa.Table:
    """Return the outcome of every song of the catalog in the published table."""
    listed = set(published_lists(store)[0].to_pylist())
    name = store.footer("similar")["fingerprint"]
    return outcomes_table(
        Outcome(t, "similar", OK, fingerprint=name)
        if t in listed
        else Outcome(t, "similar", SKIPPED, *left_out.get(t, (Reason.WITHDRAWN, None)))
        for t in store.track_ids()
    )


def _describe(store: Store, withdrawn: Withdrawn | None) -> str:
    """Say which version is published and, if the newest one is withdrawn, why it is not that one."""
    published = store.versions("similar").published
    if withdrawn:
        return (
            f"{withdrawn.version} was withdrawn by a rollback on {withdrawn.at[:10]}, and {published} stays published; "
            f"to publish it again: musicrec similar {store.out} --force"
        )
    return f"{published} is published: {describe(store.footer('similar')['lineage'])}"
