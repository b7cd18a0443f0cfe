#!/usr/bin/env bash
# With which pooling the package musicnn runs the network MSD_vgg, and with which it was trained.
#
# Guess:    The code of the package `musicnn` builds the networks whose checkpoints it carries.
# Happens:  The graph saved beside the checkpoint of MSD_vgg pools by (4, 1), (1, 4), (2, 2), (2, 2), (4, 4). The code pools
#           by (4, 1), (2, 2), (2, 2), (2, 2), (4, 4) for both VGGs; only MTT_vgg was trained so. Pooling has no weights, so
#           the checkpoint of MSD_vgg fits, and the network runs without a word. Its tags are those of another network: for
#           a window of a blues clip, "blues" is 0.12; by the pooling of the graph it is 0.63.
# Versions: musicnn 0.1.0, read by the message types of tensorboard 2.20.0 (protobuf 6.31.1). Seen in November 2026.
# Source:   musicnn/models.py, and the files MSD_vgg/.meta and MTT_vgg/.meta (TensorFlow's MetaGraphDef) of its wheel.
# musicrec: builds MSD_vgg by the pooling of the graph (`musicrec models add vgg-msd`).
#
# Usage: findings/musicnn-vgg-pooling.sh          PYTHON=/path/to/python3.11-or-later chooses the Python
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
pip() { "$folder/venv/bin/pip" --quiet --disable-pip-version-check "$@"; }
pip install --no-deps tensorboard==2.20.0
pip install protobuf==6.31.1 numpy==2.4.6
pip download --no-deps --dest "$folder" musicnn==0.1.0
cat >"$folder/read.py" <<'PYTHON'
import re
import sys
import zipfile

from tensorboard.compat.proto import meta_graph_pb2

with zipfile.ZipFile(sys.argv[1]) as wheel:
    for name in ("MSD_vgg", "MTT_vgg"):
        graph = meta_graph_pb2.MetaGraphDef.FromString(wheel.read(f"musicnn/{name}/.meta")).graph_def
        pools = [node for node in graph.node if node.op == "MaxPool"]
        print(name, "was saved with", *(tuple(node.attr["ksize"].list.i[1:3]) for node in pools))
    code = wheel.read("musicnn/models.py").decode()
vgg = code[code.index("def vgg(") :]
print("the code pools by      ", *(tuple(map(int, pool)) for pool in re.findall(r"pool_size=\[(\d+), ?(\d+)\]", vgg)))
PYTHON
"$folder/venv/bin/python" "$folder/read.py" "$folder"/musicnn-*.whl | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN' && echo "as told above"
MSD_vgg was saved with (4, 1) (1, 4) (2, 2) (2, 2) (4, 4)
MTT_vgg was saved with (4, 1) (2, 2) (2, 2) (2, 2) (4, 4)
the code pools by       (4, 1) (2, 2) (2, 2) (2, 2) (4, 4)
SEEN
