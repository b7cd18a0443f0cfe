"""The songs nearest to the mean of each simulated listener's likes, beside the matrix product of listeners and songs.

CPU time a listener on one thread, exact over the whole catalog, heard songs left out: `nearest_to_tastes`, with the
codes of the songs made once for a part of the table `histories`; `because`, which names the like that each song is most
similar to; and float32 products of the same size, in turns. Some lists are checked against a float64 ranking.
"""

import sys
from argparse import Namespace
from statistics import median

import numpy as np

from benchmarks.listeners.recommend import PART_LISTENERS, as_listeners, catalog_of, simulated_likes
from benchmarks.shared.common import cpu, one_thread, parser, print_machine, print_table, verdict
from benchmarks.shared.synthetic_vectors import KINDS, clustered
from benchmarks.similar.reference import Product
from musicrec.models.recommenders.by_content import unit_rows
from musicrec.similarity.listeners.nearest_to_tastes import most_similar_like, nearest_to_tastes
from musicrec.similarity.search.queries import prepare_songs
from musicrec.stages.recommendations.listener_tasks import LISTENERS_AT_ONCE

MOST_OF_PRODUCT = 0.30
CHECKED = 100


def of_kind(kind: str, asked: Namespace) -> tuple[list[str], float]:
    """Return a line of the table, and the time as a share of the product."""
    n_songs, n = asked.n_songs, asked.n
    vectors = clustered(KINDS[kind], n_songs, asked.d)
    unit, catalog, product = unit_rows(vectors), catalog_of(n_songs), Product(vectors)
    prepare_songs(unit[:1000], n)  # compiles
    typical = unit[simulated_likes(LISTENERS_AT_ONCE, asked.n_likes, n_songs, 0)].mean(axis=1)
    prepared, preparing = cpu(lambda: prepare_songs(unit, n, typical=typical))
    times: list[tuple[float, float, float]] = []
    right = True
    for turn in range(asked.rounds + 1):
        likes = simulated_likes(LISTENERS_AT_ONCE, asked.n_likes, n_songs, turn)
        own, tastes = as_listeners(likes), unit[likes].mean(axis=1)
        found, nearest_s = cpu(lambda t=tastes, own=own: nearest_to_tastes(t, prepared, own.heard, catalog, n))
        _, because_s = cpu(lambda found=found, own=own: most_similar_like(found, own.likes, unit))
        times.append((nearest_s, because_s, 1e-9 * product.ns_per_pair() * n_songs * len(likes)))
        scores = (tastes[:CHECKED] @ unit.T).astype(np.float32)
        np.put_along_axis(scores, likes[:CHECKED], -np.inf, axis=1)
        right &= bool((found.ids[:CHECKED] == np.argsort(-scores, axis=1, kind="stable")[:, :n]).all())
    once = preparing / PART_LISTENERS
    nearest_s, because_s, product_s = (median(turn[k] for turn in times[1:]) / LISTENERS_AT_ONCE for k in range(3))
    shares = [(once + nearest_s) / product_s, (once + nearest_s + because_s) / product_s]
    micros = [f"{1e6 * seconds:.0f}" for seconds in (once, nearest_s, because_s, product_s)]
    return [kind, *micros, *(f"{share:.2f}" for share in shares), str(right)], shares[0]


def main() -> None:
    """Print a line for each kind of vectors."""
    made = parser(__doc__, "python -m benchmarks.listeners.tastes")
    made.add_argument("--n-songs", type=int, default=100_000, help="songs (default: 100000)")
    made.add_argument("-d", type=int, default=128, help="numbers of a vector (default: 128)")
    made.add_argument("--n-likes", type=int, default=20, help="likes of each listener (default: 20)")
    made.add_argument("-n", type=int, default=20, help="songs for each (default: 20)")
    made.add_argument("--rounds", type=int, default=5, help=f"times {LISTENERS_AT_ONCE} listeners (default: 5)")
    asked = made.parse_args()
    one_thread()
    print_machine("numpy", "numba")
    lines = [of_kind(kind, asked) for kind in KINDS]
    head = ("songs", "codes, µs", "nearest, µs", "because, µs", "product, µs", "× product", "with because", "right")
    print_table(head, [line for line, _ in lines])
    worst = max(share for _, share in lines)
    print(f"≤ {MOST_OF_PRODUCT:.2f} × product: {verdict(worst <= MOST_OF_PRODUCT)} ({worst:.2f} at worst)")
    sys.exit(worst > MOST_OF_PRODUCT or not all(line[-1] == "True" for line, _ in lines))


if __name__ == "__main__":
    main()
