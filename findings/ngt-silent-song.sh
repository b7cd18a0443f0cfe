#!/usr/bin/env bash
# Which ids NGT gives the songs after one whose vector is zero, as that of digital silence may be.
#
# Guess:    Index.batch_insert() gives row i the id i, as for other distances. A zero vector has no cosine: it is refused by an
#           error, as insert() refuses it, or stays a row that is never found.
# Happens:  With distance_type="Normalized Cosine", NGT 2.8.0 leaves the row out, says so on stderr alone, and returns None.
#           All rows after it get an id less by one, so that each of these songs is found under the name of the one before
#           it; lists look as plausible as ever. With "Cosine" the row stays, is never found, and ids are right.
# Versions: ngt 2.8.0.post1, numpy 2.4.6 from PyPI, Python 3.11 on x86-64. Seen in November 2026.
# Source:   the vectors below: 1000 random ones, of which one is zero.
# musicrec: keeps vectors by the names of songs, and lists a song with a zero vector as failed, zero_vector
#           (docs/guides/vectors.md).
#
# Usage: findings/ngt-silent-song.sh   PYTHON=/path/to/python3.11-or-later chooses the Python
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import sys
from importlib.metadata import version

import ngtpy, numpy as np

N, DIM, SILENT = 1000, 32, 500
vectors = np.random.default_rng(0).normal(size=(N, DIM)).astype(np.float32)
vectors[SILENT] = 0


def ids_of_the_nearest(index):
    """Return the id that a search by each song's own vector finds first."""
    return np.array([index.search(v, 1)[0][0] if v.any() else -1 for v in vectors])


print(f"ngt {version('ngt')}: {N} songs, of which number {SILENT} is silent")
for distance in ("Cosine", "Normalized Cosine"):
    path = f"{sys.argv[1]}/{distance.replace(' ', '')}".encode()
    ngtpy.create(path, DIM, distance_type=distance)
    index = ngtpy.Index(path)
    returned = index.batch_insert(vectors, num_threads=1)
    found, rows = ids_of_the_nearest(index), np.arange(N)
    before, after = rows < SILENT, rows > SILENT
    print(f"{distance}: batch_insert returns {returned}; more than 9 of 10 songs are found by their vector under")
    print(f"  their own id: before the silent one {(found == rows)[before].mean() > 0.9}, after it {(found == rows)[after].mean() > 0.9}")
    print(f"  the id of the song before: after it {(found == rows - 1)[after].mean() > 0.9}")
try:
    index.insert(vectors[SILENT])
except RuntimeError:
    print("Normalized Cosine: insert() of the silent one alone raises RuntimeError")
PYTHON
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ngt==2.8.0.post1 numpy==2.4.6
"$folder/venv/bin/python" "$folder/show.py" "$folder" 2>"$folder/stderr" | tee "$folder/seen"
grep --only-matching "Skip the data no. 500" "$folder/stderr" | tee -a "$folder/seen"
diff "$folder/seen" - <<'SEEN' && echo "as told above"
ngt 2.8.0.post1: 1000 songs, of which number 500 is silent
Cosine: batch_insert returns None; more than 9 of 10 songs are found by their vector under
  their own id: before the silent one True, after it True
  the id of the song before: after it False
Normalized Cosine: batch_insert returns None; more than 9 of 10 songs are found by their vector under
  their own id: before the silent one True, after it False
  the id of the song before: after it True
Normalized Cosine: insert() of the silent one alone raises RuntimeError
Skip the data no. 500
SEEN
