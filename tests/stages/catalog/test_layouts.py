"""Layouts of collections: every file is a track or is ignored for a reason, under an id that travels with it."""

import os
import unicodedata
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf
from PIL import Image

from musicrec.errors import CatalogError
from musicrec.stages.catalog import layouts

FMA_TRACKS = """\
,album,album,artist,artist,set,set,track,track,track,track
,comments,title,id,name,split,subset,bit_rate,genre_top,genres,title
track_id,,,,,,,,,,
2,0,AWOL - A Way Of Life,1,AWOL,training,small,256000,Hip-Hop,[21],Food
5,0,"Niris, live",6,Nicky Cook,validation,medium,256000,,"[76, 103]",Été
10,0,,6,Kurt Vile,test,small,192000,Pop,[10],
"""


def song(path: Path, audio_format: str = "WAV") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as f:
        sf.write(f, np.zeros(2_000), 8_000, format=audio_format)
    return path


def songs(source: Path, *names: str) -> Path:
    for name in names:
        song(source / name)
    return source


def listed(source: Path, kind: str = "auto", out: Path = Path("nowhere")) -> layouts.Listing:
    return layouts.list_source(source, kind, exclude=out)


def ids(source: Path, kind: str = "auto", **options) -> list[str]:
    return [track.track_id for track in listed(source, kind, **options).tracks]


def facts(listing: layouts.Listing) -> dict[str, dict]:
    return {track.track_id: track.facts for track in listing.tracks}


# --- folders ----------------------------------------------------------------------------------------------------


def test_the_top_folder_is_the_genre_and_songs_at_the_root_have_none(tmp_path):
    listing = listed(songs(tmp_path, "rock/a.wav", "rock/live/1999/b.wav", "k-pop/c.wav", "d.wav"))
    assert listing.kind == "folder"
    assert facts(listing) == {
        "d.wav": {},
        "k-pop/c.wav": {"genre": "k-pop"},
        "rock/a.wav": {"genre": "rock"},
        "rock/live/1999/b.wav": {"genre": "rock"},
    }
    assert {track.track_id: track.path for track in listing.tracks}["rock/a.wav"] == tmp_path / "rock/a.wav"
    assert listing.ignored == []


def test_equal_names_in_different_folders_are_different_tracks(tmp_path):
    assert ids(songs(tmp_path, "rock/intro.wav", "pop/intro.wav")) == ["pop/intro.wav", "rock/intro.wav"]


def test_other_files_are_ignored_with_a_reason(tmp_path):
    songs(tmp_path, "rock/a.wav", "rock/._a.wav", ".hidden.mp3")
    for name in ("cover.jpg", "rock/notes.txt", "rock/empty"):
        (tmp_path / name).write_text("words" if name != "rock/empty" else "")
    listing = listed(tmp_path)
    assert [track.track_id for track in listing.tracks] == ["rock/a.wav"]
    assert sorted(listing.ignored) == [
        (".hidden.mp3", "hidden"),
        ("cover.jpg", "not_audio"),
        ("rock/._a.wav", "hidden"),
        ("rock/empty", "not_audio"),
        ("rock/notes.txt", "not_audio"),
    ]


@pytest.mark.parametrize("audio_format", ["MP3", "FLAC", "OGG", "WAV", "AIFF", "AU", "RF64"])
def test_audio_with_a_strange_extension_is_found_by_its_first_bytes(tmp_path, audio_format):
    song(tmp_path / "song.xyz", audio_format)
    song(tmp_path / "without-extension", audio_format)
    assert ids(tmp_path) == ["song.xyz", "without-extension"]


@pytest.mark.parametrize(
    ("container", "codec"),
    [("ipod", "aac"), ("mov", "aac"), ("matroska", "flac"), ("webm", "libopus"), ("asf", "wmav2")],
)
def test_what_only_ffmpeg_reads_is_found_by_its_first_bytes_too(tmp_path, container, codec):
    with av.open(tmp_path / "song", "w", format=container) as file:
        stream = file.add_stream(codec, rate=48_000, layout="mono")
        stream.bit_rate = 128_000
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), format="flt", layout="mono")
        frame.sample_rate, frame.pts = 48_000, 0
        file.mux([*stream.encode(frame), *stream.encode(None)])
    assert ids(tmp_path) == ["song"]


@pytest.mark.parametrize("picture", ["WEBP", "AVIF", "JPEG", "PNG"])
def test_a_cover_is_no_song_even_in_a_container_that_songs_have(tmp_path, picture):
    songs(tmp_path, "a.wav")
    with (tmp_path / "cover").open("wb") as f:
        Image.new("RGB", (16, 16)).save(f, picture)
    assert listed(tmp_path).ignored == [("cover", "not_audio")]


def test_whatever_soundfile_decodes_is_found(data):
    def decodes(path: Path) -> bool:
        try:
            return sf.info(path).frames > 0
        except sf.LibsndfileError:
            return False

    found = {track.path for track in listed(data / "odd").tracks}
    assert {path for path in data.glob("odd/*/*") if decodes(path)} <= found
    assert not [name for name in ids(data) if name.endswith((".csv", ".txt", ".md"))]


def test_extensions_in_capitals_are_audio_even_if_the_file_is_broken(tmp_path):
    songs(tmp_path, "a.wav")
    (tmp_path / "EMPTY.MP3").touch()
    assert ids(tmp_path) == ["EMPTY.MP3", "a.wav"]


# --- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Séculaire/Nÿme – saru.wav", "日本/音楽.wav", "한국/노래.wav"])
def test_composed_and_decomposed_names_give_the_same_id(tmp_path, name):
    composed, decomposed = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    for folder, spelling in (("one", composed), ("other", decomposed)):
        listing = listed(songs(tmp_path / folder, spelling))
        assert facts(listing) == {composed: {"genre": composed.split("/")[0]}}
        assert listing.tracks[0].path.exists()


def test_composed_and_decomposed_names_side_by_side_are_two_tracks(tmp_path):
    if len({*songs(tmp_path, "\u00e9.wav", "e\u0301.wav").iterdir()}) == 1:
        pytest.skip("this file system does not tell composed from decomposed names")
    assert len(set(ids(tmp_path))) == 2


def test_names_that_are_no_text_have_ids_and_uris_that_are(tmp_path):
    source = songs(tmp_path, os.fsdecode(b"rock/caf\xe9.wav"), "rock/caf%E9.wav", "rock/plain.wav")
    listing = listed(source)
    names = [track.track_id for track in listing.tracks]
    assert len(set(names)) == 3
    assert {"rock/caf%E9.wav", "rock/plain.wav"} <= set(names)
    for track in listing.tracks:
        assert track.facts == {"genre": "rock"}
        (track.track_id + layouts.uri_of(track.path)).encode()
    uris = [layouts.uri_of(track.path) for track in listing.tracks]
    assert sorted(uri.startswith("file:///") for uri in uris) == [False, False, True]


@pytest.mark.parametrize(
    "names",
    [
        ["rock/a.wav", os.fsdecode(b"caf\xe9/\xff.wav"), "e\u0301.wav", "pop/live/b.wav"],
        ["blues/blues.00000.wav", "blues/blues.00001.wav", "x/blues.00001.wav"],
    ],
)
def test_ids_do_not_depend_on_the_mount_point(tmp_path, names):
    before = ids(songs(tmp_path / "here", *names))
    (tmp_path / "on" / "some").mkdir(parents=True)
    (tmp_path / "here").rename(tmp_path / "on" / "some" / os.fsdecode(b"d\xefsk"))
    assert ids(tmp_path / "on" / "some" / os.fsdecode(b"d\xefsk")) == before
    assert len(set(before)) == len(names)


def test_tracks_come_in_order_of_their_ids(tmp_path):
    names = ids(songs(tmp_path, "b/z.wav", "a/y.wav", "B/x.wav", "a.wav"))
    assert names == sorted(names)


# --- links and OUT ----------------------------------------------------------------------------------------------


def test_loops_of_links_end(tmp_path):
    songs(tmp_path, "rock/a.wav", "rock/live/b.wav")
    (tmp_path / "rock/live/up").symlink_to(tmp_path)
    (tmp_path / "rock/self").symlink_to(tmp_path / "rock/self")
    (tmp_path / "rock/here").symlink_to(".")
    assert ids(tmp_path) == ["rock/a.wav", "rock/live/b.wav"]


def test_linked_folders_and_files_are_followed(tmp_path):
    songs(tmp_path / "elsewhere", "b.wav")
    songs(tmp_path / "songs", "a.wav")
    (tmp_path / "songs/rock").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "songs/c.wav").symlink_to(tmp_path / "elsewhere/b.wav")
    assert ids(tmp_path / "songs") == ["a.wav", "c.wav", "rock/b.wav"]


def test_a_folder_with_a_link_beside_it_is_entered_once(tmp_path):
    songs(tmp_path, "rock/a.wav")
    (tmp_path / "same").symlink_to("rock")
    assert len(ids(tmp_path)) == 1


def test_out_inside_the_source_is_not_searched(tmp_path):
    songs(tmp_path, "rock/a.wav", "out/report/b.wav")
    (tmp_path / "link-to-out").symlink_to("out")
    assert ids(tmp_path, out=tmp_path / "out") == ["rock/a.wav"]
    assert len(ids(tmp_path)) == 2


# --- GTZAN ------------------------------------------------------------------------------------------------------


def test_gtzan_names_are_ids(tmp_path):
    listing = listed(songs(tmp_path, "genres/blues/blues.00000.wav", "genres/rock/rock.00099.au"))
    assert listing.kind == "gtzan"
    assert facts(listing) == {"blues.00000": {"genre": "blues"}, "rock.00099": {"genre": "rock"}}


def test_two_files_of_one_gtzan_id_have_their_paths_as_ids(tmp_path):
    listing = listed(songs(tmp_path, "blues/blues.00000.wav", "blues/blues.00000.au", "blues/blues.00001.wav"))
    assert [t.track_id for t in listing.tracks] == ["blues.00001", "blues/blues.00000.au", "blues/blues.00000.wav"]
    assert {t.facts["genre"] for t in listing.tracks} == {"blues"}


def test_other_names_among_gtzans_are_listed_by_their_path(tmp_path):
    source = songs(tmp_path, "blues/blues.00000.wav", "pop/my own.wav")
    assert listed(source).kind == "folder"
    assert facts(listed(source, "gtzan")) == {"blues.00000": {"genre": "blues"}, "pop/my own.wav": {"genre": "pop"}}


def test_real_gtzan_is_listed_as_its_own_table_lists_it(data):
    table = pd.read_csv(data / "gtzan.csv")
    table = table[table["path"].str.startswith("gtzan/")]
    listing = listed(data / "gtzan")
    assert listing.kind == "gtzan"
    assert {t.track_id: t.facts["genre"] for t in listing.tracks} == dict(
        zip(table["path"].map(lambda path: Path(path).stem), table["genre"], strict=True)
    )


# --- FMA --------------------------------------------------------------------------------------------------------


def fma(source: Path, tracks_csv: str = FMA_TRACKS) -> Path:
    songs(source, "fma_small/000/000002.mp3", "fma_small/000/000005.mp3", "fma_small/000/000010.mp3")
    (source / "fma_metadata").mkdir()
    (source / "fma_metadata/tracks.csv").write_text(tracks_csv, encoding="utf-8")
    return source


def test_fma_has_its_official_names_genres_and_split(tmp_path):
    listing = listed(fma(tmp_path))
    assert listing.kind == "fma"
    assert listing.ignored == [("fma_metadata/tracks.csv", "not_audio")]
    columns = ("title", "artist", "artist_id", "album", "genre", "split")
    assert facts(listing) == {
        "000002": dict(zip(columns, ("Food", "AWOL", "1", "AWOL - A Way Of Life", "Hip-Hop", "training"), strict=True)),
        "000005": dict(zip(columns, ("Été", "Nicky Cook", "6", "Niris, live", None, "validation"), strict=True)),
        "000010": dict(zip(columns, (None, "Kurt Vile", "6", None, "Pop", "test"), strict=True)),
    }


def test_an_fma_song_without_a_row_is_listed_by_its_path(tmp_path):
    songs(fma(tmp_path), "fma_small/000/000011.mp3")
    found = facts(listed(tmp_path))
    assert set(found) == {"000002", "000005", "000010", "fma_small/000/000011.mp3"}
    assert not any(found["fma_small/000/000011.mp3"].values())


def test_fma_names_without_the_table_are_folders(tmp_path):
    assert listed(songs(tmp_path, "000/000002.mp3")).kind == "folder"
    with pytest.raises(CatalogError, match=r"no tracks\.csv"):
        listed(tmp_path, "fma")


@pytest.mark.parametrize(
    "tracks_csv",
    ["", "track_id,title\n2,Food\n", FMA_TRACKS.replace("\n5,", "\nfive,"), FMA_TRACKS.replace("\n5,", "\n2,")],
    ids=["empty", "one header row", "an id that is no number", "an id twice"],
)
def test_a_tracks_csv_that_is_not_fmas_is_a_catalog_error(tmp_path, tracks_csv):
    with pytest.raises(CatalogError, match=r"tracks\.csv"):
        listed(fma(tmp_path, tracks_csv), "fma")


# --- manifests --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["manifest.csv", "manifest.parquet"])
def manifest(request, tmp_path):
    """Write a manifest in one of its formats."""
    path = tmp_path / "lists" / request.param
    path.parent.mkdir()

    def write(**columns) -> Path:
        table = pd.DataFrame(columns)
        table.to_csv(path, index=False) if path.suffix == ".csv" else table.to_parquet(path)
        return path

    return write


def test_a_manifest_names_songs_and_what_is_known_of_them(tmp_path, manifest):
    absolute = song(tmp_path / "d.wav")
    file = manifest(
        path=["a.wav", "rock/e\u0301.wav", "../c.wav", str(absolute)],
        genre=["pop", None, " rock ", "jazz"],
        title=["A", "É", "", "D"],
        recording=["s1", "s1", None, " "],
        colour=["red"] * 4,
    )
    listing = listed(file)
    assert (listing.kind, listing.ignored) == ("manifest", [])
    assert facts(listing) == {
        "a.wav": {"genre": "pop", "title": "A", "recording": "s1"},
        "rock/\u00e9.wav": {"genre": None, "title": "É", "recording": "s1"},
        "../c.wav": {"genre": "rock", "title": None, "recording": None},
        str(absolute): {"genre": "jazz", "title": "D", "recording": None},
    }
    paths = {track.track_id: track.path for track in listing.tracks}
    assert paths["a.wav"] == tmp_path / "lists/a.wav"
    assert paths["../c.wav"] == tmp_path / "c.wav"
    assert paths[str(absolute)] == absolute


def test_ids_of_a_manifest_that_are_integers_stay_what_they_are(tmp_path):
    """Also beside a missing one, for which pandas makes floats of all: two of these ids are then one."""
    ids_ = [9007199254740993, None, 9007199254740992, 7]
    rows = pa.table({"path": [f"{i}.wav" for i in range(4)], "track_id": pa.array(ids_, pa.int64())})
    pq.write_table(rows, tmp_path / "songs.parquet")
    tracks = {track.path.name: track.track_id for track in listed(tmp_path / "songs.parquet").tracks}
    assert tracks == {"0.wav": "9007199254740993", "1.wav": "1.wav", "2.wav": "9007199254740992", "3.wav": "7"}


@pytest.mark.parametrize(("last", "expected"), [(12.0, "12"), (1.5, "1.5")])
def test_ids_that_pandas_made_floats_of_are_integers_again_where_that_is_certain(tmp_path, last, expected):
    rows = pd.DataFrame({"path": ["a.wav", "b.wav"], "track_id": [last, np.nan]})
    rows.to_parquet(tmp_path / "songs.parquet")
    assert ids(tmp_path / "songs.parquet") == [expected, "b.wav"]
    rows.assign(track_id=[2.0**53, np.nan]).to_parquet(tmp_path / "songs.parquet")
    with pytest.raises(CatalogError, match=r"column 'track_id' holds floats .* beyond 2\^53.*; write it as text"):
        listed(tmp_path / "songs.parquet")


def test_headers_of_a_manifest_are_known_however_they_are_spelled(manifest, capsys):
    file = manifest(**{" Path ": ["a.wav"], "Track ID": ["one"], "ARTIST-ID": ["7"], "BPM": ["99"], "mood ": ["blue"]})
    assert facts(listed(file)) == {"one": {"artist_id": "7"}}
    assert capsys.readouterr().err == f"musicrec: manifest {file}: columns that are not used: 'BPM', 'mood '\n"


def test_a_byte_order_mark_is_no_part_of_a_header(tmp_path):
    (tmp_path / "songs.csv").write_bytes("\ufeffpath,title\na.wav,A\n".encode())
    assert facts(listed(tmp_path / "songs.csv")) == {"a.wav": {"title": "A"}}


def test_two_columns_of_one_name_are_refused(tmp_path):
    for headers, told in (("path,genre,Genre", r"\['genre', 'Genre'\]"), ("path,path,genre", r"\['path', 'path'\]")):
        (tmp_path / "songs.csv").write_text(f"{headers}\na.wav,rock,pop\n")
        with pytest.raises(CatalogError, match=f"2 columns '.*' .{told}.; keep one of them"):
            listed(tmp_path / "songs.csv")


def test_a_column_of_lists_is_refused(tmp_path):
    pq.write_table(pa.table({"path": ["a.wav"], "genre": [["rock", "pop"]]}), tmp_path / "songs.parquet")
    with pytest.raises(CatalogError, match=r"column .genre. holds list.*; expected text or numbers"):
        listed(tmp_path / "songs.parquet")


def test_a_manifest_may_name_the_ids_itself(manifest):
    assert ids(manifest(path=["b.wav", "a.wav", "c.wav"], track_id=["007", "x y", None])) == ["007", "c.wav", "x y"]


def test_a_song_twice_in_a_manifest_is_two_tracks(manifest):
    assert len(set(ids(manifest(path=["a.wav", "a.wav", "b.wav"])))) == 3


def test_ids_of_a_manifest_do_not_depend_on_the_mount_point(tmp_path, manifest):
    file = manifest(path=["a.wav", "../b.wav"])
    before = ids(file)
    file.parent.rename(tmp_path / "moved")
    assert ids(tmp_path / "moved" / file.name) == before


def test_a_manifest_without_paths_is_a_catalog_error(manifest):
    with pytest.raises(CatalogError, match="no column 'path'"):
        listed(manifest(file=["a.wav"]))


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.parquet"])
@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n\x00\xff"])
def test_a_manifest_that_cannot_be_read_is_a_catalog_error(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CatalogError, match=name) as e:
        listed(tmp_path / name)
    assert len(str(e.value).splitlines()) == 1


def test_a_manifest_row_without_a_path_is_a_catalog_error(manifest):
    with pytest.raises(CatalogError):
        listed(manifest(path=["a.wav", None], genre=["rock", "pop"]))


def test_ids_are_unique_whatever_they_are(manifest):
    assert len(set(ids(manifest(path=["a.wav", "a.wav", "b.wav"], track_id=["x", "x", "x#2"])))) == 3


def test_a_manifest_may_hold_file_uris(tmp_path, manifest):
    path = song(tmp_path / "a b.wav")
    assert [track.path for track in listed(manifest(path=[path.as_uri()])).tracks] == [path]
    with pytest.raises(CatalogError, match="row 1: songs cannot be read from ftp://host"):
        listed(manifest(path=["ftp://host/a.wav"]))


def test_a_manifest_may_hold_songs_that_are_elsewhere(tmp_path, manifest):
    there = ["https://host/music//e\u0301.mp3?part=2", "s3://bucket/a b.flac", "HTTP://host/c.ogg"]
    listing = listed(manifest(uri=[*there, None, "d.wav"], path=["ignored.wav", None, None, "e.wav", None]))
    found = {track.track_id: (track.path, track.uri) for track in listing.tracks}
    folder = tmp_path / "lists"
    assert found == {
        "https://host/music//\u00e9.mp3?part=2": (None, there[0]),
        there[1]: (None, there[1]),
        there[2]: (None, there[2]),
        "d.wav": (folder / "d.wav", str(folder / "d.wav")),
        "e.wav": (folder / "e.wav", str(folder / "e.wav")),
    }


def test_a_song_elsewhere_may_have_an_id_and_stand_twice(manifest):
    uri = "s3://bucket/a.wav"
    assert ids(manifest(uri=[uri, uri, uri], track_id=["7", None, None])) == ["7", uri, f"{uri}#2"]


# --- errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("missing", "auto", "does not exist"),
        ("empty", "auto", "holds no audio"),
        ("texts", "auto", r"holds no audio \(2 other files\)"),
        ("texts", "gtzan", "holds no audio"),
        ("song.wav", "folder", "--kind folder expects a folder"),
        ("song.wav", "gtzan", "--kind gtzan expects a folder"),
        ("texts", "manifest", "--kind manifest expects a CSV or Parquet file"),
        ("song.wav", "auto", r"song\.wav is a song; give the folder that holds the songs, /"),
        ("song.wav", "manifest", r"song\.wav is a song"),
    ],
)
def test_what_is_no_source_is_a_catalog_error(tmp_path, source, kind, message):
    song(tmp_path / "song.wav")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    for name in ("a.txt", "b.md"):
        (tmp_path / "texts" / name).write_text("words")
    with pytest.raises(CatalogError, match=message):
        listed(tmp_path / source, kind)
