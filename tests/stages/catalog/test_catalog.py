"""The catalog stage: a row a song, nothing read twice, nothing lost."""

import hashlib
import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import soundfile as sf

from musicrec.errors import CatalogError, ConfigError
from musicrec.settings import CatalogSettings
from musicrec.stages.catalog.stage import catalog
from musicrec.store.store import Store


def song(path: Path, seconds: float = 0.5, seed: int = 0, **tags: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.random.default_rng(seed).normal(size=round(seconds * 22_050))
    with path.open("wb") as f, sf.SoundFile(f, "w", 22_050, 1, format=path.suffix[1:].upper() or "WAV") as file:
        for name, text in tags.items():
            setattr(file, name, text)
        file.write(samples)
    return path


@pytest.fixture
def source(tmp_path) -> Path:
    """Three songs of two genres, one without, and a text."""
    folder = tmp_path / "songs"
    for i, name in enumerate(("rock/a.wav", "rock/b.flac", "k-pop/c.ogg", "d.mp3")):
        song(folder / name, seed=i)
    (folder / "rock/notes.txt").write_text("words")
    return folder


def run(store: Store, source: Path, kind: str = "auto", **options):
    return catalog(store, CatalogSettings(source=str(source), kind=kind), **options)


def table(store: Store, name: str = "tracks") -> pd.DataFrame:
    return pd.read_parquet(store.out / name).set_index("track_id")


def content_hash(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def version(store: Store) -> Path:
    return store.path("tracks")


# --- rows -------------------------------------------------------------------------------------------------------


def test_each_song_has_its_row(store, source):
    counts = run(store, source)
    tracks = table(store)
    assert list(tracks.index) == ["d.mp3", "k-pop/c.ogg", "rock/a.wav", "rock/b.flac"]
    assert tracks["genre"].fillna("none").to_dict() == {
        "d.mp3": "none",
        "k-pop/c.ogg": "k-pop",
        "rock/a.wav": "rock",
        "rock/b.flac": "rock",
    }
    for track_id, row in tracks.iterrows():
        path = source / track_id
        assert row["uri"] == str(path)
        assert row["content_hash"] == content_hash(path)
        assert (row["size_bytes"], row["modified_ns"]) == (path.stat().st_size, path.stat().st_mtime_ns)
        assert row["title"] == path.stem
        assert row["duration_s"] == pytest.approx(0.5, abs=0.1)  # an mp3 has whole frames
    assert tracks[["artist", "artist_id", "album", "split"]].isna().all(axis=None)
    assert (counts.ok, counts.skipped, counts.failed, counts.fresh) == (4, 1, 0, 4)


def test_outcomes_are_the_tracks_and_the_ignored_files(store, source):
    run(store, source)
    outcomes = table(store, "outcomes")
    assert set(outcomes["stage"]) == {"catalog"}
    assert outcomes["status"].to_dict() == {**dict.fromkeys(table(store).index, "ok"), "rock/notes.txt": "skipped"}
    assert outcomes.loc["rock/notes.txt", "reason"] == "not_audio"
    assert outcomes.loc[table(store).index, "reason"].isna().all()


@pytest.mark.parametrize(
    ("suffix", "title", "artist", "album"),
    [
        ("flac", "Été", "Nÿme & Söhne", "L'Année"),
        ("ogg", "夏", "Nÿme", "日本"),
        ("mp3", "Summer", "Nyme", "The Year"),  # libsndfile writes only ASCII as ID3 wants it
        ("wav", "Summer", "Nyme", "The Year"),
    ],
)
def test_tags_are_read(*, tmp_path, store, suffix, title, artist, album):
    song(tmp_path / f"songs/x.{suffix}", title=title, artist=artist, album=album, seconds=2)
    run(store, tmp_path / "songs")
    row = table(store).iloc[0]
    assert (row["title"], row["artist"], row["album"]) == (title, artist, album)
    assert row["artist_id"] == artist.lower()
    assert row["duration_s"] == pytest.approx(2, abs=0.1)


def test_equal_artists_in_other_capitals_have_one_id(tmp_path, store):
    for i, artist in enumerate(("ABBA", "Abba", " abba ")):
        song(tmp_path / f"songs/{i}.flac", artist=artist)
    run(store, tmp_path / "songs")
    assert set(table(store)["artist_id"]) == {"abba"}


def test_the_source_knows_better_than_the_tags(tmp_path, store):
    song(tmp_path / "a.flac", title="wrong", artist="wrong", genre="wrong", album="Album")
    (tmp_path / "m.csv").write_text("path,title,artist,genre,split\na.flac,Title,Artist,jazz,test\n")
    run(store, tmp_path / "m.csv")
    row = table(store).loc["a.flac"]
    assert (row["title"], row["artist"], row["genre"], row["split"]) == ("Title", "Artist", "jazz", "test")
    assert (row["artist_id"], row["album"]) == ("artist", "Album")


def test_the_genre_tag_counts_where_no_folder_says(tmp_path, store):
    song(tmp_path / "songs/a.flac", genre="Blues")
    song(tmp_path / "songs/rock/b.flac", genre="Blues")
    run(store, tmp_path / "songs")
    assert table(store)["genre"].to_dict() == {"a.flac": "Blues", "rock/b.flac": "rock"}


def test_clips_of_one_song_share_its_recording(tmp_path, store, source):
    for name in ("a", "b", "c"):
        song(tmp_path / f"{name}.wav")
    run(store, manifest(tmp_path, "path,recording\na.wav,one\nb.wav,one\nc.wav,\n"))
    assert table(store)["recording"].fillna("none").to_dict() == {"a.wav": "one", "b.wav": "one", "c.wav": "none"}
    run(store, source, force=True)
    assert table(store)["recording"].isna().all()


def test_real_files_however_odd_have_their_rows(data, store):
    run(store, data / "odd")
    tracks = table(store)
    files = {p for p in (data / "odd").rglob("*") if p.is_file()}
    assert set(table(store, "outcomes").index) == {p.relative_to(data / "odd").as_posix() for p in files}
    assert tracks["content_hash"].to_dict() == {i: content_hash(data / "odd" / i) for i in tracks.index}
    assert tracks["title"].str.len().min() > 0
    assert tracks["duration_s"].dropna().between(0, 7 * 24 * 3600).all()


def test_real_gtzan_has_the_genres_of_its_own_table(data, store):
    run(store, data / "gtzan")
    expected = pd.read_csv(data / "gtzan.csv").query("path.str.startswith('gtzan/')").set_index("parent")
    tracks = table(store)
    assert tracks["genre"].to_dict() == expected["genre"].to_dict()
    claimed = tracks.loc[expected.index, "duration_s"]
    np.testing.assert_allclose(claimed, expected["seconds"], atol=0.01)


def test_a_broken_link_has_a_row_without_a_hash(store, source):
    (source / "rock/gone.mp3").symlink_to("nowhere.mp3")
    counts = run(store, source)
    assert counts.ok == 5
    assert table(store)["content_hash"].isna().to_dict()["rock/gone.mp3"]
    assert table(store).loc["rock/gone.mp3", "genre"] == "rock"


# --- what is and what is no text --------------------------------------------------------------------------------


def test_names_that_are_no_text_stand_in_the_table(store, source):
    song(source / "jazz" / "x.wav").rename(source / "jazz" / os.fsdecode(b"caf\xe9.wav"))
    (source / os.fsdecode(b"\xff.txt")).write_text("words")
    assert run(store, source).ok == 5
    row = table(store).query("genre == 'jazz'").iloc[0]
    assert row["uri"].startswith("file:///")
    assert row["title"].startswith("caf")


def test_a_broken_link_whose_name_is_no_text_has_a_row(store, source):
    (source / os.fsdecode(b"caf\xe9.mp3")).symlink_to("nowhere.mp3")
    assert run(store, source).ok == 5


@pytest.mark.parametrize("names", [["a.00000"], ["\u00e9.txt", "e\u0301.txt"]], ids=["a track's id", "NFC and NFD"])
def test_ignored_files_of_any_name_are_counted(tmp_path, store, names):
    song(tmp_path / "songs/a/a.00000.wav")
    for name in names:
        (tmp_path / "songs" / name).write_text("words")
    assert run(store, tmp_path / "songs").skipped == len(names)


# --- the second time --------------------------------------------------------------------------------------------


def test_other_bytes_behind_the_same_size_and_time_are_noticed(store, source):
    run(store, source)
    path = next((source / "rock").glob("*.wav"))
    stat = path.stat()
    path.write_bytes(bytes(stat.st_size))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert run(store, source).fresh == 1


def test_nothing_is_read_or_published_the_second_time(store, source, monkeypatch):
    run(store, source)
    before, tracks = version(store), table(store)
    for reader in ("_content_hash", "read_tags"):
        monkeypatch.setattr(f"musicrec.stages.catalog.stage.{reader}", lambda path: pytest.fail(f"{path} was read"))
    counts = run(store, source)
    assert counts.fresh == 0
    assert counts.total == 5
    assert version(store) == before
    pd.testing.assert_frame_equal(table(store), tracks)


def test_changed_removed_and_added_files_are_noticed(store, source):
    run(store, source)
    before, old = version(store), table(store)
    song(source / "rock/a.wav", seconds=1, seed=9)
    (source / "d.mp3").unlink()
    song(source / "jazz/new.wav", seed=8)
    counts = run(store, source)
    tracks = table(store)
    assert counts.fresh == 2
    assert version(store) != before
    assert list(tracks.index) == ["jazz/new.wav", "k-pop/c.ogg", "rock/a.wav", "rock/b.flac"]
    assert tracks.loc["rock/a.wav", "content_hash"] == content_hash(source / "rock/a.wav")
    assert tracks.loc["rock/a.wav", "duration_s"] == pytest.approx(1)
    kept = ["k-pop/c.ogg", "rock/b.flac"]
    pd.testing.assert_frame_equal(tracks.loc[kept], old.loc[kept])
    assert set(table(store, "outcomes").index) == {*tracks.index, "rock/notes.txt"}


def test_a_file_that_was_only_touched_is_read_again(store, source):
    run(store, source)
    os.utime(source / "rock/a.wav", ns=(1, 1))
    assert run(store, source).fresh == 1


def test_the_spelling_of_a_genre_is_that_of_a_new_catalog(tmp_path, store):
    """Songs that go, and were most, take their spelling with them, although no other song is read again."""
    source = tmp_path / "songs"
    for i, genre in enumerate(("Hip-Hop", "hip hop", "hip hop", "Jazz")):
        song(source / f"{i}.flac", genre=genre, artist="Ada", seed=i)
    run(store, source)
    assert table(store)["genre"].tolist() == ["hip hop"] * 3 + ["Jazz"]
    for i in (1, 2):
        (source / f"{i}.flac").unlink()
    assert run(store, source).fresh == 0
    assert table(store)["genre"].tolist() == ["Hip-Hop", "Jazz"]
    fresh = Store(tmp_path / "fresh")
    fresh.create()
    run(fresh, source)
    assert store.read("tracks").equals(fresh.read("tracks"))


def test_other_separators_are_another_reading_of_the_same_songs(tmp_path, store):
    song(tmp_path / "songs/a.flac", artist="Ada feat. Ben")
    run(store, tmp_path / "songs")
    assert table(store)["artist_ids"].map(list).tolist() == [["ada feat. ben"]]
    settings = CatalogSettings(source=str(tmp_path / "songs"), artist_separators=("feat.",))
    with pytest.raises(ConfigError, match="artist_separators"):
        catalog(store, settings)
    assert catalog(store, settings, force=True).fresh == 0
    assert table(store)["artist_ids"].map(list).tolist() == [["ada", "ben"]]


def test_songs_without_an_artist_are_counted(source, store):
    assert str(run(store, source)).endswith("(4 read now); 4 songs have no artist")
    song(source / "d.flac", artist="Ada")
    assert str(run(store, source)).endswith("(1 read now); 4 songs have no artist")


def manifest(tmp_path: Path, text: str) -> Path:
    (tmp_path / "m.csv").write_text(text)
    return tmp_path / "m.csv"


def test_what_a_manifest_says_anew_is_taken_without_reading_the_song(tmp_path, store):
    song(tmp_path / "a.wav")
    run(store, manifest(tmp_path, "path,genre\na.wav,rock\n"))
    assert run(store, manifest(tmp_path, "path,genre,title\na.wav,pop,A\n")).fresh == 0
    assert tuple(table(store).loc["a.wav", ["genre", "title"]]) == ("pop", "A")


@pytest.mark.parametrize(
    ("before", "after", "column", "expected"),
    [
        ("artist\na.wav,Abba", "artist\na.wav,Bach", "artist_id", "bach"),
        ("genre\na.wav,pop", "genre\na.wav,", "genre", None),
    ],
)
def test_a_changed_manifest_leaves_nothing_of_the_one_before(*, tmp_path, store, before, after, column, expected):
    song(tmp_path / "a.wav")
    for text in (before, after):
        run(store, manifest(tmp_path, f"path,{text}\n"))
    value = table(store).loc["a.wav", column]
    assert (None if pd.isna(value) else value) == expected


# --- songs elsewhere --------------------------------------------------------------------------------------------


class Served(SimpleHTTPRequestHandler):
    """Serves a folder; `broken` names answer 503, and an ETag is sent if `etag` is set."""

    broken: frozenset[str] = frozenset()
    etag: str | None = None

    def send_head(self):
        if self.path.partition("?")[0] in self.broken:
            return self.send_error(503)
        return super().send_head()

    def end_headers(self):
        if self.etag:
            self.send_header("ETag", self.etag)
        super().end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    """A web server over ``tmp_path/there``; address, and the class whose attributes say how it answers."""
    (tmp_path / "there").mkdir()
    handler = type("Handler", (Served,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=tmp_path / "there"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()


def songs_elsewhere(tmp_path: Path, *uris: str) -> Path:
    file = tmp_path / "m.csv"
    file.write_text("uri,genre,artist\n" + "".join(f"{uri},rock,Abba\n" for uri in uris))
    return file


def outcome(store: Store, track_id: str) -> tuple[str, str | None]:
    row = table(store, "outcomes").loc[track_id]
    return row["status"], None if pd.isna(row["reason"]) else row["reason"]


def test_a_song_elsewhere_is_listed_by_what_its_server_says(tmp_path, store, server):
    address, _ = server
    path = song(tmp_path / "there/Été à Nÿme.wav")
    uri = f"{address}/%C3%89t%C3%A9%20%C3%A0%20N%C3%BFme.wav?token=secret"
    counts = run(store, songs_elsewhere(tmp_path, uri))
    assert (counts.ok, counts.failed, counts.fresh) == (1, 0, 1)
    row = table(store).loc[uri]
    assert (row["uri"], row["size_bytes"], row["genre"]) == (uri, path.stat().st_size, "rock")
    assert (row["title"], row["artist"], row["artist_id"]) == ("Été à Nÿme", "Abba", "abba")
    assert len(row["content_hash"]) == 32
    before = version(store)
    assert run(store, tmp_path / "m.csv").fresh == 0
    assert version(store) == before


@pytest.mark.thorough
def test_another_version_elsewhere_has_another_hash(tmp_path, store, server):
    address, handler = server
    path = song(tmp_path / "there/a.wav")
    uri = f"{address}/a.wav"
    songs_elsewhere(tmp_path, uri)
    hashes = []

    def look():
        counts = run(store, tmp_path / "m.csv")
        hashes.append(table(store).loc[uri, "content_hash"])
        assert counts.fresh == (hashes[-1] not in hashes[:-1])

    look()
    os.utime(path, (1, 1))  # Last-Modified
    look()
    handler.etag = '"1"'
    look()
    os.utime(path, (2, 2))  # of a server that sends an ETag, only that counts
    look()
    handler.etag = '"2"'
    look()
    path.write_bytes(path.read_bytes() + b"more")  # an ETag that stays though the size changes is not believed
    look()
    assert [hashes.index(h) for h in hashes] == [0, 1, 2, 2, 4, 5]


def test_songs_that_cannot_be_reached_have_a_row_and_a_reason(tmp_path, store, server):
    address, handler = server
    handler.broken = frozenset({"/broken.wav"})
    for name in ("here", "broken"):
        song(tmp_path / f"there/{name}.wav")
    uris = [f"{address}/{name}.wav?key=secret" for name in ("here", "gone", "broken")]
    uris.append("http://127.0.0.1:1/refused.wav")
    counts = run(store, songs_elsewhere(tmp_path, *uris))
    assert (counts.ok, counts.failed, counts.total) == (1, 3, 4)
    assert [outcome(store, uri) for uri in uris] == [
        ("ok", None),
        ("failed", "missing"),
        ("failed", "unreadable"),
        ("failed", "unreadable"),
    ]
    details = table(store, "outcomes").loc[uris[1:], "detail"]
    assert details.str.contains("404|503|Connector").all()
    assert not details.str.contains("secret").any()
    assert table(store).loc[uris, "content_hash"].isna().tolist() == [False, True, True, True]


def test_what_was_known_of_a_song_holds_while_its_server_is_down_but_not_once_it_is_gone(tmp_path, store, server):
    address, handler = server
    path = song(tmp_path / "there/a.wav")
    uri = f"{address}/a.wav"
    run(store, songs_elsewhere(tmp_path, uri))
    known = table(store)
    handler.broken = frozenset({"/a.wav"})
    assert run(store, tmp_path / "m.csv").failed == 1
    assert outcome(store, uri) == ("failed", "unreadable")
    pd.testing.assert_frame_equal(table(store), known)
    handler.broken = frozenset()
    path.unlink()
    run(store, tmp_path / "m.csv")
    assert outcome(store, uri) == ("failed", "missing")
    assert pd.isna(table(store).loc[uri, "content_hash"])


# --- refusals ---------------------------------------------------------------------------------------------------


def test_another_source_needs_force(tmp_path, store, source):
    run(store, source)
    tracks = table(store)
    song(tmp_path / "others/pop/x.wav")
    with pytest.raises(ConfigError, match="--force"):
        run(store, tmp_path / "others")
    pd.testing.assert_frame_equal(table(store), tracks)
    run(store, tmp_path / "others", force=True)
    assert list(table(store).index) == ["pop/x.wav"]
    assert run(store, tmp_path / "others").fresh == 0


def test_a_source_that_vanished_leaves_the_catalog_as_it_was(store, source):
    run(store, source)
    tracks = table(store)
    source.rename(source.with_name("moved"))
    with pytest.raises(CatalogError, match="does not exist"):
        run(store, source)
    pd.testing.assert_frame_equal(table(store), tracks)


@pytest.mark.parametrize("out", ["a file", "a file/out", "strangers"])
def test_an_out_that_cannot_be_one_is_refused(tmp_path, out):
    (tmp_path / "a file").write_text("words")
    (tmp_path / "strangers").mkdir()
    (tmp_path / "strangers" / "thesis.doc").write_text("words")
    with pytest.raises(ConfigError, match=out.split("/", maxsplit=1)[0]):
        Store(tmp_path / out).create()
    assert (tmp_path / "strangers" / "thesis.doc").read_text() == "words"


def test_out_may_lie_inside_the_source(source):
    store = Store(source / "out")
    store.create()
    assert run(store, source).total == 5
    assert run(store, source).total == 5


@pytest.mark.parametrize("change", ["column", "code"])
def test_what_an_older_musicrec_did_not_read_is_read_now_though_no_file_has_changed(
    store, tmp_path, monkeypatch, change
):
    folder = tmp_path / "tagged"
    song(folder / "rock/a.flac", album="First")
    run(store, folder)
    tracks = store.read("tracks")
    without = (
        tracks.drop_columns("album")
        if change == "column"
        else tracks.set_column(tracks.schema.get_field_index("album"), "album", pa.nulls(1, pa.string()))
    )
    with monkeypatch.context() as older:
        older.setattr(CatalogSettings, "code_version", 0 if change == "code" else 1)
        older_version = store.new_version(
            "tracks", CatalogSettings(source=str(folder)), "f" * 16, kind="folder", columns=["genre"]
        )
    older_version.write_part(without)
    store.publish(older_version)
    assert run(store, folder).fresh == 0  # the file itself is not read again
    assert table(store)["album"].to_list() == ["First"]
    made = version(store)
    run(store, folder)
    assert version(store) == made
