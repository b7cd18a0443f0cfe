"""Pretrained models by the command line: several in turn, each with what was given, or none of them."""

import pytest

from musicrec.models.pretrained import library
from musicrec.stages.pretrained import stage
from onnx_files import card, network


@pytest.fixture
def runs(monkeypatch, tmp_path, publish_vectors):
    """What was run: model, length of the clip, and whether on GPUs."""
    monkeypatch.setenv("MUSICREC_CACHE", str(tmp_path / "cache"))
    publish_vectors(tmp_path / "out", [[1.0, 0.0]])
    found = []

    def run_pretrained(store, settings, *, gpu, **how):
        found.append((settings.model, settings.duration_s, gpu))
        return f"{settings.model} done"

    monkeypatch.setattr(stage, "run_pretrained", run_pretrained)
    return found


def added(name):
    library.add(network().SerializeToString(), card(name=name))


def test_several_models_run_in_turn_with_the_same_options(command, runs, tmp_path):
    added("first")
    added("second")
    code, text, _ = command("vectors", "run", tmp_path / "out", "first", "second", "--duration-s", "0", "--gpu")
    assert (code, text) == (0, "first done\nsecond done\n")
    assert runs == [("first", 0.0, True), ("second", 0.0, True)]


def test_a_model_that_is_not_there_is_told_before_another_runs(command, runs, tmp_path):
    added("first")
    code, _, complaint = command("vectors", "run", tmp_path / "out", "first", "second")
    assert (code, runs) == (2, [])
    assert "there is no model second" in complaint
