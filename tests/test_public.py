"""What ``import musicrec`` offers."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import musicrec
from musicrec.errors import ConfigError

PACKAGE = Path(musicrec.__file__).parent
KEPT = Path(__file__).parent / "data" / "kept"

LOADED = """
import json, sys
before = set(sys.modules)
import musicrec
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""


def test_every_public_name_is_there_and_none_else():
    names = ["MusicrecError", "Recommender", "SimilarTable", "Store", "refresh", "run"]
    assert sorted(musicrec.__all__) == sorted([*names, "__version__"])
    assert {getattr(musicrec, name).__name__ for name in names} == set(names)
    assert set(names) <= set(dir(musicrec))
    with pytest.raises(AttributeError, match="'musicrec' has no attribute 'runn'"):
        musicrec.runn  # noqa: B018


def test_type_checkers_read_the_same_names():
    (block,) = (node for node in ast.parse((PACKAGE / "__init__.py").read_text()).body if isinstance(node, ast.If))
    found = {alias.asname: node.module for node in block.body for alias in node.names}
    assert found == musicrec.PUBLIC
    assert (PACKAGE / "py.typed").exists()


def test_importing_musicrec_loads_nothing_but_musicrec():
    ended = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    loaded = json.loads(ended.stdout)
    assert "musicrec" in loaded
    assert not set(loaded) & {"numpy", "pyarrow", "ray", "tensorflow", "pydantic", "click", "fsspec"}


def test_a_chain_from_python_and_the_night_after(ray_session, tmp_path):
    songs, out = tmp_path / "songs", tmp_path / "out"
    shutil.copytree(KEPT / "songs", songs)
    lines, values = [], {"train": {"model": "svm"}, "embed": {"model": "svm"}, "similar": {"n": 3}}
    report = musicrec.run(out, songs, settings=values, show=lambda counts: lines.append(str(counts)))
    assert report.read_text().strip().startswith("<!DOCTYPE html>")
    assert [line.partition(":")[0] for line in lines] == ["catalog", "extract", "train", "embed", "similar"]
    table = musicrec.SimilarTable(out)
    assert len(table) == 16
    (next(songs.rglob("*-1.flac"))).unlink()
    run = musicrec.refresh(out, show=lines.append)
    assert json.loads(run.read_text())["exit_code"] == 0
    assert len(musicrec.SimilarTable(out)) == 15


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"similar": {"n": 0}}, r"setting similar\.n = 0: "),
        ({"similar": {"depth": 1}}, r"setting similar\.depth = 1: no such setting; expected one of n, "),
        (
            {"listen": {}},
            "settings of 'listen': no such stage; expected one of catalog, extract, train, embed, duplicates, similar",
        ),
        ({}, r"setting catalog\.source: it has no default; give it a value"),
    ],
)
def test_settings_that_do_not_fit_are_said_before_anything_is_done(tmp_path, settings, message):
    source = {"source": tmp_path} if settings else {}
    with pytest.raises(ConfigError, match=message):
        musicrec.run(tmp_path / "out", settings=settings, **source)
    assert musicrec.Store(tmp_path / "out").published() == []
