"""The table ``map``: one layout, and nights on which no old song moves."""

import statistics
import sys
from importlib.util import find_spec

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from musicrec.errors import ConfigError, PublishError
from musicrec.schemas import MAP, TRACKS
from musicrec.serve.sidecar import SIDECAR_COLUMNS
from musicrec.serve.status import status
from musicrec.serve.table_writer import write_table
from musicrec.settings import CatalogSettings, MapSettings, SimilarSettings
from musicrec.similarity import top_n
from musicrec.stages.chain import chain_settings, stages
from musicrec.stages.map import stage
from musicrec.stages.map.stage import draw_map, refresh_map
from musicrec.store.lineage import digest
from musicrec.store.versions import Version

HOW = MapSettings()
N = 60


def vector(song):
    """A synthetic song: the same vector whichever songs are beside it."""
    return np.random.default_rng(song).normal(size=6).astype(np.float32)


def name(song):
    return f"song-{song:03d}"


def publish(store, songs, model="one", n=10):
    """Publish the lists of some songs, as the stage similar would."""
    songs = sorted(songs)
    names = pa.Table.from_pylist(
        [{"track_id": name(song), "title": None, "artist": None, "genre": None} for song in songs],
        pa.schema([TRACKS.field(column) for column in SIDECAR_COLUMNS]),
    )
    ids, scores = top_n(np.stack([vector(song) for song in songs]), n)
    made_of = digest([*map(name, songs), model, str(n)])
    with store.new_version("similar", SimilarSettings(), made_of, model="mlp", model_id=model) as version:
        write_table(version, names, ids, scores)
        store.publish(version, keep=3)
    return {name(song): [name(songs[i]) for i in near] for song, near in zip(songs, ids.tolist(), strict=True)}


@pytest.fixture
def lay_out(monkeypatch):
    """Scatter songs by seed and number instead of by UMAP, and count how often all are laid out."""
    drawn = []

    def scatter(ids, scores, track_ids, *, neighbours, min_dist, seed):
        drawn.append(len(track_ids))
        return np.random.default_rng([seed, len(drawn)]).normal(size=(len(ids), 2)).astype(np.float32)

    monkeypatch.setattr(stage, "lay_out", scatter)
    return drawn


@pytest.fixture
def out(store, lay_out):
    """An OUT with a map."""
    store.settings.record(CatalogSettings(source="/music"))
    publish(store, range(N))
    draw_map(store, HOW)
    return store


def rows(store):
    table = store.read("map")
    assert table.schema.remove_metadata().equals(MAP)
    assert table["track_id"].to_pylist() == sorted(table["track_id"].to_pylist())
    return {row["track_id"]: row for row in table.to_pylist()}


def places(store):
    """Places as bytes, so that equal means equal to the last bit."""
    return {track_id: np.array([row["x"], row["y"]], np.float32).tobytes() for track_id, row in rows(store).items()}


def published(store):
    return store.versions("map").published


def test_each_song_of_the_lists_has_a_place_and_a_second_run_does_nothing(out, lay_out):
    assert rows(out).keys() == set(map(name, range(N)))
    assert not any(row["is_added"] for row in rows(out).values())
    version = published(out)
    counts = draw_map(out, HOW)
    assert (published(out), lay_out, counts.fresh, counts.ok) == (version, [N], 0, N)
    footer = out.footer("map")
    assert footer["settings"] == {"neighbours": 15, "min_dist": 0.1, "seed": 0}
    assert footer["lineage"]["made_of"] == {"similar": out.footer("similar")["fingerprint"]}
    (found,) = [table for table in status(out).tables if table.version.name == "map"]
    assert found.is_up_to_date
    publish(out, range(N + 1))
    (found,) = [table for table in status(out).tables if table.version.name == "map"]
    assert found.why_not == "not made of the published similar"


@pytest.mark.parametrize("seed", range(4))
def test_at_night_new_songs_stand_at_the_median_of_their_neighbours_and_no_old_song_moves(out, lay_out, seed):
    rng = np.random.default_rng(seed)
    songs, added = set(range(N)), set()
    for night in range(3):
        before = places(out)
        gone = set(rng.choice(sorted(songs), rng.integers(0, 8), replace=False).tolist())
        new = set(range(100 * night + 100, 100 * night + 100 + rng.integers(0, 6)))
        songs, added = songs - gone | new, (added | new) - gone
        lists = publish(out, songs)
        counts = refresh_map(out)
        after = places(out)
        assert after.keys() == set(map(name, songs))
        assert {t: place for t, place in after.items() if t in before} == {
            t: place for t, place in before.items() if t in after
        }
        for song in map(name, new):
            near = [np.frombuffer(after[t], np.float32) for t in lists[song] if t in before]
            if near:
                wanted = [np.float32(statistics.median(map(float, axis))) for axis in zip(*near, strict=True)]
                assert after[song] == np.array(wanted, np.float32).tobytes()
        assert {t for t, row in rows(out).items() if row["is_added"]} == set(map(name, added))
        assert (counts.ok, counts.added, counts.fresh) == (len(songs), len(added), len(new))
    assert lay_out == [N]


def test_new_songs_that_no_list_joins_with_old_ones_stand_around_the_map(out):
    songs = [*range(N), 200, 201]
    names = pa.Table.from_pylist(
        [{"track_id": name(song), "title": None, "artist": None, "genre": None} for song in songs],
        pa.schema([TRACKS.field(column) for column in SIDECAR_COLUMNS]),
    )
    ids = np.full((N + 2, 2), -1, np.int32)
    ids[-2, 0], ids[-1, 0] = N + 1, N  # the two new ones, each other's only neighbour
    with out.new_version("similar", SimilarSettings(), "2" * 16, model="mlp", model_id="one") as version:
        write_table(version, names, ids, np.where(ids >= 0, 0.5, -np.inf).astype(np.float32))
        out.publish(version)
    refresh_map(out)
    old, new = (np.array([[row["x"], row["y"]] for t, row in rows(out).items() if (t > name(N)) == is_new])
                for is_new in (False, True))  # fmt: skip
    centre = (old.min(axis=0) + old.max(axis=0)) / 2
    assert np.linalg.norm(new - centre, axis=1).min() > np.linalg.norm(old - centre, axis=1).max()
    assert (new[0] != new[1]).any()


def test_all_songs_are_laid_out_anew_for_another_model_for_other_settings_and_by_force(out, lay_out):
    publish(out, range(N + 2))
    refresh_map(out)
    assert (len(lay_out), draw_map(out, HOW).added) == (1, 2)
    publish(out, range(N + 2), model="another")
    assert (refresh_map(out).added, len(lay_out)) == (0, 2)
    publish(out, range(N + 2), model="another", n=8)  # other lists, from the same space
    assert (refresh_map(out).fresh, len(lay_out)) == (0, 2)
    draw_map(out, MapSettings(seed=5))
    assert len(lay_out) == 3
    refresh_map(out)  # by the settings of the map
    assert (len(lay_out), out.footer("map")["settings"]["seed"]) == (3, 5)
    draw_map(out, MapSettings(seed=5), force=True)
    assert len(lay_out) == 4


def test_what_a_rollback_withdrew_is_not_published_again_unless_asked_for(out, lay_out):
    first, before = published(out), places(out)
    publish(out, range(N + 1))
    refresh_map(out)
    second = published(out)
    out.rollback("map")
    assert (published(out), places(out)) == (first, before)
    again = f"musicrec rollback {out.out} --table map --to {second}"
    assert f"{second} was withdrawn by a rollback; to publish it again: {again}" in str(refresh_map(out))
    assert published(out) == first
    publish(out, range(N + 2))  # other songs: a new version as usual
    refresh_map(out)
    assert places(out).keys() == set(map(name, range(N + 2)))
    assert before.items() <= places(out).items()


def test_a_night_needs_no_umap_learn_and_a_layout_without_it_leaves_the_map(out, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "umap", None)
    monkeypatch.delitem(sys.modules, "umap.umap_", raising=False)
    publish(out, range(N + 3))
    assert refresh_map(out).fresh == 3
    version = published(out)
    with pytest.raises(ConfigError, match=r'pip install "musicrec\[map\]"'):
        draw_map(out, HOW, force=True)
    assert published(out) == version


def test_a_full_disk_leaves_the_published_map(out, monkeypatch):
    version, folders = published(out), sorted(path.name for path in out.versions("map").root.iterdir())
    publish(out, range(N + 1))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Version, "write_part", full)
    with pytest.raises(PublishError, match="the published table is unchanged; free space there and run it again"):
        refresh_map(out)
    assert published(out) == version
    assert sorted(path.name for path in out.versions("map").root.iterdir()) == folders


def test_the_command_draws_a_map_and_says_what_is_missing(store, lay_out, command):
    store.settings.record(CatalogSettings(source="/music"))
    code, _, complaint = command("map", store.out)
    assert (code, complaint.strip()) == (2, f"musicrec: {store.out} has no lists to make a map of; run: musicrec "
                                            f"similar {store.out}")  # fmt: skip
    publish(store, range(N))
    code, text, _ = command("map", store.out, "--seed", 3)
    assert (code, store.footer("map")["settings"]["seed"]) == (0, 3)
    counts = f"map: {N} ok + 0 skipped + 0 failed = {N} ({N} added now)"
    assert text == f"{counts}; added since all were laid out: 0; {published(store)} is published\n"
    publish(store, range(N + 1))
    command("map", store.out)  # goes on with the settings of the map
    assert (lay_out, len(rows(store))) == ([N], N + 1)


def test_a_refresh_draws_a_map_only_where_there_is_one(store, lay_out):
    store.settings.record(CatalogSettings(source="/music"))
    settings = chain_settings(store)
    assert "map" not in stages(store, settings)
    publish(store, range(N))
    draw_map(store, HOW)
    assert list(stages(store, settings))[-1] == "map"


@pytest.mark.thorough
@pytest.mark.skipif(not find_spec("umap"), reason="umap-learn is not installed: pip install musicrec[map]")
def test_the_same_lists_and_seed_give_the_same_bytes(store, tmp_path):
    publish(store, range(N))
    draw_map(store, HOW)
    first = store.read("map")
    draw_map(store, HOW, force=True)
    assert store.read("map").equals(first)
    assert pc.all(pc.is_finite(first["x"])).as_py()
