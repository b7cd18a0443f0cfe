#!/usr/bin/env bash
# How many channels of the first convolutions of MusiCNN depend on what they hear.
#
# Guess:    The five convolutions at the front of the published networks have 561 channels, so all of them must be computed.
# Happens:  In the checkpoint of MSD_musicnn (the Million Song Dataset), training has shrunk 496 kernels to nothing: the
#           absolute values of each sum up to less than 10⁻⁶, so its channel says the same whatever it hears. In that of
#           MTT_musicnn (MagnaTagATune) there are 182. What computes all channels computes a constant eight times in nine.
# Versions: musicnn 0.1.0, its checkpoints read by TensorFlow 2.21.0. Seen in November 2026.
# Source:   The files MSD_musicnn/ and MTT_musicnn/ of its wheel; musicnn/models.py for the order of the convolutions.
# musicrec: leaves constant channels out of the network that it makes of a checkpoint, and adds what they say to later layers:
#           the same vectors but for rounding, in a fifth of the time (`musicrec models add musicnn`).
#
# Usage: findings/musicnn-silent-kernels.sh          PYTHON=/path/to/python3.11-or-later chooses the Python
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
pip() { "$folder/venv/bin/pip" --quiet --disable-pip-version-check "$@"; }
pip install tensorflow==2.21.0 numpy==2.4.6
pip download --no-deps --dest "$folder" musicnn==0.1.0
cat >"$folder/read.py" <<'PYTHON'
import sys
import zipfile

import numpy as np
import tensorflow as tf

wheel, folder = sys.argv[1:]
with zipfile.ZipFile(wheel) as files:
    files.extractall(folder)
for name in ("MSD_musicnn", "MTT_musicnn"):
    reader = tf.compat.v1.train.NewCheckpointReader(f"{folder}/musicnn/{name}/")
    counts = []
    for i in range(5):
        kernel = reader.get_tensor(f"conv2d_{i}/kernel" if i else "conv2d/kernel")  # [time, frequency, 1, channel]
        counts.append((int((np.abs(kernel).sum(axis=(0, 1, 2)) < 1e-6).sum()), kernel.shape[-1]))
    shrunk, all_channels = map(sum, zip(*counts))
    print(f"{name}: {shrunk} of {all_channels} kernels are nothing;", *(f"{some} of {n}" for some, n in counts))
PYTHON
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" "$folder/read.py" "$folder"/musicnn-*.whl "$folder" 2>/dev/null | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN' && echo "as told above"
MSD_musicnn: 496 of 561 kernels are nothing; 180 of 204 190 of 204 48 of 51 44 of 51 34 of 51
MTT_musicnn: 182 of 561 kernels are nothing; 56 of 204 111 of 204 8 of 51 6 of 51 1 of 51
SEEN
