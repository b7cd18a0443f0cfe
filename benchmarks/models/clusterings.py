"""Silhouette and Davies-Bouldin index of the reference system's clusterings beside ours, on its public feature table.

StandardScaler → PCA to two components → clusters, of all 960 songs × 41 features; the genres are only looked at
afterwards. `reported` is what the reference's authors printed, `found` what their own clusters show. ± is the standard
deviation over random 80 % of the songs in random order, with new seeds. The table holds 960 of the reference's 1 200
songs, so no figure can be reproduced more closely than that. `agrees` means that ours is within two standard deviations
of `found`. DBSCAN's figure depends so much on single songs that this says little about it.

MISTAKE     the gaussian mixture measured as the reference reported it: the cluster's number was added to the points as
            a third coordinate before they were measured, so the clusters lie apart by construction. No result.
denser      DBSCAN at eps .6 × √(1200 / 960): as many neighbours within eps as 1 200 songs would have.
"""

import sys
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.cluster import DBSCAN

from benchmarks.shared.common import one_thread, parser, print_machine, print_table
from musicrec import features
from musicrec.evaluate.cluster_quality import Quality, agreement, quality
from musicrec.models import CLUSTERINGS
from musicrec.models.pipelines import build

SHARE = 0.8
FOUND = {  # silhouette, Davies-Bouldin index; nan where none was printed
    "kmeans": (0.35, 0.835),
    "birch": (0.32, 0.68),
    "gaussian_mixture": (0.347, 0.860),
    "dbscan": (-0.088, np.nan),
}
REPORTED = FOUND | {"gaussian_mixture": (0.52, 0.66)}


class Clustered(NamedTuple):
    """Songs on the plane, and their clusters."""

    points: NDArray[np.float64]
    clusters: NDArray[np.int32]


def clustered(name: str, X: NDArray[np.float64], genres: NDArray[np.object_], seed: int = 0) -> Clustered:
    """Train a clustering and place its own songs."""
    pipeline = build(name, len(X), seed).fit(X, genres)
    points = pipeline[:-1].transform(X)
    return Clustered(points, pipeline[-1].clusters(points))


def spread(name: str, X: NDArray[np.float64], genres: NDArray[np.object_], repeats: int) -> NDArray[np.float64]:
    """Return the standard deviations of silhouette and Davies-Bouldin index over random songs, orders and seeds."""
    figures = []
    for seed in range(repeats):
        rows = np.random.default_rng(seed).permutation(len(X))[: round(SHARE * len(X))]
        figures.append(quality(*clustered(name, X[rows], genres[rows], seed))[2:])
    return np.std(np.array(figures, float), axis=0)


def row(name: str, ours: Quality, deviations: NDArray[np.float64] | None = None) -> list[str]:
    """Return one line of the table."""
    cells = [name, str(ours.n_clusters), str(ours.noise)]
    nothing = (np.nan, np.nan)
    for i, figure in enumerate((ours.silhouette, ours.davies_bouldin)):
        reported, found = (of.get(name, nothing)[i] for of in (REPORTED, FOUND))
        if deviations is None:
            cells += ["", "", shown(figure), "", ""]
            continue
        agrees = "" if np.isnan(found) else "yes" if abs(figure - found) <= 2 * deviations[i] else "no"
        cells += [shown(reported), shown(found), shown(figure), shown(deviations[i]), agrees]
    return cells


def shown(value: float | None) -> str:
    """Return a figure with three digits, or nothing."""
    return "" if value is None or np.isnan(value) else f"{value:.3f}"


def main() -> None:
    """Print both tables."""
    options = parser(__doc__, "python -m benchmarks.models.clusterings --repeats 10")
    options.add_argument("--repeats", type=int, default=30, help="random draws behind each ± (default: 30)")
    asked = options.parse_args()
    one_thread()
    file = asked.data / "tables" / "iiitd_12genre_960x41.csv"
    if not file.is_file():
        sys.exit(f"no table {file}; expected the reference system's features: give --data or set MUSICREC_DATA")
    table = pd.read_csv(file)
    X, genres = table[features.feature_names("iiitd41")].to_numpy(), table["genre"].to_numpy(object)
    print_machine("scikit-learn", "numpy")
    made = {name: clustered(name, X, genres) for name in CLUSTERINGS}
    rows = [row(name, quality(*found), spread(name, X, genres, asked.repeats)) for name, found in made.items()]
    denser = DBSCAN(eps=0.6 * np.sqrt(1200 / len(X)), min_samples=4).fit_predict(made["dbscan"].points)
    rows.append(row("dbscan, denser", quality(made["dbscan"].points, denser)))
    points, clusters = made["gaussian_mixture"]
    rows.append(row("gaussian_mixture, MISTAKE", quality(np.column_stack([points, clusters]), clusters)))
    measure = ["reported", "found", "ours", "±", "agrees"]
    print("silhouette, then Davies-Bouldin index")
    print_table(["clustering", "clusters", "noise", *measure, *measure], rows)
    print("beside the 12 genres, which no clustering was shown")
    agreed = [[name, *map(shown, agreement(found.clusters, genres))] for name, found in made.items()]
    print_table(["clustering", "adjusted Rand", "mutual information"], agreed)


if __name__ == "__main__":
    main()
