"""``musicrec evaluate --histories``: methods judged by what simulated listeners with tastes came to like."""

import re

import numpy as np
import pyarrow as pa
import pytest

from musicrec.errors import ConfigError
from musicrec.schemas import EMBEDDINGS, HISTORIES, LISTENER_SCORES, SIMILAR, TRACKS
from musicrec.settings import (
    CatalogSettings,
    EmbedSettings,
    HistoriesSettings,
    ListenerEvaluationSettings,
    SimilarSettings,
)
from musicrec.stages.listener_evaluation.held_out_likes import matrices, split_likes
from musicrec.stages.listener_evaluation.listening_data import read_listening
from musicrec.stages.listener_evaluation.stage import evaluate_listeners

N_SONGS, N_USERS, N_TASTES = 60, 120, 3
QUICK = ("random", "popularity", "item_knn", "mean", "max", "hybrid")


def song(i):
    return f"song-{i:03d}"


def publish(store, name, rows, schema, settings):
    version = store.new_version(name, settings, f"{hash(name) & 0xFFFF:016d}")
    version.write_part(pa.Table.from_pylist(rows, schema))
    store.publish(version)


def simulated_histories(seed=0, untimed=False):
    """Each simulated listener has a taste, a third of the songs, and comes to like ten of them in random order."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(N_USERS):
        mine = rng.permutation(np.arange(user % N_TASTES, N_SONGS, N_TASTES))[:10]
        for at, i in enumerate(mine):
            when = None if untimed else 1000 * (100 * at + user)
            rows.append((f"user-{user:03d}", song(i), 1, when))
        rows.append((f"user-{user:03d}", song((user + 1) % N_SONGS), 0, None if untimed else 5))
    likes = {(user, track) for user, track, plays, _ in rows if plays}
    return [
        {"user_id": user, "track_id": track, "plays": plays, "seconds": None, "first_at": at, "last_at": at}
        for user, track, plays, at in sorted(rows)
        if plays or (user, track) not in likes
    ]


def publish_histories(store, rows):
    publish(store, "histories", rows, HISTORIES, HistoriesSettings(files=("simulated",)))


@pytest.fixture
def store(store):
    """Songs of three kinds, and simulated listeners who like one kind each."""
    rng = np.random.default_rng(1)
    vectors = np.eye(N_TASTES, 6)[np.arange(N_SONGS) % N_TASTES] + 0.3 * rng.normal(size=(N_SONGS, 6))
    tracks = [
        {"track_id": song(i), "uri": f"/{i}", "artist_ids": [f"artist-{i // 2}"], "artist_id": f"artist-{i // 2}"}
        for i in range(N_SONGS)
    ]
    tracks.append({"track_id": "twin", "uri": "/twin", "recording": "one"})
    tracks[0]["recording"] = "one"
    embeddings = [
        {"track_id": song(i), "model_id": "m", "embedding": vectors[i].tolist(), "probabilities": np.eye(3)[i % 3]}
        for i in range(N_SONGS)
    ]
    embeddings.append(embeddings[0] | {"track_id": "twin"})
    store.settings.record(CatalogSettings(source="/music"))
    publish(store, "tracks", tracks, TRACKS, CatalogSettings(source="/music"))
    publish(store, "embeddings", embeddings, EMBEDDINGS, EmbedSettings())
    publish(store, "similar", [], SIMILAR, SimilarSettings())
    publish_histories(store, simulated_histories())
    return store


def run(store, **how):
    return evaluate_listeners(store, ListenerEvaluationSettings(**{"methods": QUICK, "n": 5} | how))


@pytest.mark.parametrize("split", ["time", "last", "random"])
def test_a_method_that_knows_the_taste_beats_one_that_does_not(store, split):
    found = run(store, split=split)
    overall = found.scores[found.scores["against"].isna() & (found.scores["band"] == "all")]
    ndcg = overall[overall["metric"] == "ndcg"].set_index("method")
    assert ndcg.loc["max", "low"] > ndcg.loc["random", "high"]
    assert ndcg.loc["item_knn", "value"] > ndcg.loc["popularity", "value"]
    assert (ndcg["n_users"] == found.lineage["n_users"]).all()
    pairs = found.scores[found.scores["against"].notna() & (found.scores["metric"] == "ndcg")]
    assert len(pairs) == len(QUICK) * (len(QUICK) - 1) / 2
    assert pairs.set_index(["method", "against"]).loc[("random", "max"), "p_holm"] < 0.01
    assert sum(found.lineage["hybrid"].values()) == 1


def test_the_table_is_what_was_returned_and_says_what_it_is_made_of(store):
    found = run(store)
    table = store.read("listener_scores")
    assert table.schema.equals(LISTENER_SCORES)
    assert table["method"].to_pylist() == found.scores["method"].tolist()
    np.testing.assert_array_equal(table["value"].to_numpy(), found.scores["value"])
    lineage = store.footer("listener_scores")["lineage"]
    assert lineage["made_of"].keys() == {"histories", "similar"}
    assert lineage["listeners"]["n_users"] == found.lineage["n_users"]


def test_the_summary_has_a_line_for_each_method_best_first_and_says_how_it_was_split(store):
    lines = str(run(store)).splitlines()
    assert re.fullmatch(
        r"lists of 5 out of 60 songs for \d+ listeners(; \d+ .*)?; likes after one moment were held out", lines[0]
    )
    methods = [line.split()[0] for line in lines[2 : 2 + len(QUICK)]]
    assert sorted(methods) == sorted(QUICK)
    values = [float(line.split()[1]) for line in lines[2 : 2 + len(QUICK)]]
    assert values == sorted(values, reverse=True)
    assert "recall of" in "\n".join(lines)
    assert any(line.startswith("hybrid is ") for line in lines)


def test_listeners_whose_likes_fit_the_weights_are_not_judged(store):
    found = run(store, split="last")
    assert found.lineage["n_users"] + found.lineage["n_validation_users"] == N_USERS
    assert found.lineage["n_validation_users"] == round(0.2 * N_USERS)
    few = run(store, split="last", max_users=7)
    assert few.lineage["n_users"] == 7


def test_a_run_gives_the_same_figures_again_and_another_seed_others(store):
    first, again, other = run(store), run(store), run(store, seed=1)
    assert first.scores.equals(again.scores)
    assert not first.scores.equals(other.scores)


def test_files_of_one_recording_are_one_song_and_songs_without_a_vector_are_counted(store):
    rows = simulated_histories()
    rows += [rows[0] | {"user_id": "zoe", "track_id": track, "plays": 1} for track in ("gone", song(0), "twin")]
    publish_histories(store, rows)
    rows += [rows[0] | {"user_id": "stranger", "track_id": None, "plays": 0}]  # who has heard no song of the catalog
    publish_histories(store, rows)
    data = read_listening(store)
    assert data.n_left_out == 1
    zoe = data.likes.user == data.users.index("zoe").as_py()
    assert zoe.sum() == 1
    assert len(data.items.track_ids) == N_SONGS


def test_what_was_heard_before_is_left_out_and_what_is_heard_later_is_not(store):
    """Also of a listener who likes nothing, and comes after all others."""
    times = {song(1): (1, 10), song(2): (1, 90), song(3): (0, 20), song(4): (0, 95), "twin": (0, 5), song(0): (1, 99)}
    rows = [
        {"user_id": user, "track_id": track, "plays": plays, "seconds": None, "first_at": at * 1000, "last_at": None}
        for user, mine in (("ada", times), ("zoe", {song(3): (0, 1)}))
        for track, (plays, at) in sorted(mine.items())
    ]
    publish_histories(store, rows)
    data = read_listening(store)
    split = split_likes(data.likes, ListenerEvaluationSettings(split="time", learn_share=0.5))
    learned, heard = matrices(data, split)
    assert learned[[0]].indices.tolist() == [1]
    assert heard[[0]].indices.tolist() == [3]  # not 4, and not the twin of 0, which she comes to like
    assert heard[[1]].indices.tolist() == [3]
    assert sorted(data.likes.item[split.test]) == [0, 2]


def test_the_genre_method_reads_the_probabilities_of_embeddings(store):
    found = run(store, methods=("genre", "random"))
    ndcg = found.scores.query("metric == 'ndcg' and band == 'all'").set_index(["method", "against"])["value"]
    assert ndcg.loc["genre"].iloc[0] > ndcg.loc["random"].iloc[0]
    rows = store.read("embeddings").to_pylist()
    publish(store, "embeddings", [row | {"probabilities": None} for row in rows], EMBEDDINGS, EmbedSettings())
    with pytest.raises(ConfigError, match="genre needs the genre probabilities of embeddings; run: musicrec embed"):
        run(store, methods=("genre",))


# --- what cannot be judged ------------------------------------------------------------------------------------------


def only(rows, keep):
    return [row for row in rows if keep(row)]


def test_without_histories_or_lists_one_line_says_what_to_run(store):
    for table, command in (("similar", "musicrec similar"), ("histories", "musicrec histories")):
        (store.out / table).unlink()
        with pytest.raises(ConfigError, match=rf"has no {table} to judge recommendations by; run: {command}"):
            run(store)


def test_without_times_a_time_split_names_the_one_that_needs_none(store):
    publish_histories(store, simulated_histories(untimed=True))
    for split in ("time", "last"):
        with pytest.raises(ConfigError, match=r"no like has a time.*'random'"):
            run(store, split=split)
    assert run(store, split="random").lineage["n_users"] > 0


def test_listeners_with_one_like_cannot_be_judged(store):
    rows = [
        {"user_id": f"u{i}", "track_id": song(i), "plays": 1, "seconds": None, "first_at": i, "last_at": i}
        for i in range(9)
    ]
    publish_histories(store, rows)
    for split in ("last", "random"):
        with pytest.raises(ConfigError, match="no listener has two songs that count as likes"):
            run(store, split=split)
    with pytest.raises(ConfigError, match="leaves nobody likes before and after"):  # everybody is cold
        run(store)


def test_histories_without_a_song_of_the_lists_cannot_be_judged(store):
    publish_histories(store, [row | {"track_id": "gone"} for row in simulated_histories()[:1]])
    with pytest.raises(ConfigError, match="likes a song that has a vector"):
        run(store)


@pytest.mark.parametrize("split", ["time", "last", "random"])
def test_one_listener_is_enough_but_for_hybrid_which_is_left_out_with_its_reason(store, split):
    publish_histories(store, only(simulated_histories(), lambda row: row["user_id"] == "user-000"))
    found = run(store, split=split)
    assert found.lineage["n_users"] == 1
    assert set(found.scores["method"]) == {*QUICK} - {"hybrid"}
    why = "hybrid is not judged: only one listener has held-out likes, and its weights are fitted on others."
    assert str(found).splitlines()[-1] == why
    assert store.footer("listener_scores")["lineage"]["listeners"]["left_out"].keys() == {"hybrid"}
    assert store.footer("listener_scores")["settings"]["methods"] == list(QUICK)
    with pytest.raises(ConfigError, match=r"hybrid cannot be judged: only one listener .*; judge others, as by --meth"):
        run(store, split=split, methods=("hybrid",))


def test_two_listeners_are_enough_for_hybrid(store):
    publish_histories(store, only(simulated_histories(), lambda row: row["user_id"] in ("user-000", "user-001")))
    found = run(store, split="last")
    assert "hybrid" in set(found.scores["method"])
    assert (found.lineage["n_users"], found.lineage["n_validation_users"]) == (1, 1)


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_prints_the_figures(store, command):
    code, text, _ = command(
        "evaluate", store.out, "--histories", "--split", "last", "--methods", "max", "--methods", "random", "-n", 5
    )
    assert code == 0
    assert "the last like of each listener was held out" in text
    assert store.footer("listener_scores")["settings"]["split"] == "last"


def test_options_of_models_and_of_histories_do_not_mix(store, command):
    code, _, complaint = command("evaluate", store.out, "--histories", "--models", "svm")
    assert code == 2
    assert "--models is of models; leave it out with --histories" in complaint
    code, _, complaint = command("evaluate", store.out, "--split", "last")
    assert code == 2
    assert "--split needs --histories" in complaint


def test_the_report_shows_the_methods_best_first(store):
    from musicrec.report.page import write_report

    found = run(store, methods=("random", "max"))
    page = write_report(store).read_text()
    section = page[page.index('<section id="listeners">') :]
    section = section[: section.index("</section>")]
    assert section.index(">max</th>") < section.index(">random</th>")
    ndcg = found.scores.query("metric == 'ndcg' and band == 'all' and method == 'max' and against.isna()")["value"]
    assert f"{ndcg.item():.3f}<br>" in section
    assert f"each of {found.lineage['n_users']} listeners" in section
