"""What changed between two versions of the table is what a plain comparison of their lists finds."""

import json

import numpy as np
import pyarrow as pa
import pytest

from musicrec.errors import ConfigError, UnknownTrack
from musicrec.schemas import TRACKS
from musicrec.serve.sidecar import SIDECAR_COLUMNS
from musicrec.serve.table_writer import write_table
from musicrec.serve.version_changes import TwoVersions
from musicrec.settings import CatalogSettings, SimilarSettings
from musicrec.similarity import top_n

NAMES = pa.schema([TRACKS.field(name) for name in SIDECAR_COLUMNS])


def publish(store, vectors, n):
    """Publish the lists of some songs with vectors, by song number; return them by id."""
    numbers = sorted(vectors)
    ids = [f"song-{number:03d}" for number in numbers]
    rows = [{"track_id": t, "title": f"Title {t}", "artist": None, "genre": None} for t in ids]
    lists, scores = top_n(np.array([vectors[number] for number in numbers]), n)
    with store.new_version(
        "similar", SimilarSettings(n=n), f"{len(store.versions('similar').on_disk()):08d}"
    ) as version:
        write_table(version, pa.Table.from_pylist(rows, NAMES), lists, scores)
        store.publish(version, keep=3)
    return {t: [ids[row] for row in own if row >= 0] for t, own in zip(ids, lists, strict=True)}


@pytest.fixture
def out(store):
    store.settings.record(CatalogSettings(source="/music"))
    return store


def songs(seed, numbers):
    return dict(zip(numbers, np.random.default_rng(seed).normal(size=(len(numbers), 4)), strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_changes_are_those_of_a_plain_comparison(out, monkeypatch, seed):
    monkeypatch.setattr("musicrec.serve.version_changes.BLOCK", 7)
    rng = np.random.default_rng(seed)
    first = songs(seed, range(30))
    second = {n: v for n, v in first.items() if rng.random() > 0.1} | songs(seed + 99, range(30, 33))
    for number in rng.choice(list(second), 2):
        second[number] = rng.normal(size=4)
    old, new = publish(out, first, 40 if seed > 3 else 5), publish(out, second, [5, 4, 9, 40][seed % 4])
    found = TwoVersions(out).changes(most=100)
    assert [song.track_id for song in found.added] == sorted(new.keys() - old.keys())
    assert [song.track_id for song in found.gone] == sorted(old.keys() - new.keys())
    both = sorted(old.keys() & new.keys())
    same = [t for t in both if old[t] == new[t]]
    reordered = [t for t in both if old[t] != new[t] and set(old[t]) == set(new[t])]
    assert (found.same, found.reordered) == (len(same), len(reordered))
    assert found.changed == len(both) - len(same) - len(reordered)
    share = {t: len(set(old[t]) & set(new[t])) / max(len(old[t]), len(new[t])) for t in both}
    assert found.kept == pytest.approx(np.mean(list(share.values())))
    changed = [t for t in sorted(both, key=lambda t: share[t]) if t not in same]
    assert [change.song.track_id for change in found.most] == changed
    for change in found.most:
        t = change.song.track_id
        assert [song.track_id for song in change.came] == [other for other in new[t] if other not in old[t]]
        assert [song.track_id for song in change.left] == [other for other in old[t] if other not in new[t]]
        assert change.kept == round(share[t] * change.length)


def test_both_lists_of_a_song_stand_side_by_side(out):
    first = songs(1, range(12))
    old = publish(out, first, 4)["song-003"]
    new = publish(out, {n: v for n, v in first.items() if n != int(old[1][-3:])}, 4)["song-003"]
    places = TwoVersions(out).places("Title song-003")
    assert [place.song.track_id for place in places] == [*new, old[1]]
    for place in places:
        t = place.song.track_id
        assert place.rank_before == (old.index(t) + 1 if t in old else None)
        assert place.rank_after == (new.index(t) + 1 if t in new else None)
        assert (place.score_before is None) == (t not in old)
        assert place.song.title == f"Title {t}"


def test_versions_can_be_named_and_what_there_is_not_is_said(out):
    publish(out, songs(1, range(5)), 2)
    with pytest.raises(ConfigError, match=r"has no version of similar before 00001-\d+; there is nothing to compare"):
        TwoVersions(out)
    for seed in (2, 3):
        publish(out, songs(seed, range(5)), 2)
    assert [TwoVersions(out).before[:5], TwoVersions(out).after[:5]] == ["00002", "00003"]
    one = TwoVersions(out, "1", "2")
    assert (one.before[:5], one.after[:5]) == ("00001", "00002")
    with pytest.raises(ConfigError, match="has no version 9 on disk; it has 00001"):
        TwoVersions(out, "9")
    with pytest.raises(UnknownTrack, match="nobody"):
        one.places("nobody")


def test_versions_without_a_song_in_common_have_no_lists_to_compare(out):
    publish(out, songs(1, range(5)), 2)
    publish(out, songs(1, range(5, 9)), 2)
    found = TwoVersions(out).changes()
    assert (len(found.added), len(found.gone), found.same, found.changed, found.kept, found.most) == (
        4,
        5,
        0,
        0,
        None,
        [],
    )


def test_the_command_shows_changes_and_both_lists(out, command):
    first = songs(1, range(12))
    publish(out, first, 4)
    publish(out, {n: v for n, v in first.items() if n != 5}, 4)
    found = TwoVersions(out).changes()
    code, said, _ = command("diff", out.out)
    assert code == 0
    assert f"{found.before} → {found.after}: 0 songs added, 1 gone" in said
    assert (
        f"lists of the 11 songs of both: {found.same} equal, 0 in another order, {found.changed} with other songs"
        in said
    )
    assert said.count("Title song-005") == found.changed  # it left all lists that changed
    code, said, _ = command("diff", out.out, "--song", found.most[0].song.track_id, "--paths")
    assert [line.split()[-1] for line in said.splitlines() if "song-005" in line] == ["left"]
    code, said, _ = command("diff", out.out, "--json", "-n", 1)
    assert json.loads(said)["most"][0]["left"][0]["track_id"] == "song-005"
    code, said, _ = command("diff", out.out, "--json", "--song", found.most[0].song.track_id)
    assert {place["song"]["track_id"] for place in json.loads(said)} >= {"song-005"}
