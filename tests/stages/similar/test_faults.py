"""Bad vectors, full disks, killed runs, rollbacks: each costs its own song or run, and never the published table."""

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest

from musicrec.cli import main
from musicrec.errors import MusicrecError, PublishError, SchemaError
from musicrec.serve.lookup import SimilarTable
from musicrec.settings import SimilarSettings
from musicrec.stages.similar.stage import similar

pytestmark = pytest.mark.usefixtures("ray_session")
N, D = 40, 6
SETTINGS = SimilarSettings(n=5)


def vectors(seed=0, n=N):
    return np.random.default_rng(seed).normal(size=(n, D)).astype(np.float32)


def names(n=N):
    return [f"song-{i:03d}" for i in range(n)]


def brute_force(ids, x, n):
    """Rows of the table by cosine, in float64; ties go to the smaller id."""
    x = np.asarray(x, np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    unit = x / np.where(length > 0, length, 1)
    score = (unit @ unit.T).round(12)
    np.fill_diagonal(score, -np.inf)
    order = np.argsort(-score, axis=1, kind="stable")[:, : min(n, len(x) - 1)]
    return [(ids[i], rank, ids[j]) for i, row in enumerate(order) for rank, j in enumerate(row, start=1)]


def rows(store):
    """Rows of the published table, which must say the same as the form for lookups."""
    table = store.read("similar").to_pydict()
    found = list(zip(table["track_id"], table["rank"], table["similar_track_id"], strict=True))
    lookup = SimilarTable(store.out)
    songs = [song.track_id for song in lookup.songs()]
    assert found == [(t, s.rank, s.song.track_id) for t in songs for s in lookup.similar(t, 10_000)]
    return found


def reasons(store):
    outcomes = store.read("outcomes").to_pylist()
    return {row["track_id"]: row["reason"] for row in outcomes if row["stage"] == "similar"}


def published(store):
    return int(store.versions("similar").published.split("-")[0])


@pytest.fixture
def store(tmp_path, publish_vectors):
    """An OUT with a table of version 1, made of ``vectors(0)``."""
    store = publish_vectors(tmp_path / "out", vectors())
    similar(store, SETTINGS)
    return store


@contextmanager
def stays_published(store):
    """What is published stays the same, byte for byte."""
    folder = store.path("similar").resolve()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert len(before) >= 4
    yield
    assert store.path("similar").resolve() == folder
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    rows(store)


# --- bad vectors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, None], ids=str)
def test_a_vector_that_is_no_vector_costs_its_own_song_only(store, publish_vectors, bad):
    x = vectors(1)
    given = list(x)
    for i in (0, 17, N - 1):
        given[i] = None if bad is None else np.r_[x[i, :-1], bad]
    publish_vectors(store.out, given)
    counts = similar(store, SETTINGS)
    assert (counts.ok, counts.skipped, counts.failed, counts.total) == (N - 3, 3, 0, N)
    left = [i for i in range(N) if i not in (0, 17, N - 1)]
    assert rows(store) == brute_force([names()[i] for i in left], x[left], 5)
    assert {t for t, reason in reasons(store).items() if reason == "not_finite"} == {"song-000", "song-017", "song-039"}


def test_vectors_none_of_which_is_finite_leave_the_old_table(store, publish_vectors):
    publish_vectors(store.out, np.full((N, D), np.nan))
    with stays_published(store), pytest.raises(MusicrecError, match=r"0 songs have an embedding; .* at least two"):
        similar(store, SETTINGS)


def test_one_song_is_too_few_and_leaves_the_old_table(store, publish_vectors):
    publish_vectors(store.out, vectors(1, n=1))
    with stays_published(store), pytest.raises(MusicrecError, match=r"1 songs have an embedding; .* at least two"):
        similar(store, SETTINGS)


@pytest.mark.parametrize("n_songs", [2, 5, 6])
def test_fewer_songs_than_asked_for_give_lists_of_all_the_others(store, publish_vectors, n_songs):
    x = vectors(1, n=n_songs)
    publish_vectors(store.out, x)
    similar(store, SimilarSettings(n=50))
    assert rows(store) == brute_force(names(n_songs), x, 50)
    assert len(rows(store)) == n_songs * (n_songs - 1)


def test_zero_vectors_and_duplicates_have_their_lists(store, publish_vectors):
    x = vectors(1)
    x[[3, 4, 30]] = 0
    x[[7, 20, 21]] = x[8]
    publish_vectors(store.out, x)
    assert similar(store, SETTINGS).ok == N
    assert rows(store) == brute_force(names(), x, 5)
    of_zero = SimilarTable(store.out).similar("song-003", 5)
    assert [(s.song.track_id, s.score) for s in of_zero] == [(f"song-{i:03d}", 0.0) for i in (0, 1, 2, 4, 5)]


@pytest.mark.parametrize(
    ("x", "how", "told"),
    [
        (vectors(1), {"models": ["a"] * 30 + ["b"] * 10}, r"holds vectors of 2 models \(a, b\)"),
        ([*vectors(1, n=39), [1.0, 2.0]], {}, "holds vectors of 2 and of 6 numbers"),
        (vectors(1), {"ids": [*names(39), "song-011"]}, "holds 'song-011' more than once"),
    ],
    ids=["two models", "two lengths", "a song twice"],
)
def test_vectors_that_cannot_be_compared_are_refused_in_one_line(store, publish_vectors, x, how, told):
    publish_vectors(store.out, x, **how)
    with stays_published(store), pytest.raises(SchemaError, match=told) as e:
        similar(store, SETTINGS)
    assert re.search(r"delete \S+/embeddings and run: musicrec embed \S+$", str(e.value))
    assert "\n" not in str(e.value)


def test_a_table_below_its_gate_leaves_the_old_one_and_no_file(store, publish_vectors):
    publish_vectors(store.out, vectors(1))
    with stays_published(store), pytest.raises(PublishError, match=r"churn is 0\.\d+, its limit 0.1"):
        similar(store, SimilarSettings(n=5, max_churn=0.1))
    assert len(list((store.out / "_versions" / "similar").iterdir())) == 1


DAMAGES = {"cut": b"\x93NUMPY damaged", "empty": b"", "gone": None}


@pytest.mark.parametrize("file", ["neighbours.npy", "songs.arrow"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_table_is_made_again_and_in_no_new_ones_way(store, publish_vectors, file, damage):
    for seed in (0, 1):  # of the same vectors, and of others
        path = store.path("similar").resolve() / "_sidecar" / file
        path.unlink() if DAMAGES[damage] is None else path.write_bytes(DAMAGES[damage])
        publish_vectors(store.out, vectors(seed))
        assert similar(store, SETTINGS).fresh == N
        assert rows(store) == brute_force(names(), vectors(seed), 5)


# --- rolling back -------------------------------------------------------------------------------------------------


def command(capsys, *arguments):
    with pytest.raises(SystemExit) as e:
        main([str(a) for a in arguments])
    return (e.value.code, *capsys.readouterr())


@pytest.fixture
def rolled_back(store, publish_vectors, capsys):
    """A table of version 2 was made of ``vectors(1)`` and one more song, and rolled back."""
    publish_vectors(store.out, vectors(1, n=N + 1))
    similar(store, SETTINGS)
    code, said, _ = command(capsys, "rollback", store.out)
    assert code == 0
    assert re.match(r"similar: 00001-\w+ is published instead of 00002-\w+\nwithdrawn: 00002-", said)
    return store


def test_a_rollback_is_not_undone_by_the_next_run_which_says_so(rolled_back):
    for _ in range(2):
        with stays_published(rolled_back):
            counts = similar(rolled_back, SETTINGS)
        assert re.search(r"; 00002-\w+ was withdrawn by a rollback on \d{4}-\d\d-\d\d, .* --force$", str(counts))
    assert (counts.ok, counts.skipped, counts.fresh) == (N, 1, 0)
    assert rows(rolled_back) == brute_force(names(), vectors(), 5)
    assert reasons(rolled_back) == dict.fromkeys(names()) | {f"song-{N:03d}": "withdrawn"}


def test_a_withdrawn_table_is_published_when_forced_and_stays(rolled_back):
    for force in (True, False):
        assert similar(rolled_back, SETTINGS, force=force).fresh == 0  # it is still on disk
        assert published(rolled_back) == 2
        assert rows(rolled_back) == brute_force(names(N + 1), vectors(1, n=N + 1), 5)
    rolled_back.rollback("similar")
    assert rows(rolled_back) == brute_force(names(), vectors(), 5)


def test_a_withdrawn_table_that_is_off_the_disk_is_made_anew_when_forced(rolled_back):
    (withdrawn,) = rolled_back.versions("similar").withdrawn
    shutil.rmtree(rolled_back.out / "_versions" / "similar" / withdrawn)
    assert "was withdrawn" in str(similar(rolled_back, SETTINGS))
    assert similar(rolled_back, SETTINGS, force=True).fresh == N + 1
    assert published(rolled_back) == 3
    assert rows(rolled_back) == brute_force(names(N + 1), vectors(1, n=N + 1), 5)
    assert similar(rolled_back, SETTINGS).fresh == 0
    assert rolled_back.versions("similar").withdrawn == {}


def test_a_table_of_other_vectors_is_published_after_a_rollback(rolled_back, publish_vectors):
    publish_vectors(rolled_back.out, vectors(2))
    assert similar(rolled_back, SETTINGS).fresh == N
    assert published(rolled_back) == 3
    assert rows(rolled_back) == brute_force(names(), vectors(2), 5)
    publish_vectors(rolled_back.out, vectors(1, n=N + 1))
    assert "was withdrawn" in str(similar(rolled_back, SETTINGS))  # it is remembered


def test_a_rollback_to_what_the_vectors_give_is_up_to_date(store, publish_vectors):
    similar(store, SimilarSettings(n=7))
    store.rollback("similar")
    assert "is published" in str(similar(store, SETTINGS))
    assert published(store) == 1


def test_the_printed_line_and_the_list_of_versions_tell_of_churn_and_what_made_them(store, publish_vectors, capsys):
    publish_vectors(store.out, vectors(1))
    before = {row[0]: set() for row in rows(store)}
    for track_id, _, other in rows(store):
        before[track_id].add(other)
    line = str(similar(store, SETTINGS))
    new = [other not in before[track_id] for track_id, _, other in rows(store)]
    assert f"; {store.versions('similar').published} is published: coverage " in line
    assert f"churn {np.mean(new):.3f}" in line
    code, listed, _ = command(capsys, "rollback", store.out, "--list")
    assert code == 0
    header, first, second = listed.splitlines()
    assert header.split() == ["version", "made", "(UTC)", "songs", "rows", "size", "made", "by"]
    assert re.match(r"00001-\w{8}  20\d\d-\S+ \S+ +40 +200 +\S+ kB  similar \d+, n=5, cosine, mlp model$", first)
    assert second.endswith("published")
    assert published(store) == 2


# --- killed runs --------------------------------------------------------------------------------------------------


def test_what_a_killed_run_left_is_not_taken_for_a_table(store, publish_vectors):
    root = store.out / "_versions" / "similar"
    work = store.work.folder("similar")
    for folder in (root / ".00002-deadbeef", root / "00003-deadbeef"):
        (folder / "_sidecar").mkdir(parents=True)
        (folder / "parts").mkdir()
        (folder / "parts" / "part-00000-00002-deadbeef.parquet").write_bytes(b"PAR1 half a tab")
    for leftover in ("0123456789abcdef-0000000000.parquet", ".0123456789abcdef-0000000000.parquet.x7"):
        (work / leftover).write_bytes(b"PAR1 half a sha")
    with stays_published(store):
        assert similar(store, SETTINGS).fresh == 0
    publish_vectors(store.out, vectors(1))
    similar(store, SETTINGS)
    assert rows(store) == brute_force(names(), vectors(1), 5)
    assert [p.name[:6] for p in sorted(root.iterdir()) if p.is_dir()] == ["00001-", "00002-"]
    assert not work.exists()


def test_lists_that_a_killed_run_left_are_not_taken_for_those_of_other_songs(store, publish_vectors, monkeypatch):
    publish_vectors(store.out, vectors(1))
    with monkeypatch.context() as killed:
        killed.setattr("musicrec.stages.similar.publish.publish_lists", None)
        with pytest.raises(TypeError):
            similar(store, SETTINGS)
    assert store.work.staged("similar")
    tracks = store.read("tracks").slice(1)  # the first song has left the catalog
    with store.new_version("tracks", SETTINGS, "f" * 16) as version:
        version.write_part(tracks)
        store.publish(version)
    similar(store, SETTINGS)
    assert rows(store) == brute_force(names()[1:], vectors(1)[1:], 5)


PARTS = """
import json, os, pathlib, random, signal, sys, time
import numpy as np, pandas as pd, pyarrow as pa
from musicrec.serve import table_writer
from musicrec.serve.comparable_songs import Origin, Vectors
from musicrec.stages.similar import publish
from musicrec.schemas import TRACKS
from musicrec.stages.similar.kept_lists import Compared
from musicrec.serve.lookup import SIDECAR_COLUMNS, SimilarTable
from musicrec.similarity import Lists
from musicrec.settings import SimilarSettings
from musicrec.store.store import Store
store, n = Store(sys.argv[1]), 5
table_writer.ROWS_PER_GROUP, table_writer.GROUPS_PER_PART = 7 * n, 1  # 7 songs a part

def publish_generation(g):
    n_songs = 50 + g
    schema = pa.schema([TRACKS.field(name) for name in SIDECAR_COLUMNS])
    names = pa.Table.from_pylist([{"track_id": f"song-{i:03d}"} for i in range(n_songs)], schema)
    ids = ((np.arange(n_songs)[:, None] + 1 + g + np.arange(n)) % n_songs).astype(np.int32)
    lists = Compared(Lists(ids, np.full(ids.shape, g / 100, np.float32)))
    vectors = Vectors(names, np.empty((n_songs, 0), np.float32), {}, Origin(None, "", {}))
    publish.publish_lists(store, SimilarSettings(n=n), f"{g:08x}" * 2, vectors, lists)

def generation(scores, n_rows):
    (score,) = set(scores)
    g = round(float(score) * 100)
    assert len(scores) == n_rows * n == (50 + g) * n, (g, len(scores), n_rows)
    return g

def seen():
    lookup = SimilarTable(store.out)
    by_lookup = generation([s.score for t in lookup.songs() for s in lookup.similar(t.track_id, n)], len(lookup))
    table = store.read("similar")
    return by_lookup, generation(table["score"].to_pylist(), len(set(table["track_id"].to_pylist())))
"""

READ = """
found, missing = [], 0
while not pathlib.Path(sys.argv[2]).exists():
    try:
        found.extend(seen())
        table = pd.read_parquet(store.out / "similar")  # knows nothing of versions
        if table.empty:  # Arrow passes over files that are gone once it has listed them
            missing += 1
        else:
            found.append(generation(table["score"].tolist(), table["track_id"].nunique()))
    except FileNotFoundError:
        missing += 1
print(json.dumps({"found": found, "missing": missing}))
"""

LOOK = """
import os, sys
looks = 0
while not os.path.exists(sys.argv[2]):
    for _ in range(1000):
        os.stat(sys.argv[1] + "/similar/../_sidecar/songs.arrow")  # raises if there is no table, even for a moment
    looks += 1000
print(looks)
"""

PUBLISH = """
for g in range(1, 21):
    publish_generation(g)
    time.sleep(0.01)
    if g % 3 == 0:
        store.rollback("similar")
        time.sleep(0.01)
"""


def python(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_readers_see_whole_tables_only_while_20_are_published_and_some_rolled_back(store, tmp_path):
    stop = tmp_path / "stop"
    first = python(PARTS + "publish_generation(0)", store.out)
    assert first.wait() == 0, first.stderr.read()
    assert len(list((store.out / "similar").glob("*.parquet"))) == 8  # 50 songs
    looker, reader = python(LOOK, store.out, stop), python(PARTS + READ, store.out, stop)
    writer = python(PARTS + PUBLISH, store.out)
    told = writer.communicate()
    assert writer.returncode == 0, told
    stop.touch()
    (looks, at_looking), (read, at_reading) = looker.communicate(), reader.communicate()
    assert looker.returncode == 0, at_looking
    assert int(looks) >= 10_000
    assert reader.returncode == 0, at_reading
    result = json.loads(read)
    assert set(result["found"]) <= set(range(21))
    assert len(set(result["found"])) > 3, "the reader saw next to nothing of what was published"
    assert result["missing"] <= len(result["found"]) / 3  # pandas opened a link that was swapped meanwhile


KILL = """
def start(g):
    child = os.fork()
    if not child:
        publish_generation(g)
        if g % 3 == 0:
            store.rollback("similar")
        os._exit(0)
    return child

publish_generation(0)
started = time.monotonic()
for g in (1, 2):
    os.waitpid(start(g), 0)
took, chance, last, ended = (time.monotonic() - started) / 2, random.Random(0), 2, []
for g in range(3, 13):
    child = start(g)
    time.sleep(chance.uniform(0, 1.2 * took))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    one, other = seen()
    assert one == other and one in (last, g), (one, other, last, g)  # the old table or the new one, whole
    ended.append([os.WIFSIGNALED(status), one == g])
    last = one
print(json.dumps(ended))
"""


def test_ten_kills_at_random_moments_leave_a_whole_table_and_the_next_run_ends_with_the_right_one(store):
    killer = python(PARTS + KILL, store.out)
    out, complaint = killer.communicate()
    assert killer.returncode == 0, complaint
    ended = json.loads(out)
    assert len(ended) == 10
    assert sum(killed for killed, _ in ended) >= 3, ended  # before they had ended
    similar(store, SETTINGS)
    assert rows(store) == brute_force(names(), vectors(), 5)
    assert not list((store.out / "_versions" / "similar").rglob(".*"))


# --- full disks ---------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path):
    """A file system of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]
    if os.name != "posix" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder, leave):
    """Leave so many bytes of a file system free."""
    status = os.statvfs(folder)
    with (folder / "ballast").open("wb") as ballast:
        ballast.write(bytes(max(0, status.f_bavail * status.f_frsize - leave)))


def test_a_full_disk_costs_the_run_and_not_the_table(disk, publish_vectors, capsys):
    store = publish_vectors(disk / "out", vectors(n=200))
    similar(store, SETTINGS)
    publish_vectors(store.out, vectors(1, n=200))
    complaints = []
    for kilobytes in (0, 8, 24, 48, 72, 96, 120, 144):
        fill(disk, 1024 * kilobytes)
        with stays_published(store):
            code, _, complaint = command(capsys, "similar", store.out, "-n", 60)
        assert code == (5 if "could not be written to" in complaint else 1)  # the table, or work staged for it
        assert re.match(r"musicrec: [^\n]*(No space left on device|could not be written)[^\n]*\n", complaint), complaint
        assert len(list((store.out / "_versions" / "similar").iterdir())) == 1  # nothing takes up room
        complaints.append(complaint)
        (disk / "ballast").unlink()
    assert any("a task on the cluster failed" in complaint for complaint in complaints)
    assert any("the table could not be written" in complaint for complaint in complaints)
    similar(store, SimilarSettings(n=60))
    assert rows(store) == brute_force(names(200), vectors(1, n=200), 60)


LIMITED = """
import resource
publish_generation(0)
table_writer.GROUPS_PER_PART, told = 10_000, []  # one part
for limit in (1, 100, 500, 900, 1100, 1500, 2000, 3000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        publish_generation(1)
    except Exception as e:
        told.append(f"{type(e).__name__}: {e}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert seen() == (0, 0) if len(told) else (1, 1)
    assert len(list(store.out.glob("_versions/similar/[.0]*"))) == 2
    if not told:
        break
publish_generation(2)
assert seen() == (2, 2)
print(json.dumps(told))
"""


def test_files_that_may_not_grow_cost_the_run_and_not_the_table(store):
    limited = python(PARTS + LIMITED, store.out)
    out, complaint = limited.communicate()
    assert limited.returncode == 0, complaint
    told = json.loads(out)
    assert len(told) > 2
    assert all(line.startswith("PublishError: similar: the table could not be written to") for line in told)
