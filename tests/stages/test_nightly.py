"""The nightly chain: only what changed is done, under one lock, by a deadline, with a report of each run."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from musicrec.cli import main
from musicrec.cluster import deadline as deadline_room
from musicrec.cluster.deadline import check_deadline, deadline, seconds_left
from musicrec.errors import CatalogError, DeadlinePassed, PublishError
from musicrec.monitor.cpu_time import CpuMeter
from musicrec.settings import (
    CatalogSettings,
    DuplicatesSettings,
    EmbedSettings,
    ExtractSettings,
    HistoriesSettings,
    RecommendSettings,
    SimilarSettings,
    TrainSettings,
)
from musicrec.stages.chain import ChainSettings, refresh
from musicrec.stages.embed import embed
from musicrec.stages.extract import stage as extract_stage
from musicrec.stages.histories.stage import histories
from musicrec.stages.recommendations.stage import recommend_to_all
from musicrec.stages.train.stage import train
from musicrec.store.store import Store

TABLES = ("tracks", "outcomes", "features", "mel", "embeddings", "similar", "models/mlp")
STAGES = ["catalog", "extract", "train", "embed", "similar", "report"]


def settings(source, **of_similar):
    similar = SimilarSettings(**{"n": 5, "max_churn": 1.0, **of_similar})
    return ChainSettings(
        CatalogSettings(source=str(source)),
        ExtractSettings(),
        TrainSettings(epochs=2),
        EmbedSettings(),
        DuplicatesSettings(),
        similar,
    )


def run(store, source, **how):
    """The report of a refresh."""
    return json.loads(refresh(store, settings(source), show=lambda line: None, **how).read_text())


def last_run(store):
    return json.loads(max((store.out / "_runs").glob("*.json")).read_text())


def versions(store):
    return {name: store.versions(name).published for name in TABLES if store.exists(name)}


@pytest.fixture(scope="module")
def first(synthetic, ray_session, tmp_path_factory):
    """A source, an OUT that a first refresh has made of it, and the report of that run."""
    folder = tmp_path_factory.mktemp("nightly")
    shutil.copytree(synthetic, folder / "songs")
    store = Store(folder / "out")
    store.create()
    return folder / "songs", store, run(store, folder / "songs")


def test_vectors_that_are_kept_are_those_that_the_model_gives(night):
    source, store = night
    wavs = sorted(p for p in source.rglob("*.wav") if p.stat().st_size > 50_000)
    wavs[0].write_bytes(wavs[-1].read_bytes())
    wavs[1].unlink()
    run(store, source)
    kept = store.read("embeddings").to_pandas()
    (store.out / "embeddings").unlink()
    embed(store, EmbedSettings())
    anew = store.read("embeddings").to_pandas()
    assert kept.track_id.tolist() == anew.track_id.tolist()
    for column in ("embedding", "probabilities"):
        np.testing.assert_allclose(np.stack(kept[column]), np.stack(anew[column]), rtol=1e-4, atol=1e-5)


def test_another_model_keeps_no_vector(night):
    source, store = night
    refresh(store, settings(source), show=lambda line: None)
    train(store, TrainSettings(epochs=1))
    assert embed(store, EmbedSettings()).fresh == len(store.read("features", ["track_id"]))
    assert set(store.read("embeddings")["model_id"].to_pylist()) == {store.footer("embeddings")["lineage"]["model_id"]}


@pytest.fixture
def night(first, tmp_path):
    """The same, in a folder of its own."""
    shutil.copytree(first[1].out, tmp_path / "out", symlinks=True)
    shutil.copytree(first[0], tmp_path / "songs", copy_function=shutil.copy2)
    store = Store(tmp_path / "out")
    source = tmp_path / "songs"
    refresh(store, settings(source), force=True, show=lambda line: None)  # the source is elsewhere now
    return source, store


def test_the_first_run_does_everything_and_says_so(first):
    _, store, report = first
    tracks = store.track_ids()
    assert report["songs"] == {"total": len(tracks), "added": len(tracks), "changed": 0, "removed": 0, "moved": 0}
    assert report["decoded"] == len(tracks)
    assert (report["exit_code"], report["error"]) == (0, None)
    assert list(report["stages"]) == STAGES
    assert report["stages"]["train"]["fresh"] > 0
    assert set(report["published"]) == set(TABLES)
    assert all(report["published"][name] == {"before": None, "now": versions(store)[name]} for name in TABLES)
    outcomes = store.read("outcomes").to_pandas()
    bad = outcomes[outcomes.status != "ok"].groupby(["stage", "status", "reason"]).size()
    assert {(p["stage"], p["status"], p["reason"]): p["tracks"] for p in report["problems"]} == bad.to_dict()
    assert ("extract", "failed", "undecodable") in bad.index
    assert sum(stage["seconds"] for stage in report["stages"].values()) <= report["seconds"]
    assert report["stages"]["extract"]["cpu_seconds"] > 0
    assert all(stage["cpu_seconds"] >= 0 for stage in report["stages"].values())
    assert report["gate"]["songs"] == len(set(store.read("similar", ["track_id"])["track_id"].to_pylist()))


def test_with_nothing_changed_nothing_is_decoded_or_published(night, monkeypatch):
    source, store = night
    before, started = versions(store), time.monotonic()
    monkeypatch.setattr(extract_stage, "connect", pytest.fail)  # Ray is not even asked
    report = run(store, source)
    assert time.monotonic() - started < 30
    assert report["songs"] == {"total": len(store.track_ids()), "added": 0, "changed": 0, "removed": 0, "moved": 0}
    assert (report["decoded"], report["published"]) == (0, {})
    assert [report["stages"][name]["fresh"] for name in STAGES[:-1]] == [0] * 5
    assert "churn" not in report["gate"]
    assert versions(store) == before


def test_a_night_with_nothing_to_do_imports_neither_ray_nor_numba_nor_tensorflow(night):
    _, store = night
    command = [sys.executable, "-X", "importtime", "-m", "musicrec", "refresh", str(store.out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "pyarrow" in imported
    assert imported.isdisjoint({"ray", "numba", "tensorflow"})


def test_only_what_was_added_or_changed_is_decoded_and_no_model_trained(night):
    source, store = night
    before, model = store.track_ids(), store.versions("models/mlp").published
    added, changed, removed, donor = sorted(p for p in source.rglob("*.wav") if p.stat().st_size > 50_000)[:4]
    added = added.with_name("brand-new.wav")
    shutil.copy(donor, added)
    changed.write_bytes(donor.read_bytes())
    removed.unlink()
    report = run(store, source)
    assert report["songs"] == {"total": len(before), "added": 1, "changed": 1, "removed": 1, "moved": 0}
    assert (report["decoded"], report["stages"]["embed"]["fresh"]) == (2, 2)
    assert store.versions("models/mlp").published == model
    now = store.track_ids()
    assert len(now) == len(before)
    outcomes = store.read("outcomes").to_pandas()
    assert outcomes.groupby("stage").track_id.apply(sorted).tolist() == [now] * 5
    of_train = outcomes[outcomes.stage == "train"].set_index("track_id").reason
    assert of_train.loc[list(set(now) - set(before))].tolist() == ["newer_than_model"]
    listed = store.read("similar").to_pandas()
    assert set(listed.track_id) == set(store.read("embeddings", ["track_id"])["track_id"].to_pylist())
    assert set(listed.similar_track_id) <= set(now)
    assert 0 < report["gate"]["churn"] < 1
    assert run(store, source)["published"] == {}


def test_what_is_recommended_to_listeners_follows_the_songs_once_it_is_published(night, tmp_path):
    source, store = night
    songs = store.read("similar", ["track_id"])["track_id"].unique().to_pylist()
    rows = ["user_id,track_id", *(f"user {i},{song}" for i, song in enumerate(songs))]
    (tmp_path / "listens.csv").write_text("\n".join(rows))
    histories(store, HistoriesSettings(files=(str(tmp_path / "listens.csv"),)))
    assert list(run(store, source)["stages"]) == STAGES  # nobody has asked for recommendations yet
    recommend_to_all(store, RecommendSettings(n=3, method="multi_interest"))
    report = run(store, source)
    assert (list(report["stages"]), report["published"]) == ([*STAGES[:-1], "recommendations", "report"], {})
    gone = source / songs[0]
    gone.unlink()
    report = run(store, source)
    assert {"similar", "recommendations"} <= set(report["published"])
    found = store.read("recommendations").to_pylist()
    assert songs[0] not in {row["track_id"] for row in found}
    assert {row["user_id"] for row in found} == {f"user {i}" for i in range(len(songs))}
    assert [row["method"] for row in found if row["user_id"] == "user 0"] == ["popularity"] * 3
    assert store.footer("recommendations")["settings"]["method"] == "multi_interest"


def test_a_song_that_was_renamed_is_not_decoded_again_and_the_night_says_what_has_happened(night):
    source, store = night
    song = min(p for p in source.rglob("*.wav") if p.stat().st_size > 50_000)
    before, lines = store.read("similar"), []
    song.rename(song.with_name("another name.wav"))
    (source / "broken.wav").write_bytes(b"RIFF")
    report = json.loads(refresh(store, settings(source), show=lines.append).read_text())
    assert (report["songs"]["moved"], report["songs"]["removed"], report["stages"]["embed"]["fresh"]) == (1, 0, 0)
    assert store.read("similar").equals(before)
    assert "songs: 1 added, 1 moved" in lines
    assert [line for line in lines if line.startswith("failed:")] == ["failed: broken.wav (undecodable)"]


def test_a_deadline_that_has_passed_does_nothing_and_is_exit_code_4(night):
    source, store = night
    before = versions(store)
    next(source.rglob("*.wav")).unlink()
    with pytest.raises(DeadlinePassed, match="next run continues from there"):
        run(store, source, deadline_s=0)
    assert versions(store) == before
    report = last_run(store)
    assert (report["exit_code"], report["stages"], report["published"]) == (4, {}, {})
    assert report["error"].startswith("the deadline has passed")


def test_a_deadline_within_extract_keeps_what_is_staged(synthetic, ray_session, tmp_path, monkeypatch):
    store = Store(tmp_path / "out")
    store.create()
    advance, staged = extract_stage.Progress.advance, []

    def late(self, *args, **options):
        advance(self, *args, **options)
        if self.label == "extract":
            staged.append(self.done)
            deadline_room._end.set(time.monotonic() - 1)  # it passes now

    monkeypatch.setattr(extract_stage.Progress, "advance", late)
    with pytest.raises(DeadlinePassed):
        run(store, synthetic, deadline_s=1000)
    monkeypatch.undo()
    n = len(store.track_ids())
    assert len(staged) == 1
    assert staged[0] < n
    assert not store.exists("features")
    assert last_run(store)["exit_code"] == 4
    assert list(last_run(store)["stages"]) == ["catalog", "extract"]
    report = run(store, synthetic)
    assert report["exit_code"] == 0
    assert report["decoded"] <= n - staged[0]
    assert store.read("outcomes").to_pandas().query("stage == 'extract'").track_id.tolist() == store.track_ids()


def test_a_source_that_is_not_all_there_changes_nothing(night):
    source, store = night
    before = versions(store)
    for path in [p for p in sorted(source.rglob("*")) if p.is_file()][5:]:
        path.unlink()
    with pytest.raises(CatalogError, match=r"lacks \d+ of the \d+ songs it had.*--max-removed-fraction than 0\.5"):
        run(store, source, max_removed_fraction=0.5)
    assert versions(store) == before
    assert last_run(store)["exit_code"] == 1


def test_a_gate_that_refuses_is_exit_code_5_and_the_table_before_stays(night):
    source, store = night
    before = versions(store)["similar"]
    wavs = sorted(p for p in source.rglob("*.wav") if p.stat().st_size > 50_000)
    wavs[0].write_bytes(wavs[-1].read_bytes())
    with pytest.raises(PublishError):
        refresh(store, settings(source, max_churn=0.0), show=lambda line: None)
    report = last_run(store)
    assert report["exit_code"] == 5
    assert "churn" in report["error"]
    assert store.versions("similar").published == before
    assert "embeddings" in report["published"]


# --- as a user ----------------------------------------------------------------------------------------------------


def test_of_two_refreshes_at_once_one_works_and_one_says_in_a_line_who_does(night):
    _, store = night
    command = [sys.executable, "-c", HOLD, str(store.out)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        second = [sys.executable, "-m", "musicrec", "refresh", str(store.out)]
        ended = subprocess.run(second, capture_output=True, text=True, check=False)
    finally:
        holder.kill()
        holder.wait()
    assert (ended.returncode, ended.stdout) == (3, "")
    assert re.fullmatch(
        rf"musicrec: OUT {store.out} is in use by another musicrec run: '-c {store.out}', "
        rf"process {holder.pid} on \S+ since \S+; wait for it to end\n",
        ended.stderr,
    )


@pytest.mark.slow
def test_of_two_that_really_start_at_once_on_a_new_out_one_makes_all_tables(synthetic, tmp_path):
    command = [sys.executable, "-m", "musicrec", "refresh", str(tmp_path / "out"), "--source", str(synthetic)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    complaints = {process.communicate()[1]: process.returncode for process in both}
    assert sorted(complaints.values()) == [0, 3]
    assert [text.count("in use by another") for text, code in complaints.items() if code == 3] == [1]
    assert len(list((tmp_path / "out" / "_runs").iterdir())) == 1


HOLD = """
import sys, time
from musicrec.cli.common import open_out
with open_out(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_command_prints_lines_with_the_time_and_ends_with_the_report(night, capsys):
    _, store = night
    with pytest.raises(SystemExit) as e:
        main(["refresh", str(store.out), "--deadline", "1h"])
    text, complaint = capsys.readouterr()
    assert (e.value.code, complaint) == (0, "")
    *lines, last = text.splitlines()
    assert lines.pop(1).endswith("Z songs: none added, changed, moved or removed")
    assert [re.match(r"\d\d:\d\d:\d\dZ (\w+): .*; \d+\.\d s$", line)[1] for line in lines] == STAGES
    assert json.loads(Path(last.removeprefix("run: ")).read_text())["exit_code"] == 0
    with pytest.raises(SystemExit) as e:
        main(["refresh", str(store.out), "--deadline", "0s"])
    assert e.value.code == 4


# --- parts --------------------------------------------------------------------------------------------------------


def test_a_deadline_holds_inside_its_block_alone():
    assert seconds_left() is None
    with deadline(100):
        assert 99 < seconds_left() <= 100
        check_deadline()
        with deadline(0), pytest.raises(DeadlinePassed):
            check_deadline()
    with deadline(None):
        assert seconds_left() is None


def test_the_meter_counts_what_children_use_and_forgets_none_that_has_ended(monkeypatch):
    monkeypatch.setattr("musicrec.monitor.cpu_time.SECONDS_BETWEEN_LOOKS", 0.1)
    busy = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ntime.sleep(60)"
    with CpuMeter() as meter:
        before = meter.seconds()
        with subprocess.Popen([sys.executable, "-c", busy], stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            running = meter.seconds() - before
            child.kill()
        assert 0.4 < running < 5
        assert running <= meter.seconds() - before < running + 1
