"""A pretrained model runs on every song once: the vectors of the pure functions, an outcome for each song."""

import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import soundfile as sf

from extracting import new_out, own_source
from musicrec import audio
from musicrec.cluster.watchdog import Watchdog
from musicrec.errors import ConfigError, ModelError, MusicrecError
from musicrec.models.pretrained import library
from musicrec.models.pretrained.session import Pretrained
from musicrec.settings import CatalogSettings, PretrainedSettings, SimilarSettings
from musicrec.stages.catalog.stage import catalog
from musicrec.stages.chain import chain_settings, run, stages
from musicrec.stages.extract.faults import Tally
from musicrec.stages.extract.track_rows import Wanted, outcome_row
from musicrec.stages.pretrained import stage
from musicrec.stages.pretrained.pretrained_rows import output_table, pretrained_row
from musicrec.stages.pretrained.stage import is_of_model, run_pretrained, run_pretrained_again
from musicrec.stages.similar.stage import similar
from musicrec.stages.song_tasks import Job, stage_songs
from musicrec.store.store import Store
from onnx_files import SIZE, card, network, node

TAGS = tuple(f"tag {i}" for i in range(SIZE))
SETTINGS = PretrainedSettings(model="small")


def tagged():
    """A network with a vector and tags."""
    kernel = 0.05 * np.random.default_rng(0).normal(size=(96, SIZE)).astype(np.float32)
    return network(
        node("ReduceMean", ["x", "axis"], "mean", keepdims=0),
        node("MatMul", ["mean", "kernel"], "vector"),
        node("Sigmoid", ["vector"], "tags"),
        outputs=("vector", "tags"),
        kernel=kernel,
    ).SerializeToString()


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setenv("MUSICREC_CACHE", str(tmp_path / "cache"))
    return library.add(tagged(), card(tags_output="tags", tags=TAGS))


@pytest.fixture
def songs(synthetic: Path, tmp_path: Path) -> tuple[Path, list[Path]]:
    return own_source(synthetic, tmp_path)


def published(store: Store):
    """Vectors, tags and outcomes, without the time that a song took."""
    outcomes = store.read("outcomes").to_pandas().query("stage == 'vectors/small'").drop(columns="seconds")
    return store.read("vectors/small").to_pylist(), store.read("tags/small").to_pylist(), outcomes.to_dict("records")


def assert_same(a: Store, b: Store) -> None:
    assert published(a) == published(b)


def test_vectors_and_tags_are_those_of_the_pure_functions_and_songs_can_be_compared(
    ray_session, synthetic, tmp_path, model
):
    store = new_out(tmp_path / "out", synthetic)
    counts = run_pretrained(store, SETTINGS)
    files = [p.relative_to(synthetic).as_posix() for p in synthetic.rglob("*") if p.is_file()]
    outcomes = store.read("outcomes").to_pandas().query("stage == 'vectors/small'").set_index("track_id")
    assert sorted(outcomes.index) == sorted(files)
    assert counts.total == len(files)
    reasons = outcomes[outcomes.status != "ok"].reason
    assert sorted(reasons) == ["empty", "empty", "silent", "too_short", "undecodable", "undecodable"]
    vectors = store.read("vectors/small").to_pandas().set_index("track_id")["embedding"]
    tags = store.read("tags/small").to_pandas().set_index("track_id")
    assert list(vectors.index) == list(tags.index) == sorted(outcomes.index[outcomes.status == "ok"])
    assert list(tags.columns) == list(TAGS)
    alone = Pretrained(*library.read_model("small"))
    for track_id in vectors.index[::9]:
        output = alone.embed(audio.load(str(synthetic / track_id), sample_rate=16_000))
        np.testing.assert_allclose(vectors[track_id], output.vector, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(tags.loc[track_id], output.tags, rtol=1e-5)
    assert is_of_model(store, "small")
    space = store.footer("vectors/small")["lineage"]["space"]
    assert (space["licence"], space["dimension"], space["weights"]) == ("CC0-1.0", SIZE, model.weights)
    assert similar(store, SimilarSettings(space=("small",), n=3, max_hub_share=1.0)).ok == len(vectors)
    assert store.footer("similar")["lineage"]["spaces"]["small"]["id"] == space["id"]
    assert list(stages(store, chain_settings(store)))[-2:] == ["vectors/small", "similar"]  # of every night


def test_a_first_run_makes_the_space_that_songs_are_compared_in_and_finds_duplicates(
    ray_session, songs, tmp_path, model
):
    store = new_out(tmp_path / "out", songs[0])
    spaces = ["small=1", "tags/small=0.25", "features=0.5"]
    own = {"n": 3, "space": spaces, "no_duplicates": True, "max_hub_share": 1.0, "exclude_tag": ["tag 1=0.99"]}
    values = {"train": {"model": "svm"}, "embed": {"model": "svm"}, "similar": own}
    settings = chain_settings(store, values)
    assert list(stages(store, settings))[-3:] == ["vectors/small", "duplicates", "similar"]
    by_tag_only = settings._replace(similar=SimilarSettings(require_tag=("tag 2",)))
    assert list(stages(store, by_tag_only))[-2:] == ["vectors/small", "similar"]
    with pytest.raises(ConfigError, match="has no tag 'tag 9'; there are, by model, small: tag 0, tag 1"):
        stages(store, settings._replace(similar=SimilarSettings(require_tag=("tag 9",))))
    run(store, settings, show=lambda counts: None)
    lineage = store.footer("similar")["lineage"]
    assert [f"{name}={space['weight']:g}" for name, space in lineage["spaces"].items()] == sorted(spaces)
    assert set(lineage["made_of"]) == {"vectors/small", "tags/small", "features", "recordings"}
    assert [rule["rule"] for rule in lineage["tags"]] == ["--exclude-tag small:tag 1=0.99"]
    assert store.footer("vectors/small")["settings"]["duration_s"] == settings.extract.duration_s
    before = store.state()
    run(store, settings, show=lambda counts: None)
    assert store.state() == before


def test_only_what_is_new_is_computed_and_the_tables_are_those_of_a_full_run(ray_session, songs, tmp_path, model):
    source, files = songs
    files[0].rename(tmp_path / "away.wav")
    store = new_out(tmp_path / "out", source)
    run_pretrained(store, SETTINGS)
    before = store.state()
    assert run_pretrained(store, SETTINGS).fresh == 0
    assert store.state() == before
    (tmp_path / "away.wav").rename(files[0])
    shutil.copy(files[0], files[1])
    next(path for path in sorted(source.rglob("*.*")) if path not in files).unlink()
    catalog(store, CatalogSettings(source=str(source)))
    assert run_pretrained_again(store, "small").fresh == 2
    fresh = new_out(tmp_path / "fresh", source)
    run_pretrained(fresh, SETTINGS)
    assert_same(store, fresh)
    assert not list((store.out / "_work").rglob("*.parquet"))


def test_the_tags_of_two_models_stand_side_by_side(ray_session, songs, tmp_path, model):
    library.add(tagged(), card(name="other", tags_output="tags", tags=TAGS))
    store = new_out(tmp_path / "out", songs[0])
    for name in ("small", "other"):
        assert run_pretrained(store, PretrainedSettings(model=name)).fresh > 0
    for name in ("small", "other"):
        assert run_pretrained(store, PretrainedSettings(model=name)).fresh == 0
    assert store.read("tags/small").equals(store.read("tags/other"))


def test_another_model_of_the_same_name_or_another_clip_is_computed_anew(ray_session, songs, tmp_path, model):
    store = new_out(tmp_path / "out", songs[0])
    n_songs = run_pretrained(store, SETTINGS).fresh
    assert run_pretrained(store, PretrainedSettings(model="small", duration_s=1.0)).fresh == n_songs
    first = store.footer("vectors/small")["lineage"]["space"]["id"]
    library.add(tagged(), card(tags_output="tags", tags=TAGS, pooling="max"))
    assert run_pretrained(store, PretrainedSettings(model="small", duration_s=1.0)).fresh == n_songs
    assert store.footer("vectors/small")["lineage"]["space"]["id"] != first


def test_after_a_rollback_vectors_of_two_models_are_not_mixed(ray_session, songs, tmp_path, model):
    source, _ = songs
    store = new_out(tmp_path / "out", source)
    run_pretrained(store, SETTINGS)
    library.add(tagged(), card(tags_output="tags", tags=TAGS, pooling="max"))
    n_songs = run_pretrained(store, SETTINGS).fresh
    store.rollback("vectors/small")
    assert run_pretrained(store, SETTINGS).fresh == n_songs
    fresh = new_out(tmp_path / "fresh", source)
    run_pretrained(fresh, SETTINGS)
    assert_same(store, fresh)


def test_a_run_that_was_stopped_hears_no_song_twice(ray_session, songs, tmp_path, model):
    store = new_out(tmp_path / "out", songs[0])
    with mock.patch.object(stage, "_publish", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        run_pretrained(store, SETTINGS)
    with mock.patch.object(stage, "_run_all", side_effect=AssertionError("computed again")):
        assert run_pretrained(store, SETTINGS).fresh == 0
    fresh = new_out(tmp_path / "fresh", songs[0])
    run_pretrained(fresh, SETTINGS)
    assert_same(store, fresh)


def test_a_machine_that_computes_other_golden_vectors_stops_the_run(ray_session, songs, tmp_path, model):
    store = new_out(tmp_path / "out", songs[0])
    golden = [one.model_copy(update={"vector": tuple(-x for x in one.vector)}) for one in model.golden]
    other = model.model_copy(update={"golden": tuple(golden)})
    with (
        mock.patch.object(stage, "read_model", return_value=(tagged(), other)),
        pytest.raises(ModelError, match=r"model small: on \S+, golden vector tone differs by 2 of its length, at most"),
    ):
        run_pretrained(store, SETTINGS)
    assert not store.exists("vectors/small")
    assert run_pretrained(store, SETTINGS).ok


def test_a_night_without_the_model_leaves_its_vectors_and_says_so(ray_session, songs, tmp_path, model):
    source, files = songs
    files[0].rename(tmp_path / "away.wav")
    store = new_out(tmp_path / "out", source)
    run_pretrained(store, SETTINGS)
    similar(store, SimilarSettings(space=("small",), n=2, max_hub_share=1.0))
    vectors = store.read("vectors/small")
    library.remove("small")
    (tmp_path / "away.wav").rename(files[0])
    catalog(store, CatalogSettings(source=str(source)))
    night = stages(store, chain_settings(store))
    line = str(night["vectors/small"]())
    assert line.startswith(
        f"vectors/small: {len(vectors)} ok + 1 skipped + 0 failed = {len(vectors) + 1} (none added now)"
    )
    assert line.endswith(
        "; the model small is not on this machine, so its vectors stay as they were, and new or changed songs wait for "
        "it: 1; to add it again: musicrec models add small"
    )
    assert "\n" not in line
    night["similar"]()
    assert store.read("vectors/small").equals(vectors)
    outcomes = store.read("outcomes").to_pandas().query("stage == 'vectors/small' and status == 'skipped'")
    assert outcomes.reason.tolist() == ["no_vector"]
    assert str(night["vectors/small"]()) == line
    library.add(tagged(), card(tags_output="tags", tags=TAGS))
    assert run_pretrained_again(store, "small").fresh == 1
    fresh = new_out(tmp_path / "fresh", source)
    run_pretrained(fresh, SETTINGS)
    assert_same(store, fresh)


@pytest.mark.thorough
def test_a_model_that_is_not_there_changes_nothing(songs, tmp_path, monkeypatch):
    monkeypatch.setenv("MUSICREC_CACHE", str(tmp_path / "cache"))
    store = new_out(tmp_path / "out", songs[0])
    with pytest.raises(ConfigError, match=r"there is no model small in .*; add it: musicrec models add FILE.onnx"):
        run_pretrained(store, SETTINGS)
    assert store.published() == ["outcomes", "tracks"]


def test_a_catalog_of_which_no_song_can_be_read_says_so_and_keeps_the_reasons(ray_session, tmp_path, model):
    (tmp_path / "songs").mkdir()
    (tmp_path / "songs/a.wav").write_bytes(b"no audio")
    store = new_out(tmp_path / "out", tmp_path / "songs")
    with pytest.raises(MusicrecError, match="vectors/small: none of 1 tracks came through"):
        run_pretrained(store, SETTINGS)
    outcomes = store.read("outcomes").to_pandas().query("stage == 'vectors/small'")
    assert outcomes.reason.tolist() == ["undecodable"]


def test_whole_songs_are_read_to_their_end(ray_session, songs, tmp_path, model):
    store = new_out(tmp_path / "out", songs[0])
    run_pretrained(store, PretrainedSettings(model="small", duration_s=1.0))
    short = store.read("vectors/small").to_pydict()
    run_pretrained(store, PretrainedSettings(model="small", duration_s=0.0))
    whole = store.read("vectors/small").to_pydict()
    assert whole["track_id"] == short["track_id"]
    assert not np.allclose(whole["embedding"], short["embedding"], rtol=1e-3)
    y = audio.load(str(songs[0] / whole["track_id"][0]), sample_rate=16_000)  # 3 s long
    expected = Pretrained(*library.read_model("small")).embed(y).vector
    np.testing.assert_allclose(whole["embedding"][0], expected, rtol=1e-5, atol=1e-6)


def test_with_gpu_every_task_asks_for_one_and_the_model_runs_there(ray_session, songs, tmp_path, model):
    store = new_out(tmp_path / "out", songs[0])
    with pytest.raises(ConfigError, match="--gpu: no node of the Ray cluster has a GPU; leave the option out"):
        run_pretrained(store, SETTINGS, gpu=True)
    with (
        mock.patch.object(stage, "task_options", side_effect=lambda memory, *, gpu: {"num_gpus": 0}) as options,
        pytest.raises(
            ModelError, match=r"model small cannot run on a GPU: onnxruntime \S+ on \S+ has no CUDA; install"
        ),
    ):
        run_pretrained(store, SETTINGS, gpu=True)
    assert [call.kwargs for call in options.call_args_list] == [{"gpu": True}]
    assert not store.exists("vectors/small")


# --- one song ---------------------------------------------------------------------------------------------------------


def no_clock():
    """A file that is over long before its time limit."""


def test_the_clock_of_a_long_song_starts_anew_after_each_ten_minutes(tmp_path, model):
    """Whatever the catalog takes its length for: the header may be wrong."""
    minutes, beats = 31, []
    with sf.SoundFile(tmp_path / "long.wav", "w", 8_000, 1) as file:
        for i in range(minutes):
            file.write(0.1 * np.sin(np.arange(60 * 8_000) * (i + 1) / 50))
    track, settings = Wanted("a", str(tmp_path / "long.wav"), "f"), PretrainedSettings(model="small", duration_s=0)
    network = Pretrained(*library.read_model("small"))
    row = pretrained_row(track, settings, "vectors/small", network, lambda: beats.append(1))
    assert (row["status"], len(beats)) == ("ok", 3)
    clip = settings.model_copy(update={"duration_s": 600.0})
    assert pretrained_row(track, clip, "vectors/small", network, lambda: beats.append(1))["status"] == "ok"
    assert len(beats) == 4


def test_the_watchdog_of_a_shard_hears_of_it(tmp_path):
    """It would end the worker of a song that never begins anew."""
    store, job = Store(tmp_path / "out"), Job("vectors/small", "vectors/small/x", [output_table(1)])
    store.create()

    def make_row(track, restart_clock):
        restart_clock()
        values = {"embedding": np.ones(1, np.float32), "tags": np.zeros(0, np.float32)}
        return outcome_row(track, job.stage, "ok") | {"seconds": 0.1, **values}

    with mock.patch.object(Watchdog, "begin", autospec=True) as begin:
        shard = [Wanted(name, f"{name}.wav", "f") for name in ("a", "b")]
        stage_songs(store, job, shard, make_row, seconds_per_file=1, run="x", verdict=Tally().verdict)
    assert [call.args[1] for call in begin.call_args_list] == ["0", "0", "1", "1"]


def test_a_silent_or_a_very_short_song_has_no_vector_also_if_it_is_read_whole(tmp_path, model):
    sf.write(tmp_path / "silent.wav", np.zeros(80_000), 8_000)
    sf.write(tmp_path / "short.wav", np.ones(700), 8_000)
    network, settings = Pretrained(*library.read_model("small")), PretrainedSettings(model="small", duration_s=0)
    for reason in ("silent", "too_short"):
        track = Wanted("a", str(tmp_path / f"{reason.removeprefix('too_')}.wav"), "f")
        row = pretrained_row(track, settings, "vectors/small", network, no_clock)
        assert (row["status"], row["reason"]) == ("skipped", reason)


@pytest.mark.parametrize(
    ("last", "short", "status", "reason"),
    [
        (node("Sqrt", ["dense"], "vector"), "repeat", "failed", "not_finite"),
        (node("Mul", ["dense", "nothing"], "vector"), "repeat", "failed", "zero_vector"),
        (node("Relu", ["dense"], "vector"), "refuse", "skipped", "too_short"),
        (node("Relu", ["dense"], "vector"), "repeat", "ok", None),
    ],
)
def test_a_vector_that_cannot_be_compared_is_an_outcome(songs, last, short, status, reason):
    net = network(
        node("ReduceMean", ["x", "axis"], "mean", keepdims=0),
        node("MatMul", ["mean", "kernel"], "dense"),
        last,
        nothing=np.float32(0),
    )
    says = card(short=short, golden=[{"signal": "tone", "vector": [1.0] * SIZE}])
    settings = PretrainedSettings(model="small", duration_s=0.5)
    track = Wanted("a", str(songs[1][0]), "f")
    row = pretrained_row(track, settings, "vectors/small", Pretrained(net.SerializeToString(), says), no_clock)
    assert (row["stage"], row["status"], row["reason"]) == ("vectors/small", status, reason)


def test_a_vector_of_another_length_is_an_outcome(songs):
    says = card(golden=[{"signal": "tone", "vector": [1.0] * 7}])
    row = pretrained_row(
        Wanted("a", str(songs[1][0]), "f"), SETTINGS, "vectors/small",
        Pretrained(network().SerializeToString(), says), no_clock,
    )  # fmt: skip
    assert (row["status"], row["reason"], row["detail"]) == (
        "failed", "wrong_length", "the model gave 6 numbers, and 7 for others",
    )  # fmt: skip
