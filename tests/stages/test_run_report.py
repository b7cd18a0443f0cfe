"""Every command that writes to OUT leaves one JSON report of what it has done, also if it fails."""

import json
import shutil

import pyarrow.compute as pc
import pytest

from musicrec.cli import main
from musicrec.stages import run_report
from musicrec.store.store import Store


@pytest.fixture
def source(synthetic, tmp_path):
    """Some songs, good and bad."""
    for file in sorted(synthetic.rglob("*"))[:20]:
        if file.is_file():
            target = tmp_path / "songs" / file.relative_to(synthetic)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    return tmp_path / "songs"


def reports(out):
    return [json.loads(path.read_text()) for path in sorted((out / "_runs").glob("*"))]


def musicrec(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return ended.value.code


def test_a_command_reports_its_stage_its_counts_and_what_it_published(source, tmp_path):
    out = tmp_path / "out"
    assert musicrec("catalog", out, "--source", source) == 0
    (report,) = reports(out)
    outcomes = Store(out).read("outcomes")
    n = len(outcomes)
    assert (report["command"], report["exit_code"], report["error"]) == ("catalog", 0, None)
    assert report["songs"] == {"total": n, "added": n, "changed": 0, "removed": 0, "moved": 0}
    stage = report["stages"]["catalog"]
    assert stage["ok"] == pc.sum(pc.equal(outcomes["status"], "ok")).as_py()
    assert 0 < stage["seconds"] <= report["seconds"]
    assert report["published"].keys() == {"tracks", "outcomes"}
    next(source.rglob("*.wav")).unlink()
    assert musicrec("catalog", out, "--source", source) == 0
    first, second = reports(out)
    assert first == report
    assert second["songs"] == {"total": n - 1, "added": 0, "changed": 0, "removed": 1, "moved": 0}
    assert second["published"]["tracks"]["before"] == report["published"]["tracks"]["now"]


def test_one_that_is_told_to_end_says_so(tmp_path):
    store = Store(tmp_path / "out")
    store.create()
    with pytest.raises(SystemExit), run_report.reported(store, "refresh"):
        raise SystemExit(1)  # as Ray ends a job that is stopped
    (report,) = reports(store.out)
    assert (report["exit_code"], report["error"]) == (1, "stopped: the process was told to end")


def test_one_that_fails_reports_its_exit_code_and_the_line_that_was_said(source, tmp_path, capsys):
    out = tmp_path / "out"
    musicrec("catalog", out, "--source", source)
    capsys.readouterr()
    code = musicrec("similar", out)
    report = reports(out)[-1]
    assert code != 0
    assert (report["command"], report["exit_code"], report["published"]) == ("similar", code, {})
    assert capsys.readouterr().err == f"musicrec: {report['error']}\n"
    assert report["stages"]["similar"].keys() == {"seconds", "cpu_seconds"}


def test_one_that_only_reads_leaves_none_and_old_ones_go(source, tmp_path, monkeypatch):
    out = tmp_path / "out"
    musicrec("catalog", out, "--source", source)
    musicrec("status", out)
    musicrec("extract", out, "--dry-run")
    musicrec("lookup", out, "no such song")
    assert len(reports(out)) == 1
    monkeypatch.setattr(run_report, "KEPT", 2)
    for _ in range(3):
        musicrec("catalog", out, "--source", source)
    assert [report["songs"]["added"] for report in reports(out)] == [0, 0]
