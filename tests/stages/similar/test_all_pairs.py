"""The stage that compares songs: the lists of the kernel, however they are shared out, refreshed, filtered."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pyarrow as pa
import pytest

from musicrec.errors import ConfigError
from musicrec.serve.lookup import SimilarTable
from musicrec.serve.status import versions_of
from musicrec.settings import SimilarSettings
from musicrec.similarity import refine, songs_of, top_n
from musicrec.similarity.search.blocks import Lists
from musicrec.similarity.search.refresh import full
from musicrec.stages.similar import all_pairs, levels_on_ray
from musicrec.stages.similar.kept_lists import load, save
from musicrec.stages.similar.stage import similar
from musicrec.store.lineage import read_footer
from musicrec.store.pointer import version_of
from processes import named

pytestmark = pytest.mark.usefixtures("ray_session")

N_SONGS = 700


def clumps(n_songs=N_SONGS, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(9, 24))[rng.integers(0, 9, n_songs)] + 0.5 * rng.normal(size=(n_songs, 24))).astype(
        np.float32
    )


def names(rows):
    return [f"song-{row:05d}" for row in rows]


def published(store):
    """The published table in the form of top_n, from its Parquet form."""
    table = store.read("similar").to_pandas()
    songs = sorted(set(table["track_id"]))
    row = {song: i for i, song in enumerate(songs)}
    n = table["rank"].max()
    ids = np.full((len(songs), n), -1, np.int32)
    scores = np.full((len(songs), n), -np.inf, np.float32)
    where = table["track_id"].map(row), table["rank"] - 1
    ids[where], scores[where] = table["similar_track_id"].map(row), table["score"]
    return Lists(ids, scores)


def assert_same(lists, expected):
    assert np.array_equal(lists.ids, expected.ids)
    assert np.array_equal(lists.scores, expected.scores)


def how(store):
    return store.footer("similar")["lineage"]["compared"]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("shard", "part"), [(8192, 131_072), (64, 128), (192, 384)])
def test_the_table_is_the_kernels_however_songs_are_shared_out(
    tmp_path, monkeypatch, publish_vectors, metric, shard, part
):
    monkeypatch.setattr(all_pairs, "SONGS_PER_SHARD", shard)
    monkeypatch.setattr(all_pairs, "SONGS_PER_PART", part)
    store = publish_vectors(tmp_path, clumps())
    similar(store, SimilarSettings(n=12, metric=metric))
    assert_same(published(store), top_n(clumps(), 12, metric))


def stretched(n_songs=N_SONGS, seed=0):
    """Clumps whose distances from the centre differ by orders of magnitude."""
    return clumps(n_songs, seed) * np.exp(2 * np.random.default_rng(seed).normal(size=(n_songs, 1))).astype(np.float32)


@pytest.mark.parametrize(("shard", "part"), [(8192, 131_072), (192, 384)])
def test_the_table_is_the_kernels_where_lengths_differ_by_orders_of_magnitude(
    tmp_path, monkeypatch, publish_vectors, shard, part
):
    monkeypatch.setattr(all_pairs, "SONGS_PER_SHARD", shard)
    monkeypatch.setattr(all_pairs, "SONGS_PER_PART", part)
    stored, put = [], levels_on_ray.put
    monkeypatch.setattr(levels_on_ray, "put", lambda levels: stored.append(levels) or put(levels))
    store, settings = publish_vectors(tmp_path, stretched()), SimilarSettings(n=12, metric="euclidean")
    similar(store, settings)
    (levels,) = stored
    assert len(levels.levels) > 3
    assert max(level.n_songs for level in levels.levels) <= part
    assert_same(published(store), top_n(stretched(), 12, "euclidean"))
    vectors = stretched()
    vectors[::90] += 0.1
    publish_vectors(tmp_path, vectors)
    similar(store, settings)
    assert how(store)["changed"] == 8
    assert_same(published(store), top_n(vectors, 12, "euclidean"))


def test_nights_of_refreshing_give_the_table_of_a_full_run(tmp_path, publish_vectors):
    rng = np.random.default_rng(7)
    rows, vectors = np.arange(N_SONGS), clumps()
    settings = SimilarSettings(n=12)
    store = publish_vectors(tmp_path / "out", vectors, names(rows))
    similar(store, settings)
    assert "changed" not in how(store)
    for night in range(3):
        keep = np.sort(rng.choice(len(rows), len(rows) - 5, replace=False))
        rows = np.concatenate([rows[keep], np.arange(1000 + 4 * night, 1004 + 4 * night)])
        vectors = np.concatenate([vectors[keep], clumps(4, seed=night + 1)])
        vectors[rng.choice(len(vectors), 6, replace=False)] += 0.1
        publish_vectors(tmp_path / "out", vectors, names(rows))
        similar(store, settings)
        assert 4 <= how(store)["changed"] <= 10
        assert_same(published(store), top_n(vectors, 12))
    kept = list((tmp_path / "out" / "_versions" / "similar").glob("*/_kept"))
    assert len(kept) == 1  # of the published version only


def test_lists_of_another_model_are_not_refreshed(tmp_path, publish_vectors):
    store = publish_vectors(tmp_path, clumps())
    similar(store, SimilarSettings(n=12))
    similar(store, SimilarSettings(n=13))
    assert "changed" not in how(store)
    assert_same(published(store), top_n(clumps(), 13))


def test_what_was_kept_by_other_means_or_in_another_form_is_passed_over(tmp_path):
    folder = tmp_path / "kept"
    save(full(clumps(), 12).kept, folder, {"metric": "cosine"})
    assert load(folder, {"metric": "cosine"}).n_published == 12
    assert load(folder, {"metric": "euclidean"}) is None
    about = json.loads((folder / "about.json").read_text())
    for other in ({"later": 1}, {"screen": "one that this machine has not"}):
        (folder / "about.json").write_text(json.dumps(about | {"frame": about["frame"] | other}))
        assert load(folder, {"metric": "cosine"}) is None


def test_above_its_size_the_table_is_approximate_and_says_so(tmp_path, publish_vectors):
    store = publish_vectors(tmp_path, clumps())
    line = str(similar(store, SimilarSettings(n=12, approximate_above=100, probes=3)))
    said = how(store)
    assert f"approximate, recall {said['recall']:.3f}" in line
    assert f"approximate (recall {said['recall']:.3f})" in versions_of(store, "similar")[0].made_by
    assert said["exact"] is False
    hits = [len(set(a) & set(b)) for a, b in zip(published(store).ids, top_n(clumps(), 12).ids, strict=True)]
    assert said["recall"] == pytest.approx(np.mean(hits) / 12)
    assert 0.3 < said["recall"] < 1


def test_rules_hold_in_the_published_table(tmp_path, publish_vectors):
    store = publish_vectors(tmp_path, clumps())
    tracks = store.read("tracks")
    artists = [f"artist-{i % 40}" for i in range(N_SONGS)]
    index = tracks.schema.get_field_index("artist_id")
    version = store.new_version("tracks", SimilarSettings(), "other-tracks")
    version.write_part(tracks.set_column(index, "artist_id", pa.array(artists)))
    store.publish(version)
    similar(store, SimilarSettings(n=12, no_same_artist=True, max_per_artist=2))
    ids = published(store).ids
    assert (ids >= 0).all()
    of = np.arange(N_SONGS) % 40
    assert (of[ids] != of[:, None]).all()
    assert max(np.bincount(row).max() for row in of[ids]) <= 2
    assert ids[0, 0] == next(i for i in top_n(clumps(), 699).ids[0] if i % 40 != 0)


@pytest.mark.parametrize("method", ["mutual_proximity", "csls"])
def test_tasks_rank_against_hubs_by_what_is_known_of_all_songs(tmp_path, monkeypatch, publish_vectors, method):
    monkeypatch.setattr(all_pairs, "SONGS_PER_SHARD", 192)
    store, settings = publish_vectors(tmp_path, clumps()), SimilarSettings(n=12, hubness=method)
    similar(store, settings)
    assert_same(published(store), refine(clumps(), songs_of({"genre": [None] * N_SONGS}), settings))


CHAIN = """
import sys
import ray
from musicrec.stages.similar import all_pairs, levels_on_ray
from musicrec.settings import SimilarSettings
from musicrec.stages.similar.stage import similar
from musicrec.store.store import Store
all_pairs.SONGS_PER_SHARD = 256
cpus, gpus = map(int, sys.argv[2:])
ray.init("local", num_cpus=cpus, num_gpus=gpus, include_dashboard=False, log_to_driver=False)
similar(Store(sys.argv[1]), SimilarSettings(n=12), gpu=gpus > 0)
"""


def test_tasks_that_have_a_gpu_make_the_same_table_and_nights_after_need_none(tmp_path, publish_vectors):
    vectors = clumps()
    store = publish_vectors(tmp_path, vectors, names(range(N_SONGS)))
    # The GPU is one by Ray's books alone: TensorFlow finds none here, and takes the processor.
    subprocess.run([sys.executable, "-c", CHAIN, str(tmp_path), "1", "1"], check=True, timeout=240)
    assert how(store) == {"exact": True, "screen": "tensorflow"}
    assert_same(published(store), top_n(vectors, 12))
    vectors[5] += 0.1
    publish_vectors(tmp_path, vectors, names(range(N_SONGS)))
    similar(store, SimilarSettings(n=12))
    assert how(store) == {"exact": True, "screen": "product", "changed": 1, "made_anew": how(store)["made_anew"]}
    assert_same(published(store), top_n(vectors, 12))


def test_a_gpu_for_tasks_that_is_not_there_is_said_at_once(tmp_path, publish_vectors):
    with pytest.raises(ConfigError, match="--gpu: no node of the Ray cluster has a GPU"):
        similar(publish_vectors(tmp_path, clumps()), SimilarSettings(n=12), gpu=True)


@pytest.mark.slow
def test_the_table_and_its_footer_are_the_same_with_one_and_two_workers_one_of_them_killed(tmp_path, publish_vectors):
    tables = []
    for name, workers, kills in (("one", 1, False), ("two", 2, False), ("killed", 2, True)):
        store = publish_vectors(tmp_path / name, clumps(6000, seed=3))
        run = subprocess.Popen([sys.executable, "-c", CHAIN, str(tmp_path / name), str(workers), "0"])
        killed = []
        if kills:
            watcher = threading.Thread(target=_kill_a_worker_once_shards_appear, args=(store, run, killed))
            watcher.start()
        assert run.wait(timeout=240) == 0
        if kills:
            watcher.join()
            assert killed
        version = version_of((tmp_path / name / "similar").resolve())
        files = [path for path in version.rglob("*") if path.is_file()]
        assert {path.suffix for path in files} >= {".parquet", ".arrow", ".npy"}
        tables.append({path.relative_to(version).as_posix(): content(path) for path in files})
        assert len(SimilarTable(tmp_path / name)) == 6000
    assert [name for table in tables[1:] for name in table | tables[0] if table.get(name) != tables[0].get(name)] == []


def content(file):
    """The values and the footer of a table, without the time it was made at; the bytes of any other file."""
    if file.suffix not in (".parquet", ".arrow"):
        return file.read_bytes()
    table = pa.parquet.read_table(file) if file.suffix == ".parquet" else pa.ipc.open_file(file).read_all()
    footer = read_footer(table.schema)
    assert footer.pop("created_at")
    return footer, table.replace_schema_metadata()


def _kill_a_worker_once_shards_appear(store, run, killed):
    while run.poll() is None and not killed:
        if store.work.staged("similar"):
            for pid in named(run.pid, "ray::_stage_lists")[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
        time.sleep(0.01)
