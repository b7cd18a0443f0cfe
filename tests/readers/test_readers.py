"""Every table is read by every tool of the guide, by folder and by files: the same rows, and numbers as numbers.

A tool that is not installed is left out. ``make test-readers`` installs all of them, apart from musicrec, and names
their Python in MUSICREC_READERS.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from data import make_kept
from musicrec.schemas import (
    CURVES,
    EMBEDDINGS,
    EVALUATION,
    FINGERPRINTS,
    MAP,
    OUTCOMES,
    RECORDINGS,
    SCORES,
    TRACKS,
    TUNING,
    VECTORS,
    tags_schema,
)
from musicrec.serve.sidecar import SIDECAR_COLUMNS
from musicrec.serve.table_writer import write_table
from musicrec.settings import ExtractSettings, SimilarSettings
from musicrec.stages.extract.plan import work_of
from musicrec.stages.extract.stage import _publish
from musicrec.stages.extract.track_rows import Wanted, extract_track, tables_of
from musicrec.store.staging import stage_shard
from musicrec.store.store import Store
from musicrec.store.table_spec import Table, writing

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "readers.md").read_text(encoding="utf-8")
RECIPES = {
    title: code
    for title, code in re.findall(r"^## ([^\n]+)\n[^#]*?```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    if "table = " in code
}
MODULES = {"Arrow": "pyarrow", "Spark": "pyspark", "Ray Data": "ray", "HuggingFace datasets": "datasets"}
PYTHON = os.environ.get("MUSICREC_READERS", sys.executable)
WAYS = 2  # by folder and by files
TABLES = [
    "tracks", "outcomes", "features", "mel", "mel96", "segments", "images", "embeddings", "fingerprints", "recordings",
    "similar", "map", "tuning", "evaluation", "scores", "curves", "vectors/other", "tags/other",
]  # fmt: skip


MADE_UP = {
    "tracks": TRACKS, "outcomes": OUTCOMES, "embeddings": EMBEDDINGS, "recordings": RECORDINGS, "map": MAP,
    "tuning": TUNING, "evaluation": EVALUATION, "scores": SCORES, "curves": CURVES, "vectors/other": VECTORS,
    "tags/other": tags_schema(["loud", "a tag"]),
}  # fmt: skip


def made_up(schema, n=20, seed=0):
    """Rows of a table; a text, a number or a list is null now and then."""
    rng = np.random.default_rng(seed)

    def value(field, i):
        if field.name != "track_id" and rng.random() < 0.1:
            return None
        if pa.types.is_list(field.type):
            return pa.array(rng.integers(2, size=3)).cast(field.type.value_type).to_pylist()
        if pa.types.is_boolean(field.type):
            return bool(rng.integers(2))
        return f"{field.name}-{i:02d}" if pa.types.is_string(field.type) else int(rng.integers(100))

    rows = [{field.name: value(field, i) for field in schema} for i in range(seed * n, (seed + 1) * n)]
    return pa.Table.from_pylist(rows, schema)


def extract_songs(store, songs):
    """Decode songs and publish their tables, as the tasks of extract and then extract itself do."""
    settings = ExtractSettings(segment_s=1.0, images=True, mel96=True)
    tracks = [Wanted(f"song-{i}", str(song), settings.fingerprint(str(i))) for i, song in enumerate(songs)]
    for number, shard in enumerate((tracks[:3], tracks[3:])):
        rows = [extract_track(track, settings) for track in shard]
        stage_shard(store.work, work_of(settings), str(number), tables_of(settings), rows)
    _publish(store, settings, tracks)


@pytest.fixture(scope="session")
def out(tmp_path_factory):
    """An OUT with every table, each written as its stage does."""
    folder = tmp_path_factory.mktemp("readers")
    with mock.patch.object(make_kept, "SECONDS", 3.0), mock.patch.object(make_kept, "SONGS", 2):
        make_kept.write_songs(folder / "songs")
    store, settings = Store(folder / "OUT"), SimilarSettings(n=3)
    store.create()
    extract_songs(store, sorted((folder / "songs").rglob("synthetic-*.flac")))
    for name, schema in MADE_UP.items():
        version = store.new_version(name, settings, "0" * 16)
        for seed in range(2):
            version.write_part(made_up(schema, seed=seed))
        store.publish(version)
    version = store.new_version("fingerprints", settings, "0" * 16)
    with writing(version.part(0), Table("fingerprints", FINGERPRINTS, 1000)) as writer:
        writer.write_table(made_up(FINGERPRINTS))
    store.publish(version)
    version = store.new_version("similar", settings, "0" * 16)
    rng, songs = np.random.default_rng(0), made_up(TRACKS.remove_metadata(), 40)
    names = songs.select(SIDECAR_COLUMNS).set_column(0, "track_id", pa.array([f"song-{i:02d}" for i in range(40)]))
    write_table(version, names, rng.integers(40, size=(40, 3), dtype=np.int32), rng.random((40, 3), np.float32))
    store.publish(version)
    assert sorted(store.published()) == sorted(TABLES)
    return store.out


def kind(data_type):
    """Integer, real, text ...: what a user sees of a type."""
    if pa.types.is_dictionary(data_type):
        return kind(data_type.value_type)
    if pa.types.is_list(data_type) or pa.types.is_large_list(data_type) or pa.types.is_fixed_size_list(data_type):
        return f"list of {kind(data_type.value_type)}"
    for name in ("integer", "floating", "string", "large_string", "binary", "large_binary", "boolean", "null"):
        if getattr(pa.types, f"is_{name}")(data_type):
            return name.removeprefix("large_")
    return "string" if "view" in str(data_type) and "string" in str(data_type) else str(data_type)


def difference(read, expected):
    """Return what differs from the rows that Arrow reads from the parts, in a few words; None if nothing does."""
    if sorted(read.schema.names) != sorted(expected.schema.names):
        return "other columns"
    if read.num_rows != expected.num_rows:
        return f"{read.num_rows} rows for {expected.num_rows}"
    for field in expected.schema:
        found = kind(read.schema.field(field.name).type)
        loses_nulls = expected[field.name].null_count and (kind(field.type), found) == ("integer", "floating")  # pandas
        if found != kind(field.type) and not loses_nulls and expected[field.name].null_count < expected.num_rows:
            return f"{field.name} is {found}"
    as_expected = read.select(expected.schema.names)
    as_expected = pa.table([_cast(as_expected[f.name], f.type) for f in expected.schema], schema=expected.schema)
    keys = [(f.name, "ascending") for f in expected.schema if not pa.types.is_nested(f.type)]
    return None if as_expected.sort_by(keys).equals(expected.sort_by(keys)) else "other values"


def _cast(column, data_type):
    if pa.types.is_floating(column.type) and pa.types.is_integer(data_type):
        column = pc.if_else(pc.is_nan(column), None, column)
    return column.cast(data_type)


@pytest.fixture(scope="session")
def matrix():
    """What each tool made of each table, printed at the end."""
    cells = {}
    yield cells
    width = max(map(len, TABLES))
    for tool, of_tool in cells.items():
        bad = {table: said for table, said in of_tool.items() if said != ["ok"] * WAYS}
        print(f"\n{tool:{width}}  {len(of_tool) - len(bad)} of {len(of_tool)} tables by folder and by files", end="")
        for table, said in bad.items():
            print(f"\n  {table:{width}}  {' | '.join(said)}", end="")


SLOW = {"Ray Data"}  # starts a Ray of its own, and reads a table in seconds
TOOLS = [pytest.param(tool, marks=[pytest.mark.slow] * (tool in SLOW)) for tool in RECIPES]


@pytest.mark.parametrize("tool", TOOLS)
def test_every_table_is_read_as_it_is(tool, out, tmp_path, matrix):
    module = MODULES.get(tool, tool.lower())
    if subprocess.run([PYTHON, "-c", f"import {module}"], capture_output=True, check=False).returncode:
        pytest.skip(f"{module} is not installed; `make test-readers` installs it")
    (tmp_path / "recipe.py").write_text(RECIPES[tool])
    environment = os.environ | {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "RAY_ADDRESS": "local"}
    command = [PYTHON, str(ROOT / "tests/readers/read.py"), str(tmp_path / "recipe.py"), str(tmp_path), *TABLES]
    done = subprocess.run(command, cwd=out.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    cells = matrix[tool] = {}
    for table in TABLES:
        expected = pa.concat_tables(pq.read_table(part) for part in sorted((out / table).glob("*.parquet")))
        assert expected.num_rows
        cells[table] = [_said(tmp_path, table, way, expected.replace_schema_metadata()) for way in range(WAYS)]
    assert {table: said for table, said in cells.items() if set(said) != {"ok"}} == {}


def _said(folder, table, way, expected):
    file = folder / f"{table.replace('/', '-')}.{way}"
    if (error := file.with_name(f"{file.name}.error")).exists():
        return error.read_text().strip().splitlines()[-1][:160]
    read = file.with_name(f"{file.name}.arrow")
    if not read.exists():
        return "ok" if way else "not read"  # a tool with one way only
    return difference(pa.ipc.open_file(str(read)).read_all(), expected) or "ok"
