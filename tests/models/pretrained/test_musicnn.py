"""MusiCNN and VGG as ONNX compute what a checkpoint means: compared with NumPy and with TensorFlow."""

import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from benchmarks.models import musicnn_tensorflow
from musicrec import audio
from musicrec.errors import ModelError
from musicrec.features.front_ends import FRONT_ENDS
from musicrec.models.pretrained import library, musicnn_wheel, vgg
from musicrec.models.pretrained.graph import normalisation
from musicrec.models.pretrained.musicnn import FRONT, channels_of, convert
from musicrec.models.pretrained.session import Pretrained
from musicrec.models.pretrained.signals import signal

CONVOLUTIONS = [  # frames, bands, channels
    *((7, 38, 204), (7, 67, 204), (128, 1, 51), (64, 1, 51), (32, 1, 51)),
    *((7, 561, 64), (7, 64, 64), (7, 64, 64)),
]
NORMALISED = [1, 204, 204, 51, 51, 51, 64, 64, 64, 1506, 200]
TAGS = tuple(f"tag {i}" for i in range(50))


def numbered(name, i):
    return f"{name}_{i}" if i else name


def made(kernels, normalised):
    """A checkpoint of random numbers, from shapes by name; some normalisations turn the order round."""
    rng = np.random.default_rng(0)
    weights = {}
    for name, shape in kernels.items():
        weights[f"{name}/kernel"] = rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))
        weights[f"{name}/bias"] = rng.normal(size=shape[-1]) * 0.1
    for i, n in enumerate(normalised):
        for part, values in {
            "gamma": rng.normal(size=n), "beta": rng.normal(size=n) * 0.1,
            "moving_mean": rng.normal(size=n) * 0.1, "moving_variance": rng.uniform(0.5, 2, size=n),
        }.items():  # fmt: skip
            weights[f"{numbered('batch_normalization', i)}/{part}"] = values
    return {name: values.astype(np.float32) for name, values in weights.items()}


def musicnn_weights():
    kernels = {numbered("conv2d", i): (time, width, 1, n) for i, (time, width, n) in enumerate(CONVOLUTIONS)}
    return made(kernels | {"dense": (1506, 200), "dense_1": (200, 50)}, NORMALISED)


def vgg_weights():
    kernels = {f"{i + 1}CNN": (3, 3, 8 if i else 1, 8) for i in range(5)}
    return made(kernels | {"dense": (16, 50)}, [1, 8, 8, 8, 8, 8])


def vgg_by_tensorflow(weights, pools):
    import tensorflow as tf

    def norm(i, y):
        parts = (weights[f"{numbered('batch_normalization', i)}/{part}"] for part in PARTS)
        return tf.nn.batch_normalization(y, *parts, 1e-3)

    def run(x):
        y = norm(0, x[..., None])
        for i, (size, step) in enumerate(pools):
            y = tf.nn.relu(tf.nn.conv2d(y, weights[f"{i + 1}CNN/kernel"], 1, "SAME") + weights[f"{i + 1}CNN/bias"])
            y = tf.nn.max_pool2d(norm(i + 1, y), size, step, "VALID")
        y = tf.reshape(y, [len(x), -1])
        return y.numpy(), tf.sigmoid(y @ weights["dense/kernel"] + weights["dense/bias"]).numpy()

    return run


def by_tensorflow(name, weights):
    """How TensorFlow runs a checkpoint."""
    return vgg_by_tensorflow(weights, POOLS[name]) if name in POOLS else musicnn_tensorflow.network(weights)


PARTS = ("moving_mean", "moving_variance", "beta", "gamma")
POOLS = {"vgg-msd": vgg.MSD_POOLS, "vgg-mtt": vgg.MTT_POOLS}


def partly_dead(weights):
    """The same, and most channels of the first convolutions are constant, as in the MSD checkpoint."""
    for i in FRONT:
        name = numbered("conv2d", i)
        weights[f"{name}/kernel"][..., 2:] *= np.float32(1e-20)  # training leaves such numbers, and no zeros
        weights[f"{name}/bias"][1] = -1e4  # never above 0, so rectified away
    return weights


@pytest.fixture(scope="module", params=["musicnn", "musicnn-mtt", *POOLS])
def converted(request):
    """A checkpoint, and the model that is made of it; that of musicnn hears by 5 channels of 561."""
    weights = vgg_weights() if request.param in POOLS else musicnn_weights()
    if request.param == "musicnn":
        weights = partly_dead(weights)
    content = musicnn_wheel.CHECKPOINTS[request.param].convert(weights)
    return weights, Pretrained(content, musicnn_wheel.card_of(request.param, TAGS))


@pytest.fixture(scope="module")
def patches():
    return np.stack([FRONT_ENDS["musicnn"].transform(signal(name, 16_000, 2.992))[:187] for name in ("tone", "noise")])


def close(mine, theirs):
    np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=2e-5)


@pytest.mark.thorough
def test_the_converted_network_is_the_described_one(converted, patches):
    weights, model = converted
    vectors, tags = model.run(patches)
    for i, patch in enumerate(patches):
        outputs = musicnn_wheel.CHECKPOINTS[model.card.name].forward(weights, patch)
        close(vectors[i], outputs.embedding)
        close(tags[i], outputs.tags)
    musicnn_wheel.check_converted(model, weights)


def test_only_channels_that_depend_on_what_is_heard_are_computed():
    whole = musicnn_weights()
    assert all(channels_of(whole, i).vary.all() for i in FRONT)
    weights = partly_dead(musicnn_weights())
    for i in FRONT:
        channels = channels_of(weights, i)
        assert np.flatnonzero(channels.vary).tolist() == [0]
        scale, shift = normalisation(weights, i + 1)
        bias = weights[f"{numbered('conv2d', i)}/bias"]
        close(channels.constants[1:], (scale * np.maximum(bias, 0) + shift)[1:])
    assert len(convert(weights)) < len(convert(whole)) / 2


@pytest.mark.engine
def test_the_converted_network_is_that_of_tensorflow(converted, patches):
    weights, model = converted
    expected = by_tensorflow(model.card.name, weights)(patches)
    for mine, theirs in zip(model.run(patches), expected, strict=True):
        close(mine, theirs)


def test_a_network_that_was_converted_wrongly_is_not_kept(converted):
    weights, model = converted
    bias = "3CNN/bias" if "3CNN/bias" in weights else "conv2d_3/bias"
    changed = weights | {bias: weights[bias] + 0.1}
    with pytest.raises(ModelError, match=f"model {model.card.name}: converted, it computes other numbers of clip tone"):
        musicnn_wheel.check_converted(model, changed)


def test_tags_are_read_without_running_the_file(tmp_path):
    (tmp_path / "configuration.py").write_text("raise SystemExit\nMTT_LABELS = ['a', 'b']\nMSD_LABELS = ['c']\n")
    assert musicnn_wheel.tags_of(tmp_path / "configuration.py", "MSD_LABELS") == ("c",)
    with pytest.raises(ModelError, match=r"musicnn==0.1.0 has no LABELS"):
        musicnn_wheel.tags_of(tmp_path / "configuration.py", "LABELS")


# --- fetching ---------------------------------------------------------------------------------------------------------


def offline(monkeypatch, links):
    """Let pip find packages in a folder only."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))


@pytest.mark.engine
def test_tensorflow_is_quiet_and_a_checkpoint_that_is_not_there_is_an_error(tmp_path):
    code = (
        "import pathlib, sys; from musicrec.models.pretrained.musicnn_wheel import read_checkpoint; "
        "read_checkpoint(pathlib.Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Traceback")


@pytest.mark.thorough
def test_an_index_out_of_reach_is_one_line_that_says_what_to_do(tmp_path, monkeypatch):
    offline(monkeypatch, tmp_path)
    with pytest.raises(ModelError, match=r"musicnn==0.1.0 cannot be fetched from the package index \(.*\); ") as e:
        musicnn_wheel.fetch(tmp_path)
    assert "\n" not in str(e.value)


@pytest.mark.thorough
def test_another_file_under_the_same_name_is_refused(tmp_path, monkeypatch):
    links, target = tmp_path / "links", tmp_path / "target"
    links.mkdir()
    target.mkdir()
    with zipfile.ZipFile(links / "musicnn-0.1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("musicnn-0.1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: musicnn\nVersion: 0.1.0\n")
        wheel.writestr("musicnn-0.1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    offline(monkeypatch, links)
    with pytest.raises(ModelError, match=r"musicnn==0.1.0 cannot be fetched .*(HASH|hash)"):
        musicnn_wheel.fetch(target)
    assert not list(target.glob("*.whl"))


def pools_of(file):
    """The neighbourhoods in the graph that a checkpoint was trained with."""
    from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

    nodes = [node for node in MetaGraphDef.FromString(file.read_bytes()).graph_def.node if node.op == "MaxPool"]
    return [tuple(tuple(node.attr[name].list.i)[1:3] for name in ("ksize", "strides")) for node in nodes]


@pytest.mark.slow
@pytest.mark.engine
def test_the_wheel_of_the_package_index_is_converted(tmp_path, monkeypatch, patches, data):
    """It asks the package index. The networks are those of TensorFlow; those of MSD find the tag blues in a blues."""
    monkeypatch.setenv("MUSICREC_CACHE", str(tmp_path / "cache"))
    with zipfile.ZipFile(musicnn_wheel.fetch(tmp_path)) as wheel:
        wheel.extractall(tmp_path)
    for name, checkpoint in musicnn_wheel.CHECKPOINTS.items():
        card = musicnn_wheel.add_checkpoint(name)
        assert (card.name, len(card.tags), card.licence) == (name, 50, "ISC")
        weights = musicnn_wheel.read_checkpoint(tmp_path / "musicnn" / checkpoint.folder)
        model = Pretrained(*library.read_model(name))
        for mine, theirs in zip(model.run(patches), by_tensorflow(name, weights)(patches), strict=True):
            close(mine, theirs)
        if name in POOLS:
            assert pools_of(tmp_path / "musicnn" / checkpoint.folder / ".meta") == POOLS[name]
    assert [card.name for card in library.installed()] == sorted(musicnn_wheel.CHECKPOINTS)
    blues = audio.load(str(data / "gtzan/blues/blues.00000.wav"), sample_rate=16_000)
    for name in ("musicnn", "vgg-msd"):
        content, card = library.read_model(name)
        assert card.tags[int(Pretrained(content, card).embed(blues).tags.argmax())] == "blues"
