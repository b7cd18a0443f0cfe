"""A model is kept on this machine only if it is what its card says and gives what others got of it."""

import numpy as np
import onnx
import pytest

from musicrec.errors import ConfigError, ModelError
from musicrec.models.pretrained import library
from musicrec.models.pretrained.checks import check_golden
from musicrec.models.pretrained.session import Pretrained
from musicrec.models.pretrained.signals import SIGNALS, signal
from onnx_files import SIZE, card, network, node

MEAN = node("ReduceMean", ["x", "axis"], "mean", keepdims=0)
CONTENT = network().SerializeToString()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MUSICREC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_model_that_was_added_is_read_and_listed(cache):
    known = library.add(CONTENT, card())
    content, read = library.read_model("small")
    assert (content, read) == (CONTENT, known)
    assert [one.name for one in library.installed()] == ["small"]
    assert sorted(path.name for path in (cache / "models").rglob("*")) == ["card.toml", "model.onnx", "small"]


def test_the_card_gets_the_hash_of_the_file_and_golden_vectors():
    known = library.add(CONTENT, card())
    assert len(known.weights) == 64
    assert [golden.signal for golden in known.golden] == list(SIGNALS)
    model = Pretrained(CONTENT, card())
    for golden in known.golden:
        output = model.embed(signal(golden.signal, 16_000, 1.6))
        np.testing.assert_allclose(golden.vector, output.vector, rtol=1e-6)


def test_a_model_takes_the_place_of_one_with_its_name():
    library.add(CONTENT, card())
    known = library.add(CONTENT, card(pooling="max"))
    assert library.read_model("small")[1] == known


def test_a_model_that_is_not_there():
    with pytest.raises(ConfigError, match=r"there is no model musicnn in .*models \(there: none\); add it: musicrec"):
        library.read_model("musicnn")
    library.add(CONTENT, card())
    with pytest.raises(ConfigError, match=r"\(there: small\)"):
        library.read_model("musicnn")


def test_a_file_that_was_changed_afterwards_is_refused(cache):
    library.add(CONTENT, card())
    (cache / "models/small/model.onnx").write_bytes(network(kernel=np.ones((96, 6), np.float32)).SerializeToString())
    with pytest.raises(ModelError, match=r"model small: the file has SHA-256 \w{16}…, the card says \w{16}…; add the"):
        library.read_model("small")


# --- what is refused --------------------------------------------------------------------------------------------------


def golden_of(**changed):
    known = library.add(CONTENT, card())
    return [golden.model_dump() | changed for golden in known.golden]


def off_by(share):
    changed = golden_of()
    vector = np.array(changed[1]["vector"])
    direction = np.random.default_rng(0).normal(size=SIZE)
    vector += direction / np.linalg.norm(direction) * np.linalg.norm(vector) * share
    return {"golden": [changed[0], changed[1] | {"vector": vector.tolist()}, changed[2]]}


def test_golden_vectors_within_the_tolerance_stay_as_the_card_has_them():
    says = card(**off_by(5e-4))
    assert library.add(CONTENT, says).golden == says.golden


def test_golden_vectors_that_differ_are_named_with_how_much():
    line = r"on \S+, golden vector sweep differs by 0.002 of its length, at most 0.001 is allowed; the file, or onnx"
    with pytest.raises(ModelError, match=line):
        library.add(CONTENT, card(**off_by(2e-3)))
    check_golden(Pretrained(CONTENT, card(tolerance=3e-3, **off_by(2e-3))))


def test_golden_vectors_of_another_length():
    says = card(golden=[{"signal": "tone", "vector": [1.0, 2.0]}])
    with pytest.raises(ModelError, match="golden vector tone has 2 numbers in the card, 6 from the file"):
        library.add(CONTENT, says)


def test_a_vector_that_depends_on_its_mates_is_refused_but_not_if_windows_run_alone():
    mates = [MEAN, node("ReduceMean", ["mean", "zero"], "of_batch"), node("Sub", ["mean", "of_batch"], "vector")]
    with pytest.raises(ModelError, match=r"the vector of clip tone changes by \S+ of its length when other clips are"):
        library.add(network(*mates).SerializeToString(), card())
    bias = [MEAN, node("ReduceMean", ["mean", "zero"], "of_batch"), node("Add", ["mean", "of_batch"], "vector")]
    library.add(network(*bias, shape=(1, 50, 96)).SerializeToString(), card())


@pytest.mark.parametrize(
    ("nodes", "line"),
    [
        (
            [MEAN, node("Neg", ["mean"], "minus"), node("Log", ["minus"], "vector")],
            "the vector of golden clip tone hold NaN or infinity",
        ),
        (  # as many numbers as bands are loud
            [
                MEAN,
                node("ReduceMean", ["mean", "zero"], "band", keepdims=0),
                node("Greater", ["band", "level"], "loud"),
                node("Compress", ["mean", "loud"], "vector", axis=1),
            ],
            r"model small gives vectors of \d+ and \d+( and \d+)? numbers",
        ),
    ],
)
def test_what_a_network_may_not_give(nodes, line):
    with pytest.raises(ModelError, match=line):
        library.add(network(*nodes, level=np.float32(1.0)).SerializeToString(), card())


def test_another_number_of_tags_than_the_card_names():
    net = network(MEAN, node("Relu", ["mean"], "vector"), node("Sigmoid", ["mean"], "tags"), outputs=("vector", "tags"))
    says = card(tags_output="tags", tags=("calm", "loud"))
    with pytest.raises(ModelError, match="output tags has 96 numbers, the card 2 tags; correct the card"):
        library.add(net.SerializeToString(), says)


def test_a_hash_of_another_file():
    with pytest.raises(ModelError, match=r"the file has SHA-256 \w{16}…, the card says 00…"):
        library.add(CONTENT, card(weights="00"))


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"RIFF....WAVEfmt "])
def test_a_file_that_is_not_onnx(content):
    with pytest.raises(ModelError, match="model small: the file is not ONNX"):
        library.add(content, card())


def test_weights_in_another_file_are_refused_even_where_that_file_lies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(network(), "small.onnx", save_as_external_data=True, location="small.data", size_threshold=0)
    with pytest.raises(ModelError, match=r"its weights are in another file, small.data; export it as one file"):
        library.add((tmp_path / "small.onnx").read_bytes(), card())


def test_nothing_is_kept_of_a_model_that_is_refused(cache):
    with pytest.raises(ModelError):
        library.add(CONTENT, card(output="none"))
    assert not library.installed()
    assert not cache.exists()
