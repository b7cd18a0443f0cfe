"""Lists by the vectors of a space: those of brute force, kept from night to night, never mixed with another space's."""

import json

import numpy as np
import pyarrow as pa
import pytest

from musicrec.errors import MusicrecError, SchemaError, UnknownTrack
from musicrec.files.parquet import write_parquet
from musicrec.schemas import TRACKS, features_schema
from musicrec.serve.lookup import SimilarTable
from musicrec.serve.status import versions_of
from musicrec.settings import ExtractSettings, SimilarSettings, VectorsSettings
from musicrec.similarity import top_n
from musicrec.similarity.joined_spaces import join
from musicrec.similarity.search.blocks import Lists
from musicrec.stages.chain import ChainSettings, chain_settings, stages
from musicrec.stages.similar.kept_lists import FOLDER, load
from musicrec.stages.similar.stage import similar
from musicrec.stages.vectors.stage import add_vectors
from musicrec.store.spaces import read_space

pytestmark = pytest.mark.usefixtures("ray_session")
N, D = 60, 8
IN_MERT = SimilarSettings(n=5, space=("mert",))
KNOWN = {"model": "mert", "weights": "3f9a"}


def vectors(seed=0, n=N, d=D):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def names(n=N):
    return [f"song-{i:03d}" for i in range(n)]


def add(store, matrix, ids=None, name="mert", **known):
    """Bring vectors into a space, by a file of that name."""
    file = store.out.parent / f"{name}.parquet"
    write_parquet(file, pa.table({"track_id": ids or names(len(matrix)), "embedding": list(matrix)}))
    return add_vectors(store, VectorsSettings(name=name, file=str(file), **known))


def published(store):
    """Ids and lists of the published table, from its Parquet form."""
    rows = store.read("similar").to_pandas()
    ids = sorted(set(rows["track_id"]))
    row = {track_id: i for i, track_id in enumerate(ids)}
    found = np.full((len(ids), rows["rank"].max()), -1, np.int32)
    scores = np.full(found.shape, -np.inf, np.float32)
    where = rows["track_id"].map(row), rows["rank"] - 1
    found[where], scores[where] = rows["similar_track_id"].map(row), rows["score"]
    return ids, Lists(found, scores)


def assert_lists(store, matrix, ids=None, n=5):
    found, lists = published(store)
    assert found == (ids or names(len(matrix)))
    expected = top_n(matrix, n)
    assert np.array_equal(lists.ids, expected.ids)
    assert np.array_equal(lists.scores, expected.scores)


def how(store):
    return store.footer("similar")["lineage"]["compared"]


def reasons(store):
    rows = store.read("outcomes").to_pylist()
    return {row["track_id"]: row["reason"] for row in rows if row["stage"] == "similar"}


@pytest.fixture
def store(tmp_path, publish_vectors):
    """An OUT with embeddings ``vectors(9)``, and a space mert with ``vectors(0)``."""
    store = publish_vectors(tmp_path / "out", vectors(9))
    add(store, vectors(), **KNOWN)
    return store


# --- lists by a space ---------------------------------------------------------------------------------------------


def test_lists_are_those_of_the_space_and_the_footer_names_it(store):
    similar(store, IN_MERT)
    assert_lists(store, vectors())
    lineage = store.footer("similar")["lineage"]
    space = read_space(store, "mert")
    assert lineage["spaces"]["mert"]["id"] == space.space_id
    assert lineage["made_of"] == {"vectors/mert": store.footer("vectors/mert")["fingerprint"]}
    assert f"space mert {space.space_id[:8]}" in versions_of(store, "similar")[0].made_by
    assert similar(store, IN_MERT).fresh == 0
    similar(store, SimilarSettings(n=5, space=("embeddings",)))
    assert_lists(store, vectors(9))


def test_the_default_space_has_the_fingerprint_of_before_there_were_spaces():
    before = SimilarSettings.model_fields.keys() - {"space"}
    content = SimilarSettings().model_dump(mode="json")
    assert content.keys() == {*before, "space"}
    for named in (SimilarSettings(), SimilarSettings(space=("embeddings",))):
        assert named.fingerprint("x") == "c4c53f4bef0cfd7d"
    assert SimilarSettings(space=("mert",)).fingerprint("x") != SimilarSettings(space=("clap",)).fingerprint("x")


def test_a_song_without_a_vector_has_no_list_and_a_lookup_says_why(store):
    matrix = vectors(1)
    matrix[7] = np.nan
    add(store, matrix[:-1], **KNOWN)
    counts = similar(store, IN_MERT)
    assert (counts.ok, counts.skipped, counts.failed) == (N - 2, 2, 0)
    assert {t: r for t, r in reasons(store).items() if r} == {"song-007": "no_vector", "song-059": "no_vector"}
    left = [i for i in range(N - 1) if i != 7]
    assert_lists(store, matrix[left], [names()[i] for i in left])
    for name, why in (("song-007", "vectors/mert failed, not_finite"), ("song-059", "vectors/mert skipped, no_vector")):
        with pytest.raises(UnknownTrack, match=f"{name} is in the catalog but not in the table: {why}"):
            SimilarTable(store.out).similar(name)


def test_an_outcome_of_a_space_does_not_explain_a_table_of_another(store, publish_vectors):
    add(store, vectors()[:-1], **KNOWN)
    given = list(vectors(9))
    given[-1] = None
    publish_vectors(store.out, given)
    similar(store, SimilarSettings(n=5))
    with pytest.raises(UnknownTrack, match="not in the table: similar skipped, not_finite"):
        SimilarTable(store.out).similar("song-059")


@pytest.mark.parametrize(
    "rules",
    [
        {"no_same_artist": True, "max_per_artist": 1},
        {"hubness": "mutual_proximity"},
        {"genre": "boost"},
        {"min_score": 0.2},
    ],
    ids=lambda rules: next(iter(rules)),
)
def test_rules_are_those_of_embeddings_with_the_same_vectors(store, publish_vectors, tmp_path, rules):
    for out in (store, publish_vectors(tmp_path / "same", vectors())):
        tracks = out.read("tracks").to_pylist()
        songs = [t | {"artist_id": f"a{i % 7}", "genre": f"g{i % 3}"} for i, t in enumerate(tracks)]
        with out.new_version("tracks", IN_MERT, "other-tracks") as version:
            version.write_part(pa.Table.from_pylist(songs, TRACKS))
            out.publish(version)
        similar(out, SimilarSettings(n=5, space=("mert",) if out is store else (), **rules))
    assert store.read("similar").equals(out.read("similar"))


# --- from night to night ------------------------------------------------------------------------------------------


def test_a_newer_file_of_the_same_space_is_a_refresh_and_of_another_a_full_run(store):
    similar(store, IN_MERT)
    matrix = vectors()
    matrix[3] += 1
    add(store, matrix, **KNOWN)
    similar(store, IN_MERT)
    assert how(store)["changed"] == 1
    assert_lists(store, matrix)
    matrix[4] += 1
    add(store, matrix, model="mert", weights="other")
    similar(store, IN_MERT)
    assert "changed" not in how(store)
    assert_lists(store, matrix)
    matrix[5] += 1
    add(store, matrix)  # nothing is known of it, so each file is another space
    similar(store, IN_MERT)
    assert "changed" not in how(store)
    assert_lists(store, matrix)


def test_a_space_by_another_name_with_the_same_id_is_the_same_space(store):
    similar(store, IN_MERT)
    add(store, vectors(), name="again", **KNOWN)
    similar(store, SimilarSettings(n=5, space=("again",)))
    assert how(store)["changed"] == 0
    assert_lists(store, vectors())


def test_kept_lists_of_another_space_are_passed_over(store):
    similar(store, IN_MERT)
    folder = store.path("similar") / FOLDER
    made_by = json.loads((folder / "about.json").read_text())["made_by"]
    assert made_by["model_id"] == read_space(store, "mert").space_id
    assert load(folder, made_by)
    assert load(folder, made_by | {"model_id": "another"}) is None


def test_a_rollback_to_a_table_of_another_space_mixes_nothing(store):
    similar(store, SimilarSettings(n=5))
    similar(store, IN_MERT)
    store.rollback("similar")
    assert_lists(store, vectors(9))
    assert "was withdrawn by a rollback" in str(similar(store, IN_MERT))
    matrix = vectors()
    matrix[3] += 1
    add(store, matrix, **KNOWN)
    similar(store, IN_MERT)  # the published table is one of embeddings, and nothing of it is kept
    assert "changed" not in how(store)
    assert_lists(store, matrix)
    store.rollback("similar")
    similar(store, SimilarSettings(n=5))
    assert_lists(store, vectors(9))


def test_too_few_vectors_leave_the_table(store):
    similar(store, IN_MERT)
    add(store, vectors(n=1), **KNOWN)
    with pytest.raises(MusicrecError, match="1 songs have a vector; a table needs at least two"):
        similar(store, IN_MERT)
    assert_lists(store, vectors())


# --- the chain ----------------------------------------------------------------------------------------------------


def test_the_chain_looks_at_the_files_of_the_spaces_that_are_compared(store):
    add(store, vectors(2), name="unused")
    base = chain_settings(store, {"catalog": {"source": "/music"}})
    assert list(stages(store, base)) == [name for name in ChainSettings._fields if name != "duplicates"]
    chain = stages(store, base._replace(similar=IN_MERT))
    assert list(chain) == ["catalog", "extract", "train", "embed", "vectors/mert", "similar"]
    assert chain["vectors/mert"]().fresh == 0
    matrix = vectors(3)
    write_parquet(store.out.parent / "mert.parquet", pa.table({"track_id": names(), "embedding": list(matrix)}))
    assert chain["vectors/mert"]().fresh == N
    chain["similar"]()
    assert_lists(store, matrix)
    with pytest.raises(MusicrecError, match="has no space 'clap'"):
        stages(store, base._replace(similar=SimilarSettings(space=("clap",))))


# --- several spaces -----------------------------------------------------------------------------------------------

SEVERAL = SimilarSettings(n=5, space=("mert=1", "clap=0.25", "features=0.5"))
WEIGHTS = {"clap": 0.25, "features": 0.5, "mert": 1.0}
NAMES = [f"feature-{i}" for i in range(4)]


def publish_features(store, matrix, ids=None, code="1"):
    columns = [pa.array(ids or names(len(matrix))), *(pa.array(column) for column in matrix.T)]
    with store.new_version("features", ExtractSettings(), f"{code}{abs(hash(matrix.tobytes())):015x}"[:16]) as version:
        version.write_part(pa.Table.from_arrays(columns, schema=features_schema(NAMES)))
        store.publish(version)


def cosines(matrix):
    unit = matrix.astype(np.float64) / np.linalg.norm(matrix.astype(np.float64), axis=1, keepdims=True)
    return unit @ unit.T


def standardised(features):
    return (features.astype(np.float64) - features.mean(0, dtype=np.float64)) / features.std(0, dtype=np.float64)


def scaled(features, scaling):
    apart = features.astype(np.float64) - np.array(scaling["mean"])
    return (apart / np.array(scaling["scale"])).astype(np.float32)


def mean_cosine(matrices):
    """Weighted mean of cosines, in float64."""
    parts = {name: WEIGHTS[name] / sum(WEIGHTS.values()) * cosines(matrix) for name, matrix in matrices.items()}
    return sum(parts.values()), parts


@pytest.fixture
def matrices():
    features = (100 * vectors(5, d=4) + 1000).astype(np.float32)
    return {"mert": vectors(), "clap": vectors(4, d=3), "features": features}


@pytest.fixture
def several(store, matrices):
    add(store, matrices["clap"], name="clap", model="clap", weights="1")
    publish_features(store, matrices["features"])
    return store


def assert_mean_of_cosines(store, matrices):
    """The lists are those of brute force by the weighted mean of cosines."""
    expected, parts = mean_cosine(matrices | {"features": standardised(matrices["features"])})
    np.fill_diagonal(expected, -np.inf)
    _, lists = published(store)
    ids = lists.ids.astype(np.int64)
    np.testing.assert_allclose(lists.scores, -np.sort(-expected, axis=1)[:, :5], atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(expected, ids, axis=1), lists.scores, atol=1e-6)
    table = SimilarTable(store.out)
    for row, name in enumerate(names(len(expected))):
        for space, found in table.shares(name, 5).items():
            np.testing.assert_allclose(found, parts[space][row, ids[row]], atol=1e-3)


def test_lists_in_several_spaces_are_by_the_weighted_mean_of_cosines(several, matrices):
    similar(several, SEVERAL)
    assert_mean_of_cosines(several, matrices)
    spaces = several.footer("similar")["lineage"]["spaces"]
    assert {name: space["weight"] for name, space in spaces.items()} == WEIGHTS
    assert spaces["mert"]["id"] == read_space(several, "mert").space_id
    assert set(several.footer("similar")["lineage"]["made_of"]) == {"features", "vectors/clap", "vectors/mert"}
    assert similar(several, SEVERAL).fresh == 0
    assert similar(several, SimilarSettings(n=5, space=("features=0.5", "mert", "clap=0.250"))).fresh == 0  # the same


def test_a_refresh_in_several_spaces_is_a_full_run_by_the_same_scaling(several, matrices, tmp_path):
    similar(several, SEVERAL)
    before = several.footer("similar")["lineage"]["spaces"]["features"]
    for name in ("mert", "clap"):
        matrices[name][3] += 1
        add(several, matrices[name], name=name, model=name, weights="3f9a" if name == "mert" else "1")
    matrices["features"][8] += 50
    publish_features(several, matrices["features"])
    similar(several, SEVERAL)
    assert how(several)["changed"] == 2
    after = several.footer("similar")["lineage"]["spaces"]["features"]
    assert (after["id"], after["mean"]) == (before["id"], before["mean"])
    joined = join([matrices["clap"], scaled(matrices["features"], before), matrices["mert"]], [0.25, 0.5, 1])
    assert_lists(several, joined)


def test_features_are_scaled_anew_when_they_are_others_or_of_many_more_songs(several, matrices, publish_vectors):
    in_features = SimilarSettings(n=5, space=("features",))
    similar(several, in_features)
    first = several.footer("similar")["lineage"]["spaces"]["features"]
    np.testing.assert_allclose(first["mean"], matrices["features"].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(first["scale"], matrices["features"].std(axis=0), rtol=1e-6)
    assert_lists(several, scaled(matrices["features"], first))
    for n_songs, is_kept in ((50, True), (40, False)):
        publish_features(several, matrices["features"][:n_songs])
        similar(several, in_features)
        now = several.footer("similar")["lineage"]["spaces"]["features"]
        assert (now["id"] == first["id"]) == is_kept
        assert_lists(several, scaled(matrices["features"][:n_songs], first if is_kept else now), names(n_songs))
    np.testing.assert_allclose(now["mean"], matrices["features"][:40].mean(axis=0), rtol=1e-6)


def test_a_song_that_a_space_lacks_is_left_out_with_the_reason(several, matrices):
    clap = matrices["clap"].copy()
    clap[0] = np.nan
    add(several, clap[:-1], name="clap", model="clap", weights="1")
    publish_features(several, matrices["features"][2:], names()[2:])
    similar(several, SEVERAL)
    left_out = {t: r for t, r in reasons(several).items() if r}
    assert left_out == {"song-000": "no_vector", "song-001": "no_features", "song-059": "no_vector"}
    assert published(several)[0] == names()[2:-1]
    with pytest.raises(UnknownTrack, match=r"similar skipped, no_features .*in the space features"):
        SimilarTable(several.out).similar("song-001")


def test_embeddings_of_zeros_have_no_direction_among_several_spaces(store, publish_vectors):
    matrix = vectors(9)
    matrix[2] = 0
    publish_vectors(store.out, matrix)
    similar(store, SimilarSettings(n=5, space=("embeddings", "mert")))
    assert {t: r for t, r in reasons(store).items() if r} == {"song-002": "zero_vector"}
    others = np.delete(np.arange(N), 2)
    assert_lists(store, join([matrix[others], vectors()[others]], [1, 1]), [names()[i] for i in others])


def test_other_weights_are_another_space(several):
    similar(several, SEVERAL)
    similar(several, SimilarSettings(n=5, space=("mert=1", "clap=0.5", "features=0.5")))
    assert "changed" not in how(several)


def test_a_damaged_file_of_shares_is_made_again(several, matrices):
    similar(several, SEVERAL)
    for damage in (b"", b"\x93NUMPY", None):
        path = several.path("similar").resolve() / "_sidecar" / "shares.npy"
        path.unlink() if damage is None else path.write_bytes(damage)
        with pytest.raises(SchemaError, match=r"shares\.npy is not whole .*make the table again"):
            SimilarTable(several.out).shares("song-000")
        assert similar(several, SEVERAL).fresh == N
        assert_mean_of_cosines(several, matrices)


@pytest.mark.parametrize(
    "space",
    [
        ["a b"],
        ["a=0"],
        ["a=-1"],
        ["a=nan"],
        ["a=x"],
        ["a=inf"],
        ["a", "a=2"],
        ["=1"],
        ["a="],
        ["tags/"],
        ["tags/a b"],
        ["a/b"],
    ],
)
def test_weights_that_are_none_are_refused(space):
    with pytest.raises(ValueError, match="expected each space once, as a name or with a weight above 0"):
        SimilarSettings(space=space)


# --- why ----------------------------------------------------------------------------------------------------------


def test_a_lookup_says_which_space_brought_a_song(several, command):
    similar(several, SEVERAL)
    _, lists = published(several)
    code, said, complaint = command("lookup", several.out, "song-003", "--why", "--json", "-n", 5)
    assert (code, complaint) == (0, "")
    for i, row in enumerate(json.loads(said)["similar"]):
        assert list(row["shares"]) == ["clap", "features", "mert"]
        assert sum(row["shares"].values()) == pytest.approx(lists.scores[3, i], abs=2e-3)
    head = command("lookup", several.out, "song-003", "--why")[1].splitlines()[1]
    assert head.split() == ["rank", "song", "genre", "score", "clap", "features", "mert"]
    assert (
        command("lookup", several.out, "song-003", "--why", "--csv")[1]
        .splitlines()[0]
        .endswith("score,clap,features,mert")
    )
    similar(several, IN_MERT)
    code, said, complaint = command("lookup", several.out, "song-003", "--why")
    assert (code, said.splitlines()[1].split()) == (0, ["rank", "song", "genre", "score"])
    assert "compared in one space" in complaint


def test_a_lookup_says_why_a_song_is_not_in_a_list(several, matrices, command):
    similar(several, SEVERAL)
    expected, parts = mean_cosine(matrices | {"features": standardised(matrices["features"])})
    order = np.argsort(-expected[3], kind="stable")[1:]
    for place in (4, 5, 40):
        other = names()[order[place]]
        code, said, complaint = command("lookup", several.out, "song-003", "--why-not", other)
        assert (code, complaint) == (0, "")
        why = f"the list is full: its 5 songs end with {names()[order[4]]}, and this one ranks lower"
        first, second = said.splitlines()
        assert first == f"{other} for song-003: {why if place > 4 else 'it is in the list'}"
        shares = " + ".join(f"{name} {parts[name][3, order[place]]:.3f}" for name in sorted(parts))
        assert second == f"similarity {expected[3, order[place]]:.3f} = {shares}, rank {place + 1} of {N - 1}"
    found = json.loads(command("lookup", several.out, "song-003", "--why-not", other, "--json")[1])
    assert (found["rank"], found["rule"]) == (41, "n")


def test_a_rule_or_a_cap_is_named_with_its_value(several, matrices, command):
    tracks = several.read("tracks").to_pylist()
    songs = [t | {"artist_id": f"a{i % 7}"} for i, t in enumerate(tracks)]
    with several.new_version("tracks", IN_MERT, "other-tracks") as version:
        version.write_part(pa.Table.from_pylist(songs, TRACKS))
        several.publish(version)
    similar(several, SimilarSettings(n=5, space=SEVERAL.space, no_same_artist=True, max_per_artist=1))
    order = np.argsort(-mean_cosine(matrices | {"features": standardised(matrices["features"])})[0][3], kind="stable")[
        1:
    ]
    held = {}
    for song in order.tolist():
        said = command("lookup", several.out, "song-003", "--why-not", names()[song])[1].splitlines()[0]
        if song % 7 == 3:
            assert said.endswith(": --no-same-artist: it is by the same artist")
        elif song % 7 in held and len(held) < 5:
            assert said.endswith(f": --max-per-artist 1: the list holds {names()[held[song % 7]]}, by its artist")
        elif len(held) < 5:
            held[song % 7] = song
            assert said.endswith("it is in the list")
        else:
            break


def test_what_cannot_be_explained_is_told(several, matrices, command):
    similar(several, SEVERAL)
    assert "cannot be in its own list" in command("lookup", several.out, "song-003", "--why-not", "song-003")[2]
    assert "no song 'x'" in command("lookup", several.out, "song-003", "--why-not", "x")[2]
    assert command("lookup", several.out, "song-003", "song-004", "--why-not", "song-005")[0] == 2
    matrices["clap"][0] += 1
    add(several, matrices["clap"], name="clap", model="clap", weights="1")
    code, _, complaint = command("lookup", several.out, "song-003", "--why-not", "song-004")
    assert code == 1
    assert "was not made of the published vectors/clap" in complaint
