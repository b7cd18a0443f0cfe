"""Every method of the batch beside a float64 ranking of the whole catalog, and listeners of whom little is known."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from musicrec.errors import ConfigError
from musicrec.models.recommenders.by_content import Genre, Mean, MultiInterest, interests
from musicrec.schemas import EMBEDDINGS, HISTORIES, RECORDINGS
from musicrec.settings import DuplicatesSettings, EmbedSettings, HistoriesSettings, SimilarSettings
from musicrec.stages.recommendations import methods
from musicrec.stages.recommendations.listener_tasks import recommend_to
from musicrec.stages.similar.stage import similar
from recommending import (
    N_SONGS,
    N,
    likes_and_heard,
    parts_of_a_run,
    publish,
    publish_histories,
    publish_tracks,
    run,
    song,
    table,
    vectors,
)

pytestmark = pytest.mark.usefixtures("ray_session")

METHODS = ("max", "mean", "multi_interest", "genre")
GENRES = [f"g{i % 4}" for i in range(N_SONGS)]
ARTISTS = [[f"a{i % 13}"] if i % 7 else [] for i in range(N_SONGS)]
ALBUMS = [f"album {i % 29}" if i % 5 else None for i in range(N_SONGS)]
RECORDING = [i - 1 if i % 10 == 1 else i for i in range(N_SONGS)]  # songs 0 and 1 are one, 10 and 11, ...
CAPS = {"max_per_artist": 2, "max_per_album": 1}


def probabilities():
    return np.random.default_rng(7).dirichlet(np.ones(4), N_SONGS).astype(np.float32)


@pytest.fixture
def store(tmp_path, publish_vectors):
    """An OUT with artists, albums, genres and copies; lists of eight songs, and listeners."""
    store = publish_vectors(tmp_path / "out", vectors())
    publish_tracks(store, artist_ids=ARTISTS, album_id=ALBUMS, genre=GENRES)
    sounds = [{"track_id": song(i), "recording": song(RECORDING[i])} for i in range(N_SONGS)]
    publish(store, "recordings", pa.Table.from_pylist(sounds, RECORDINGS), DuplicatesSettings(), "1" * 16)
    rows = [
        {"track_id": song(i), "model_id": "model", "embedding": v, "probabilities": p}
        for i, (v, p) in enumerate(zip(vectors(), probabilities(), strict=True))
    ]
    version = store.new_version("embeddings", EmbedSettings(), "2" * 16, model="mlp", model_id="model")
    version.write_part(pa.Table.from_pylist(rows, EMBEDDINGS))
    store.publish(version)
    similar(store, SimilarSettings(n=8))
    publish_histories(store, tmp_path, likes_and_heard())
    return store


def unit():
    x = vectors().astype(np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def one_of_each(songs):
    return [i for i in sorted(songs) if i == min(j for j in songs if RECORDING[j] == RECORDING[i])]


class Passing:
    """Takes songs one after the other unless they were heard, or fill a cap."""

    def __init__(self, heard, max_per_artist=0, max_per_album=0):
        self.out = {RECORDING[i] for i in heard}
        self.most = {"artist": max_per_artist, "album": max_per_album}
        self.given = {}

    def take(self, i):
        groups = [("artist", a) for a in ARTISTS[i]] + ([("album", ALBUMS[i])] if ALBUMS[i] else [])
        if RECORDING[i] in self.out or any(0 < self.most[g[0]] <= self.given.get(g, 0) for g in groups):
            return False
        self.out.add(RECORDING[i])
        self.given |= {g: self.given.get(g, 0) + 1 for g in groups}
        return True


def by_score(scores, passing, n=N):
    order = sorted(range(N_SONGS), key=lambda i: (-np.float32(scores[i]), i))
    return [i for i in order if passing.take(i)][:n]


def in_turn(liked, passing, n=N):
    """Places from the ranking of each medoid, in turn."""
    cosine = unit() @ unit().T
    centres, sizes = interests(unit(), np.array(one_of_each(liked)))
    rankings = [
        [i for i in sorted(range(N_SONGS), key=lambda i: (-np.float32(cosine[c, i]), i)) if i != c] for c in centres
    ]
    given, mine = np.zeros(len(centres)), []
    while len(mine) < n and any(rankings):
        which = int(
            np.argmax([size / (2 * g + 1) if r else -1 for size, g, r in zip(sizes, given, rankings, strict=True)])
        )
        place = next((k for k, i in enumerate(rankings[which]) if passing.take(i)), None)
        if place is None:
            rankings[which] = []
            continue
        mine.append((rankings[which][place], int(centres[which])))
        rankings[which] = rankings[which][place + 1 :]
        given[which] += 1
    return mine


def wanted(method, liked, passing):
    """Songs, scores and the likes that they are because of."""
    cosine, p = unit() @ unit().T, probabilities().astype(np.float64)
    if method == "multi_interest":
        mine = in_turn(liked, passing)
        return [(song(i), cosine[i, c], song(c)) for i, c in mine]
    likes = sorted(liked) if method == "max" else one_of_each(liked)
    scores = {
        "max": lambda: cosine[likes].max(axis=0),
        "mean": lambda: cosine[likes].mean(axis=0),
        "genre": lambda: cosine[likes].mean(axis=0) + 0.5 * p @ p[likes].mean(axis=0),
    }[method]()
    return [(song(i), scores[i], song(likes[cosine[likes, i].argmax()])) for i in by_score(scores, passing)]


@pytest.mark.parametrize("caps", [{}, CAPS], ids=["no caps", "caps"])
@pytest.mark.parametrize("method", METHODS)
def test_they_are_those_of_a_float64_ranking_of_the_whole_catalog(store, method, caps):
    counts = run(store, method=method, weight=0.5, **caps)
    found = table(store)
    for user, (liked, heard) in likes_and_heard().items():
        mine = wanted(method, liked, Passing([*liked, *heard], **caps))
        assert [(track, because) for track, _, because in found[user]] == [(t, b) for t, _, b in mine], user
        np.testing.assert_allclose([s for _, s, _ in found[user]], [s for _, s, _ in mine], rtol=0, atol=1e-6)
    assert set(store.read("recommendations")["method"].to_pylist()) == {method}
    assert store.footer("recommendations")["settings"]["method"] == method
    assert (counts.cold, counts.by_lists_only) == (0, 0)


@pytest.mark.parametrize("method", ["mean", "multi_interest", "genre"])
def test_they_are_what_evaluate_judges(store, method):
    """Where every song is a recording of its own, and listeners like and hear the same."""
    alone = [{"track_id": song(i), "recording": song(i)} for i in range(N_SONGS)]
    publish(store, "recordings", pa.Table.from_pylist(alone, RECORDINGS), DuplicatesSettings(), "3" * 16)
    likes, heard = (np.zeros((60, N_SONGS), np.float32) for _ in range(2))
    for user, (liked, others) in enumerate(likes_and_heard().values()):
        likes[user, liked], heard[user, others] = 1, 1
    judged = {
        "mean": Mean(vectors()),
        "multi_interest": MultiInterest(vectors()),
        "genre": Genre(vectors(), probabilities()),
    }
    ids = judged[method].fit(sparse.csr_array(likes), sparse.csr_array(heard)).recommend(np.arange(60), N)
    run(store, method=method)
    found = table(store)
    for user, mine in zip(sorted(found), ids, strict=True):
        assert [track for track, _, _ in found[user]] == [song(i) for i in mine], user


@pytest.mark.parametrize("method", ["mean", "genre"])
def test_methods_by_vectors_leave_out_what_the_lists_rules_for_tags_leave_out(store, monkeypatch, method):
    similar(store, SimilarSettings(n=8, min_score=-1.0))  # a rule
    run(store)
    given, songs, tonight = parts_of_a_run(store, monkeypatch, method=method)
    monkeypatch.setattr(methods, "allowed", lambda *_: np.arange(0, N_SONGS, 2))
    rows = store.read("histories").sort_by([("user_id", "ascending"), ("track_id", "ascending")])
    found = recommend_to(rows, given, songs, tonight)[0]
    assert len(found) == 60 * N
    assert {int(track[-3:]) % 2 for track in found["track_id"].to_pylist()} == {0}


@pytest.mark.parametrize("method", ["mean", "multi_interest", "genre"])
def test_without_the_vectors_of_the_lists_a_method_that_compares_them_says_what_to_run(store, publish_vectors, method):
    publish_vectors(store.out, vectors(seed=9))
    with pytest.raises(ConfigError, match=rf"the method {method} compares vectors, .*; run: musicrec similar"):
        run(store, method=method)


def test_the_method_genre_without_genre_probabilities_says_what_to_run(store, publish_vectors):
    publish_vectors(store.out, vectors())
    similar(store, SimilarSettings(n=8))
    with pytest.raises(ConfigError, match="genre needs the genre probabilities of embeddings; run: musicrec embed"):
        run(store, method="genre")


# --- listeners of whom little is known --------------------------------------------------------------------------------


def rows_of(store):
    found = {}
    for row in store.read("recommendations").to_pylist():
        found.setdefault(row["user_id"], []).append((row["track_id"], row["method"], row["score"], row["because"]))
    return found


LISTENERS = {
    "ann": ([2, 3, 4], []),
    "Ann": ([2, 3], [5]),  # another listener
    "ben": ([2], [7]),
    "cold": ([], [3, 90]),  # has skipped a popular song
    "one": ([50], []),
}


@pytest.mark.parametrize("method", METHODS)
def test_who_likes_nothing_gets_what_most_listeners_like(store, tmp_path, method):
    publish_histories(store, tmp_path, LISTENERS)
    counts = run(store, method=method)
    found = rows_of(store)
    assert found["cold"] == [
        (song(2), "popularity", 3.0, None), (song(4), "popularity", 1.0, None), (song(50), "popularity", 1.0, None)
    ]  # fmt: skip
    assert (counts.without_likes, counts.cold, counts.fewer_songs) == (1, 1, 1)
    assert {row[1] for user in ("ann", "Ann", "ben", "one") for row in found[user]} == {method}
    assert "1 by centres of genres or popularity" in str(counts)
    assert found["ann"] != found["Ann"]


def test_popular_songs_are_one_file_of_each_recording_and_hold_caps(store, tmp_path):
    publish_histories(store, tmp_path, {"a": ([0, 1], []), "b": ([1, 13, 26], []), "cold": ([], [4])})
    run(store, max_per_artist=1)
    assert [row[:3] for row in rows_of(store)["cold"]] == [
        (song(1), "popularity", 2.0),  # 0 and 1 are one recording; 13 and 26 are by one artist
        (song(13), "popularity", 1.0),
    ]


def test_who_likes_what_cannot_be_compared_gets_songs_from_the_centres_of_those_genres(
    tmp_path, store, publish_vectors
):
    gone = [None if i in (8, 12, 9) else v for i, v in enumerate(vectors())]
    publish_vectors(store.out, gone)
    publish_tracks(store, genre=GENRES)
    similar(store, SimilarSettings(n=8))
    publish_histories(store, tmp_path, {"cold": ([8, 12, 9], []), "other": ([40], [])})
    counts = run(store)
    centre = {}
    for genre in ("g0", "g1"):
        own = [i for i in range(N_SONGS) if GENRES[i] == genre and i not in (8, 12, 9)]
        centre[genre] = own[int((unit()[own] @ unit()[own].sum(axis=0)).argmax())]
    found = rows_of(store)["cold"]
    assert {row[1] for row in found} == {"genre_centres"}
    assert [row[0] for row in found[:2]] == [song(centre["g0"]), song(centre["g1"])]
    assert found[0][2:] == (1.0, None)
    assert (counts.without_likes, counts.cold) == (1, 1)
    lists = store.read("similar").to_pylist()
    near = {g: {r["similar_track_id"] for r in lists if r["track_id"] == song(c)} for g, c in centre.items()}
    assert sum(row[0] in near["g0"] | {song(centre["g0"])} for row in found) >= 4  # two of three likes
    assert all(row[0] in near["g0"] | near["g1"] | set(map(song, centre.values())) for row in found)


def test_listeners_with_fewer_likes_than_asked_for_are_cold(store, tmp_path):
    publish_histories(store, tmp_path, LISTENERS)
    counts = run(store, min_likes=2)
    found = rows_of(store)
    assert {user for user, rows in found.items() if rows[0][1] == "max"} == {"ann", "Ann"}
    assert {found[user][0][1] for user in ("one", "ben")} == {"genre_centres"}
    assert all(track != song(50) for track, *_ in found["one"])
    assert (counts.cold, counts.without_likes) == (3, 1)


@pytest.mark.parametrize("method", METHODS)
def test_who_has_heard_no_song_of_the_catalog_gets_what_most_listeners_like(store, tmp_path, method):
    publish_histories(store, tmp_path, LISTENERS | {"stranger": ([700, 800], [900])})
    counts = run(store, method=method)
    found = rows_of(store)
    assert found["stranger"] == [(song(2), "popularity", 3.0, None), *found["stranger"][1:]]
    assert len(found["stranger"]) == 4  # all that anybody likes
    assert (counts.listeners, counts.without_likes, counts.cold, counts.unknown_songs) == (6, 2, 2, 0)


def test_every_listener_without_a_song_has_a_reason(store, tmp_path):
    everything = list(range(N_SONGS))
    publish_histories(store, tmp_path, {"all": ([0], everything), "nobody": ([], [1])})
    counts = run(store)
    assert rows_of(store) == {}
    assert (counts.heard_everything, counts.without_songs, counts.listeners) == (1, 1, 2)
    assert "1 with nothing left, as they have heard everything, 1 with no song left that anybody likes" in str(counts)


def test_unknown_songs_and_an_empty_history_are_no_fault(store):
    for rows in ([], [{"user_id": "u", "track_id": "gone", "plays": 3}]):
        publish(
            store,
            "histories",
            pa.Table.from_pylist(rows, HISTORIES),
            HistoriesSettings(files=("x",)),
            f"{len(rows)}" * 16,
        )
        for method in METHODS:
            counts = run(store, method=method)
            assert (counts.listeners, counts.rows, counts.unknown_songs) == (len(rows), 0, len(rows))
            assert counts.without_songs == len(rows)
