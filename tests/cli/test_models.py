"""Pretrained models by the command line: each is kept with what it says, or refused in one line."""

import os

import pytest

from musicrec.cli import main
from musicrec.models.pretrained.card import to_toml
from onnx_files import card, network


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run the command line in an empty folder; exit code, output, complaint."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSICREC_CACHE", str(tmp_path / "cache"))

    def run(*arguments):
        with pytest.raises(SystemExit) as e:
            main([str(a) for a in arguments])
        return e.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def files(tmp_path):
    (tmp_path / "small.onnx").write_bytes(network().SerializeToString())
    (tmp_path / "card.toml").write_text(to_toml(card()))
    return tmp_path


@pytest.mark.thorough
def test_a_model_is_added_and_listed_with_its_licence(run, files):
    assert "No pretrained models in" in run("models")[1]
    code, text, complaint = run("models", "add", "small.onnx", "--card", "card.toml")
    assert (code, complaint) == (0, "")
    assert text == f"small: made by a test; licence CC0-1.0; in {files / 'cache/models/small'}\n"
    listed = run("models")[1]
    assert f"Pretrained models, in {files / 'cache/models'}:" in listed
    assert listed.splitlines()[-1].split() == ["small", "CC0-1.0", "made", "by", "a", "test"]


EITHER = "Expected one of musicnn, musicnn-mtt, vgg-msd, vgg-mtt, or FILE.onnx with --card CARD.toml."


@pytest.mark.thorough
def test_a_model_is_removed(run, files):
    run("models", "add", "small.onnx", "--card", "card.toml")
    code, text, complaint = run("models", "remove", "small")
    assert (code, text, complaint) == (0, f"small removed: it was in {files / 'cache/models/small'}\n", "")
    assert list((files / "cache/models").iterdir()) == []
    for name in ("small", "../models", ".."):
        code, _, complaint = run("models", "remove", name)
        assert (code, complaint.count("\n")) == (2, 1)
        assert f"there is no model {name} in" in complaint


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["small.onnx"], 2, EITHER),
        (["vgg-msd", "--card", "card.toml"], 2, EITHER),
        (["small.onnx", "--card", "none.toml"], 2, "card none.toml: No such file or directory; expected a TOML file"),
        (["none.onnx", "--card", "card.toml"], 1, "model none.onnx: No such file or directory; expected an ONNX file"),
        (["card.toml", "--card", "card.toml"], 1, "model small: the file is not ONNX; expected the export of one"),
    ],
)
def test_what_cannot_be_added(run, files, arguments, code, line):
    found = run("models", "add", *arguments)
    assert found[0] == code
    assert line in found[2]
    assert "Traceback" not in found[2]


@pytest.mark.thorough
def test_an_index_out_of_reach(run, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    code, _, complaint = run("models", "add", "musicnn")
    assert code == 1
    assert complaint.startswith("musicrec: musicnn==0.1.0 cannot be fetched from the package index (ERROR: ")
    assert complaint.count("\n") == 1
    assert not (tmp_path / "cache").exists()
