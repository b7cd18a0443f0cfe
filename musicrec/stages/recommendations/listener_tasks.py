"""Recommend on Ray: a task reads a part of the table ``histories``, some thousand listeners at a time, and stages rows.

Each node holds the songs, their lists and their vectors once. A listener's songs depend on nobody else, but for popular
songs, so neither on parts nor on blocks; and not on whether they were computed tonight or stand in the published table.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from musicrec.cluster.lazy_ray import ray, remote
from musicrec.cluster.tasks import compiling, run_tasks, task_options
from musicrec.errors import PublishError
from musicrec.files.parquet import open_parquet, read_parquet
from musicrec.files.paths import AnyPath, children
from musicrec.monitor.progress import Progress
from musicrec.schemas import RECOMMENDATIONS
from musicrec.serve.sidecar import Sidecar
from musicrec.serve.sidecar_cache import local_version
from musicrec.settings import RecommendSettings, SimilarSettings
from musicrec.similarity import Lists, Songs, top_n
from musicrec.similarity.listeners.in_turn import in_turn
from musicrec.similarity.listeners.list_faults import fault_of
from musicrec.similarity.listeners.nearest_to_likes import Catalog, Listeners, Recommended, caps_of, nearest_to_likes
from musicrec.similarity.songs import CodeSets, as_sets
from musicrec.stages.recommendations.cold_listeners import (
    GENRE_CENTRES,
    POPULARITY,
    ColdStart,
    count_likes,
    genres_of,
    recommend_cold,
)
from musicrec.stages.recommendations.collaborative_fit import Fusion
from musicrec.stages.recommendations.history_blocks import COLUMNS, Block, blocks_of, read_block
from musicrec.stages.recommendations.hybrid_lists import recommend_hybrid
from musicrec.stages.recommendations.kept_listeners import LISTENERS, Before, Same, read_before, same_as_before
from musicrec.stages.recommendations.listener_keys import SongKeys, listener_keys
from musicrec.stages.recommendations.methods import Given, SongVectors, recommend
from musicrec.stages.recommendations.song_numbers import SongNumbers
from musicrec.stages.staged_tasks import run_staged
from musicrec.store.lineage import digest
from musicrec.store.pointer import parts_of
from musicrec.store.store import Store
from musicrec.store.table_spec import Table, writing

TABLE = "recommendations"
ROW_BYTES = 64  # about, before compression
FEW_VALUES = ("user_id", "method", "because")  # columns for which a dictionary pays
LISTENERS_AT_ONCE = 8192
MEMORY = 1200 * 2**20  # bytes per worker, with its libraries and a part of the table
VECTOR_COPIES = 6  # what a worker holds of the vectors: as float64, beside listeners, and as codes
METHODS = ("max", "mean", "multi_interest", "genre", "hybrid", GENRE_CENTRES, POPULARITY)
ANEW = b"anew"  # in the footer of what is kept: how many listeners were computed


class Plan(NamedTuple):
    """Values that all tasks of a run share."""

    out: AnyPath
    settings: RecommendSettings
    similar: AnyPath  # folder of the version of the table
    songs: SongNumbers
    metadata: dict[bytes, bytes]  # for the footer of each part
    of_lists: SimilarSettings
    facts: Songs | None  # what the rules of the lists look at; None if they follow no rule

    def given(self, lists: Lists, vectors: SongVectors | None) -> Given:
        """Return what methods recommend from."""
        catalog, settings = self.songs.catalog, self.settings
        caps = caps_of(catalog, settings.max_per_artist, settings.max_per_album)
        return Given(settings, self.of_lists, self.facts, lists, vectors, catalog, caps)

    @property
    def lists(self) -> Lists:
        """The published lists, mapped into memory."""
        sidecar = Sidecar(local_version(self.similar))
        return Lists(sidecar.neighbours, sidecar.scores)


class Tonight(NamedTuple):
    """What the parts of the table are made by, beside the plan."""

    cold: ColdStart
    keys: SongKeys
    same: Same | None  # None if nothing published can be used again
    fusion: Fusion | None = None  # of the method hybrid


def like_counts(store: Store, plan: Plan) -> NDArray[np.int64]:
    """Return how many listeners like each recording and each song; see :func:`count_likes`."""
    shared, task = ray.put(plan), _count_part.options(**task_options(MEMORY))
    parts = children(parts_of(store.path("histories")), "*.parquet")
    total = np.zeros(1 + int(plan.songs.recording.max(initial=-1)) + len(plan.songs.row), np.int64)
    for _, counts in run_tasks(plan.settings.stage, lambda part: task.remote(part, shared), parts):
        total += counts
    return total


@remote(num_cpus=1)
def _count_part(part: AnyPath, plan: Plan) -> NDArray[np.int64]:
    blocks = blocks_of(read_parquet(part, COLUMNS), LISTENERS_AT_ONCE)
    nobody = np.zeros(1 + int(plan.songs.recording.max(initial=-1)) + len(plan.songs.row), np.int64)
    return sum((count_likes(read_block(block, plan.songs), plan.songs) for block in blocks), nobody)


def recommend_on_ray(
    store: Store, plan: Plan, vectors: SongVectors | None, tonight: Tonight, fingerprint: str
) -> list[tuple[AnyPath, AnyPath]]:
    """Stage the recommendations for each part of the table ``histories``.

    Parameters
    ----------
    store : Store
        Where shards are staged; those of an interrupted run are not made again.
    plan : Plan
        The settings and the songs.
    vectors : SongVectors or None
        The vectors that the lists were made of; None if these are not published now.
    tonight : Tonight
        What listeners without likes get, what of the published table can be used again, and what is fused.
    fingerprint : str
        Of the table that is made.

    Returns
    -------
    list of tuple
        The shards in their order, each with what is kept of its listeners.
    """
    parts = children(parts_of(store.path("histories")), "*.parquet")
    shards = {digest([fingerprint, part.name]): (part, number) for number, part in enumerate(parts)}
    shared, of_songs = ray.put((plan, tonight)), ray.put(vectors)
    memory = MEMORY + (0 if vectors is None else VECTOR_COPIES * vectors.matrix.nbytes)
    task = _stage_part.options(**task_options(memory))
    with Progress(plan.settings.stage, len(parts)) as progress:
        staged = run_staged(
            store,
            plan.settings.stage,
            shards,
            lambda name, part: task.remote(name, *part, shared, of_songs),
            lambda _: progress.advance(1),
        )
    return [(shard, _kept_of(shard)) for shard in staged]


def n_anew(kept: AnyPath) -> int:
    """Return for how many listeners of a part songs were computed, by what is kept of it."""
    with open_parquet(kept) as file:
        return int(file.metadata.metadata[ANEW])


def _kept_of(shard: AnyPath) -> AnyPath:
    return shard.with_name(f"{shard.stem}-listeners.parquet")


@remote(num_cpus=1)
def _stage_part(
    name: str, part: AnyPath, number: int, shared: tuple[Plan, Tonight], vectors: SongVectors | None
) -> None:
    """Stage the recommendations for the listeners of a part."""
    _compile()
    plan, tonight = shared
    given = plan.given(plan.lists, vectors)
    before = read_before(tonight.same.folder, number) if tonight.same else None
    shard = Store(plan.out).work.folder(plan.settings.stage) / f"{name}.parquet"
    schema = RECOMMENDATIONS.with_metadata(plan.metadata)
    spec = Table(TABLE, schema, ROW_BYTES * plan.settings.n, dictionaries=FEW_VALUES)
    n_new = 0
    with writing(_kept_of(shard), Table(TABLE, LISTENERS, ROW_BYTES)) as kept, writing(shard, spec) as writer:
        for block in blocks_of(read_parquet(part, COLUMNS), LISTENERS_AT_ONCE):
            rows, listeners, n = recommend_to(block, given, plan.songs, tonight, before)
            writer.write_table(rows)
            kept.write_table(listeners)
            n_new += n
        kept.add_key_value_metadata({ANEW: str(n_new)})


@cache
def _compile() -> None:
    """Compile all loops, for arrays in this process and in shared memory."""
    with compiling():
        likes = as_sets(np.zeros(1, np.int32))
        for is_shared in (False, True):
            lists = top_n(np.eye(3, 16, dtype=np.float32), 1)
            songs = Catalog(np.arange(3, dtype=np.int32), as_sets(np.zeros(3, np.int32)))
            for array in (*lists, songs.recording, *songs.artist) if is_shared else ():
                array.flags.writeable = False
            listeners = Listeners(likes, likes)
            fault_of(nearest_to_likes(lists, listeners, songs, 1, caps=caps_of(songs, 1)), listeners, songs)
            in_turn(lists, listeners, np.ones(1, np.int64), songs, 1, caps=caps_of(songs, 1))


# --- listeners ----------------------------------------------------------------------------------------------------


def recommend_to(
    histories: pa.Table, given: Given, songs: SongNumbers, tonight: Tonight, before: Before | None = None
) -> tuple[pa.Table, pa.Table, int]:
    """Return the recommendations for some listeners, what is kept of them, and for how many they are new.

    Parameters
    ----------
    histories : pyarrow.Table
        :data:`COLUMNS`: all rows of these listeners, by user and track.
    given : Given
        Settings, lists and vectors.
    songs : SongNumbers
        The songs.
    tonight : Tonight
        What listeners without likes get, what of the published table can be used again, and what is fused.
    before : Before, optional
        The part of the published table in which these listeners may be.
    """
    block = read_block(histories, songs)
    keys = listener_keys(block, tonight.keys)
    nobody = np.full(len(block.users), -1)
    old = same_as_before(before, tonight.same, block.users, keys) if before and tonight.same else nobody
    todo = np.flatnonzero(old < 0)
    if len(todo) < len(old):
        block = read_block(histories.filter(pa.array(np.isin(block.user, todo))), songs)
    rows, listeners = _recommend_anew(block, keys[todo], given, songs, tonight)
    if before is None or len(todo) == len(old):
        return rows, listeners, len(todo)
    stayed = np.flatnonzero(old >= 0)
    order = np.argsort(np.concatenate([todo, stayed]), kind="stable")
    both = pa.concat_tables([listeners, before.listeners.take(pa.array(old[stayed]))])
    joined = Before(both, pa.concat_tables([rows, before.take(old[stayed]).cast(rows.schema)]))
    return joined.take(order).combine_chunks(), both.take(pa.array(order)).combine_chunks(), len(todo)


def _recommend_anew(
    block: Block, keys: NDArray[np.uint64], given: Given, songs: SongNumbers, tonight: Tonight
) -> tuple[pa.Table, pa.Table]:
    """Return the rows of some listeners, and what is kept of them."""
    listeners, n_likes = block.listeners, np.diff(block.listeners.likes.starts)
    has_few = n_likes < given.settings.min_likes
    enough = listeners._replace(likes=_without(listeners.likes, has_few))
    if fusion := tonight.fusion:
        found = recommend_hybrid(given, fusion, fusion.numbers(block.users), enough)
    else:
        found = recommend(given, enough)
    _check(found.songs, listeners, given.catalog, is_ranked=given.settings.method != "multi_interest")
    methods = np.full(found.songs.ids.shape, METHODS.index(given.settings.method), np.int8)
    is_cold = found.songs.ids[:, 0] < 0
    if len(some := np.flatnonzero(is_cold)):
        own = Listeners(listeners.likes.take(some), listeners.heard.take(some))
        instead, is_popular = recommend_cold(tonight.cold, given, genres_of(block, songs).take(some), own.heard)
        _check(instead, own, given.catalog, is_ranked=False, has_because=False)
        methods[some] = np.where(is_popular, METHODS.index(POPULARITY), METHODS.index(GENRE_CENTRES))
        for every, of_some in zip(found.songs, instead, strict=True):
            every[some] = of_some
    n_songs = (found.songs.ids >= 0).sum(axis=1)
    unknown = np.bincount(block.user[block.is_unknown], minlength=len(block.users))
    kept = [block.users, keys, n_songs.astype(np.int16), n_likes > 0, is_cold, _heard_all(n_songs, listeners, given)]
    kept += [found.deeper, found.by_lists_only, unknown.astype(np.int32)]
    rows = _to_table(block.users, found.songs, methods, songs)
    return rows, pa.Table.from_arrays([pa.array(values) for values in kept], schema=LISTENERS)


def _without(likes: CodeSets, is_left_out: NDArray[np.bool_]) -> CodeSets:
    """Return likes without those of some listeners."""
    lengths = np.diff(likes.starts)
    codes = likes.codes[np.repeat(~is_left_out, lengths)]
    return CodeSets(np.append(0, np.cumsum(np.where(is_left_out, 0, lengths))), codes)


def _heard_all(n_songs: NDArray[np.int64], listeners: Listeners, given: Given) -> NDArray[np.bool_]:
    """Return which of the listeners without a song have heard all recordings."""
    found, recordings = np.zeros(len(n_songs), np.bool_), np.unique(given.catalog.recording)
    for listener in np.flatnonzero((n_songs == 0) & (np.diff(listeners.heard.starts) >= len(recordings))):
        found[listener] = np.isin(recordings, listeners.heard.of(int(listener))).all()
    return found


def _check(found: Recommended, listeners: Listeners, catalog: Catalog, **how: bool) -> None:
    """Raise PublishError if anything is wrong with recommendations."""
    if fault := fault_of(found, listeners, catalog, **how):
        raise PublishError(f"recommend: {fault}; the published table is unchanged; this is a defect, please report it")


def _to_table(users: pa.Array, found: Recommended, methods: NDArray[np.int8], songs: SongNumbers) -> pa.Table:
    """Return recommendations as ``RECOMMENDATIONS``."""
    listener, place = np.nonzero(found.ids >= 0)
    because = found.because[listener, place]
    columns = [
        users.take(pa.array(listener)),
        pa.array((place + 1).astype(np.int16)),
        songs.listed.take(pa.array(found.ids[listener, place])),
        pa.array(found.scores[listener, place]),
        pa.array(METHODS).take(pa.array(methods[listener, place])),
        songs.listed.take(pa.array(because, mask=because < 0)),
    ]
    return pa.Table.from_arrays(columns, schema=RECOMMENDATIONS)
