"""Recommendations for all listeners: exact, the same for any parts and blocks, and published as similar is."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import listening_files
from listening_files import START
from musicrec.errors import ConfigError, PublishError
from musicrec.schemas import RECORDINGS, TRACKS
from musicrec.settings import (
    CatalogSettings,
    DuplicatesSettings,
    HistoriesSettings,
    RecommendSettings,
    SimilarSettings,
)
from musicrec.stages.histories import tally as tally_module
from musicrec.stages.histories.stage import histories
from musicrec.stages.recommendations import deeper_lists, listener_tasks, methods
from musicrec.stages.recommendations.history_blocks import blocks_of
from musicrec.stages.recommendations.stage import recommend_to_all
from musicrec.stages.similar.stage import similar
from recommending import (
    N_SONGS,
    N_USERS,
    N,
    assert_same,
    expected,
    likes_and_heard,
    parts_of_a_run,
    publish,
    publish_histories,
    publish_tracks,
    run,
    song,
    table,
    vectors,
    version,
)

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture
def store(tmp_path, publish_vectors):
    """An OUT with lists of eight songs, and listeners, for some of whom these are too short."""
    store = publish_vectors(tmp_path / "out", vectors())
    similar(store, SimilarSettings(n=8))
    publish_histories(store, tmp_path, likes_and_heard())
    return store


def test_they_are_those_of_a_float64_ranking_of_the_whole_catalog(store):
    counts = run(store)
    assert_same(table(store), expected(vectors(), likes_and_heard()))
    assert (counts.listeners, counts.rows) == (N_USERS, N_USERS * N)
    assert 0 < counts.deeper_lists < N_USERS
    assert counts.by_lists_only == 0
    assert f"{N_USERS * N} songs for {N_USERS} listeners; listeners: {counts.deeper_lists} by longer lists" in str(
        counts
    )
    footer = store.footer("recommendations")
    assert footer["settings"] == RecommendSettings(n=N).model_dump()
    assert footer["lineage"]["made_of"].keys() == {"histories", "similar"}
    assert footer["lineage"]["listeners"]["deeper_lists"] == counts.deeper_lists


def test_the_same_five_songs_from_any_service_or_player_give_the_same_five_new_ones(tmp_path, publish_vectors):
    store = publish_vectors(tmp_path / "out", vectors(n=20))
    named = [*listening_files.tracks().to_pylist(), *({"track_id": song(i), "uri": f"/{i}"} for i in range(8, 20))]
    publish(store, "tracks", pa.Table.from_pylist(named, TRACKS), CatalogSettings(source="/music"), "2" * 16)
    similar(store, SimilarSettings(n=10))
    five = [0, 1, 2, 3, 4]
    (tmp_path / "ada.m3u8").write_text(listening_files.m3u8(five))
    files = [
        listening_files.write_json(tmp_path / "endsong_0.json", listening_files.spotify(five)),
        listening_files.write_export(tmp_path / "listenbrainz_ada_1.zip", listening_files.listenbrainz(five)),
        listening_files.write_json(tmp_path / "page.json", listening_files.lastfm(five)),
        tmp_path / "ada.m3u8",
    ]
    found = []
    for file in files:
        histories(store, HistoriesSettings(files=(str(file),), user="ada"))
        run(store, n=5)
        found.append(table(store))
    assert found == [found[0]] * 4
    assert_same(found[0], expected(vectors(n=20), {"ada": (five, [])}, n=5))


def test_other_recordings_of_heard_songs_and_artists_above_their_cap_are_left_out(store):
    rng = np.random.default_rng(3)
    of_source, of_sound = (np.where(rng.random(N_SONGS) < 0.5, rng.integers(0, 30, N_SONGS), -1) for _ in range(2))
    artists = [sorted({f"a{a}" for a in rng.integers(0, 12, rng.integers(0, 3))}) for _ in range(N_SONGS)]
    publish_tracks(store, recording=[f"r{r}" if r >= 0 else None for r in of_source], artist_ids=artists)
    sounds = [
        {"track_id": song(i), "recording": f"s{s}" if s >= 0 else song(i), "score": 0.0} for i, s in enumerate(of_sound)
    ]
    publish(store, "recordings", pa.Table.from_pylist(sounds, RECORDINGS), DuplicatesSettings(), "1" * 16)
    recording = list(range(N_SONGS))  # by the slowest way to join all that share either
    for _ in range(N_SONGS):
        for codes in (of_source, of_sound):
            for code in set(codes.tolist()) - {-1}:
                members = np.flatnonzero(codes == code)
                least = min(recording[i] for i in members)
                for i in members:
                    recording[i] = least
    counts = run(store, max_per_artist=1)
    wanted = expected(vectors(), likes_and_heard(), recording=recording, artists=artists, max_per_artist=1)
    assert_same(table(store), wanted)
    assert counts.fewer_songs == sum(0 < len(mine) < N for mine in wanted.values())


@pytest.mark.parametrize("rules", [{"no_same_artist": True}, {"metric": "euclidean"}, {"min_score": 0.2}])
def test_by_the_lists_of_rules_they_are_those_of_lists_that_hold_all_songs(store, rules):
    publish_tracks(store, artist_ids=[[f"a{i % 9}"] for i in range(N_SONGS)])
    similar(store, SimilarSettings(n=8, **rules))
    assert run(store).deeper_lists > 0
    by_short_lists = table(store)
    similar(store, SimilarSettings(n=N_SONGS, **rules))
    assert run(store).deeper_lists == 0
    assert table(store) == by_short_lists


def test_nothing_depends_on_parts_blocks_or_depths(store, tmp_path, monkeypatch):
    run(store)
    whole = table(store)
    monkeypatch.setattr(tally_module, "MOST_ROWS", 40)
    file = tmp_path / "again.parquet"
    pq.write_table(pq.read_table(tmp_path / "listens.parquet"), file)
    histories(store, HistoriesSettings(files=(str(file),)), now_s=START + 1)
    assert len(list(store.path("histories").glob("parts/*"))) > 5
    run(store)
    assert len(list(store.path("recommendations").glob("parts/*"))) > 5
    assert table(store) == whole
    given, songs, tonight = parts_of_a_run(store, monkeypatch)
    rows = store.read("histories").sort_by([("user_id", "ascending"), ("track_id", "ascending")])
    monkeypatch.setattr(deeper_lists, "MOST_CELLS", 100)
    for at_once in (1, 7):
        blocks = blocks_of(rows, at_once)
        assert len(blocks) == -(-N_USERS // at_once)
        tables = [listener_tasks.recommend_to(block, given, songs, tonight)[0] for block in blocks]
        found = pa.concat_tables(tables).to_pylist()
        assert (
            found
            == store.read("recommendations").sort_by([("user_id", "ascending"), ("rank", "ascending")]).to_pylist()
        )


def test_without_the_vectors_of_the_lists_the_listeners_of_short_lists_are_counted(store, publish_vectors):
    exact = run(store).deeper_lists
    publish_vectors(store.out, vectors(seed=9))
    counts = run(store, n=N, max_per_artist=99)
    assert (counts.deeper_lists, counts.by_lists_only) == (0, exact)
    assert f"{exact} by lists that may be too short" in str(counts)


def test_listeners_without_likes_with_nothing_left_and_of_unknown_songs_are_counted(store, tmp_path):
    listeners = {"all": ([0], list(range(N_SONGS))), "none": ([], [1, 2]), "one": ([3], [])}
    publish_histories(store, tmp_path, listeners)
    publish_tracks(store, n=3)  # the fourth song has left the catalog, but not yet the lists
    similar_before = store.versions("similar").published
    counts = run(store)
    assert store.versions("similar").published == similar_before
    assert (counts.listeners, counts.without_likes, counts.cold, counts.heard_everything) == (3, 1, 1, 1)
    assert table(store).keys() == {"one", "none"}


def test_a_history_of_songs_that_are_gone_is_no_fault(store, publish_vectors):
    publish_vectors(store.out, vectors()[:100])
    similar(store, SimilarSettings(n=8))
    counts = run(store)
    assert counts.unknown_songs == sum(
        i >= 100 for liked, heard in likes_and_heard().values() for i in {*liked, *heard}
    )
    known = {u: ([i for i in liked if i < 100], [i for i in heard if i < 100])
             for u, (liked, heard) in likes_and_heard().items()}  # fmt: skip
    assert counts.without_likes == sum(not liked for liked, _ in known.values())
    assert counts.cold == counts.without_likes
    found = {user: mine for user, mine in table(store).items() if known[user][0]}
    assert_same(found, expected(vectors()[:100], {u: both for u, both in known.items() if both[0]}))


# --- publishing ---------------------------------------------------------------------------------------------------


def test_nothing_is_done_while_all_stays_the_same_and_a_new_history_gives_a_new_table(store, tmp_path):
    run(store)
    published = version(store)
    assert not run(store).fresh
    assert version(store) == published
    assert run(store, n=3).fresh
    assert version(store) != published
    publish_histories(store, tmp_path, likes_and_heard(seed=5))
    assert run(store).fresh
    assert_same(table(store), expected(vectors(), likes_and_heard(seed=5)))


def test_a_table_that_is_not_whole_is_not_published(store, monkeypatch):
    run(store)
    published = version(store)
    given, songs, tonight = parts_of_a_run(store, monkeypatch)
    rows = store.read("histories")
    monkeypatch.setattr(methods, "with_deeper_lists", spoil)
    with pytest.raises(PublishError, match=r"recommend: a song that was heard.*; the published table is unch"):
        listener_tasks.recommend_to(rows, given, songs, tonight)
    assert version(store) == published


def spoil(found, read, *_):
    found.ids[0, 0] = read.of(0)[0]
    return ~found.is_exact


def test_without_histories_or_lists_the_command_says_what_to_run(tmp_path, publish_vectors):
    store = publish_vectors(tmp_path / "out", vectors())
    with pytest.raises(ConfigError, match=r"has no histories to recommend from; run: musicrec histories .* PATH"):
        recommend_to_all(store, RecommendSettings())
    publish_histories(store, tmp_path, likes_and_heard())
    with pytest.raises(ConfigError, match="has no similar to recommend from; run: musicrec similar"):
        recommend_to_all(store, RecommendSettings())


def test_the_command_and_the_job_publish_the_table(store, command):
    code, shown, _ = command("recommend", store.out, "--histories", "-n", "4", "--max-per-artist", "2")
    assert code == 0
    assert shown.startswith(f"recommend: {4 * N_USERS} songs for {N_USERS} listeners")
    code, shown, _ = command("status", store.out, "--json")
    (found,) = [row for row in json.loads(shown)["tables"] if row["name"] == "recommendations"]
    assert found["up_to_date"]
    for arguments, told in (
        (["--histories", "--like", "x"], "leave out --like and --genre"),
        (["--like", "x", "--max-per-artist", "2"], "--max-per-artist needs --histories"),
        ([], "Missing option '--like', '--genre' or '--histories'"),
    ):
        code, _, complaint = command("recommend", store.out, *arguments)
        assert (code, told in complaint) == (2, True)
