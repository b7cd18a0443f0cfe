"""Run a pretrained model on every song, and publish the space of its vectors: the table ``vectors/NAME``.

Songs are decoded in Ray tasks whose workers keep the model. Each worker computes the golden vectors of the model's card
before its first song, and the run stops if they differ. A song that already has a vector by the same model keeps it.
"""

import uuid
from collections.abc import Collection
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from musicrec.cluster.lazy_ray import ray, remote
from musicrec.cluster.tasks import compiling, connect, task_options
from musicrec.cluster.watchdog import SECONDS_PER_FILE
from musicrec.files.parquet import read_parquet, write_parquet
from musicrec.files.paths import AnyPath, read_bytes, write_atomic
from musicrec.models.pretrained.card import Card, parse_card, to_toml
from musicrec.models.pretrained.checks import check_golden
from musicrec.models.pretrained.library import CARD, FILE, is_installed, read_model
from musicrec.models.pretrained.session import Pretrained
from musicrec.monitor.progress import Progress
from musicrec.schemas import FAILED, OK, SKIPPED, Reason, tags_schema
from musicrec.settings import PretrainedSettings, resolve
from musicrec.stages.extract.faults import Verdict, is_outdated
from musicrec.stages.extract.plan import reasons_of
from musicrec.stages.extract.track_rows import Wanted
from musicrec.stages.pretrained.golden_notes import describe_golden, forget_golden, note_golden
from musicrec.stages.pretrained.known_songs import keep_vectors, published_outcomes, wanted_songs
from musicrec.stages.pretrained.pretrained_rows import OUTPUTS, output_table, pretrained_row
from musicrec.stages.song_tasks import Job, ShardResult, run_songs, stage_songs
from musicrec.stages.vectors.stage import VectorsCounts
from musicrec.store.lineage import made_by
from musicrec.store.outcomes import Counts, Outcome, check_failures, count, outcomes_table, save_outcomes
from musicrec.store.spaces import PublishedSpace, SpaceCard, publish_space, table_of
from musicrec.store.staging import read_staged
from musicrec.store.store import Store
from musicrec.store.table_parts import ROWS_FILE
from musicrec.store.table_spec import Row, rows_of

MEMORY = 700 * 2**20  # bytes per worker, with its libraries
ROWS = pa.schema([("track_id", pa.string()), ("fingerprint", pa.string())])


def run_pretrained(
    store: Store,
    settings: PretrainedSettings,
    *,
    address: str | None = None,
    gpu: bool = False,
    retry_failed: bool = False,
    max_failed_fraction: float = 0.5,
    seconds_per_file: float = SECONDS_PER_FILE,
    only: Collection[str] | None = None,
) -> Counts:
    """Bring ``vectors/NAME``, and ``tags/NAME`` if the model has tags, up to date with the catalog and the model.

    Parameters
    ----------
    store : Store
        OUT, locked by the caller, with a catalog.
    settings : PretrainedSettings
        Which model, and which part of each song.
    address : str, optional
        Ray cluster; embedded by default.
    gpu : bool
        Give every task a GPU. The last digits of the vectors then differ from those of a CPU.
    retry_failed : bool
        Try failed songs again.
    max_failed_fraction : float
        The stage fails if more than this share of the songs failed.
    seconds_per_file : float
        A song fails if it takes longer.
    only : collection of str, optional
        Ids of the songs that extract has decoded: the others are skipped. Without it, each song is tried.

    Raises
    ------
    ConfigError
        The model is not on this machine; or `gpu` is true, and no node has a GPU.
    ModelError
        A worker computes other golden vectors than the model's card holds; or `gpu` is true, and its onnxruntime has no
        support of GPUs.
    MusicrecError
        Too many songs failed.
    """
    content, card = read_model(settings.model)
    run = _Run(store, settings, card)
    wanted = wanted_songs(store, settings, run.space.space_id)
    tracks = [track for track in wanted if only is None or track.track_id in only]
    known = run.known(retry_failed=retry_failed)
    todo = [track for track in tracks if track.row not in known]
    with Progress(run.table, len(tracks), len(tracks) - len(todo)) as progress:
        if todo:
            connect(address)
            _run_all(run, content, todo, progress, gpu=gpu, seconds_per_file=seconds_per_file)
    outcomes = pa.concat_tables([_publish(run, tracks), _left_out(run, only)])
    golden = describe_golden(store.work.folder(run.job.work), card)
    counts = VectorsCounts(**vars(count(run.table, store.track_ids(), outcomes, len(todo))), notes=golden)
    save_outcomes(store, run.table, outcomes, settings, settings.fingerprint(run.space.space_id))
    store.work.clear(run.table)
    check_failures(counts, max_failed_fraction)
    return counts


def run_pretrained_again(store: Store, name: str, **how: Any) -> Counts:  # noqa: ANN401
    """Bring a space that :func:`run_pretrained` has published up to date with the catalog, with the same settings.

    If its model is no longer on this machine, the vectors stay as they are.
    """
    settings = resolve(PretrainedSettings, store.footer(table_of(name))["settings"])
    if not is_installed(settings.model):
        return keep_vectors(store, settings, name)
    return run_pretrained(store, settings, **how)


def is_of_model(store: Store, name: str) -> bool:
    """Return whether the vectors of a space were made by :func:`run_pretrained`."""
    table = table_of(name)
    return store.exists(table) and store.footer(table)["algorithm"].startswith(f"{PretrainedSettings.stage} ")


class _Run(NamedTuple):
    """The input of one run."""

    store: Store
    settings: PretrainedSettings
    card: Card

    @property
    def table(self) -> str:
        """Name of the table, of the stage of its outcomes, and of its work folder."""
        return table_of(self.card.name)

    @property
    def tags(self) -> str:
        """Name of the table of its tags."""
        return f"tags/{self.card.name}"

    @property
    def space(self) -> PublishedSpace:
        """The space of the vectors."""
        card, dimension = self.card, len(self.card.golden[0].vector)
        about = SpaceCard(
            model=card.name,
            weights=card.weights,
            front_end=f"{card.front_end} at {card.sample_rate} Hz",
            windowing=f"{card.window_s:g} s every {card.hop_s:g} s, {card.short}",
            pooling=card.pooling,
            licence=card.licence,
            source=card.source,
        )
        return PublishedSpace(card.name, about.space_id(dimension, card.weights), dimension, about)

    @property
    def job(self) -> Job:
        """What is staged."""
        table = output_table(self.space.dimension + len(self.card.tags))
        return Job(self.table, f"{self.table}/{self.settings.fingerprint(self.space.space_id)}", [table])

    def known(self, *, retry_failed: bool) -> set[Row]:
        """Return the songs, each with its fingerprint, that need not be computed: vector or failure are known."""
        staged, published = (
            read_staged(self.store.work, self.job.work).outcomes,
            published_outcomes(self.store, self.table),
        )
        vectors = self.published_rows()
        known = {
            row
            for (row, reason, detail), status in zip(reasons_of(published), _statuses(published), strict=True)
            if (status == OK and row in vectors)
            or (status != OK and not (retry_failed and status == FAILED) and not is_outdated(reason, detail))
        }
        return known | set(rows_of(staged))

    def published_rows(self) -> set[Row]:
        """Return the rows whose vectors, and tags, are published and were made by this model."""
        tables = [self.table, *([self.tags] if self.card.tags else [])]
        return set.intersection(*map(self._rows_in, tables))

    def _rows_in(self, table: str) -> set[Row]:
        if not self.store.exists(table):
            return set()
        footer, rows = self.store.footer(table), self.store.path(table) / ROWS_FILE
        by_this = footer["lineage"]["space"]["id"] == self.space.space_id
        by_this &= footer["algorithm"] == made_by(self.settings)["algorithm"]
        return set(rows_of(read_parquet(rows))) if by_this and rows.exists() else set()


# --- in the workers ---------------------------------------------------------------------------------------------------


class Shared(NamedTuple):
    """Values that all shards of a run share."""

    out: AnyPath
    settings: PretrainedSettings
    job: Job
    seconds_per_file: float
    gpu: bool
    run: str  # unique name of the run


def _run_all(
    run: _Run, content: bytes, todo: list[Wanted], progress: Progress, *, gpu: bool, seconds_per_file: float
) -> None:
    """Stage every open song."""
    options = task_options(MEMORY + 4 * len(content), gpu=gpu)
    folder = run.store.work.folder(run.job.work)
    write_atomic(folder / FILE, content)
    write_atomic(folder / CARD, to_toml(run.card).encode())
    forget_golden(folder)
    shared = ray.put(Shared(run.store.out, run.settings, run.job, seconds_per_file, gpu, uuid.uuid4().hex))
    task = _run_shard.options(**options)
    run_songs(
        run.store, run.job, todo, lambda shard, verdict: task.remote(shard, shared, verdict),
        seconds_per_file=seconds_per_file, progress=progress,
    )  # fmt: skip


@remote(num_cpus=1, max_retries=0)
def _run_shard(shard: list[Wanted], shared: Shared, verdict: Verdict) -> ShardResult:
    """Stage one shard."""
    store, job = Store(shared.out), shared.job
    model = _model(store.work.folder(job.work), shared.run, gpu=shared.gpu)
    return stage_songs(
        store, job, shard, lambda track, clock: pretrained_row(track, shared.settings, job.stage, model, clock),
        seconds_per_file=shared.seconds_per_file, run=shared.run, verdict=verdict,
    )  # fmt: skip


@lru_cache(maxsize=1)
def _model(folder: AnyPath, run: str, *, gpu: bool) -> Pretrained:
    """Load the model of a run, once per worker, and check that this machine computes its golden vectors."""
    card = parse_card(read_bytes(folder / CARD).decode(), str(folder / CARD))
    model = Pretrained(read_bytes(folder / FILE), card, gpu=gpu)
    with compiling():
        note_golden(folder, check_golden(model))
    return model


# --- publishing -------------------------------------------------------------------------------------------------------


def _statuses(outcomes: pa.Table) -> list[str]:
    statuses: list[str] = outcomes["status"].to_pylist()
    return statuses


def _publish(run: _Run, tracks: list[Wanted]) -> pa.Table:
    """Publish the vectors of all songs that have one, unless they are published; return the outcome of every song."""
    staged = read_staged(run.store.work, run.job.work)
    both = pa.concat_tables([published_outcomes(run.store, run.table), staged.outcomes])
    at = {row: i for i, row in enumerate(rows_of(both))}
    outcomes = both.take(pa.array([at[track.row] for track in tracks if track.row in at], pa.int64()))
    wanted = outcomes.filter(pc.field("status") == OK).select(["track_id", "fingerprint"])
    rows = rows_of(wanted)
    if not rows or run.published_rows() == set(rows):
        return outcomes
    where = dict(staged.places(run.job.tables[0]))
    kept = [row for row in rows if row not in where]
    outputs = _outputs(run, kept, {row: where[row] for row in rows if row in where})
    left_out = outcomes.filter(pc.field("status") != OK)
    matrix = pc.list_flatten(outputs["embedding"]).to_numpy().reshape(len(outputs), -1)
    ids = outputs["track_id"].combine_chunks()
    if run.card.tags:
        _publish_tags(run, wanted, outputs, keeps_rows=bool(kept))
    how: dict[str, Any] = {"left_out": left_out, "songs": wanted.cast(ROWS), "keeps_rows": bool(kept)}
    publish_space(run.store, run.settings, run.space, ids, matrix, **how)
    return outcomes


def _left_out(run: _Run, only: Collection[str] | None) -> pa.Table:
    """Return the outcomes of the songs that are not tried; they have no fingerprint, so a later run tries them."""
    others = [] if only is None else [track_id for track_id in run.store.track_ids() if track_id not in only]
    return outcomes_table(Outcome(track_id, run.table, SKIPPED, Reason.NO_FEATURES) for track_id in others)


def _outputs(run: _Run, kept: list[Row], staged: dict[Row, AnyPath]) -> pa.Table:
    """Return vector and tags of songs that are published or staged, by ascending id."""
    pieces = [OUTPUTS.empty_table()]
    by_file: dict[AnyPath, list[str]] = {}
    for (track_id, _), file in staged.items():
        by_file.setdefault(file, []).append(track_id)
    for file, track_ids in by_file.items():
        rows = read_parquet(file)
        pieces.append(rows.filter(pc.is_in(rows["track_id"], pa.array(track_ids))))
    if kept:
        pieces.append(_kept(run, pa.array([track_id for track_id, _ in kept])))
    return pa.concat_tables(piece.cast(OUTPUTS) for piece in pieces).sort_by("track_id").combine_chunks()


def _kept(run: _Run, track_ids: pa.Array) -> pa.Table:
    """Return vector and tags of some songs as they are published."""
    vectors = run.store.read(run.table)
    vectors = vectors.take(pc.index_in(track_ids, vectors["track_id"].combine_chunks()))
    tags = np.zeros((len(track_ids), 0), np.float32)
    if run.card.tags:
        table = run.store.read(run.tags)
        table = table.take(pc.index_in(track_ids, table["track_id"].combine_chunks()))
        tags = np.stack([table[tag].to_numpy() for tag in run.card.tags], axis=1)
    return pa.table([track_ids, vectors["embedding"], list(tags)], schema=OUTPUTS)


def _publish_tags(run: _Run, rows: pa.Table, outputs: pa.Table, *, keeps_rows: bool) -> None:
    """Publish the table ``tags/NAME``."""
    values = pc.list_flatten(outputs["tags"]).to_numpy().reshape(len(outputs), -1)
    fingerprint = run.settings.fingerprint(run.space.space_id, *rows["fingerprint"].to_pylist())
    columns: list[Any] = [outputs["track_id"], *(pa.array(column) for column in np.ascontiguousarray(values.T))]
    with run.store.new_version(run.tags, run.settings, fingerprint, space=run.space.lineage) as version:
        if keeps_rows:
            version.keep_rows_of(run.store.footer(run.tags))
        version.write_part(pa.table(columns, schema=tags_schema(run.card.tags)))
        write_parquet(version.folder / ROWS_FILE, rows.cast(ROWS))
        run.store.publish(version)
