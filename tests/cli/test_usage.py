"""The command line: help with examples, exit codes, and complaints that say what, where and what to do."""

import io
import os
import re
import shlex
import subprocess
import sys
from types import SimpleNamespace

import click
import pytest

from musicrec.cli import cli, main
from musicrec.monitor import progress
from musicrec.monitor.progress import Progress
from musicrec.settings import CatalogSettings, SimilarSettings
from musicrec.store.store import Store

STAGES = {  # and their modules, in musicrec.stages
    "extract": "extract.stage",
    "tune": "train.tune",
    "train": "train.stage",
    "embed": "embed",
    "duplicates": "duplicates.stage",
    "similar": "similar.stage",
}


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run the command line in an empty folder; exit code, output, complaint."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MUSICREC_DEBUG", raising=False)

    def run(*arguments):
        with pytest.raises(SystemExit) as e:
            main([str(a) for a in arguments])
        text, complaint = capsys.readouterr()
        assert "Traceback" not in text + complaint
        return e.value.code, text, complaint

    return run


@pytest.fixture
def songs(tmp_path):
    """A source with two files, enough for a catalog."""
    for name in ("rock/a.wav", "jazz/b.mp3"):
        path = tmp_path / "songs" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"not really audio")
    return tmp_path / "songs"


@pytest.fixture
def out(tmp_path, songs):
    store = Store(tmp_path / "OUT")
    store.create()
    store.settings.record(CatalogSettings(source=str(songs)))
    return store.out


@pytest.fixture(autouse=True)
def stages(monkeypatch):
    """Stages that only note the settings they are called with; Ray stays out."""
    called = []

    def stage(store, settings, **how):
        called.append((settings, how))
        return f"{settings.stage}: done"

    plan = SimpleNamespace(plan=lambda *_, **how: f"a plan: {how}")
    monkeypatch.setitem(sys.modules, "musicrec.stages.extract.plan", plan)
    for name, place in STAGES.items():
        module = SimpleNamespace(**{name: stage}, published_card=None)
        monkeypatch.setitem(sys.modules, f"musicrec.stages.{place}", module)
    return called


def assert_one_line(complaint, *said):
    assert re.fullmatch(r"musicrec: [^\n]+\n", complaint)
    assert [text for text in said if text not in complaint] == [], complaint


# --- help ---------------------------------------------------------------------------------------------------------


def paths(commands=cli.commands, before=""):
    """Names of all commands, those of a group after the group's name."""
    for name, command in commands.items():
        yield before + name
        if isinstance(command, click.Group):
            yield from paths(command.commands, f"{before}{name} ")


def parse(words, commands=cli.commands):
    """Parse a command; raise if an option or a value is unknown."""
    command = commands[words[0]]
    command.make_context(words[0], words[1:])
    is_alone = all(word.startswith("-") for word in words[1:])  # of a group that runs without a command
    if isinstance(command, click.Group) and not (command.invoke_without_command and is_alone):
        parse(words[1:], command.commands)


@pytest.mark.parametrize("command", ["", *paths()])
def test_every_command_has_help_with_examples_that_are_valid(run, command):
    code, text, complaint = run(*command.split(), "--help")
    assert (code, complaint) == (0, "")
    assert text.startswith(f"Usage: musicrec {command}".rstrip())
    examples = re.findall(r"^    musicrec (.+)$", text[text.index("Examples:") :], re.MULTILINE)
    assert examples
    for example in examples:
        assert f"{example} ".startswith(f"{command} ".lstrip())
        parse(shlex.split(example))


def test_every_option_is_described():
    groups = [command for command in cli.commands.values() if isinstance(command, click.Group)]
    for command in [*cli.commands.values(), *(command for group in groups for command in group.commands.values())]:
        for option in command.params:
            assert isinstance(option, click.Argument) or option.help


@pytest.mark.parametrize("path", paths())
def test_no_option_between_bounds_takes_what_is_no_number(path):
    """It is below no bound and above none, so click alone would let it in."""
    command, *member = path.split()
    found = cli.commands[command]
    for name in member:
        found = found.commands[name]
    for option in found.params:
        if isinstance(option.type, click.FloatRange):
            for value in ("nan", "-nan"):
                with pytest.raises(click.BadParameter, match="nan is no number; expected"):
                    option.type.convert(value, option, None)


def test_help_says_what_is_not_asked_for_by_default(run):
    shown = " ".join(run("similar", "--help")[1].split())
    assert "--no-same-artist / --same-artist Leave out songs by the song's own artist. [default: same-artist]" in shown
    assert "lists may then be shorter. [default: none]" in shown
    assert "[default: the model's own]" in " ".join(run("train", "--help")[1].split())


def test_help_keeps_settings_apart_by_stage_and_from_what_changes_no_result(run):
    text = run("run", "--help")[1]
    at = [
        text.index(f"\n{section}:\n")
        for section in ("Where the songs are", "Which genre model is trained, and how", "Options")
    ]
    assert at == sorted(at)
    sections = [
        sum(start < text.index(f"  {option} ") for start in at) for option in ("--source", "--epochs", "--limit")
    ]
    assert sections == [1, 2, 3]
    assert re.search(r"--images / --no-images .*?\[default:\s+no-images\]", text, re.DOTALL)


def test_commands_are_listed_in_the_order_of_the_chain(run):
    _, commands = run("--help")[1].split("Commands:")
    listed = re.findall(
        r"^  ([\w-]+)  .*[^.]\.$", commands, re.MULTILINE
    )  # with its whole sentence: none ends in "..."
    chain = [
        "run",
        "refresh",
        "catalog",
        "extract",
        "models",
        "tune",
        "train",
        "evaluate",
        "embed",
        "vectors",
        "duplicates",
        "similar",
        "map",
    ]
    reading = [
        "lookup",
        "export",
        "histories",
        "recommend",
        "listen",
        "listening-test",
        "playlist",
        "explore",
        "serve",
        "status",
        "diff",
        "rollback",
        "report",
    ]
    assert listed == [*chain, *reading, "demo", "doctor"]


def test_the_version_is_shown(run):
    assert re.fullmatch(r"musicrec, version \d+\.\d+\.\d+\n", run("--version")[1])


# --- exit codes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("frobnicate", "No such command 'frobnicate'"),
        ("catalog", "Missing argument 'OUT'"),
        ("catalog NEW", "Missing option '--source'"),
        ("run NEW", "Missing option '--source'"),
        ("run NEW songs", "unexpected extra argument (songs); the songs are given by --source: musicrec run OUT"),
        ("refresh NEW songs", "the songs are given by --source: musicrec refresh OUT --source FOLDER"),
        (
            "recommend OUT one two",
            "arguments (one two); the songs are given by --like: musicrec recommend OUT --like SONG",
        ),
        ("catalog NEW --source songs --kind vinyl", "'vinyl' is not one of 'auto', 'folder', 'gtzan'"),
        ("lookup OUT", "Missing argument 'TRACK...', or option '--file'"),
        ("lookup OUT x -n 0", "0 is not in the range x>=1"),
        ("lookup OUT x --jsn", "No such option '--jsn'"),
        ("similar OUT -n many", "'many' is not a valid integer"),
        ("similar OUT --metric manhattan", "'manhattan' is not one of 'cosine', 'euclidean'"),
        ("train OUT --model lstm", "Invalid value for '--model': 'lstm'"),
        ("train OUT --output tanh", "'tanh' is not one of 'sigmoid', 'softmax'"),
        ("train OUT --workers 0", "0 is not in the range x>=1"),
        ("train OUT --epochs 2.5", "'2.5' is not a valid integer"),
        ("embed OUT --model lstm", "Invalid value for '--model': 'lstm'"),
        ("extract OUT --max-failed-fraction 2", "2.0 is not in the range 0<=x<=1"),
        ("extract OUT --limit 0", "0 is not in the range x>=1"),
        ("extract OUT --seconds-per-file 0", "0.0 is not in the range x>0"),
        ("run OUT --source songs --limit none", "'none' is not a valid integer"),
        ("extract OUT --feature-sets mfcc", "'mfcc' is not one of 'iiitd41'"),
        ("demo --songs 1", "1 is not in the range x>=2"),
    ],
)
def test_wrong_usage_is_exit_code_2_with_the_option_and_what_was_expected(run, stages, arguments, said):
    code, text, complaint = run(*arguments.split())
    assert (code, text) == (2, "")
    usage, *_, error = complaint.splitlines()
    assert usage.startswith("Usage: musicrec")
    assert error.startswith("Error: ")
    assert said in error
    assert not stages


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("similar OUT -n 0", ["similar.n = 0", "greater than or equal to 1"]),
        ("train OUT --test-fraction 0.7", ["train.test_fraction = 0.7", "less than 0.6"]),
        ("extract OUT --duration-s nan", ["extract.duration_s = nan"]),
        ("extract OUT --segment-s 0.01", ["extract.segment_s = 0.01", "expected 0, or 0.1 s to the 30 s of the clip"]),
        ("extract OUT --segment-s nan", ["extract.segment_s = nan"]),
        ("extract OUT --settings my.toml", ["my.toml", "give the path of a TOML file"]),
        ("extract OUT --settings songs/rock/a.wav", ["a.wav", "not valid TOML"]),
        ("lookup NEW x", ["NEW is not a musicrec OUT", "musicrec run", "--source FOLDER"]),
        ("report songs", ["songs is not a musicrec OUT", "musicrec run"]),
        *((f"{stage} NEW", ["NEW is not a musicrec OUT", "musicrec run"]) for stage in STAGES),
        *((f"{stage} songs", ["songs is not a musicrec OUT", "musicrec run"]) for stage in STAGES),
        ("catalog songs --source songs", ["songs holds", "was not made by musicrec", "choose an empty or new folder"]),
        ("run songs --source songs", ["songs holds", "choose an empty or new folder"]),
        ("catalog songs/rock/a.wav --source songs", ["a.wav cannot be written", "choose another folder"]),
        ("catalog OUT --source songs/rock", ["OUT was made by other", "songs → ", "songs/rock", "--force"]),
        (
            "catalog nowhere://bucket/prefix --source songs",
            ["nowhere://bucket/prefix", "expected a folder or s3://bucket/prefix"],
        ),
        ("catalog NEW --source https://host/songs", ["https://host/songs", "list songs on the web in a manifest"]),
    ],
)
def test_what_does_not_fit_is_exit_code_2_and_one_line(run, out, arguments, said):
    code, text, complaint = run(*arguments.split())
    assert (code, text) == (2, "")
    assert_one_line(complaint, *said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("catalog NEW --source nowhere", ["nowhere does not exist", "give the folder that holds the songs"]),
        ("catalog NEW --source empty", ["empty"]),
        ("catalog NEW --source ftp.csv", ["ftp.csv, row 1", "ftp://host", "expected a path", "s3://"]),
        ("lookup OUT x", ["OUT has no similar yet", "run: musicrec similar "]),
    ],
)
def test_what_cannot_be_done_is_exit_code_1_and_one_line(run, out, tmp_path, arguments, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "ftp.csv").write_text("uri\nftp://host/song.mp3\n")
    code, text, complaint = run(*arguments.split())
    assert (code, text) == (1, "")
    assert_one_line(complaint, *said)


@pytest.mark.parametrize("command", ["catalog", *STAGES, "report", "refresh"])
def test_a_busy_out_is_exit_code_3_for_every_command_that_writes(run, out, stages, command):
    with Store(out).lock():
        code, text, complaint = run(command, "OUT")
    assert (code, text) == (3, "")
    assert_one_line(
        complaint, "OUT is in use by another musicrec run: ", f"process {os.getpid()} on", "wait for it to end"
    )
    assert not stages


@pytest.mark.thorough
def test_a_catalog_is_made_once_and_kept_when_another_source_is_refused(run, songs, tmp_path):
    code, text, said = run("catalog", "new/OUT", "--source", "songs")
    assert (code, said) == (0, "genre from folders: 2 genres, 0 songs without; folders look like genres\n")
    assert text.startswith("catalog: 2 ok + 0 skipped + 0 failed = 2")
    assert (
        Store(tmp_path / "new/OUT").settings.recorded("catalog").items()
        >= {"source": str(songs), "kind": "auto"}.items()
    )
    assert run("catalog", "new/OUT", "--source", "songs/jazz")[0] == 2
    assert Store(tmp_path / "new/OUT").track_ids() == ["jazz/b.mp3", "rock/a.wav"]
    assert run("catalog", "new/OUT")[0] == 0
    assert run("catalog", "new/OUT", "--source", "songs/jazz", "--force")[0] == 0
    assert Store(tmp_path / "new/OUT").track_ids() == ["b.mp3"]


@pytest.mark.thorough
@pytest.mark.parametrize("command", ["catalog", "run", "refresh"])
def test_the_remedy_for_another_source_is_a_command_that_there_is(run, songs, tmp_path, command):
    assert run("catalog", "new/OUT", "--source", "songs")[0] == 0
    words = [sys.executable, "-m", "musicrec", command, "new/OUT", "--source", "songs/jazz"]
    refused = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    remedy = re.search(r"musicrec (\S+ \S+) … (--force)\n$", refused.stderr)
    assert remedy, refused.stderr
    words = [*remedy[1].split(), "--source", "songs/jazz", remedy[2]]
    parse(words)
    assert run(*words)[0] == 0
    assert Store(tmp_path / "new/OUT").track_ids() == ["b.mp3"]


def test_a_relative_source_in_a_settings_file_is_the_same_folder_next_time(run, songs, tmp_path, monkeypatch):
    (tmp_path / "my.toml").write_text('[catalog]\nsource = "songs"\n')
    assert run("catalog", "OUT", "--settings", "my.toml")[0] == 0
    monkeypatch.chdir(songs)
    assert run("catalog", tmp_path / "OUT")[0] == 0


def test_a_value_in_the_place_of_a_table_is_a_fault_of_the_settings_file(run, out, tmp_path):
    (tmp_path / "my.toml").write_text("similar = 3\n")
    code, _, complaint = run("similar", "OUT", "--settings", "my.toml")
    assert code == 2
    assert_one_line(complaint, "my.toml", "similar")


@pytest.mark.parametrize(("e", "code"), [(KeyError("odd\nlines"), 1), (MemoryError(), 1), (KeyboardInterrupt(), 130)])
def test_whatever_else_goes_wrong_is_one_line_too(run, out, monkeypatch, e, code):
    def fail(*_, **__):
        raise e

    monkeypatch.setattr(sys.modules["musicrec.stages.embed"], "embed", fail)
    found, _, complaint = run("embed", "OUT")
    assert found == code
    assert_one_line(
        complaint.removeprefix("\n"), type(e).__name__ if code == 1 else "run the same command again to continue"
    )
    monkeypatch.setenv("MUSICREC_DEBUG", "1")
    if code == 1:
        with pytest.raises(type(e)):
            main(["embed", "OUT"])
    with Store(out).lock():  # free again
        pass


@pytest.mark.thorough
@pytest.mark.parametrize(("arguments", "code"), [("lookup NEW x", 2), ("lookup OUT x", 1), ("catalog OUT", 0)])
def test_the_process_ends_with_the_exit_code(out, tmp_path, arguments, code):
    command = [sys.executable, "-m", "musicrec", *arguments.split()]
    ended = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False)
    assert ended.returncode == code
    if code:
        assert_one_line(ended.stderr)
        assert ended.stdout == ""


# --- settings -----------------------------------------------------------------------------------------------------


def test_the_command_line_wins_over_the_file_over_what_out_records_over_defaults(run, out, stages, tmp_path):
    (tmp_path / "my.toml").write_text("[similar]\nn = 5\nmax_churn = 0.5\n[train]\nepochs = 3\n")
    Store(out).settings.record(SimilarSettings(n=7, max_churn=0.7, max_hub_share=0.7, metric="euclidean"))
    assert run("similar", "OUT", "--settings", "my.toml", "-n", "3", "--metric", "cosine")[0] == 0
    settings, _ = stages.pop()
    assert settings == SimilarSettings(n=3, max_churn=0.5, max_hub_share=0.7, metric="cosine")


@pytest.mark.parametrize(
    ("arguments", "how"),
    [
        (
            "extract OUT",
            {
                **{"address": None, "retry_failed": False, "max_failed_fraction": 0.5, "force": False},
                **{"limit": None, "seconds_per_file": 300.0},
            },
        ),
        (
            "extract OUT --retry-failed --force --max-failed-fraction 0 --address auto --limit 5 --seconds-per-file .5",
            {
                **{"address": "auto", "retry_failed": True, "max_failed_fraction": 0.0, "force": True},
                **{"limit": 5, "seconds_per_file": 0.5},
            },
        ),
        ("similar OUT --address localhost:6379", {"address": "localhost:6379", "gpu": False, "force": False}),
        ("similar OUT --force", {"address": None, "gpu": False, "force": True}),
        ("similar OUT --gpu", {"address": None, "gpu": True, "force": False}),
    ],
)
def test_options_that_are_no_settings_reach_the_stage(run, out, stages, arguments, how):
    code, text, _ = run(*arguments.split())
    assert (code, text) == (0, f"{arguments.split()[0]}: done\n")
    assert stages[0][1] == how


def test_an_option_given_several_times_is_a_list(run, out, stages):
    run("extract", "OUT", "--feature-sets", "gtzan57", "--feature-sets", "iiitd41")
    run("extract", "OUT", "--feature-sets", "gtzan57")
    run("extract", "OUT")
    assert [settings.feature_sets for settings, _ in stages] == [
        ("gtzan57", "iiitd41"),
        ("gtzan57",),
        ("iiitd41", "gtzan57"),
    ]


def test_a_dry_run_is_a_plan_and_neither_locks_nor_runs(run, out, stages):
    with Store(out).lock():
        code, text, _ = run("extract", "OUT", "--dry-run", "--limit", "7", "--retry-failed")
    assert (code, text) == (0, "a plan: {'retry_failed': True, 'limit': 7, 'force': False}\n")
    assert not stages
    assert run("extract", "NEW", "--dry-run")[0] == 2


def test_a_flag_is_a_setting_that_may_be_taken_back(run, out, stages, tmp_path):
    (tmp_path / "my.toml").write_text("[extract]\nimages = true\nsegment_s = 3\n")
    run("extract", "OUT", "--images", "--segment-s", "3")
    run("extract", "OUT", "--settings", "my.toml")
    run("extract", "OUT", "--settings", "my.toml", "--no-images", "--segment-s", "0")
    run("extract", "OUT")
    asked = [(settings.images, settings.segment_s) for settings, _ in stages]
    assert asked == [(True, 3), (True, 3), (False, 0), (False, 0)]


# --- progress -----------------------------------------------------------------------------------------------------


def test_off_a_terminal_progress_is_a_plain_line_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with Progress("extract", 8, done=1) as bar:
        bar.advance()
        bar.advance(2, note="1 failed")
    text, lines = capsys.readouterr()
    assert text == ""
    assert lines == "extract: 2 of 8 (25%) after 0 s\nextract: 4 of 8 (50%) after 0 s, 1 failed\n"


def test_off_a_terminal_what_is_waited_for_is_said_once(monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with Progress("train", 8) as bar:
        for _ in range(12):
            bar.advance(0, note="starting TensorFlow")
        bar.advance(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["train: 0 of 8 (0%) after 0 s, starting TensorFlow", "train: 1 of 8 (12%) after 0 s"]


def test_embed_says_which_model_it_takes_if_there_are_others(run, out, stages):
    store = Store(out)
    with store.new_version("models/svm", CatalogSettings(source="x"), "a" * 16) as version:
        (version.folder / "weights").touch()
        store.publish(version)
    code, text, _ = run("embed", "OUT", "--model", "mlp")
    assert (code, text) == (0, "embed: by the model mlp; for another, say --model svm\nembed: done\n")
    assert run("embed", "OUT", "--model", "svm")[1] == "embed: done\n"


def test_off_a_terminal_quick_work_says_nothing(capsys):
    with Progress("extract", 1000) as bar:
        for _ in range(1000):
            bar.advance()
    assert capsys.readouterr() == ("", "")


def test_progress_of_nothing_divides_by_nothing(monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with Progress("similar", 0) as bar:
        bar.advance(0)
    assert capsys.readouterr().err == "similar: 0 of 0 after 0 s\n"


def test_on_a_terminal_progress_is_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with Progress("extract", 4, done=1) as bar:
        bar.advance(1, note="1 failed")
        assert bar.done == 2
    assert "extract:  25%|" in sys.stderr.getvalue()
    assert " of 4" not in sys.stderr.getvalue()
