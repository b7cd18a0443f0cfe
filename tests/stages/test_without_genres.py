"""A collection whose genres no model can learn ends with a table all the same, and what will not work is said first."""

import json
import shutil

import pytest

from musicrec.serve.lookup import SimilarTable
from musicrec.stages.chain import chain_settings, refresh, run
from musicrec.store.store import Store

pytestmark = pytest.mark.usefixtures("ray_session")


def source_of(synthetic, folder, n, subfolder=""):
    """A folder of good songs of the synthetic catalog, without genres or all in one."""
    (folder / subfolder).mkdir(parents=True)
    for song in sorted(synthetic.rglob("*-01.*"))[:n]:
        shutil.copyfile(song, folder / subfolder / song.name)
    return folder


def chain_of(out, source, **settings):
    store = Store(out)
    store.create()
    told = []
    run(store, chain_settings(store, {"catalog": {"source": str(source)}, **settings}), show=told.append)
    return store, {counts.stage: counts for counts in told if not isinstance(counts, str)}


@pytest.mark.parametrize(("n", "subfolder"), [(1, ""), (2, "jazz"), (3, ""), (5, "jazz")])
def test_the_chain_ends_with_a_table_whatever_the_genres(synthetic, tmp_path, capsys, n, subfolder):
    store, told = chain_of(tmp_path / "out", source_of(synthetic, tmp_path / "songs", n, subfolder))
    table = SimilarTable(store.out)
    assert len(table) == n
    for song in table.songs():
        assert len(table.similar(song.track_id, 10)) == n - 1
    assert len(store.read("similar")) == n * (n - 1)
    assert list(store.footer("similar")["lineage"]["spaces"]) == ["features"]
    assert told["train"].skipped == told["embed"].skipped == n
    assert told["similar"].ok == n
    outcomes = store.read("outcomes").to_pandas()
    assert set(outcomes.query("stage in ('train', 'embed')").reason) == {"too_few_genres"}
    assert outcomes.groupby("stage").track_id.nunique().to_dict() == dict.fromkeys(told, n)
    said = capsys.readouterr().err
    assert "no model is trained, and songs are compared by features" in said
    assert ("its list stays empty" in said) == (n == 1)
    assert (store.out / "report.html").exists()


def test_a_run_names_the_songs_that_have_failed_once(synthetic, tmp_path, monkeypatch, capsys):
    source = source_of(synthetic, tmp_path / "songs", 4)
    (source / "broken.wav").write_bytes(b"RIFF")
    store, told = Store(tmp_path / "out"), []
    store.create()
    monkeypatch.setenv("MUSICREC_LOG", "json")
    run(store, chain_settings(store, {"catalog": {"source": str(source)}}), show=told.append)
    (source / "worse.wav").write_bytes(b"RIFFRIFF")
    refresh(store, chain_settings(store), show=told.append)
    monkeypatch.delenv("MUSICREC_LOG")
    (source / "worst.wav").write_bytes(b"RIFFRIFFRIFF")
    run(store, chain_settings(store), show=told.append)
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if line.startswith("failed:")] == ["failed: worst.wav (undecodable)"]
    assert [line for line in told if str(line).startswith("failed:")] == ["failed: worse.wav (undecodable)"]
    events = [json.loads(line) for line in said if line.startswith('{"time"')]
    failed = [(event["total"], event["songs"]) for event in events if event["event"] == "failed"]
    assert failed == [(1, {"broken.wav": "undecodable"}), (1, {"worse.wav": "undecodable"})]
    assert [event["added"] for event in events if event["event"] == "songs"] == [1]


def test_a_second_run_changes_nothing_and_a_song_more_is_added(synthetic, tmp_path):
    source = source_of(synthetic, tmp_path / "songs", 1)
    store, _ = chain_of(tmp_path / "out", source)
    before = store.path("similar").resolve()
    refresh(store, chain_settings(store), show=lambda line: None)
    assert store.path("similar").resolve() == before
    shutil.copyfile(sorted(synthetic.rglob("*-02.*"))[0], source / "new.wav")
    refresh(store, chain_settings(store), show=lambda line: None)
    assert len(store.read("similar")) == 2


@pytest.mark.parametrize("model", ["kmeans", "birch", "dbscan"])
def test_clusters_are_found_without_genres(synthetic, tmp_path, model):
    """And the second time, nothing is left to do."""
    source = source_of(synthetic, tmp_path / "songs", 5)
    store, told = chain_of(tmp_path / "out", source, train={"model": model}, embed={"model": model})
    assert (told["train"].ok, told["train"].fresh) == (5, 5)
    before = store.path(f"models/{model}").resolve()
    refresh(store, chain_settings(store), show=lambda line: None)
    assert store.path(f"models/{model}").resolve() == before
    assert len(SimilarTable(store.out)) == 5


def test_two_songs_are_too_few_for_clusters_but_not_for_a_table(synthetic, tmp_path):
    source = source_of(synthetic, tmp_path / "songs", 2)
    store, told = chain_of(tmp_path / "out", source, train={"model": "kmeans"}, embed={"model": "kmeans"})
    assert told["train"].note == "no model: clusters need at least 3 songs, and there are 2"
    assert len(store.read("similar")) == 2
