"""Lists by rules are those of somebody who ranks the whole catalog and goes down it, whatever the pools."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from musicrec.errors import ConfigError
from musicrec.settings import Rules, SimilarSettings, resolve, tag_rule
from musicrec.similarity import (
    Lists,
    filters,
    is_asked,
    pool_depth,
    refine,
    score_range,
    songs_of,
    statistics,
    top_n,
)

METRICS = "cosine", "euclidean"


def similarity(vectors, metric):
    """float32 [N, N], a pair at a time."""
    x = np.asarray(vectors, np.float64)
    if metric == "cosine":
        x = np.array([v / np.sqrt(np.sum(v * v)) if v.any() else v for v in x])
        return np.array([[np.clip(np.sum(a * b), -1, 1) for b in x] for a in x], np.float32)
    return np.array([[0.0 - np.sqrt(np.sum((b - a) ** 2)) for b in x] for a in x], np.float32)


def known(a):
    return a is not None


def agree(tracks, probabilities, i, j):
    if probabilities is not None:
        return sum(float(p) * float(q) for p, q in zip(probabilities[i], probabilities[j], strict=True))
    return float(known(tracks["genre"][i]) and tracks["genre"][i] == tracks["genre"][j])


def forbidden(i, j, score, chosen, tracks, rules):
    """Whether song j may not follow the chosen ones in the list of song i."""

    def same(column, a, b):
        return known(tracks[column][a]) and tracks[column][a] == tracks[column][b]

    def artists(song):
        return set(tracks["artist_ids"][song] or ())

    def score_of(rule):
        tag, threshold = rule.split("=")
        return tracks["scores"][tag][j], np.float32(threshold)

    clips = "recording", "content_hash", "sound"
    best = 1.0 if rules.metric == "cosine" else 0.0
    required, excluded = map(score_of, rules.require_tag), map(score_of, rules.exclude_tag)
    return (
        any(score is None or score < threshold for score, threshold in required)
        or any(score is not None and score >= threshold for score, threshold in excluded)
        or (rules.no_same_artist and artists(i) & artists(j))
        or (
            rules.max_per_artist
            and any(sum(artist in artists(c) for c in chosen) >= rules.max_per_artist for artist in artists(j))
        )
        or (rules.max_per_album and sum(same("album_id", j, c) for c in chosen) >= rules.max_per_album)
        or (rules.no_duplicates and any(same(column, j, other) for column in clips for other in [i, *chosen]))
        or (rules.min_score is not None and score < np.float32(rules.min_score))
        or (
            rules.duplicate_score is not None
            and score >= np.float32(min(rules.duplicate_score, best))
            and known(tracks["duration_s"][i])
            and known(tracks["duration_s"][j])
            and abs(tracks["duration_s"][i] - tracks["duration_s"][j]) <= 0.1
        )
    )


def brute_force(vectors, tracks, probabilities, rules):
    scores = similarity(vectors, rules.metric)
    lists = []
    for i in range(len(scores)):
        others = [j for j in range(len(scores)) if j != i]
        if rules.genre == "only" and known(tracks["genre"][i]):
            others = [j for j in others if tracks["genre"][i] == tracks["genre"][j]]
        keys = {j: scores[i, j] for j in others}
        if rules.genre == "boost":
            keys = {
                j: np.float32(float(s) + rules.genre_weight * agree(tracks, probabilities, i, j))
                for j, s in keys.items()
            }
        chosen = []
        for j in sorted(others, key=lambda j: (-keys[j], j)):
            if len(chosen) < rules.n and not forbidden(i, j, scores[i, j], chosen, tracks, rules):
                chosen.append(j)
        lists.append([(j, keys[j]) for j in chosen])
    return lists


def with_tags(tracks, probabilities, rules):
    """The songs, with the scores of the tags of the rules."""
    scores = [tracks["scores"][rule.split("=")[0]] for rule in (*rules.require_tag, *rules.exclude_tag)]
    tags = np.array(scores, np.float32).reshape(len(scores), len(tracks["genre"])).T  # None is NaN
    return songs_of(tracks, probabilities, tags)


def as_pairs(lists):
    return [
        [(int(j), s) for j, s in zip(ids, scores, strict=True) if j >= 0]
        for ids, scores in zip(lists.ids, lists.scores, strict=True)
    ]


@st.composite
def catalogs(draw):
    """Vectors with copies and clumps of one artist, and what is known of the songs; some are by several artists."""
    n = draw(st.integers(2, 24))
    seed = draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    artists = rng.integers(0, draw(st.integers(1, 5)), n)
    vectors = rng.normal(size=(5, 4))[artists] + draw(st.sampled_from([0.0, 0.1, 2.0])) * rng.normal(size=(n, 4))
    vectors[rng.random(n) < 0.2] = vectors[0]

    def names(prefix, numbers, unknown=0.15):
        return [None if rng.random() < unknown else f"{prefix}{k}" for k in numbers]

    tracks = {
        "artist_ids": [
            None
            if a is None
            else list(dict.fromkeys([a, *names("a", rng.integers(0, 5, rng.choice([0, 0, 1, 2])), 0)]))
            for a in names("a", artists)
        ],
        "album_id": names("b", rng.integers(0, 3, n)),
        "recording": names("r", rng.integers(0, n, n), 0.5),
        "content_hash": names("h", rng.integers(0, 2 * n, n)),
        "sound": names("s", rng.integers(0, 2 * n, n), 0.3),
        "genre": names("g", rng.integers(0, 3, n)),
        "duration_s": [None if rng.random() < 0.2 else float(s) for s in rng.choice([30.0, 30.05, 31.0], n)],
    }
    scores = np.round(rng.random((n, 2)), 1).astype(np.float32).tolist()
    without = rng.random(n) < 0.2  # no tags at all
    tracks["scores"] = {
        tag: [None if without[j] else scores[j][k] for j in range(n)] for k, tag in enumerate(("rock", "calm"))
    }
    probabilities = rng.dirichlet(np.ones(3), n).astype(np.float32) if draw(st.booleans()) else None
    return vectors, tracks, probabilities


RULES = st.fixed_dictionaries(
    {
        "n": st.integers(1, 12),
        "metric": st.sampled_from(METRICS),
        "no_same_artist": st.booleans(),
        "max_per_artist": st.integers(0, 3),
        "max_per_album": st.integers(0, 2),
        "no_duplicates": st.booleans(),
        "duplicate_score": st.sampled_from([None, 0.9, 0.9999, -1.0]),
        "genre": st.sampled_from(["any", "only", "boost"]),
        "genre_weight": st.sampled_from([0.0, 0.05, 1.0, 1e7]),
        "min_score": st.sampled_from([None, -2.0, 0.0, 0.5]),
        "require_tag": st.sampled_from([(), (), ("rock=0.3",), ("calm=0.9", "rock=0.5"), ("rock=1",)]),
        "exclude_tag": st.sampled_from([(), (), ("rock=0.6",), ("calm=0.1",)]),
    }
).map(lambda fields: Rules(**fields))


@pytest.mark.thorough
@settings(max_examples=300, deadline=None)
@given(catalog=catalogs(), rules=RULES, per_n=st.integers(1, 4), cells=st.integers(1, 200))
def test_lists_by_rules_are_brute_force_whatever_the_pool(catalog, rules, per_n, cells):
    vectors, tracks, probabilities = catalog
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("musicrec.similarity.rules.POOL_PER_N", per_n)
        patch.setattr("musicrec.similarity.rules.MOST_CELLS", cells)
        patch.setattr("musicrec.similarity.rules.FAST_CELLS", cells // 2)
        lists = refine(vectors, with_tags(tracks, probabilities, rules), rules)
    assert lists.ids.shape == (len(vectors), min(rules.n, len(vectors) - 1))
    assert as_pairs(lists) == brute_force(vectors, tracks, probabilities, rules)
    ended = lists.ids < 0
    assert (ended == np.isneginf(lists.scores)).all()
    assert (ended == np.sort(ended, axis=1)).all()  # what is missing is missing at the end
    low, high = score_range(rules)
    assert ((lists.scores >= low) & (lists.scores <= high))[~ended].all()


@pytest.mark.parametrize("seed", range(10))
def test_a_song_beyond_the_pool_that_ties_by_rounding_is_not_overlooked(seed, monkeypatch):
    """Next to a weight of 1e8 a float32 holds no cosine: songs of one genre are in order of row number."""
    monkeypatch.setattr("musicrec.similarity.rules.POOL_PER_N", 1)
    rng = np.random.default_rng(seed)
    vectors, genres = rng.normal(size=(20, 4)), rng.integers(0, 2, 20)
    rules = Rules(n=4, genre="boost", genre_weight=1e8)
    ids, _ = refine(vectors, songs_of({"genre": [f"g{k}" for k in genres]}), rules)
    for i, row in enumerate(ids.tolist()):
        assert row == [j for j in range(20) if j != i and genres[j] == genres[i]][:4]


@pytest.mark.thorough
@settings(max_examples=60, deadline=None)
@given(catalog=catalogs(), rules=RULES, depth=st.integers(1, 30), data=st.data())
def test_given_lists_and_some_rows_only_change_nothing(catalog, rules, depth, data):
    vectors, tracks, probabilities = catalog
    songs = with_tags(tracks, probabilities, rules)
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, len(vectors) - 1), min_size=1))))
    first = Lists(*(part[rows] for part in top_n(vectors, depth, rules.metric)))
    some, everything = refine(vectors, songs, rules, first, rows=rows), refine(vectors, songs, rules)
    assert np.array_equal(some.ids, everything.ids[rows])
    assert np.array_equal(some.scores, everything.scores[rows])


@pytest.mark.parametrize("metric", METRICS)
def test_without_rules_the_lists_are_those_of_top_n(metric):
    vectors = np.random.default_rng(0).normal(size=(60, 5))
    rules = Rules(n=7, metric=metric)
    assert not is_asked(rules)
    assert pool_depth(rules, 60) == 7
    for ours, theirs in zip(
        refine(vectors, songs_of({"genre": [None] * 60}), rules), top_n(vectors, 7, metric), strict=True
    ):
        assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize(
    "rule", [{"no_same_artist": True}, {"min_score": 0.5}, {"genre": "boost"}, {"hubness": "csls"}]
)
def test_any_rule_is_asked_for(rule):
    assert is_asked(Rules(**rule))
    assert pool_depth(Rules(n=10, **rule), 1000) == 40
    assert pool_depth(Rules(n=10, **rule), 30) == 29


# --- refilling ----------------------------------------------------------------------------------------------------


def clump(n_clump=90, n_other=30):
    """One artist's songs close together, and others by all artists."""
    rng = np.random.default_rng(1)
    vectors = np.concatenate([[5, 0, 0] + 0.01 * rng.normal(size=(n_clump, 3)), rng.normal(size=(n_other, 3))])
    artists = ["one"] * n_clump + [f"other {i}" for i in range(n_other)]
    return vectors, {"artist_id": artists, "genre": ["g"] * len(artists)}


def test_a_list_is_refilled_past_a_clump_of_one_artist_far_larger_than_the_pool():
    vectors, tracks = clump()
    ids, _ = refine(vectors, songs_of(tracks), Rules(n=10, no_same_artist=True))
    assert (ids >= 90)[:90].all()
    ids, _ = refine(vectors, songs_of(tracks), Rules(n=10, max_per_artist=2))
    assert ((ids < 90).sum(axis=1) <= 2).all()
    assert (ids >= 0).all()


def test_only_songs_that_need_it_are_given_a_deeper_pool(monkeypatch):
    vectors, tracks = clump()
    asked = []

    def counting(vectors, n, metric, *, rows, among):
        asked.append((n, len(vectors) if rows is None else len(rows)))
        return top_n(vectors, n, metric, rows=rows, among=among)

    monkeypatch.setattr("musicrec.similarity.rules.top_n", counting)
    refine(vectors, songs_of(tracks), Rules(n=10, no_same_artist=True))
    shallowest = min(depth for depth, _ in asked)
    assert all(rows == 120 for depth, rows in asked if depth == shallowest)
    assert {rows for depth, rows in asked if depth > shallowest} == {90}  # of the one artist whose songs fill the pool


def test_lists_as_long_as_a_limit_allows_end_the_search(monkeypatch):
    """Ten artists, one song of each: nine is all that a list can hold, and no deeper pool is asked for."""
    vectors = np.random.default_rng(2).normal(size=(2000, 4))
    depths = set()

    def counting(vectors, n, metric, *, rows, among):
        depths.add(n)
        return top_n(vectors, n, metric, rows=rows, among=among)

    monkeypatch.setattr("musicrec.similarity.rules.top_n", counting)
    tracks = {"artist_id": [str(i % 10) for i in range(2000)]}
    ids, _ = refine(vectors, songs_of(tracks), Rules(n=50, max_per_artist=1, no_same_artist=True))
    assert ((ids >= 0).sum(axis=1) == 9).all()
    assert depths == {200}


@pytest.mark.thorough
@settings(max_examples=200, deadline=None)
@given(catalog=catalogs(), rules=RULES)
def test_no_list_is_longer_than_its_longest(catalog, rules):
    vectors, tracks, _ = catalog
    songs = with_tags(tracks, None, rules)
    everything = Rules(**{**rules.model_dump(), "n": 100, "genre": "any"})
    bound = filters.longest(filters.limits_of(songs, everything))
    assert ((refine(vectors, songs, everything).ids >= 0).sum(axis=1) <= bound).all()


@pytest.mark.parametrize("n_tagged", [0, 1, 3, 1999, 2000])
def test_songs_of_a_rare_tag_are_looked_for_among_themselves(n_tagged, monkeypatch):
    """Two passes at most: the pool of all songs, and one of the songs that have the tag."""
    vectors = np.random.default_rng(2).normal(size=(2000, 4))
    tags = np.arange(2000)[:, None] >= 2000 - n_tagged
    passes = []

    def counting(vectors, n, metric, *, rows, among):
        passes.append(n)
        return top_n(vectors, n, metric, rows=rows, among=among)

    monkeypatch.setattr("musicrec.similarity.rules.top_n", counting)
    rules = Rules(n=5, require_tag=("rare=0.5",))
    songs = songs_of({"genre": [None] * 2000}, tags=tags)
    lists = refine(vectors, songs, rules, top_n(vectors, 20))
    tagged = np.flatnonzero(tags)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert len(passes) <= 1
    for row in range(0, 2000, 111):
        own = lists.ids[row][lists.ids[row] >= 0]
        order = np.argsort(-(unit[tagged] @ unit[row]), kind="stable")
        assert own.tolist() == [song for song in tagged[order].tolist() if song != row][:5]


@pytest.mark.parametrize("method", ["mutual_proximity", "local_scaling", "csls"])
def test_with_a_method_against_hubs_the_pool_is_of_the_songs_that_tags_allow(method):
    vectors, tracks = clump()
    tags = np.random.default_rng(0).random((120, 1)).astype(np.float32)
    tags[::7] = np.nan
    rules = Rules(n=10, hubness=method, require_tag=("x=0.6",))
    songs = songs_of(tracks, tags=tags)
    lists = refine(vectors, songs, rules)
    own = set(np.flatnonzero(tags[:, 0] >= 0.6))
    for row, ids in enumerate(lists.ids.tolist()):
        assert set(ids) - {-1} <= own - {row}
        assert (np.array(ids) >= 0).sum() == 10
    for first in (top_n(vectors, 5), top_n(vectors, 70)):
        given = refine(vectors, songs, rules, first)
        assert np.array_equal(given.ids, lists.ids)
        assert np.array_equal(given.scores, lists.scores)


def test_a_song_of_two_artists_counts_for_both():
    vectors = [[1, 0.01 * i] for i in range(6)]
    artists = [["Ada", "Ben"], ["Ben"], ["Cem", "Ada"], ["Cem"], ["Dot", "Cem"], None]
    songs = songs_of({"artist_ids": artists})
    ids, _ = refine(vectors, songs, Rules(n=5, no_same_artist=True))
    assert ids[:2].tolist() == [[3, 4, 5, -1, -1], [2, 3, 4, 5, -1]]
    ids, _ = refine(vectors, songs, Rules(n=5, max_per_artist=1))
    assert ids[5].tolist() == [4, 1, -1, -1, -1]  # Dot and Cem, then Ben; each other song is by Cem or Ben


def test_an_album_of_several_artists_is_one_where_its_id_says_so():
    tracks = {"artist_id": ["a", "b", "c"], "album": ["x", "x", "x"], "album_id": ["v/x", "v/x", "v/x"]}
    ids, _ = refine(np.eye(3), songs_of(tracks), Rules(n=2, max_per_album=1))
    assert (ids >= 0).sum(axis=1).tolist() == [1, 1, 1]


def test_unknown_names_are_nobodys():
    """Songs without an artist are not by one artist, and without a genre have a list all the same."""
    tracks = {"artist_id": [None, "", None, "a"], "album": [None, "b", "b", ""], "genre": [None, "g", None, "g"]}
    vectors = np.eye(4)
    songs = songs_of(tracks)
    assert songs.artist.tolist() == [[], [], [], [0]]
    assert songs.album.tolist() == [-1, 0, 1, -1]  # an album is one artist's; no two unknown artists are one
    assert np.isnan(songs.duration_s).all()
    ids, _ = refine(vectors, songs, Rules(n=3, no_same_artist=True, max_per_artist=1, genre="only"))
    assert ids.tolist() == [[1, 2, 3], [3, -1, -1], [0, 1, 3], [1, -1, -1]]


def test_the_second_method_of_the_reference_adds_agreement_to_the_cosine():
    vectors = [[1, 0], [1, 0], [0, 1], [0.6, 0.8]]
    probabilities = [[1, 0], [0.5, 0.5], [1, 0], [0, 1]]
    _, scores = refine(vectors, songs_of({"genre": [None] * 4}, probabilities), Rules(n=3, genre="boost"))
    assert scores[0].tolist() == pytest.approx([1.5, 1.0, 0.6])  # 1 + .5, 0 + 1, .6 + 0


# --- with methods against hubs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("method", ["mutual_proximity", "local_scaling", "csls"])
def test_filters_refill_lists_ranked_against_hubs(method, metric):
    vectors, tracks = clump()
    rules = Rules(n=10, metric=metric, no_same_artist=True, hubness=method)
    lists = refine(vectors, songs_of(tracks), rules)
    assert (lists.ids >= 0).all()
    assert (lists.ids >= 90)[:90].all()
    low, high = score_range(rules)
    assert ((lists.scores >= low) & (lists.scores <= high)).all()
    assert (np.diff(lists.scores, axis=1) <= 0).all()
    deeper = refine(vectors, songs_of(tracks), rules, top_n(vectors, 70, metric))
    of_songs = statistics(method, vectors, top_n(vectors, 10, metric)[1], metric=metric)
    some = refine(vectors, songs_of(tracks), rules, rows=np.array([3, 4, 100]), of_songs=of_songs)
    assert np.array_equal(deeper.ids, lists.ids)  # the depth of the first pool is the method's
    assert np.array_equal(some.ids, lists.ids[[3, 4, 100]])
    assert np.array_equal(some.scores, lists.scores[[3, 4, 100]])


# --- settings -----------------------------------------------------------------------------------------------------


def test_boost_and_a_method_against_hubs_are_not_asked_for_together():
    with pytest.raises(ConfigError, match=r"similar\.hubness = 'csls': expected none with --genre boost"):
        resolve(SimilarSettings, {"genre": "boost", "hubness": "csls"})
    with pytest.raises(ValidationError):
        Rules(genre="boost", hubness="csls")


@pytest.mark.parametrize(
    ("given", "known"),
    [
        (["rock"], ("rock=0.1",)),
        (["rock=0.30", "rock=.3"], ("rock=0.3",)),
        (["musicnn:female vocalists=0.25", "a b"], ("a b=0.1", "musicnn:female vocalists=0.25")),
        (["genre:sub:rock"], ("genre:sub:rock=0.1",)),
        (["a=b=0.5"], ("a=b=0.5",)),
        (["none"], ()),
    ],
)
def test_rules_for_tags_are_kept_with_their_thresholds(given, known):
    for option in ("require_tag", "exclude_tag"):
        rules = SimilarSettings(**{option: given})
        assert getattr(rules, option) == known
        assert SimilarSettings(**rules.model_dump()) == rules
    assert tag_rule("genre:sub:rock") == ("genre", "sub:rock", 0.1)


@pytest.mark.parametrize("text", ["", "=0.5", "rock=0", "rock=1.1", "rock=x", "rock=nan", "musicnn:", "rock=-1"])
def test_a_tag_without_a_name_or_with_an_impossible_score_is_refused(text):
    with pytest.raises(
        ConfigError, match=r"similar\.require_tag\S* = .*: expected a tag, or a tag with a score above 0"
    ):
        resolve(SimilarSettings, {"require_tag": [text]})


# --- parts --------------------------------------------------------------------------------------------------------


def test_songs_are_numbered_by_what_the_rules_look_at():
    songs = songs_of(
        {
            "artist_id": ["a", "b", "a", None],
            "album": ["live", "live", "live", ""],
            "recording": ["r", None, "r", "s"],
            "content_hash": [None, "c", "c", "d"],
            "genre": ["folk", "jazz", None, "folk"],
            "duration_s": [1.5, None, 2.0, 3.0],
            "sound": ["x", "y", "x", None],
        },
        [[0.25, 0.75]] * 4,
    )
    assert songs.artist.tolist() == [[0], [1], [0], []]
    assert songs.album.tolist() == [0, 1, 0, -1]  # of the same name, by two artists
    assert songs.recording.tolist() == [0, -1, 0, 1]
    assert songs.content.tolist() == [-1, 0, 0, 1]
    assert songs.genre.tolist() == [0, 1, -1, 0]
    assert songs.sound.tolist() == [0, 1, 0, -1]
    np.testing.assert_array_equal(songs.duration_s, [1.5, np.nan, 2.0, 3.0])
    np.testing.assert_array_equal(songs.genre_probabilities, [[0.25, 0.75]] * 4)
    unknown = songs_of({"genre": ["folk", "folk"]})
    assert unknown.artist.tolist() == [[], []]
    assert unknown.recording.tolist() == unknown.content.tolist() == [-1, -1]
    assert np.isnan(unknown.duration_s).all()


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({}, (-1, 1)),
        ({"metric": "euclidean"}, (-np.inf, 0)),
        ({"genre": "boost"}, (-1, np.inf)),
        ({"hubness": "mutual_proximity"}, (0, np.inf)),
        ({"hubness": "local_scaling"}, (-np.inf, 0)),
        ({"hubness": "csls"}, (-4, 4)),
        ({"hubness": "csls", "metric": "euclidean"}, (-np.inf, np.inf)),
    ],
)
def test_scores_have_the_range_of_their_rules(rules, expected):
    assert score_range(Rules(**rules)) == expected
