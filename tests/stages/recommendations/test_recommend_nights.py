"""Nights: only those listeners are recommended to anew for whom something changed; the table is that of a full run."""

import random
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from musicrec.schemas import RECORDINGS
from musicrec.settings import DuplicatesSettings, RecommendSettings, SimilarSettings
from musicrec.stages.recommendations.kept_listeners import FOLDER
from musicrec.stages.recommendations.stage import recommend_to_all, refresh_recommendations
from musicrec.stages.similar.stage import similar
from musicrec.store.store import Store
from recommending import (
    N_SONGS,
    N_USERS,
    N,
    likes_and_heard,
    needs_implicit,
    publish,
    publish_histories,
    publish_tracks,
    song,
    vectors,
)

pytestmark = [pytest.mark.usefixtures("ray_session"), pytest.mark.thorough]

CAPS = {"max_per_artist": 2, "max_per_album": 1}


class Collection:
    """Songs and listeners that change from night to night."""

    def __init__(self, out, folder, publish_vectors, seed=0):
        self.out, self.folder, self.publish_vectors = out, folder, publish_vectors
        self.rng = random.Random(seed)
        self.songs = dict(enumerate(vectors()[:100]))
        self.copies = {song(11): song(10)}
        self.listeners = likes_and_heard() | {"cold": ([], [1]), "Cold": ([], []), "gone": ([117], [])}

    def publish(self):
        ids = sorted(self.songs)
        self.store = self.publish_vectors(self.out, [self.songs[i] for i in ids], [song(i) for i in ids])
        columns = {
            "artist_ids": {i: [f"a{i % 17}"] for i in range(N_SONGS)},
            "album_id": {i: f"b{i % 31}" for i in range(N_SONGS)},
            "genre": {i: f"g{i % 3}" for i in range(N_SONGS)},
        }
        publish_tracks(self.store, songs=ids, **columns)
        sounds = [{"track_id": song(i), "recording": self.copies.get(song(i), song(i))} for i in ids]
        publish(self.store, "recordings", pa.Table.from_pylist(sounds, RECORDINGS), DuplicatesSettings(), "1" * 16)
        publish_histories(self.store, self.folder, {user: both for user, both in self.listeners.items() if any(both)})
        similar(self.store, SimilarSettings(n=12, max_churn=1.0))
        return self.store

    def change(self, what):
        new = np.random.default_rng(self.rng.randrange(2**32)).normal(size=8).astype(np.float32)
        user = f"user-{self.rng.randrange(N_USERS):02d}"
        match what:
            case "a song is added":
                self.songs[self.rng.choice([i for i in range(100, N_SONGS) if i not in self.songs])] = new
            case "a song is changed":
                self.songs[self.rng.choice(sorted(self.songs))] = new
            case "a song is removed":
                del self.songs[self.rng.choice(sorted(self.songs))]
            case "a copy is found":
                rows = self.store.read("recommendations").to_pylist()
                user = self.rng.choice([row["user_id"] for row in rows if row["rank"] == 2])
                first, second = sorted(row["track_id"] for row in rows if row["user_id"] == user and row["rank"] <= 2)
                self.copies[second] = first
            case "a listener likes another song":
                self.listeners[user] = ([*self.listeners[user][0], self.rng.randrange(100)], self.listeners[user][1])
            case "a listener comes":
                self.listeners[f"new-{len(self.listeners)}"] = ([self.rng.randrange(100)], [])
            case "a listener goes":
                self.listeners.pop(user, None)


def content(store):
    """The bytes of the table, and what is kept and said of its listeners."""
    folder = store.path("recommendations")
    parts = [path.read_bytes() for path in sorted((folder / "parts").glob("*"))]
    kept = [pq.read_table(path).to_pylist() for path in sorted((folder / FOLDER).glob("*"))]
    return parts, kept, store.footer("recommendations")["lineage"]


def full_run(store, folder, settings):
    """The same by an OUT in which nothing is recommended yet."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(store.out, folder, symlinks=True)
    (folder / "recommendations").unlink()
    shutil.rmtree(folder / "_versions" / "recommendations")
    other = Store(folder)
    assert recommend_to_all(other, settings).anew > 0
    return content(other)


CHANGES = [
    ["a listener likes another song"],
    ["a song is added"],
    ["a song is changed", "a listener comes"],
    ["a song is removed", "a listener goes"],
    ["a copy is found"],
    [],
    ["a song is added", "a song is changed", "a song is removed", "a copy is found", "a listener likes another song"],
]


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("max", {}),
        ("max", CAPS | {"min_likes": 3}),
        ("multi_interest", CAPS),
        ("mean", CAPS),
        pytest.param("hybrid", CAPS, marks=needs_implicit),
    ],
)
def test_every_night_gives_the_bytes_of_a_full_run(tmp_path, publish_vectors, method, more):
    settings = RecommendSettings(n=N, method=method, **more)
    collection = Collection(tmp_path / "out", tmp_path, publish_vectors, seed=len(method))
    recommend_to_all(collection.publish(), settings)
    anew = []
    for changes in CHANGES:
        for change in changes:
            collection.change(change)
        store = collection.publish()
        anew.append(refresh_recommendations(store).anew)
        assert content(store) == full_run(store, tmp_path / "full", settings), changes
    if method == "hybrid":  # the factors of each listener depend on all
        assert [n > N_USERS - 2 for n in anew] == [n != 5 for n in range(len(anew))]
        assert anew[5] == 0
        return
    n_cold = 5 if not more.get("min_likes") else 30
    assert 1 <= anew[0] <= 1 + n_cold  # the one who likes another song, and those who get popular songs
    assert anew[5] == 0
    if method != "mean":  # every song may be in every list
        assert 0 < anew[1] < N_USERS


def test_many_nights_in_a_row_stay_exact(tmp_path, publish_vectors):
    """Each night goes on from the one before, and only the last is compared."""
    settings = RecommendSettings(n=N)
    collection = Collection(tmp_path / "out", tmp_path, publish_vectors, seed=3)
    recommend_to_all(collection.publish(), settings)
    for night in range(8):
        for change in CHANGES[night % len(CHANGES)]:
            collection.change(change)
        refresh_recommendations(collection.publish())
    assert content(collection.store) == full_run(collection.store, tmp_path / "full", settings)


def test_other_settings_and_a_damaged_note_make_everybody_anew(tmp_path, publish_vectors):
    collection = Collection(tmp_path / "out", tmp_path, publish_vectors)
    store = collection.publish()
    everybody = recommend_to_all(store, RecommendSettings(n=N)).anew
    assert recommend_to_all(store, RecommendSettings(n=N + 1)).anew == everybody
    shutil.rmtree(store.path("recommendations") / FOLDER)
    collection.change("a listener likes another song")
    assert recommend_to_all(collection.publish(), RecommendSettings(n=N + 1)).anew == everybody


def test_a_night_on_lists_of_older_vectors_keeps_the_table_where_the_method_needs_them(tmp_path, publish_vectors):
    collection = Collection(tmp_path / "out", tmp_path, publish_vectors)
    store = collection.publish()
    recommend_to_all(store, RecommendSettings(n=N, method="mean"))
    before = content(store)
    publish_vectors(store.out, [*vectors(seed=9)[:100]])
    collection.listeners["user-00"] = ([1], [])
    publish_histories(store, tmp_path, {"user-00": ([1], [])})
    counts = refresh_recommendations(store)
    assert not counts.fresh
    assert "the method mean compares vectors" in str(counts)
    assert content(store) == before
