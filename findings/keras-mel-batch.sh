#!/usr/bin/env bash
# On what the mel spectrogram of a song depends in Keras.
#
# Guess:    keras.layers.MelSpectrogram gives each song of a batch the decibels that it has alone: the layer has no state, and
#           top_db=80 keeps a song's values within 80 dB of its own largest.
# Happens:  In Keras 3.15.1 the 80 dB are counted from the largest value of the whole batch. A loud song beside it cuts off
#           what is soft in another: here two thirds of the values of one that is 25 dB softer. Its vector, and its genre, so
#           depend on its neighbours, and a model that learned from batches is given other values of one song alone. Of 32
#           songs of GTZAN in a batch, 23 change, one in a fifth of its values, and some values by 28 dB. Without
#           power_to_db the values are the same, and 80 dB can be counted song by song after the layer.
# Versions: keras 3.15.1 on jax 0.10.2, numpy 2.4.6 from PyPI, Python 3.11 on x86-64. On TensorFlow 2.21 it is the same. Seen
#           in November 2026.
# Source:   _dbscale in keras/src/layers/preprocessing/mel_spectrogram.py; the layer's page gives top_db without saying of what.
# musicrec: counts them from the largest value of each song's clip (musicrec/features/analysis.py), and refuses a pretrained
#           model whose vectors depend on the rest of the batch (musicrec/models/pretrained/checks.py).
#
# Usage: findings/keras-mel-batch.sh   PYTHON=/path/to/python3.11-or-later chooses the Python
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import os

os.environ["KERAS_BACKEND"] = "jax"
import jax, keras, numpy as np

RATE = 22_050
rng = np.random.default_rng(0)
t = np.arange(3 * RATE) / RATE
partials = sum(np.sin(2 * np.pi * hertz * k * t) / k**2 for hertz in (220, 330) for k in range(1, 9))
plucked = np.exp(-3 * (t % 0.5)) * partials
plucked /= np.abs(plucked).max()
soft = (0.05 * (plucked + 1e-4 * rng.normal(size=len(t)))).astype(np.float32)
loud = (0.9 * (plucked + 0.05 * rng.normal(size=len(t)))).astype(np.float32)


def song_alone_and_in_batch(**options):
    layer = keras.layers.MelSpectrogram(sampling_rate=RATE, max_freq=RATE / 2, **options)
    return np.asarray(layer(soft[None]))[0], np.asarray(layer(np.stack([soft, loud])))[0]


print(f"keras {keras.__version__}, jax {jax.__version__}: a song alone, and beside one that is 25 dB louder")
alone, beside = song_alone_and_in_batch()
differs = np.abs(alone - beside) > 0.01
most, largest = differs.mean() > 0.5, np.abs(alone - beside).max()
print(f"  it differs in {'more' if most else 'less'} than half of the values, by up to {largest:.0f} dB")
at_floor = np.ptp(beside[differs]) < 0.01
print(f"  alone it spans at most 80 dB: {np.ptp(alone) < 80.01}; what differs stands at the floor of the batch: {at_floor}")
alone, beside = song_alone_and_in_batch(power_to_db=False)
print(f"  without power_to_db it is the same: {np.allclose(alone, beside, rtol=1e-4, atol=1e-9)}")
PYTHON
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
"$folder/venv/bin/python" "$folder/show.py" 2>/dev/null | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN' && echo "as told above"
keras 3.15.1, jax 0.10.2: a song alone, and beside one that is 25 dB louder
  it differs in more than half of the values, by up to 25 dB
  alone it spans at most 80 dB: True; what differs stands at the floor of the batch: True
  without power_to_db it is the same: True
SEEN
