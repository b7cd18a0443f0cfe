"""The S3-compatible server of the tests, and the proxy that breaks requests to it."""

import random
import subprocess
import sys
import time

import pyarrow.fs as pafs
import pytest
import requests
import s3fs

from s3.server import HERE

BIG = random.Random(0).randbytes(12 << 20)  # needs several parts: one is 5 MiB at least


def arrow(bucket: str) -> pafs.S3FileSystem:
    """The server as pyarrow sees it: it heeds AWS_ENDPOINT_URL for an address only, not in its constructor."""
    return pafs.FileSystem.from_uri(f"s3://{bucket}")[0]


def test_s3fs_writes_lists_reads_and_removes(s3):
    fs, bucket = s3fs.S3FileSystem(), s3.bucket()
    fs.pipe_file(f"{bucket}/folder/Ünï côdé #1.txt", b"hello")
    fs.pipe_file(f"{bucket}/folder/big", BIG, chunksize=5 << 20)
    assert fs.ls(f"{bucket}/folder", refresh=True) == [f"{bucket}/folder/big", f"{bucket}/folder/Ünï côdé #1.txt"]
    assert fs.cat_file(f"{bucket}/folder/Ünï côdé #1.txt") == b"hello"
    assert fs.cat_file(f"{bucket}/folder/big") == BIG
    assert fs.cat_file(f"{bucket}/folder/big", start=5_242_870, end=5_242_890) == BIG[5_242_870:5_242_890]
    fs.rm(f"{bucket}/folder", recursive=True)
    assert s3.filesystem().ls(bucket) == []


def test_pyarrow_reads_what_s3fs_wrote_and_the_other_way_round(s3):
    fs, bucket = s3fs.S3FileSystem(), s3.bucket()
    fs.pipe_file(f"{bucket}/one", b"1")
    with arrow(bucket).open_output_stream(f"{bucket}/big") as f:
        f.write(BIG)
    assert fs.cat_file(f"{bucket}/big") == BIG
    assert arrow(bucket).open_input_file(f"{bucket}/one").read() == b"1"
    listed = arrow(bucket).get_file_info(pafs.FileSelector(bucket))
    assert {(f.base_name, f.size) for f in listed} == {("one", 1), ("big", len(BIG))}


def test_an_object_can_be_made_once_only(s3):
    fs, path = s3fs.S3FileSystem(), f"{s3.bucket()}/lock"
    fs.pipe_file(path, b"first", mode="create")
    with pytest.raises(OSError, match="precondition"):
        fs.pipe_file(path, b"second", mode="create")
    assert fs.cat_file(path) == b"first"


def test_a_wrong_secret_is_refused(s3, monkeypatch):
    bucket = s3.bucket(readable=True)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(PermissionError, match="signature"):
        s3fs.S3FileSystem().ls(bucket)
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        arrow(bucket).get_file_info(f"{bucket}/x")


def test_the_reader_reads_and_does_not_write(s3):
    readable, private = s3.bucket(readable=True), s3.bucket()
    for bucket in (readable, private):
        s3.filesystem().pipe_file(f"{bucket}/x", b"x")
    s3.become_reader()
    fs = s3fs.S3FileSystem()
    assert fs.ls(readable) == [f"{readable}/x"]
    assert fs.cat_file(f"{readable}/x") == b"x"
    for refused in (
        lambda: fs.pipe_file(f"{readable}/y", b"y"),
        lambda: fs.rm_file(f"{readable}/x"),
        lambda: fs.ls(private),
        lambda: fs.cat_file(f"{private}/x"),
    ):
        with pytest.raises(PermissionError):
            refused()
    assert s3.filesystem().find(readable) == [f"{readable}/x"]


def test_the_server_ends_with_a_killed_parent(s3_server, tmp_path):
    command = [sys.executable, HERE / "server.py", "--port", "0", "--folder", tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as parent:
        try:
            url = parent.stdout.readline().partition("=")[2].strip()
            requests.get(url, timeout=30)  # it answers
        finally:
            parent.kill()
    for _ in range(100):
        try:
            requests.get(url, timeout=5)
        except requests.ConnectionError:
            return
        time.sleep(0.1)
    raise AssertionError("the server outlived its parent by ten seconds")


# --- the proxy ----------------------------------------------------------------------------------------------------


def signed(path: str, method: str = "get_object") -> str:
    """An address of the object, through the proxy, that any client may use without a key."""
    return s3fs.S3FileSystem().url(path, client_method=method)


@pytest.fixture
def big(s3) -> str:
    """The path of an object of 12 MiB."""
    path = f"{s3.bucket()}/big"
    s3.filesystem().pipe_file(path, BIG)
    return path


@pytest.mark.parametrize(("kind", "status"), [("throttled", 503), ("internal", 500)])
def test_a_client_sees_an_answer_that_the_server_never_gave(big, faulty_s3, kind, status):
    proxy = faulty_s3(share=1, kinds=[kind], most=1)
    with requests.Session() as session:
        refused, again = (session.get(signed(big), timeout=30) for _ in range(2))
    assert refused.status_code == status
    assert "<Error><Code>" in refused.text
    assert again.content == BIG
    assert proxy.faults == {kind: 1}


def read_into(buffer: bytearray, url: str) -> None:
    """Read as far as the connection goes."""
    with requests.get(url, stream=True, timeout=30) as answer:
        for chunk in answer.iter_content(1000):
            buffer.extend(chunk)


@pytest.mark.parametrize("kind", ["reset", "lost answer", "cut answer"])
def test_a_client_loses_the_connection(big, faulty_s3, kind):
    proxy = faulty_s3(share=1, kinds=[kind], most=1)
    arrived = bytearray()
    with pytest.raises(requests.RequestException):
        read_into(arrived, signed(big))
    assert bool(arrived) == (kind == "cut answer")
    assert BIG.startswith(arrived)
    assert len(arrived) < len(BIG)
    assert requests.get(signed(big), timeout=30).content == BIG
    assert proxy.faults == {kind: 1}


def test_a_client_gives_up_on_a_stall(big, faulty_s3):
    proxy = faulty_s3(share=1, kinds=["stall"], stall_s=3, most=1)
    with pytest.raises(requests.ReadTimeout):
        requests.get(signed(big), timeout=0.5)
    assert requests.get(signed(big), timeout=30).content == BIG
    assert proxy.faults == {"stall": 1}


@pytest.mark.parametrize(("kind", "is_there"), [("reset", False), ("cut upload", False), ("lost answer", True)])
def test_a_client_cannot_tell_what_became_of_an_upload(s3, faulty_s3, kind, is_there):
    path = f"{s3.bucket()}/big"
    proxy = faulty_s3(share=1, kinds=[kind], most=1)
    with pytest.raises(requests.ConnectionError):
        requests.put(signed(path, "put_object"), data=BIG, timeout=30)
    assert proxy.faults == {kind: 1}
    assert s3.filesystem().exists(path) == is_there
    assert requests.put(signed(path, "put_object"), data=BIG, timeout=30).ok
    assert s3.filesystem().cat_file(path) == BIG


def test_the_seed_decides_which_requests_break(s3, faulty_s3):
    def broken(seed):
        proxy = faulty_s3(share=0.3, seed=seed, kinds=["internal"])
        return [requests.get(f"{proxy.url}/none/{i}", timeout=30).status_code == 500 for i in range(40)]

    assert broken(1) == broken(1)
    assert broken(1) != broken(2)
    assert 3 <= sum(broken(1)) <= 22


def test_only_some_requests_may_break(big, faulty_s3):
    faulty_s3(share=1, kinds=["internal"], only=lambda method, path: method == "PUT")
    assert requests.get(signed(big), timeout=30).ok
    assert requests.put(signed(big, "put_object"), data=b"x", timeout=30).status_code == 500


def test_retries_of_the_libraries_come_through_faults(s3, faulty_s3):
    bucket = s3.bucket()
    proxy = faulty_s3(share=0.2)
    fs = s3fs.S3FileSystem(use_listings_cache=False)
    objects = {f"{bucket}/{i:02d}": BIG[i : i + 5000 * i] for i in range(12)} | {f"{bucket}/big": BIG}
    for path, content in objects.items():
        fs.pipe_file(path, content, chunksize=5 << 20)
    assert fs.find(bucket) == list(objects)
    assert fs.cat(list(objects)) == objects
    for path, content in objects.items():
        assert arrow(bucket).open_input_file(path).read() == content
    fs.rm(bucket, recursive=True)
    assert not s3.filesystem().exists(bucket)
    assert len(proxy.faults) >= 4, proxy.faults  # kinds


def test_a_lost_answer_makes_a_client_take_its_own_object_for_another_ones(s3, faulty_s3):
    """What is made once only has to be read back after a refusal: the attempt before may have made it."""
    path = f"{s3.bucket()}/lock"
    faulty_s3(share=1, kinds=["lost answer"], most=1)
    with pytest.raises(OSError, match="precondition"):
        s3fs.S3FileSystem().pipe_file(path, b"mine", mode="create")
    assert s3.filesystem().cat_file(path) == b"mine"
