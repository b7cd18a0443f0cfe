"""The method hybrid beside a plain fusion of two lists: what similar listeners like, and what is most similar."""

import re
import shutil
from dataclasses import replace
from importlib import metadata

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import sparse

from musicrec.errors import ConfigError
from musicrec.models.recommenders import collaborative
from musicrec.models.recommenders.collaborative import ALS
from musicrec.schemas import HISTORIES, RECORDINGS
from musicrec.settings import (
    DuplicatesSettings,
    HistoriesSettings,
    ListenerEvaluationSettings,
    RecommendSettings,
    SimilarSettings,
)
from musicrec.similarity.listeners.nearest_to_likes import caps_of
from musicrec.stages.listener_evaluation.held_out_likes import drawn, fused_for, matrices, split_likes
from musicrec.stages.listener_evaluation.listening_data import read_listening
from musicrec.stages.listener_evaluation.stage import fitted
from musicrec.stages.recommendations import collaborative_fit, hybrid_lists, methods
from musicrec.stages.recommendations.kept_listeners import FOLDER
from musicrec.stages.recommendations.listener_tasks import recommend_to
from musicrec.stages.recommendations.stage import recommend_to_all, refresh_recommendations
from musicrec.stages.similar.stage import similar
from musicrec.store.store import Store
from recommending import N, needs_implicit, parts_of_a_run, publish, publish_tracks, run, song, table, version

pytestmark = [pytest.mark.usefixtures("ray_session"), needs_implicit]

N_SONGS, N_TASTES = 150, 3
COLD = 140  # from this song on, nobody likes any
ARTISTS = [[f"a{i % 9}"] for i in range(N_SONGS)]
RECORDING = [i - 1 if i % 10 == 1 else i for i in range(N_SONGS)]  # songs 0 and 1 are one, 10 and 11, ...


def vectors():
    rng = np.random.default_rng(3)
    return (np.eye(N_TASTES, 8)[np.arange(N_SONGS) % 5 % N_TASTES] + 0.5 * rng.normal(size=(N_SONGS, 8))).astype(
        np.float32
    )


def listeners(seed=1, n=60):
    """Each likes songs of one taste, which vectors know partly, and has heard others."""
    rng = np.random.default_rng(seed)
    found = {}
    for user in range(n):
        mine = rng.permutation(np.arange(user % N_TASTES, COLD, N_TASTES))
        found[f"user-{user:02d}"] = (mine[: rng.integers(4, 14)].tolist(), rng.permutation(N_SONGS)[:9].tolist())
    return found | {"cold": ([], [2, 3])}


def publish_timed(store, given):
    """Histories in which each listener comes to like songs one after the other."""
    rows = [
        {"user_id": user, "track_id": song(i), "plays": int(i in liked), "seconds": None, "first_at": at, "last_at": at}
        for user, (liked, heard) in given.items()
        for at, i in enumerate([*liked, *(i for i in heard if i not in liked)])
    ]
    rows = sorted(rows, key=lambda row: (row["user_id"], row["track_id"]))
    made_of = HistoriesSettings(files=("simulated",))
    publish(store, "histories", pa.Table.from_pylist(rows, HISTORIES), made_of, f"{hash(str(given)) % 10**16:016d}")


@pytest.fixture
def store(tmp_path, publish_vectors):
    """An OUT with artists and copies, lists of eight songs, and listeners."""
    store = publish_vectors(tmp_path / "out", vectors())
    publish_tracks(store, n=N_SONGS, artist_ids=ARTISTS, genre=["g"] * N_SONGS)
    sounds = [{"track_id": song(i), "recording": song(RECORDING[i])} for i in range(N_SONGS)]
    publish(store, "recordings", pa.Table.from_pylist(sounds, RECORDINGS), DuplicatesSettings(), "1" * 16)
    similar(store, SimilarSettings(n=8))
    publish_timed(store, listeners())
    return store


def content(store):
    """The bytes of the table, and what is kept and said of its listeners."""
    folder = store.path("recommendations")
    parts = [path.read_bytes() for path in sorted((folder / "parts").glob("*"))]
    kept = [pq.read_table(path).to_pylist() for path in sorted((folder / FOLDER).glob("*"))]
    return parts, kept, store.footer("recommendations")["lineage"]


def card(store):
    return store.footer("recommendations")["lineage"]["hybrid"]


@pytest.fixture
def weighed(monkeypatch):
    """Sets the weights that are fitted."""

    def set_weights(*weights):
        real = collaborative_fit.fused_for

        def fused(*arguments):
            hybrid = real(*arguments)
            hybrid.weights = np.array(weights)
            return hybrid

        monkeypatch.setattr(collaborative_fit, "fused_for", fused)
        # Tasks run in other processes, which know nothing of this.
        monkeypatch.setattr("musicrec.stages.recommendations.stage.fit_on_ray", collaborative_fit.fit)

    return set_weights


# --- a plain reference ------------------------------------------------------------------------------------------------


def unit():
    x = vectors().astype(np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def ranking(scores, out, depth):
    """One file of each recording that is not heard, by descending score, then number."""
    found, taken = [], set(out)
    for i in sorted(scores, key=lambda i: (-np.float32(scores[i]), i)):
        if RECORDING[i] not in taken and len(found) < depth:
            taken.add(RECORDING[i])
            found.append(i)
    return found


def plain_fusion(given, weights, depth, max_per_artist=0):
    """Songs and scores of each listener, by the two lists and reciprocal ranks in plain Python."""
    recordings = sorted(set(RECORDING))
    users = sorted(given)
    likes = np.zeros((len(users), len(recordings)), np.float32)
    for row, user in enumerate(users):
        likes[row, [recordings.index(RECORDING[i]) for i in given[user][0]]] = 1
    factors = ALS(seed=0).fit(sparse.csr_array(likes)).factors
    found = {}
    for row, user in enumerate(users):
        liked, heard = given[user]
        if not liked:
            continue
        out = {RECORDING[i] for i in (*liked, *heard)}
        by_content = ranking(dict(enumerate((unit() @ unit()[liked].T).max(axis=1))), out, depth)
        of_user = factors.users[row].astype(np.float64) @ factors.items.T
        known = {r: of_user[k] for k, r in enumerate(recordings) if likes[:, k].any()}
        scores, file = {}, {}
        for weight, songs in zip(weights, (ranking(known, out, depth), by_content), strict=True):
            for rank, i in enumerate(songs, 1):
                scores[RECORDING[i]] = scores.get(RECORDING[i], 0) + weight / (60 + rank)
                file[RECORDING[i]] = i  # of two files, that which content has found
        mine, per_artist = [], {}
        for r in sorted((r for r in scores if scores[r]), key=lambda r: (-np.float32(scores[r]), r)):
            (artist,) = ARTISTS[file[r]]
            if not max_per_artist or per_artist.get(artist, 0) < max_per_artist:
                per_artist[artist] = per_artist.get(artist, 0) + 1
                mine.append((song(file[r]), scores[r]))
        found[user] = mine[:N]
    return found


def most_similar(i, liked):
    return song(liked[int(np.argmax(np.float32(unit()[liked] @ unit()[i])))])


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.25, 0.75), (1.0, 0.0), (0.0, 1.0)])
def test_they_are_those_of_a_plain_fusion_of_the_two_lists(store, weighed, weights):
    weighed(*weights)
    run(store, method="hybrid")
    found, wanted = table(store), plain_fusion(listeners(), weights, 100)
    for user, mine in wanted.items():
        liked = sorted(listeners()[user][0])
        assert [because for *_, because in found[user]] == [most_similar(int(t[-3:]), liked) for t, *_ in found[user]]
        assert [track for track, _, _ in found[user]] == [track for track, _ in mine], user
        np.testing.assert_allclose([s for _, s, _ in found[user]], [s for _, s in mine], rtol=1e-6)
    rows = store.read("recommendations").to_pylist()
    assert {row["method"] for row in rows if row["user_id"] != "cold"} == {"hybrid"}
    assert {row["method"] for row in rows if row["user_id"] == "cold"} == {"popularity"}
    assert card(store)["weights"] == dict(zip(("als", "max"), weights, strict=True))


def test_where_caps_leave_too_few_songs_longer_lists_are_fused(store, weighed, monkeypatch):
    weighed(0.5, 0.5)
    run(store)
    given, songs, tonight = parts_of_a_run(store, monkeypatch, method="hybrid")
    settings = given.settings.model_copy(update={"max_per_artist": 1})
    given = replace(given, settings=settings, caps=caps_of(given.catalog, 1))
    monkeypatch.setattr(hybrid_lists, "DEPTH", N)
    monkeypatch.setattr(hybrid_lists, "MOST_CELLS", 7 * N)
    rows = store.read("histories").select(["user_id", "track_id", "plays"])
    found = recommend_to(rows, given, songs, tonight)[0].to_pylist()
    by_depth = {depth: plain_fusion(listeners(), (0.5, 0.5), depth, max_per_artist=1) for depth in (N, 4 * N, 16 * N)}
    assert sum(len(mine) < N for mine in by_depth[N].values()) > 3
    for user in by_depth[N]:
        wanted = next(of[user] for of in by_depth.values() if len(of[user]) == N)
        mine = [row for row in found if row["user_id"] == user]
        assert [row["track_id"] for row in mine] == [track for track, _ in wanted], user


def test_where_caps_leave_too_few_songs_in_the_whole_catalog_the_list_is_shorter(store, weighed):
    weighed(0.5, 0.5)
    counts = run(store, method="hybrid", n=12, max_per_artist=1)
    assert {len(mine) for user, mine in table(store).items() if user != "cold"} == {9}  # one by each artist
    assert counts.fewer_songs == counts.listeners


def test_what_the_rules_for_tags_leave_out_is_not_recommended_for_its_listeners(store, weighed, monkeypatch):
    similar(store, SimilarSettings(n=8, min_score=-1.0, max_churn=1.0))  # a rule
    weighed(1.0, 0.0)
    run(store)
    given, songs, tonight = parts_of_a_run(store, monkeypatch, method="hybrid")
    monkeypatch.setattr(methods, "allowed", lambda *_: np.arange(0, N_SONGS, 2))
    rows = store.read("histories").select(["user_id", "track_id", "plays"])
    found = recommend_to(rows, given, songs, tonight)[0].to_pylist()
    assert len(found) > 60 * (N - 1)
    numbers = {int(row["track_id"][-3:]) for row in found if row["method"] == "hybrid"}
    assert all(i % 2 == 0 or i % 10 == 1 for i in numbers)  # of the copies, the lists by content may hold the second


def test_songs_that_nobody_likes_yet_come_from_content(store, weighed):
    cold = {song(i) for i in range(COLD, N_SONGS)}
    weighed(0.5, 0.5)
    run(store, method="hybrid", n=60)
    assert {row["track_id"] for row in store.read("recommendations").to_pylist()} & cold
    weighed(1.0, 0.0)
    run(store, method="hybrid", n=61)
    assert not {row["track_id"] for row in store.read("recommendations").to_pylist()} & cold


# --- weights ----------------------------------------------------------------------------------------------------------


def test_the_weights_are_those_that_evaluate_fits(store):
    run(store, method="hybrid", seed=3)
    how = ListenerEvaluationSettings(methods=("als", "max"), n=N, seed=3)
    data = read_listening(store)
    split = split_likes(data.likes, how)
    validation, _ = drawn(data, split, how)
    own = fitted(store, data, how, *matrices(data, split))
    hybrid = fused_for(validation, own, data, split, N)
    assert card(store)["weights"] == dict(zip(hybrid.methods, hybrid.weights.tolist(), strict=True))
    assert (card(store)["split"], card(store)["n_validation_users"]) == ("time", len(validation))
    about = card(store)["collaborative"]
    assert about["library"] == f"implicit {metadata.version('implicit')}"
    assert (about["method"], about["random_state"], about["num_threads"]) == ("als", 3, 1)
    assert store.footer("recommendations")["settings"]["seed"] == 3


def test_where_listeners_agree_more_than_vectors_what_they_like_has_weight(tmp_path, publish_vectors, store):
    noise = np.random.default_rng(8).normal(size=(N_SONGS, 8)).astype(np.float32)
    publish_vectors(store.out, noise)
    publish_tracks(store, n=N_SONGS, artist_ids=ARTISTS, genre=["g"] * N_SONGS)
    similar(store, SimilarSettings(n=8, max_churn=1.0))
    counts = run(store, method="hybrid")
    assert card(store)["weights"]["als"] > 0.5
    assert f"hybrid: {card(store)['weights']['als']:g} als" in str(counts)


@pytest.mark.parametrize("given", [
    {"ada": ([1, 2, 3, 9], [])},
    {"ada": ([1], []), "ben": ([2], [4]), "eve": ([3], [])},
])  # fmt: skip
def test_with_too_few_listeners_to_fit_weights_on_content_counts_alone(store, given):
    publish_timed(store, given)
    run(store, method="max")
    by_max = table(store)
    counts = run(store, method="hybrid")
    assert {user: [(t, b) for t, _, b in mine] for user, mine in table(store).items()} == {
        user: [(t, b) for t, _, b in mine] for user, mine in by_max.items()
    }
    assert "hybrid: by content alone, as too few listeners have likes that can be held out" in str(counts)
    assert card(store)["weights"] == {"als": 0.0, "max": 1.0}


def test_listeners_who_like_nothing_that_can_be_compared_are_cold(store):
    publish_timed(store, {"ada": ([], [1]), "ben": ([], [4])})
    counts = run(store, method="hybrid")
    assert (counts.listeners, counts.rows, counts.without_likes) == (2, 0, 2)
    assert run(store, method="hybrid", n=9).without_songs == 2


# --- nights -----------------------------------------------------------------------------------------------------------


def test_two_runs_give_the_same_bytes_and_another_seed_other_songs(store, tmp_path):
    other = Store(shutil.copytree(store.out, tmp_path / "other", symlinks=True))
    for each in (store, other):
        assert run(each, method="hybrid").anew == 61
    assert content(store) == content(other)
    run(other, method="hybrid", seed=1)
    assert content(store)[0] != content(other)[0]


def test_a_night_recommends_to_all_anew_or_to_nobody(store):
    run(store, method="hybrid")
    published = version(store)
    assert refresh_recommendations(store).anew == 0
    assert version(store) == published
    publish_timed(store, listeners() | {"new": ([7, 8], [])})
    assert refresh_recommendations(store).anew == 62


def test_without_implicit_one_line_says_what_to_install_and_a_night_keeps_the_table(store, monkeypatch):
    run(store, method="hybrid")
    before = content(store)
    publish_timed(store, listeners(seed=4))

    def missing(_):
        raise ModuleNotFoundError("implicit")

    monkeypatch.setattr(collaborative, "import_module", missing)
    told = r"^hybrid needs the library implicit, which is not installed; run: pip install 'musicrec\[collaborative\]'$"
    with pytest.raises(ConfigError, match=told):
        recommend_to_all(store, RecommendSettings(n=N, method="hybrid"))
    counts = refresh_recommendations(store)
    assert (counts.fresh, "hybrid needs the library implicit" in str(counts)) == (False, True)
    assert content(store) == before


def test_without_the_vectors_of_the_lists_it_says_what_to_run(store, publish_vectors):
    publish_vectors(store.out, vectors()[::-1])
    with pytest.raises(ConfigError, match=r"the method hybrid compares vectors, .*; run: musicrec similar"):
        run(store, method="hybrid")


def test_the_command_says_what_was_fused(store, command):
    code, shown, _ = command("recommend", store.out, "--histories", "--method", "hybrid", "--seed", "2")
    assert code == 0
    assert re.search(r"; hybrid: [\d.]+ (als|max).*; the weights fit \d+ listeners; ", shown)
    code, _, complaint = command("recommend", store.out, "--like", "x", "--seed", "2")
    assert (code, "--seed needs --histories" in complaint) == (2, True)
