"""Recommending to many simulated listeners from published lists: the kernel beside implicit, and all of it.

The songs are synthetic and clustered; each simulated listener likes songs drawn at random, and has heard no others.

kernel      CPU time a listener for the n best unheard songs, by `nearest_to_likes` and by ItemItemRecommender of
            implicit with the same lists as its table, on one thread, in turns, medians. They do not compute the same:
            implicit adds up the scores of a song over the likes, and we take the largest. So the lists differ, and the
            column `in common` says by how much; ours are checked against a plain reference. The time of implicit is
            that of its call for many users, which goes from user to user in Python. With ``--peers`` RecTools is asked
            too, whose model of implicit's recommender gets the same table; its data set is made before.
all in      reading the histories as Parquet twice, first to count likes, ids to numbers, the kernel, the checks, a key
            of what each listener's songs depend on, and writing both and n rows a listener; as
            `musicrec recommend --histories` does in each worker, without Ray. CPU time, and the peak memory of the
            process, for two numbers of listeners: it should not grow with them.
"""

import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.listeners.recommend_peers import Prepare, of_implicit, of_rectools
from benchmarks.shared.common import cpu, one_thread, parser, print_machine, print_table, verdict
from benchmarks.shared.peers import have
from benchmarks.shared.synthetic_vectors import KINDS, clustered
from musicrec.schemas import HISTORIES, RECOMMENDATIONS
from musicrec.settings import RecommendSettings, SimilarSettings
from musicrec.similarity import Lists, top_n
from musicrec.similarity.listeners.nearest_to_likes import Catalog, Listeners, nearest_to_likes
from musicrec.similarity.songs import CodeSets, as_sets
from musicrec.stages.recommendations.cold_listeners import cold_start, count_likes
from musicrec.stages.recommendations.history_blocks import COLUMNS, blocks_of, read_block
from musicrec.stages.recommendations.kept_listeners import LISTENERS
from musicrec.stages.recommendations.listener_keys import song_keys
from musicrec.stages.recommendations.listener_tasks import LISTENERS_AT_ONCE, Plan, Tonight, recommend_to
from musicrec.stages.recommendations.song_numbers import SongNumbers
from musicrec.store.table_spec import Table, writing

PART_LISTENERS = 50_000  # a part of the table `histories`
LEAST_SPEED, MOST_OF_IMPLICIT = 30_000, 0.4
OURS, IMPLICIT, RECTOOLS = "nearest_to_likes (largest)", "implicit ItemItemRecommender (sum)", "RecTools (sum)"
CHECKED = 20  # listeners whose lists are computed by a plain reference


def simulated_likes(n_users: int, n_likes: int, n_songs: int, seed: int) -> np.ndarray:
    """Return the likes of simulated listeners, int32 [n_users, n_likes]: ascending, each song once."""
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.integers(0, n_songs - n_likes + 1, (n_users, n_likes), np.int32), axis=1)
    return drawn + np.arange(n_likes, dtype=np.int32)


def as_listeners(likes: np.ndarray) -> Listeners:
    """Return likes as the kernel takes them."""
    starts = np.arange(len(likes) + 1, dtype=np.int64) * likes.shape[1]
    sets = CodeSets(starts, likes.ravel())
    return Listeners(sets, sets)


def catalog_of(n_songs: int) -> Catalog:
    """Return songs that are all different, by artists whom nobody knows."""
    return Catalog(np.arange(n_songs, dtype=np.int32), as_sets(np.full(n_songs, -1, np.int32)))


# --- kernel ---------------------------------------------------------------------------------------------------------


def kernels(lists: Lists, asked: Any) -> bool:  # noqa: ANN401 - the options
    """Print the CPU time of each kernel; return whether ours is fast enough."""
    songs = catalog_of(asked.n_songs)
    methods: dict[str, Prepare] = {
        OURS: lambda likes: lambda: nearest_to_likes(lists, as_listeners(likes), songs, asked.n).ids
    }
    peers = {"implicit": (IMPLICIT, of_implicit), "rectools": (RECTOOLS, of_rectools)}
    methods |= {name: of(lists, asked.n_songs, asked.n) for module, (name, of) in peers.items() if find_spec(module)}
    for prepare in methods.values():
        prepare(simulated_likes(8, asked.n_likes, asked.n_songs, 0))()  # compiles
    times: dict[str, list[float]] = {name: [] for name in methods}
    found = {}
    for turn in range(asked.rounds):
        likes = simulated_likes(asked.kernel_users, asked.n_likes, asked.n_songs, turn)
        for name, prepare in methods.items():
            found[name], seconds = cpu(prepare(likes))
            times[name].append(1e6 * seconds / len(likes))
    medians = {name: median(values) for name, values in times.items()}
    rows = []
    for name, ids in found.items():
        in_common = np.mean([len(np.intersect1d(a, b)) / asked.n for a, b in zip(found[OURS], ids, strict=True)])
        spread = f"{min(times[name]):.1f}–{max(times[name]):.1f}"
        ratio = f"{medians[OURS] / medians[name]:.2f}"
        rows.append((name, f"{medians[name]:.1f}", spread, ratio, f"{100 * in_common:.0f} %"))
    print_table(("kernel", "µs a listener", "of all rounds", "ours is … of it", "in common"), rows)
    right = equals_reference(lists, likes[:CHECKED], found[OURS][:CHECKED])
    print(f"{CHECKED} lists are those of a plain reference: {verdict(right)}")
    if IMPLICIT not in medians:
        print("implicit is not installed: pip install 'musicrec[collaborative]'")
        return right
    ratio = medians[OURS] / medians[IMPLICIT]
    print(f"{ratio:.2f} × implicit, which adds up where we take the largest, at most {MOST_OF_IMPLICIT}: "
          f"{verdict(ratio <= MOST_OF_IMPLICIT)}\n")  # fmt: skip
    return right and ratio <= MOST_OF_IMPLICIT


def equals_reference(lists: Lists, likes: np.ndarray, found: np.ndarray) -> bool:
    """Return whether lists are those that plain Python makes of the lists of the likes."""
    for mine, ids in zip(likes, found, strict=True):
        best: dict[int, float] = {}
        for like in mine:
            for song, score in zip(lists.ids[like].tolist(), lists.scores[like].tolist(), strict=True):
                best[song] = max(score, best.get(song, -np.inf))
        unheard = sorted((song for song in best if song not in set(mine.tolist())), key=lambda s: (-best[s], s))
        if unheard[: len(ids)] != ids[ids >= 0].tolist():
            return False
    return True


# --- all in ---------------------------------------------------------------------------------------------------------


def write_histories(folder: Path, n_users: int, asked: Any) -> None:  # noqa: ANN401
    """Write the histories of simulated listeners, a part for every 50 000."""
    for part, start in enumerate(range(0, n_users, PART_LISTENERS)):
        n = min(PART_LISTENERS, n_users - start)
        likes = simulated_likes(n, asked.n_likes, asked.n_songs, part)
        names = pa.array([f"simulated-{start + i:08d}" for i in range(n)])
        rows = pa.array(np.repeat(np.arange(n), asked.n_likes))
        songs = pa.array([f"song-{i:07d}" for i in range(asked.n_songs)])
        nothing = [pa.nulls(likes.size, field.type) for field in list(HISTORIES)[3:]]
        columns = [names.take(rows), songs.take(pa.array(likes.ravel())), pa.array(np.ones(likes.size, np.int64))]
        pq.write_table(pa.Table.from_arrays([*columns, *nothing], schema=HISTORIES), folder / f"{part:05d}.parquet")


def recommend_all(folder: Path, lists_file: Path, asked: Any) -> dict[str, float]:  # noqa: ANN401
    """Recommend to all listeners of a folder of histories; return CPU seconds and peak memory."""
    import resource

    with np.load(lists_file) as file:
        lists = Lists(file["ids"], file["scores"])
    track_ids = pa.array([f"song-{i:07d}" for i in range(asked.n_songs)])
    row = np.arange(asked.n_songs, dtype=np.int32)
    songs = SongNumbers(track_ids, row, row, np.full(asked.n_songs, -1, np.int32), catalog_of(asked.n_songs))
    plan = Plan(folder, RecommendSettings(n=asked.n), folder, songs, {}, SimilarSettings(), None)
    given = plan.given(lists, None)
    first = next(iter(sorted(folder.glob("*.parquet"))))
    few = pq.read_table(first, columns=COLUMNS)[: asked.n_likes]
    nobody_likes = cold_start(np.zeros(2 * asked.n_songs, np.int64), songs, given)
    recommend_to(few, given, songs, Tonight(nobody_likes, song_keys(songs, given, nobody_likes), None))  # compiles

    def run() -> int:
        n_rows, parts = 0, sorted(folder.glob("*.parquet"))
        n_likes = np.zeros(2 * asked.n_songs, np.int64)
        for part in parts:
            for block in blocks_of(pq.read_table(part, columns=COLUMNS), LISTENERS_AT_ONCE):
                n_likes += count_likes(read_block(block, songs), songs)
        cold = cold_start(n_likes, songs, given)
        tonight = Tonight(cold, song_keys(songs, given, cold), None)
        spec = Table("recommendations", RECOMMENDATIONS, 64 * asked.n, dictionaries=("user_id", "method", "because"))
        for part in parts:
            kept_file, kept_spec = folder / f"{part.stem}.listeners", Table("recommendations", LISTENERS, 64)
            with writing(folder / f"{part.stem}.recommended", spec) as writer, writing(kept_file, kept_spec) as kept:
                for block in blocks_of(pq.read_table(part, columns=COLUMNS), LISTENERS_AT_ONCE):
                    rows, listeners, _ = recommend_to(block, given, songs, tonight)
                    writer.write_table(rows)
                    kept.write_table(listeners)
                    n_rows += len(rows)
        return n_rows

    n_rows, seconds = cpu(run)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "mib": peak, "rows": n_rows}


def all_in(lists: Lists, asked: Any) -> bool:  # noqa: ANN401
    """Print speed and memory for both numbers of listeners; return whether it is fast enough."""
    rows, speeds = [], []
    with tempfile.TemporaryDirectory() as temporary:
        lists_file = Path(temporary) / "lists.npz"
        np.savez(lists_file, ids=lists.ids, scores=lists.scores)
        for n_users in (asked.n_users // 4, asked.n_users):
            folder = Path(temporary) / str(n_users)
            folder.mkdir()
            write_histories(folder, n_users, asked)
            options = [f"--n-songs={asked.n_songs}", f"--n-likes={asked.n_likes}", f"-n{asked.n}"]
            command = [sys.executable, "-m", "benchmarks.listeners.recommend", *options, "--part", folder, lists_file]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            speeds.append(n_users / found["seconds"])
            rows.append((f"{n_users:,}", f"{speeds[-1]:,.0f}", f"{found['mib']:.0f}", f"{found['rows']:,.0f}"))
    print_table(("simulated listeners", "a CPU second", "peak MiB", "rows"), rows)
    print(f"{min(speeds):,.0f} listeners a CPU second, at least {LEAST_SPEED:,}: {verdict(min(speeds) >= LEAST_SPEED)}")
    return min(speeds) >= LEAST_SPEED


def main() -> None:
    """Measure the kernels, then all of it."""
    made = parser(__doc__, "python -m benchmarks.listeners.recommend --n-songs 100000 --n-users 1000000")
    made.add_argument("--n-songs", type=int, default=20_000, help="songs of the synthetic table (default: 20000)")
    made.add_argument("--n-users", type=int, default=200_000, help="simulated listeners, all in (default: 200000)")
    made.add_argument("--n-likes", type=int, default=20, help="likes of each (default: 20)")
    made.add_argument("-n", type=int, default=20, help="songs for each (default: 20)")
    made.add_argument("--length", type=int, default=50, help="length of the published lists (default: 50)")
    made.add_argument("--kernel-users", type=int, default=10_000, help="listeners in each round (default: 10000)")
    made.add_argument("--rounds", type=int, default=5, help="rounds of the kernels (default: 5)")
    made.add_argument("--peers", type=Path, help="folder RecTools is installed into and kept in (default: none)")
    made.add_argument("--part", type=Path, nargs=2, metavar=("FOLDER", "LISTS"), help="used by the program itself")
    asked = made.parse_args()
    one_thread()
    if asked.part:
        print(json.dumps(recommend_all(*asked.part, asked)))
        return
    if asked.peers:
        have(asked.peers, "rectools", "--no-deps", "rectools", "typeguard", "tqdm")
    peers = [package for package in ("implicit", "rectools") if find_spec(package)]
    print_machine("numpy", "numba", "pyarrow", *peers)
    vectors = clustered(KINDS["low-dimensional"], asked.n_songs, 64)
    lists = top_n(vectors, asked.length)
    reached = [kernels(lists, asked), all_in(lists, asked)]
    sys.exit(0 if all(reached) else 1)


if __name__ == "__main__":
    main()
