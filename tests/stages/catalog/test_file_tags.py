"""Tags of every format: files made byte by byte as the formats' texts say, or by FFmpeg, and what they must give."""

from pathlib import Path

import av
import pytest

from musicrec.settings import CatalogSettings
from musicrec.stages.catalog.file_tags.columns import columns_of
from musicrec.stages.catalog.file_tags.id3 import OLD_NAMES, WANTED
from musicrec.stages.catalog.file_tags.read import read_tags
from musicrec.stages.catalog.file_tags.text import GENRES, genres_of, name_key
from musicrec.stages.catalog.stage import catalog
from musicrec.store.store import Store
from tagged_files import (
    aiff,
    ape,
    asf,
    atom,
    be,
    chunk,
    element,
    flac,
    frame,
    id3,
    id3v1,
    info,
    item,
    le,
    m4a,
    matroska,
    mp3,
    music,
    ogg_opus,
    page,
    simple_tags,
    synchsafe,
    text_frame,
    vorbis_comment,
    w64,
    wav,
)

TWO = [("ARTIST", "Ada"), ("ARTIST", "Ben & Söhne")]
RECORDING, TRACK, ALBUM = (f"{n}2345678-1234-4234-8234-1234567890ab" for n in "abc")


def columns(path: Path, separators=(), **facts):
    return columns_of(read_tags(path), facts, path.stem, separators)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


# --- several artists ----------------------------------------------------------------------------------------------

BOTH = "Ada", "Ben & Söhne"
SEVERAL = {
    "flac": lambda p: flac(p, TWO),
    "ogg with opus": lambda p: ogg_opus(p, TWO),
    **{
        f"ID3v2.4, encoding {e}": lambda p, e=e: mp3(p, id3(text_frame("TPE1", *BOTH, encoding=e)))
        for e in (0, 1, 2, 3)
    },
    **{
        f"ID3v2.3, encoding {e}": lambda p, e=e: mp3(
            p, id3(text_frame("TPE1", *BOTH, version=3, encoding=e), version=3)
        )
        for e in (0, 1)
    },
    "ID3v2.2": lambda p: mp3(p, id3(text_frame("TP1", *BOTH, version=2, encoding=1), version=2)),
    "ID3v2.3 with a slash": lambda p: mp3(p, id3(text_frame("TPE1", "/".join(BOTH), version=3, encoding=1), version=3)),
    "the frame of MusicBrainz in ID3v2.3": lambda p: mp3(
        p,
        id3(
            text_frame("TXXX", "Artists", "Ada/Ben & Söhne", version=3, encoding=1),
            text_frame("TPE1", "Ada with Ben & Söhne", version=3, encoding=1),
            version=3,
        ),
    ),
    "two TPE1": lambda p: mp3(p, id3(text_frame("TPE1", BOTH[0]), text_frame("TPE1", BOTH[1]))),
    "ID3v2.3 unsynchronised": lambda p: mp3(
        p, id3(text_frame("TPE1", *BOTH, version=3, encoding=1), version=3, flags=0x80)
    ),
    "the frame of MusicBrainz": lambda p: mp3(
        p, id3(text_frame("TPE1", "Ada feat. Ben & Söhne"), text_frame("TXXX", "ARTISTS", *BOTH))
    ),
    "the comment of MusicBrainz": lambda p: flac(
        p, [("Artist", "Ada feat. Ben & Söhne"), ("Artists", BOTH[0]), ("Artists", BOTH[1])]
    ),
    "mp4 with two texts": lambda p: m4a(p, item("©ART", *BOTH)),
    "mp4 with two items": lambda p: m4a(p, item("©ART", BOTH[0]), item("©ART", BOTH[1])),
    "the mp4 item of MusicBrainz": lambda p: m4a(p, item("©ART", "Ada + Ben & Söhne"), item("----:ARTISTS", *BOTH)),
    "APEv2": lambda p: written(p, b"MAC " + bytes(200) + ape([("Artist", t) for t in BOTH])),
    "APEv2 after mp3": lambda p: mp3(p, after=ape([("Artist", t) for t in BOTH])),
    "APEv2 before ID3v1": lambda p: mp3(p, after=ape([("ARTIST", t) for t in BOTH]) + id3v1(artist=b"Ada")),
    "wav with ID3": lambda p: wav(p, info(IART="Ada"), chunk(b"id3 ", id3(text_frame("TPE1", *BOTH)))),
    "aiff with ID3": lambda p: aiff(p, chunk(b"ID3 ", id3(text_frame("TPE1", *BOTH)), ">")),
    "Windows Media": lambda p: asf(p, "Ada", library=[("Author", BOTH[1])]),
    "the attribute of MusicBrainz in Windows Media": lambda p: asf(
        p, "Ada feat. Ben & Söhne", library=[("WM/ARTISTS", text) for text in BOTH]
    ),
    "Matroska": lambda p: matroska(p, simple_tags(TWO)),
    "two tags of Matroska": lambda p: matroska(p, *(simple_tags([pair]) for pair in TWO)),
}


@pytest.mark.parametrize("how", SEVERAL)
def test_all_artists_are_kept(tmp_path, how):
    found = columns(SEVERAL[how](tmp_path / "x"))
    assert found["artist_ids"] == ["ada", "ben & söhne"]
    assert found["artist_id"] == "ada"
    assert "Ada" in found["artist"]
    assert "Ben & Söhne" in found["artist"]


@pytest.mark.parametrize(
    ("credit", "separators", "ids"),
    [
        ("Ada feat. Ben", (), ["ada feat. ben"]),
        ("Ada feat. Ben", ("feat.",), ["ada", "ben"]),
        ("Ada (Feat. Ben)", ("feat.",), ["ada", "ben"]),
        ("Ada; Ben;Cem", (";",), ["ada", "ben", "cem"]),
        ("AC/DC", (), ["ac dc"]),
        ("AC/DC", ("/",), ["ac", "dc"]),
        ("Ada ft.Ben", ("ft.",), ["ada", "ben"]),
        ("Andrea & Ben", ("and", "&"), ["andrea", "ben"]),
        ("feat.", ("feat.",), ["feat."]),
    ],
)
def test_a_credit_is_split_where_a_setting_says_so(tmp_path, credit, separators, ids):
    assert columns(flac(tmp_path / "x", [("ARTIST", credit)]), separators)["artist_ids"] == ids
    assert columns(tmp_path / "x", separators, artist=credit)["artist_ids"] == ids


@pytest.mark.parametrize(("name", "version"), [("AC/DC", 3), ("Ada/Ben", 4), ("w/o Ada", 3)])
def test_not_every_slash_is_between_artists(tmp_path, name, version):
    """That of ID3v2.3 is (id3.org/id3v2.3.0, TPE1), but not in names that have one."""
    path = mp3(tmp_path / "x", id3(text_frame("TPE1", name, version=version, encoding=0), version=version))
    assert columns(path)["artist"] == name
    assert columns(path)["artist_ids"] == [name.lower().replace("/", " ")]


def test_the_source_knows_the_artist_better(tmp_path):
    path = flac(tmp_path / "x", TWO)
    assert columns(path, artist="Cem")["artist_ids"] == ["cem"]
    assert columns(path, artist="Cem", artist_id="7")["artist_ids"] == ["7"]
    assert columns(path, artist=None)["artist_ids"] == []


# --- every format -------------------------------------------------------------------------------------------------

FIELDS = [("TITLE", "A Song"), ("ARTIST", "Ada"), ("ALBUM", "An Album"), ("GENRE", "Folk")]
APE_TAG = ape([(name.title(), text) for name, text in FIELDS])
ID3_TAG = id3(*(text_frame(n, t) for n, t in zip(("TIT2", "TPE1", "TALB", "TCON"), dict(FIELDS).values(), strict=True)))
INFO = dict(zip(("INAM", "IART", "IPRD", "IGNR"), dict(FIELDS).values(), strict=True))
CAF_INFO = be(len(FIELDS)) + b"".join(f"{name.lower()}\0{text}\0".encode() for name, text in FIELDS)
DSF_HEAD = b"DSD " + (28).to_bytes(8, "little") + bytes(8) + (128).to_bytes(8, "little")
AU_NOTE = "\n".join(f"{name.lower()}={text}" for name, text in FIELDS).encode() + b"\0"
TEXT_ATOMS = [
    atom(n, len(t).to_bytes(2, "big"), bytes([0x15, 0xC7]), t.encode())
    for n, t in zip(("©nam", "©ART", "©alb", "©gen"), dict(FIELDS).values(), strict=True)
]
KEYS = atom("keys", be(0), be(4), *(atom("mdta", f"com.apple.quicktime.{name.lower()}".encode()) for name, _ in FIELDS))
KEYED = atom("ilst", *(atom(be(i), atom("data", be(1), be(0), t.encode())) for i, (_, t) in enumerate(FIELDS, start=1)))
FORMATS = {
    "wv": lambda p: written(p, music("wv", p).read_bytes() + APE_TAG),
    "ape": lambda p: written(p, b"MAC " + bytes(100) + APE_TAG),
    "mpc 8": lambda p: written(p, b"MPCK" + bytes(100) + APE_TAG),
    "mpc 7": lambda p: written(p, b"MP+\x07" + bytes(100) + APE_TAG),
    "tak": lambda p: written(p, b"tBaK" + bytes(100) + APE_TAG),
    "ofr": lambda p: written(p, b"OFR " + bytes(100) + APE_TAG),
    "tta with ID3v2": lambda p: written(p, ID3_TAG + music("tta", p).read_bytes()),
    "tta with APEv2": lambda p: written(p, music("tta", p).read_bytes() + APE_TAG),
    "mp3 with APEv2": lambda p: mp3(p, after=APE_TAG),
    "mp3 with a bare APEv2": lambda p: mp3(p, after=ape([(n.title(), t) for n, t in FIELDS], header=False)),
    "mp3 with APEv1": lambda p: mp3(p, after=ape([(n.title(), t) for n, t in FIELDS], 1000, header=False)),
    "mp3 with ID3v1": lambda p: mp3(p, after=id3v1(b"A Song", b"Ada", b"An Album", 80)),
    "ape with ID3v2": lambda p: written(p, ID3_TAG + b"MAC " + bytes(100)),
    "aac with ID3v2": lambda p: written(p, ID3_TAG + music("adts", p).read_bytes()),
    "flac after ID3v2": lambda p: written(p, ID3_TAG + music("flac", p).read_bytes()),
    "dsf": lambda p: written(p, DSF_HEAD + bytes(100) + ID3_TAG),
    "au": lambda p: written(
        p, b".snd" + b"".join(map(be, (24 + len(AU_NOTE), 8000, 3, 8000, 1))) + AU_NOTE + bytes(8000)
    ),
    "caf": lambda p: written(p, music("caf", p).read_bytes()[:8] + b"info" + bytes(4) + be(len(CAF_INFO)) + CAF_INFO),
    "w64": lambda p: w64(p, list(INFO.items())),
    "wav with INFO": lambda p: wav(p, info(**INFO)),
    "wav with ID3": lambda p: wav(p, chunk(b"id3 ", ID3_TAG)),
    "aiff with ID3": lambda p: aiff(p, chunk(b"ID3 ", ID3_TAG, ">")),
    "mka": lambda p: matroska(p, simple_tags(FIELDS)),
    "mka with two levels": lambda p: matroska(
        p,
        simple_tags([("TITLE", "An Album"), ("ARTIST", "Various")], element(0x68CA, b"\x32")),
        simple_tags([("TITLE", "A Song"), ("ARTIST", "Ada"), ("GENRE", "Folk")], element(0x68CA, b"\x1e")),
        simple_tags([("TITLE", "A Chapter")], element(0x63C4, b"\x07")),
    ),
    "wma": lambda p: asf(p, "Ada", [("Title", "A Song"), ("WM/AlbumTitle", "An Album"), ("WM/Genre", "Folk")]),
    "m4a": lambda p: m4a(
        p, item("©nam", "A Song"), item("©ART", "Ada"), item("©alb", "An Album"), item("©gen", "Folk")
    ),
    "mov with texts": lambda p: written(p, atom("ftyp", b"qt  ") + atom("moov", atom("udta", *TEXT_ATOMS))),
    "mov with keys": lambda p: written(p, atom("moov", atom("meta", atom("hdlr", bytes(24)), KEYS, KEYED))),
    "oga with flac": lambda p: written(
        p,
        page(b"abcd", 0, [b"\x7fFLAC\1\0\0\1fLaC" + bytes(38)])
        + page(b"abcd", 1, [b"\x84\0\0\0" + vorbis_comment(FIELDS)]),
    ),
    "spx": lambda p: written(
        p, page(b"abcd", 0, [b"Speex   " + bytes(72)]) + page(b"abcd", 1, [vorbis_comment(FIELDS)])
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
def test_tags_of_every_format_are_read(tmp_path, form):
    found = columns(FORMATS[form](tmp_path / "x"))
    assert {name: found[name] for name in ("title", "artist", "album", "genre")} == {
        "title": "A Song", "artist": "Ada", "album": "An Album", "genre": "Folk",
    }  # fmt: skip


@pytest.mark.parametrize("form", ["mp3", "flac", "opus", "matroska", "webm", "mov", "ipod", "wav", "aiff", "caf",
                                  "au", "asf", "tta", "wv"])  # fmt: skip
def test_what_ffmpeg_writes_is_read_as_ffmpeg_reads_it(tmp_path, form):
    """An independent writer and reader of tags."""
    own = {"title": "A Söng", "artist": "Adä", "album": "An Älbum"}
    codec = {"asf": "wmav2", "au": "pcm_s16be", "aiff": "pcm_s16be"}.get(form)
    path = music(form, tmp_path / f"x.{form}", codec, **own)
    with av.open(path) as file:
        held = {**file.streams.audio[0].metadata, **file.metadata}
    expected = {name: text for key, text in held.items() if (name := key.lower()) in own}
    found = columns(path)
    assert {name: found[name] for name in expected} == expected
    assert len(expected) == 3 or form in ("tta", "aiff")  # where FFmpeg writes none, or not all


@pytest.mark.parametrize("form", FORMATS)
def test_damage_anywhere_does_no_harm(tmp_path, form):
    data = FORMATS[form](tmp_path / "x").read_bytes()
    for end in range(0, len(data), max(1, len(data) // 40)):
        read_tags(written(tmp_path / "cut", data[:end]))
    for place in range(0, len(data), max(1, len(data) // 60)):
        broken = data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]
        found = columns(written(tmp_path / "broken", broken))
        assert all("\0" not in text for text in found.values() if isinstance(text, str))


# --- albums -------------------------------------------------------------------------------------------------------


def album(path: Path, *more: tuple[str, str], artist: str = "Ada", name: str = "Hits") -> str:
    return columns(flac(path, [("ARTIST", artist), ("ALBUM", name), *more]))["album_id"]


def test_an_album_of_many_artists_is_one(tmp_path):
    six = {
        how: {album(tmp_path / "x", *more, artist=f"Artist {i}") for i in range(6)}
        for how, more in {
            "album artist": [("ALBUMARTIST", "Various Artists")],
            "with a space": [("ALBUM ARTIST", "various")],
            "flag": [("COMPILATION", "1")],
            "both": [("COMPILATION", "1"), ("ALBUMARTIST", "Various Artists")],
            "nothing": [],
        }.items()
    }
    assert {how: len(ids) for how, ids in six.items()} == {
        "album artist": 1, "with a space": 1, "flag": 1, "both": 1, "nothing": 6,
    }  # fmt: skip
    assert len(six["album artist"] | six["with a space"] | six["flag"] | six["both"]) == 1


def test_a_guest_leaves_a_song_on_its_album(tmp_path):
    own = album(tmp_path / "x")
    assert album(tmp_path / "x", ("ALBUMARTIST", "ADA"), artist="Ada feat. Ben", name="HITS") == own
    assert album(tmp_path / "x", ("ARTIST", "Ben")) == own
    assert album(tmp_path / "x", artist="Cem") != own
    assert album(tmp_path / "x", ("ALBUMARTIST", "Ada"), ("COMPILATION", "1"), artist="Cem") == own
    assert album(tmp_path / "x", ("COMPILATION", "0")) == own


@pytest.mark.parametrize(
    "made",
    [
        lambda p: mp3(p, id3(text_frame("TALB", "X"), text_frame("TPE1", "Ada"), text_frame("TCMP", "1"))),
        lambda p: mp3(
            p, id3(text_frame("TALB", "X"), text_frame("TPE1", "Ada"), text_frame("TPE2", "Various Artists"))
        ),
        lambda p: m4a(p, item("©alb", "X"), item("©ART", "Ada"), atom("cpil", atom("data", be(21), be(0), b"\1"))),
        lambda p: m4a(p, item("©alb", "X"), item("©ART", "Ada"), item("aART", "Various Artists")),
        lambda p: written(p, b"MAC " + ape([("Album", "X"), ("Artist", "Ada"), ("Compilation", "1")])),
        lambda p: written(p, b"MAC " + ape([("Album", "X"), ("Artist", "Ada"), ("Album Artist", "Various Artists")])),
        lambda p: matroska(p, simple_tags([("ALBUM", "X"), ("ARTIST", "Ada"), ("ALBUM_ARTIST", "Various Artists")])),
        lambda p: asf(p, "Ada", [("WM/AlbumTitle", "X"), ("WM/IsCompilation", "1")]),
        lambda p: flac(p, [("ALBUM", "X"), ("ARTIST", "Ada"), ("ALBUMARTIST", "V.A.")]),
    ],
)
def test_compilations_are_known_in_every_tag_system(tmp_path, made):
    assert columns(made(tmp_path / "x"))["album_id"] == "various artists/x"


# --- genres -------------------------------------------------------------------------------------------------------


def test_numbered_genres_are_ffmpegs(tmp_path):
    """FFmpeg has a list of its own."""
    data = mp3(tmp_path / "x.mp3").read_bytes()
    spellings = {"Psychadelic": "Psychedelic", "Bebob": "Bebop", "Afro-Punk": "Afro-Punk", "Negerpunk": "Afro-Punk"}
    for number in range(256):
        path = written(tmp_path / "x.mp3", data + id3v1(title=b"A", genre=number))
        with av.open(path) as file:
            theirs = file.metadata.get("genre")
        ours = columns(path)["genre"]
        if theirs and ours:
            assert name_key(ours) == name_key(spellings.get(theirs, theirs)), number
        else:
            assert (theirs, ours) == (None, None), number
    assert (len(GENRES), GENRES[139], GENRES[154], GENRES[191]) == (192, "Crossover", "Chillout", "Psybient")


@pytest.mark.parametrize(
    ("text", "genres"),
    [
        ("(17)", ["Rock"]),
        ("17", ["Rock"]),
        ("(17)(9)", ["Rock", "Metal"]),
        ("(17)/(9)", ["Rock", "Metal"]),
        ("(4)Eurodisco", ["Disco", "Eurodisco"]),
        ("(RX)Metal", ["Remix", "Metal"]),
        ("(CR)(9)", ["Cover", "Metal"]),
        ("RX", ["Remix"]),
        ("(255)", []),
        ("255", []),
        ("(255)Own", ["Own"]),
        ("(190)", ["Garage Rock"]),
        ("((I think", ["(I think"]),
        ("80s", ["80s"]),
        ("Rock/Pop", ["Rock/Pop"]),
        ("", []),
    ],
)
def test_genres_of_a_field(tmp_path, text, genres):
    assert genres_of(text) == genres
    if text:
        for version in (3, 4):
            path = mp3(tmp_path / "x", id3(text_frame("TCON", text, version=version, encoding=0), version=version))
            assert columns(path)["genres"] == genres
    path = mp3(tmp_path / "x", id3(text_frame("TCON", text, "(9)")))
    assert columns(path)["genres"] == list(dict.fromkeys([*genres, "Metal"]))


def test_a_remix_has_the_genre_beside_it(tmp_path):
    assert columns(mp3(tmp_path / "x", id3(text_frame("TCON", "(RX)Metal"))))["genre"] == "Metal"
    assert columns(mp3(tmp_path / "x", id3(text_frame("TCON", "RX"))))["genre"] is None


def test_a_genre_that_stands_twice_keeps_its_first_place_and_spelling(tmp_path):
    found = columns(mp3(tmp_path / "x", id3(text_frame("TCON", "17", "Own", "(RX)", "9", "rock", "ROCK"))))
    assert (found["genres"], found["genre"]) == (["Rock", "Own", "Remix", "Metal"], "Rock")


@pytest.mark.parametrize("number", [1, 18, 140, 155, 192])
def test_the_numbers_of_mp4_begin_with_one(tmp_path, number):
    path = m4a(tmp_path / "x", atom("gnre", atom("data", be(0), be(0), number.to_bytes(2, "big"))))
    assert columns(path)["genre"] == GENRES[number - 1]


def test_texts_of_id3v1_end_at_their_first_zero(tmp_path):
    found = columns(mp3(tmp_path / "x", after=id3v1(b"A Song\0junk", b"Ada\0\0x", b"\0An Album", 17)))
    assert (found["title"], found["artist_ids"], found["album"]) == ("A Song", ["ada"], None)


def test_names_that_are_written_in_other_ways_are_one_in_the_catalog(tmp_path):
    names = ["Beyoncé", "BEYONCÉ", "Beyonce\N{COMBINING ACUTE ACCENT}", " beyoncé "]
    genres = ["Hip-Hop", "hip hop", "HIP_HOP", "Hip-Hop"]
    albums = ["Rock - Live", "rock/live", "Rock Live", "ROCK \N{EN DASH} LIVE"]
    (tmp_path / "songs").mkdir()
    for i, texts in enumerate(zip(names, genres, albums, strict=True)):
        flac(tmp_path / f"songs/{i}.flac", list(zip(("ARTIST", "GENRE", "ALBUM"), texts, strict=True)))
    store = Store(tmp_path / "out")
    store.create()
    catalog(store, CatalogSettings(source=str(tmp_path / "songs")))
    tracks = store.read("tracks").to_pandas()
    assert tracks["artist_id"].nunique() == tracks["album_id"].nunique() == 1
    assert set(tracks["genre"]) == {"Hip-Hop"}  # as in most songs
    assert [list(own) for own in tracks["genres"]] == [[genre] for genre in genres]


# --- identifiers --------------------------------------------------------------------------------------------------

IDS = {"recording_mbid": RECORDING, "track_mbid": TRACK, "album_mbid": ALBUM, "isrc": "GBAYE6700001"}
NAMED = {
    "flac": lambda p: flac(
        p,
        [("musicbrainz_trackid", RECORDING), ("MUSICBRAINZ_RELEASETRACKID", TRACK), ("musicbrainz_albumid", ALBUM),
         ("ISRC", "gb-aye-67-00001")],
    ),
    "mp3": lambda p: mp3(
        p,
        id3(
            frame("UFID", b"http://www.id3.org/dummy.html\0x"),
            frame("UFID", b"http://musicbrainz.org\0" + RECORDING.encode()),
            text_frame("TXXX", "MusicBrainz Release Track Id", TRACK),
            text_frame("TXXX", "MusicBrainz Album Id", ALBUM),
            text_frame("TSRC", "GBAYE6700001"),
        ),
    ),
    "m4a": lambda p: m4a(
        p,
        item("----:MusicBrainz Track Id", RECORDING), item("----:MusicBrainz Release Track Id", TRACK),
        item("----:MusicBrainz Album Id", ALBUM), item("----:ISRC", "GBAYE6700001"),
    ),
    "ape": lambda p: written(
        p,
        b"MAC " + ape([("MUSICBRAINZ_TRACKID", RECORDING), ("MUSICBRAINZ_RELEASETRACKID", TRACK),
                       ("MUSICBRAINZ_ALBUMID", ALBUM), ("ISRC", "GBAYE6700001")]),
    ),
    "wma": lambda p: asf(
        p, "Ada", library=[("MusicBrainz/Track Id", RECORDING), ("MusicBrainz/Release Track Id", TRACK),
                           ("MusicBrainz/Album Id", ALBUM), ("WM/ISRC", "GB AYE 67 00001")],
    ),
    "mka": lambda p: matroska(
        p,
        simple_tags([("MUSICBRAINZ_TRACKID", RECORDING), ("MUSICBRAINZ_RELEASETRACKID", TRACK),
                     ("MUSICBRAINZ_ALBUMID", ALBUM), ("ISRC", "GBAYE6700001")]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", NAMED)
def test_identifiers_are_kept(tmp_path, form):
    found = columns(NAMED[form](tmp_path / "x"))
    assert {name: found[name] for name in IDS} == IDS


def test_what_is_no_identifier_is_none(tmp_path):
    found = columns(flac(tmp_path / "x", [("ISRC", "none"), ("musicbrainz_trackid", "?")]))
    assert [found[name] for name in IDS] == [None] * 4
    assert columns(wav(tmp_path / "x", info(ISRC="GBAYE6700001")))["isrc"] is None  # which is its source there


# --- odd tags -----------------------------------------------------------------------------------------------------


def test_frames_that_are_packed_or_wrongly_sized_are_read(tmp_path):
    import zlib

    text = b"\x03" + b"Ada" * 50
    packed = frame("TPE1", synchsafe(len(text)) + zlib.compress(text), flags=0x09)
    assert columns(mp3(tmp_path / "x", id3(packed)))["artist"] == "Ada" * 50
    encrypted = frame("TPE1", b"\x01secret", flags=0x04)
    assert columns(mp3(tmp_path / "x", id3(encrypted, text_frame("TALB", "X"))))["album"] == "X"
    plain = b"TPE1" + be(301) + b"\0\0" + b"\x03" + b"a" * 300  # as old versions of iTunes wrote it
    assert columns(mp3(tmp_path / "x", id3(plain, text_frame("TALB", "X"))))["album"] == "X"


def test_a_large_picture_is_stepped_over(tmp_path):
    picture = frame("APIC", bytes(200_000))
    found = columns(mp3(tmp_path / "x", id3(picture, text_frame("TPE1", "Ada"))))
    assert found["artist"] == "Ada"
    big = vorbis_comment([("METADATA_BLOCK_PICTURE", "A" * 90_000), ("ARTIST", "Ada")])
    path = flac(tmp_path / "x", [])
    data = path.read_bytes()
    written(path, data[:42] + b"\4" + len(big).to_bytes(3, "big") + big + data[42:])
    assert columns(path)["artist"] == "Ada"


def test_the_length_of_matroska_is_read(tmp_path):
    assert read_tags(matroska(tmp_path / "x", simple_tags(FIELDS))).duration_s == pytest.approx(2.5)


def test_the_length_of_windows_media_leaves_out_what_is_buffered(tmp_path):
    assert read_tags(asf(tmp_path / "x", "Ada")).duration_s == pytest.approx(2.0)


def test_a_cluster_of_unknown_length_is_looked_through(tmp_path):
    data = matroska(tmp_path / "x", simple_tags(FIELDS)).read_bytes()
    at = data.index(bytes.fromhex("1f43b675")) + 4
    path = written(tmp_path / "x", data[:at] + b"\x01" + b"\xff" * 7 + data[at + 8 :])
    assert columns(path)["artist"] == "Ada"


def test_lists_of_information_are_little_endian():
    assert info(IART="Ada")[:8] == b"LIST" + le(16)


def test_every_frame_that_is_read_has_a_name_of_version_2_2():
    assert set(OLD_NAMES.values()) == WANTED
