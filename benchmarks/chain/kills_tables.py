"""Checks of the tables of an OUT whose runs were killed, against those of one that was left alone."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.chain.kills_pointers import file_system, folder_of
from musicrec.audio.formats import EXTENSIONS
from musicrec.serve.lookup import SimilarTable
from musicrec.serve.status import versions_of
from musicrec.store.store import Store

KEYS = {
    "tracks": ["track_id"],
    "outcomes": ["stage", "track_id"],
    "features": ["track_id"],
    "mel": ["track_id"],
    "embeddings": ["track_id"],
    "similar": ["track_id", "rank"],
}
FILES = (("models/mlp", "history.parquet"), ("models/mlp", "predictions.parquet"))  # beside the published model
MADE_BY = {"features": "extract", "mel": "extract", "embeddings": "embed", "similar": "similar"}
STAGES = ("catalog", "extract", "train", "embed", "similar")
TIMES = ["seconds"]
VERSIONS_KEPT = {"similar": 3}  # before the published one; of others, one


class Accounts(NamedTuple):
    """Songs that a table holds too seldom or too often."""

    lost: list[str]
    doubled: list[str]


def read(out: str, name: str) -> pa.Table:
    """Read a published table as a tool does that knows nothing of musicrec."""
    return pq.read_table(folder_of(out, name))


def content(table: pa.Table, keys: list[str]) -> pa.Table:
    """Return the values of a table in order of its keys, without times and footer."""
    return (
        table.drop_columns([name for name in TIMES if name in table.schema.names])
        .replace_schema_metadata()
        .sort_by([(name, "ascending") for name in keys])
    )


def digest(table: pa.Table, keys: list[str]) -> str:
    """Return a digest of the values of a table, whatever the order of its rows."""
    return hashlib.blake2b(repr(content(table, keys).to_pydict()).encode(), digest_size=8).hexdigest()


def accounts(out: str, source: Path) -> Accounts:
    """Compare tables with the files of the source: one row for each song and stage."""
    songs = Counter(str(path) for path in source.rglob("*") if path.suffix in EXTENSIONS)
    tracks, outcomes = read(out, "tracks").to_pydict(), read(out, "outcomes")
    found = {"tracks": Counter(tracks["uri"])}
    expected = {"tracks": songs}
    for stage in STAGES:
        found[f"outcomes of {stage}"] = Counter(outcomes.filter(pc.field("stage") == stage)["track_id"].to_pylist())
        expected[f"outcomes of {stage}"] = Counter(tracks["track_id"])
    for name, stage in MADE_BY.items():
        done = outcomes.filter((pc.field("stage") == stage) & (pc.field("status") == "ok"))["track_id"]
        rows = read(out, name).select(KEYS[name]).to_pylist()
        found[name] = Counter(row["track_id"] for row in rows if row.get("rank", 1) == 1)
        expected[name] = Counter(done.to_pylist())
    lost = [f"{name}: {song}" for name in found for song in expected[name] - found[name]]
    doubled = [f"{name}: {song}" for name in found for song in found[name] - expected[name]]
    return Accounts(lost, doubled)


def differences(out: str, control: str) -> Iterator[str]:
    """Yield the tables whose rows or values are not those of another OUT."""
    for name, keys in KEYS.items():
        ours, theirs = content(read(out, name), keys), content(read(control, name), keys)
        if not ours.equals(theirs):
            yield f"{name} differs: {_describe(ours, theirs)}"
    for name, file in FILES:
        ours, theirs = (pq.read_table(f"{folder_of(where, name)}/{file}") for where in (out, control))
        if not ours.equals(theirs):
            yield f"{name}/{file} differs: {_describe(ours, theirs)}"


def _describe(ours: pa.Table, theirs: pa.Table) -> str:
    if ours.num_rows != theirs.num_rows or ours.schema != theirs.schema:
        return f"{ours.num_rows} rows, not {theirs.num_rows}"
    columns = [name for name in ours.schema.names if not ours[name].equals(theirs[name])]
    rows = [i for i in range(ours.num_rows) if ours.slice(i, 1).to_pylist() != theirs.slice(i, 1).to_pylist()]
    return f"{len(rows)} rows, in {', '.join(columns[:5])}, such as {ours[columns[0]][rows[0] if rows else 0]}"[:300]


def leftovers(out: str) -> Iterator[str]:
    """Yield what a successful run should not have left: temporary files, work, too many versions, damaged ones."""
    fs, root = file_system(out)
    names = [name.removeprefix(root).strip("/") for name in fs.find(root, withdirs=True)]
    for name in names:
        parts = name.split("/")
        if parts[-1].startswith(".") and name != ".lock":
            yield f"temporary {name}"
        elif parts[0] == ".lock" and len(parts) > 1:
            yield f"claim {name}"
        elif parts[0] == "_work" and len(parts) > 1:
            yield f"work {name}"
    store = Store(out)
    for name in store.published():
        versions = versions_of(store, name)
        most = 2 + VERSIONS_KEPT.get(name, 1)  # one more where the run was killed between the swap and the tidying up
        folders = {p.split("/")[-1] for p in fs.ls(f"{root}/_versions/{name}", detail=False)} - {"state.json"}
        folders -= set(store.versions(name).leaving)
        if len(folders) > most:
            yield f"{len(folders)} versions of {name}"
        for version in versions:
            folders.discard(version.version)
            if damage := version.damage or (_damage(out, version.version) if name == "similar" else None):
                yield f"version {version.version} of {name}: {damage}"
        yield from (f"no version of {name}: {folder}" for folder in sorted(folders))


def _damage(out: str, version: str) -> str | None:
    """Return what is wrong with a version that a rollback would offer."""
    try:
        SimilarTable(f"{out}/_versions/similar/{version}")
    except Exception as e:  # whatever it is
        return f"{type(e).__name__}: {e}"
    return None
