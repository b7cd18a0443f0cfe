"""Lookups find a song by any name it goes by, say why one is missing, and start without the heavy libraries."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicrec.cli import main
from musicrec.errors import ConfigError, SchemaError, UnknownTrack
from musicrec.schemas import SIMILAR, TRACKS
from musicrec.serve.lookup import SimilarTable, Song
from musicrec.serve.sidecar import SIDECAR, SIDECAR_COLUMNS, HashIndex, Sidecar, write_sidecar
from musicrec.serve.song_names import in_full, names_of, with_words
from musicrec.serve.table_writer import write_table
from musicrec.settings import CatalogSettings, SimilarSettings
from musicrec.similarity import top_n
from musicrec.store import lineage
from musicrec.store.outcomes import Outcome, outcomes_table
from musicrec.store.store import Store

SONGS = [  # in order of id
    Song("blues/blues.00002.wav", "Hoochie", "Muddy", "blues"),
    Song("blues/ärger.mp3", "Ärger im Großraum", None, "blues"),
    Song("jazz/夜曲.ogg", "夜の歌", "上原", "jazz"),
    Song("pop/anthem.flac", "Hymn, to nobody", "The B", None),
    Song("pop/two.wav", "Nocturne", "The B", "pop"),
    Song("rock/Anthem.mp3", "Take (it) [all].*", "The A", "rock"),
    Song("rock/third.m4a", "nocturne", None, "rock"),
    Song("rock/έρωτας.mp3", "Ο έρωτας", None, "rock"),
]
IDS = [song.track_id for song in SONGS]
MISSING = {
    "rock/broken.mp3": Outcome("rock/broken.mp3", "extract", "failed", "not_audio", "no frame found"),
    "rock/short.wav": Outcome("rock/short.wav", "extract", "skipped", "too_short", "0.02 s"),
    "rock/nan.wav": Outcome("rock/nan.wav", "embed", "failed", "not_finite"),
    "rock/late.wav": Outcome("rock/late.wav", "catalog", "ok"),
}
SETTINGS = SimilarSettings(n=50)


NAMES = pa.schema([TRACKS.field(name) for name in SIDECAR_COLUMNS])


def publish(store, name, write):
    version = store.new_version(name, SETTINGS, "0123456789abcdef")
    write(version)
    store.publish(version)


def publish_similar(store, seed=1, keep=lambda ids: ids):
    """Lists of random vectors, as `musicrec similar` publishes them."""
    ids, scores = top_n(np.random.default_rng(seed).normal(size=(len(SONGS), 3)), SETTINGS.n)
    ids = keep(ids)
    scores = np.where(ids < 0, -np.inf, scores).astype(np.float32)
    names = pa.table(list(zip(*SONGS, strict=True)), schema=NAMES)
    publish(store, "similar", lambda version: write_table(version, names, ids, scores))
    return ids, scores


def problems(track_id):
    """Outcomes of a track at every stage: its own, and what follows from it."""
    own = MISSING.get(track_id, Outcome(track_id, "similar", "ok"))
    first = [Outcome(track_id, "catalog", "ok")] if own.stage != "catalog" else []
    later = [("embed", "no_features")] if own.stage == "extract" else []
    later += [("train", "no_genre"), ("similar", "no_embedding")] if track_id in MISSING else []
    consequences = later if own.status != "ok" else []
    return [*first, own, *(Outcome(track_id, stage, "skipped", reason) for stage, reason in consequences)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("lookup") / "OUT")
    store.create()
    store.settings.record(CatalogSettings(source="/music"))
    missing = [Song(t, t.split("/")[1].split(".")[0].title(), None, None) for t in MISSING]
    tracks = [{"uri": "file:///x", **song._asdict()} for song in (*SONGS, *missing)]
    publish(store, "tracks", lambda version: version.write_part(pa.Table.from_pylist(tracks, schema=TRACKS)))
    outcomes = outcomes_table(o for t in (*IDS, *MISSING) for o in problems(t))
    outcomes = outcomes.sort_by([("stage", "ascending"), ("track_id", "ascending")])
    publish(store, "outcomes", lambda version: version.write_part(outcomes))
    return store, *publish_similar(store)


@pytest.fixture
def out(made):
    return made[0].out


@pytest.fixture
def table(out):
    return SimilarTable(out)


# --- the table ----------------------------------------------------------------------------------------------------


def test_all_songs_are_there_in_order_of_id(table):
    assert len(table) == len(SONGS)
    assert list(table.songs()) == SONGS
    assert table.song(IDS[2]) == SONGS[2]


@pytest.mark.parametrize("n", [1, 3, 7, 8, 1000])
def test_similar_gives_ranks_songs_and_scores_best_first_and_at_most_what_there_is(made, table, n):
    _, ids, scores = made
    for row, track_id in enumerate(IDS):
        found = table.similar(track_id, n)
        assert [s.rank for s in found] == list(range(1, min(n, len(SONGS) - 1) + 1))
        assert [s.song for s in found] == [SONGS[i] for i in ids[row, :n]]
        assert [s.score for s in found] == scores[row, :n].tolist()


def test_the_sidecar_and_the_parquet_table_say_the_same(made, table):
    rows = made[0].read("similar").to_pylist()
    looked_up = [(t, s.rank, s.song.track_id, s.score) for t in IDS for s in table.similar(t, 100)]
    assert looked_up == [tuple(row.values()) for row in rows]


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("blues/blues.00002.wav", 0),
        ("blues.00002.wav", 0),
        ("blues.00002", 0),
        ("BLUES.00002", 0),
        ("hoochie", 0),
        ("ärger", 1),
        ("ÄRGER.MP3", 1),
        ("夜曲", 2),
        ("夜の歌", 2),
        ("hymn, TO nobody", 3),
        ("anthem.flac", 3),
        ("two", 4),
        ("anthem.mp3", 5),
        ("Take (it) [all].*", 5),
        ("third", 6),
        ("Ärger im Großraum", 1),
        ("ärger im GROSSRAUM", 1),
        ("έρωτας", 7),
        ("Ο Έρωτας", 7),
    ],
)
def test_a_song_is_found_by_id_file_name_stem_or_title_in_any_case(table, name, row):
    assert table.song(name) == SONGS[row]
    assert table.similar(name, 3) == table.similar(IDS[row], 3)


@pytest.mark.parametrize(
    ("name", "rows"),
    [("anthem", [3, 5]), ("Nocturne", [4, 6]), ("NOCTURNE", [4, 6])],
)
def test_a_name_of_several_songs_lists_their_ids(table, name, rows):
    with pytest.raises(UnknownTrack, match=f"2 songs are called {name!r}") as e:
        table.similar(name)
    assert str(e.value).endswith("; give one of their ids: " + ", ".join(IDS[row] for row in rows))


@pytest.mark.parametrize(
    ("name", "closest"),
    [
        ("rock/antem.mp3", IDS[5]),
        ("bluse.0002", IDS[0]),
        ("THRID.m4a", IDS[6]),
        ("Hochie", IDS[0]),
        ("夜曲.mp3", IDS[2]),
    ],
)
def test_an_unknown_name_offers_the_closest(table, out, name, closest):
    with pytest.raises(UnknownTrack, match=f"no song {name!r}") as e:
        table.song(name)
    where, _, offered = str(e.value).partition("; the closest names are: ")
    assert where == f"no song {name!r} in {out}"
    assert closest in offered.split(", ")
    assert set(offered.split(", ")) <= set(IDS)


@pytest.mark.parametrize("name", ["no such song", "xyzzy", "quarterly report.pdf"])
def test_names_that_are_not_close_are_not_offered(table, out, name):
    with pytest.raises(UnknownTrack, match=f"^no song {name!r} in {out}$"):
        table.song(name)


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        ("hooch", [0]),
        ("muddy - hoochie", [0]),
        ("Hoochie – MUDDY", [0]),
        ("the a all", [5]),
        ("the b", [3, 4]),
        ("B nocturne", [4]),
        ("ÄRGER", [1]),
        ("上", [2]),
        ("rock/", [5, 6, 7]),
        (" - ", []),
        ("", []),
        ("muddy nocturne", []),
    ],
)
def test_words_find_the_songs_that_have_them_all_in_their_id_artist_or_title(table, words, rows):
    assert with_words(words, table._sidecar.songs) == rows


def test_words_are_found_without_their_accents():
    rows = [("a.mp3", "Séculaire feat. Nÿme", "Zażółć"), ("b.mp3", "Seculaire", "nobody"), ("c.mp3", None, None)]
    names = ["track_id", "title", "artist"]
    songs = pa.table(dict(zip(names, map(pa.array, zip(*rows, strict=True)), strict=True)))
    for words, found in (("seculaire", [0, 1]), ("SÉCULAIRE nyme", [0]), ("Se\u0301culaire", [0, 1]), ("zazo", [0])):
        assert with_words(words, songs) == found


def test_a_renamed_song_is_found_by_the_name_that_its_file_has_now(tmp_path):
    store = small_out(tmp_path)
    publish_similar(store)
    files = ["/music/new name.mp3", "/music/one/twin.ogg", "s3://bucket/two/Twin.ogg", "http://host/%C3%A9tude.mp3"]
    tracks = [{"uri": uri, **song._asdict()} for uri, song in zip(files, SONGS, strict=False)]
    publish(store, "tracks", lambda version: version.write_part(pa.Table.from_pylist(tracks, schema=TRACKS)))
    table = SimilarTable(store.out)
    for name, song in (("new name.mp3", SONGS[0]), ("New Name", SONGS[0]), ("étude", SONGS[3])):
        assert table.song(name) == song
    with pytest.raises(UnknownTrack, match=f"2 songs are called 'twin'; give one of their ids: {IDS[1]}, {IDS[2]}"):
        table.song("twin")


@pytest.mark.parametrize("form", ["{0}/rock/Anthem.mp3", "{0}/pop/../rock/Anthem.mp3", "link/rock/Anthem.mp3"])
def test_a_song_is_found_by_where_it_is(tmp_path, monkeypatch, form):
    music = tmp_path / "music"
    (music / "rock").mkdir(parents=True)
    (music / "rock" / "Anthem.mp3").touch()
    (tmp_path / "link").symlink_to(music)
    store = Store(tmp_path / "OUT")
    store.create()
    store.settings.record(CatalogSettings(source=str(music)))
    tracks = [{"uri": str(music / song.track_id), **song._asdict()} for song in SONGS]
    publish(store, "tracks", lambda version: version.write_part(pa.Table.from_pylist(tracks, schema=TRACKS)))
    publish(store, "outcomes", lambda version: version.write_part(outcomes_table([])))
    publish_similar(store)
    monkeypatch.chdir(tmp_path)
    table = SimilarTable(store.out)
    assert table.song(form.format(music)) == SONGS[5]
    with pytest.raises(UnknownTrack):
        table.song("/elsewhere/rock/Anthem.mp3")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rock/broken.mp3", ["rock/broken.mp3", "extract failed, not_audio (no frame found)"]),
        ("broken", ["rock/broken.mp3", "extract failed, not_audio (no frame found)"]),
        ("SHORT.wav", ["rock/short.wav", "extract skipped, too_short (0.02 s)"]),
        ("nan", ["rock/nan.wav", "embed failed, not_finite"]),
        ("late", ["rock/late.wav", "it was added after the table was made; run the chain again"]),
    ],
)
def test_a_song_that_did_not_come_through_says_at_what_stage_and_why(table, name, said):
    with pytest.raises(UnknownTrack) as e:
        table.similar(name)
    track_id, why = said
    assert str(e.value) == f"{track_id} is in the catalog but not in the table: {why}"


def small_out(folder):
    store = Store(folder / "out")
    store.create()
    store.settings.record(CatalogSettings(source="/music"))
    return store


def test_an_open_table_goes_on_showing_its_version(tmp_path):
    store = small_out(tmp_path)
    lists = {}
    opened = []
    for seed in (1, 2, 3):
        lists[seed] = publish_similar(store, seed)[0]
        opened.append(SimilarTable(store.out))
    assert not np.array_equal(lists[1], lists[3])
    for table, ids in zip(opened, lists.values(), strict=True):  # even the first, which is gone from the disk
        assert [[s.song for s in table.similar(t, 9)] for t in IDS] == [[SONGS[i] for i in row] for row in ids]


def test_a_publish_while_a_table_is_being_opened_makes_no_mixture(tmp_path, monkeypatch):
    store = small_out(tmp_path)
    ids, scores = publish_similar(store, 1)
    load = np.load

    def load_and_publish(path, **how):
        array = load(path, **how)
        monkeypatch.undo()
        publish_similar(store, 2)
        return array

    monkeypatch.setattr(np, "load", load_and_publish)
    found = SimilarTable(store.out).similar(IDS[0], 9)
    assert [(s.song, s.score) for s in found] == [(SONGS[i], score) for i, score in zip(ids[0], scores[0], strict=True)]


def test_a_lookup_needs_no_lock(out):
    with Store(out).lock():
        assert len(SimilarTable(out)) == len(SONGS)


def test_what_is_no_out_or_has_no_table_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="not a musicrec OUT"):
        SimilarTable(tmp_path / "nowhere")
    with pytest.raises(SchemaError, match="has no similar yet"):
        SimilarTable(small_out(tmp_path).out)


def test_a_table_of_another_schema_version_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lineage, "SCHEMA_VERSION", 99)
    store = small_out(tmp_path)
    publish_similar(store)
    monkeypatch.undo()
    with pytest.raises(SchemaError, match="99"):
        SimilarTable(store.out)


# --- by id, one and many ------------------------------------------------------------------------------------------


def publish_short(folder):
    """A table whose lists have 7, 6, … 0 songs, and what a dictionary says of it."""
    store = small_out(folder)
    kept = np.arange(7)[None, :] < np.arange(7, -1, -1)[:, None]
    ids, scores = publish_similar(store, keep=lambda ids: np.where(kept, ids, -1).astype(np.int32))
    lists = {
        t: [(IDS[i], score) for i, score in zip(row, row_scores, strict=True) if i >= 0]
        for t, row, row_scores in zip(IDS, ids, scores, strict=True)
    }
    assert [len(found) for found in lists.values()] == [7, 6, 5, 4, 3, 2, 1, 0]
    return store, lists


@pytest.mark.parametrize("n", [1, 3, 7, 50])
def test_one_song_many_songs_and_the_parquet_rows_are_what_a_dictionary_says(tmp_path, n):
    store, lists = publish_short(tmp_path)
    table = SimilarTable(store.out)
    for track_id, expected in lists.items():
        rows, scores = table.neighbours(track_id, n)
        assert list(zip(map(table.track_id, rows), scores, strict=True)) == expected[:n]
        assert [(s.rank, s.song.track_id, s.score) for s in table.similar(track_id, n)] == [
            (rank, *line) for rank, line in enumerate(expected[:n], start=1)
        ]
    asked = [IDS[5], "nobody", IDS[0], IDS[7], IDS[5], "", "\udc80"]
    rows, scores = table.neighbours_many(asked, n)
    assert rows.shape == scores.shape == (len(asked), min(n, 7))
    for track_id, row, row_scores in zip(asked, rows, scores, strict=True):
        found = [(table.track_id(i), score) for i, score in zip(row, row_scores, strict=True) if i >= 0]
        assert found == lists.get(track_id, [])[:n]
        assert row_scores[len(found) :].tolist() == [-np.inf] * (min(n, 7) - len(found))
        assert row[len(found) :].tolist() == [-1] * (min(n, 7) - len(found))
    expected = [(t, i, *line) for t in asked for i, line in enumerate(lists.get(t, [])[:n], start=1)]
    as_table = table.similar_many(asked[:-1], n)
    assert as_table.schema == SIMILAR
    assert [tuple(row.values()) for row in as_table.to_pylist()] == expected
    assert len(table.similar_many([], n)) == 0


def test_what_is_no_id_is_unknown_at_once_though_a_song_goes_by_that_name(table, out):
    for name in ("hoochie", "blues.00002.wav", "", "\udc80"):
        with pytest.raises(UnknownTrack, match="no song has the id") as e:
            table.neighbours(name)
        assert str(out) in str(e.value)
        assert name not in table
    assert all(track_id in table for track_id in IDS)


def sidecar_of(folder, ids, titles=None):
    folder.mkdir(exist_ok=True)
    songs = pa.table([ids, titles or [None] * len(ids), *[[None] * len(ids)] * 2], schema=NAMES)
    write_sidecar(folder, songs, np.zeros((len(ids), 1), np.int32), np.zeros((len(ids), 1), np.float32))
    return Sidecar(folder)


ODD_TEXT = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("/.\n\0aA1ßİ'")), max_size=12)


@pytest.mark.thorough
@settings(deadline=None)
@given(st.sets(ODD_TEXT, min_size=1, max_size=60), st.lists(ODD_TEXT, max_size=20), st.data())
def test_ids_and_names_of_odd_characters_are_found_and_no_others(ids, strangers, data):
    ids = sorted(ids)
    titles = data.draw(st.lists(st.none() | ODD_TEXT, min_size=len(ids), max_size=len(ids)))
    row_of = {track_id: row for row, track_id in enumerate(ids)}
    names = [{n.casefold() for n in names_of(t, title)} for t, title in zip(ids, titles, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        sidecar = sidecar_of(Path(folder), ids, titles)
        asked = [*ids, *strangers, *filter(None, titles)]
        assert [sidecar.row(name) for name in asked] == [row_of.get(name) for name in asked]
        assert sidecar.rows(asked).tolist() == [row_of.get(name, -1) for name in asked]
        for name in {*asked, *(n for its in names for n in its)}:
            assert sidecar.rows_called(name) == [row for row, its in enumerate(names) if name.casefold() in its]
        assert [column[row] for row in range(len(ids)) for column in sidecar.columns[:2]] == [
            text for pair in zip(ids, titles, strict=True) for text in pair
        ]


def test_ids_of_one_hash_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("musicrec.serve.sidecar.crc32", lambda key: 0xFFFFFFFF)
    sidecar = sidecar_of(tmp_path, IDS, [song.title for song in SONGS])
    assert [sidecar.row(t) for t in (*IDS, "nobody")] == [*range(len(IDS)), None]
    assert sidecar.rows([*IDS[::-1], "nobody"]).tolist() == [*range(len(IDS))[::-1], -1]
    assert sidecar.rows_called("NOCTURNE") == [4, 6]


def test_the_songs_of_a_bucket_are_few_whatever_ids_look_like():
    for pattern in ("{}", "fma/{:06d}.mp3", "blues/blues.{:05d}.wav", "{:x}"):
        index = HashIndex.of([pattern.format(i)] for i in range(20_000))
        assert np.diff(index.starts).max() <= 10
        assert np.sort(index.rows).tolist() == list(range(20_000))


# --- damaged, moved, far away -------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["missing", "empty", "short", "of another table"])
@pytest.mark.parametrize("name", ["songs.arrow", "neighbours.npy", "scores.npy", "index.npy"])
def test_a_half_written_sidecar_is_refused_in_one_line(tmp_path, name, damage):
    store = small_out(tmp_path)
    publish_similar(store)
    file = store.path("similar") / SIDECAR / name
    other = sidecar_of(tmp_path / "other", IDS[:3])
    assert len(other.songs) == 3
    match damage:
        case "missing":
            file.unlink()
        case "empty":
            file.write_bytes(b"")
        case "short":
            file.write_bytes(file.read_bytes()[:-4])
        case _:
            shutil.copy(tmp_path / "other" / SIDECAR / name, file)
    with pytest.raises(SchemaError, match="is not whole") as e:
        SimilarTable(store.out)
    assert str(file.parent.resolve()) in str(e.value)
    assert "\n" not in str(e.value)


def test_a_copy_of_the_published_folder_is_a_table_by_itself(out, table, tmp_path):
    shutil.copytree((out / "similar").resolve().parent, tmp_path / "copy")
    copy = SimilarTable(tmp_path / "copy")
    assert [copy.similar(t) for t in IDS] == [table.similar(t) for t in IDS]
    with pytest.raises(UnknownTrack, match=r"the closest names are: rock/Anthem\.mp3"):
        copy.similar("antem.mp3")
    for its_parts in (out / "similar", tmp_path / "copy" / "parts"):
        assert SimilarTable(its_parts).similar(IDS[0]) == table.similar(IDS[0])


@pytest.fixture
def far(monkeypatch, tmp_path):
    """An empty folder of fsspec's in memory, and what is fetched from it into an empty cache."""
    monkeypatch.setenv("MUSICREC_CACHE", str(tmp_path / "cache"))
    fs = fsspec.filesystem("memory")
    fetched = []
    get_file = type(fs).get_file
    monkeypatch.setattr(type(fs), "get_file", lambda self, path, to: (fetched.append(path), get_file(self, path, to)))
    yield fs, fetched
    fs.rm("/bucket", recursive=True)


def put(fs, store):
    folder = store.path("similar").resolve() / SIDECAR
    fs.put(str(folder), "/bucket/similar/_sidecar" if not fs.exists("/bucket/similar") else "/bucket/similar", True)


def test_a_remote_sidecar_is_fetched_once_and_anew_when_it_changes(far, tmp_path):
    fs, fetched = far
    store = small_out(tmp_path)
    ids, _ = publish_similar(store, 1)
    put(fs, store)
    tables = [SimilarTable("memory://bucket/similar") for _ in range(2)]
    assert len(fetched) == 4
    later, _ = publish_similar(store, 2)
    put(fs, store)
    tables.append(SimilarTable("memory://bucket/similar/"))
    assert len(fetched) == 8
    for table, lists in zip(tables, (ids, ids, later), strict=True):
        assert [table.neighbours(t, 9)[0].tolist() for t in IDS] == lists.tolist()


def test_a_fetched_sidecar_goes_a_week_after_it_was_last_asked_for(far, tmp_path):
    fs, fetched = far
    store = small_out(tmp_path)
    cache = tmp_path / "cache" / "sidecars"
    for generation in range(3):
        publish_similar(store, generation)
        put(fs, store)
        SimilarTable("memory://bucket/similar")
        newest = max(cache.iterdir(), key=lambda folder: folder.stat().st_mtime)
        os.utime(newest, (0, 0))
        if generation == 1:
            SimilarTable("memory://bucket/similar")  # asked for again
    assert len(fetched) == 12
    assert len(list(cache.iterdir())) == 2


def test_a_remote_sidecar_that_changes_or_breaks_off_while_it_is_fetched_leaves_nothing(far, tmp_path, monkeypatch):
    fs, _ = far
    store = small_out(tmp_path)
    publish_similar(store)
    put(fs, store)

    def change(self, path, to):
        fs.pipe(path, b"changed")
        Path(to).write_bytes(b"changed")

    def break_off(self, path, to):
        Path(to).write_bytes(b"half")
        raise ConnectionResetError("gone")

    for get_file, error in ((break_off, ConfigError), (change, SchemaError)):
        monkeypatch.setattr(type(fs), "get_file", get_file)
        with pytest.raises(error, match="bucket/similar"):
            SimilarTable("memory://bucket/similar")
        assert list((tmp_path / "cache" / "sidecars").iterdir()) == []


def test_a_home_that_cannot_be_written_is_one_line_with_the_remedy(far, tmp_path, monkeypatch):
    fs, _ = far
    store = small_out(tmp_path)
    publish_similar(store)
    put(fs, store)
    monkeypatch.setenv("MUSICREC_CACHE", "/proc/cache")  # a folder that nobody can write to
    line = r"^/proc/cache/sidecars, where .* cannot be written \(.*\); name another folder: MUSICREC_CACHE=FOLDER$"
    with pytest.raises(ConfigError, match=line):
        SimilarTable("memory://bucket/similar")


def test_no_sidecar_far_away_and_no_such_place_are_refused(far):
    fs, _ = far
    fs.pipe("/bucket/similar/part-00000.parquet", b"")
    with pytest.raises(ConfigError, match="memory://bucket/similar is not a musicrec OUT"):
        SimilarTable("memory://bucket/similar")
    with pytest.raises(ConfigError, match="nowhere://bucket cannot hold tables"):
        SimilarTable("nowhere://bucket")


# --- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def lookup(out, capsys):
    """Run ``musicrec lookup``; exit code, output, complaint."""

    def run(*arguments, out=out):
        with pytest.raises(SystemExit) as e:
            main(["lookup", str(out), *map(str, arguments)])
        return e.value.code, *capsys.readouterr()

    return run


def test_text_shows_rank_song_genre_and_score(lookup, table):
    code, text, complaint = lookup("夜曲", "-n", 5, "--paths")
    assert (code, complaint) == (0, "")
    title, head, *lines = text.splitlines()
    assert title == "Similar songs to jazz/夜曲.ogg (jazz):"
    assert head.split() == ["rank", "song", "genre", "score"]
    found = [re.fullmatch(r" *(\d+)  (\S+) +(\w*) +(-?\d\.\d{3})", line).groups() for line in lines]
    assert found == [
        (str(s.rank), s.song.track_id, s.song.genre or "", f"{s.score:.3f}") for s in table.similar(IDS[2], 5)
    ]


def test_text_shows_artists_and_titles_where_there_are_any(lookup, table):
    _, text, _ = lookup(IDS[2], "-n", 50)
    heading, _, *lines = text.splitlines()
    assert heading == "Similar songs to 上原 – 夜の歌 (jazz):"
    names = {"Muddy – Hoochie", "Ärger im Großraum", "The B – Hymn, to nobody", "The B – Nocturne", "nocturne"}
    assert names <= {re.split(r"  +", line.strip())[1] for line in lines}


def test_words_that_one_song_has_are_enough_for_people_and_said(lookup):
    code, text, complaint = lookup("muddy hooch")
    assert (code, text.splitlines()[0]) == (0, "Similar songs to Muddy – Hoochie (blues):")
    assert complaint == f"musicrec: no song is called 'muddy hooch', but one has these words in its name: {IDS[0]}\n"
    assert lookup("muddy – Hoochie")[2] == ""  # as lists show it
    code, text, complaint = lookup("the b")
    assert (code, text) == (1, "")
    assert complaint.endswith(f"; its words are in: {IDS[3]}, {IDS[4]}\n")


@pytest.mark.parametrize("name", ["Muddy – One", "muddy - one", "Múddy One"])
def test_artist_and_title_as_lists_show_them_are_a_song_though_others_have_the_words_too(name):
    songs = pa.table(
        {
            "track_id": ["one/01 Muddy.wav", "one/02 Muddy.wav", "three"],
            "artist": ["Muddy", "Muddy", None],
            "title": ["One", "One more", "Muddy one"],
        }
    )
    rows = with_words(name, songs)
    assert rows == [0, 1, 2]
    assert in_full(name, songs, rows[:2]) == [0]
    assert in_full("muddy", songs, rows) == []


@pytest.mark.parametrize("form", ["--json", "--csv"])
def test_programs_get_no_song_that_they_did_not_name(lookup, tmp_path, form):
    (tmp_path / "names.txt").write_text("muddy hooch")
    assert lookup("muddy hooch", form)[:2] == (1, "")
    assert lookup("--file", tmp_path / "names.txt")[:2] == (1, "")


@pytest.mark.parametrize("row", [1, 2, 3])
def test_json_holds_what_the_table_holds(lookup, table, row):
    code, text, complaint = lookup(IDS[row], "-n", 100, "--json")
    assert (code, complaint) == (0, "")

    def line(similar):
        song = similar.song._asdict()
        return {"rank": similar.rank, "similar_track_id": song.pop("track_id"), **song, "score": similar.score}

    similar = [line(s) for s in table.similar(IDS[row], 100)]
    assert json.loads(text) == {"song": SONGS[row]._asdict(), "similar": similar}
    assert "\\u" not in text


def test_ten_songs_are_shown_unless_asked_otherwise(lookup):
    assert len(lookup(IDS[0])[1].splitlines()) == 2 + min(10, len(SONGS) - 1)
    assert len(lookup(IDS[0], "-n", 1)[1].splitlines()) == 2 + 1


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [("rock/antem.mp3", 1, "the closest names are"), ("anthem", 1, "2 songs are called"), ("broken", 1, "not_audio")],
)
def test_an_unknown_track_is_one_line_and_exit_code_1(lookup, name, code, said):
    found, text, complaint = lookup(name)
    assert (found, text) == (code, "")
    assert re.fullmatch(r"musicrec: .+\n", complaint)
    assert said in complaint


def test_several_songs_are_one_list_and_those_missing_are_named_at_the_end(lookup, table, tmp_path):
    (tmp_path / "ids.txt").write_text(f"{IDS[2]}\n\nnobody\r\n{IDS[0]}\n", encoding="utf-8")
    arguments = ("anthem.mp3", "broken", "--file", tmp_path / "ids.txt", "-n", 3)
    songs = [IDS[5], IDS[2], IDS[0]]
    code, text, complaint = lookup(*arguments, "--paths")
    assert code == 1
    assert re.findall(r"^Similar songs to (\S+)", text, re.MULTILINE) == songs
    assert [line.split(" ", 1)[0] for line in complaint.splitlines()] == ["musicrec:"] * 2
    assert [said in line for said, line in zip(("not_audio", "nobody"), complaint.splitlines(), strict=True)]
    code, text, _ = lookup(*arguments, "--json")
    assert code == 1
    assert [found["song"]["track_id"] for found in json.loads(text)] == songs
    assert [line["similar_track_id"] for line in json.loads(text)[0]["similar"]] == [
        s.song.track_id for s in table.similar(songs[0], 3)
    ]
    code, text, _ = lookup(*arguments, "--csv")
    assert code == 1
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [
        (line["track_id"], int(line["rank"]), line["similar_track_id"], line["title"], float(line["score"]))
        for line in lines
    ] == [(t, s.rank, s.song.track_id, s.song.title or "", s.score) for t in songs for s in table.similar(t, 3)]


def test_a_file_of_one_song_gives_a_list_of_one_and_a_file_that_is_none_is_exit_code_2(lookup, tmp_path):
    (tmp_path / "ids.txt").write_text(IDS[0])
    code, text, _ = lookup("--file", tmp_path / "ids.txt", "--json")
    assert (code, len(json.loads(text))) == (0, 1)
    (tmp_path / "ids.txt").write_bytes(b"\xff\xfe")
    for name in ("ids.txt", "nowhere.txt"):
        code, text, complaint = lookup("--file", tmp_path / name)
        assert (code, text) == (2, "")
        assert name in complaint


def test_a_missing_out_is_exit_code_2_and_a_missing_table_1(lookup, tmp_path):
    assert lookup("x", out=tmp_path / "nowhere")[0] == 2
    code, _, complaint = lookup("x", out=small_out(tmp_path).out)
    assert code == 1
    assert "has no similar yet" in complaint


# --- starting -----------------------------------------------------------------------------------------------------

HEAVY = {"ray", "tensorflow", "keras", "sklearn", "pandas", "librosa", "scipy", "numba", "matplotlib"}
LOADED = """
import sys
from musicrec.cli import main
try:
    main(sys.argv[1:])
finally:
    sys.stderr.write(" ".join({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.thorough
@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["lookup", "OUT", "夜曲"]],
)
def test_help_and_lookup_load_no_heavy_library(out, arguments):
    command = [sys.executable, "-c", LOADED, *arguments]
    ended = subprocess.run(command, cwd=out.parent, capture_output=True, text=True, check=True)
    assert ended.stdout
    loaded = set(ended.stderr.split())
    assert "musicrec" in loaded
    assert not HEAVY & loaded
