"""Status: what is published, how old, what of; and the exit code that a watchdog needs."""

import datetime
import json
import os
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from musicrec.schemas import TRACKS
from musicrec.serve import status
from musicrec.serve.comparable_songs import Origin, Vectors
from musicrec.serve.lookup import SIDECAR_COLUMNS
from musicrec.settings import CatalogSettings, EmbedSettings, ExtractSettings, SimilarSettings
from musicrec.similarity import Lists
from musicrec.stages.similar.kept_lists import Compared
from musicrec.stages.similar.publish import publish_lists
from musicrec.store import versions
from musicrec.store.outcomes import Outcome, outcomes_table, save_outcomes

SETTINGS = SimilarSettings(n=3)
N = 12


def publish(store, seed=0):
    """A table of lists that are rings, so that every song stands in three."""
    schema = pa.schema([TRACKS.field(name) for name in SIDECAR_COLUMNS])
    names = pa.Table.from_pylist([{"track_id": f"song-{i:03d}"} for i in range(N)], schema)
    ids = ((np.arange(N)[:, None] + 1 + seed + np.arange(3)) % N).astype(np.int32)
    embeddings = store.footer("embeddings")
    fingerprint = SETTINGS.fingerprint(embeddings["fingerprint"], str(seed))
    compared = Compared(Lists(ids, np.ones((N, 3), np.float32)))
    made_of = embeddings["lineage"] | {"made_of": {"embeddings": embeddings["fingerprint"]}}
    vectors = Vectors(names, np.empty((N, 0), np.float32), {}, Origin(None, "", made_of))
    publish_lists(store, SETTINGS, fingerprint, vectors, compared)


@pytest.fixture
def store(tmp_path, publish_vectors):
    store = publish_vectors(tmp_path / "out", np.eye(N))
    publish(store)
    return store


def at(monkeypatch, **ago):
    """Let what is published now have been published a while ago."""
    time = datetime.datetime.now(datetime.UTC) - datetime.timedelta(**ago)
    monkeypatch.setattr("musicrec.store.store.now", lambda: time.isoformat(timespec="seconds"))
    monkeypatch.setattr(versions, "now", lambda: time.isoformat(timespec="seconds"))


def table(store, name):
    (found,) = [t for t in status.status(store).tables if t.version.name == name]
    return found


# --- fresh or not -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "max_age", "code"),
    [
        ({"hours": 35}, "36h", 0),
        ({"hours": 37}, "36h", 1),
        ({"hours": 47}, "2d", 0),
        ({"hours": 49}, "2d", 1),
        ({"minutes": 89}, "90m", 0),
        ({"minutes": 91}, "90m", 1),
        ({"minutes": 91}, "1.5h", 1),
        ({"days": 400}, None, 0),
        ({"minutes": -5}, "1s", 0),  # a clock that goes wrong
    ],
)
def test_a_table_older_than_asked_is_one_line_and_exit_code_1(store, command, monkeypatch, age, max_age, code):
    at(monkeypatch, **age)
    publish(store, 1)
    found = command("status", store.out, *(["--max-age", max_age] if max_age else []))
    assert found[0] == code
    complaint = r"musicrec: \S+/similar is \S+ \w+ old, older than the \S+ \w+ asked for; run: musicrec refresh \S+\n"
    assert re.fullmatch(complaint if code else "", found[2]), found[2]


@pytest.mark.parametrize("limit", [[], ["--max-age", "36h"]])
def test_a_table_from_the_future_is_an_error_until_a_run_finds_it_up_to_date(store, command, monkeypatch, limit):
    at(monkeypatch, days=-400)
    publish(store, 1)
    code, _, complaint = command("status", store.out, *limit)
    assert code == 1
    assert re.fullmatch(
        r"musicrec: \S+/similar is from 20\S+, which is in the future: the clock [^\n]+ wrong; [^\n]+\n", complaint
    )
    at(monkeypatch, hours=2)
    store.versions("similar").confirm()
    assert command("status", store.out, *limit)[0] == 0
    assert command("status", store.out, "--max-age", "1h")[0] == 1  # the age counts from the time that can be true


def test_a_run_whose_clock_was_wrong_once_makes_a_table_neither_older_nor_younger(store, command, monkeypatch):
    at(monkeypatch, hours=5)
    publish(store, 1)
    for wrong in ({"days": -400}, {"days": 9000}):
        at(monkeypatch, **wrong)
        store.versions("similar").confirm()
        assert command("status", store.out, "--max-age", "6h")[0] == 0
        assert command("status", store.out, "--max-age", "4h")[0] == 1


def test_a_table_that_a_run_has_found_up_to_date_is_fresh(store, command, monkeypatch):
    at(monkeypatch, days=9)
    publish(store, 1)
    assert command("status", store.out, "--max-age", "1d")[0] == 1
    at(monkeypatch, hours=2)
    store.versions("similar").confirm()
    assert command("status", store.out, "--max-age", "1d")[0] == 0
    assert command("status", store.out, "--max-age", "1h")[0] == 1


@pytest.mark.parametrize("said", ["36", "h", "-1h", "1w", "1 day", "", "nan h", "1e9d", "99999999999d"])
def test_what_is_no_length_of_time_is_wrong_usage(store, command, said):
    code, _, complaint = command("status", store.out, f"--max-age={said}")
    assert code == 2
    assert "such as 36h" in complaint


def test_a_missing_table_is_exit_code_1_and_no_out_is_2(store, tmp_path, command):
    (store.out / "similar").unlink()
    code, told, complaint = command("status", store.out)
    assert code == 1
    assert "embeddings" in told
    assert re.fullmatch(r"musicrec: \S+ has no similar yet; [^\n]+\n", complaint)
    assert command("status", tmp_path / "nowhere")[0] == 2


@pytest.mark.parametrize("files", ["part-*.parquet", "neighbours.npy", "songs.arrow"])
@pytest.mark.parametrize("damage", [b"", b"PAR1 and no more", None], ids=["empty", "cut", "gone"])
def test_a_damaged_table_is_exit_code_1_and_the_others_are_told_of(store, command, files, damage):
    (part,) = store.path("similar").rglob(files)
    part.write_bytes(damage) if damage is not None else part.unlink()
    code, told, complaint = command("status", store.out)
    assert code == 1
    assert re.search(r"^embeddings .* 12 ", told, re.MULTILINE)
    assert re.fullmatch(r"musicrec: table \S+/similar [^\n]+\n", complaint), complaint
    assert "None" not in complaint
    assert status.complaint(store, "embeddings", None) is None  # only the damaged table is complained of


def test_a_model_without_a_date_is_of_unknown_age(store):
    with store.new_version("models/mlp", EmbedSettings(), "a" * 16) as version:
        (version.folder / "weights").touch()
        store.publish(version)
    assert status.complaint(store, "models/mlp", datetime.timedelta(hours=1)) == (
        f"{store.out}/models/mlp is of unknown age, older than the 60 min asked for; run: musicrec refresh {store.out}"
    )


# --- what is told -------------------------------------------------------------------------------------------------


def test_a_model_is_told_with_its_date_and_stage(store):
    with store.new_version("models/mlp", EmbedSettings(), "a" * 16) as version:
        (version.folder / "model.json").write_text(json.dumps({"model_id": "a" * 16}))
        store.publish(version)
    os.utime(store.path("models/mlp") / "model.json", (0, 86_400))
    version = table(store, "models/mlp").version
    assert (version.made_by, version.rows, version.damage) == ("train", None, None)
    assert version.created_at == "1970-01-02T00:00:00+00:00"


def test_each_version_says_whether_it_is_published_confirmed_or_withdrawn(store, command):
    publish(store, 1)
    publish(store, 2)
    assert command("rollback", store.out)[0] == 0
    store.versions("similar").confirm()
    first, published, withdrawn = status.versions_of(store, "similar")
    assert [v.is_published for v in (first, published, withdrawn)] == [False, True, False]
    assert [v.withdrawn_at is None for v in (first, published, withdrawn)] == [True, True, False]
    assert [v.confirmed_at is None for v in (first, published, withdrawn)] == [True, False, True]
    assert [v.figures["songs"] for v in (first, published, withdrawn)] == [N] * 3


def test_a_table_without_a_gate_has_no_figures(store):
    assert table(store, "embeddings").version.figures == {}


def test_a_damaged_table_of_another_name_is_told_with_its_damage(store):
    (part,) = (store.out / "embeddings").glob("*.parquet")
    part.write_bytes(b"PAR1 and\nno more")
    damage = table(store, "embeddings").version.damage
    assert re.fullmatch(rf"table {store.out}/embeddings [^\n]+", damage)
    assert "None" not in damage


def test_everything_published_is_told_with_its_size_and_what_made_it(store):
    assert [t.version.name for t in status.status(store).tables] == ["embeddings", "similar", "tracks"]
    version = table(store, "similar").version
    folder = store.path("similar").resolve()
    assert version.version == folder.name
    assert version.rows == pq.read_table(store.out / "similar").num_rows == 3 * N
    assert version.size_bytes == sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    assert version.made_by == f"similar {SETTINGS.code_version}, n=3, cosine, mlp model"
    assert version.figures["songs"] == N
    assert (version.figures["coverage"], version.figures["churn"]) == (1.0, None)


def test_a_table_is_up_to_date_while_what_it_is_made_of_is_published(store, publish_vectors):
    assert table(store, "similar")[1:] == (True, None)
    publish_vectors(store.out, 2 * np.eye(N))
    assert table(store, "similar")[1:] == (False, "not made of the published embeddings")
    publish(store, 1)
    assert table(store, "similar")[1:] == (True, None)
    (store.out / "embeddings").unlink()
    assert table(store, "similar").is_up_to_date is False


def test_embeddings_are_up_to_date_while_their_model_and_its_table_are_published(store):
    def put(name, fingerprint, **lineage):
        with store.new_version(name, EmbedSettings(), fingerprint, **lineage) as version:
            version.write_part(store.read("embeddings"))
            if name.startswith("models/"):
                (version.folder / "model.json").write_text(json.dumps({"model_id": fingerprint}))
            store.publish(version)

    put("models/mlp", "a" * 16)
    put("features", "b" * 16)
    put("embeddings", "c" * 16, made_of={"models/mlp": "a" * 16, "features": "b" * 16})
    assert table(store, "embeddings").is_up_to_date
    put("models/mlp", "d" * 16)
    assert table(store, "embeddings")[1:] == (False, "not made of the published models/mlp")
    put("features", "e" * 16)
    assert table(store, "embeddings")[1:] == (False, "not made of the published models/mlp, features")


def test_tables_of_extract_are_up_to_date_once_every_track_has_an_outcome(store):
    settings = ExtractSettings()
    with store.new_version("features", settings, "f" * 16) as version:
        version.write_part(pa.table({"track_id": ["song-000"]}))
        store.publish(version)
    of_catalog = [Outcome(f"song-{i:03d}", "catalog", "ok") for i in range(N)]
    save_outcomes(store, "catalog", outcomes_table(of_catalog), CatalogSettings(source="/music"), "e" * 16)
    outcomes = [Outcome(f"song-{i:03d}", "extract", "failed" if i % 2 else "ok", "corrupt" if i % 2 else None)
                for i in range(N)]  # fmt: skip
    save_outcomes(store, "extract", outcomes_table(outcomes[:-2]), settings, "f" * 16)
    assert table(store, "features")[1:] == (False, "2 tracks are not decoded yet")
    save_outcomes(store, "extract", outcomes_table(outcomes), settings, "f" * 16)
    assert table(store, "features")[1:] == (True, None)
    assert status.status(store).problems == [
        {"stage": "extract", "status": "failed", "reason": "corrupt", "tracks": N // 2}
    ]


def test_a_rollback_is_told_of(store, command):
    publish(store, 1)
    publish(store, 2)
    withdrawn = store.versions("similar").published
    assert command("rollback", store.out)[0] == 0
    assert re.fullmatch(f"a rollback withdrew {withdrawn} on 20[-0-9]+", table(store, "similar").why_not)
    assert withdrawn in command("status", store.out)[1]


def test_json_says_the_same_for_machines(store, command):
    code, told, complaint = command("status", store.out, "--json", "--max-age", "0s")
    assert code == 1
    content = json.loads(told)
    assert complaint == f"musicrec: {content['complaint']}\n"
    similar = {t["name"]: t for t in content["tables"]}["similar"]
    assert similar["up_to_date"] is True
    assert similar["version"] == store.versions("similar").published
    assert similar["figures"]["coverage"] == 1.0
    created = datetime.datetime.fromisoformat(similar["created_at"])
    assert abs(datetime.datetime.now(datetime.UTC) - created) < datetime.timedelta(minutes=5)


@pytest.mark.parametrize("last", ["stopped", "done", "half", "other"])
def test_a_run_that_was_stopped_is_told_until_another_is_done(store, command, last):
    """Ray ends with 0 for a job that was stopped."""
    stopped = {
        "command": "refresh",
        "ended_at": "2026-11-30T02:00:00+00:00",
        "exit_code": 1,
        "error": "stopped: told to",
    }
    runs = store.out / "_runs"
    runs.mkdir()
    (runs / "20261130T010000.000000Z.json").write_text(json.dumps(stopped))
    text = {"stopped": json.dumps(stopped), "done": json.dumps(stopped | {"exit_code": 0}), "half": "{", "other": "[]"}
    (runs / "20261130T020000.000000Z.json").write_text(text[last])
    code, told, _ = command("status", store.out)
    line = "the last run, refresh, ended at 2026-11-30 02:00 with exit code 1: stopped: told to"
    assert (code, line in told) == (0, last == "stopped")
    _, told, _ = command("status", store.out, "--json")
    assert json.loads(told)["broken_off"] == (stopped if last == "stopped" else None)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "1 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (129_600, "36 h"), (172_800, "2 d")],
)
def test_ages_are_told_in_the_largest_unit_of_which_there_are_two(seconds, words):
    assert status.in_words(datetime.timedelta(seconds=seconds)) == words
