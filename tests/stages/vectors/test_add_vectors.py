"""Vectors of files as spaces: what is published, when a file is read again, and what faults and kills cost."""

import json
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from musicrec.errors import ConfigError, SchemaError
from musicrec.files.parquet import write_parquet
from musicrec.files.paths import to_path
from musicrec.schemas import TRACKS
from musicrec.settings import CatalogSettings, VectorsSettings
from musicrec.stages.vectors import stage as stage_module
from musicrec.stages.vectors.stage import add_vectors, refresh_vectors
from musicrec.store.spaces import SpaceCard, read_space, require_spaces, spaces
from musicrec.store.store import Store

N, D = 12, 5
KNOWN = {"model": "mert", "weights": "3f9a"}


def names(n=N):
    return [f"song-{i:03d}" for i in range(n)]


def vectors(seed=0, n=N, d=D):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def write(file, matrix, ids=None, **metadata):
    table = pa.table({"track_id": ids or names(len(matrix)), "embedding": list(matrix)})
    write_parquet(file, table.replace_schema_metadata(metadata))
    return file


@pytest.fixture
def store(tmp_path, publish_vectors):
    """An OUT whose songs have embeddings, and no vectors of a file."""
    return publish_vectors(tmp_path / "out", np.eye(N))


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "mert.parquet", vectors())


def settings(file, **others):
    return VectorsSettings(name="mert", file=str(file), **others)


def table(store, name="mert"):
    rows = store.read(f"vectors/{name}").to_pydict()
    return dict(zip(rows["track_id"], rows["embedding"], strict=True))


def as_table(matrix, ids=None):
    return dict(zip(ids or names(len(matrix)), matrix.tolist(), strict=True))


def version(store, name="mert"):
    return store.versions(f"vectors/{name}").published


def outcomes(store, name="mert"):
    rows = store.read("outcomes").to_pylist()
    return {row["track_id"]: row["reason"] for row in rows if row["stage"] == f"vectors/{name}"}


def publish_tracks(store, ids):
    tracks = pa.Table.from_pylist([{"track_id": t, "uri": f"file:///{t}", "title": t} for t in ids], TRACKS)
    with store.new_version("tracks", CatalogSettings(source="/music"), f"{len(ids):016d}") as made:
        made.write_part(tracks)
        store.publish(made)


# --- what is published --------------------------------------------------------------------------------------------


def test_a_table_holds_the_vectors_and_its_footer_what_made_them(store, tmp_path):
    matrix = vectors().astype(np.float16)
    ids = [*names(N - 1)[::-1], "stranger"]
    file = write(tmp_path / "x.parquet", matrix, ids, licence="CC0-1.0", pooling="mean")
    counts = add_vectors(store, settings(file, **KNOWN))
    assert (counts.ok, counts.skipped, counts.failed, counts.total, counts.fresh) == (N - 1, 1, 0, N, N - 1)
    expected = dict(sorted(as_table(matrix[:-1].astype(np.float32), ids[:-1]).items()))
    assert table(store) == expected
    assert list(table(store)) == list(expected)
    assert outcomes(store) == dict.fromkeys(names(N - 1)) | {f"song-{N - 1:03d}": "no_vector"}
    footer = store.footer("vectors/mert")
    card = SpaceCard(**KNOWN, pooling="mean", licence="CC0-1.0", source=str(file))
    assert read_space(store, "mert").card == card
    assert footer["lineage"]["space"]["id"] == card.space_id(D, "any")
    assert footer["settings"]["file"] == str(file)
    assert str(counts).endswith(
        f"; 5 numbers each, space {card.space_id(D, '')}; rows of songs that are not in the catalog: 1"
    )
    assert pq.read_table(store.out / "vectors" / "mert").column_names == ["track_id", "embedding"]
    assert [space.name for space in spaces(store)] == ["mert"]
    assert "vectors/mert" in store.published()


def test_a_licence_that_is_not_known_is_said(store, file):
    assert "; licence unknown: name it with --licence" in str(add_vectors(store, settings(file)))
    assert "licence" not in str(add_vectors(store, settings(file, licence="CC0-1.0")))


def test_rows_that_cannot_be_used_are_outcomes(store, tmp_path):
    matrix = vectors()
    matrix[1, 2], matrix[2] = np.nan, 0
    ids = [*names()[:-1], "song-003"]  # the last row is another one of song 3, and none is of the last song
    counts = add_vectors(store, settings(write(tmp_path / "x.parquet", matrix, ids)))
    assert (counts.ok, counts.skipped, counts.failed) == (N - 4, 1, 3)
    told = {
        "song-001": "not_finite",
        "song-002": "zero_vector",
        "song-003": "conflicting_rows",
        "song-011": "no_vector",
    }
    assert outcomes(store) == dict.fromkeys(names()) | told


def test_many_numbers_are_several_parts(store, file, monkeypatch):
    monkeypatch.setattr("musicrec.store.spaces.MOST_NUMBERS", 4 * D + 1)
    add_vectors(store, settings(file))
    assert len(list((store.out / "vectors" / "mert").glob("*.parquet"))) == 3
    assert table(store) == as_table(vectors())


# --- the id of a space --------------------------------------------------------------------------------------------


def test_the_id_depends_on_all_that_makes_vectors_comparable_and_on_nothing_else():
    card = SpaceCard("m", "w", "f", "wi", "p", "l", "s")
    ids = {name: card._replace(**{name: "other"}).space_id(8, "content") for name in SpaceCard._fields}
    own = card.space_id(8, "content")
    assert [name for name, other in ids.items() if other == own] == ["licence", "source"]
    assert len(set(ids.values()) | {card.space_id(9, "content")}) == 7
    assert card.space_id(8, "another content") == own
    for unknown in ("model", "weights"):
        part = card._replace(**{unknown: ""})
        assert part.space_id(8, "content") != part.space_id(8, "another content")
    assert SpaceCard("a", "b c").space_id(8, "") != SpaceCard("a b", "c").space_id(8, "")


def test_settings_that_contradict_the_file_are_refused(store, tmp_path):
    file = write(tmp_path / "x.parquet", vectors(), model="clap")
    with pytest.raises(ConfigError, match=r"x\.parquet says model = 'clap', the command 'mert'; correct the one"):
        add_vectors(store, settings(file, **KNOWN))
    assert not store.exists("vectors/mert")
    add_vectors(store, settings(file, model="clap", weights="1"))
    assert read_space(store, "mert").card.model == "clap"


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a=1", "../x", ".x", "embeddings", "features", "x" * 65])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(ValueError, match="expected letters, digits"):
        VectorsSettings(name=name, file="x.parquet")


# --- a newer file, another catalog --------------------------------------------------------------------------------


def test_a_file_that_did_not_change_is_not_read_again(store, file):
    add_vectors(store, settings(file))
    before = version(store)
    file.write_bytes(file.read_bytes())  # another time, the same bytes
    counts = add_vectors(store, settings(file))
    assert (counts.ok, counts.fresh, version(store)) == (N, 0, before)


def test_a_newer_file_is_read_and_is_a_new_space_unless_its_model_is_known(store, file):
    for known, is_same in (({}, False), (KNOWN, True)):
        write(file, vectors())
        add_vectors(store, settings(file, **known))
        before = read_space(store, "mert").space_id
        write(file, vectors(1, n=N - 1))
        assert refresh_vectors(store, "mert").fresh == N - 1
        assert table(store) == as_table(vectors(1, n=N - 1))
        assert (read_space(store, "mert").space_id == before) == is_same


def test_songs_that_come_and_go_get_and_lose_their_vectors(store, file):
    write(file, vectors(n=N + 1))
    assert add_vectors(store, settings(file)).ok == N
    publish_tracks(store, names(N + 2)[1:])
    counts = refresh_vectors(store, "mert")
    assert (counts.ok, counts.skipped, counts.total) == (N, 1, N + 1)
    assert table(store) == as_table(vectors(n=N + 1)[1:], names(N + 1)[1:])
    assert refresh_vectors(store, "mert").fresh == 0


def test_songs_without_a_vector_do_not_change_what_the_table_is_known_by(store, file):
    add_vectors(store, settings(file))
    before = store.footer("vectors/mert")["fingerprint"]
    publish_tracks(store, names(N + 1))
    add_vectors(store, settings(file))
    assert store.footer("vectors/mert")["fingerprint"] == before
    assert outcomes(store)[f"song-{N:03d}"] == "no_vector"


def test_vectors_whose_file_is_gone_stay(store, file):
    matrix = vectors()
    matrix[0] = 0
    add_vectors(store, settings(write(file, matrix)))
    file.unlink()
    publish_tracks(store, names(N + 1))
    counts = refresh_vectors(store, "mert")
    assert (counts.ok, counts.skipped, counts.failed) == (N - 1, 1, 1)
    assert str(counts).endswith(f"{file} is gone, its vectors stay")
    assert table(store) == as_table(matrix[1:], names()[1:])
    assert outcomes(store)["song-000"] == "zero_vector"


# --- faults -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"PAR1 half a file", None], ids=["empty", "cut", "of strangers"])
def test_a_newer_file_that_cannot_be_used_leaves_what_is_published(store, file, content):
    add_vectors(store, settings(file))
    before, told = version(store), outcomes(store)
    file.write_bytes(content) if content is not None else write(file, vectors(1), [f"x{i}" for i in range(N)])
    with pytest.raises(SchemaError, match=str(file)):
        refresh_vectors(store, "mert")
    assert (version(store), table(store), outcomes(store)) == (before, as_table(vectors()), told)


def test_a_run_that_ends_before_its_outcomes_are_saved_is_made_good_by_the_next(store, file, monkeypatch):
    matrix = vectors()
    matrix[3] = np.inf
    write(file, matrix)
    with monkeypatch.context() as killed:
        killed.setattr(stage_module, "save_outcomes", None)
        with pytest.raises(TypeError):
            add_vectors(store, settings(file))
    assert not store.exists("outcomes")
    counts = add_vectors(store, settings(file))
    assert (counts.fresh, counts.ok, counts.failed) == (0, N - 1, 1)
    assert outcomes(store) == dict.fromkeys(names()) | {"song-003": "not_finite"}


def test_a_disk_that_refuses_costs_the_run_and_no_file(store, file, monkeypatch):
    add_vectors(store, settings(file))
    write(file, vectors(1))

    def refuse(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("musicrec.store.spaces.write_parquet", refuse)
        with pytest.raises(OSError, match="No space left"):
            add_vectors(store, settings(file))
    assert table(store) == as_table(vectors())
    assert (
        len(store.versions("vectors/mert").on_disk())
        == len(list((store.out / "_versions/vectors/mert").glob("0*")))
        == 1
    )
    add_vectors(store, settings(file))
    assert table(store) == as_table(vectors(1))


ADD = """
import sys
from musicrec.settings import VectorsSettings
from musicrec.stages.vectors.stage import add_vectors
from musicrec.store.store import Store
store, child = Store(sys.argv[1]), None
print("ready", flush=True)
for line in sys.stdin:  # imports take a second, an import of vectors a few milliseconds
    with store.lock():
        print(add_vectors(store, VectorsSettings(name="mert", file=line.strip())).fresh, flush=True)
"""


@pytest.mark.thorough
def test_kills_at_random_moments_leave_a_whole_table_and_the_next_run_ends_with_the_right_one(store, tmp_path):
    made = {0: vectors(0), 1: vectors(1, n=N - 2)}
    files = {seed: write(tmp_path / f"{seed}.parquet", matrix) for seed, matrix in made.items()}
    chance, ended = random.Random(0), 0
    add_vectors(store, settings(files[0]))
    for lap in range(1, 7):
        run = subprocess.Popen([sys.executable, "-c", ADD, store.out], stdin=-1, stdout=-1, text=True)
        assert run.stdout.readline() == "ready\n"
        run.stdin.write(f"{files[lap % 2]}\n")
        run.stdin.flush()
        time.sleep(chance.uniform(0, 0.12))
        run.send_signal(signal.SIGKILL)
        ended += bool(run.communicate()[0])
        assert table(store) in [as_table(matrix) for matrix in made.values()]
        last = made[lap % 2]
        assert add_vectors(store, settings(files[lap % 2])).ok == len(last)
        assert table(store) == as_table(last)
        assert sum(reason is None for reason in outcomes(store).values()) == len(last)
    assert ended < 6, "no run was killed before its end"
    assert not [p for p in (store.out / "_versions/vectors/mert").iterdir() if p.name.startswith(".")]


# --- commands -----------------------------------------------------------------------------------------------------


def test_the_commands_add_and_list(store, file, command):
    code, said, complaint = command(
        "vectors", "add", store.out, "mert", file, "--model", "mert", "--licence", "CC0-1.0"
    )
    assert (code, complaint) == (0, "")
    assert said.startswith(f"vectors/mert: {N} ok + 0 skipped + 0 failed = {N} ({N} added now); 5 numbers each, space ")
    code, said, _ = command("vectors", "list", store.out)
    assert re.match(r"space +songs +numbers +id +model +licence +file\nmert +12 +5 +\w{16} +mert +CC0-1.0 +/", said)
    code, said, _ = command("vectors", "list", store.out, "--json")
    assert json.loads(said)[0]["file"] == str(file)
    report = json.loads(max((store.out / "_runs").iterdir()).read_bytes())
    assert report["stages"]["vectors/mert"]["ok"] == N
    assert list(report["published"]) == ["outcomes", "vectors/mert"]
    assert command("status", store.out)[1].count("vectors/mert") == 1


def test_a_busy_out_is_told(store, file, command):
    with store.lock():
        assert command("vectors", "add", store.out, "mert", file)[0] == 3
    assert not store.exists("vectors/mert")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("mert", "gone.parquet"), 1, "there is no file"),
        (("a=b", "mert.parquet"), 2, "vectors.name = 'a=b': expected letters"),
    ],
)
def test_what_cannot_be_added_is_told_in_one_line(store, file, command, monkeypatch, arguments, code, told):
    monkeypatch.chdir(file.parent)
    found, said, complaint = command("vectors", "add", store.out, *arguments)
    assert (found, said) == (code, "")
    assert re.fullmatch(rf"musicrec: [^\n]*{re.escape(told)}[^\n]*\n", complaint)


def test_a_space_that_is_not_there_is_told_with_those_that_are(store, file, command):
    add_vectors(store, settings(file))
    told = "has no space 'clap'; expected one of embeddings, features, mert; to add one: musicrec vectors add"
    code, _, complaint = command("similar", store.out, "--space", "clap")
    assert code == 2
    assert told in complaint
    with pytest.raises(ConfigError, match="has no space 'clap'"):
        require_spaces(store, ("mert", "clap"))


# --- S3 -----------------------------------------------------------------------------------------------------------


def test_a_file_and_an_out_in_a_bucket(s3, store, file, command):
    bucket = s3.bucket()
    there = Store(f"s3://{bucket}/out")
    there.create()
    there.settings.record(CatalogSettings(source="/music"))
    publish_tracks(there, names())
    far = to_path(f"s3://{bucket}/vectors/mert.parquet")
    write(far, vectors())
    code, _, complaint = command("vectors", "add", there.out, "mert", far)
    assert (code, complaint) == (0, ""), complaint
    assert table(there) == as_table(vectors())
    assert refresh_vectors(there, "mert").fresh == 0
    write(far, vectors(1))
    assert refresh_vectors(there, "mert").fresh == N
    assert table(there) == as_table(vectors(1))
    far.unlink()
    assert "is gone, its vectors stay" in str(refresh_vectors(there, "mert"))
    code, _, complaint = command("vectors", "add", there.out, "clap", far)
    assert code == 1
    assert f"there is no file {far}" in complaint
    code, _, complaint = command("vectors", "add", there.out, "clap", "s3://no-such-bucket-here/x.parquet")
    assert re.fullmatch(r"musicrec: [^\n]*\n", complaint)
