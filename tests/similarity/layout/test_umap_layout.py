"""The layout of all songs: every song has a finite place, near the songs of its list, and the same one each time."""

import subprocess
import sys
from importlib.util import find_spec

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.spatial import cKDTree
from sklearn.decomposition import PCA

from musicrec.errors import ConfigError
from musicrec.similarity import top_n
from musicrec.similarity.layout import umap_layout
from musicrec.similarity.layout.start_places import start_places
from musicrec.similarity.layout.umap_layout import lay_out

needs_umap = pytest.mark.skipif(not find_spec("umap"), reason="umap-learn is not installed: pip install musicrec[map]")
HOW = {"neighbours": 15, "min_dist": 0.1, "seed": 0}


def vectors(n, *, groups=12, d=24, seed=0):
    """Synthetic songs in groups that differ in more than two directions."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(groups, d)) * 2
    return (centres[rng.integers(groups, size=n)] + rng.normal(size=(n, d))).astype(np.float32)


def names(n):
    return [f"song-{i:04d}" for i in range(n)]


def share_kept(places, ids, k):
    """Share of the ten most similar songs that are among the k nearest on the map."""
    _, nearest = cKDTree(places).query(places, k + 1)
    return np.mean([len(set(on_map) & set(listed[:10])) / 10 for on_map, listed in zip(nearest, ids, strict=True)])


@needs_umap
@pytest.mark.thorough
def test_neighbours_stay_nearer_than_on_a_map_by_principal_components():
    matrix = vectors(600)
    ids, scores = top_n(matrix, 50)
    places = lay_out(ids, scores, names(600), **HOW)
    assert places.dtype == np.float32
    by_pca = PCA(2, random_state=0).fit_transform(matrix)
    by_chance = np.random.default_rng(9).normal(size=(600, 2))
    of_map, of_pca, of_chance = ([share_kept(m, ids, k) for k in (10, 50)] for m in (places, by_pca, by_chance))
    assert of_map[0] > 1.5 * of_pca[0]
    assert of_map[1] > of_pca[1] > of_chance[1]


@needs_umap
@pytest.mark.thorough
def test_the_same_places_come_from_the_same_seed_on_any_number_of_threads():
    ids, scores = top_n(vectors(200), 20)
    found = []
    for seed, threads in ((0, 1), (0, numba.config.NUMBA_NUM_THREADS), (1, 1)):
        numba.set_num_threads(threads)
        found.append(lay_out(ids, scores, names(200), **HOW | {"seed": seed}).tobytes())
        assert numba.get_num_threads() == threads
    assert found[0] == found[1] != found[2]


DRAW = """
import hashlib, numpy as np
from musicrec.similarity.layout.umap_layout import lay_out
rng = np.random.default_rng(0)
ids = np.array([rng.permutation(90)[:20] for _ in range(90)], np.int32)
scores = -np.sort(-rng.random((90, 20)).astype(np.float32), axis=1)
places = lay_out(ids, scores, list(map(str, range(90))), neighbours=15, min_dist=0.1, seed=0)
print(hashlib.sha256(places.tobytes()).hexdigest())
"""


@needs_umap
@pytest.mark.slow
def test_the_same_places_come_from_every_process(monkeypatch):
    found = set()
    for threads in "12":
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "PYTHONHASHSEED"):
            monkeypatch.setenv(name, threads)
        found.add(subprocess.run([sys.executable, "-c", DRAW], capture_output=True, text=True, check=True).stdout)
    assert len(found) == 1


@st.composite
def any_lists(draw):
    n = draw(st.integers(1, 40))
    length = draw(st.integers(1, 6))
    lists = [draw(st.lists(st.integers(0, n - 1).filter(lambda j, i=i: i != j), max_size=length, unique=True))
             if n > 1 else [] for i in range(n)]  # fmt: skip
    scores = [sorted(draw(st.lists(st.floats(-1, 1, width=32), min_size=len(m), max_size=len(m))))[::-1] for m in lists]
    ids = np.full((n, length), -1, np.int32)
    padded = np.full((n, length), -np.inf, np.float32)
    for i, (near, mine) in enumerate(zip(lists, scores, strict=True)):
        ids[i, : len(near)], padded[i, : len(near)] = near, mine
    return ids, padded


@needs_umap
@pytest.mark.thorough
@settings(max_examples=40)
@given(any_lists())
def test_every_song_has_a_finite_place_whatever_the_lists(drawn):
    ids, scores = drawn
    places = lay_out(ids, scores, names(len(ids)), **HOW)
    assert places.shape == (len(ids), 2)
    assert np.isfinite(places).all()


@needs_umap
@pytest.mark.thorough
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_few_songs(n):
    ids, scores = top_n(vectors(n), 50)
    places = lay_out(ids, scores, names(n), **HOW)
    assert np.isfinite(places).all()
    assert len(np.unique(places, axis=0)) == n


@needs_umap
@pytest.mark.thorough
def test_songs_without_neighbours_stand_around_the_others():
    ids, scores = top_n(vectors(80), 10)
    ids = np.vstack([ids, np.full((3, 10), -1, np.int32)])
    scores = np.vstack([scores, np.full((3, 10), -np.inf, np.float32)])
    places = lay_out(ids, scores, names(83), **HOW)
    centre = (places[:80].min(axis=0) + places[:80].max(axis=0)) / 2
    assert np.linalg.norm(places[80:] - centre, axis=1).min() > np.linalg.norm(places[:80] - centre, axis=1).max()


def test_a_line_begins_as_a_line_and_parts_begin_apart():
    n = 60
    ends = np.array([(i, i + 1) for i in range(n - 1)] + [(n + i, n + i + 1) for i in range(n // 2)])
    graph = coo_matrix((np.ones(len(ends)), ends.T), (n + n // 2 + 1,) * 2)
    places = start_places((graph + graph.T).tocsr(), 0)
    long, short = places[:n], places[n:]
    steps = np.diff(long[:, 0])
    assert (np.sign(steps) == np.sign(steps.sum())).mean() > 0.9
    assert np.linalg.norm(long - long.mean(axis=0), axis=1).max() < np.linalg.norm(short.mean(0) - long.mean(0))


def test_without_umap_learn_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    monkeypatch.delitem(sys.modules, "umap.umap_", raising=False)
    with pytest.raises(ConfigError, match=r'^[^\n]+ pip install "musicrec\[map\]"$'):
        umap_layout.lay_out(np.zeros((1, 1), np.int32), np.zeros((1, 1), np.float32), ["a"], **HOW)


def test_umap_learn_is_loaded_without_tensorflow(tmp_path, monkeypatch):
    """It loads TensorFlow where it finds it, which takes seconds and a gigabyte, for a class that is not used here."""
    for module, code in {
        "tensorflow": "",
        "umap/__init__": "try:\n    import tensorflow\n    found = True\nexcept ImportError:\n    found = False",
        "umap/umap_": "from umap import found",
    }.items():
        (tmp_path / f"{module}.py").parent.mkdir(exist_ok=True)
        (tmp_path / f"{module}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("tensorflow", "umap", "umap.umap_"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    assert umap_layout._umap().found is False
    assert "tensorflow" not in sys.modules
    for module in ("umap", "umap.umap_"):
        monkeypatch.delitem(sys.modules, module)
