#!/usr/bin/env bash
# Which cosine distances LanceDB gives, and which songs it finds within one.
#
# Guess:    distance_type("cosine") gives 1 - cos whether or not there is an index: that of a scalar quantizer (IVF_SQ,
#           IVF_HNSW_SQ) a little coarser. distance_range() keeps the songs whose distance is in the range.
# Happens:  With such an index of LanceDB 0.40.0 each distance is 2 - 2 cos, that of unit vectors squared, and the range is
#           compared with that: of 54 songs within .5 one is left, the song itself. As soon as a row is there that the index
#           does not hold yet, any row, all distances that come back are 1 - cos again, but the range is still compared
#           with the doubled ones; optimize() doubles them again. A threshold that was found before the index was built,
#           or between two optimizations, is wrong after.
# Versions: lancedb 0.40.0, pyarrow 26.0.1, numpy 2.4.6 from PyPI, Python 3.11 on x86-64. Seen in November 2026.
# Source:   issue 3530 of lancedb/lancedb tells of the doubled distances (open in November 2026).
# musicrec: screens pairs by codes too, but the score of each that it lists is the cosine itself (musicrec/similarity/search).
#
# Usage: findings/lancedb-cosine.sh   PYTHON=/path/to/python3.11-or-later chooses the Python
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import sys

import lancedb, numpy as np, pyarrow as pa
from lancedb.index import HnswFlat, HnswSq, IvfFlat, IvfSq

N, DIM, WITHIN = 2000, 64, 0.5
rng = np.random.default_rng(0)
centres = rng.normal(size=(40, DIM))
songs = (centres[rng.integers(0, 40, N)] + 0.9 * rng.normal(size=(N, DIM))).astype(np.float32)
unit = songs / np.linalg.norm(songs, axis=1, keepdims=True)
true = 1 - unit @ unit[0]
nearest = int(np.argsort(true)[1])


def rows(vectors, first):
    ids = pa.array(range(first, first + len(vectors)))
    return pa.table({"id": ids, "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIM)})


def show(name):
    search = lambda: table.search(songs[0]).distance_type("cosine").limit(N)
    distance = {row["id"]: row["_distance"] for row in search().to_list()}[nearest]
    n_within = len(search().distance_range(upper_bound=WITHIN).to_list())
    print(f"{name}: {distance / true[nearest]:.1f} times the cosine distance, {n_within} within {WITHIN}")


print(f"lancedb {lancedb.__version__}: {(true < WITHIN).sum()} of {N} songs have a cosine distance below {WITHIN} of the first")
table = lancedb.connect(sys.argv[1]).create_table("songs", rows(songs, 0))
show("no index")
for config in (IvfFlat, HnswFlat, IvfSq, HnswSq):
    table.create_index("vector", config=config(distance_type="cosine"), replace=True)
    show(config.__name__)
table.add(rows(-songs[:1], N))
show("a row more, the opposite of the first")
table.optimize()
show("optimized")
PYTHON
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check lancedb==0.40.0 pyarrow==26.0.1 numpy==2.4.6
"$folder/venv/bin/python" "$folder/show.py" "$folder/tables" 2>/dev/null | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN' && echo "as told above"
lancedb 0.40.0: 54 of 2000 songs have a cosine distance below 0.5 of the first
no index: 1.0 times the cosine distance, 54 within 0.5
IvfFlat: 1.0 times the cosine distance, 54 within 0.5
HnswFlat: 1.0 times the cosine distance, 54 within 0.5
IvfSq: 2.0 times the cosine distance, 1 within 0.5
HnswSq: 2.0 times the cosine distance, 1 within 0.5
a row more, the opposite of the first: 1.0 times the cosine distance, 1 within 0.5
optimized: 2.0 times the cosine distance, 1 within 0.5
SEEN
