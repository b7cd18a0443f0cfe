#!/usr/bin/env bash
# How many of the songs with the largest inner products voyager finds.
#
# Guess:    Space.InnerProduct finds the items that a listener's factors have the largest products with about as well as the
#           HNSW graphs of other libraries do with as many links, in whatever order the items were added.
# Happens:  With items in no order, voyager 2.2.3 finds 2 of 10 where usearch and faiss find more than 9. It gives each item
#           one more coordinate, sqrt(longest² - length²), which makes all equally long; most items are short, so that
#           the graph links by this coordinate above all, and a query has 0 there. faiss on vectors with that coordinate
#           is as bad. Sorted by length before they are added, either way, the same items are found well. Factors of
#           implicit's ALS and BPR, of made-up likes, fared likewise: 4 and 5 of 10, then 9 and 10.
# Versions: voyager 2.2.3, usearch 2.26.6, faiss-cpu 1.15.1, numpy 2.4.6 from PyPI, Python 3.11 on x86-64. Seen in
#           November 2026.
# Source:   pull request 25 of spotify/voyager, which adds the coordinate, after Bachrach et al., RecSys 2014.
# musicrec: multiplies with all songs, without a graph (musicrec/models/recommenders/collaborative.py).
#
# Usage: findings/voyager-inner-product.sh   PYTHON=/path/to/python3.11-or-later chooses the Python
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
from importlib.metadata import version

import faiss, numpy as np, usearch.index, voyager

N, DIM, LINKS, AT_BUILD, AT_QUERY = 3000, 64, 12, 200, 50
rng = np.random.default_rng(0)
items = (rng.normal(size=(N, DIM)) * np.exp(0.5 * rng.normal(size=(N, 1)))).astype(np.float32)
listeners = rng.normal(size=(200, DIM)).astype(np.float32)
length = np.linalg.norm(items, axis=1)
best = np.argsort(-(listeners @ items.T), axis=1)[:, :10]


def of_ten(found):
    """Return how many of the ten best are found in the mean over listeners, a whole number."""
    return round(np.mean([len(set(row.tolist()) & set(b.tolist())) for row, b in zip(found, best)]))


def by_voyager(order):
    index = voyager.Index(voyager.Space.InnerProduct, num_dimensions=DIM, M=LINKS, ef_construction=AT_BUILD, random_seed=1)
    index.add_items(items[order], order.tolist(), num_threads=1)
    return of_ten(index.query(listeners, 10, query_ef=AT_QUERY, num_threads=1)[0])


def by_usearch():
    index = usearch.index.Index(
        ndim=DIM, metric="ip", dtype="f32", connectivity=LINKS, expansion_add=AT_BUILD, expansion_search=AT_QUERY
    )
    index.add(np.arange(N), items, threads=1)
    return of_ten(index.search(listeners, 10, threads=1).keys)


def by_faiss(items, listeners):
    index = faiss.IndexHNSWFlat(items.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = AT_BUILD, AT_QUERY
    index.add(items)
    return of_ten(index.search(listeners, 10)[1])


faiss.omp_set_num_threads(1)
longer = np.c_[items, np.sqrt(length.max() ** 2 - length**2)].astype(np.float32)
with_zero = np.c_[listeners, np.zeros(len(listeners))].astype(np.float32)
print(f"voyager {version('voyager')}, usearch {version('usearch')}, faiss {faiss.__version__}: of the 10 best are found")
print(f"  by usearch more than 8: {by_usearch() > 8}, by faiss: {by_faiss(items, listeners) > 8}")
print(f"  by voyager more than 8: {by_voyager(np.arange(N)) > 8} (less than 4: {by_voyager(np.arange(N)) < 4})")
print(f"  by faiss with the coordinate of voyager less than 4: {by_faiss(longer, with_zero) < 4}")
for name, order in (("longest", np.argsort(-length)), ("shortest", np.argsort(length))):
    print(f"  by voyager, {name} first, more than 8: {by_voyager(order) > 8}")
PYTHON
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check voyager==2.2.3 usearch==2.26.6 faiss-cpu==1.15.1 numpy==2.4.6
"$folder/venv/bin/python" "$folder/show.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN' && echo "as told above"
voyager 2.2.3, usearch 2.26.6, faiss 1.15.1: of the 10 best are found
  by usearch more than 8: True, by faiss: True
  by voyager more than 8: False (less than 4: True)
  by faiss with the coordinate of voyager less than 4: True
  by voyager, longest first, more than 8: True
  by voyager, shortest first, more than 8: True
SEEN
