"""What the tests of recommendations share: songs, simulated listeners, and a plain ranking of the whole catalog."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from listening_files import START
from musicrec.schemas import RECOMMENDATIONS, TRACKS
from musicrec.settings import CatalogSettings, HistoriesSettings, RecommendSettings
from musicrec.stages.histories.stage import histories
from musicrec.stages.recommendations.stage import recommend_to_all

N_SONGS, N_USERS, N = 120, 60, 6


def why_no_implicit():
    """Why implicit cannot be used here; nothing if it can."""
    try:
        import implicit.als  # noqa: F401
    except ImportError as e:
        return str(e)
    return ""


needs_implicit = pytest.mark.skipif(bool(why_no_implicit()), reason=f"implicit: {why_no_implicit()}")


def song(i):
    return f"song-{i:03d}"


def vectors(seed=0, n=N_SONGS):
    return np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)


def publish(store, name, table, settings, fingerprint):
    version = store.new_version(name, settings, fingerprint)
    version.write_part(table)
    store.publish(version)


def publish_tracks(store, n=N_SONGS, songs=None, **columns):
    rows = [
        {"track_id": song(i), "uri": f"/{i}", "title": f"t{i}"} | {name: of[i] for name, of in columns.items()}
        for i in (range(n) if songs is None else songs)
    ]
    publish(
        store, "tracks", pa.Table.from_pylist(rows, TRACKS), CatalogSettings(source="/music"), f"{len(columns):016d}"
    )


def likes_and_heard(seed=1):
    rng = np.random.default_rng(seed)
    return {
        f"user-{user:02d}": (rng.permutation(N_SONGS)[: rng.integers(1, 8)].tolist(),
                             rng.permutation(N_SONGS)[: rng.integers(0, 30)].tolist())
        for user in range(N_USERS)
    }  # fmt: skip


def publish_histories(store, folder, listeners):
    """Listens of a minute for likes, and of a second for songs that were only heard."""
    rows = [
        {"user_id": user, "track_id": song(i), "timestamp": START, "seconds": seconds}
        for user, both in listeners.items()
        for songs, seconds in zip(both, (60.0, 1.0), strict=True)
        for i in songs
        if seconds > 1 or i not in both[0]
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "listens.parquet")
    histories(store, HistoriesSettings(files=(str(folder / "listens.parquet"),)), now_s=START + 1)


def run(store, **settings):
    counts = recommend_to_all(store, RecommendSettings(**{"n": N} | settings))
    rows = store.read("recommendations")
    assert rows.schema.equals(RECOMMENDATIONS)
    assert counts.rows == len(rows)
    return counts


def table(store):
    found = {}
    for row in store.read("recommendations").to_pylist():
        mine = found.setdefault(row["user_id"], [])
        assert row["rank"] == len(mine) + 1
        mine.append((row["track_id"], row["score"], row["because"]))
    return found


def version(store):
    return store.versions("recommendations").published


def expected(matrix, listeners, n=N, recording=None, artists=None, max_per_artist=0):
    """The same by a float64 ranking of the whole catalog."""
    unit = matrix.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    recording = list(range(len(unit))) if recording is None else recording
    found = {}
    for user, (liked, heard) in listeners.items():
        scores = unit @ unit[sorted(liked)].T
        left_out, given, mine = {recording[i] for i in {*liked, *heard}}, {}, []
        for i in np.lexsort((np.arange(len(unit)), -scores.max(axis=1))):
            names = artists[i] if artists else []
            if recording[i] not in left_out and all(given.get(a, 0) < (max_per_artist or n) for a in names):
                left_out.add(recording[i])
                given |= {a: given.get(a, 0) + 1 for a in names}
                mine.append((song(i), scores[i].max(), song(sorted(liked)[scores[i].argmax()])))
        found[user] = mine[:n]
    return found


def assert_same(found, wanted):
    assert found.keys() == {user for user, mine in wanted.items() if mine}
    for user, mine in found.items():
        assert [(track, because) for track, _, because in mine] == [(t, b) for t, _, b in wanted[user]], user
        np.testing.assert_allclose([s for _, s, _ in mine], [s for _, s, _ in wanted[user]], rtol=0, atol=1e-6)


def parts_of_a_run(store, monkeypatch, **settings):
    """What the tasks of a run get."""
    from musicrec.stages.recommendations import stage as stage_module

    given = []
    with monkeypatch.context() as patch:
        patch.setattr(stage_module, "recommend_on_ray", lambda *arguments: given.extend(arguments) or [])
        patch.setattr(stage_module, "_publish", lambda *arguments: 0)
        recommend_to_all(store, RecommendSettings(n=N, max_per_artist=100, **settings))
    _, plan, of_songs, tonight, _ = given
    plan = plan._replace(settings=RecommendSettings(n=N, **settings))
    return plan.given(plan.lists, of_songs), plan.songs, tonight
