"""OUT in a bucket of a real S3 server: the same tables as in a folder, whatever goes wrong on the way there."""

import errno
import json
import os
import subprocess
import sys
import time
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from musicrec.errors import ConfigError, InUse
from musicrec.files.paths import children, local_copy, remove, to_path, write_atomic, write_folder
from musicrec.files.s3_errors import REMEDIES, explain_s3_errors
from musicrec.schemas import TRACKS
from musicrec.serve.lookup import SimilarTable
from musicrec.settings import CatalogSettings
from musicrec.stages.catalog.stage import catalog
from musicrec.store import lock
from musicrec.store.store import Store

SETTINGS = CatalogSettings(source="/music")
TABLES = ("tracks", "outcomes", "features", "mel", "embeddings", "similar")
KEPT = Path(__file__).parents[1] / "data" / "kept"
PUBLISHED = 10  # versions
FROM_RUN_TO_RUN = {"seconds"}  # columns that tell how long something took


@pytest.fixture
def out(s3):
    return f"s3://{s3.bucket()}/music/out"


def publish(store, generation):
    """Publish a table of one song, which names the generation."""
    version = store.new_version("tracks", SETTINGS, f"{generation:08d}")
    version.write_part(pa.Table.from_pylist([{"track_id": str(generation)}], TRACKS))
    store.publish(version)


def generation(store):
    return store.read("tracks")["track_id"].to_pylist()


def rows(store, table):
    content = store.read(table)
    kept = content.select([name for name in content.column_names if name not in FROM_RUN_TO_RUN])
    return sorted(map(repr, kept.to_pylist()))


def musicrec(*arguments):
    command = [sys.executable, "-m", "musicrec", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=600, check=False)


# --- the chain ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["few songs", pytest.param("all", marks=pytest.mark.slow)])
def how_much(request, synthetic):
    """Options of a run: of a few songs by a model that is soon trained, or of all by a network."""
    if request.param == "all":
        return "--source", str(synthetic), "--epochs", "2"
    return "--source", str(KEPT / "songs"), "--model", "svm"


@pytest.mark.timeout(1200)  # three commands that start Ray, on a machine that may be busy
@pytest.mark.engine
def test_the_chain_through_broken_requests_ends_with_the_tables_of_a_folder(
    s3, faulty_s3, how_much, tmp_path, monkeypatch
):
    monkeypatch.setenv("MUSICREC_CACHE", str(tmp_path / "cache"))
    here, there = str(tmp_path / "out"), f"s3://{s3.bucket()}/out"
    assert musicrec("run", here, *how_much).returncode == 0
    proxy = faulty_s3(share=0.05, seed=1)
    done = musicrec("run", there, *how_much)
    assert done.returncode == 0, done.stderr
    assert 0.03 < proxy.faults.total() / proxy.requests.total() < 0.07
    assert proxy.faults["cut upload"] + proxy.faults["lost answer"] > 0, dict(proxy.faults)
    for table in TABLES:
        assert rows(Store(there), table) == rows(Store(here), table), table
    again = musicrec("run", there, *how_much)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("none") == 5
    assert not Store(there).out.fs.find(Store(there).work.folder("extract").path)
    table, same = SimilarTable(there), SimilarTable(here)
    for song in same.songs():
        assert table.similar(song.track_id) == same.similar(song.track_id)


@pytest.mark.timeout(300)
def test_what_is_published_through_cut_uploads_is_whole(s3, faulty_s3, out):
    """The chain reads more than it writes, so few of its faults meet an upload; here all do."""
    proxy = faulty_s3(
        share=0.3,
        seed=3,
        kinds=["cut upload", "lost answer", "stall"],
        stall_s=0.3,
        only=lambda method, _: method == "PUT",
    )
    store = Store(out)
    store.create()
    written = []
    for number in range(PUBLISHED):
        written.append([f"{number:02d}-{i:06d}-{'x' * (i % 90)}" for i in range(3000)])
        version = store.new_version("tracks", SETTINGS, f"{number:08d}")
        for half in (written[-1][:1500], written[-1][1500:]):
            version.write_part(pa.Table.from_pylist([{"track_id": track_id} for track_id in half], TRACKS))
        store.publish(version)
    uploads = sum(n for (method, _), n in proxy.requests.items() if method == "PUT")
    assert 0.2 < proxy.faults.total() / uploads < 0.4, dict(proxy.faults)
    assert all(proxy.faults[kind] >= 3 for kind in proxy.kinds), dict(proxy.faults)
    s3.become(s3.server)  # past the proxy
    assert Store(out).read("tracks")["track_id"].to_pylist() == written[-1]
    Store(out).rollback("tracks")
    assert Store(out).read("tracks")["track_id"].to_pylist() == written[-2]


def test_a_version_is_looked_up_once_and_a_new_one_is_seen(s3, faulty_s3, out):
    """Every look at a bucket is a request, and a run reads some tables again and again."""
    proxy = faulty_s3(share=0)
    writer, reader = Store(out), Store(out)
    writer.create()
    for number in range(2):
        version = writer.new_version("tracks", SETTINGS, f"{number:08d}")
        version.write_part(pa.Table.from_pylist([{"track_id": f"song-{number}"}], TRACKS))
        writer.publish(version)
        asked = []
        for _ in range(2):
            before = proxy.requests.total()
            assert generation(reader) == [f"song-{number}"]
            assert reader.footer("tracks")["fingerprint"] == f"{number:08d}"
            asked.append(proxy.requests.total() - before)
        assert asked[1] <= 5 < asked[0]  # the pointer twice, and the part


def test_songs_in_a_bucket_are_listed_as_those_of_a_folder(s3, out, synthetic, tmp_path):
    source = f"s3://{s3.bucket()}/songs"
    with write_folder(to_path(source)) as local:
        subprocess.run(["cp", "-r", f"{synthetic}/.", str(local)], check=True)
    listed = []
    for place, folder in ((source, out), (str(synthetic), str(tmp_path / "out"))):
        store = Store(folder)
        store.create()
        assert catalog(store, CatalogSettings(source=place)).total == len(store.track_ids())
        listed.append(store.read("tracks", ["track_id", "genre", "size_bytes"]).sort_by("track_id"))
        before = store.read("tracks")["content_hash"].to_pylist()
        assert catalog(store, CatalogSettings(source=place)).fresh == 0
        assert store.read("tracks")["content_hash"].to_pylist() == before
    assert listed[0].equals(listed[1])


# --- what a server has against us ---------------------------------------------------------------------------------


def refused(result):
    """The one line that a command has said, when it ended as one that was called wrongly does."""
    assert result.returncode == ConfigError.exit_code
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize("command", [("status",), ("run", "--source", "/nowhere"), ("lookup", "song")])
def test_a_wrong_key_a_missing_bucket_and_no_server_are_told_in_one_line(s3, out, monkeypatch, command):
    name, *rest = command
    assert REMEDIES["NoSuchBucket"] in refused(musicrec(name, f"s3://nothing-{os.getpid()}/out", *rest))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert REMEDIES["SignatureDoesNotMatch"] in refused(musicrec(name, out, *rest))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert REMEDIES["EndpointConnectionError"] in refused(musicrec(name, out, *rest))


def test_a_bucket_that_may_only_be_read_is_told_in_one_line_and_can_be_read(s3, synthetic):
    out = f"s3://{s3.bucket(readable=True)}/out"
    store = Store(out)
    store.create()
    catalog(store, CatalogSettings(source=str(synthetic)))
    s3.become_reader()
    assert REMEDIES["AccessDenied"] in refused(musicrec("catalog", out, "--source", str(synthetic)))
    assert Store(out).track_ids() == store.track_ids()


# --- versions -----------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_a_bucket_has_versions_that_come_and_go_as_in_a_folder(out, tmp_path):
    seen = []
    for place in (out, tmp_path / "out"):
        store = Store(place)
        store.create()
        for number in range(4):
            publish(store, number)
        versions = store.versions("tracks")
        steps = [generation(store), versions.on_disk(), store.published()]
        steps += [store.rollback("tracks"), generation(store), sorted(versions.withdrawn)]
        publish(store, 9)
        seen.append([*steps, generation(store), versions.on_disk(), store.footer("tracks")["fingerprint"]])
    assert seen[0] == seen[1]


@pytest.mark.thorough
def test_what_a_killed_run_left_in_a_bucket_is_never_read_and_goes_with_the_next_version(out):
    store = Store(out)
    store.create()
    publish(store, 1)
    abandoned = store.new_version("tracks", SETTINGS, "f" * 8)
    abandoned.write_part(pa.Table.from_pylist([{"track_id": "half"}], TRACKS))
    assert generation(store) == ["1"]
    publish(store, 2)
    assert generation(store) == ["2"]
    assert not children(abandoned.folder)


def test_a_folder_goes_into_a_bucket_and_comes_back(s3):
    folder = to_path(f"s3://{s3.bucket()}/a/folder")
    content = {"one.bin": b"1" * 3_000_000, "below/two.bin": b"2", "name with spaces, é": b""}
    with write_folder(folder) as local:
        for name, of_it in content.items():
            (local / name).parent.mkdir(exist_ok=True)
            (local / name).write_bytes(of_it)
    with local_copy(folder) as local:
        assert {p.relative_to(local).as_posix(): p.read_bytes() for p in local.rglob("*") if p.is_file()} == content
    remove(folder)
    assert children(folder) == []


# --- the lock -----------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_of_two_runs_one_holds_a_bucket_and_the_other_is_told_by_whom(out):
    with Store(out).lock(), pytest.raises(InUse, match=f"process {os.getpid()} on .* since"), Store(out).lock():
        pass
    with Store(out).lock():
        pass
    assert children(to_path(out) / ".lock") == []


@pytest.mark.thorough
def test_of_many_runs_that_start_at_once_one_at_a_time_holds_a_bucket(out):
    program = (
        "import sys, time; from musicrec.store.store import Store; from musicrec.errors import InUse\n"
        "try:\n"
        "    with Store(sys.argv[1]).lock():\n"
        "        print('held', time.time()); time.sleep(1); print('until', time.time())\n"
        "except InUse: print('refused')"
    )
    runs = [subprocess.Popen([sys.executable, "-c", program, out], stdout=subprocess.PIPE, text=True) for _ in range(5)]
    told = [run.communicate(timeout=120)[0].split() for run in runs]
    times = sorted((float(words[1]), float(words[3])) for words in told if words[0] == "held")
    assert times
    assert all(end <= start for (_, end), (start, _) in pairwise(times))


@pytest.mark.thorough
@pytest.mark.parametrize("is_reaped", [True, False])
def test_a_bucket_is_free_at_once_when_its_holder_was_killed_here(out, is_reaped):
    program = (
        "import sys; from musicrec.store.store import Store\n"
        "with Store(sys.argv[1]).lock(): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, out], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        holder.kill()
        os.waitid(os.P_PID, holder.pid, os.WEXITED | (0 if is_reaped else os.WNOWAIT))
        assert len(children(to_path(out) / ".lock")) == 1
        with Store(out).lock():
            pass


@pytest.mark.parametrize(
    ("another", "is_free"),
    [({}, False), ({"started": "1"}, True), ({"pids": "another"}, False), ({"pids": "another", "pid": 2**22}, False)],
    ids=["a run", "its number is now ours", "of another container", "of another, where it is not ours"],
)
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells when a process has started")
def test_a_number_of_a_process_is_not_taken_for_the_process(out, monkeypatch, another, is_free):
    claim = {**lock._myself(), "holds": True, **another}
    write_atomic(to_path(out) / ".lock" / "claim.json", json.dumps(claim).encode())
    monkeypatch.setattr(lock, "ATTEMPTS", 1)
    with nullcontext() if is_free else pytest.raises(InUse), Store(out).lock():
        pass


@pytest.mark.thorough
def test_a_lease_of_another_machine_counts_until_it_was_not_renewed(out, monkeypatch):
    claim = to_path(out) / ".lock" / "claim.json"
    write_atomic(claim, json.dumps({"host": "another", "pid": 1, "command": "musicrec", "since": "then"}).encode())
    monkeypatch.setattr(lock, "ATTEMPTS", 2)
    with pytest.raises(InUse, match="process 1 on another since then"), Store(out).lock():
        pass
    monkeypatch.setattr(lock, "LEASE_S", 1.0)
    time.sleep(3)  # a server tells times in seconds
    with Store(out).lock():
        assert not claim.exists()


@pytest.mark.thorough
def test_a_run_that_could_not_renew_its_lease_publishes_nothing(out, monkeypatch):
    store = Store(out)
    store.create()
    publish(store, 1)
    monkeypatch.setattr(lock, "LEASE_S", 0.5)
    monkeypatch.setattr(lock.Lease, "_renew", lambda *_: None)
    with store.lock():
        time.sleep(1)
        with pytest.raises(InUse, match="nothing more is published"):
            publish(store, 2)
    assert generation(store) == ["1"]


def test_a_file_of_this_machine_is_not_taken_for_the_bucket(out, tmp_path):
    unreadable = tmp_path / "song"
    with pytest.raises(PermissionError, match="song"), explain_s3_errors(to_path(out)):
        raise PermissionError(errno.EACCES, "Permission denied", str(unreadable))
