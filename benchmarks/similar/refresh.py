"""The nightly refresh of lists beside a full run: CPU time, and whether the lists are the same, bit for bit.

Each night 1 % of the songs change: half of these have another vector, a quarter are new, a quarter are gone. The last
night is a take-down: the songs of one region of the space, 5 % of all, are gone at once, as when a label withdraws its
catalog. Everything runs on one core. The data are synthetic and clustered, not real songs. The time of a full run is
the median of those between the nights, with which the lists are compared.
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.shared.common import cpu, one_thread, print_machine, print_table, verdict
from benchmarks.shared.synthetic_vectors import KINDS, clustered
from musicrec.similarity import top_n
from musicrec.similarity.search.refresh import full, refresh

Matrix = NDArray[np.float32]

SHARE, TAKE_DOWN = 0.01, 0.05
BARS = {100_000: 0.04, 1_000_000: 0.025}


class Night(NamedTuple):
    """A refresh: how many vectors had changed, how many lists were made anew, and whether they are a full run's."""

    what: str
    n_changed: int
    n_anew: int
    cpu_s: float
    same: bool | None  # None: not compared

    def row(self, full_s: float) -> tuple[object, ...]:
        """Return the row of the table."""
        same = "not compared" if self.same is None else self.same
        return (*self[:3], f"{self.cpu_s:.3f}", f"{self.cpu_s / full_s:.2%}", same)


def next_night(vectors: Matrix, fresh: Matrix, rng: np.random.Generator) -> tuple[Matrix, NDArray[np.int64]]:
    """Return the vectors of the next night, and the row that each song had."""
    n_changed, n_new = len(fresh) // 2, len(fresh) // 4
    vectors = vectors.copy()
    vectors[rng.choice(len(vectors), n_changed, replace=False)] = fresh[:n_changed]
    kept = np.sort(rng.choice(len(vectors), len(vectors) - n_new, replace=False))
    order = np.argsort(np.concatenate([kept, rng.uniform(0, len(vectors), n_new)]), kind="stable")
    before = np.concatenate([kept, np.full(n_new, -1)])[order]
    return np.concatenate([vectors[kept], fresh[n_changed : n_changed + n_new]])[order], before


def take_down(vectors: Matrix, rng: np.random.Generator) -> tuple[Matrix, NDArray[np.int64]]:
    """Return the vectors without the songs nearest to one of them, and the row that each song had."""
    nearness = vectors @ vectors[rng.integers(len(vectors))]
    kept = np.sort(np.argsort(-nearness, kind="stable")[int(TAKE_DOWN * len(vectors)) :])
    return vectors[kept], kept


def main() -> None:
    """Measure a few nights."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--n-songs", type=int, default=20_000)
    parser.add_argument("--kind", choices=KINDS, default="harder")
    parser.add_argument("-n", type=int, default=50)
    parser.add_argument("-d", type=int, default=128)
    parser.add_argument("--nights", type=int, default=5)
    parser.add_argument("--check-every", type=int, default=1, help="nights that are compared with a full run")
    options = parser.parse_args()
    one_thread()
    print_machine()
    n_songs, rng = options.n_songs, np.random.default_rng(0)
    n_fresh = int(SHARE * n_songs)
    pool = clustered(KINDS[options.kind], n_songs + n_fresh * options.nights, options.d)
    pool = pool[rng.permutation(len(pool))]
    vectors, pool = pool[:n_songs], pool[n_songs:]
    kept = full(vectors[:4000], options.n).kept
    refresh(kept, vectors[1:4001], np.append(np.arange(1, 4000), -1))  # compiled before anything is timed
    last, with_spares = cpu(lambda: full(vectors, options.n))
    full_runs = [cpu(lambda: top_n(vectors, options.n))[1]]
    nights: list[Night] = []
    for night in range(1, options.nights + 2):
        is_last = night > options.nights
        vectors, before = (
            take_down(vectors, rng) if is_last else next_night(vectors, pool[(night - 1) * n_fresh :][:n_fresh], rng)
        )
        done, took = cpu(partial(refresh, last.kept, vectors, before))
        if done is None:
            done, took = cpu(partial(full, vectors, options.n))
        same = None
        if night % options.check_every == 0 or is_last:
            expected, took_full = cpu(partial(top_n, vectors, options.n))
            full_runs.append(took_full)
            same = done.lists.ids.tobytes() == expected.ids.tobytes()
            same &= done.lists.scores.tobytes() == expected.scores.tobytes()
        what = "take-down" if is_last else f"night {night}"
        nights.append(Night(what, done.n_changed, done.n_anew, took, same))
        last = done
    print(f"\n{n_songs} songs ({options.kind}), n = {options.n}, d = {options.d}, CPU seconds")
    seconds, each = float(np.median(full_runs)), " ".join(f"{s:.2f}" for s in full_runs)
    print(f"full run {seconds:.2f} s ({each}); with spare songs, for a refresh, {with_spares:.2f} s\n")
    print_table(
        ("night", "changed", "made anew", "CPU s", "of a full run", "same lists"),
        [night.row(seconds) for night in nights],
    )
    lines, ok = judge(nights, seconds, BARS.get(n_songs))
    print("", *lines, sep="\n")
    sys.exit(not ok)


def judge(nights: list[Night], full_s: float, bar: float | None) -> tuple[list[str], bool]:
    """Return a line for each thing that must hold, and whether all of it does; wrong lists reach no bar."""
    compared = [night for night in nights if night.same is not None]
    wrong = [night.what for night in compared if not night.same]
    right = bool(compared) and not wrong
    said = f"{', '.join(wrong)} differ" if wrong else f"{len(compared)} of {len(nights)} nights compared"
    lines = [f"lists of a full run, bit for bit: {verdict(right)}; {said}"]
    if bar is None:
        return lines, right
    share = float(np.median([night.cpu_s for night in nights[:-1]])) / full_s
    ok = right and share <= bar
    return [*lines, f"median night {share:.2%} of a full run, at most {bar:.1%}: {verdict(ok)}"], ok


if __name__ == "__main__":
    main()
