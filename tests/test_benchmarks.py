"""What a benchmark leaves behind."""

import json
import sys
from types import SimpleNamespace

from benchmarks.shared import results


def test_what_a_benchmark_prints_is_kept_with_its_machine(tmp_path, monkeypatch, capsys):
    saved = []
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    monkeypatch.setattr(results.atexit, "register", saved.append)
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=SimpleNamespace(name="benchmarks.room.name")))
    monkeypatch.setattr(sys, "argv", ["name.py", "--n", "5"])
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # which `record` replaces
    monkeypatch.setattr(results, "_recorder", None)
    results.record({"processor": "a chip", "versions": {"numpy": "2"}})
    results.add_table(("what", "×"), [("fast", 2.5)])
    print("2.5 × faster: reached")
    (save,) = saved
    save()
    kept = json.loads((tmp_path / "results" / "room.name.json").read_text())
    assert kept.pop("date")[:2] == "20"
    assert kept == {
        "benchmark": "benchmarks.room.name",
        "arguments": ["--n", "5"],
        "processor": "a chip",
        "versions": {"numpy": "2"},
        "tables": [{"head": ["what", "×"], "rows": [["fast", 2.5]]}],
        "output": ["2.5 × faster: reached"],
    }
    assert "2.5 × faster: reached\n" in capsys.readouterr().out


def test_a_module_that_is_no_benchmark_keeps_nothing(monkeypatch):
    monkeypatch.setattr(results, "_recorder", None)
    results.record({"processor": "a chip"})
    assert results._recorder is None
