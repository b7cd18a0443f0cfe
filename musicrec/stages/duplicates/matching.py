"""Compare all fingerprints on Ray: a task looks up the songs of one part of the table, at every speed.

Each node holds an index and the fingerprints at the songs' own speed once. A task reads those at other speeds from its
part.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
from numpy.typing import NDArray

from musicrec.cluster.tasks import compiling, run_tasks, task_options
from musicrec.features.fingerprint import STEP_S
from musicrec.files.parquet import open_parquet, read_parquet
from musicrec.files.paths import AnyPath, children
from musicrec.monitor.progress import Progress
from musicrec.settings import DuplicatesSettings
from musicrec.similarity.duplicates.chance import errors_of, some_pairs
from musicrec.similarity.duplicates.index import Index, make_index
from musicrec.similarity.duplicates.matches import Matches, match
from musicrec.similarity.duplicates.prints import Prints, least_steps
from musicrec.stages.duplicates.fingerprint_rows import FASTER, TABLE
from musicrec.stages.staged_tasks import run_staged
from musicrec.store.lineage import digest
from musicrec.store.store import Store
from musicrec.store.table_parts import slices

LEAST = least_steps(STEP_S)
SONGS_AT_ONCE = 2048  # looked up together
MEMORY = 800 * 2**20  # bytes per worker, with its libraries
TESTED_PAIRS = 20_000
PAIRS_PER_TASK = 2500


class Songs(NamedTuple):
    """The songs with enough sound, in order of id."""

    track_ids: pa.Array
    prints: Prints  # at their own speed
    short: list[str]  # ids of the songs with too little sound


def read_songs(store: Store) -> Songs:
    """Read the fingerprints at the songs' own speed."""
    table = store.read(TABLE, ["track_id", "codes", "audible"]).sort_by("track_id").combine_chunks()
    lengths = pc.list_value_length(table["codes"]).to_numpy().astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    codes, audible = (_values(table[name]) for name in ("codes", "audible"))
    is_long = (
        np.add.reduceat(np.append(audible, False), starts[:-1]) * (lengths > 0) >= LEAST if len(table) else lengths > 0
    )
    wanted = np.repeat(is_long, lengths)
    prints = Prints(codes[wanted], audible[wanted], np.concatenate([[0], np.cumsum(lengths[is_long])]).astype(np.int64))
    track_ids = table["track_id"].combine_chunks()
    return Songs(track_ids.filter(pa.array(is_long)), prints, track_ids.filter(pa.array(~is_long)).to_pylist())


def _values(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return a copy of the values of all lists, one after the other."""
    return np.array(pc.list_flatten(column).to_numpy(zero_copy_only=False))


class Shared(NamedTuple):
    """Values that all tasks of a run share."""

    out: AnyPath
    settings: DuplicatesSettings
    track_ids: pa.Array
    prints: Prints
    codes: Index


def find_matches(
    store: Store, settings: DuplicatesSettings, songs: Songs
) -> tuple[Matches, NDArray[np.float64], NDArray[np.int64]]:
    """Return the pairs that are alike; and some pairs, with the share of bits in which each differs."""
    shared = ray.put(Shared(store.out, settings, songs.track_ids, songs.prints, make_index(songs.prints)))
    table = store.footer(TABLE)["fingerprint"]
    parts = children(store.path(TABLE), "*.parquet")
    shards = {digest([table, settings.fingerprint(), part.name]): part for part in parts}
    task = _stage_matches.options(**task_options(MEMORY))
    with Progress(settings.stage, len(shards)) as progress:
        staged = run_staged(
            store,
            settings.stage,
            shards,
            lambda name, part: task.remote(name, part, shared),
            lambda _: progress.advance(1),
        )
    matches = Matches.joined(_to_matches(read_parquet(path)) for path in staged)
    pairs = some_pairs(len(songs.track_ids), TESTED_PAIRS)
    blocks = slices(list(range(len(pairs))), PAIRS_PER_TASK)
    test = _test_pairs.options(**task_options(MEMORY))
    tested = dict(run_tasks(settings.stage, lambda k: test.remote(pairs[blocks[k]], shared), range(len(blocks))))
    errors = np.concatenate([np.empty(0), *(tested[k] for k in range(len(blocks)))])
    return matches, errors, pairs


@cache
def _compile() -> None:
    """Compile all loops, for arrays in this process and in shared memory."""
    with compiling():
        codes = np.random.default_rng(0).integers(0, 2**32, 2 * LEAST, dtype=np.uint32)
        queries = Prints.of([(codes, codes > 0)] * 2)
        shared = Prints.of([(codes, codes > 0)] * 2)
        index = make_index(shared)
        for array in (*shared, *index[:4]):
            array.flags.writeable = False
        match(index, shared, queries, np.arange(2), 1.0, least=LEAST, most_errors=0.5)
        errors_of(shared, np.array([[0, 1]]), LEAST)


@ray.remote(num_cpus=1)
def _stage_matches(name: str, part: AnyPath, shared: Shared) -> None:
    """Stage the matches of the songs of one part of the table."""
    _compile()
    found = []
    with open_parquet(part) as file:
        for batch in file.iter_batches(SONGS_AT_ONCE):
            found += _matches_of(batch, shared)
    Store(shared.out).work.stage(shared.settings.stage, name, pa.table(Matches.joined(found)._asdict()))


def _matches_of(batch: pa.RecordBatch, shared: Shared) -> list[Matches]:
    """Return the matches of some songs at each speed."""
    own = pc.index_in(batch["track_id"], value_set=shared.track_ids)
    batch = batch.filter(pc.is_valid(own))
    numbers = own.drop_null().to_numpy().astype(np.int64)
    lengths = pc.list_value_length(batch["codes"]).to_numpy().astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    queries = [Prints(_values(batch["codes"]), _values(batch["audible"]), starts)]
    queries += _faster(_values(batch["faster_codes"]), _values(batch["faster_audible"]), starts)
    return [
        match(
            shared.codes, shared.prints, prints, numbers, speed, least=LEAST, most_errors=shared.settings.max_bit_errors
        )
        for speed, prints in zip((1.0, *FASTER), queries, strict=True)
    ]


def _faster(codes: NDArray[np.uint32], audible: NDArray[np.bool_], starts: NDArray[np.int64]) -> list[Prints]:
    """Return the fingerprints at each other speed, of songs that have all of theirs in a row."""
    lengths, n_speeds = np.diff(starts), len(FASTER)
    speed = np.repeat(np.tile(np.arange(n_speeds), len(lengths)), np.repeat(lengths, n_speeds))
    return [Prints(codes[speed == k], audible[speed == k], starts) for k in range(n_speeds)]


def _to_matches(table: pa.Table) -> Matches:
    return Matches(*(column.to_numpy() for column in table.columns))


@ray.remote(num_cpus=1)
def _test_pairs(pairs: NDArray[np.int64], shared: Shared) -> NDArray[np.float64]:
    _compile()
    return errors_of(shared.prints, pairs, LEAST)
