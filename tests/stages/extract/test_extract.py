"""Extract on a real Ray: each track once, values of the pure functions, only what is new."""

import json
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import soundfile as sf

from extracting import SETTINGS, assert_as_fresh, assert_same, new_out, own_source, tables
from musicrec import audio, features
from musicrec.errors import ConfigError, MusicrecError, SchemaError
from musicrec.settings import CatalogSettings, ExtractSettings
from musicrec.stages import song_tasks
from musicrec.stages.catalog.stage import catalog
from musicrec.stages.extract.plan import plan, wanted_tracks
from musicrec.stages.extract.stage import extract, extract_track
from musicrec.store import table_parts, table_spec
from musicrec.store.made_with import made_with
from musicrec.store.store import Store


def test_every_track_has_one_outcome_and_the_broken_files_their_reason(undisturbed: Store, synthetic: Path) -> None:
    outcomes = tables(undisturbed)["outcomes"].set_index("track_id")
    files = [p.relative_to(synthetic).as_posix() for p in synthetic.rglob("*") if p.is_file()]
    assert sorted(outcomes.index) == sorted(files)
    reasons = outcomes[outcomes.status != "ok"].reason.to_dict()
    assert sorted(reasons.values()) == ["empty", "empty", "silent", "too_short", "undecodable", "undecodable"]
    good = sorted(outcomes.index[outcomes.status == "ok"])
    assert list(undisturbed.read("features")["track_id"].to_pylist()) == good
    assert list(undisturbed.read("mel")["track_id"].to_pylist()) == good


def test_stored_values_are_those_of_the_pure_functions(undisturbed: Store) -> None:
    published = undisturbed.read("features").to_pandas().set_index("track_id")
    mel = undisturbed.read("mel").to_pandas().set_index("track_id")
    wanted = {w.track_id: w for w in wanted_tracks(undisturbed, SETTINGS)}
    for track_id in published.index[::9]:
        row = extract_track(wanted[track_id], SETTINGS)
        assert published.loc[track_id].to_dict() == pytest.approx({c: row[c] for c in published.columns}, rel=1e-6)
        expected = features.mel(audio.load(wanted[track_id].uri), SETTINGS.sample_rate).astype(np.float16)
        assert mel.loc[track_id, "n_frames"] == expected.shape[1]
        assert (mel.loc[track_id, "mel"] == expected.ravel()).all()


@pytest.mark.parametrize(("tracks", "group"), [(1, 1000), (7, 10**6), (1000, 10**9)])
def test_tables_do_not_depend_on_the_size_of_shards_groups_and_parts(
    undisturbed: Store, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    tracks: int, group: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(song_tasks, "LEAST_S", 1e9)
    monkeypatch.setattr(table_parts, "TRACKS_PER_PART", tracks)
    monkeypatch.setattr(table_spec, "GROUP_BYTES", group)
    store = new_out(tmp_path / "out", synthetic)
    extract(store, SETTINGS)
    assert_same(tables(store), tables(undisturbed))
    assert len(list((store.out / "features").glob("*.parquet"))) == 1
    mel = sorted((store.out / "mel").glob("*.parquet"))
    good, songs = set(store.read("features")["track_id"].to_pylist()), store.track_ids()
    shards = [songs[start : start + tracks] for start in range(0, len(songs), tracks)]
    assert len(mel) == sum(not good.isdisjoint(shard) for shard in shards)
    assert max(pq.read_metadata(part).num_rows for part in mel) <= tracks


def test_a_table_says_what_made_it_and_each_part_what_made_its_rows(undisturbed: Store) -> None:
    for name in ("features", "mel"):
        footer = undisturbed.footer(name)
        assert footer["fingerprint"].startswith(undisturbed.path(name).name.split("-")[1])
        rows = {key: footer[key] for key in ("schema_version", "algorithm", "settings", "lineage", "versions")}
        assert rows["versions"] == [made_with("extract")]
        assert rows["lineage"] == {"hop_length": 512}
        for part in (undisturbed.out / name).glob("*.parquet"):
            assert json.loads(pq.read_metadata(part).metadata[b"musicrec"]) == rows


def test_a_published_table_that_lost_a_part_is_not_published_again(copy: Store, synthetic: Path) -> None:
    (part,) = (copy.out / "features").glob("*.parquet")
    pq.write_table(pq.read_table(part).slice(1), part)
    source = copy.out.parent / "synthetic"
    shutil.copytree(synthetic, source)
    next(source.rglob("*-02.*")).unlink()
    catalog(copy, CatalogSettings(source=str(source)), force=True)
    with pytest.raises(SchemaError, match="features lacks songs that outcomes lists"):
        extract(copy, SETTINGS)


def test_a_second_run_decodes_nothing_and_publishes_nothing(copy: Store) -> None:
    before = {name: copy.path(name).resolve() for name in ("features", "mel", "outcomes")}
    assert extract(copy, SETTINGS).fresh == 0
    assert {name: copy.path(name).resolve() for name in before} == before


def test_only_new_and_changed_files_are_decoded_and_removed_ones_leave_the_tables(
    undisturbed: Store, synthetic: Path, tmp_path: Path
) -> None:
    source = tmp_path / "synthetic"
    shutil.copytree(synthetic, source)
    store = new_out(tmp_path / "out", source)
    extract(store, SETTINGS)
    songs = sorted(p for p in source.rglob("*.wav") if "cut" not in p.name and "sample" not in p.name)
    shutil.copy(songs[0], songs[1])
    shutil.copy(songs[0], songs[0].with_name("synthetic-added.wav"))
    songs[2].unlink()
    catalog(store, CatalogSettings(source=str(source)))
    assert extract(store, SETTINGS).fresh == 2
    fresh = new_out(tmp_path / "fresh", source)
    extract(fresh, SETTINGS)
    assert_same(tables(store), tables(fresh))


def test_failed_tracks_are_tried_again_only_when_asked(copy: Store) -> None:
    assert extract(copy, SETTINGS).fresh == 0
    counts = extract(copy, SETTINGS, retry_failed=True)
    assert counts.fresh == counts.failed == 4


def test_other_settings_are_refused_unless_forced_and_then_recompute(copy: Store) -> None:
    other = ExtractSettings(n_mels=40)
    with pytest.raises(ConfigError, match=r"n_mels: 128 → 40.*--force"):
        extract(copy, other)
    counts = extract(copy, other, force=True)
    assert counts.fresh == counts.total
    mel = copy.read("mel")
    assert len(mel["mel"][0].as_py()) == 40 * mel["n_frames"][0].as_py()


def test_too_many_failures_fail_the_stage_but_keep_its_tables(copy: Store) -> None:
    with pytest.raises(MusicrecError, match="--max-failed-fraction"):
        extract(copy, SETTINGS, max_failed_fraction=0.01)
    assert copy.read("outcomes").num_rows > 0


# --- a part of the work -----------------------------------------------------------------------------------------------


def test_limited_runs_add_up_to_one(undisturbed: Store, synthetic: Path, tmp_path: Path) -> None:
    store = new_out(tmp_path / "out", synthetic)
    total = len(store.track_ids())
    for run in (1, 2):
        counts = extract(store, SETTINGS, limit=15)
        assert (counts.fresh, counts.total, counts.left) == (15, 15 * run, total - 15 * run)
        assert str(counts).endswith(f"(15 decoded now), {total - 15 * run} left for a later run")
        outcomes = tables(store)["outcomes"]
        assert outcomes.track_id.tolist() == store.track_ids()[: 15 * run]
        assert store.read("mel")["track_id"].to_pylist() == outcomes.query("status == 'ok'").track_id.tolist()
    counts = extract(store, SETTINGS)
    assert (counts.total, counts.left) == (total, 0)
    assert "left" not in str(counts)
    assert_same(tables(store), tables(undisturbed))


def test_failed_tracks_beyond_the_limit_keep_their_outcome(copy: Store, undisturbed: Store) -> None:
    todo = plan(copy, SETTINGS, retry_failed=True, limit=1)
    assert [len(tracks) for tracks in todo[:4]] == [1, 0, todo.n_known - 3, 3]
    counts = extract(copy, SETTINGS, retry_failed=True, limit=1)
    assert (counts.fresh, counts.failed, counts.left) == (1, 4, 0)
    assert_same(tables(copy), tables(undisturbed))


@pytest.mark.engine
def test_a_changed_song_beyond_the_limit_leaves_the_tables_until_its_turn(synthetic: Path, tmp_path: Path) -> None:
    source, songs = own_source(synthetic, tmp_path)
    late = "synthetic-x2.wav"
    for song in songs[:2]:
        for name in ("synthetic-x1.wav", late):
            shutil.copy(song, source / name)
        store = new_out(tmp_path / "out", source)
        counts = extract(store, SETTINGS, limit=None if song is songs[0] else 1)
    assert (counts.fresh, counts.left) == (1, 1)
    assert late not in [*store.read("features")["track_id"].to_pylist(), *tables(store)["outcomes"].track_id]
    extract(store, SETTINGS)
    assert_as_fresh(store, source, tmp_path / "fresh")


def files(folder: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}


def test_a_plan_tells_what_would_be_done_and_writes_nothing(synthetic: Path, tmp_path: Path, ray_session: None) -> None:
    store = new_out(tmp_path / "out", synthetic)
    total = len(store.track_ids())
    before = files(store.out)
    assert str(plan(store, SETTINGS)) == (
        f"extract would decode {total} songs, leave 0 for a later run, keep 0 that are up to date and "
        f"0 that failed before = {total}; time: unknown, as no song has been decoded yet"
    )
    assert files(store.out) == before
    extract(store, SETTINGS, limit=30)
    outcomes = store.read("outcomes").to_pandas().query("stage == 'extract'")
    failed = (outcomes.status == "failed").sum()
    seconds = outcomes.seconds[outcomes.status == "ok"].mean()
    before = files(store.out)
    todo = plan(store, SETTINGS, limit=4)
    assert [len(tracks) for tracks in todo[:4]] == [4, total - 34, 30 - failed, failed]
    assert todo.seconds_a_track == pytest.approx(seconds)
    assert f"about {4 * seconds:.1f} s on one CPU" in str(todo)
    assert files(store.out) == before
    with pytest.raises(ConfigError, match="--force"):
        plan(store, ExtractSettings(n_mels=40))


# --- collections ------------------------------------------------------------------------------------------------------


FMA_TRACKS = """\
,album,album,artist,artist,set,set,track,track,track,track
,comments,title,id,name,split,subset,bit_rate,genre_top,genres,title
track_id,,,,,,,,,,
2,0,AWOL - A Way Of Life,1,AWOL,training,small,256000,Hip-Hop,[21],Food
5,0,"Niris, live",6,Nicky Cook,validation,medium,256000,,"[76, 103]",Été
10,0,Constant Hitmaker,6,Kurt Vile,test,small,192000,Pop,[10],Freeway
134,0,AWOL - A Way Of Life,1,AWOL,training,medium,256000,Hip-Hop,[21],Street Music
"""


def test_fma_goes_from_its_folders_to_the_tables(tmp_path: Path, ray_session: None) -> None:
    from musicrec.cli import cli

    rng = np.random.default_rng(0)
    for number in (2, 5, 10):
        path = tmp_path / f"fma/fma_small/000/{number:06d}.mp3"
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, 0.1 * rng.normal(size=(3 * 44_100, 2)), 44_100, format="MP3")
    (tmp_path / "fma/fma_metadata").mkdir()
    (tmp_path / "fma/fma_metadata/tracks.csv").write_text(FMA_TRACKS, encoding="utf-8")
    (tmp_path / "fma/fma_small/000/000134.mp3").write_bytes(b"")  # as some of the collection's own are cut off
    out = str(tmp_path / "out")
    for command in (["catalog", out, "--source", str(tmp_path / "fma"), "--kind", "fma"], ["extract", out]):
        cli.main(command, standalone_mode=False)
    tracks = pd.read_parquet(f"{out}/tracks").set_index("track_id")
    assert tracks["split"].to_dict() == {
        "000002": "training", "000005": "validation", "000010": "test", "000134": "training"
    }  # fmt: skip
    assert tracks.loc["000010", ["genre", "artist", "album", "title"]].tolist() == [
        "Pop", "Kurt Vile", "Constant Hitmaker", "Freeway"
    ]  # fmt: skip
    assert pd.isna(tracks.loc["000005", "genre"])
    assert pd.read_parquet(f"{out}/features")["track_id"].tolist() == ["000002", "000005", "000010"]
    outcomes = pd.read_parquet(f"{out}/outcomes").query("stage == 'extract'").set_index("track_id")
    assert outcomes.reason.dropna().to_dict() == {"000134": "empty"}


def test_songs_elsewhere_are_extracted_as_if_they_were_here(
    undisturbed: Store, synthetic: Path, tmp_path: Path
) -> None:
    names = ["synthetic-drone/*-interlude.flac", "synthetic-bells/synthetic-bells-01.*", "synthetic-hum/*-text.mp3"]
    names = [next(synthetic.glob(name)).relative_to(synthetic).as_posix() for name in names]
    handler = partial(SimpleHTTPRequestHandler, directory=synthetic)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        songs = pd.DataFrame({"uri": [f"{address}/{name}" for name in (*names, "gone.wav")], "track_id": [*names, "x"]})
        songs.to_parquet(tmp_path / "songs.parquet")
        store = new_out(tmp_path / "out", tmp_path / "songs.parquet")
        counts = extract(store, SETTINGS)
        assert extract(store, SETTINGS).fresh == 0
        server.shutdown()
    assert (counts.ok, counts.failed) == (2, 2)
    reasons = tables(store)["outcomes"].set_index("track_id").reason.dropna().to_dict()
    assert reasons == {names[2]: "undecodable", "x": "missing"}
    found, expected = (tables(s)["features"].set_index("track_id") for s in (store, undisturbed))
    pd.testing.assert_frame_equal(found, expected.loc[found.index], check_exact=True)
