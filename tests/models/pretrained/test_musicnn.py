"""MusiCNN as ONNX computes what the checkpoint means: compared with NumPy, TensorFlow and the graph in its wheel."""

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
from musicrec.models.pretrained import library, musicnn_wheel
from musicrec.models.pretrained.musicnn import convert
from musicrec.models.pretrained.musicnn_forward import forward
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


@pytest.fixture(scope="module")
def weights():
    """A checkpoint of random numbers with MusiCNN's names and shapes; some normalisations turn the order round."""
    rng = np.random.default_rng(0)
    made = {}
    for i, (time, width, n) in enumerate(CONVOLUTIONS):
        made[f"{numbered('conv2d', i)}/kernel"] = rng.normal(size=(time, width, 1, n)) / np.sqrt(time * width)
        made[f"{numbered('conv2d', i)}/bias"] = rng.normal(size=n) * 0.1
    for i, n in enumerate(NORMALISED):
        for part, values in {
            "gamma": rng.normal(size=n), "beta": rng.normal(size=n) * 0.1,
            "moving_mean": rng.normal(size=n) * 0.1, "moving_variance": rng.uniform(0.5, 2, size=n),
        }.items():  # fmt: skip
            made[f"{numbered('batch_normalization', i)}/{part}"] = values
    for name, shape in {"dense": (1506, 200), "dense_1": (200, 50)}.items():
        made[f"{name}/kernel"] = rng.normal(size=shape) / np.sqrt(shape[0])
        made[f"{name}/bias"] = rng.normal(size=shape[1]) * 0.1
    return {name: values.astype(np.float32) for name, values in made.items()}


@pytest.fixture(scope="module")
def patches():
    return np.stack([FRONT_ENDS["musicnn"].transform(signal(name, 16_000, 2.992))[:187] for name in ("tone", "noise")])


def close(mine, theirs):
    np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=2e-5)


@pytest.mark.thorough
def test_the_converted_network_is_the_described_one(weights, patches):
    model = Pretrained(convert(weights), musicnn_wheel.card_of("musicnn", TAGS))
    vectors, tags = model.run(patches)
    for i, patch in enumerate(patches):
        outputs = forward(weights, patch)
        close(vectors[i], outputs.embedding)
        close(tags[i], outputs.tags)
    musicnn_wheel.check_converted(model, weights)


@pytest.mark.engine
def test_the_converted_network_is_that_of_tensorflow(weights, patches):
    model = Pretrained(convert(weights), musicnn_wheel.card_of("musicnn", TAGS))
    for mine, theirs in zip(model.run(patches), musicnn_tensorflow.network(weights)(patches), strict=True):
        close(mine, theirs)


def test_a_network_that_was_converted_wrongly_is_not_kept(weights):
    model = Pretrained(convert(weights), musicnn_wheel.card_of("musicnn", TAGS))
    changed = weights | {"conv2d_3/bias": weights["conv2d_3/bias"] + 0.1}
    with pytest.raises(ModelError, match="model musicnn: converted, it computes other numbers of clip tone"):
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


@pytest.mark.slow
@pytest.mark.engine
def test_the_wheel_of_the_package_index_is_converted(tmp_path, monkeypatch, patches, data):
    """It asks the package index. Both networks are those of TensorFlow, and one finds the tag blues in a blues."""
    monkeypatch.setenv("MUSICREC_CACHE", str(tmp_path / "cache"))
    cards = musicnn_wheel.add_musicnn()
    assert [card.name for card in cards] == [card.name for card in library.installed()] == ["musicnn", "musicnn-mtt"]
    with zipfile.ZipFile(musicnn_wheel.fetch(tmp_path)) as wheel:
        wheel.extractall(tmp_path)
    for card in cards:
        assert (len(card.tags), card.licence) == (50, "ISC")
        weights = musicnn_wheel.read_checkpoint(tmp_path / "musicnn" / musicnn_wheel.CHECKPOINTS[card.name])
        model = Pretrained(*library.read_model(card.name))
        for mine, theirs in zip(model.run(patches), musicnn_tensorflow.network(weights)(patches), strict=True):
            close(mine, theirs)
    blues = audio.load(str(data / "gtzan/blues/blues.00000.wav"), sample_rate=16_000)
    output = Pretrained(*library.read_model("musicnn")).embed(blues)
    assert cards[0].tags[int(output.tags.argmax())] == "blues"
