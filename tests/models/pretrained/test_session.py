"""A network gives what the same arithmetic gives in NumPy; what it cannot give is refused in one line."""

import tracemalloc
from unittest import mock

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicrec.errors import ModelError
from musicrec.features.front_ends import FRONT_ENDS
from musicrec.models.pretrained.session import ON_CPU, ON_GPU, Pool, Pretrained
from onnx_files import BANDS, FRAMES, SIZE, by_numpy, card, network, node

RATE = 16_000


def noise(seconds, seed=0):
    return (0.1 * np.random.default_rng(seed).normal(size=round(seconds * RATE))).astype(np.float32)


def windows_of(y, hop=FRAMES):
    frames = FRONT_ENDS["musicnn"].transform(y)
    return [frames[i : i + FRAMES] for i in range(0, len(frames) - FRAMES + 1, hop)]


@pytest.mark.parametrize("batch", ["n", 1])
@pytest.mark.parametrize("seconds", [0.8, 2.5, 40.0])
def test_a_vector_is_the_mean_over_the_windows(batch, seconds):
    y = noise(seconds)
    output = Pretrained(network(shape=(batch, FRAMES, BANDS)).SerializeToString(), card()).embed(y)
    np.testing.assert_allclose(output.vector, np.mean([by_numpy(w) for w in windows_of(y)], axis=0), rtol=1e-4)
    assert output.vector.dtype == np.float32
    assert output.tags is None


@pytest.mark.parametrize(
    ("pooling", "pooled"),
    [("max", lambda v: v.max(axis=0)), ("mean+std", lambda v: np.concatenate([v.mean(axis=0), v.std(axis=0)]))],
)
def test_other_ways_to_pool(pooling, pooled):
    y = noise(20.0)
    output = Pretrained(network().SerializeToString(), card(pooling=pooling, hop_s=0.4)).embed(y)
    np.testing.assert_allclose(output.vector, pooled(np.stack([by_numpy(w) for w in windows_of(y, 25)])), rtol=1e-3)


def test_tags_are_the_mean_over_the_windows_whatever_the_pooling():
    kernel = 0.02 * np.random.default_rng(1).normal(size=(BANDS, SIZE)).astype(np.float32)
    net = network(
        node("ReduceMean", ["x", "axis"], "mean", keepdims=0),
        node("MatMul", ["mean", "kernel"], "vector"),
        node("Sigmoid", ["vector"], "tags"),
        outputs=("vector", "tags"),
        kernel=kernel,
    )
    says = card(pooling="max", tags_output="tags", tags=[f"tag {i}" for i in range(SIZE)])
    output = Pretrained(net.SerializeToString(), says).embed(noise(3))
    logits = np.stack([w.mean(axis=0) @ kernel for w in windows_of(noise(3))])
    np.testing.assert_allclose(output.tags, (1 / (1 + np.exp(-logits))).mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(output.vector, logits.max(axis=0), rtol=1e-4)


def test_axes_of_one_between_windows_and_frames_are_added():
    squeeze = node("Squeeze", ["x", "axis"], "flat")
    rest = node("ReduceMean", ["flat", "axis"], "vector", keepdims=0)
    output = Pretrained(network(squeeze, rest, shape=("n", 1, FRAMES, BANDS)).SerializeToString(), card()).embed(
        noise(1)
    )
    np.testing.assert_allclose(output.vector, windows_of(noise(1))[0].mean(axis=0), rtol=1e-4)


def test_a_short_clip_has_no_vector_where_the_card_refuses_it():
    content = network().SerializeToString()
    assert Pretrained(content, card(short="refuse")).embed(noise(0.5)) is None
    repeated = np.tile(noise(0.5), 2)[: (FRAMES - 1) * 256]
    output = Pretrained(content, card(short="repeat")).embed(noise(0.5))
    np.testing.assert_allclose(output.vector, by_numpy(windows_of(repeated)[0]), rtol=1e-4)


@pytest.mark.thorough
def test_an_hour_takes_no_more_memory_than_minutes_and_has_the_vector_of_all_of_it():
    minute, model = noise(60.0), Pretrained(network().SerializeToString(), card(window_s=0.8, hop_s=0.8))
    peaks, outputs = [], []
    for n_minutes in (4, 60):
        tracemalloc.start()
        outputs.append(model.embed_blocks(minute * (1 + i) for i in range(n_minutes)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] < 60 * minute.nbytes / 2
    np.testing.assert_allclose(outputs[0].vector, model.embed(np.concatenate([minute * i for i in range(1, 5)])).vector)


@settings(max_examples=50)
@given(
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=6),
    level=st.sampled_from([0.0, 1.0, 1e4]),
    seed=st.integers(0, 99),
)
def test_pooling_in_parts_is_pooling_at_once(sizes, level, seed):
    """Also of numbers that differ little from one another: nothing cancels."""
    rows = (level + np.random.default_rng(seed).normal(size=(sum(sizes), 3))).astype(np.float32)
    pool = Pool()
    for part in np.split(rows, np.cumsum(sizes)[:-1]):
        pool.add(part, "small")
    whole = rows.astype(np.float64)
    np.testing.assert_allclose(pool.result("mean"), whole.mean(axis=0), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(pool.result("max"), rows.max(axis=0))
    np.testing.assert_allclose(pool.result("mean+std")[3:], whole.std(axis=0), rtol=1e-5, atol=1e-6)


# --- what is refused --------------------------------------------------------------------------------------------------

COPY = node("ReduceMean", ["x", "axis"], "vector", keepdims=0)
FUTURE = network()
FUTURE.opset_import[0].version = 99

BAD = {
    "no ONNX": (b"RIFF....WAVEfmt " * 9, r"model small cannot be loaded by onnxruntime \S+: .*protobuf parsing failed"),
    "an operator that is missing": (
        network(node("Foo", ["x"], "vector")),
        r"needs an operator that onnxruntime \S+ lacks \(.*Foo.*\); export it anew",
    ),
    "an operator of somebody else": (
        network(node("Foo", ["x"], "vector", domain="my.domain")),
        r"needs an operator that onnxruntime \S+ lacks \(.*my.domain:Foo.*\); export it anew",
    ),
    "operators of a later version": (FUTURE, r"model small cannot be loaded by onnxruntime \S+: "),
    "a dynamic length": (
        network(COPY, shape=("n", None, BANDS)),
        r"input x is \[n, \?, 96\]; only the first number may be open, so export it for windows of \[50, 96\]",
    ),
    "other bands": (
        network(COPY, shape=("n", FRAMES, 128)),
        r"input x is \[n, 50, 128\]; by the card a window is \[50, 96\] \(0.8 s of front end musicnn at 16000 Hz\)",
    ),
    "many windows at once": (
        network(COPY, shape=(4, FRAMES, BANDS)),
        r"\[4, 50, 96\]; expected 1 window or any number",
    ),
    "another output": (network(outputs=("dense",)), "has no output vector, which the card names; it has dense"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_cannot_be_used_is_one_clear_line(case):
    made, line = BAD[case]
    with pytest.raises(ModelError, match=line) as e:
        Pretrained(made if isinstance(made, bytes) else made.SerializeToString(), card())
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("last", "line"),
    [
        (node("Relu", ["x"], "vector"), r"output vector is \[1, 50, 96\] for 1 windows; expected \[1, d\]"),
        (node("Reshape", ["x", "flat"], "vector"), r"output vector is \[50, 96\] for 1 windows; expected \[1, d\]"),
        (node("Reshape", ["x", "sevens"], "vector"), r"model small stopped: .*"),
    ],
)
def test_a_network_that_gives_no_vector_for_each_window(last, line):
    net = network(last, flat=np.array([FRAMES, BANDS]), sevens=np.array([7, -1]))
    with pytest.raises(ModelError, match=line):
        Pretrained(net.SerializeToString(), card()).embed(noise(1))


def test_vectors_of_different_lengths_are_refused():
    pool = Pool()
    pool.add(np.zeros((2, 3), np.float32), "small")
    with pytest.raises(ModelError, match="model small gives vectors of 3 and 4 numbers for one clip"):
        pool.add(np.zeros((1, 4), np.float32), "small")


# --- on a GPU ---------------------------------------------------------------------------------------------------------


def loading(provided, used):
    """An onnxruntime with some providers, whose sessions use some; it says which ones it was asked for."""
    session = mock.Mock(wraps=onnxruntime.InferenceSession(network().SerializeToString()))
    session.get_providers.return_value = used
    return (
        mock.patch.object(onnxruntime, "get_available_providers", return_value=provided),
        mock.patch.object(onnxruntime, "InferenceSession", return_value=session),
    )


def test_on_a_gpu_cuda_is_asked_for_first():
    available, made = loading([ON_GPU, ON_CPU], [ON_GPU, ON_CPU])
    with available, made as opened:
        Pretrained(network().SerializeToString(), card(), gpu=True)
        Pretrained(network().SerializeToString(), card())
    asked = [call.kwargs["providers"] for call in opened.call_args_list]
    assert asked == [[(ON_GPU, {"use_tf32": "0"}), ON_CPU], [ON_CPU]]


@pytest.mark.parametrize("provided", [[ON_CPU], [ON_GPU, ON_CPU]])
def test_without_cuda_one_line_says_so(provided):
    """Where its libraries are missing, onnxruntime would run on the CPU and only warn."""
    available, made = loading(provided, [ON_CPU])
    line = (
        r"model small cannot run on a GPU: onnxruntime \S+ on \S+ has no CUDA; install onnxruntime-gpu there, or leave"
    )
    with available, made, pytest.raises(ModelError, match=line):
        Pretrained(network().SerializeToString(), card(), gpu=True)
