"""What a benchmark leaves behind, and checks of benchmarks that see what is wrong."""

import json
import math
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.extract import extract, memory, second_decoder
from benchmarks.serve import lookup
from benchmarks.serve.lookup_peers import sqlite_ids
from benchmarks.shared import common, results
from benchmarks.shared.real_vectors import grown, shape
from benchmarks.similar import one_kind, panel, reference, refresh
from musicrec.similarity import top_n


@pytest.mark.parametrize(("kept_as", "file"), [("", "room.name.json"), ("million", "room.name.million.json")])
def test_what_a_benchmark_prints_is_kept_with_its_machine(tmp_path, monkeypatch, capsys, kept_as, file):
    saved = []
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    monkeypatch.setattr(results.atexit, "register", saved.append)
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=SimpleNamespace(name="benchmarks.room.name")))
    monkeypatch.setattr(sys, "argv", ["name.py", "--n", "5", "--out", "/home/somebody/out"])
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # which `record` replaces
    monkeypatch.setattr(results, "_recorder", None)
    results.record({"processor": "a chip", "versions": {"numpy": "2"}}, kept_as)
    results.add_table(("what", "×"), [("fast", 2.5)])
    print("2.5 × faster: reached")
    (save,) = saved
    save()
    kept = json.loads((tmp_path / "results" / file).read_text())
    assert kept.pop("date")[:2] == "20"
    assert kept == {
        "benchmark": "benchmarks.room.name",
        "arguments": ["--n", "5", "--out", "out"],
        "processor": "a chip",
        "versions": {"numpy": "2"},
        "tables": [{"head": ["what", "×"], "rows": [["fast", 2.5]]}],
        "output": ["2.5 × faster: reached"],
    }
    assert "2.5 × faster: reached\n" in capsys.readouterr().out


def test_a_module_that_is_no_benchmark_keeps_nothing(monkeypatch):
    monkeypatch.setattr(results, "_recorder", None)
    results.record({"processor": "a chip"})
    assert results._recorder is None


THEIRS = {"rms_mean": 0.2, "rms_var": 0.01, "tempo": 120.0}


@pytest.mark.parametrize(
    ("mine", "far"),
    [
        (THEIRS, 0.0),
        (THEIRS | {"rms_mean": 0.2 + 2e-5}, 2.0),  # of a standard deviation of 0.1
        (THEIRS | {"rms_mean": math.nan}, math.inf),
        (THEIRS | {"rms_var": math.nan}, math.inf),
        ({"rms_var": 0.01, "tempo": 120.0}, math.inf),
        (THEIRS | {"flatness_mean": 0.5}, math.inf),
    ],
)
def test_a_column_that_is_missing_or_no_number_is_not_within_tolerance(mine, far):
    assert extract.farthest(mine, THEIRS)[1] == pytest.approx(far)


def test_forty_missing_columns_are_not_within_tolerance():
    theirs = {f"mfcc{i}_{what}": 1.0 for i in range(29) for what in ("mean", "var")}
    mine = dict(list(theirs.items())[:18])
    assert extract.farthest(mine, theirs)[1] == math.inf


def test_a_spectrogram_of_another_shape_or_with_a_value_that_is_no_number_is_infinitely_far():
    mel = np.zeros((2, 3))
    assert extract.largest_difference(mel + 0.5, mel) == 0.5
    assert extract.largest_difference(mel[:, :2], mel) == math.inf
    mel_with_a_gap = mel.copy()
    mel_with_a_gap[1, 1] = math.nan
    assert extract.largest_difference(mel_with_a_gap, mel) == math.inf


@pytest.mark.parametrize("name", common.FOREIGN_KERNEL)
def test_no_ratio_is_printed_to_a_product_by_another_processors_kernel(monkeypatch, name):
    monkeypatch.setenv(name, "Haswell")
    with pytest.raises(SystemExit, match=f"{name}=Haswell slows NumPy's product"):
        common.print_machine()


@pytest.mark.parametrize(
    ("kernel", "flags", "foreign"),
    [
        ("SkylakeX", {"avx2", "avx512f"}, False),
        ("SapphireRapids", {"avx2", "avx512f"}, False),
        ("Haswell", {"avx2", "avx512f"}, True),
        ("Haswell", {"avx2"}, False),
        ("Zen", {"avx2"}, False),
        ("Nehalem", {"avx2"}, True),
        ("neoversen1", set(), False),
    ],
)
def test_a_kernel_for_older_processors_prints_no_ratio_whatever_chose_it(monkeypatch, kernel, flags, foreign):
    for name in common.FOREIGN_KERNEL:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(common, "kernels", lambda: [kernel])
    monkeypatch.setattr(common, "cpu_flags", lambda: flags)
    monkeypatch.setattr(common, "record", lambda machine, kept_as: None)
    with pytest.raises(SystemExit, match=f"NumPy multiplies by {kernel}") if foreign else nullcontext():
        common.print_machine()


def test_the_kernel_and_what_sets_threads_are_printed(monkeypatch, capsys):
    for name in common.FOREIGN_KERNEL:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(common, "record", lambda machine, kept_as: None)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    common.print_machine()
    printed = capsys.readouterr().out
    assert f", {common.kernels()[0]}, " in printed
    assert "OPENBLAS_NUM_THREADS=1" in printed


def test_a_benchmark_starts_again_with_one_thread_and_its_own_kernel(monkeypatch):
    started = []
    monkeypatch.setattr(common.os, "execve", lambda *how: started.append(how[-1]))
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    common.one_thread()
    (environment,) = started
    assert "OPENBLAS_CORETYPE" not in environment
    assert {environment[name] for name in common.THREAD_VARIABLES} == {"1"}


@pytest.mark.parametrize(
    ("of_broken", "growth", "lines"),
    [
        (1, 1.0, ["every track decoded: reached", "bar ≤ 1.1 reached"]),
        (0, 1.0, ["every track decoded: NOT reached; a long file: 0 of 1 tracks", "bar ≤ 1.1 NOT reached"]),
        (1, 1.2, ["every track decoded: reached", "bar ≤ 1.1 NOT reached"]),
    ],
)
def test_a_song_that_failed_to_decode_reaches_no_bar_of_memory(of_broken, growth, lines):
    found = {"100 tracks": memory.Peaks(200, 90, 100, 100), "a long file": memory.Peaks(200 * growth, 90, 1, of_broken)}
    said, ok = memory.judge(found, [100, 1])
    assert [line.endswith(end) for line, end in zip(said, lines, strict=True)] == [True, True], said
    assert ok is (of_broken == 1 and growth == 1)


def test_a_night_changes_what_its_description_says():
    rng = np.random.default_rng(0)
    vectors, fresh = (rng.normal(size=(n, 4)).astype(np.float32) for n in (10_000, 100))
    tonight, before = refresh.next_night(vectors, fresh, rng)
    is_new = before < 0
    changed = (tonight[~is_new] != vectors[before[~is_new]]).any(axis=1)
    gone = len(vectors) - len(np.unique(before[~is_new]))
    assert (is_new.sum(), gone) == (25, 25)
    assert 48 <= changed.sum() <= 50  # of the fifty, a song or two may have gone at once


@pytest.mark.parametrize(
    ("same", "ended"),
    [
        ((True, None, True), ["reached; 2 of 3 nights compared", "reached"]),
        ((True, False, True), ["NOT reached; night 2 differ", "NOT reached"]),
        ((None, None, None), ["NOT reached; 0 of 3 nights compared", "NOT reached"]),
    ],
)
def test_a_night_with_wrong_lists_reaches_no_bar(same, ended):
    nights = [refresh.Night(f"night {i}", 10, 20, 0.1, one) for i, one in enumerate(same, start=1)]
    said, ok = refresh.judge(nights, 10.0, 0.04)
    assert [line.split(": ")[1] for line in said] == ended
    assert ok is (ended[1] == "reached")
    assert not refresh.judge(nights, 1.0, 0.04)[1]  # a tenth of a full run


SONGS = [["a", "b"], ["A", "B"], ["x", "y"], ["rock", "pop"]]
WRITTEN = lookup.Written(SONGS, (np.array([[1, 0], [0, 1]], np.int32), np.array([[0.5, 0.25]] * 2, np.float32)))


@pytest.mark.parametrize(
    ("question", "right", "wrong"),
    [
        ("ids", (("b", "a"), (0.5, 0.25)), (("b", "a"), (0.5, 0.2))),
        ("ids", (["b", "a"], [0.5, 0.25]), (["a", "b"], [0.5, 0.25])),
        ("ids", (["b", "a"], [0.5, 0.25]), ([1, 0], [0.5, 0.25])),
        ("ids", (["b", "a"], [0.5, 0.25]), (["b", "a"], [np.float32(0.5), 0.25])),
        ("ids", (["b", "a"], [0.5, 0.25]), (["b"], [0.5])),
        ("rows", (np.array([1, 0]), np.array([0.5, 0.25])), (["b", "a"], [0.5, 0.25])),
        (
            "names",
            [("b", "B", "y", "pop", 0.5), ("a", "A", "x", "rock", 0.25)],
            [("b", "B", "y", "pop", 0.5), ("a", "B", "x", "rock", 0.25)],
        ),
    ],
)
def test_a_wrong_answer_of_a_peer_is_seen(question, right, wrong):
    peer = lookup.Peer("a peer", question, sqlite_ids, 1)
    took = lookup.ask_for(peer, {"a": right}.get, [0], WRITTEN)
    assert len(took) == 1
    with pytest.raises(AssertionError, match=r"a peer answers .*, not .*, of song 0"):
        lookup.ask_for(peer, {"a": wrong}.get, [0], WRITTEN)


@pytest.mark.parametrize("place", [0, 20, 40])
def test_each_timed_answer_is_compared(place):
    peer, answers = lookup.Peer("a peer", "ids", sqlite_ids, 1), [(["b", "a"], [0.5, 0.25])] * 41
    answers[place] = (["b", "b"], [0.5, 0.25])
    with pytest.raises(AssertionError):
        lookup.ask_for(peer, lambda _: answers.pop(0), [0] * 41, WRITTEN)


@pytest.mark.parametrize("column", range(7))
def test_a_wrong_value_in_the_lists_of_many_songs_is_seen(column):
    right = {
        "track_id": ["a", "a", "b", "b"],
        "rank": [1, 2, 1, 2],
        "similar_track_id": ["b", "a", "a", "b"],
        "score": [0.5, 0.25] * 2,
        "title": ["B", "A", "A", "B"],
        "artist": ["y", "x", "x", "y"],
        "genre": ["pop", "rock", "rock", "pop"],
    }
    rows = np.array([0, 1])
    assert lookup.equal(pa.table(right), rows, WRITTEN)
    name = list(right)[column]
    right[name][3] = right[name][0] if right[name][3] != right[name][0] else right[name][1]
    assert not lookup.equal(pa.table(right), rows, WRITTEN)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda y: y, ""),
        (lambda y: np.pad(y, (20, 0))[: len(y)], ""),
        (lambda y: np.pad(y, (40, 0))[: len(y)], "lag"),
        (lambda y: y[40:], "length, lag"),
        (lambda y: 1.02 * y, "level"),
        (lambda y: y[:-40], "length"),
        (lambda y: y + np.random.default_rng(1).normal(size=len(y)) * 0.5, "level, shape"),
        (np.zeros_like, "level, shape"),
    ],
)
def test_what_a_second_decoder_gives_otherwise_is_seen(change, fault):
    y = np.random.default_rng(0).normal(size=20_000)
    assert second_decoder.compare(change(y), y, 22_050).faults == fault


def test_grown_vectors_are_spread_as_those_that_they_grew_from():
    """The source: three clusters in four of twelve dimensions."""
    rng = np.random.default_rng(0)
    real = np.zeros((300, 12), np.float32)
    real[:, :4] = 4 * rng.normal(size=(3, 4))[np.arange(300) % 3] + rng.normal(size=(300, 4))
    many = grown(real, 3000)
    assert np.allclose(np.linalg.norm(many, axis=1), 1, atol=1e-5)
    assert (many == grown(real, 3000)).all()
    mine, theirs = shape(many, 300), shape(real, 300)
    assert mine.dimensions == pytest.approx(theirs.dimensions, rel=0.2)
    assert mine.nearness < 2 * theirs.nearness
    apart = shape(rng.normal(size=(300, 12)).astype(np.float32), 300)
    assert apart.dimensions > 2 * theirs.dimensions
    assert apart.nearness > 2 * mine.nearness


@pytest.mark.parametrize("metric", ["cosine", "inner", "euclidean"])
def test_brute_force_is_what_lists_are_by_their_definition(metric):
    vectors = panel.heavy_tails(400)
    found = top_n(vectors, 7, metric)
    assert reference.differing(found, reference.brute_force(vectors, np.arange(400), 7, metric)) == 0
    wrong = reference.brute_force(vectors[::-1], np.arange(400), 7, metric)
    assert reference.differing(found, wrong) > 390


def test_a_night_of_the_panel_has_the_songs_that_it_tells_of():
    vectors = np.arange(2000, dtype=np.float32).reshape(1000, 2)
    fresh = -1 - np.arange(16, dtype=np.float32).reshape(8, 2)
    after, before = one_kind.night_of(vectors, fresh, np.random.default_rng(0))
    known = before >= 0
    assert (len(after), (~known).sum()) == (1004, 6)
    assert (after[known] != vectors[before[known]]).any(axis=1).sum() == 2
    assert (np.diff(before[known]) > 0).all()


@pytest.mark.parametrize(
    ("figures", "ok"),
    [
        ((0.1, [0.02, 0.03, 0.07], 0, 0), True),
        ((0.1, [0.02, 0.03, 0.07], 1, 0), False),
        ((0.1, [0.02, 0.03, 0.07], 0, 1), False),
        ((0.3, [0.02, 0.03, 0.07], 0, 0), False),
        ((0.1, [0.02, 0.03, 0.09], 0, 0), False),
    ],
)
def test_one_kind_that_misses_a_bar_fails_the_panel_and_is_named(capsys, figures, ok):
    product, nights, *faults = figures
    good = one_kind.Measured(0.01, 1.0, [0.001, 0.001, 0.001], 0, 0)
    assert panel.judge({"good": good, "odd": one_kind.Measured(product, 1.0, nights, *faults)}) == ok
    assert "odd" in capsys.readouterr().out
