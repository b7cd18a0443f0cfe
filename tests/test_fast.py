"""`make test FAST=1`: a test that starts Ray or TensorFlow is left out if it is marked, and fails if it is not.

Tests that take long, or start a server, are left out too.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
EXAMPLES = """
import subprocess
import sys

import pytest

def test_ray():
    import ray
    ray.init(num_cpus=1)

def test_ray_that_starts_by_itself():
    import ray
    ray.put(1)

def test_tensorflow():
    import tensorflow

def test_keras():
    import keras

def test_child():
    child = subprocess.run([sys.executable, "-c", "import tensorflow"], capture_output=True, text=True)
    raise RuntimeError(child.stderr.splitlines()[-1])

def test_neither():
    import ray

@pytest.mark.engine
def test_marked(): ...

def test_marked_by_its_fixture(ray_session): ...

@pytest.mark.thorough
def test_thorough(): ...

def test_thorough_by_its_fixture(s3_server): ...
"""
RAY = "RuntimeError: this test starts Ray; mark it engine"
TENSORFLOW = "RuntimeError: this test starts TensorFlow; mark it engine"


@pytest.mark.thorough
def test_what_starts_an_engine_is_left_out_if_it_is_marked_and_fails_if_not(tmp_path):
    (tmp_path / "test_examples.py").write_text(EXAMPLES)
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "--fast", "-q", "-c", TESTS.parent / "pyproject.toml", "-p", "conftest",
         "-p", "no:cacheprovider", tmp_path],
        env=os.environ | {"PYTHONPATH": str(TESTS), "COLUMNS": "200"}, capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    assert dict(re.findall(r"^FAILED \S*::(\w+) - (.+)$", told, re.MULTILINE)) == {
        "test_ray": RAY,
        "test_ray_that_starts_by_itself": RAY,
        "test_tensorflow": TENSORFLOW,
        "test_keras": TENSORFLOW,
        "test_child": f"RuntimeError: {TENSORFLOW}",
    }
    assert "5 failed, 1 passed, 4 deselected" in told
