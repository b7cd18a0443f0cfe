#!/usr/bin/env bash
# Over which listeners the package recommenders takes the mean of its figures.
#
# Guess:    Each figure is a mean over the listeners of whom something was held out, as recall and nDCG are elsewhere. One for
#           whom nothing is recommended, or nothing right, counts with 0.
# Happens:  recommenders 1.2.1 has three denominators in one module. precision, recall and MAP count only listeners who
#           have a list, nDCG all, and R-precision only those whose list holds a hit. So a method that recommends to half of
#           the listeners, the easy ones, gets recall 1 and nDCG .5 of the same lists, and one that fills up what it lacks
#           loses recall by it. R-precision cannot be below that of the listeners who were served well.
# Versions: recommenders 1.2.1, pandas 2.3.3, numpy 2.4.6, scikit-learn 1.9.1 from PyPI, Python 3.11. Seen in November 2026.
# Source:   merge_ranking_true_pred and what calls it in recommenders/evaluation/python_evaluation.py.
# musicrec: counts a listener without a list, or without a hit, with 0 in all figures
#           (musicrec/evaluate/listeners/ranking_metrics.py).
#
# Usage: findings/recommenders-users.sh   PYTHON=/path/to/python3.11-or-later chooses the Python
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
from importlib.metadata import version

import pandas as pd
from recommenders.evaluation import python_evaluation as figures

K = 10
# Of each of four listeners two songs are held out: 10 and 11 of the first, 20 and 21 of the second, and so on.
held_out = pd.DataFrame([(u, 10 * u + i, 1.0) for u in range(1, 5) for i in range(2)], columns=["userID", "itemID", "rating"])


def lists(right, wrong):
    """Return lists of ten: those of `right` begin with what was held out, those of `wrong` lack it."""
    songs = [(u, 10 * u + i + (100 if u in wrong else 0), 1 - i / K) for u in (*right, *wrong) for i in range(K)]
    return pd.DataFrame(songs, columns=["userID", "itemID", "prediction"])


print(f"recommenders {version('recommenders')}, four listeners, two held-out songs of each, lists of {K}")
for name, predicted in (
    ("two listeners have both at the top, two have no list", lists((1, 2), ())),
    ("two listeners have both at the top, two have lists without a hit", lists((1, 2), (3, 4))),
):
    print(f"{name}:")
    for figure in ("recall_at_k", "precision_at_k", "map_at_k", "ndcg_at_k", "r_precision_at_k"):
        print(f"  {figure} {getattr(figures, figure)(held_out, predicted, k=K):.2f}")
PYTHON
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pandas==2.3.3 numpy==2.4.6 scikit-learn==1.9.1
# The figures import nothing else; the whole package brings notebooks, gradient boosting and more.
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps recommenders==1.2.1
"$folder/venv/bin/python" "$folder/show.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN' && echo "as told above"
recommenders 1.2.1, four listeners, two held-out songs of each, lists of 10
two listeners have both at the top, two have no list:
  recall_at_k 1.00
  precision_at_k 0.20
  map_at_k 1.00
  ndcg_at_k 0.50
  r_precision_at_k 1.00
two listeners have both at the top, two have lists without a hit:
  recall_at_k 0.50
  precision_at_k 0.10
  map_at_k 0.50
  ndcg_at_k 0.50
  r_precision_at_k 1.00
SEEN
