"""README and docs/: links lead somewhere, commands are accepted, Python blocks run on a small OUT."""

import inspect
import re
import shlex
import tomllib
from pathlib import Path

import click
import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from musicrec.audio.encode import encode
from musicrec.cli import cli
from musicrec.models.pretrained.card import Card
from musicrec.schemas import EMBEDDINGS, MAP, RECORDINGS, TRACKS
from musicrec.serve.sidecar import SIDECAR_COLUMNS
from musicrec.serve.table_writer import write_table
from musicrec.settings import (
    STAGES,
    CatalogSettings,
    DuplicatesSettings,
    EmbedSettings,
    HistoriesSettings,
    ListenerEvaluationSettings,
    MapSettings,
    SimilarSettings,
    resolve,
)
from musicrec.similarity import top_n
from musicrec.stages.histories.stage import histories
from musicrec.stages.listener_evaluation.stage import evaluate_listeners
from musicrec.store.outcomes import Outcome, outcomes_table
from musicrec.store.store import Store

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = {
    page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8")
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md")))
    if "_build" not in page.parts
}
WORDS_OF_README = 700

FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
END_OF_COMMAND = ("&&", "||", "|", ";")
GROUPS = {name: command for name, command in cli.commands.items() if isinstance(command, click.Group)}
NAMES = {*cli.commands, *(f"{group} {name}" for group, command in GROUPS.items() for name in command.commands)}
NOT_WHOLE = {"COMMAND", "…"}  # what stands in the text for any command, and for more options


def blocks(language):
    """Where each fenced block of a language starts, and its text."""
    return [
        pytest.param(found[2], id=f"{page}:{text[: found.start()].count(chr(10)) + 1}")
        for page, text in PAGES.items()
        for found in FENCE.finditer(text)
        if found[1] == language
    ]


def prose(text):
    return FENCE.sub("", text)


# --- README and links ---------------------------------------------------------------------------------------------


def test_readme_fits_on_a_screen():
    assert len(PAGES["README.md"].split()) <= WORDS_OF_README


def slugs(page):
    """Anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#{1,3} (.+)$", prose(page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_and_image_leads_somewhere(page):
    broken = []
    for target in LINK.findall(prose(PAGES[page])):
        path, _, anchor = target.partition("#")
        file = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        if path.startswith(("http://", "https://")):
            continue
        if not file.is_relative_to(ROOT.resolve()) or not file.is_file() or (anchor and anchor not in slugs(file)):
            broken.append(target)
    assert not broken


def test_every_page_stands_in_the_contents():
    listed = {f"docs/{name}.md" for name in re.findall(r"^[\w/-]+$", PAGES["docs/index.md"], re.MULTILINE)}
    assert {page for page in PAGES if page.startswith("docs/")} - {"docs/index.md"} <= listed


def test_every_test_that_is_named_exists():
    named = {name for text in PAGES.values() for name in re.findall(r"\btests/[\w/]+\.py\b", text)}
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("page", ["docs/guides/new-model.md", "docs/guides/new-feature-set.md"])
def test_every_name_beside_a_file_to_change_is_in_that_file(page):
    rows = re.findall(r"^\| `(musicrec/[\w/]+\.py)` \| (.+) \|$", PAGES[page], re.M)
    rows = [(file, what) for file, what in rows if "NAME" not in file]  # a file that is to be made
    assert len(rows) >= 3
    for file, what in rows:
        content = (ROOT / file).read_text(encoding="utf-8")
        names = re.findall(r"`(_?[A-Z][A-Z_]+|_[a-z_]+|[A-Z][a-z]+[A-Z]\w+)`", what)
        assert [name for name in names if not re.search(rf"\b{name}\b", content)] == []


# --- commands -----------------------------------------------------------------------------------------------------


def commands(script):
    """Each command of a shell script, as its words."""
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = next((at for at, word in enumerate(words) if word in END_OF_COMMAND), len(words))
            yield words[:end]
            words = words[end + 1 :]


def parse(name, arguments, commands=cli.commands):
    """Parse the arguments of a command, or of the command of a group, without running it."""
    command = commands[name]
    if isinstance(command, click.Group) and arguments[:1] not in ([], ["--help"]):
        parse(arguments[0], arguments[1:], command.commands)
    else:
        with command.make_context(name, arguments):
            pass


def accept(words):
    """Parse a command of musicrec, a job or a make target, without running it; what is none of them passes."""
    if words[:2] == ["ray", "job"]:
        words = words[words.index("--") + 1 :]
    match words:
        case ["musicrec" | ".venv/bin/musicrec", name, *arguments]:
            parse(name, arguments)
        case ["python", script, *arguments] if script.startswith("jobs/"):
            assert (ROOT / script).is_file()
            accept(["musicrec", Path(script).stem, *arguments])
        case ["make", *arguments]:
            targets = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text().replace("\\\n", ""), re.M)[
                0
            ].split()
            assert {target for target in arguments if "=" not in target} <= set(targets)


@pytest.mark.parametrize("script", blocks("sh"))
def test_every_command_of_a_script_is_accepted(script):
    for words in commands(script):
        accept(words)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_in_the_text_is_accepted(page):
    for text in INLINE.findall(prose(PAGES[page])):
        words = shlex.split(text) if text.startswith(("musicrec ", "make ")) else []
        if words[:1] == ["musicrec"] and (" ".join(words[1:]) in NAMES or NOT_WHOLE & set(words)):
            assert words[1] in (*cli.commands, *NOT_WHOLE)
        elif words:
            accept(words)


@pytest.mark.parametrize("name", cli.commands)
def test_every_command_is_in_the_list_of_commands(name):
    assert f"`musicrec {name}" in PAGES["docs/reference/commands.md"]


# --- Python -------------------------------------------------------------------------------------------------------

SONGS = ["blues.00002", "blues.00003", "jazz.00001", "jazz.00002", "pop.00000", "pop.00001"]
GENRES = ["blues", "jazz", "pop"]


def publish(store, name, settings, write):
    version = store.new_version(name, settings, "0123456789abcdef")
    write(version)
    store.publish(version)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the files that blocks of Python name: OUT, a song, and a table in the layout of FMA's features."""
    folder = tmp_path_factory.mktemp("docs")
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(SONGS), 8)).astype(np.float32)
    tracks = [{"track_id": s, "uri": f"file:///{s}.wav", "title": s.title(), "genre": s[:-6]} for s in SONGS]
    embeddings = [
        {"track_id": s, "model_id": "m", "embedding": v, "probabilities": [float(s[:-6] == g) for g in GENRES]}
        for s, v in zip(SONGS, vectors, strict=True)
    ]
    places = [{"track_id": s, "x": float(i), "y": 0.0, "is_added": False} for i, s in enumerate(SONGS)]
    recordings = [{"track_id": s, "recording": s, "score": 0.0, "speed": 1.0, "offset_s": 0.0} for s in SONGS]
    store = Store(folder / "OUT")
    store.create()
    store.settings.record(CatalogSettings(source="/music"))
    songs = pa.Table.from_pylist(tracks, TRACKS)
    outcomes = outcomes_table(
        [*(Outcome(s, "catalog", "ok") for s in SONGS), Outcome("x", "catalog", "failed", "missing")]
    )
    for name, settings, table in (
        ("tracks", CatalogSettings(source="/music"), songs),
        ("embeddings", EmbedSettings(), pa.Table.from_pylist(embeddings, EMBEDDINGS)),
        ("outcomes", CatalogSettings(source="/music"), outcomes),
        ("recordings", DuplicatesSettings(), pa.Table.from_pylist(recordings, RECORDINGS)),
        ("map", MapSettings(), pa.Table.from_pylist(places, MAP)),
    ):
        publish(store, name, settings, lambda version, table=table: version.write_part(table))
    ids, scores = top_n(vectors, 50)
    publish(store, "similar", SimilarSettings(), lambda v: write_table(v, songs.select(SIDECAR_COLUMNS), ids, scores))

    (folder / "likes.csv").write_text("user_id,track_id\n" + "".join(f"ada,{song}\n" for song in SONGS[:5]))
    histories(store, HistoriesSettings(files=(str(folder / "likes.csv"),)))
    evaluate_listeners(store, ListenerEvaluationSettings(split="random", methods=("max", "mean"), n=3))

    (folder / "song.mp3").write_bytes(encode(0.1 * rng.normal(size=2 * 22050).astype(np.float32), 22050, "mp3"))
    columns = pd.MultiIndex.from_tuples([("mfcc", "mean", "01"), ("tonnetz", "std", "06")])
    pd.DataFrame(rng.normal(size=(2, 2)), [2, 5], columns).rename_axis("track_id").to_csv(folder / "features.csv")
    return folder


@pytest.mark.parametrize("code", [block for block in blocks("python") if "readers.md" not in block.id])
def test_every_python_block_runs(folder, code, monkeypatch):  # those of readers.md: tests/readers
    compiled = compile(code, "block", "exec")
    if "import polars" in code:
        pytest.importorskip("polars", reason="Polars is not a dependency of musicrec")
    monkeypatch.chdir(folder)
    duckdb.set_default_connection(duckdb.connect())  # what a block leaves unread is no other test's
    try:
        exec(compiled, {})
    finally:
        duckdb.set_default_connection(duckdb.connect())


@pytest.mark.parametrize("text", blocks("toml"))
def test_every_settings_file_and_every_card_is_accepted(text):
    values = tomllib.loads(text)
    if "front_end" in values:
        assert resolve(Card, values).licence
        return
    for stage, of_stage in values.items():
        resolve(STAGES[stage], of_stage)


# --- how it is built ----------------------------------------------------------------------------------------------


def pins(lock):
    """Of each package of a lock file its versions."""
    found = {}
    for name, version in re.findall(r"^([\w.-]+)==([^ ;]+)", lock.read_text(), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


def test_make_docs_moves_no_package_that_musicrec_pins():
    installed, added = pins(ROOT / "requirements.lock"), pins(DOCS / "requirements.lock")
    shared = installed.keys() & added.keys()
    assert "jinja2" in shared
    assert {name: added[name] for name in shared if not added[name] <= installed[name]} == {}


# --- what the reference promises ----------------------------------------------------------------------------------


def test_every_exit_code_is_explained():
    from musicrec import errors

    classes = (c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.MusicrecError))
    codes = {c.exit_code for c in classes} | {0, errors.INTERRUPTED}
    assert [code for code, *_ in errors.EXIT_CODES] == sorted(codes)
    assert "{exit-codes} musicrec.errors EXIT_CODES" in PAGES["docs/reference/exit-codes.md"]


def test_every_reason_is_explained():
    from musicrec import schemas

    assert {reason for _, reason, *_ in schemas.REASONS} == set(schemas.Reason)
    stages = {stage for stages, *_ in schemas.REASONS for stage in stages.split(", ")}
    assert stages == {"catalog", "extract", "train", "embed", "vectors", "duplicates", "similar"}
    assert all(meaning and remedy for _, _, meaning, remedy in schemas.REASONS)
    assert "{reasons} musicrec.schemas REASONS" in PAGES["docs/operate/failed-songs.md"]


def test_every_reason_to_leave_out_a_listen_is_explained():
    from musicrec import schemas

    assert {reason for _, reason, *_ in schemas.LISTEN_REASONS} == set(schemas.ListenReason)
    assert all(meaning and remedy for _, _, meaning, remedy in schemas.LISTEN_REASONS)
    assert "{reasons} musicrec.schemas LISTEN_REASONS files" in PAGES["docs/guides/histories.md"]


def test_every_setting_and_every_table_has_a_place_in_the_reference():
    from musicrec import schemas, settings

    others = (
        settings.TuneSettings,
        settings.VectorsSettings,
        settings.PretrainedSettings,
        settings.HistoriesSettings,
        settings.RecommendSettings,
        settings.ListenerEvaluationSettings,
        settings.MapSettings,
    )
    classes = {cls.__name__ for cls in (*settings.STAGES.values(), *others)}
    assert set(re.findall(r"\{settings\} \S+ (\w+)", PAGES["docs/reference/settings.md"])) == classes
    assert (
        re.findall(r'^ +\("\w+", pa\..*\),$', inspect.getsource(schemas), re.MULTILINE) == []
    )  # a column without a word
    tables = {name for name, value in vars(schemas).items() if isinstance(value, pa.Schema)}
    assert set(re.findall(r"\{schema\} \S+ (\w+)", PAGES["docs/reference/tables.md"])) == tables
