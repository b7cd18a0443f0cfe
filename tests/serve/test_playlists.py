"""The songs of a playlist are those that a plain computation finds, and the command writes them to a file."""

import json
import re
import shutil
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from musicrec.errors import ConfigError, UnknownTrack
from musicrec.schemas import RECOMMENDATIONS, RECORDINGS, TRACKS, tags_schema
from musicrec.serve.playlist_songs import Playlists
from musicrec.serve.sidecar import SIDECAR_COLUMNS
from musicrec.serve.table_writer import write_table
from musicrec.settings import CatalogSettings, PretrainedSettings, SimilarSettings
from musicrec.similarity import top_n
from musicrec.store.outcomes import outcomes_table
from musicrec.store.spaces import PublishedSpace, SpaceCard, publish_space
from musicrec.store.store import Store

N, GENRES = 60, ("jazz", "rock", None)
IDS = [f"song-{i:02d}" for i in range(N)]
ARTISTS = [f"artist {i % 20}" for i in range(N)]
VECTORS = np.random.default_rng(3).normal(size=(N, 6)).astype(np.float32)
UNIT = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
SPACE = PublishedSpace("own", "0123456789abcdef", 6, SpaceCard(model="own", weights="3f9a", licence="CC0-1.0"))
SCORES = np.random.default_rng(4).random((N, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Synthetic vectors of sixty songs by twenty artists; songs 7 and 8 are one recording; song 59 has no tags."""
    store = Store(tmp_path_factory.mktemp("playlists") / "out")
    store.create()
    songs = [
        {"track_id": t, "uri": f"/music/{t}.mp3", "title": f"Title {t}", "artist": a, "artist_id": a, "artist_ids": [a],
         "genre": GENRES[i % 3], "genres": [], "duration_s": 60.0 + i}
        for i, (t, a) in enumerate(zip(IDS, ARTISTS, strict=True))
    ]  # fmt: skip
    recordings = [{"track_id": t, "recording": "song-07" if t == "song-08" else t} for t in IDS]
    tags = pa.table([IDS[:-1], *SCORES[:-1].T], schema=tags_schema(["guitar", "slow"]))
    recommended = [
        {"user_id": user, "rank": rank, "track_id": IDS[song], "score": 1 / rank, "method": "max", "because": IDS[0]}
        for user, song, rank in (("ada", 5, 2), ("ada", 25, 1), ("ben", 6, 1), ("ada", 9, 3))
    ]
    settings = PretrainedSettings(model="own")
    for name, how, content in (
        ("tracks", CatalogSettings(source="/music"), pa.Table.from_pylist(songs, TRACKS)),
        ("recordings", settings, pa.Table.from_pylist(recordings, RECORDINGS)),
        ("tags/own", settings, tags),
        ("outcomes", settings, outcomes_table([])),
        ("recommendations", settings, pa.Table.from_pylist(recommended, RECOMMENDATIONS)),
    ):
        with store.new_version(name, how, "01234567", space=SPACE.lineage) as version:
            version.write_part(content)
            store.publish(version)
    store.settings.record(CatalogSettings(source="/music"))
    publish_space(store, settings, SPACE, pa.array(IDS), VECTORS, left_out=outcomes_table([]))
    with store.new_version("similar", SimilarSettings(n=5, space=("own",)), "01234567") as version:
        names = pa.Table.from_pylist(songs, TRACKS).select(SIDECAR_COLUMNS)
        write_table(version, names, *top_n(VECTORS, 5))
        store.publish(version)
    return store.out


@pytest.fixture
def playlists(out):
    return Playlists(out)


def rows(lines):
    return [IDS.index(line.song.track_id) for line in lines]


@pytest.mark.parametrize(("likes", "dislikes"), [([3], []), ([3, 11, 40], []), ([3, 11], [20, 21])])
def test_songs_are_like_the_liked_and_unlike_the_disliked(playlists, likes, dislikes):
    found = playlists.like([IDS[i] for i in likes], [IDS[i] for i in dislikes], 15)
    wanted = (UNIT @ UNIT[likes].T).mean(axis=1) - ((UNIT @ UNIT[dislikes].T).mean(axis=1) if dislikes else 0)
    best = [i for i in np.argsort(-wanted, kind="stable") if i not in (*likes, *dislikes)]
    best = [i for i in best if i != 8 or best.index(7) > best.index(8)]
    best = [i for i in best if i != 7 or 8 not in best or best.index(8) > best.index(7)]
    assert sorted(rows(found)) == sorted(best[:15])
    np.testing.assert_allclose([line.score for line in found], wanted[rows(found)], atol=1e-6)


def test_a_liked_song_keeps_other_files_of_its_recording_out(playlists):
    assert not {7, 8} & set(rows(playlists.like(["song-08"], n=N)))


def test_an_artist_has_no_more_songs_than_allowed_and_none_in_a_row(playlists):
    found = [ARTISTS[row] for row in rows(playlists.like(["Title song-00"], n=N, max_per_artist=2))]
    assert max(map(found.count, found)) == 2
    every = [ARTISTS[row] for row in rows(playlists.like(["song-00"], n=N))]
    assert len(every) == N - 2  # but itself, and one file of 7 and 8
    assert not any(a == b for a, b in pairwise(every))


def test_the_most_typical_songs_of_a_genre_come_first(playlists):
    of_genre = [i for i in range(N) if GENRES[i % 3] == "jazz"]
    scores = UNIT @ UNIT[of_genre].mean(axis=0)
    best = sorted(of_genre, key=lambda i: -scores[i])[:6]
    assert sorted(rows(playlists.of_genre("Jazz", 6))) == sorted(best)
    with pytest.raises(ConfigError, match="no songs of genre 'polka'; expected one of jazz, rock"):
        playlists.of_genre("polka")


def test_the_songs_with_the_highest_scores_for_a_tag(playlists):
    for name in ("slow", "own:slow"):
        assert sorted(rows(playlists.of_tag(name, 5))) == sorted(np.argsort(-SCORES[:-1, 1])[:5])
    assert 59 not in rows(playlists.of_tag("guitar", N))
    with pytest.raises(ConfigError, match="no tags are called 'flute'; expected one of own:guitar, own:slow"):
        playlists.of_tag("flute")


def test_the_songs_that_are_recommended_to_a_listener(playlists):
    found = playlists.of_user("ada")
    assert rows(found) == [25, 5, 9]
    assert [line.score for line in found] == pytest.approx([1, 1 / 2, 1 / 3])
    assert rows(playlists.of_user("ada", 2)) == [25, 5]
    with pytest.raises(ConfigError, match="nothing is recommended to 'eve'"):
        playlists.of_user("eve")


def test_songs_that_the_table_does_not_have_yet_are_left_out(out, tmp_path):
    """As in the night, when vectors are published before lists, and after a rollback; one has the id as its title."""
    store = Store(shutil.copytree(out, tmp_path / "out", symlinks=True))
    old = [i for i in range(N) if i % 5]
    titles = [IDS[25] if i == 26 else f"Title {IDS[i]}" for i in old]
    names = pa.table([[IDS[i] for i in old], titles, [ARTISTS[i] for i in old], [None] * len(old)], SIDECAR_COLUMNS)
    with store.new_version("similar", SimilarSettings(n=5, space=("own",)), "89abcdef") as version:
        write_table(version, names.cast(pa.schema([TRACKS.field(c) for c in SIDECAR_COLUMNS])), *top_n(VECTORS[old], 5))
        store.publish(version)
    playlists = Playlists(store.out)
    assert {*rows(playlists.like([IDS[3]], n=N)), 7, 8} == {*old} - {3}  # of 7 and 8, one recording, one
    assert set(rows(playlists.of_genre("jazz", N))) == {i for i in old if GENRES[i % 3] == "jazz"}
    assert rows(playlists.of_user("ada")) == [9]
    assert {*rows(playlists.of_tag("guitar", N)), 7, 8} == {*old} - {59}
    assert set(rows(playlists.between(IDS[1], IDS[2]))) <= {*old}


def test_a_path_goes_through_the_lists_and_has_no_artist_twice_in_a_row(playlists):
    lists = top_n(VECTORS, 5)[0]
    linked = {(i, j) for i in range(N) for j in lists[i]}
    for last in range(1, 12):
        found = rows(playlists.between("song-00", IDS[last]))
        assert (found[0], found[-1]) == (0, last)
        for a, b in pairwise(found):
            assert {(a, b), (b, a)} & linked
            assert ARTISTS[a] != ARTISTS[b]
    with pytest.raises(ConfigError, match=r"from song-00 to song-01 has \d songs, more than 1; give -n") as e:
        playlists.between("song-00", "song-01", 1)
    fewest = int(re.search(r"(\d) songs", str(e.value))[1])
    assert len(playlists.between("song-00", "song-01", fewest)) == fewest


def test_songs_that_are_not_there_or_on_both_sides_are_refused(playlists):
    with pytest.raises(UnknownTrack, match="nobody"):
        playlists.like(["nobody"])
    with pytest.raises(ConfigError, match="song-01 is both liked and disliked"):
        playlists.like(["song-01"], ["Title song-01"])
    with pytest.raises(ConfigError, match="needs a liked song"):
        playlists.like([])
    with pytest.raises(ConfigError, match="n = 0; expected at least 1 song"):
        playlists.of_genre("jazz", 0)


def test_the_command_writes_a_playlist_and_shows_one(out, tmp_path, command):
    file = tmp_path / "mine.jspf"
    code, said, _ = command("playlist", out, "--like", "song-03", "-n", 4, "--with-likes", "--out", file)
    assert (code, said) == (0, f"{file}: 5 songs\n")
    playlist = json.loads(file.read_bytes())["playlist"]
    assert playlist["title"] == "mine"
    assert playlist["track"][0]["title"] == "Title song-03"
    shown = [line.song.title for line in Playlists(out).like(["song-03"], n=4)]
    assert [track["title"] for track in playlist["track"][1:]] == shown
    code, said, _ = command("playlist", out, "--like", "song-03", "-n", 4)
    assert [line.split("  ")[1].split(" – ")[1] for line in said.splitlines()[1:]] == shown


@pytest.mark.parametrize("options", [["--like", "so\udcffng"], ["--path", "song-01", "so\udcffng"]])
def test_a_name_that_is_no_text_is_no_song(out, command, options):
    code, _, error = command("playlist", out, *options)
    assert code == 1
    assert error.startswith("musicrec: no song ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "Expected one of --like, --path, --genre, --tag, --user."),
        (["--genre", "jazz", "--like", "song-01"], "got --like and --genre"),
        (["--genre", "jazz", "--dislike", "song-01"], "--dislike goes with --like"),
        (["--tag", "slow", "--with-likes"], "--with-likes goes with --like"),
        (["--genre", "jazz", "--out", "x.pls"], "unknown ending '.pls'"),
        (["--genre", "ja\udcff"], "'ja\\udcff' holds bytes that are no characters"),
        (["--user", "\udcff"], "holds bytes that are no characters"),
        (["--tag", "\udcff"], "holds bytes that are no characters"),
        (["--like", "song-01", "--name", "\udcff"], "holds bytes that are no characters"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(out, command, options, said):
    code, _, error = command("playlist", out, *options)
    assert code == 2
    assert said in error
