"""Recommend on Ray: a task reads a part of the table ``histories``, some thousand listeners at a time, and stages rows.

Each node holds the songs, their lists and their vectors once. A listener's songs depend on nobody else, so neither on
parts nor on blocks.
"""

import json
from collections import Counter
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.cluster.lazy_ray import ray, remote
from musicrec.cluster.tasks import compiling, task_options
from musicrec.errors import PublishError
from musicrec.files.parquet import open_parquet, read_parquet
from musicrec.files.paths import AnyPath, children
from musicrec.monitor.progress import Progress
from musicrec.schemas import RECOMMENDATIONS
from musicrec.serve.sidecar import Sidecar
from musicrec.serve.sidecar_cache import local_version
from musicrec.settings import RecommendSettings, SimilarSettings
from musicrec.similarity import Lists, top_n
from musicrec.similarity.listeners.list_faults import fault_of
from musicrec.similarity.listeners.nearest_to_likes import Catalog, Listeners, Recommended, nearest_to_likes
from musicrec.similarity.songs import CodeSets, Songs, as_sets
from musicrec.stages.recommendations.deeper_lists import with_deeper_lists
from musicrec.stages.recommendations.song_numbers import SongNumbers
from musicrec.stages.staged_tasks import run_staged
from musicrec.store.lineage import digest
from musicrec.store.pointer import parts_of
from musicrec.store.store import Store
from musicrec.store.table_spec import Table, writing

TABLE = "recommendations"
MAX = "max"  # the method
ROW_BYTES = 64  # about, before compression
FEW_VALUES = ("user_id", "method", "because")  # columns for which a dictionary pays
COLUMNS = ["user_id", "track_id", "plays"]  # of histories
LISTENERS_AT_ONCE = 8192
MEMORY = 1200 * 2**20  # bytes per worker, with its libraries and a part of the table
COUNTS = "listeners"  # what became of a part's listeners, as JSON in the footer of its shard


class Plan(NamedTuple):
    """Values that all tasks of a run share."""

    out: AnyPath
    settings: RecommendSettings
    similar: AnyPath  # folder of the version of the table
    songs: SongNumbers
    metadata: dict[bytes, bytes]  # for the footer of each part
    of_lists: SimilarSettings
    facts: Songs | None  # what the rules of the lists look at; None if they follow no rule


def recommend_on_ray(
    store: Store, histories: AnyPath, plan: Plan, matrix: NDArray[np.float32] | None, fingerprint: str
) -> list[AnyPath]:
    """Stage the recommendations for each part of the table ``histories``; return the shards in their order.

    Parameters
    ----------
    store : Store
        Where shards are staged; those of an interrupted run are not made again.
    histories : pathlib.Path or upath.UPath
        Folder of the version of the table.
    plan : Plan
        The settings and the songs.
    matrix : numpy.ndarray or None
        float32 [n_songs, d], the vectors that the lists were made of; None if these are not published now.
    fingerprint : str
        Of the table that is made.
    """
    parts = children(parts_of(histories), "*.parquet")
    shards = {digest([fingerprint, part.name]): part for part in parts}
    shared, vectors = ray.put(plan), ray.put(matrix)
    memory = MEMORY + (0 if matrix is None else matrix.nbytes)
    task = _stage_part.options(**task_options(memory))
    with Progress(plan.settings.stage, len(parts)) as progress:
        return run_staged(
            store,
            plan.settings.stage,
            shards,
            lambda name, part: task.remote(name, part, shared, vectors),
            lambda _: progress.advance(1),
        )


def counts_of(shard: AnyPath) -> dict[str, int]:
    """Return what became of the listeners of a shard."""
    with open_parquet(shard) as file:
        counts: dict[str, int] = json.loads(file.metadata.metadata[COUNTS.encode()])
    return counts


@remote(num_cpus=1)
def _stage_part(name: str, part: AnyPath, plan: Plan, matrix: NDArray[np.float32] | None) -> None:
    """Stage the recommendations for the listeners of a part."""
    _compile()
    sidecar = Sidecar(local_version(plan.similar))
    lists = Lists(sidecar.neighbours, sidecar.scores)
    store = Store(plan.out)
    spec = Table(
        TABLE, RECOMMENDATIONS.with_metadata(plan.metadata), ROW_BYTES * plan.settings.n, dictionaries=FEW_VALUES
    )
    counts: Counter[str] = Counter()
    with writing(store.work.folder(plan.settings.stage) / f"{name}.parquet", spec) as writer:
        for block in blocks_of(read_parquet(part, COLUMNS), LISTENERS_AT_ONCE):
            rows, of_block = recommend_to(block, lists, plan, matrix)
            writer.write_table(rows)
            counts.update(of_block)
        writer.add_key_value_metadata({COUNTS: json.dumps(counts)})


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
            fault_of(nearest_to_likes(lists, listeners, songs, 1), listeners, songs)


# --- listeners ----------------------------------------------------------------------------------------------------


def blocks_of(histories: pa.Table, n_listeners: int) -> list[pa.Table]:
    """Split rows of the table ``histories``, sorted by user, so that each part holds all rows of so many users."""
    firsts = [*_first_rows(histories)[::n_listeners].tolist(), len(histories)]
    return [histories[start:stop] for start, stop in pairwise(firsts)]


def _first_rows(histories: pa.Table) -> NDArray[np.int64]:
    """Return the first row of each user."""
    users = histories["user_id"].combine_chunks()
    is_other = pc.not_equal(users[1:], users[:-1]).to_numpy(zero_copy_only=False)
    return np.flatnonzero(np.concatenate([np.ones(min(1, len(users)), bool), is_other]))


def recommend_to(
    histories: pa.Table, lists: Lists, plan: Plan, matrix: NDArray[np.float32] | None
) -> tuple[pa.Table, dict[str, int]]:
    """Return the recommendations for some listeners, and what became of them.

    Parameters
    ----------
    histories : pyarrow.Table
        :data:`COLUMNS`: all rows of these listeners, by user and track.
    lists : Lists
        The published lists.
    plan : Plan
        The settings and the songs.
    matrix : numpy.ndarray or None
        float32 [n_songs, d], the vectors that the lists were made of, if they are published now.
    """
    users, listeners, n_unknown = listeners_of(histories, plan.songs)
    n, cap = plan.settings.n, plan.settings.max_per_artist
    found = nearest_to_likes(lists, listeners, plan.songs.catalog, n, max_per_artist=cap)
    by_lists_only, deeper = int((~found.is_exact).sum()), 0
    if matrix is not None:
        vectors, depth = (matrix, plan.of_lists, plan.facts), lists.ids.shape[1]
        deeper = with_deeper_lists(found, listeners, plan.songs.catalog, vectors, depth, max_per_artist=cap)
        by_lists_only = 0
    if fault := fault_of(found, listeners, plan.songs.catalog):
        raise PublishError(f"recommend: {fault}; the published table is unchanged; this is a defect, please report it")
    n_songs = (found.ids >= 0).sum(axis=1)
    counts = {
        "listeners": len(users),
        "rows": int(n_songs.sum()),
        "without_likes": int((np.diff(listeners.likes.starts) == 0).sum()),
        "without_songs": int(((n_songs == 0) & (np.diff(listeners.likes.starts) > 0)).sum()),
        "fewer_songs": int(((n_songs > 0) & (n_songs < n)).sum()),
        "deeper_lists": deeper,
        "by_lists_only": by_lists_only,
        "unknown_songs": n_unknown,
    }
    return _to_table(users, found, plan.songs), counts


def listeners_of(histories: pa.Table, songs: SongNumbers) -> tuple[pa.Array, Listeners, int]:
    """Return users, what each likes and has heard, and how many rows are of songs that are not in the catalog."""
    firsts = _first_rows(histories)
    user = np.repeat(np.arange(len(firsts)), np.diff(firsts, append=len(histories)))
    number = pc.fill_null(pc.index_in(histories["track_id"], value_set=songs.track_ids), -1).to_numpy()
    is_known = number >= 0
    row = np.where(is_known, songs.row[number], -1)
    is_like = (row >= 0) & (histories["plays"].to_numpy() > 0)
    users = histories["user_id"].combine_chunks().take(pa.array(firsts))
    likes = _sets(user[is_like], row[is_like], len(users))
    heard = _sets(user[is_known], songs.recording[number[is_known]], len(users))
    return users, Listeners(likes, heard), int((~is_known).sum())


def _sets(user: NDArray[Any], codes: NDArray[Any], n_users: int) -> CodeSets:
    starts = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=n_users))]).astype(np.int64)
    return CodeSets(starts, codes.astype(np.int32))


def _to_table(users: pa.Array, found: Recommended, songs: SongNumbers) -> pa.Table:
    """Return recommendations as ``RECOMMENDATIONS``."""
    listener, place = np.nonzero(found.ids >= 0)
    listed = songs.track_ids.filter(pa.array(songs.row >= 0))
    columns = [
        users.take(pa.array(listener)),
        pa.array((place + 1).astype(np.int16)),
        listed.take(pa.array(found.ids[listener, place])),
        pa.array(found.scores[listener, place]),
        pa.array([MAX]).take(pa.array(np.zeros(len(listener), np.int64))),
        listed.take(pa.array(found.because[listener, place])),
    ]
    return pa.Table.from_arrays(columns, schema=RECOMMENDATIONS)
