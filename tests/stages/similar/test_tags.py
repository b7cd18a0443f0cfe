"""Lists by the tags of songs: those of somebody who goes down the whole catalog, every night; each rule is told."""

import json

import numpy as np
import pyarrow as pa
import pytest

from musicrec.errors import ConfigError
from musicrec.schemas import TRACKS, tags_schema
from musicrec.settings import PretrainedSettings, SimilarSettings
from musicrec.stages.chain import chain_settings, stages
from musicrec.stages.similar.stage import similar
from musicrec.store.spaces import PublishedSpace, SpaceCard

pytestmark = pytest.mark.usefixtures("ray_session")
N, n = 60, 5
TAGS = ("rock", "female vocalists")
ROCK = SimilarSettings(n=n, require_tag=("rock=0.5",))


def vectors(seed=0):
    return np.random.default_rng(seed).normal(size=(N, 8)).astype(np.float32)


def names():
    return [f"song-{i:03d}" for i in range(N)]


def scores(seed=1, without=(3, 17, 40)):
    """Scores of the tags; NaN for songs without tags."""
    found = np.random.default_rng(seed).random((N, len(TAGS))).astype(np.float32)
    found[list(without)] = np.nan
    return found


def publish_tags(store, matrix, model="musicnn", tags=TAGS):
    has = ~np.isnan(matrix[:, 0])
    columns = [pa.array(np.array(names())[has]), *(pa.array(column) for column in np.ascontiguousarray(matrix[has].T))]
    settings = PretrainedSettings(model=model)
    fingerprint = settings.fingerprint(*map(str, matrix.ravel()))
    space = PublishedSpace(model, "0123456789abcdef", 8, SpaceCard(model)).lineage
    with store.new_version(f"tags/{model}", settings, fingerprint, space=space) as version:
        version.write_part(pa.table(columns, schema=tags_schema(tags)))
        store.publish(version)


def brute_force(matrix, fits, length=n):
    """For each song, go down all others and take those that fit."""
    unit = matrix.astype(np.float64) / np.linalg.norm(matrix.astype(np.float64), axis=1, keepdims=True)
    lists = {}
    for i in range(N):
        order = sorted((j for j in range(N) if j != i), key=lambda j: (-np.float32(unit[i] @ unit[j]), j))
        lists[names()[i]] = [names()[j] for j in order if fits[j]][:length]
    return lists


def published(store):
    rows = store.read("similar").sort_by([("track_id", "ascending"), ("rank", "ascending")]).to_pylist()
    lists = {name: [] for name in names()}
    for row in rows:
        lists[row["track_id"]].append(row["similar_track_id"])
    return lists


@pytest.fixture
def store(tmp_path, publish_vectors):
    """An OUT with embeddings ``vectors(0)`` and the tags ``scores(1)`` of musicnn."""
    store = publish_vectors(tmp_path / "out", vectors())
    publish_tags(store, scores())
    return store


@pytest.mark.parametrize(
    ("rules", "fits"),
    [
        ({"require_tag": ["rock=0.5"]}, lambda rock, female: rock >= 0.5),
        ({"require_tag": ["rock=0.95"]}, lambda rock, female: rock >= 0.95),
        ({"exclude_tag": ["musicnn:female vocalists=0.3"]}, lambda rock, female: ~(female >= 0.3)),
        (
            {"require_tag": ["rock"], "exclude_tag": ["rock=0.8", "female vocalists=0.9"]},
            lambda rock, female: (rock >= 0.1) & (rock < 0.8) & (female < 0.9),
        ),
    ],
)
def test_lists_hold_the_songs_that_the_scores_allow_in_order(store, rules, fits):
    similar(store, SimilarSettings(n=n, max_hub_share=1.0, **rules))
    allowed = fits(*scores().T)
    assert 0 < allowed.sum() < N
    assert published(store) == brute_force(vectors(), allowed)


def test_the_thresholds_are_told_with_how_many_songs_pass(store, command):
    line = str(similar(store, SimilarSettings(n=n, require_tag=("rock",), exclude_tag=("female vocalists=0.3",))))
    rock, female = scores().T
    told = (
        f"--require-tag musicnn:rock=0.1 ({(rock >= 0.1).sum()} songs pass; the 3 without tags do not), "
        f"--exclude-tag musicnn:female vocalists=0.3 ({N - (female >= 0.3).sum()} songs pass; the 3 without tags stay)"
    )
    assert line.endswith(told)
    code, said, _ = command("similar", store.out)  # nothing to do, and told all the same
    assert (code, told in said, "(none compared now)" in said) == (0, True, True)
    recorded = store.settings.recorded("similar")
    assert (recorded["require_tag"], recorded["exclude_tag"]) == (
        ["musicnn:rock=0.1"],
        ["musicnn:female vocalists=0.3"],
    )
    code, said, _ = command("similar", store.out, "--require-tag", "none", "--exclude-tag", "none")
    assert "tag" not in said
    assert published(store) == brute_force(vectors(), np.ones(N, bool))


def test_a_night_with_other_songs_or_other_tags_has_the_lists_of_a_full_run(store, publish_vectors):
    similar(store, ROCK)
    assert similar(store, ROCK).fresh == 0
    publish_tags(store, scores(2))
    assert similar(store, ROCK).fresh == N
    assert store.footer("similar")["lineage"]["compared"]["changed"] == 0
    assert published(store) == brute_force(vectors(), scores(2)[:, 0] >= 0.5)
    matrix = vectors()
    matrix[7] = -matrix[8]
    publish_vectors(store.out, matrix)
    similar(store, ROCK)
    assert store.footer("similar")["lineage"]["compared"]["changed"] == 1
    assert published(store) == brute_force(matrix, scores(2)[:, 0] >= 0.5)


def test_a_list_by_a_rare_tag_is_short_and_passes_the_gate(store):
    matrix = np.where(np.isnan(scores()), np.nan, np.float32(0.2))
    matrix[[5, 6, 7], 0] = 0.9
    publish_tags(store, matrix)
    similar(store, SimilarSettings(n=n, require_tag=("rock=0.5",)))
    assert store.footer("similar")["lineage"]["gate"]["coverage"] == 1.0
    assert published(store) == brute_force(vectors(), matrix[:, 0] >= 0.5)
    with pytest.raises(ConfigError, match=r"no song is left by --require-tag musicnn:rock=1 \(0 songs pass; .*another"):
        similar(store, SimilarSettings(n=n, require_tag=("rock=1",)))
    assert published(store) == brute_force(vectors(), matrix[:, 0] >= 0.5)


# --- names --------------------------------------------------------------------------------------------------------


def test_a_tag_that_there_is_not_is_told_with_those_that_there_are(store, tmp_path, publish_vectors):
    publish_tags(store, scores(2), "other", ("rock", "calm"))
    there = "has no tag '{}'; there are, by model, musicnn: rock, female vocalists; other: rock, calm$"
    for name in ("roock", "musicnn:calm", "third:rock"):
        with pytest.raises(ConfigError, match=there.format(name)):
            similar(store, SimilarSettings(exclude_tag=(name,)))
    with pytest.raises(ConfigError, match="'rock' is one of several models; say musicnn:rock or other:rock"):
        similar(store, ROCK)
    similar(store, SimilarSettings(n=n, require_tag=("other:rock=0.5",)))
    assert published(store) == brute_force(vectors(), scores(2)[:, 0] >= 0.5)
    bare = publish_vectors(tmp_path / "bare", vectors())
    with pytest.raises(ConfigError, match=r"has no tags, so none is called 'rock'; .*musicrec vectors run"):
        similar(bare, ROCK)


def test_a_second_model_with_the_same_tag_disturbs_no_later_night(store):
    similar(store, ROCK)
    publish_tags(store, scores(2), "other", ("rock", "calm"))
    settings = chain_settings(store, {"catalog": {"source": "/music"}}).similar
    assert settings.require_tag == ("musicnn:rock=0.5",)
    assert similar(store, settings).fresh == 0


def test_the_chain_refuses_an_unknown_tag_before_it_does_anything(store, monkeypatch, tmp_path):
    monkeypatch.setenv("MUSICREC_CACHE", str(tmp_path / "cache"))
    settings = chain_settings(store, {"catalog": {"source": "/music"}, "similar": {"require_tag": ["roock"]}})
    with pytest.raises(ConfigError, match="has no tag 'roock'; there are, by model, musicnn: rock, female vocalists"):
        stages(store, settings)


# --- why not ------------------------------------------------------------------------------------------------------


def test_a_lookup_names_the_rule_that_kept_a_song_out(store, command):
    rules = SimilarSettings(n=n, require_tag=("rock=0.5",), exclude_tag=("female vocalists=0.6",))
    similar(store, rules)
    matrix = scores()
    for i in range(1, N):
        code, said, _ = command("lookup", store.out, "song-000", "--why-not", names()[i], "--json")
        found, (rock, female) = json.loads(said), matrix[i]
        assert code == 0
        if np.isnan(rock):
            expected = "require_tag", "--require-tag musicnn:rock=0.5: it has no tags"
        elif rock < 0.5:
            expected = "require_tag", f"--require-tag musicnn:rock=0.5: its score is {rock:.3f}"
        elif female >= 0.6:
            expected = "exclude_tag", f"--exclude-tag musicnn:female vocalists=0.6: its score is {female:.3f}"
        else:
            assert found["rule"] in ("n", "")
            continue
        assert (found["rule"], found["why"]) == expected
    publish_tags(store, scores(2))
    code, _, complaint = command("lookup", store.out, "song-000", "--why-not", "song-001")
    assert (code, "was not made of the published tags/musicnn" in complaint) == (1, True)


def test_rules_for_tags_go_with_other_rules(store):
    tracks = store.read("tracks").to_pylist()
    songs = [t | {"artist_ids": [f"a{i % 4}"]} for i, t in enumerate(tracks)]
    with store.new_version("tracks", ROCK, "other-tracks") as version:
        version.write_part(pa.Table.from_pylist(songs, TRACKS))
        store.publish(version)
    similar(store, SimilarSettings(n=n, require_tag=("rock=0.5",), no_same_artist=True))
    everybody = brute_force(vectors(), scores()[:, 0] >= 0.5, N)
    expected = {
        name: [o for o in found if int(o[-3:]) % 4 != int(name[-3:]) % 4][:n] for name, found in everybody.items()
    }
    assert published(store) == expected
