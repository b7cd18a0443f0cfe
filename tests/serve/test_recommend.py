"""The reference systems' recommenders through the command line, on real songs; and a talk through a terminal."""

import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity, euclidean_distances
from sklearn.preprocessing import StandardScaler

from musicrec import features
from musicrec.cli import cli
from musicrec.errors import ConfigError, SchemaError, UnknownTrack
from musicrec.models import load
from musicrec.monitor.text_table import printable
from musicrec.schemas import RECORDINGS, TRACKS
from musicrec.serve.explore import Talk
from musicrec.serve.lookup import SimilarTable
from musicrec.serve.recommend import Recommender
from musicrec.settings import (
    CatalogSettings,
    DuplicatesSettings,
    EmbedSettings,
    ExtractSettings,
    SimilarSettings,
    TrainSettings,
)
from musicrec.stages.chain import ChainSettings, run
from musicrec.stages.similar.stage import similar
from musicrec.store.store import Store

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
FIVE = ["blues.00002", "classical.00003", "jazz.00001", "metal.00001", "pop.00000"]
CROP = "crop/blues.00002"  # a clip of blues.00002
N = 25  # similar songs kept of each: three pages


@pytest.fixture(scope="module")
def made(data, ray_session, tmp_path_factory):
    """Four real clips of each genre, one of them twice, and a file that is no audio; features, an SVM, lists."""
    folder = tmp_path_factory.mktemp("recommend")
    (folder / "broken.wav").write_bytes(b"RIFF this is no audio")
    table = pd.read_csv(data / "gtzan.csv")
    clips = table[table.path.str.match(r"gtzan/.*\.0000[0-3]\.")]
    crop = table[(table.parent == "blues.00002") & table.path.str.startswith("gtzan_crops")]
    rows = [("broken.wav", "broken", "blues", "nobody", None, "Broken Dreams")]
    for clip in (*clips.itertuples(), *crop.itertuples()):
        is_crop = clip.path.startswith("gtzan_crops")
        track_id = f"crop/{clip.parent}" if is_crop else clip.parent
        title = "Ο έρωτας\x1b[31m" if clip.parent == "jazz.00003" else None
        rows.append((data / clip.path, track_id, clip.genre, f"{clip.genre}-{clip.artist_group}", clip.parent, title))
    names = ["path", "track_id", "genre", "artist_id", "recording", "title"]
    pd.DataFrame(rows, columns=names).to_csv(folder / "songs.csv", index=False)
    store = Store(folder / "out")
    store.create()
    run(store, ChainSettings(
        CatalogSettings(source=str(folder / "songs.csv")), ExtractSettings(feature_sets=("iiitd41",), duration_s=5),
        TrainSettings(model="svm"), EmbedSettings(model="svm"), DuplicatesSettings(), SimilarSettings(n=N),
    ))  # fmt: skip
    return store


@pytest.fixture
def copy(made, tmp_path):
    return Store(shutil.copytree(made.out, tmp_path / "out", symlinks=True))


@pytest.fixture(scope="module")
def recommender(made):
    return Recommender(made.out)


@pytest.fixture(scope="module")
def tables(made):
    """Everything by track id: names, embeddings, genre probabilities, features."""
    tables = [made.read(name).to_pandas().set_index("track_id") for name in ("tracks", "embeddings", "features")]
    return tables[0].join(tables[1:], how="inner").sort_index()


def musicrec(*arguments):
    """The command line; what it prints."""
    result = CliRunner().invoke(cli, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def recommended(*arguments):
    return pd.DataFrame(json.loads(musicrec("recommend", *arguments, "--json"))["recommended"])


def ranked(tables, scores, likes, n):
    """Ids and scores of the best new recordings, by hand."""
    best = pd.DataFrame({"id": tables.index, "score": scores, "recording": tables.recording})
    best = best[~best.recording.isin(tables.recording[likes])].sort_values(["score", "id"], ascending=[False, True])
    best = best.drop_duplicates("recording").head(n)
    return best.id.tolist(), best.score.tolist()


def numbers(tables, column):
    return np.stack(tables[column]).astype(np.float64)


# --- the first reference system: one song, three recommenders -------------------------------------------------------


def similarity_by(by, tables):
    if by == "embedding":
        return cosine_similarity(numbers(tables, "embedding"))
    points = StandardScaler().fit_transform(tables[features.feature_names("iiitd41")].astype("float64"))
    return -euclidean_distances(PCA(2).fit_transform(points) if by == "clustering" else points)


@pytest.mark.parametrize("by", ["clustering", "knn", "embedding"])
def test_ten_songs_similar_to_blues_00002_by_each_recommender(made, tables, by):
    found = recommended(made.out, "--like", "blues.00002", "--by", by)
    scores = similarity_by(by, tables)[tables.index.get_loc("blues.00002")]
    ids, expected = ranked(tables, scores, ["blues.00002"], 10)
    assert found.track_id.tolist() == ids
    assert len(ids) == 10
    assert CROP not in ids
    np.testing.assert_allclose(found.score, expected, atol=2e-5)
    assert (found.because == "blues.00002").all()


@pytest.mark.parametrize(
    ("by", "heading", "column"),
    [
        ("clustering", "Similar songs to blues.00002 (blues) in the plane of two principal components:", "distance"),
        ("knn", "If you like blues.00002 (blues), you might enjoy:", "distance"),
        ("embedding", "Similar songs to blues.00002 (blues):", "score"),
    ],
)
def test_the_list_for_people_says_what_the_one_for_machines_says(made, by, heading, column):
    first, head, *lines = musicrec("recommend", made.out, "--like", "blues.00002", "--by", by, "-n", 3).splitlines()
    found = recommended(made.out, "--like", "blues.00002", "--by", by, "-n", 3)
    assert first == heading
    assert head.split() == ["rank", "song", "genre", column]
    sign = -1 if column == "distance" else 1
    rows = zip(found["rank"], found.track_id, found.genre, sign * found.score, strict=True)
    assert [line.split() for line in lines] == [[str(r), t, g, f"{s:.3f}"] for r, t, g, s in rows]


# --- as the table compares ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [("features",), ("embeddings=1", "features=0.3")])
def test_by_itself_it_compares_songs_as_the_published_table_does(copy, space):
    similar(copy, SimilarSettings(n=N, space=space))
    table = {s.song.track_id: s.score for s in SimilarTable(copy.out).similar("blues.00002", N)}
    found = recommended(copy.out, "--like", "blues.00002", "-n", N)
    scores = dict(zip(found.track_id, found.score, strict=True))
    assert {CROP} == table.keys() - scores.keys()  # a clip of the liked song
    both = [track_id for track_id in scores if track_id in table]
    assert both == [track_id for track_id in table if track_id in scores]
    np.testing.assert_allclose([scores[i] for i in both], [table[i] for i in both], atol=2e-5)


def test_without_a_model_it_recommends_and_centres_by_the_table(copy):
    similar(copy, SimilarSettings(n=N, space=("features",)))
    (copy.out / "embeddings").unlink()
    recommender = Recommender(copy.out)
    assert len(recommender.recommend(FIVE)) == 5
    assert recommender.centre("jazz").genre == "jazz"
    with pytest.raises(SchemaError, match="has no embeddings yet"):
        recommender.recommend(FIVE, method="genre")


# --- the second: five songs in, five new ones out -------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["mean", "max"])
@pytest.mark.parametrize("method", ["cosine", "genre"])
def test_five_songs_in_five_new_ones_out_by_both_methods(made, tables, method, pool):
    likes = [part for song in FIVE for part in ("--like", song)]
    found = recommended(made.out, *likes, "--method", method, "--pool", pool)
    at = tables.index.get_indexer(FIVE)
    cosine = similarity_by("embedding", tables)[:, at]
    scores = getattr(cosine, pool)(axis=1)
    if method == "genre":
        probabilities = numbers(tables, "probabilities")
        scores = scores + probabilities @ probabilities[at].mean(axis=0)
    ids, expected = ranked(tables, scores, FIVE, 5)
    assert found.track_id.tolist() == ids
    assert len(ids) == 5
    assert not {*FIVE, CROP} & set(ids)
    np.testing.assert_allclose(found.score, expected, atol=2e-5)
    assert found.because.tolist() == [FIVE[i] for i in cosine[tables.index.get_indexer(ids)].argmax(axis=1)]


def test_the_weight_of_genres_goes_from_method_1_to_genres_alone(recommender, tables):
    def ids(**how):
        return [r.song.track_id for r in recommender.recommend(FIVE, 10, **how)]

    assert ids(method="genre", weight=0) == ids(method="cosine")
    probabilities = numbers(tables, "probabilities")
    agreement = probabilities @ probabilities[tables.index.get_indexer(FIVE)].mean(axis=0)
    assert ids(method="genre", weight=1e4)[:3] == ranked(tables, agreement, FIVE, 3)[0]


def test_genre_probabilities_are_what_the_model_says_of_every_song(made, tables):
    model = load(made.path("models/svm"))
    said = model.predict_proba(tables[model.card["input"]["feature_names"]].to_numpy("float32"))
    np.testing.assert_allclose(numbers(tables, "probabilities"), said, atol=1e-6)
    assert made.footer("embeddings")["lineage"]["classes"] == model.card["classes"] == list(GENRES)


def test_the_order_and_the_number_of_times_one_likes_a_song_do_not_matter(recommender):
    assert recommender.recommend(FIVE[::-1] + FIVE[:2]) == recommender.recommend(FIVE)


def test_songs_go_by_the_names_of_lookup(recommender):
    assert recommender.recommend(["Ο ΈΡΩΤΑΣ\x1b[31m"]) == recommender.recommend(["jazz.00003"])


# --- centre songs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("genre", GENRES)
def test_the_centre_song_is_the_medoid_of_the_songs_that_were_learned_from(made, recommender, tables, genre):
    predictions = pd.read_parquet(made.path("models/svm") / "predictions.parquet").set_index("track_id")
    learned = tables[(tables.genre == genre) & (predictions.split.reindex(tables.index) == "train")]
    cosine = cosine_similarity(numbers(learned, "embedding"))
    np.fill_diagonal(cosine, 0)
    others = max(1, len(learned) - 1)
    means = dict(zip(learned.index, cosine.sum(axis=1) / others, strict=True))
    assert means[recommender.centre(genre).track_id] == pytest.approx(max(means.values()), abs=1e-6)


def test_some_song_was_held_out_else_the_test_above_says_little(made):
    predictions = pd.read_parquet(made.path("models/svm") / "predictions.parquet")
    assert set(predictions.split) == {"train", "test"}


def test_a_genre_gives_its_centre_song_and_those_near_it(made, recommender):
    centre = recommender.centre("jazz").track_id
    text = musicrec("recommend", made.out, "--genre", "jazz")
    assert text.startswith(f"Centre song of jazz: {centre}\nSimilar songs to {centre} (jazz):\n")
    assert recommended(made.out, "--genre", "jazz").equals(recommended(made.out, "--like", centre))
    both = json.loads(musicrec("recommend", made.out, "--genre", "jazz", "--like", "pop.00000", "--json"))
    assert [song["track_id"] for song in both["likes"]] == ["pop.00000", centre]
    assert both["centres"] == {"jazz": centre}
    assert len(both["recommended"]) == 5


# --- what does not work -------------------------------------------------------------------------------------------


def test_more_than_there_is_gives_all_there_is(recommender, tables):
    found = recommender.recommend(["blues.00002"], 10_000)
    assert len(found) == tables.recording.nunique() - 1
    assert [r.rank for r in found] == list(range(1, len(found) + 1))


@pytest.mark.parametrize("by_way_of", ["content_hash", "recordings", "both"])
def test_copies_of_a_liked_song_never_come_back_whoever_found_them(copy, by_way_of):
    """An equal file; one that sounds the same; and one that sounds the same as an equal file."""
    like = "jazz.00001"
    first, second = (song.track_id for _, song, *_ in Recommender(copy.out).recommend([like], 2))
    tracks = copy.read("tracks")
    equal = {"content_hash": {like, first}, "recordings": set(), "both": {like, second}}[by_way_of]
    sound = {"content_hash": set(), "recordings": {like, first}, "both": {first, second}}[by_way_of]
    rows = [row | {"content_hash": "equal" if row["track_id"] in equal else None} for row in tracks.to_pylist()]
    sounds = [{"track_id": t, "recording": min(sound) if t in sound else t} for t in tracks["track_id"].to_pylist()]
    for name, content, how in (
        ("tracks", pa.Table.from_pylist(rows, TRACKS), CatalogSettings(source="/music")),
        ("recordings", pa.Table.from_pylist(sounds, RECORDINGS), DuplicatesSettings()),
    ):
        version = copy.new_version(name, how, "0" * 16)
        version.write_part(content)
        copy.publish(version)
    found = {line.song.track_id for line in Recommender(copy.out).recommend([like], 100)}
    assert not found & (equal | sound | {like})
    assert len(found) > 20


def test_who_likes_all_songs_is_told_that_none_is_left(made, tables):
    likes = [part for song in tables.index for part in ("--like", song)]
    assert musicrec("recommend", made.out, *likes).splitlines()[-1] == "none: no other song is left"
    assert recommended(made.out, *likes).empty


def test_an_unknown_song_is_answered_by_names_that_are_close(recommender):
    with pytest.raises(UnknownTrack, match=r"no song 'blues.0002' in .*closest names are: .*blues.00002"):
        recommender.recommend(["jazz.00001", "blues.0002"])


def test_a_liked_song_that_failed_is_answered_by_why(recommender):
    for name in ("broken", "Broken Dreams"):
        with pytest.raises(UnknownTrack, match=r"broken is in the catalog but not in the table: extract failed"):
            recommender.recommend(["jazz.00001", name])


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"by": "rumour"}, "unknown space 'rumour'; expected one of table, embedding, knn, clustering"),
        ({"method": "hearsay"}, "unknown method 'hearsay'; expected one of cosine, genre"),
        ({"pool": "median"}, "unknown pool 'median'; expected one of mean, max"),
        ({"method": "genre", "by": "knn"}, "does not go with knn"),
        ({"n": 0}, "n = 0"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(recommender, how, said):
    with pytest.raises(ConfigError, match=said):
        recommender.recommend(["blues.00002"], **how)
    with pytest.raises(ConfigError, match="0 liked songs"):
        recommender.recommend([])


def test_an_unknown_genre_is_answered_by_those_there_are(recommender):
    with pytest.raises(ConfigError, match=r"no songs of genre 'jaz' in .*; expected one of blues, classical, country"):
        recommender.centre("jaz")


def test_nothing_liked_is_wrong_usage(made):
    result = CliRunner().invoke(cli, ["recommend", str(made.out)])
    assert result.exit_code == 2
    assert "Missing option '--like', '--genre' or '--histories'" in result.output


def replace(store, name, table):
    version = store.new_version(name, EmbedSettings(), "0" * 16, **store.footer(name)["lineage"])
    version.write_part(table)
    store.publish(version)


def test_embeddings_without_genre_probabilities_say_what_to_do(copy):
    replace(copy, "embeddings", copy.read("embeddings", ["track_id", "model_id", "embedding"]))
    recommender = Recommender(copy.out)
    assert len(recommender.recommend(FIVE)) == 5
    with pytest.raises(SchemaError, match=f"no genre probabilities.*; run musicrec embed {copy.out}"):
        recommender.recommend(FIVE, method="genre")


def test_a_song_whose_vector_is_gone_is_no_candidate_and_cannot_be_liked(copy):
    table = copy.read("embeddings")
    replace(copy, "embeddings", table.filter(pa.compute.not_equal(table["track_id"], "jazz.00001")))
    recommender = Recommender(copy.out)
    assert "jazz.00001" not in {r.song.track_id for r in recommender.recommend(["pop.00000"], 1000)}
    with pytest.raises(UnknownTrack, match=r"jazz.00001 has no vector"):
        recommender.recommend(["jazz.00001"])


def test_a_like_that_has_left_the_catalog_costs_no_other_song_its_place(copy):
    """The lists and vectors of a table are older than a catalog that was just read anew."""
    tracks, last = copy.read("tracks"), copy.track_ids()[-1]
    gone = "jazz.00001"
    assert last != gone
    replace(copy, "tracks", tracks.filter(pa.compute.not_equal(tracks["track_id"], gone)))
    found = {r.song.track_id for r in Recommender(copy.out).recommend([gone], 1000)}
    assert last in found
    assert gone not in found


# --- a talk -------------------------------------------------------------------------------------------------------


@pytest.fixture
def talk(made):
    return Talk(SimilarTable(made.out), made, np.random.default_rng(0))


def songs(page):
    return [line.song.track_id for line in page.lines]


def test_a_talk_goes_through_the_list_ten_by_ten_and_on_from_a_song_of_it(made, talk):
    table = SimilarTable(made.out)
    pages = [talk.answer(said) for said in ("blues.00002", "m", "M", "more")]
    expected = [s.song.track_id for s in table.similar("blues.00002", N)]
    assert [songs(page) for page in pages] == [expected[:10], expected[10:20], expected[20:], []]
    assert [line.number for page in pages for line in page.lines] == list(range(1, N + 1))
    notes = ["Want more? 15 are left: m", "Want more? 5 are left: m", "", "That was all."]
    assert [page.note for page in pages] == notes
    page = talk.answer(" 12 ")
    assert page.heading.startswith(f"Similar songs to {expected[11]} (")
    assert songs(page) == [s.song.track_id for s in table.similar(expected[11], 10)]


def test_a_talk_finds_songs_by_a_part_of_their_names(talk):
    assert songs(talk.answer("BLUES.0000")) == ["blues.00000", "blues.00001", "blues.00002", "blues.00003", CROP]
    assert talk.answer("5").heading == "Similar songs to blues.00002 (blues):"  # the title of both
    assert songs(talk.answer("έρω")) == ["jazz.00003"]
    assert talk.answer(".0000").note == "Want more? 31 are left: m"
    assert songs(talk.answer("(.*")) == []


def test_a_talk_goes_to_songs_at_random(talk, tables):
    visited = {re.match(r"Similar songs to (\S+)", talk.answer("random").heading)[1] for _ in range(12)}
    assert len(visited) > 5
    assert visited <= set(tables.index)


@pytest.mark.parametrize(
    ("said", "note"),
    [
        ("", "a number to go on"),
        ("m", "Name a song first"),
        ("7", "no song '7'"),
        ("blues.0002", "the closest names are"),
        ("no such song", "no song 'no such song'"),
    ],
)
def test_a_talk_says_what_it_did_not_understand_and_goes_on(talk, said, note):
    page = talk.answer(said)
    assert note in page.note
    assert songs(page) == []
    assert songs(talk.answer("jazz.00001"))


def test_a_song_found_by_a_part_of_its_name_may_have_failed(talk):
    assert songs(talk.answer("Dreams")) == ["broken"]
    assert "extract failed" in talk.answer("1").note


# --- through a terminal -------------------------------------------------------------------------------------------


class Terminal:
    """A pseudo-terminal with `musicrec listen` in it."""

    def __init__(self, out, **environment):
        self.ours, theirs = pty.openpty()
        opening = ["sh", "-c", 'exec "$@" < "$0"', os.ttyname(theirs)]  # makes it its own, so that Ctrl-C reaches it
        self.process = subprocess.Popen(
            [*opening, sys.executable, "-m", "musicrec", "listen", str(out)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, **environment},
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - in the background it is ignored
        )
        os.close(theirs)

    def type(self, text):
        os.write(self.ours, text.encode())

    def until(self, end):
        """What the terminal shows until it ends so; until it is closed, for None."""
        shown, deadline = b"", time.monotonic() + 60
        while end is None or not shown.endswith(end.encode()):
            ready, _, _ = select.select([self.ours], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"nothing more after {shown!r}"
            try:
                piece = os.read(self.ours, 4096)
            except OSError:  # Linux: the other side has closed
                piece = b""
            if not piece:
                assert end is None, shown
                break
            shown += piece
        return shown.decode()

    def leave(self, how):
        """Exit code and what is still shown; the key is pressed a second time if nothing happens."""
        self.type(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        if self.process.poll() is None:  # Python itself loses a Ctrl-C in the moment before it waits for a line
            self.type(how)
        shown = self.until(None)
        return self.process.wait(60), shown


@pytest.fixture
def terminal(made):
    opened = []

    def terminal(**environment):
        opened.append(Terminal(made.out, **environment))
        return opened[-1]

    yield terminal
    for one in opened:
        one.process.kill()
        one.process.wait()
        os.close(one.ours)


def listed(shown):
    return [re.split(r" {2,}", line.strip())[1] for line in shown.splitlines() if re.match(r" *\d+  ", line)]


def test_listening_through_a_terminal(made, terminal):
    table = SimilarTable(made.out)
    similar = [printable(s.song.name) for s in table.similar("blues.00002", N)]
    ids = [s.song.track_id for s in table.similar("blues.00002", N)]
    at = terminal()
    assert "part of a name, random" in at.until("song> ")
    at.type("blues.0000\n")
    assert listed(at.until("song> "))[:3] == ["blues.00000", "blues.00001", "blues.00002"]
    at.type("3\n")
    shown = at.until("song> ")
    assert "Similar songs to blues.00002 (blues):" in shown
    assert listed(shown) == similar[:10]
    assert "Want more? 15 are left: m" in shown
    at.type("m\n")
    assert listed(at.until("song> ")) == similar[10:20]
    at.type("14\n")
    shown = at.until("song> ")
    assert f"Similar songs to {similar[13]} (" in shown
    assert listed(shown) == [printable(s.song.name) for s in table.similar(ids[13], 10)]
    at.type("jazz.00003x\n")
    assert "the closest names are: jazz.00003" in at.until("song> ")
    code, shown = at.leave("q\n")
    assert (code, listed(shown)) == (0, [])


@pytest.mark.parametrize("how", ["\x04", "\x03"], ids=["Ctrl-D", "Ctrl-C"])
def test_leaving_by_a_key_is_leaving(terminal, how):
    at = terminal()
    at.until("song> ")
    code, shown = at.leave(how)
    assert code == 0
    assert "Traceback" not in shown
    assert "interrupted" not in shown


def test_a_terminal_without_the_letters_of_a_song_shows_it_all_the_same(terminal):
    at = terminal(TERM="dumb", PYTHONIOENCODING="latin-1")
    at.until("song> ")
    at.type("jazz.0000\n")
    shown = at.until("song> ")
    assert "? ??????" in shown
    assert "\x1b[31m" not in shown
    assert at.leave("q\n")[0] == 0


def test_answers_may_come_from_a_file(made):
    command = [sys.executable, "-m", "musicrec", "listen", str(made.out)]
    ended = subprocess.run(command, input="blues.00002\nm\n", capture_output=True, text=True, check=True)
    assert "song> " not in ended.stdout
    assert len(listed(ended.stdout)) == 20
