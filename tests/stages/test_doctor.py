"""`musicrec doctor` finds what does not work, says so in one line that ends with what to do, and leaves nothing."""

import json
import os
import re
import shutil
import stat
import sys
from functools import partial
from pathlib import Path

import librosa
import numpy as np
import pytest
import s3fs

from musicrec import audio
from musicrec.audio.encode import FORMATS
from musicrec.cli import main
from musicrec.errors import MusicrecError
from musicrec.files.s3_errors import REMEDIES
from musicrec.similarity import Lists
from musicrec.stages import doctor
from musicrec.stages.doctor import FAILS, OK, Check, bucket, check, checks, codecs, compilation, machine
from musicrec.stages.doctor.check import REPORT
from musicrec.store.store import Store

NAMES = ["Python", *FORMATS, "temporary", "folder", "S3", "processor", "features", "TensorFlow", "Ray"]
AWS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run the command in an empty folder, S3 not being set up; exit code, output, complaint."""
    monkeypatch.chdir(tmp_path)
    for name in ("MUSICREC_DEBUG", *AWS):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments):
        with pytest.raises(SystemExit) as e:
            main(["doctor", *arguments])
        text, complaint = capsys.readouterr()
        assert "Traceback" not in text + complaint
        return e.value.code, text, complaint

    return run


@pytest.fixture
def quick(monkeypatch):
    """Without the checks that take seconds, each in a process of its own."""
    monkeypatch.setattr(doctor, "checks", lambda out=None: [c for c in checks(out) if not c.is_apart])


def lines(text):
    """State and detail by name."""
    found = [re.fullmatch(r"(\w+) +(\w+) +(\S.*)", line) for line in text.splitlines()]
    return {match[2]: (match[1], match[3]) for match in found}


# --- the command --------------------------------------------------------------------------------------------------


@pytest.mark.engine
def test_all_is_well_on_this_machine(run):
    code, text, complaint = run()
    found = lines(text)
    assert list(found) == NAMES
    assert {name: told for name, told in found.items() if told[0] not in ("ok", "absent")} == {}
    assert {name for name, told in found.items() if told[0] == "absent"} == {"S3"}
    assert (code, complaint) == (0, "")


def test_lines_are_aligned_and_fit_a_terminal(run, quick):
    code, text, _ = run()
    assert code == 0
    starts = {re.match(r"\w+ +\w+ +", line).end() for line in text.splitlines()}
    assert len(starts) == 1
    assert max(len(line) for line in text.splitlines() if "folder" not in line) <= 100  # its path may be long


@pytest.mark.thorough
def test_json_says_the_same(run, quick, monkeypatch):
    monkeypatch.setattr(audio, "_decode", broken(".wma"))
    text = run()[1]
    code, content, complaint = run("--json")
    told = json.loads(content)
    assert (code, told["ok"]) == (1, False)
    assert complaint.startswith("musicrec: 1 of ")
    assert {c["name"]: (c["state"], c["detail"]) for c in told["checks"]} == {
        name: (state.lower(), detail) for name, (state, detail) in lines(text).items()
    }


# --- codecs -------------------------------------------------------------------------------------------------------

decode = audio._decode


def broken(suffix):
    """A decoder that calls a library wrongly for one kind of file."""

    def decode_or_raise(path, *how):
        if path.suffix == suffix:
            raise TypeError("open() got an unexpected keyword argument 'metadata_errors'\n at line 3")
        return decode(path, *how)

    return decode_or_raise


def spoilt(spoil):
    """A decoder that gives other samples, and says nothing."""

    def decode_otherwise(*how):
        clip, rate = decode(*how)
        return spoil(clip).astype(np.float32), rate

    return decode_otherwise


def test_a_format_is_tried_for_every_one_that_can_be_written():
    assert [c.name for c in codecs.formats()] == list(FORMATS)


@pytest.mark.thorough
@pytest.mark.parametrize("form", ["wma", "mp3"])
def test_a_decoder_that_raises_for_one_format_is_one_failing_line_until_it_is_mended(run, quick, monkeypatch, form):
    with monkeypatch.context() as patch:
        patch.setattr(audio, "_decode", broken(f".{form}"))
        code, text, complaint = run()
    told = lines(text)
    n = len(told)
    said = "TypeError: open() got an unexpected keyword argument 'metadata_errors' at line 3"
    assert told.pop(form) == ("FAILS", f"{said}; {REPORT}")
    assert {state for state, _ in told.values()} == {"ok", "absent"}
    assert (code, complaint) == (1, f"musicrec: 1 of {n} checks failed: {form}\n")
    code, text, complaint = run()
    assert lines(text)[form][0] == "ok"
    assert (code, complaint) == (0, "")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda x: x / 2, "440 Hz decodes 6.0 dB too soft"),
        (lambda x: x * 2, "440 Hz decodes 6.0 dB too loud"),
        (lambda x: x * 0, "silence"),
        (lambda x: x[: len(x) // 2], r"decodes to 0\.(50|49|48) s"),
        (lambda x: np.repeat(x, 2), r"decodes to (2\.00|1\.95) s"),
        (lambda x: np.interp(np.arange(len(x)) * 1.01 % (len(x) - 1), np.arange(len(x)), x), "440 Hz decodes"),
        (lambda x: x + 0.1 * np.random.default_rng(0).standard_normal(len(x)), "other sound"),
        (lambda x: np.where(np.arange(len(x)) == len(x) // 2, np.nan, x), "not_finite"),
    ],
    ids=[
        "half the level",
        "twice the level",
        "silence",
        "half the length",
        "twice the length",
        "pitch",
        "noise",
        "nan",
    ],
)
@pytest.mark.parametrize("form", ["flac", "wma"])
def test_a_decoder_that_gives_wrong_samples_and_says_nothing_is_found(monkeypatch, form, spoil, said):
    (one,) = (c for c in codecs.formats() if c.name == form)
    assert one.run().state == OK
    monkeypatch.setattr(audio, "_decode", spoilt(spoil))
    name, state, detail = one.run()
    assert (name, state) == (form, FAILS)
    assert re.search(said, detail)
    assert detail.endswith(f"; {REPORT}")


@pytest.mark.parametrize("channel", [0, 1])
def test_a_decoder_that_drops_a_channel_is_found(channel):
    stereo = codecs.tones(codecs.READ_HZ)
    codecs.judge(stereo.mean(axis=1))
    with pytest.raises(MusicrecError, match=r"a tone of 440 Hz decodes .* dB too (loud|soft)"):
        codecs.judge(stereo[:, channel])


def test_a_format_that_cannot_be_written_here_is_not_tried_and_no_fault(run, quick, monkeypatch):
    monkeypatch.setattr("musicrec.audio.encode.can_encode", lambda form: form != "webm")
    code, text, _ = run()
    state, detail = lines(text)["webm"]
    assert (code, state) == (0, "absent")
    assert detail.startswith("not tried: FFmpeg ")


def test_a_package_that_is_not_installed_is_no_fault(run, quick, monkeypatch):
    monkeypatch.setattr(check, "find_spec", lambda name: None if name == "av" else name)
    code, text, _ = run()
    assert code == 0
    assert {name for name, told in lines(text).items() if told == ("absent", "av is not installed")} == {
        *codecs.BY_FFMPEG
    }


def test_a_package_that_is_installed_and_cannot_be_imported_is_one(run, quick, monkeypatch):
    monkeypatch.setitem(sys.modules, "musicrec.audio", None)
    monkeypatch.delattr("musicrec.audio")
    code, text, _ = run()
    assert code == 1
    assert {name for name, told in lines(text).items() if told[0] == "FAILS"} == {*FORMATS}


# --- a check by itself --------------------------------------------------------------------------------------------


def test_an_exception_is_raised_for_a_developer(monkeypatch):
    fault = Check("fault", lambda: 1 / 0)
    assert fault.run() == ("fault", FAILS, f"ZeroDivisionError: division by zero; {REPORT}")
    monkeypatch.setenv("MUSICREC_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        fault.run()


def test_what_ends_the_process_is_a_fault_too(monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'this needs AVX' >&2\nkill -ILL $$\n")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(python))
    found = Check("TensorFlow", lambda: "fine", "install it again", is_apart=True).run()
    assert found == ("TensorFlow", FAILS, "its process ended with SIGILL: this needs AVX; install it again")


def test_what_never_ends_is_a_fault_too(monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(check, "MOST_S", 0.2)
    assert Check("Ray", lambda: "fine", "see its logs", is_apart=True).run() == (
        ("Ray", FAILS, "not finished after 0.2 s; see its logs")
    )


# --- Python and folders -------------------------------------------------------------------------------------------


def test_another_python_than_musicrec_needs(monkeypatch):
    monkeypatch.setattr(machine, "metadata", lambda name: {"Requires-Python": ">=3.11,<3.14"})
    for version, is_right in (("3.10.14", False), ("3.11.0", True), ("3.13.9", True), ("3.14.0rc1", False)):
        monkeypatch.setattr("platform.python_version", lambda version=version: version)
        state = Check("Python", machine.python).run().state
        assert state == (OK if is_right else FAILS)


def folder_found(path):
    return Check("folder", partial(machine.folder, path, "choose another")).run()


@pytest.mark.thorough
def test_nothing_stays_in_a_folder_and_a_missing_one_is_not_made(run, quick, tmp_path):
    assert run("new/OUT")[0] == 0
    assert list(tmp_path.iterdir()) == []
    store = Store(tmp_path / "OUT")
    store.create()
    with store.lock():
        before = sorted(store.out.iterdir())
        assert run("OUT")[0] == 0
        assert sorted(store.out.iterdir()) == before


def test_a_folder_that_cannot_be_written(run, quick):
    if not Path("/proc/self").exists():
        pytest.skip("/proc, where not even root can make a folder, is Linux's")
    code, text, complaint = run("/proc/OUT")
    state, detail = lines(text)["folder"]
    assert (code, state) == (1, "FAILS")
    assert re.fullmatch(r"/proc cannot be written \(.+\); choose another folder", detail)
    assert complaint.endswith("checks failed: folder\n")


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "song").touch()
    assert folder_found(tmp_path / "song") == ("folder", FAILS, f"{tmp_path / 'song'} is a file; choose another")
    assert folder_found(tmp_path / "song" / "OUT").state == FAILS


def test_a_file_system_without_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    assert "cannot hold a symbolic link (Operation not permitted)" in folder_found(tmp_path).detail
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_whose_locks_hold_nobody_off(tmp_path, monkeypatch):
    assert folder_found(tmp_path).state == OK
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    assert "cannot keep a lock" in folder_found(tmp_path).detail


def test_a_disk_that_is_almost_full(tmp_path, monkeypatch):
    full = shutil.disk_usage(tmp_path)._replace(free=42_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    assert "has only 42 MB left; make room, or choose another" in folder_found(tmp_path).detail


# --- S3 -----------------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_a_server_that_does_not_answer(run, quick, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    for arguments, where in (((), ""), (("s3://bucket/out",), "s3://bucket/out: ")):
        code, text, complaint = run(*arguments)
        assert lines(text)["S3"] == ("FAILS", f"{where}{REMEDIES['EndpointConnectionError']}")
        assert code == 1
        assert complaint.endswith(" checks failed: S3\n")


def test_a_bucket_is_listed_written_read_and_left_as_it_was(s3):
    name = s3.bucket()
    (found,) = (c.run() for c in checks(f"s3://{name}/out") if c.name == "S3")
    assert found == ("S3", OK, f"s3://{name}/out can be listed, written, read and deleted")
    assert s3.filesystem().find(name) == []
    assert "folder" not in [c.name for c in checks(f"s3://{name}/out")]


def test_what_a_server_has_against_us_is_told_with_its_remedy(s3, monkeypatch):
    readable, nothing = (f"s3://{name}/out" for name in (s3.bucket(readable=True), f"nothing-{os.getpid()}"))

    def told(out):
        s3fs.S3FileSystem.clear_instance_cache()  # which keeps the key of the call before
        (found,) = (c.run() for c in checks(out) if c.name == "S3")
        assert found.state == FAILS
        return found.detail

    assert told(nothing) == f"{nothing}: {REMEDIES['NoSuchBucket']}"
    s3.become_reader()
    assert told(readable) == f"{readable}: {REMEDIES['AccessDenied']}"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert told(readable) == f"{readable}: {REMEDIES['SignatureDoesNotMatch']}"
    assert told(None) == REMEDIES["SignatureDoesNotMatch"]


def test_without_out_the_key_alone_is_tried(s3):
    s3.bucket()
    assert re.fullmatch(r"the server answers and lists \d+ buckets; to test one, give OUT", bucket.key())


def test_a_key_that_may_not_list_all_buckets_is_no_fault(s3, monkeypatch):
    def refuse(self, method, *_, **__):
        assert method == "list_buckets"
        raise PermissionError("Access Denied")

    monkeypatch.setattr(s3fs.S3FileSystem, "call_s3", refuse)
    assert bucket.key().startswith("the server answers, but this key may not list buckets")


# --- the processor's loops ----------------------------------------------------------------------------------------


def test_every_screen_of_the_processor_is_compared_with_brute_force(monkeypatch):
    def top_n(vectors, n, *, screen):
        tried.append(screen)
        ids, scores = compilation.brute_force(vectors, n)
        if screen == bad:
            ids[7, :2] = ids[7, 1::-1]
        return Lists(ids.astype(np.int32), scores)

    monkeypatch.setattr("musicrec.similarity.top_n", top_n, raising=False)
    monkeypatch.setattr("musicrec.similarity.search.screens.available", lambda: ("vnni", "product"))
    tried, bad = [], ""
    assert compilation.lists().startswith("similar songs are found by AVX-512 VNNI (plain products would also work)")
    assert tried == ["vnni", "product"]
    bad = "product"
    with pytest.raises(MusicrecError, match="1 of 300 lists by plain products differ from brute force"):
        compilation.lists()


def test_brute_force_is_brute_force():
    vectors = np.random.default_rng(1).standard_normal((12, 5)).astype(np.float32)
    ids, scores = compilation.brute_force(vectors, 3)
    for i, row in enumerate(vectors):
        cosines = {j: row @ v / np.linalg.norm(row) / np.linalg.norm(v) for j, v in enumerate(vectors) if j != i}
        assert list(ids[i]) == sorted(cosines, key=cosines.get, reverse=True)[:3]
        np.testing.assert_allclose(scores[i], [cosines[j] for j in ids[i]], rtol=1e-5)


@pytest.mark.thorough
def test_the_features_it_expects_are_librosas():
    y, rate = compilation.noise(), compilation.RATE_HZ
    mfcc = librosa.feature.mfcc(y=y, sr=rate, n_mfcc=20)
    mel = librosa.power_to_db(librosa.feature.melspectrogram(y=y, sr=rate, n_mels=20))
    of_librosa = {
        "chroma_stft_mean": librosa.feature.chroma_stft(y=y, sr=rate).mean(),
        "rms_mean": librosa.feature.rms(y=y).mean(),
        "spectral_centroid_mean": librosa.feature.spectral_centroid(y=y, sr=rate).mean(),
        "spectral_bandwidth_mean": librosa.feature.spectral_bandwidth(y=y, sr=rate).mean(),
        "rolloff_mean": librosa.feature.spectral_rolloff(y=y, sr=rate).mean(),
        "zero_crossing_rate_mean": librosa.feature.zero_crossing_rate(y).mean(),
        "harmony_var": librosa.effects.harmonic(y).var(),
        "perceptr_var": librosa.effects.percussive(y).var(),
        "tempo": librosa.feature.tempo(y=y, sr=rate)[0],
        "mfcc1_mean": mfcc[0].mean(),
        "mfcc20_var": mfcc[19].var(),
        "spectral_contrast_mean": librosa.feature.spectral_contrast(y=y, sr=rate).mean(),
        "spectral_flatness_mean": librosa.feature.spectral_flatness(y=y).mean(),
        "flux_mean": librosa.onset.onset_strength(y=y, sr=rate).mean(),
        "mel_spec1": mel[0].mean(),
    }
    assert {name: pytest.approx(value, rel=1e-4) for name, value in of_librosa.items()} == compilation.LIBROSAS


def test_a_feature_that_is_not_librosas_is_named(monkeypatch):
    found = {**compilation.LIBROSAS, "tempo": 60.0}
    monkeypatch.setattr("musicrec.features.extract", lambda *_: found)
    with pytest.raises(MusicrecError, match=r"tempo of a second of noise is 60; librosa's is 123\.047"):
        compilation.features()
    found["tempo"] = compilation.LIBROSAS["tempo"] * 1.0001
    assert compilation.features().startswith("15 features of a second of noise equal librosa's")
