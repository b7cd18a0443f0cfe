"""Compare all songs with each other on Ray: a task makes the lists of a few thousand songs and stages them.

Each node holds the vectors and codes once, in parts that a task reads one after the other. If a node runs out of
memory, Ray writes parts to its disk. If only some songs have changed since the published table was made, its lists are
brought up to date instead.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.cluster import prometheus
from musicrec.cluster.lazy_ray import ray, remote
from musicrec.cluster.tasks import compiling, run_tasks, task_options
from musicrec.errors import SchemaError
from musicrec.files.parquet import read_parquet
from musicrec.files.paths import AnyPath
from musicrec.monitor.progress import Progress
from musicrec.schemas import OK
from musicrec.serve.comparable_songs import Vectors
from musicrec.serve.sidecar import Sidecar
from musicrec.serve.sidecar_cache import local_version
from musicrec.serve.song_facts import facts_of
from musicrec.settings import SimilarSettings
from musicrec.simd.lanes import LANES
from musicrec.similarity.hubness import Statistics
from musicrec.similarity.rules import is_asked, pool_depth, refine, statistics_of
from musicrec.similarity.search import bounds, by_length, candidates
from musicrec.similarity.search.approximate import n_clusters, recall
from musicrec.similarity.search.blocks import METRICS, Lists, as_lists, check, new_lists, prepare, slices
from musicrec.similarity.search.bounds import Projection
from musicrec.similarity.search.by_length import Levels
from musicrec.similarity.search.candidates import CandidateLists, as_read
from musicrec.similarity.search.clusters import Clusters, cluster
from musicrec.similarity.search.exact import with_room
from musicrec.similarity.search.refresh import SPARES, Kept, full, refresh
from musicrec.similarity.search.score_keys import COSINE
from musicrec.similarity.search.screens import DEVICE
from musicrec.similarity.search.shards import Part, lists_of_places, take_places
from musicrec.similarity.songs import Songs, songs_of
from musicrec.stages.similar import levels_on_ray
from musicrec.stages.similar.kept_lists import FOLDER, Compared, load
from musicrec.stages.similar.levels_on_ray import StoredLevels
from musicrec.stages.staged_tasks import run_staged
from musicrec.store.lineage import digest
from musicrec.store.store import Store

Array = NDArray[Any]

SONGS_PER_SHARD = 8192
SONGS_PER_PART = 131_072  # a multiple of PANEL and of SONGS_PER_SHARD; 100 MB at 128 coordinates
RECALL_SAMPLE = 1000
MEMORY = 800 * 2**20  # bytes per worker, with its libraries and one part
MEMORY_ON_DEVICE = 3 * 2**30  # the same with TensorFlow and the GPU driver
KEPT = 6  # a task that reads all vectors and the kept lists holds this many times the bytes of the vectors


def compare(store: Store, settings: SimilarSettings, vectors: Vectors, *, gpu: bool = False) -> Compared:
    """Make the lists of all songs.

    Parameters
    ----------
    store : Store
        OUT; unfinished work is staged there, and the kept lists of the published table are read from there.
    settings : SimilarSettings
        Length of the lists, metric and rules.
    vectors : Vectors
        The songs.
    gpu : bool
        Give a GPU to each task that makes lists of all songs. Bringing lists up to date needs none.
    """
    screen = check(1, settings.metric, DEVICE if gpu else None)
    _compile(settings)
    n_songs = len(vectors.matrix)
    depth = pool_depth(settings, n_songs)
    made_by = {
        "model_id": vectors.origin.space_id,
        "metric": settings.metric,
        "depth": depth,
        "code_version": settings.code_version,
    }
    if settings.approximate_above and n_songs > settings.approximate_above:
        found = _approximate(store, settings, vectors, depth, screen)
    else:
        found = _refreshed(store, settings, vectors, made_by) or _exact(store, settings, vectors, depth, screen)
    if is_asked(settings):
        songs = facts_of(store, vectors, settings)
        found = found._replace(lists=_by_rules(songs, settings, vectors, found.lists))
        if settings.no_same_artist or settings.max_per_artist:
            found = found._replace(how={**found.how, "without_artist": songs.n_without_artist})
    return found._replace(made_by=made_by)


@cache
def _compile(settings: SimilarSettings, screen: str | None = None) -> None:
    """Compile all loops, for arrays in this process and in shared memory."""
    with compiling():
        noise = np.random.default_rng(0).normal(size=(256, LANES)).astype(np.float32)
        rows, n = np.arange(len(noise)), 4
        refresh(full(noise, n, settings.metric).kept, noise[::-1].copy(), rows, settings.metric)
        given = prepare(noise, settings.metric)
        projection = bounds.fit(given, METRICS[settings.metric], n, check(n, settings.metric, screen))
        lists = as_read(new_lists(projection, given.rows(rows), rows, 0))
        lists_of_places(
            projection, cluster(projection, given), [Part(0, lists)], take_places(lists, 0, len(noise), n), 0
        )
        if METRICS[settings.metric] != COSINE:
            levels = by_length.levels_of(given, rows, n, projection.metric, projection.screen)
            by_length.fill(new_lists(projection, given, rows, n), given, levels, projection.scale)
        if is_asked(settings):
            songs = songs_of({"artist_id": [None] * len(noise)})
            refine(noise, songs, settings.model_copy(update={"n": n, "require_tag": (), "exclude_tag": ()}))


# --- all songs --------------------------------------------------------------------------------------------------------


class Plan(NamedTuple):
    """Values that all tasks of a run share."""

    settings: SimilarSettings
    projection: Projection
    clusters: Clusters | None  # None: the songs are in levels by length
    n_songs: int
    depth: int  # length of a list, with its spare songs
    probes: int | None
    songs_per_shard: int
    songs_per_part: int


def _exact(store: Store, settings: SimilarSettings, vectors: Vectors, depth: int, screen: str) -> Compared:
    given = prepare(vectors.matrix, settings.metric)
    n_songs = len(given.values)
    metric, longest = METRICS[settings.metric], min(depth + SPARES, n_songs - 1)
    projection = bounds.fit(given, metric, depth, screen)
    clusters, levels = None, None
    if by_length.differ_much(given, metric):
        levels = by_length.levels_of(given, np.arange(n_songs), longest, metric, screen, most=SONGS_PER_PART)
        order = by_length.places_of(levels)
    else:
        clusters = cluster(projection, given)
        order = clusters.order
    projection, places = with_room(projection, order)
    plan = Plan(settings, projection, clusters, n_songs, longest, None, SONGS_PER_SHARD, SONGS_PER_PART)
    lists = new_lists(projection, given.rows(places), places, 0)
    lists = _lists_on_ray(store, settings, vectors, plan, lists, levels=levels)
    how = {"exact": True, "screen": screen}
    cpu_screen = "product" if screen == DEVICE else screen  # a refresh reads the same codes on a CPU
    return Compared(as_lists(lists, n_songs, depth), how, Kept(projection._replace(screen=cpu_screen), lists, depth))


def _approximate(store: Store, settings: SimilarSettings, vectors: Vectors, depth: int, screen: str) -> Compared:
    given = prepare(vectors.matrix, settings.metric)
    n_songs = len(given.values)
    projection = bounds.fit(given, METRICS[settings.metric], depth, screen)
    clusters = cluster(projection, given, n_clusters(n_songs))
    plan = Plan(settings, projection, clusters, n_songs, depth, settings.probes, SONGS_PER_SHARD, SONGS_PER_PART)
    lists = new_lists(projection, given.rows(clusters.order), clusters.order, 0)
    lists = _lists_on_ray(store, settings, vectors, plan, lists)
    found = as_lists(lists, n_songs, depth)
    how = {"exact": False, "screen": projection.screen, "clusters": len(clusters.centres), "probes": settings.probes}
    measured = ray.get(_recall.options(**task_options(_memory(vectors))).remote(vectors.matrix, found.ids, settings))
    return Compared(found, how | {"recall": measured, "recall_sample": min(RECALL_SAMPLE, n_songs)})


def _memory(vectors: Vectors) -> int:
    """Return the bytes of a worker whose task holds all vectors and several times as much beside them."""
    return MEMORY + KEPT * vectors.matrix.nbytes


@remote(num_cpus=1)
def _recall(matrix: Array, ids: Array, settings: SimilarSettings) -> float:
    _compile(settings)
    return recall(matrix, ids, settings.metric, sample=RECALL_SAMPLE)


def _lists_on_ray(
    store: Store,
    settings: SimilarSettings,
    vectors: Vectors,
    plan: Plan,
    lists: CandidateLists,
    *,
    levels: Levels | None = None,
) -> CandidateLists:
    """Fill the lists in tasks on Ray; return them sorted."""
    made_of = [vectors.origin.fingerprint, digest(vectors.names["track_id"].to_pylist())]
    how = [
        settings.metric,
        plan.projection.screen,
        *map(str, (plan.depth, plan.probes, plan.songs_per_shard, settings.code_version)),
        *(["by length"] if levels else []),  # in another order of places
    ]
    name = digest([*made_of, *how])  # titles and limits are left out, as they change no list
    shared = ray.put(plan)
    firsts = range(0, plan.n_songs, plan.songs_per_shard)
    parts: StoredLevels | list[Any] = [
        ray.put(take_places(lists, start, stop, 0, with_panels=True))
        for start, stop in slices(0, 0 if levels else len(lists.songs), plan.songs_per_part)
    ]
    if levels:
        parts = levels_on_ray.put(levels)
    gpu = plan.projection.screen == DEVICE
    task = _stage_lists.options(**task_options(MEMORY_ON_DEVICE if gpu else MEMORY, gpu=gpu))
    with Progress("similar", plan.n_songs) as progress:
        shards = run_staged(
            store,
            settings.stage,
            {f"{name}-{first:010d}": first for first in firsts},
            lambda shard, first: task.remote(store.out, shard, shared, parts, first),
            lambda first: progress.advance(min(plan.songs_per_shard, plan.n_songs - first)),
        )
    keys, counts = candidates.room(len(lists.songs), plan.depth), np.zeros(len(lists.songs), np.int32)
    for first, shard in zip(firsts, shards, strict=True):
        staged = read_parquet(shard)
        rows = slice(first, first + staged.num_rows)
        keys[rows, : plan.depth] = pc.list_flatten(staged["keys"]).to_numpy().reshape(-1, plan.depth)
        counts[rows] = staged["count"].to_numpy()
    lists = lists._replace(keys=keys, counts=counts, depth=plan.depth)
    candidates.set_floors(lists)
    return lists


@remote(num_cpus=1)
def _stage_lists(out: AnyPath, name: str, plan: Plan, parts: list[Any] | StoredLevels, first: int) -> None:
    """Stage the lists of one shard: the songs in the places from `first` on."""
    _compile(plan.settings, plan.projection.screen)
    n, last = plan.depth, min(first + plan.songs_per_shard, plan.n_songs)
    if isinstance(parts, StoredLevels):
        new = levels_on_ray.lists_of_places(plan.projection, parts, first, last, n)
    else:
        new = _from_parts(plan, parts, first, last)
    keys = pa.FixedSizeListArray.from_arrays(pa.array(new.keys[:, :n].ravel()), n)
    Store(out).work.stage(SimilarSettings.stage, name, pa.table({"keys": keys, "count": new.counts}))
    prometheus.count_tracks(SimilarSettings.stage, OK, n=len(new.counts))


def _from_parts(plan: Plan, parts: list[Any], first: int, last: int) -> CandidateLists:
    assert plan.clusters
    own = first // plan.songs_per_part
    before = own * plan.songs_per_part
    new = take_places(ray.get(parts[own]), first - before, last - before, plan.depth)
    own_first = [own, *(k for k in range(len(parts)) if k != own)]
    every_part = (Part(k * plan.songs_per_part, ray.get(parts[k])) for k in own_first)
    return lists_of_places(plan.projection, plan.clusters, every_part, new, first, probes=plan.probes)


# --- songs that changed -----------------------------------------------------------------------------------------------


def _refreshed(store: Store, settings: SimilarSettings, vectors: Vectors, made_by: dict[str, Any]) -> Compared | None:
    """Bring the published table's lists up to date; None if there are none or they were made in another way."""
    if not store.exists("similar"):
        return None
    folder = store.path("similar")
    try:
        songs_before = Sidecar(local_version(folder)).songs["track_id"]
    except SchemaError:  # damaged, so all lists are made again
        return None
    today = vectors.names["track_id"]
    value_set = songs_before.cast(today.type).combine_chunks()
    before = pc.fill_null(pc.index_in(today, value_set=value_set), -1).to_numpy().astype(np.int64)
    task = _refresh.options(**task_options(_memory(vectors)))
    return ray.get(task.remote(folder / FOLDER, made_by, ray.put(vectors.matrix), before, settings))


@remote(num_cpus=1)
def _refresh(
    folder: AnyPath, made_by: dict[str, Any], matrix: Array, before: Array, settings: SimilarSettings
) -> Compared | None:
    _compile(settings)
    kept = load(folder, made_by)
    if kept is None:
        return None
    done = refresh(kept, matrix, before, settings.metric)
    if done is None:
        return None
    prometheus.count_tracks(settings.stage, OK, n=done.n_changed)
    how = {"exact": True, "screen": kept.projection.screen, "changed": done.n_changed, "made_anew": done.n_anew}
    return Compared(done.lists, how, done.kept)


# --- rules ------------------------------------------------------------------------------------------------------------


def _by_rules(songs: Songs, settings: SimilarSettings, vectors: Vectors, pool: Lists) -> Lists:
    matrix, songs_and_pool, n_songs = ray.put(vectors.matrix), ray.put((songs, pool)), len(vectors.matrix)
    hubness = _of_songs.remote(matrix, songs_and_pool, settings) if settings.hubness != "none" else None  # once for all
    task = _refine.options(**task_options(MEMORY))
    blocks = slices(0, n_songs, SONGS_PER_SHARD)
    refined = dict(
        run_tasks(settings.stage, lambda rows: task.remote(matrix, songs_and_pool, settings, hubness, rows), blocks)
    )
    return Lists(*(np.concatenate(arrays) for arrays in zip(*(refined[rows] for rows in sorted(refined)), strict=True)))


@remote(num_cpus=1)
def _of_songs(matrix: Array, songs_and_pool: tuple[Songs, Lists], settings: SimilarSettings) -> Statistics:
    _compile(settings)
    return statistics_of(matrix, settings, songs_and_pool[1])


@remote(num_cpus=1)
def _refine(
    matrix: Array,
    songs_and_pool: tuple[Songs, Lists],
    settings: SimilarSettings,
    hubness: Statistics | None,
    rows: tuple[int, int],
) -> Lists:
    _compile(settings)
    songs, pool = songs_and_pool
    block = slice(*rows)
    return refine(
        matrix, songs, settings, (pool.ids[block], pool.scores[block]), rows=np.arange(*rows), of_songs=hubness
    )
