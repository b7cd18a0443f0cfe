"""Nodes of a cluster that compute otherwise than the machine on which a model was added.

onnxruntime has no switch for the instructions of its matrix products, so the other processor is made by the switches of
the libraries that compute what the network reads: numba, NumPy and OpenBLAS.
"""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from ray.cluster_utils import Cluster

from extracting import new_out
from musicrec.models.pretrained import library
from musicrec.models.pretrained.card import Card
from musicrec.store.store import Store
from onnx_files import card, network

ROOT = Path(__file__).parents[2]
LIMIT_S = 600
WITHOUT_AVX = {
    "NUMBA_CPU_NAME": "nehalem",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Nehalem",
}
ANOTHER_ONNXRUNTIME = """
import onnxruntime
run = onnxruntime.InferenceSession.run
onnxruntime.InferenceSession.run = lambda self, *asked: [1.02 * output for output in run(self, *asked)]
"""

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Card]:
    """A small model on this machine, with the golden vectors of this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSICREC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield library.add(network().SerializeToString(), card())


@pytest.fixture
def raylets() -> Iterator[Cluster]:
    """A cluster whose head has no CPU."""
    raylets = Cluster(True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield raylets
    raylets.shutdown()


@pytest.fixture
def run(raylets: Cluster, model: Card, synthetic: Path) -> Callable[[Path], subprocess.CompletedProcess[str]]:
    """Run the model on the cluster into a new OUT."""

    def run(out: Path) -> subprocess.CompletedProcess[str]:
        new_out(out, synthetic)
        command = [sys.executable, "-m", "musicrec", "vectors", "run", out, model.name, "--address", raylets.address]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)

    return run


def add_node(raylets: Cluster, **environment: str) -> object:
    return raylets.add_node(num_cpus=1, env_vars={"PYTHONPATH": str(ROOT), **environment})


def matrix(out: Path) -> np.ndarray:
    rows = Store(out).read("vectors/small").sort_by("track_id")
    return np.stack(rows["embedding"].to_numpy())


def test_a_node_whose_onnxruntime_computes_otherwise_stops_the_run_and_is_named(raylets, run, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/sitecustomize.py").write_text(ANOTHER_ONNXRUNTIME)
    add_node(raylets)
    other = add_node(raylets, PYTHONPATH=f"{tmp_path / 'other'}{os.pathsep}{ROOT}")
    ended = run(tmp_path / "out")
    assert ended.returncode == 1
    (told,) = ended.stderr.strip().splitlines()
    expected = (
        rf"musicrec: model small: on {socket.gethostname()}, golden vector tone differs by 0\.02 of its length, "
        r"at most 0\.001 is allowed; the file, or onnxruntime on this machine, is another than that of the card"
    )
    assert re.fullmatch(expected, told), ended.stderr
    assert Store(tmp_path / "out").published() == ["outcomes", "tracks"]
    raylets.remove_node(other)
    again = run(tmp_path / "out")
    assert again.returncode == 0, again.stderr
    assert len(matrix(tmp_path / "out"))


def test_vectors_of_another_processor_agree_within_the_tolerance_and_the_run_says_so(raylets, run, model, tmp_path):
    own = add_node(raylets)
    outs = {name: tmp_path / name for name in ("own", "both", "other")}
    told = {"own": run(outs["own"])}
    add_node(raylets, **WITHOUT_AVX)
    told["both"] = run(outs["both"])
    raylets.remove_node(own)
    told["other"] = run(outs["other"])
    for name, nodes in {"own": "this node", "both": "2 nodes", "other": "this node"}.items():
        assert told[name].returncode == 0, told[name].stderr
        line = (
            rf"; golden vectors of {nodes} differ from the card's by (\S+) of their length at most, 0\.001 is allowed$"
        )
        (found,) = re.findall(line, told[name].stdout, re.MULTILINE)
        assert float(found) <= model.tolerance
        assert (float(found) == 0) == (name == "own")
    by_own, by_other = matrix(outs["own"]), matrix(outs["other"])
    length = np.linalg.norm(by_own, axis=1)
    off = np.linalg.norm(by_own - by_other, axis=1) / length
    print(f"vectors differ by {np.median(off):.2g} of their length at the median, {off.max():.2g} at most")
    assert 0 < off.max() <= model.tolerance  # 0 would mean that the switches do nothing
    assert (np.linalg.norm(matrix(outs["both"]) - by_own, axis=1) <= model.tolerance * length).all()
