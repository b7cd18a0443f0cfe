"""Compare fingerprints on Ray: a task looks up the songs of some parts of the table, at every speed.

Each node holds an index and the fingerprints at the songs' own speed once. A task reads those at other speeds from its
parts. Matches of two songs that have not changed since the last run are taken from there.
"""

from collections import Counter
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.cluster.lazy_ray import ray, remote
from musicrec.cluster.tasks import compiling, run_tasks, task_options
from musicrec.features.fingerprint import STEP_S
from musicrec.files.parquet import open_dataset, read_parquet
from musicrec.files.paths import AnyPath
from musicrec.monitor.progress import Progress
from musicrec.settings import DuplicatesSettings
from musicrec.similarity.duplicates.chance import errors_of, some_pairs
from musicrec.similarity.duplicates.index import BUCKET, Index, make_index, one_in_of
from musicrec.similarity.duplicates.matches import Matches, match
from musicrec.similarity.duplicates.prints import Prints, least_steps, pieces, starts_of
from musicrec.stages.duplicates.fingerprint_rows import FASTER, TABLE
from musicrec.stages.duplicates.kept_matches import FOLDER, Kept, load, to_kept
from musicrec.stages.staged_tasks import run_staged
from musicrec.store.lineage import digest
from musicrec.store.store import Store
from musicrec.store.table_parts import ROWS_FILE, published_places, slices

LEAST = least_steps(STEP_S)
SONGS_PER_TASK = 4096
SONGS_AT_ONCE = 2048  # looked up together
MEMORY = 800 * 2**20  # bytes per worker, with its libraries
TESTED_PAIRS = 20_000
PAIRS_PER_TASK = 2500
FASTER_COLUMNS = ["faster_codes", "faster_audible"]


class Songs(NamedTuple):
    """The songs with enough sound, in order of id."""

    names: pa.Table  # track_id, and fingerprint of what it was made from
    prints: Prints  # at their own speed
    short: list[str]  # ids of the songs with too little sound

    @property
    def track_ids(self) -> pa.Array:
        """Their ids."""
        return self.names["track_id"].combine_chunks()


def read_songs(store: Store) -> Songs:
    """Read the fingerprints at the songs' own speed."""
    table = store.read(TABLE, ["track_id", "codes", "audible"]).sort_by("track_id").combine_chunks()
    lengths = pc.list_value_length(table["codes"]).to_numpy().astype(np.int64)
    prints = Prints(_values(table["codes"]), _values(table["audible"]), starts_of(lengths))
    sound = np.diff(np.concatenate([[0], np.cumsum(prints.audible)])[prints.starts])
    is_long = sound >= LEAST
    rows = read_parquet(store.path(TABLE) / ROWS_FILE, ["track_id", "fingerprint"]).sort_by("track_id")
    return Songs(
        rows.filter(pa.array(is_long)).combine_chunks(),
        prints.some(np.flatnonzero(is_long)),
        table["track_id"].filter(pa.array(~is_long)).to_pylist(),
    )


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


class Found(NamedTuple):
    """What was found in a run.

    Attributes
    ----------
    matches : Matches
        The pairs that are alike.
    tested : numpy.ndarray
        int64 [n, 2], some pairs.
    errors : numpy.ndarray
        float64 [n], the share of bits in which each of them differs.
    kept : Kept
        What the next run needs to match only what has changed.
    """

    matches: Matches
    tested: NDArray[np.int64]
    errors: NDArray[np.float64]
    kept: Kept


def made_by(settings: DuplicatesSettings, n_songs: int) -> dict[str, Any]:
    """Return what matches depend on beside the songs."""
    return {
        "fingerprint": settings.fingerprint(),
        "faster": list(FASTER),
        "one_in": one_in_of(n_songs),
        "bucket": BUCKET,
    }


def find_matches(store: Store, settings: DuplicatesSettings, songs: Songs) -> Found:
    """Return the pairs that are alike, and how near some others come to it."""
    before = _kept(store, settings, songs)
    index = make_index(songs.prints, is_changed=before.is_changed(songs.names) if before else None)
    stayed = [before.matches_of(songs.track_ids, index.is_changed)] if before else []
    shared = ray.put(Shared(store.out, settings, songs.track_ids, songs.prints, index))
    parts = _staged_matches(store, settings, shared, index.is_changed)
    matches = Matches.joined([*stayed, *parts])
    tested = some_pairs(len(songs.track_ids), TESTED_PAIRS)
    kept = to_kept(songs.names, index.is_crowded, matches)
    return Found(matches, tested, _errors_of(settings, shared, tested), kept)


def _kept(store: Store, settings: DuplicatesSettings, songs: Songs) -> Kept | None:
    """Return the matches of the published table, if they were made as tonight's are."""
    if not store.exists("recordings"):
        return None
    return load(store.path("recordings") / FOLDER, made_by(settings, len(songs.names)))


def _staged_matches(
    store: Store, settings: DuplicatesSettings, shared: "ray.ObjectRef[Shared]", is_changed: NDArray[np.bool_]
) -> list[Matches]:
    """Return the matches of songs that have changed, with each other and with all others."""
    if not is_changed.any():
        return []
    what = digest([store.footer(TABLE)["fingerprint"], settings.fingerprint(), is_changed.tobytes().hex()])
    shards = {digest([what, *(part.name for part in parts)]): parts for parts in _parts_by_task(store)}
    task = _stage_matches.options(**task_options(MEMORY))
    with Progress(settings.stage, len(shards)) as progress:
        staged = run_staged(
            store,
            settings.stage,
            shards,
            lambda name, parts: task.remote(name, parts, shared),
            lambda _: progress.advance(1),
        )
    return [_to_matches(read_parquet(path)) for path in staged]


def _parts_by_task(store: Store) -> list[list[AnyPath]]:
    """Return the parts of the table, some thousand songs at a time."""
    n_songs = Counter(part for _, part in published_places(store, TABLE))
    tasks: list[list[AnyPath]] = [[]]
    left = SONGS_PER_TASK
    for part in sorted(n_songs, key=str):
        if tasks[-1] and n_songs[part] > left:
            tasks.append([])
            left = SONGS_PER_TASK
        tasks[-1].append(part)
        left -= n_songs[part]
    return tasks


def _errors_of(
    settings: DuplicatesSettings, shared: "ray.ObjectRef[Shared]", pairs: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the share of bits in which each pair differs."""
    blocks = slices(list(range(len(pairs))), PAIRS_PER_TASK)
    task = _test_pairs.options(**task_options(MEMORY))
    tested = dict(run_tasks(settings.stage, lambda k: task.remote(pairs[blocks[k]], shared), range(len(blocks))))
    return np.concatenate([np.empty(0), *(tested[k] for k in range(len(blocks)))])


@cache
def _compile() -> None:
    """Compile all loops, for arrays in this process and in shared memory."""
    with compiling():
        codes = np.random.default_rng(0).integers(0, 2**32, 2 * LEAST, dtype=np.uint32)
        queries = Prints.of([(codes, codes > 0)] * 2)
        shared = Prints.of([(codes, codes > 0)] * 2)
        index = make_index(shared)
        for array in (*shared, *index[:-1]):
            array.flags.writeable = False
        match(index, shared, queries, np.arange(2), 1.0, least=LEAST, most_errors=0.5)
        errors_of(shared, np.array([[0, 1]]), LEAST)


@remote(num_cpus=1)
def _stage_matches(name: str, parts: list[AnyPath], shared: Shared) -> None:
    """Stage the matches of the songs of some parts of the table."""
    _compile()
    songs = open_dataset(parts).to_table(columns=["track_id", *FASTER_COLUMNS])
    batches = [songs[start : start + SONGS_AT_ONCE] for start in range(0, len(songs), SONGS_AT_ONCE)]
    found = [matches for batch in batches for matches in _matches_of(batch, shared)]
    Store(shared.out).work.stage(shared.settings.stage, name, pa.table(Matches.joined(found)._asdict()))


def _matches_of(batch: pa.Table, shared: Shared) -> list[Matches]:
    """Return the matches of some songs at each speed."""
    own = pc.index_in(batch["track_id"], value_set=shared.track_ids)
    batch = batch.filter(pc.is_valid(own))
    numbers = own.drop_null().to_numpy().astype(np.int64)
    prints = shared.prints.some(numbers)
    return [
        match(shared.codes, shared.prints, at, numbers, speed, least=LEAST, most_errors=shared.settings.max_bit_errors)
        for speed, at in zip((1.0, *FASTER), [prints, *_faster(batch, prints.starts)], strict=True)
    ]


def _faster(songs: pa.Table, starts: NDArray[np.int64]) -> list[Prints]:
    """Return the fingerprints of songs at each other speed; a song has all of its own in a row."""
    codes, audible = (_values(songs[name]) for name in FASTER_COLUMNS)
    lengths = np.diff(starts)
    firsts = [starts[:-1] * len(FASTER) + k * lengths for k in range(len(FASTER))]
    return [Prints(pieces(codes, first, lengths), pieces(audible, first, lengths), starts) for first in firsts]


def _to_matches(table: pa.Table) -> Matches:
    return Matches(*(column.to_numpy() for column in table.columns))


@remote(num_cpus=1)
def _test_pairs(pairs: NDArray[np.int64], shared: Shared) -> NDArray[np.float64]:
    _compile()
    return errors_of(shared.prints, pairs, LEAST)
