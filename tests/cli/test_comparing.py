"""Two spaces beside each other: figures of made-up spaces, and what cannot be known is said."""

import json

import numpy as np
import pyarrow as pa
import pytest

from musicrec.schemas import OUTCOMES, TRACKS
from musicrec.serve import space_comparison
from musicrec.settings import CatalogSettings, VectorsSettings
from musicrec.store.spaces import PublishedSpace, SpaceCard, publish_space

pytestmark = pytest.mark.thorough
N, GENRES, ARTISTS = 120, 4, 24
GENRE, ARTIST = np.repeat(np.arange(GENRES), N // GENRES), np.repeat(np.arange(ARTISTS), N // ARTISTS)
RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=(N, 8)).astype(np.float32)
APART = (NOISE + 2 * RNG.normal(size=(GENRES, 8))[GENRE]).astype(np.float32)
IDS = [f"song-{i:03d}" for i in range(N)]


def catalog(store, genres=GENRE, artists=ARTIST):
    """Publish genre and artist of each song; None for unknown."""
    rows = [
        {
            "track_id": t,
            "uri": f"file:///{t}",
            "genre": g if g is None else f"genre {g}",
            "artist_ids": [] if a is None else [f"artist {one}" for one in np.atleast_1d(a)],
        }
        for t, g, a in zip(IDS, genres, artists, strict=True)
    ]
    version = store.new_version("tracks", CatalogSettings(source="/music"), repr(rows)[:100])
    version.write_part(pa.Table.from_pylist(rows, TRACKS))
    store.publish(version)


def space(store, name, matrix, ids=IDS):
    settings = VectorsSettings(name=name, file="/somewhere.parquet")
    about = PublishedSpace(name, f"{name}-id", matrix.shape[1], SpaceCard())
    publish_space(store, settings, about, pa.array(ids), matrix, left_out=OUTCOMES.empty_table())


@pytest.fixture
def store(tmp_path, publish_vectors):
    """An OUT whose space good knows genres and whose space bad knows nothing; bad lacks ten songs."""
    store = publish_vectors(tmp_path / "out", NOISE, IDS)
    catalog(store)
    space(store, "good", APART)
    space(store, "bad", NOISE[:, ::-1].copy()[10:], IDS[10:])
    return store


def compared(command, store, *arguments):
    code, text, complaint = command("models", "compare", store.out, *arguments, "--json")
    assert (code, complaint) == (0, "")
    return json.loads(text)


def test_a_space_that_knows_genres_is_found_better(command, store):
    found = compared(command, store, "bad", "good")
    for name in ("precision", "average_precision", "accuracy"):
        figure = found["genres"][name]
        assert figure["difference"]["low"] > 0.1
        mean = figure["second"]["mean"] - figure["first"]["mean"]
        assert figure["difference"]["mean"] == pytest.approx(mean)
        assert figure["first"]["n"] == figure["second"]["n"] == 110
    assert [side["with_vector"] for side in found["lists"]] == [110, 120]
    assert (found["n_songs"], found["n_both"], found["n_trained_on"]) == (120, 110, 0)


def test_b_minus_a_turns_round_with_them(command, store):
    there, back = compared(command, store, "bad", "good"), compared(command, store, "good", "bad")
    for name in ("precision", "average_precision", "accuracy"):
        a, b = there["genres"][name]["difference"], back["genres"][name]["difference"]
        assert (a["mean"], a["low"], a["high"]) == pytest.approx((-b["mean"], -b["high"], -b["low"]))


def test_overlap_and_hubs_are_counted_song_by_song(command, store):
    n = 7
    found = compared(command, store, "bad", "good", "-n", n)
    lists = []
    for matrix in (NOISE[10:, ::-1], APART[10:]):
        unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
        cosines = unit @ unit.T
        np.fill_diagonal(cosines, -2)
        lists.append(np.argsort(-cosines, axis=1)[:, :n])
    common = [len(set(a) & set(b)) / n for a, b in zip(*(rows.tolist() for rows in lists), strict=True)]
    assert found["overlap"] == pytest.approx(np.mean(common))
    for side, rows in zip(found["lists"], lists, strict=True):
        counts = np.bincount(rows.ravel(), minlength=110)
        assert side["most_frequent"] == counts.max()
        assert side["hubs"]["antihub_share"] == pytest.approx((counts == 0).mean())


def test_a_joined_space_is_one_side_and_the_text_says_all(command, store):
    code, text, _ = command("models", "compare", store.out, "bad", "bad=1,good=0.5", "-n", 5)
    assert code == 0
    for line in (
        "A: bad",
        "B: bad=1 + good=0.5",
        "songs with a vector, of 120",
        "precision at 5",
        "accuracy of a linear classifier",
        "110 songs of 4 genres by 22 artists",
        "bad, good: trained elsewhere, perhaps on songs of these artists.",
    ):
        assert line in text


def test_without_genres_it_says_what_cannot_be_known(command, store):
    catalog(store, genres=[None] * N)
    code, text, _ = command("models", "compare", store.out, "bad", "good")
    assert code == 0
    assert "No genre has enough songs by other artists: how well a space finds one cannot be known here." in text
    assert "songs in no list" in text


def test_one_genre_alone_or_of_one_artist_each_cannot_be_judged(command, store):
    catalog(store, genres=[0] * N)
    assert compared(command, store, "bad", "good")["genres"]["accuracy"] is None
    catalog(store, artists=GENRE)
    genres = compared(command, store, "bad", "good")["genres"]
    assert genres["precision"] is genres["average_precision"] is genres["accuracy"] is None


def test_songs_without_artist_are_told(command, store):
    catalog(store, artists=[None] * 20 + ARTIST[20:].tolist())
    code, text, _ = command("models", "compare", store.out, "bad", "good")
    assert code == 0
    assert "10 songs have no artist in the catalog." in text  # of those in both spaces
    assert "by 30 artists." in text  # each of them counts as one


def test_artists_who_made_songs_together_are_held_apart_together(command, store):
    catalog(store, artists=[(a, a ^ 1) for a in ARTIST.tolist()])
    assert compared(command, store, "bad", "good")["genres"]["n_artists"] == 11  # of 22, in pairs


def test_songs_that_the_embedding_was_trained_on_are_left_out(command, store, monkeypatch):
    monkeypatch.setattr(space_comparison, "_trained_on", lambda store: set(IDS[::2]))
    found = compared(command, store, "embeddings", "good")
    assert (found["genres"]["n_songs"], found["n_trained_on"]) == (60, 60)
    assert found["genres"]["precision"]["first"]["n"] == 60
    text = command("models", "compare", store.out, "embeddings", "good")[1]
    assert "the 60 songs that their model was trained on are left out here" in text


def test_an_embedding_of_an_unknown_model_is_told(command, store):
    code, text, _ = command("models", "compare", store.out, "embeddings", "good")
    assert code == 0
    assert "which songs their model was trained on is not known" in text


def test_of_many_songs_some_are_judged(command, store, monkeypatch):
    monkeypatch.setattr(space_comparison, "MOST_ASKED", 50)
    monkeypatch.setattr(space_comparison, "MOST_PROBED", 90)
    genres = compared(command, store, "bad", "good")["genres"]
    assert genres["precision"]["first"]["n"] == 50
    assert genres["accuracy"]["first"]["n"] == 90
    text = command("models", "compare", store.out, "bad", "good")[1]
    assert "only 50 of these songs were searched for, and the classifier was judged by 90" in text


@pytest.mark.parametrize(
    ("spaces", "code", "line"),
    [
        (("good", "good=2"), 2, "A and B are the same space."),
        (("good", "nothing"), 2, "has no space 'nothing'; expected one of embeddings, features, bad, good"),
        (("good", "good=0,bad=1"), 2, "expected each space once, as a name or with a weight above 0"),
    ],
)
def test_spaces_that_cannot_be_compared(command, store, spaces, code, line):
    found = command("models", "compare", store.out, *spaces)
    assert found[0] == code
    assert line in found[2]


def test_spaces_without_a_song_in_common(command, store):
    space(store, "few", NOISE[:9], IDS[:9])
    code, _, complaint = command("models", "compare", store.out, "few", "bad")
    assert code == 1
    assert complaint == "musicrec: models compare: 0 songs have a vector in both spaces; at least two are needed\n"
