"""Evaluation of synthetic predictions, drawn by a seeded generator, against scikit-learn, scipy and brute force."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats
from sklearn.metrics import f1_score, precision_recall_fscore_support, roc_auc_score, roc_curve

from musicrec.evaluate import bootstrap, controls, genres
from musicrec.evaluate.bootstrap import artist_groups
from musicrec.evaluate.classification import accuracy
from musicrec.evaluate.comparison import compare, difference, hits_of, holm, mcnemar
from musicrec.evaluate.controls import SHUFFLED, file_type
from musicrec.evaluate.scores import control_scores, scores
from musicrec.evaluate.summary import best_and_worst, summary
from musicrec.schemas import EVALUATION, SCORES

CLASSES = ["blues", "jazz", "pop", "rock"]


def synthetic(model="m", split="artist", n=120, seeds=3, folds=4, skill=1.0, rng_seed=0, classes=CLASSES):
    """Predictions of every seed for the same songs; `pop` is never named."""
    songs, rng = np.random.default_rng(99), np.random.default_rng(rng_seed)
    truth, fold = songs.integers(len(classes), size=n), songs.integers(folds, size=n)
    tables = []
    for seed in range(seeds):
        logits = rng.normal(size=(n, len(classes)))
        logits[np.arange(n), truth] += skill
        if "pop" in classes:
            logits[:, classes.index("pop")] -= 9
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        tables.append(
            pd.DataFrame(
                {
                    "model": model, "split": split, "seed": seed, "fold": fold,
                    "track_id": [f"song-{i:03d}" for i in range(n)],
                    "genre": np.array(classes)[truth], "predicted": np.array(classes)[p.argmax(axis=1)],
                    "probabilities": list(p.round(2).astype(np.float32)),  # rounded: with ties
                }
            )
        )  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def artists_of(predictions, most=20):
    ids = sorted(set(predictions["track_id"]))
    return pd.Series([f"artist {i}" for i in np.random.default_rng(5).integers(most, size=len(ids))], ids)


@pytest.fixture(scope="module")
def predictions():
    return synthetic()


@pytest.fixture(scope="module")
def artists(predictions):
    return artists_of(predictions)


@pytest.fixture(scope="module")
def table(predictions, artists):
    return scores(predictions, artists)


def value(table, metric, genre=None, column="value"):
    rows = table[(table["metric"] == metric) & (table["genre"].isna() if genre is None else table["genre"] == genre)]
    return rows[column].item()


# --- figures of genres ----------------------------------------------------------------------------------------------


def test_precision_recall_and_f1_are_those_of_scikit_learn(predictions, table):
    by_seed = [
        precision_recall_fscore_support(rows["genre"], rows["predicted"], labels=CLASSES, zero_division=0)
        for _, rows in predictions.groupby("seed")
    ]
    expected = np.mean(by_seed, axis=0)
    for i, metric in enumerate(("precision", "recall", "f1")):
        assert [value(table, metric, g) for g in CLASSES] == pytest.approx(expected[i].tolist())
        assert value(table, metric) == pytest.approx(expected[i].mean())
    assert [value(table, "f1", g, "n_songs") for g in CLASSES] == expected[3].tolist()
    assert value(table, "precision", "pop") == 0  # never named


def test_with_a_threshold_a_song_may_have_several_genres_or_none(predictions, table):
    for i, genre in enumerate(CLASSES):
        by_seed = [
            precision_recall_fscore_support(
                rows["genre"] == genre, [p[i] > 0.5 for p in rows["probabilities"]], average="binary", zero_division=0
            )[:3]
            for _, rows in predictions.groupby("seed")
        ]
        found = [value(table, f"{metric}_at_half", genre) for metric in ("precision", "recall", "f1")]
        assert found == pytest.approx(np.mean(by_seed, axis=0).tolist())


@pytest.mark.thorough
def test_auc_compares_songs_that_one_network_scored(predictions, table):
    for i, genre in enumerate(CLASSES):
        areas, pairs = [], []
        for _, rows in predictions.groupby(["seed", "fold"]):
            positive = (rows["genre"] == genre).to_numpy()
            areas.append(roc_auc_score(positive, np.stack(rows["probabilities"])[:, i]))
            pairs.append(positive.sum() * (~positive).sum())
        assert value(table, "auc", genre) == pytest.approx(np.average(areas, weights=pairs))


def test_networks_with_unlike_scales_do_not_lower_the_auc():
    positive = np.array([1, 0, 1, 0], bool)
    probability = np.array([0.9, 0.8, 0.2, 0.1])  # both put the song of the genre first
    network = np.array([0, 0, 1, 1])
    assert genres.auc(positive, probability, network, np.arange(4), np.ones((4, 1))).item() == 1
    assert roc_auc_score(positive, probability) == 0.75


def test_weights_are_songs_that_stand_there_several_times():
    rng = np.random.default_rng(3)
    truth, named = (np.eye(3, dtype=bool)[rng.integers(3, size=40)] for _ in range(2))
    group, weights = rng.integers(6, size=40), rng.integers(4, size=(6, 5))
    probability, zeros = rng.random(40).round(1), np.zeros(40, int)
    found = genres.rates(truth, named, zeros, group, weights)
    areas = genres.auc(truth[:, 0], probability, zeros, group, weights)
    for draw in range(5):
        rows = np.repeat(np.arange(40), weights[group, draw])
        expected = precision_recall_fscore_support(
            truth[rows].argmax(axis=1), named[rows].argmax(axis=1), labels=[0, 1, 2], zero_division=0
        )
        assert np.array([f[draw] for f in found]) == pytest.approx(np.array(expected[:3]))
        assert areas[draw] == pytest.approx(roc_auc_score(truth[rows, 0], probability[rows]))


def test_roc_is_that_of_scikit_learn_and_spans_the_auc(predictions, artists):
    runs = genres.arrange(predictions, artist_groups(artists, artists.index), CLASSES)
    one = runs.network == 0
    fpr, tpr, _ = roc_curve(runs.truth[one, 0], runs.probabilities[one, 0])
    found = genres.roc(runs.truth[one, 0], runs.probabilities[one, 0], runs.network[one])
    assert found == pytest.approx(np.interp(genres.FALSE_POSITIVE_RATES, fpr, tpr))
    mean_area = np.mean(
        [
            roc_auc_score(runs.truth[rows, 0], runs.probabilities[rows, 0])
            for rows in (runs.network == network for network in np.unique(runs.network))
        ]
    )
    curve = genres.roc(runs.truth[:, 0], runs.probabilities[:, 0], runs.network)
    assert np.trapezoid(curve, genres.FALSE_POSITIVE_RATES) == pytest.approx(mean_area, abs=0.005)


def test_confusion_counts_a_song_once(predictions, artists):
    runs = genres.arrange(predictions, artist_groups(artists, artists.index), CLASSES)
    found = genres.confusion(runs)
    crossed = pd.crosstab(predictions["genre"], predictions["predicted"]).reindex(columns=CLASSES, fill_value=0) / 3
    assert found == pytest.approx(crossed.to_numpy())
    assert found.sum() == pytest.approx(120)


# --- the table of scores --------------------------------------------------------------------------------------------


def test_accuracy_is_that_of_the_room(predictions, artists, table):
    hits = hits_of(predictions)
    expected = accuracy(hits, artists[hits.columns])
    found = [value(table, "accuracy", None, column) for column in ("value", "low", "high", "n_songs")]
    assert found == pytest.approx(list(expected))
    assert value(table, "accuracy_std") == pytest.approx(hits.mean(axis=1).std(ddof=1))


@pytest.mark.thorough
def test_intervals_are_those_of_songs_drawn_by_hand(predictions, artists, monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 60)
    names = np.unique(artists)
    drawn = {metric: [] for metric in ("f1", "auc")}
    rows_of = {name: np.flatnonzero(predictions["track_id"].map(artists) == name) for name in names}
    for draw in bootstrap.draw_groups(len(names)):
        rows = np.concatenate([np.tile(rows_of[name], n) for name, n in zip(names, draw, strict=True)])
        sample = predictions.iloc[rows]
        drawn["f1"].append(
            np.mean(
                [
                    f1_score(s["genre"], s["predicted"], labels=CLASSES, average="macro", zero_division=0)
                    for _, s in sample.groupby("seed")
                ]
            )
        )
        drawn["auc"].append(brute_auc(sample, "jazz"))
    table = scores(predictions, artists)
    for metric, genre in (("f1", None), ("auc", "jazz")):
        low, high = np.quantile(drawn[metric], [0.025, 0.975])
        found = [value(table, metric, genre, column) for column in ("low", "high")]
        assert found == pytest.approx([low, high])
        assert low < value(table, metric, genre) < high


def brute_auc(sample, genre):
    right = pairs = 0.0
    for _, rows in sample.groupby(["seed", "fold"]):
        p = np.stack(rows["probabilities"])[:, CLASSES.index(genre)]
        positive = (rows["genre"] == genre).to_numpy()
        apart = p[positive][:, None] - p[~positive][None, :]
        right += (apart > 0).sum() + (apart == 0).sum() / 2
        pairs += apart.size
    return right / pairs


def test_whole_artists_are_drawn():
    """Ten songs that stand and fall together are one observation: their interval is wider."""
    n = 100
    groups = np.repeat(np.arange(10), 10)
    alike = synthetic(n=n, seeds=1)
    alike["predicted"] = np.where(groups < 5, alike["genre"], "none of them")
    ids = alike["track_id"]
    wide = scores(alike, pd.Series(groups.astype(str), ids))
    narrow = scores(alike, pd.Series(None, ids, dtype=object))  # artists not known: songs are drawn
    width = [value(t, "accuracy", None, "high") - value(t, "accuracy", None, "low") for t in (wide, narrow)]
    assert width[0] > 2.5 * width[1]
    assert width[1] == pytest.approx(4 * np.sqrt(0.25 / n), rel=0.1)


def test_scores_do_not_depend_on_the_order_of_rows(predictions, artists, table):
    mixed = predictions.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(scores(mixed, artists.sample(frac=1, random_state=2)), table)


def test_the_table_has_its_schema_and_every_model_and_split(predictions, artists):
    several = pd.concat([predictions, synthetic("n", seeds=1), synthetic("n", "random", seeds=2)])
    table = scores(pa.Table.from_pandas(several, EVALUATION, preserve_index=False).to_pandas(), artists)
    assert pa.Table.from_pandas(table, SCORES, preserve_index=False).schema.equals(SCORES, check_metadata=False)
    runs = table[table["metric"] == "accuracy"].set_index(["model", "split"])["n_seeds"]
    assert runs.to_dict() == {("m", "artist"): 3, ("n", "artist"): 1, ("n", "random"): 2}
    assert len(table[(table["metric"] == "accuracy_std")]) == 2  # one seed has none
    assert not table.duplicated(["model", "split", "metric", "genre"]).any()


# --- what may go wrong ----------------------------------------------------------------------------------------------


def test_a_fold_without_a_genre_is_no_obstacle(predictions, artists):
    held = predictions[(predictions["fold"] != 0) | (predictions["genre"] != "jazz")]
    table = scores(held, artists)
    assert 0 < value(table, "auc", "jazz") < 1
    assert value(table, "auc", "jazz") == pytest.approx(brute_auc(held, "jazz"))


def test_one_class_only():
    one = synthetic(classes=["blues"], seeds=2)
    table = scores(one, artists_of(one))
    assert value(table, "accuracy") == value(table, "f1") == 1
    assert np.isnan(value(table, "auc"))  # no other genre to tell it from
    assert best_and_worst(table, "m", "artist") is None
    assert "–" in summary(table)


def test_constant_probabilities_are_chance(predictions, artists):
    constant = predictions.assign(probabilities=[[0.25] * 4] * len(predictions))
    table = scores(constant, artists)
    for genre in (None, *CLASSES):
        assert value(table, "auc", genre) == value(table, "auc", genre, "low") == 0.5
        assert value(table, "f1_at_half", genre) == 0


def test_a_song_without_an_answer_is_wrong(predictions, artists, table):
    lost = predictions["track_id"] < "song-030"
    dumb = predictions.copy()
    dumb.loc[lost, "predicted"] = None
    dumb["probabilities"] = [[np.nan] * 4 if gone else p for gone, p in zip(lost, dumb["probabilities"], strict=True)]
    found = scores(dumb, artists)
    hits = (predictions["genre"] == predictions["predicted"]) & ~lost
    assert value(found, "accuracy") == pytest.approx(hits.mean())
    assert value(found, "accuracy", None, "n_songs") == 120
    assert value(found, "auc") < value(table, "auc")
    positive, probability = np.array([True, False, False]), np.array([0.9, np.nan, 0.1])
    ranks = genres.auc(positive, probability, np.zeros(3, int), np.arange(3), np.ones((3, 1)))
    assert ranks.item() == 0.5  # it is before the song that it knows, not before the one that it does not


def test_a_model_without_probabilities_has_no_auc(predictions, artists):
    table = scores(predictions.assign(probabilities=None), artists)
    assert np.isnan(value(table, "auc"))
    assert value(table, "f1") > 0
    assert "f1_at_half" not in set(table["metric"])


def test_a_genre_that_no_song_has_weighs_nothing(predictions, artists, table):
    more = predictions.assign(probabilities=[[*p, 0.0] for p in predictions["probabilities"]])
    wider = scores(more, artists, [*CLASSES, "zydeco"])
    assert all(np.isnan(value(wider, metric, "zydeco")) for metric in ("precision", "recall", "f1", "auc"))
    wrong = more.assign(predicted=more["predicted"].where(more["fold"] > 0, "zydeco"))
    assert np.isnan(value(scores(wrong, artists, [*CLASSES, "zydeco"]), "precision", "zydeco"))
    assert value(wider, "f1") == pytest.approx(value(table, "f1"))
    assert value(wider, "auc") == pytest.approx(value(table, "auc"))


def test_classes_that_do_not_fit_are_named(predictions, artists):
    with pytest.raises(ValueError, match="genre 'rock' is not among the classes"):
        scores(predictions, artists, ["blues", "jazz", "pop", "polka"])
    with pytest.raises(ValueError, match="4 probabilities for a song; expected one for each of the 5"):
        scores(predictions, artists, [*CLASSES, "zydeco"])


def test_no_predictions_give_an_empty_table(predictions, artists):
    empty = scores(predictions[:0], artists)
    assert list(empty.columns) == SCORES.names
    assert len(empty) == 0
    assert summary(empty) == "nothing was evaluated"


# --- one model against another --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (5, 5), (3, 9), (1, 12), (40, 22)])
def test_mcnemar_is_the_binomial_test_of_the_songs_that_differ(only_first, only_second):
    first = np.r_[np.ones(only_first), np.zeros(only_second), np.ones(7), np.zeros(4)]
    second = np.r_[np.zeros(only_first), np.ones(only_second), np.ones(7), np.zeros(4)]
    n = only_first + only_second
    p = stats.binomtest(only_first, n, 0.5).pvalue if n else 1.0
    assert mcnemar(first, second) == pytest.approx((only_first, only_second, p))
    assert mcnemar(second, first).p == pytest.approx(p)


def test_several_seeds_are_tested_pair_by_pair():
    rng = np.random.default_rng(1)
    first, second = rng.random((3, 50)) < 0.8, rng.random((2, 50)) < 0.5
    pairs = [mcnemar(a, b) for a in first for b in second]
    found = mcnemar(first, second)
    assert found.p == pytest.approx(min(1, 2 * np.median([pair.p for pair in pairs])))
    assert found.only_first == pytest.approx(np.mean([pair.only_first for pair in pairs]))
    assert found.only_first - found.only_second == pytest.approx(50 * (first.mean() - second.mean()))


@pytest.mark.parametrize(("first_seeds", "second_seeds"), [(1, 1), (5, 5), (1, 5)])
def test_equal_models_are_seldom_told_apart(first_seeds, second_seeds):
    """A song is easy or hard, the models are equally good at it: at 5 %, at most 5 % of trials may err."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        easy = rng.beta(2, 1, size=100)
        found.append(mcnemar(rng.random((first_seeds, 100)) < easy, rng.random((second_seeds, 100)) < easy).p)
    assert np.mean(np.array(found) < 0.05) <= 0.05


def test_models_are_compared_on_the_same_songs():
    with pytest.raises(ValueError, match="3 songs of one model, 2 of the other"):
        mcnemar([1, 0, 1], [1, 0])


def test_difference_is_paired_and_draws_artists():
    rng = np.random.default_rng(2)
    groups, first, second = rng.integers(8, size=60), rng.random((2, 60)) < 0.7, rng.random((3, 60)) < 0.5
    found = difference(first, second, groups)
    apart = first.mean(axis=0) - second.mean(axis=0)
    drawn = [
        np.concatenate([np.tile(apart[groups == g], n) for g, n in enumerate(draw)]).mean()
        for draw in bootstrap.draw_groups(8)
    ]
    assert found == pytest.approx((apart.mean(), *np.quantile(drawn, [0.025, 0.975]), 60))
    assert difference(first, first, groups)[:3] == (0, 0, 0)  # whatever is drawn, it is the same for both


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.5]).tolist() == [1, 1]
    assert holm([]).tolist() == []


def test_compare_names_every_pair_once(predictions, artists):
    better = synthetic("n", seeds=2, skill=3.0, rng_seed=1)
    partly = synthetic("o", seeds=1, n=100)
    table = compare(pd.concat([predictions, better, partly]), artist_groups(artists, artists.index))
    assert list(zip(table["first"], table["second"], table["n_songs"], strict=True)) == [
        ("m", "n", 120), ("m", "o", 100), ("n", "o", 100),
    ]  # fmt: skip
    m, n = hits_of(predictions), hits_of(better)
    row = table.iloc[0]
    assert tuple(row[["difference", "low", "high"]]) == pytest.approx(difference(m, n, artists[m.columns])[:3])
    assert tuple(row[["only_first", "only_second", "p"]]) == pytest.approx(mcnemar(m, n))
    assert row["difference"] < 0
    assert (table["p_holm"] >= table["p"]).all()


def test_a_song_that_a_seed_left_out_is_not_compared(predictions):
    hits = hits_of(predictions[(predictions["seed"] > 0) | (predictions["track_id"] != "song-007")])
    assert hits.shape == (3, 119)
    assert "song-007" not in hits.columns


# --- controls -------------------------------------------------------------------------------------------------------


def test_file_types():
    uris = [
        "/a/b.c/ONE.WAV",
        "https://x.org/two.mp3?v=3.flac",
        "s3://bucket/three.m4a",
        "folder.d/none",
        "four.tar.ogg",
    ]
    assert [file_type(uri) for uri in uris] == ["wav", "mp3", "m4a", "", "ogg"]


def test_the_commonest_is_that_of_the_other_folds():
    labels = np.array(["a", "a", "b", "b", "b", "c"])
    folds = np.array([0, 0, 1, 1, 1, 1])
    assert controls.name_commonest(labels, folds).tolist() == ["b", "b", "a", "a", "a", "a"]
    sources = np.array(["x", "y", "x", "y", "y", "z"])
    assert controls.name_commonest(labels, folds, sources).tolist() == ["b", "b", "a", "a", "a", "a"]
    labels[2] = "c"  # the only song of x in fold 1
    assert controls.name_commonest(labels, folds, sources).tolist() == ["c", "b", "a", "a", "a", "a"]
    assert controls.name_commonest(labels[:2], folds[:2]).tolist() == [None, None]  # one fold: nothing to learn from


@pytest.mark.thorough
def test_a_source_that_gives_the_genre_away_is_found_out(predictions, artists):
    truth = predictions.drop_duplicates("track_id").set_index("track_id")["genre"]
    traitor = truth.map({"blues": "wav", "jazz": "mp3", "pop": "ogg", "rock": "wav"})
    rng = np.random.default_rng(0)
    harmless = pd.Series(rng.choice(["wav", "mp3"], len(truth)), truth.index)
    features = pd.DataFrame(rng.normal(size=(len(truth), 3)), truth.index)
    features[1] += 9 * (traitor == "mp3") - 9 * (traitor == "ogg")
    features.iloc[:5, 0] = [np.nan, np.inf, -np.inf, 0, 0]

    def accuracies(sources):
        found = control_scores(predictions, sources, artists, features)
        return found.set_index("model")["value"]

    found, innocent = accuracies(traitor), accuracies(harmless)
    assert found[controls.SOURCE_ALONE] > found[controls.CONSTANT] + 0.3
    assert found[controls.SOURCE_HEARD] > 0.95 > found[controls.CONSTANT_SOURCE] + 0.3
    assert abs(innocent[controls.SOURCE_ALONE] - innocent[controls.CONSTANT]) < 0.15
    assert abs(innocent[controls.SOURCE_HEARD] - innocent[controls.CONSTANT_SOURCE]) < 0.15


def test_a_source_is_told_from_other_folds_only():
    """With more features than songs, a model that had seen the songs would know each of them."""
    rng = np.random.default_rng(0)
    X, labels, folds = rng.normal(size=(60, 100)), rng.choice(["wav", "mp3"], 60), np.arange(60) % 3
    assert 0.3 < (controls.name_from_features(X, labels, folds) == labels).mean() < 0.7


def test_one_source_only_tells_nothing(predictions, artists):
    wav = pd.Series("wav", artists.index)
    features = pd.DataFrame(np.ones((len(artists), 2)), artists.index)
    table = control_scores(predictions, wav, artists, features).set_index("model")["value"]
    assert table[controls.SOURCE_ALONE] == table[controls.CONSTANT]
    assert table[controls.SOURCE_HEARD] == table[controls.CONSTANT_SOURCE] == 1


def test_controls_join_the_scores(predictions, artists, table):
    sources = pd.Series("wav", artists.index)
    found = control_scores(pd.concat([predictions, synthetic(split="random")]), sources, artists)
    assert pa.Table.from_pandas(found, SCORES, preserve_index=False).num_rows == 4
    assert set(found["split"]) == {"artist", "random"}
    assert (found["n_songs"] == 120).all()


# --- the summary ----------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_the_summary_sets_models_and_splits_side_by_side(predictions, artists):
    several = pd.concat(
        [predictions, synthetic(split="random", skill=3), synthetic(f"m{SHUFFLED}", skill=0), synthetic("n", skill=4)]
    )
    table = scores(several, artists)
    controls_ = control_scores(several, pd.Series("wav", artists.index), artists)
    lines = summary(pd.concat([table, controls_], ignore_index=True)).splitlines()
    assert lines[0].split("  ")[-1].strip() == "no artist on both sides"
    assert [line.split("  ")[0] for line in lines[2:7]] == [
        "n", "m", f"m{SHUFFLED}", controls.SOURCE_ALONE, controls.CONSTANT,
    ]  # fmt: skip
    of_m = table[(table["model"] == "m") & table["genre"].isna()].set_index(["split", "metric"])["value"]
    for split in ("random", "artist"):
        assert f"{100 * of_m[split, 'accuracy']:.1f}" in lines[3]
        assert f"{of_m[split, 'auc']:.3f}" in lines[3]
    best, worst, *_ = best_and_worst(table, "n", "artist")
    assert f"n: best at {best}, worst at {worst} (F1)" in lines
    assert worst == "pop"


def test_best_and_worst_are_those_of_f1(table):
    f1 = {genre: value(table, "f1", genre) for genre in CLASSES}
    assert best_and_worst(table, "m", "artist") == (
        max(f1, key=f1.get), min(f1, key=f1.get), pytest.approx(max(f1.values())), pytest.approx(min(f1.values()))
    )  # fmt: skip


def test_a_tie_is_called_one_and_not_a_best_genre():
    """Of few songs, many genres have the same figure; the first of the alphabet is no better than the others."""
    flawless = synthetic(classes=["blues", "jazz", "pop", "rock"], seeds=1)
    flawless["predicted"] = flawless["genre"]
    table = scores(flawless, artists_of(flawless))
    assert best_and_worst(table, "m", "artist").tie
    assert "m: four genres tie (F1)" in summary(table).splitlines()
    flawless.loc[flawless["genre"] == "rock", "predicted"] = "blues"
    table = scores(flawless, artists_of(flawless))
    assert best_and_worst(table, "m", "artist")[:2] == ("jazz and pop tie", "rock")
