"""Which song of the catalog a listen is of: what they have in common, what counts first, and what is too far apart."""

import random
import string

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from listening_files import NAMES, isrc, mbid, tracks, uri
from musicrec.schemas import TRACKS
from musicrec.stages.histories import song_matching
from musicrec.stages.histories.listens import LISTENS
from musicrec.stages.histories.name_forms import artist_forms, path_form, plain, title_form
from musicrec.stages.histories.near_names import likeness
from musicrec.stages.histories.song_matching import By, Songs

UNKNOWN = "ffffffff-0000-4000-8000-000000000000"


def match(*listens, catalog=None, min_likeness=90.0):
    """What each listen is matched with, and by what."""
    songs = Songs(tracks() if catalog is None else catalog, min_likeness)
    found = songs.match(pa.Table.from_pylist(list(listens), LISTENS))
    return [(row, list(By)[by].value) if row >= 0 else None for row, by in zip(*found, strict=True)]


def named(artist, title):
    return {"artist": artist, "title": title}


def catalog_of(*rows):
    return pa.Table.from_pylist([{"track_id": f"s{i}"} | row for i, row in enumerate(rows)], TRACKS)


# --- the order of what counts -------------------------------------------------------------------------------------


def test_the_surest_that_a_listen_says_of_its_song_counts():
    said = {
        "track_id": "song-000",
        "recording_mbid": mbid(1),
        "mapped_mbid": mbid(2),
        "isrc": isrc(3),
        **named(*NAMES[4]),
        "uri": uri(5),
    }
    expected = [(0, "track_id"), (1, "recording_mbid"), (2, "recording_mbid"), (3, "isrc"), (4, "names"), (5, "place")]
    listens = []
    for name in ("", "track_id", "recording_mbid", "mapped_mbid", "isrc", "artist"):
        said.pop(name, None)
        listens.append(dict(said))
    assert match(*listens) == expected


def test_what_the_catalog_does_not_know_does_not_stop_the_next_way():
    said = {"track_id": "x", "recording_mbid": UNKNOWN, "mapped_mbid": "no id", "isrc": "x", "uri": "/x"}
    assert match(said | named(*NAMES[4]), said) == [(4, "names"), None]


def test_a_place_counts_before_names_that_are_only_nearly_the_same():
    near = named("Fay", "Beautifull Weather")
    assert match(near, near | {"uri": uri(0)}) == [(6, "near_names"), (0, "place")]


def test_ids_are_known_in_any_spelling():
    assert match(
        {"recording_mbid": f"https://musicbrainz.org/recording/{mbid(10 % 8).upper()}"},
        {"isrc": "gb-aye-00 00003"},
        {"uri": "file:///music/Ada%20Lovelace/00%20Engine%20Song.mp3"},
    ) == [(2, "recording_mbid"), (3, "isrc"), (0, "place")]


def test_of_several_songs_that_fit_the_first_by_id_is_meant():
    same = {"artist": "Ada", "title": "X", "isrc": "A", "recording_mbid": mbid(1)}
    catalog = catalog_of(same, same | {"uri": "/1"}, same)
    assert match(named("Ada", "X"), {"isrc": "A"}, {"recording_mbid": mbid(1)}, {"uri": "/1"}, catalog=catalog) == [
        (0, "names"), (0, "isrc"), (0, "recording_mbid"), (1, "place"),
    ]  # fmt: skip


def test_a_whole_credit_counts_before_one_of_its_names():
    catalog = catalog_of(named("Wind & Fire", "September"), named("Wind", "September"))
    assert match(named("Wind", "September"), named("Fire", "September"), catalog=catalog) == [
        (1, "names"),
        (0, "names"),
    ]


def test_listens_that_give_ids_alone_are_matched_as_others_are():
    ids = ["song-003", "x", None, "song-000"]
    alone = match(*({"track_id": track_id} for track_id in ids))
    beside = match(*({"track_id": track_id} for track_id in ids), named(*NAMES[4]))[:-1]
    assert alone == beside == [(3, "track_id"), None, None, (0, "track_id")]


def test_what_is_remembered_is_bounded_and_changes_nothing(monkeypatch):
    listens = [named(*NAMES[i % 8]) | {"uri": f"/x/{i % 50}"} for i in range(200)]
    expected = match(*listens)
    monkeypatch.setattr(song_matching, "KEPT", 7)
    songs = Songs(tracks(), 90)
    found = songs.match(pa.Table.from_pylist(listens, LISTENS))
    assert [row for row, _ in expected] == found.rows.tolist()
    assert len(songs._known) <= 7


# --- names --------------------------------------------------------------------------------------------------------

SAME = [
    (("ADA LOVELACE", "engine song"), 0),
    (("Ada  Lovelace", "Engine Song - Remastered 2011"), 0),
    (("Ada Lovelace", "Engine Song (2009 Digital Remaster)"), 0),
    (("Ada Lovelace", "Engine Song [Album Version]"), 0),
    (("Ada Lovelace feat. Ben", "Engine Song (feat. Ben)"), 0),
    (("Ada Lovelace", "Engine Song ft. Ben"), 0),
    (("Ada Lovelace", "Engine-Song!"), 0),
    (("BELA", "Night Train"), 1),
    (("Béla and Cid", "Night Train"), 1),
    (("Cid", "Night train"), 1),
    (("Dots", "Symphony No 5"), 2),
    (("Ezra", "夜の歌"), 4),
    (("Gus", "Wires"), 7),
    (("Gus ft. Hal", "Wires (with Hal)"), 7),
]


@pytest.mark.parametrize(("names", "song"), SAME)
def test_names_are_equal_but_for_case_accents_punctuation_guests_and_remasters(names, song):
    assert match(named(*names), min_likeness=100) == [(song, "names")]


OTHERS = [
    ("Ada Lovelace", "Engine Song (Live)"),
    ("Ada Lovelace", "Engine Song (Live, Remastered 2011)"),
    ("Ada Lovelace", "Engine Song (Ben Remix)"),
    ("Ada Lovelace", "Engine Song 2"),
    ("Ada Lovelace", "Engine"),
    ("The Dots", "Symphony No. 7"),
    ("The Dots", "Symphony No. 56"),
    ("Ada Loveless", "Engine Song"),
    ("Ezra", "昼の歌"),
    ("Nobody", "Wires"),
    ("Ada Lovelace", ""),
    ("", "Engine Song"),
]


@pytest.mark.parametrize("names", OTHERS)
def test_other_recordings_and_other_numbers_are_other_songs(names):
    assert match(named(*names)) == [None]


NEAR = [
    (("Ada Lovelace", "Engines Song"), 0),
    (("Ada Lovelacce", "Engine Song"), 0),
    (("Fay", "Beautifull Wether"), 6),
    (("Ada Lovelance", "Slow Mornning"), 3),
]


@pytest.mark.parametrize(("names", "song"), NEAR)
def test_a_slip_of_the_pen_is_forgiven_down_to_the_likeness_asked_for(names, song):
    assert match(named(*names)) == [(song, "near_names")]
    assert match(named(*names), min_likeness=100) == [None]


def test_the_most_similar_name_is_taken_and_of_equals_the_first():
    titles = ["Beautiful Weathering", "Beautifulll Weatherr", "Beautiful Weatherr"]
    catalog = catalog_of(*(named("Fay", title) for title in titles))
    assert match(named("Fay", "Beautiful Weather"), catalog=catalog) == [(2, "near_names")]
    catalog = catalog_of(named("Fay", "Weatherx"), named("Fay", "Weathery"))
    assert match(named("Fay", "Weather"), catalog=catalog) == [(0, "near_names")]


def test_an_artist_who_is_known_is_no_other_of_nearly_that_name():
    catalog = catalog_of(named("Longlonglong", "Title"), named("Longlonglongs", "Titlee"))
    assert match(named("Longlonglong", "Titlee"), catalog=catalog) == [(0, "near_names")]


def slow_likeness(a, b):
    """Of the word that differs most: twice its longest common subsequence by both lengths."""
    if len(a.split()) != len(b.split()):
        return 0.0
    return min((like(x, y) for x, y in zip(a.split(), b.split(), strict=True)), default=0.0)


def like(x, y):
    if x == y:
        return 100.0
    if not (x.isalpha() and y.isalpha()):
        return 0.0
    rows = [[0] * (len(y) + 1)]
    for letter in x:
        row = [0]
        for j, other in enumerate(y):
            row.append(rows[-1][j] + 1 if letter == other else max(row[-1], rows[-1][j + 1]))
        rows.append(row)
    return 200.0 * rows[-1][-1] / (len(x) + len(y))


WORDS = st.lists(st.text("abc1", min_size=1, max_size=6), min_size=1, max_size=3).map(" ".join)


@pytest.mark.thorough
@given(WORDS, WORDS)
def test_likeness_is_that_of_the_least_similar_word(a, b):
    assert likeness(a, b) == pytest.approx(slow_likeness(a, b))
    assert likeness(a, b, 90) == pytest.approx(slow_likeness(a, b) if slow_likeness(a, b) >= 90 else 0)


@pytest.mark.thorough
def test_near_names_are_those_of_a_search_among_all_songs():
    rng = random.Random(0)

    def slip(text):
        at = rng.randrange(len(text))
        return text[:at] + rng.choice(string.ascii_lowercase) + text[at:]

    songs = [
        ("".join(rng.choices("abcde", k=6)) + " band", "".join(rng.choices("abcde", k=8)) + " song") for _ in range(60)
    ]
    songs = list(dict.fromkeys(songs))
    asked = [(slip(a) if rng.random() < 0.5 else a, slip(t)) for a, t in rng.choices(songs, k=80)]
    found = match(*(named(*names) for names in asked), catalog=catalog_of(*(named(*names) for names in songs)))
    for (artist, title), of_listen in zip(asked, found, strict=True):
        exact = {plain(a) for a, _ in songs} & {plain(artist)}
        scores = [
            min(slow_likeness(plain(artist), plain(a)), slow_likeness(plain(title), plain(t)))
            if not exact or plain(artist) == plain(a)
            else 0
            for a, t in songs
        ]
        best = max(range(len(songs)), key=lambda i: (scores[i], -i))
        assert (of_listen and of_listen[0]) == (best if scores[best] >= 90 else None)


@pytest.mark.thorough
@given(st.text(max_size=12))
@example("¯:")  # a mark without a letter, once the space before it has gone
@example("Ǽ")  # an accent on a letter that is written as two
def test_forms_of_any_text_are_stable_and_never_empty(text):
    for form in (plain, title_form):
        assert bool(form(text)) == bool(text.strip())
        assert plain(form(text)) == form(text)
    assert all(artist_forms(text))
    assert path_form(path_form(text)) == path_form(text)
