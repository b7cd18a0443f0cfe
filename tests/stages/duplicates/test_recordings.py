"""The stage finds copies among real songs, accounts for every song, and makes again only what has changed."""

import shutil

import numpy as np
import pyarrow as pa
import pytest
import soundfile as sf
import soxr

from extracting import new_out
from musicrec.audio.encode import encode
from musicrec.cli import main
from musicrec.errors import ConfigError, MusicrecError
from musicrec.schemas import FINGERPRINTS, OK, OUTCOMES, RECORDINGS
from musicrec.serve.comparable_songs import read_vectors
from musicrec.serve.song_facts import facts_of
from musicrec.settings import CatalogSettings, DuplicatesSettings, ExtractSettings, SimilarSettings
from musicrec.stages.catalog.stage import catalog
from musicrec.stages.duplicates import fingerprint_rows, kept_matches, matching
from musicrec.stages.duplicates.stage import describe, duplicates
from musicrec.stages.extract.stage import extract
from musicrec.stages.similar.published_table import recordings
from musicrec.store.store import Store

pytestmark = pytest.mark.usefixtures("ray_session")
SETTINGS, EXTRACT = DuplicatesSettings(), ExtractSettings(feature_sets=("iiitd41",))
RATE = 22_050
PARENT = "blues/blues.00000.flac"
MADE_BY = matching.made_by(SETTINGS, 10)


@pytest.fixture(scope="module")
def source(data, made_once):
    """A real song of each of six genres, files made of one of them, a short piece, and a broken file."""

    def make(folder):
        for song in sorted((data / "gtzan").glob("*/*.00000.*"))[:6]:
            target = folder / song.parent.name / f"{song.stem}.flac"
            target.parent.mkdir(parents=True)
            y, _ = sf.read(song, dtype="float32")
            target.write_bytes(encode(y, RATE, "flac"))
        y, _ = sf.read(folder / PARENT, dtype="float32")
        copies = {
            "copy.mp3": encode(y / 2, RATE, "mp3"),
            "cut.m4a": encode(y[round(6.5 * RATE) :], RATE, "m4a"),
            "fast.ogg": encode(soxr.resample(y, 1.025 * RATE, RATE), RATE, "ogg"),
            "slow.opus": encode(soxr.resample(y, 0.97 * RATE, 48_000), 48_000, "opus"),
            "piece.flac": encode(y[: 5 * RATE], RATE, "flac"),
            "broken.mp3": b"no music",
        }
        (folder / "other").mkdir()
        for name, content in copies.items():
            (folder / "other" / name).write_bytes(content)

    return made_once("duplicates-source", make)


@pytest.fixture(scope="module")
def extracted(source, ray_session, made_once):
    def make(out):
        extract(new_out(out, source), EXTRACT)

    return Store(made_once("duplicates-extracted", make))


@pytest.fixture(scope="module")
def done(extracted, made_once):
    def make(out):
        duplicates(Store(shutil.copytree(extracted.out, out, symlinks=True)), SETTINGS)

    return Store(made_once("duplicates-done", make))


@pytest.fixture
def store(done, tmp_path):
    return Store(shutil.copytree(done.out, tmp_path / "out", symlinks=True))


def rows(store, table="recordings"):
    return store.read(table).sort_by("track_id").to_pylist()


def figures(store):
    return store.footer("recordings")["lineage"]["duplicates"]


def outcomes(store):
    found = store.read("outcomes").to_pylist()
    return {row["track_id"]: (row["status"], row["reason"]) for row in found if row["stage"] == "duplicates"}


# --- what is found --------------------------------------------------------------------------------------------------


def test_copies_are_found_and_other_songs_are_their_own_recording(done):
    found = {row["track_id"]: row for row in rows(done)}
    copies = {name for name, row in found.items() if row["recording"] != name}
    assert copies == {"other/copy.mp3", "other/cut.m4a", "other/fast.ogg", "other/slow.opus"}
    assert {found[name]["recording"] for name in copies} == {PARENT}
    assert all(0 < found[name]["score"] < 0.12 for name in copies)
    assert found["other/fast.ogg"]["speed"] == pytest.approx(1.025)
    assert found["other/slow.opus"]["speed"] == pytest.approx(0.97, abs=0.003)
    assert found["other/cut.m4a"]["offset_s"] == pytest.approx(6.5, abs=0.05)
    alone = found["jazz/jazz.00000.flac"] if "jazz/jazz.00000.flac" in found else found[PARENT]
    assert (alone["score"], alone["speed"], alone["offset_s"]) == (0, 1, 0)


def test_every_song_of_the_catalog_has_one_outcome(done):
    found = outcomes(done)
    assert found.keys() == set(done.track_ids())
    assert found["other/piece.flac"] == ("skipped", "too_short")
    assert found["other/broken.mp3"] == ("skipped", "no_features")
    assert {t for t, (status, _) in found.items() if status == OK} == {row["track_id"] for row in rows(done)}


def test_the_tables_have_their_schemas_and_the_tested_pairs_stand_in_the_footer(done):
    assert done.dataset("recordings").schema.equals(RECORDINGS)
    assert done.dataset("fingerprints").schema.equals(FINGERPRINTS)
    tested = done.footer("recordings")["lineage"]["duplicates"]["tested"]
    assert tested["n_pairs"] == 10 * 9 // 2 - 10  # of ten songs; five of them are one recording
    assert tested["n_alike"] == 0
    assert tested["lowest"] > 0.38
    assert tested["bound"] == pytest.approx(1 - 0.05 ** (1 / 35))  # 3 / 35, about


def test_what_was_found_is_said_with_its_bound():
    tested = {"n_pairs": 20_000, "n_alike": 0, "lowest": 0.412, "bound": 1.5e-4}
    assert describe({"copies": 3, "recordings_with_copies": 1, "tested": tested}) == (
        "copies: 3, originals: 1; of 20000 pairs of different recordings, 0 are as alike (the most alike differ "
        "in 41.2% of their bits), so at most 0.00015 of such pairs are, with 95 % confidence"
    )


def test_a_stricter_setting_keeps_more_apart_and_makes_no_fingerprint_again(store):
    before = store.path("fingerprints")
    counts = duplicates(store, DuplicatesSettings(max_bit_errors=0.001))
    assert counts.fresh == 0
    assert [row for row in rows(store) if row["recording"] != row["track_id"]] == []
    assert store.path("fingerprints") == before


def test_the_command_lists_the_files_of_a_recording(store, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["duplicates", str(store.out), "--csv", str(tmp_path / "copies.csv")])
    assert not end.value.code
    assert "copies.csv: 5 files of recordings" in capsys.readouterr().out
    head, *lines = (tmp_path / "copies.csv").read_text(encoding="utf-8").splitlines()
    assert head.replace('"', "").startswith("recording,track_id,uri,format,kbit_s,duration_s")
    assert lines[0].startswith('"blues/blues.00000.flac","blues/blues.00000.flac"')
    assert len(lines) == 5


# --- night after night ------------------------------------------------------------------------------------------------


def test_a_second_run_does_nothing(store, monkeypatch):
    before = store.state()
    monkeypatch.setattr(matching, "make_index", None)
    counts = duplicates(store, SETTINGS)
    assert counts.fresh == 0
    assert store.state() == before


@pytest.fixture
def matched_anew(monkeypatch):
    """How many songs each run has matched with all others, not counting those whose matches were kept."""
    counts, make_index = [], matching.make_index

    def counting(*arguments, **options):
        index = make_index(*arguments, **options)
        counts.append(int(index.is_changed.sum()))
        return index

    monkeypatch.setattr(matching, "make_index", counting)
    return counts


def test_a_night_matches_only_what_has_changed_and_ends_as_a_full_run(source, store, tmp_path, matched_anew):
    more, fresh = shutil.copytree(source, tmp_path / "more"), Store(tmp_path / "fresh")
    (more / "blues" / "blues.00000.flac").rename(more / "blues" / "a copy of it.flac")
    (more / "other" / "cut.m4a").unlink()
    for out in (store, fresh):
        out.create()
        catalog(out, CatalogSettings(source=str(more)), force=True)
        extract(out, EXTRACT, force=True)
    assert duplicates(store, SETTINGS).fresh == 1
    assert matched_anew == [1]
    duplicates(fresh, SETTINGS)
    assert matched_anew == [1, 9]
    assert rows(store) == rows(fresh)
    assert rows(store, "fingerprints") == rows(fresh, "fingerprints")
    assert figures(store) == figures(fresh)
    kept = [kept_matches.load(out.path("recordings") / kept_matches.FOLDER, MADE_BY) for out in (store, fresh)]
    assert kept[0].songs.equals(kept[1].songs)
    assert kept[0].matches.equals(kept[1].matches)
    assert {row["recording"] for row in rows(store) if row["track_id"].startswith("other/")} == {
        "blues/a copy of it.flac"
    }


def test_a_night_keeps_the_files_of_fingerprints_that_have_not_changed(source, extracted, tmp_path, monkeypatch):
    monkeypatch.setattr("musicrec.store.table_parts.TRACKS_PER_PART", 2)
    monkeypatch.setattr(fingerprint_rows, "SONGS_PER_TASK", 2)
    store, more = Store(shutil.copytree(extracted.out, tmp_path / "out", symlinks=True)), tmp_path / "more"
    duplicates(store, SETTINGS)
    before = {part.stat().st_ino: part for part in (store.out / "fingerprints").glob("*.parquet")}
    shutil.copytree(source, more)
    (more / "blues" / "blues.00000.flac").rename(more / "blues" / "a copy of it.flac")
    catalog(store, CatalogSettings(source=str(more)), force=True)
    extract(store, EXTRACT, force=True)
    duplicates(store, SETTINGS)
    after = {part.stat().st_ino for part in (store.out / "fingerprints").glob("*.parquet")}
    assert len(before) == 6  # of eleven songs
    assert len(after & before.keys()) == 5


@pytest.mark.parametrize("damage", ["missing", "torn", "other"])
def test_all_is_matched_where_the_kept_matches_are_of_no_use(store, done, matched_anew, damage):
    kept = store.path("recordings") / kept_matches.FOLDER
    if damage == "missing":
        shutil.rmtree(kept)
    elif damage == "torn":
        (kept / kept_matches.MATCHES).write_bytes(b"PAR1")
    limit = 0.24 if damage == "other" else SETTINGS.max_bit_errors
    songs = matching.read_songs(store)
    found = matching.find_matches(store, DuplicatesSettings(max_bit_errors=limit), songs)
    assert matched_anew == [10]
    assert len(found.matches.song) == 9  # all pairs of five songs, but for the fastest with the slowest


def test_the_result_does_not_depend_on_shards_and_parts(extracted, done, tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprint_rows, "SONGS_PER_TASK", 2)
    monkeypatch.setattr(matching, "PAIRS_PER_TASK", 7)
    store = Store(shutil.copytree(extracted.out, tmp_path / "out", symlinks=True))
    monkeypatch.setattr(matching, "SONGS_PER_TASK", 3)
    duplicates(store, SETTINGS)
    assert len(list((store.out / "fingerprints").glob("*.parquet"))) == 6  # a task's two songs in each
    assert rows(store) == rows(done)
    assert figures(store) == figures(done)


def test_a_run_that_was_stopped_continues_where_it_stopped(extracted, done, tmp_path, monkeypatch):
    store = Store(shutil.copytree(extracted.out, tmp_path / "out", symlinks=True))
    monkeypatch.setattr(fingerprint_rows, "SONGS_PER_TASK", 4)
    advance, n_shards = fingerprint_rows.Progress.advance, []

    def stop(self, *arguments, **options):
        n_shards.append(1)
        if len(n_shards) == 2:
            raise KeyboardInterrupt
        advance(self, *arguments, **options)

    monkeypatch.setattr(fingerprint_rows.Progress, "advance", stop)
    with pytest.raises(KeyboardInterrupt):
        duplicates(store, SETTINGS)
    monkeypatch.setattr(fingerprint_rows.Progress, "advance", advance)
    assert not store.exists("fingerprints")
    assert duplicates(store, SETTINGS).fresh < 11  # none if the other shards ended before they could be stopped
    assert rows(store) == rows(done)
    assert not list((store.out / "_work").rglob("*.parquet"))


# --- bad input ------------------------------------------------------------------------------------------------------


def test_spectrograms_that_are_missing_or_too_coarse_are_refused_in_a_line(tmp_path, extracted):
    store = Store(tmp_path / "new")
    store.create()
    with pytest.raises(ConfigError, match="has no mel-spectrograms to compare; run: musicrec extract"):
        duplicates(store, SETTINGS)
    coarse = Store(shutil.copytree(extracted.out, tmp_path / "out", symlinks=True))
    settings = EXTRACT.model_copy(update={"n_mels": 40})
    version = coarse.new_version("mel", settings, "coarse")
    version.write_part(pa.Table.from_pylist([], coarse.dataset("mel").schema))
    coarse.publish(version)
    with pytest.raises(ConfigError, match="need at least 64 mel bands at 22050 Hz, not 40"):
        duplicates(coarse, SETTINGS)


def test_a_damaged_table_of_fingerprints_is_named(store):
    part = next((store.out / "fingerprints").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(MusicrecError, match="fingerprints is damaged"):
        duplicates(store, DuplicatesSettings(max_bit_errors=0.2))


# --- lists without duplicates -----------------------------------------------------------------------------------------


def test_lists_leave_out_what_was_found(done, publish_vectors, tmp_path):
    ids = done.track_ids()
    store = publish_vectors(tmp_path / "out", np.random.default_rng(0).normal(size=(len(ids), 4)), ids)
    asked, not_asked = SimilarSettings(n=3, no_duplicates=True), SimilarSettings(n=3)
    assert recordings(store, asked) == recordings(store, not_asked) == {}
    shutil.copytree(done.path("recordings"), store.out / "_versions" / "recordings" / done.path("recordings").name)
    store.versions("recordings").publish(store.out / "_versions" / "recordings" / done.path("recordings").name, 1)
    assert recordings(store, asked) == {"recordings": done.footer("recordings")["fingerprint"]}
    assert recordings(store, not_asked) == {}
    sound = dict(zip(ids, facts_of(store, read_vectors(store), SimilarSettings()).sound.tolist(), strict=True))
    assert len({sound[t] for t in (PARENT, "other/copy.mp3", "other/slow.opus")}) == 1
    assert sound["other/piece.flac"] == sound["other/broken.mp3"] == -1
    assert len(set(sound.values())) == 7  # six recordings, and unknown


def test_outcomes_are_of_their_schema(done):
    assert done.dataset("outcomes").schema.equals(OUTCOMES)
